"""Repair of local robustness: ``python -m benchmarks.digits.robustness``.

For each seed a classifier is trained and the neighbourhoods of correctly classified images are decided. One repair is
asked to prove as many of them as possible. Images that it has not seen tell how far the robustness reaches, and the
test images what it costs.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from benchmarks.common import Table, provenance, stamp
from benchmarks.digits.properties import robustness
from benchmarks.digits.train import Images, split, train
from birdnn.network import Network
from birdnn.pipeline.load import Loaded, load_network, load_property
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import PropertyRepair, Proved, RepairRequest, Violated
from birdnn.repair import RetrainSettings
from birdnn.sample import evaluate
from birdnn.verify import AttackSettings, SearchSettings, verify

RESULTS = Path(__file__).resolve().parent / "results"
SEEDS, EPS, IMAGES = range(3), ("0.03", "0.05"), 50
WORDS = "proved", "violated", "unknown"
SETS = "repair", "held_out"
COLUMNS = (
    "eps", "seed", "images", *(f"{name}_{word}_{when}" for name in SETS for when in ("before", "after")
    for word in WORDS), "newly_proved", "lost", "accuracy_before", "accuracy_after", "agreement", "rounds", "repair_s",
)  # fmt: skip
BOXES = 4096
"""Examined for one proof at most. What the first few do not prove, a million would not: the boxes have 64 sides."""

HARD, LIGHT = AttackSettings(evaluations=800), AttackSettings(evaluations=80)
"""Little: a classifier is nearly linear on so small a box."""

SETTINGS = RepairSettings(
    retrain=RetrainSettings(
        region_points=100, kept_points=100, constraints=30, ridges=(0.3,), margin_share=0.1, kept_margin_share=0.05
    ),
    attack=HARD,
    hunt=HARD,
    light_hunt=LIGHT,
    before_boxes=BOXES,
    slice_boxes=BOXES,
    slice_growth=1.0,
    rounds=4,
    region_points=1000,
    held_out_points=1000,
)


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--eps", action="append", help=f"radius, may be repeated; default {', '.join(EPS)}")
    radii = arguments.parse_args().eps or EPS
    table = Table(RESULTS / "robustness.csv", COLUMNS, ("eps", "seed"))
    for eps in radii:
        for seed in SEEDS:
            if not table.has(eps=eps, seed=str(seed)):
                mark = stamp()
                with TemporaryDirectory() as scratch:
                    table.add({"eps": eps, "seed": seed, **run(Path(scratch), eps, seed, IMAGES), **mark})
    text = summary(Table(table.path, COLUMNS, table.key).rows)  # other processes may have added to it
    (RESULTS / "robustness.md").write_text(text, encoding="utf-8")
    print(text)


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A classifier before and after its repair.

    Attributes:
        states: ``"before"`` and ``"after"`` -> network.
        props: name of a set -> its property files.
        outcome: of the repair.
        figures: accuracies on the test images, agreement there, rounds and seconds, as the tables have them.
    """

    states: dict[str, Loaded]
    props: dict[str, tuple[Path, ...]]
    outcome: PropertyRepair
    figures: dict[str, object]


def repaired(
    folder: Path, trained: Callable[[Images, int], bytes], eps: str, seed: int, images: int, *, samples: int
) -> Repaired:
    """Train, and repair the neighbourhoods of ``images`` images with ``samples`` points after each proof."""
    training, for_repair, test = split(seed)
    net = folder / "digits.onnx"
    net.write_bytes(trained(training, seed))
    before = load_network(net)
    sets = zip(SETS, (for_repair, test), strict=True)
    props = {name: written(folder / name, before.net, some, eps, images) for name, some in sets}
    request = RepairRequest(
        net=net, props=props["repair"], decision="argmax", out=folder, seed=seed, samples=samples, as_many=True
    )
    begun = time.monotonic()
    outcome = repair_files(request, settings=SETTINGS)
    seconds = time.monotonic() - begun
    after = before if outcome.out is None else load_network(Path(outcome.out))
    was, now = (evaluate(which.net.copy().float(), test.x).argmax(1) for which in (before, after))
    figures: dict[str, object] = {
        "accuracy_before": f"{float((was == test.y).double().mean()):.4f}",
        "accuracy_after": f"{float((now == test.y).double().mean()):.4f}",
        "agreement": f"{float((was == now).double().mean()):.4f}",
        "rounds": outcome.rounds,
        "repair_s": f"{seconds:.1f}",
    }
    return Repaired({"before": before, "after": after}, props, outcome, figures)


