"""A graphics device against the processor's cores: ``python -m benchmarks.gpu.rates [--net N33.onnx]``.

Boxes bounded, points sampled and training steps made in a second, each on the device and on all cores (which bound by
compiled loops where `birdnn verify` would), and the proof of N3,3 phi-2 in seconds, where its network is given or the
ACAS Xu data are there. Each rate is taken over some seconds, after what is done once has been done. Prints a table, and
writes it to a file where one is named. Where there is no CUDA device it says so, with status 4; ``--device cpu``
measures the cores alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import ROOT
from benchmarks.digits.residual import Classifier
from birdnn.bounds.compiled.bound import prepare
from birdnn.bounds.protocol import Question
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.pipeline.device import cuda_obstacle
from birdnn.pipeline.estimating import seeded_generator
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved
from birdnn.repair.training import Exam, Lesson, TrainingSettings, train_model
from birdnn.sample.draw import BATCH
from birdnn.sample.measures import UNIFORM
from birdnn.sample.tally import Tally
from birdnn.spec import Polytope, Property, Region, Row
from birdnn.verify import SearchSettings, verify
from birdnn.verify.bounding import make_bound

SIZES = {"5-50x6-5": (5, *[50] * 6, 5), "5-800x3-5": (5, *[800] * 3, 5)}
"""As ACAS Xu's, and one that the compiled loops leave to matrix products."""
BATCHES = {"5-50x6-5": (256, 4096, 16_384, 65_536), "5-800x3-5": (32, 256, 2048)}
"""Boxes at a time; the cores gain nothing by more than a few, and bound no more."""
FEW = {"5-50x6-5": 1024, "5-800x3-5": 8}
CHANNELS, EXAMPLES = (16, 16, 32), 4096


@dataclass(frozen=True, slots=True)
class Rates:
    """What is measured on one device; each for `seconds`."""

    device: str
    seconds: float

    def all(self) -> Iterator[tuple[str, Callable[[], float]]]:
        """A name for each rate, and how to take it."""
        for name, sizes in SIZES.items():
            net = network_from_layers(layers(sizes))
            for batch in BATCHES[name]:
                few = batch if self.device == "cuda" else min(batch, FEW[name])
                yield f"boxes/s, {name}, {batch:,} at a time", lambda net=net, few=few: self.boxes(net, few)
        for name, sizes in SIZES.items():
            net = network_from_layers(layers(sizes))
            yield f"samples/s, {name}", lambda net=net: self.samples(net)
        for batch in (64, 1024):
            yield f"training steps/s, digits, {batch:,} examples", lambda batch=batch: self.steps(batch)

    def boxes(self, net: Network, batch: int) -> float:
        """Small boxes of the input set, bounded from what is known of their parents."""
        bound = make_bound(net, SearchSettings(device=self.device))
        prop = positive(net)
        question = Question.of(prop.regions[0].unsafe, net.n_outputs, bound.device)
        centres = torch.rand(batch, net.n_inputs, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        boxes = Boxes(centres - 0.01, centres + 0.01).to(bound.device)
        opened = torch.ones(batch, 1, dtype=torch.bool, device=bound.device)
        known = bound.bound(question, boxes, opened, bound.root(batch)).inherited
        return batch * self.per_second(lambda: float(bound.bound(question, boxes, opened, known).lower.sum()))

    def samples(self, net: Network) -> float:
        """Uniform points of the input set, drawn, evaluated and judged."""
        prop = positive(net)
        tally = Tally(net.to(self.device), prop, UNIFORM.draws(prop, seeded_generator(0, device=self.device)))
        return BATCH[self.device] * self.per_second(lambda: tally.add(BATCH[self.device]))

    def steps(self, batch: int) -> float:
        """Steps of Adam on a small residual network, as block repair makes them."""
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        model = Classifier(CHANNELS).to(self.device)
        x = torch.rand(EXAMPLES, 1, 8, 8, generator=generator).to(self.device)
        y = torch.randint(10, (EXAMPLES,), generator=generator).to(self.device)
        right = torch.ones(EXAMPLES, dtype=torch.bool, device=self.device)
        lesson = Lesson(x=x, y=y, teacher=torch.zeros(EXAMPLES, 10, device=self.device), right=right)
        settings = TrainingSettings(epochs=1, batch=batch)
        exam = Exam(x=x[:256], y=y[:256])
        return -(-EXAMPLES // batch) * self.per_second(lambda: train_model(model, lesson, exam, settings, generator))

    def per_second(self, work: Callable[[], object]) -> float:
        """How often a second; the work ends with a number that the device has to give back."""
        work()
        begun, times = time.perf_counter(), 0
        while (spent := time.perf_counter() - begun) < self.seconds:
            work()
            times += 1
        return times / spent

    def proof(self, path: Path) -> float:
        """Seconds of the search for N3,3 phi-2."""
        loaded = load_network(path)
        prop = load_property(ROOT / "properties" / "prop_2.vnnlib", loaded, "normalised")
        begun = time.perf_counter()
        verdict = verify(loaded.net, prop, settings=SearchSettings(device=self.device), replays=loaded.replays)
        if not isinstance(verdict, Proved):
            raise SystemExit(f"{path} with phi-2 is not proved on {self.device}: {verdict}")
        return time.perf_counter() - begun


def layers(sizes: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random ones."""
    rng = np.random.default_rng(0)
    return [
        ((rng.normal(size=(n, m)) * np.sqrt(2 / m)).astype(np.float32), (0.1 * rng.normal(size=n)).astype(np.float32))
        for m, n in itertools.pairwise(sizes)
    ]


def positive(net: Network) -> Property:
    """Output 0 stays above 0 on the unit cube: neither proved nor given up on a small box."""
    zero, one = Fraction(0), Fraction(1)
    rows = (Row((one, *[zero] * (net.n_outputs - 1)), zero),)
    unsafe = (Polytope(rows=rows, n_outputs=net.n_outputs),)
    region = Region(exact_lower=(zero,) * net.n_inputs, exact_upper=(one,) * net.n_inputs, unsafe=unsafe)
    return Property(name="positive", regions=(region,), n_inputs=net.n_inputs, n_outputs=net.n_outputs)


def table(devices: list[str], seconds: float, net: Path | None) -> Iterator[str]:
    """Its lines, as they are measured."""
    named = [machine(device).device if device == "cuda" else f"{os.cpu_count()} cores" for device in devices]
    yield "| | " + " | ".join(named) + (" | ratio |" if len(devices) > 1 else " |")
    yield "| --- |" + " ---: |" * (len(devices) + (len(devices) > 1))
    forms = [Rates(device, seconds) for device in devices]
    for rows in zip(*(form.all() for form in forms), strict=True):
        yield line(rows[0][0], [measured() for _, measured in rows], "{:,.0f}")
    if net is None:
        yield "\nN3,3 phi-2: no network; name it with --net."
        return
    for form in forms:
        replace(form).proof(net)  # what is done once is done
    found = [form.proof(net) for form in forms]
    yield line("N3,3 phi-2, s", found, "{:.2f}", inverse=True)


def line(name: str, values: list[float], form: str, *, inverse: bool = False) -> str:
    """One row; the ratio says how many times as fast the first device is."""
    cells = [form.format(value) for value in values]
    if len(values) > 1:
        cells.append(f"{(values[1] / values[0] if inverse else values[0] / values[1]):.2f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> int:
    """Measure, print, and write where asked to; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments.add_argument("--seconds", type=float, default=2.0, help="for each rate")
    arguments.add_argument("--net", type=Path, help="N3,3 as ONNX; default: that of BIRDNN_ACASXU")
    arguments.add_argument("--out", type=Path, help="write the table there as well")
    options = arguments.parse_args()
    if options.device == "cuda" and (reason := cuda_obstacle()):
        print(f"no CUDA device: {reason}", file=sys.stderr)
        return 4
    there = Path(os.environ.get("BIRDNN_ACASXU", ".")) / "onnx" / "ACASXU_run2a_3_3_batch_2000.onnx"
    net = options.net or (there if there.is_file() else None)
    prepared, note = prepare()
    lines = []
    for text in table(["cuda", "cpu"] if options.device == "cuda" else ["cpu"], options.seconds, net):
        lines.append(text)
        print(text, flush=True)
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    lines.append(f"\n{machine().cpu}; {listed}. Compiled loops: {note if not prepared else 'used'}.")
    print(lines[-1])
    if options.out is not None:
        options.out.write_text("# A graphics device against cores\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