def run(folder: Path, eps: str, seed: int, images: int) -> dict[str, object]:
    """Train, repair and measure once, with files in ``folder``: a row of the table."""
    done = repaired(folder, train, eps, seed, images, samples=10_000)
    words = {(name, when): decided(which, done.props[name]) for name in SETS for when, which in done.states.items()}
    pairs = Counter(zip(words["repair", "before"], words["repair", "after"], strict=True))
    return {
        "images": len(done.props["repair"]),
        **{f"{name}_{word}_{when}": found.count(word) for (name, when), found in words.items() for word in WORDS},
        "newly_proved": sum(n for (was, now), n in pairs.items() if was != "proved" and now == "proved"),
        "lost": sum(n for (was, now), n in pairs.items() if was == "proved" and now != "proved"),
        **done.figures,
    }


def written(folder: Path, net: Network, images: Images, eps: str, count: int) -> tuple[Path, ...]:
    """Property files around the first ``count`` images that the network classifies correctly."""
    folder.mkdir()
    right = (evaluate(net.copy().float(), images.x).argmax(1) == images.y).nonzero()[:count, 0]
    paths = []
    for i in right.tolist():
        path = folder / f"image_{i:03}.vnnlib"
        path.write_text(robustness(images.x[i].tolist(), int(images.y[i]), eps), encoding="utf-8")
        paths.append(path)
    return tuple(paths)


def decided(loaded: Loaded, paths: Sequence[Path]) -> list[str]:
    """One word for each property, all with the same limits."""
    found = []
    for path in paths:
        prop, limits = load_property(path, loaded, "normalised"), SearchSettings(max_boxes=BOXES, attack=HARD)
        verdict = verify(loaded.net, prop, settings=limits, replays=loaded.replays)
        proved = "proved" if isinstance(verdict, Proved) else "unknown"
        found.append("violated" if isinstance(verdict, Violated) else proved)
    return found


def summary(rows: Sequence[dict[str, str]]) -> str:
    """The table by radius, as Markdown: mean and standard deviation over seeds, then every row."""
    lines = [
        "# Repair of local robustness on scikit-learn's digits",
        "",
        (
            "A 64-32-32-10 ReLU classifier of 1,000 images; its class is to be the only one within eps of each pixel, "
            f"around {IMAGES} correctly classified images of those for repair, and, not repaired, around as many of "
            f"the 500 test images. Proved / violated / unknown after at most {BOXES:,} boxes; mean over seeds, "
            "± standard deviation. Agreement is that of decisions on the test images."
        ),
        "",
        "| eps | repair set before | after | held out before | after | accuracy before | after | agreement | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for eps in sorted({row["eps"] for row in rows}, key=float):
        some = [row for row in rows if row["eps"] == eps]
        cells = [
            " / ".join(spread(some, f"{name}_{word}_{when}", 1) for word in WORDS)
            for name in SETS
            for when in ("before", "after")
        ]
        cells += [spread(some, name, 4) for name in ("accuracy_before", "accuracy_after", "agreement")]
        lines.append(f"| {eps} | " + " | ".join([*cells, spread(some, "repair_s", 0)]) + " |")
    seeds = f"Seeds {', '.join(sorted({row['seed'] for row in rows}, key=int))}"
    lines += ["", provenance("OMP_NUM_THREADS=1 python -m benchmarks.digits.robustness", seeds)]
    columns = (*COLUMNS, "commit", "date")
    lines += ["| " + " | ".join(columns) + " |", "| " + " | ".join("---" for _ in columns) + " |"]
    lines += ["| " + " | ".join(row[name] for name in columns) + " |" for row in rows]
    return "\n".join([*lines, ""])


def spread(rows: Sequence[dict[str, str]], column: str, digits: int) -> str:
    """Mean and standard deviation of a column; of one row there is no deviation."""
    values = [float(row[column]) for row in rows]
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
