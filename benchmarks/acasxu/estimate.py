"""Estimation: ``python -m benchmarks.acasxu.estimate``.

N1,9 with phi-7, unrepaired, is violated by about four inputs in ten million. For each of ten seeds: what 100,000
uniform samples see, and what splitting estimates. Beside them the count of plain sampling, and one of the slice of the
region in which all violations known to us lie, weighted by its share. Throughput is that of one process with one
thread.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from statistics import mean, stdev

from benchmarks.acasxu.common import RESULTS, data_folder
from benchmarks.common import Table, provenance, stamp
from birdnn.network import Network
from birdnn.pipeline.estimating import seeded_generator
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Unwatched
from birdnn.sample.draw import BATCH
from birdnn.sample.measures import UNIFORM
from birdnn.sample.pac import clopper_pearson
from birdnn.sample.splitting import SplittingSettings, violation_probability
from birdnn.sample.tally import Tally
from birdnn.spec import Property

COLUMNS = ("what", "seed", "n", "violations", "probability", "lower", "upper", "log10_se", "seconds")
SEEDS = range(10)
COUNTED, PLAIN, SLICED = 100_000, 8_000_000, 4_000_000
SLICE = Fraction(1, 100)
"""The share of the region with the least distances; of 1,000,000 samples elsewhere none had a margin below 4.5e-4."""


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    data = data_folder(arguments.parse_args().data)
    loaded = load_network(data / "onnx" / "ACASXU_run2a_1_9_batch_2000.onnx")
    prop = load_property(Path("properties/prop_7.vnnlib"), loaded, "normalised")
    net = loaded.net.copy().float()
    table = Table(RESULTS / "estimate.csv", COLUMNS, ("what", "seed"))
    jobs: list[tuple[str, int, Callable[[], dict[str, object]]]] = [
        *(("uniform", seed, lambda seed=seed: count(net, prop, COUNTED, seed)) for seed in SEEDS),
        *(("splitting", seed, lambda seed=seed: split(net, prop, seed)) for seed in SEEDS),
        ("plain", 0, lambda: count(net, prop, PLAIN, 100)),
        ("slice", 0, lambda: count(net, sliced(prop), SLICED, 101, float(SLICE))),
    ]
    for what, seed, job in jobs:
        if not table.has(what=what, seed=str(seed)):
            table.add({"what": what, "seed": seed, **job(), **stamp()})
    summarise(table)


def count(net: Network, prop: Property, n: int, seed: int, share: float = 1.0) -> dict[str, object]:
    """Plain counting, with a 95 % interval; of a part of the region with this share of it."""
    tally = Tally(net, prop, UNIFORM.draws(prop, seeded_generator(seed, device="cpu")))
    while tally.n < n:
        tally.add(min(BATCH["cpu"], n - tally.n))
    lower, upper = clopper_pearson(tally.violations, n, 0.05)
    values = (n, tally.violations, share * tally.violations / n, share * lower, share * upper, "", tally.seconds)
    return dict(zip(COLUMNS[2:], map(text, values), strict=True))


def split(net: Network, prop: Property, seed: int) -> dict[str, object]:
    """One estimate; `n` is the number of evaluations."""
    begun = time.perf_counter()
    found, _ = violation_probability(
        net,
        UNIFORM.cube(prop),
        settings=SplittingSettings(),
        generator=seeded_generator(seed, 1, device="cpu"),
        measure=UNIFORM.name,
        watch=Unwatched(),
    )
    error = math.nan if found.log10_se is None else found.log10_se
    values = (found.evaluations, "", found.estimate, "", "", error, time.perf_counter() - begun)
    return dict(zip(COLUMNS[2:], map(text, values), strict=True))


def sliced(prop: Property) -> Property:
    """The property on the part of its one region with the least distances."""
    (region,) = prop.regions
    low, high = region.exact_lower[0], region.exact_upper[0]
    return replace(prop, regions=(replace(region, exact_upper=(low + SLICE * (high - low), *region.exact_upper[1:])),))


def text(value: object) -> object:
    """Floats with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else value


def summarise(table: Table) -> None:
    """Write ``estimate.md``."""
    kinds = {what: [row for row in table.rows if row["what"] == what] for what in ("uniform", "splitting")}
    (plain,), (part,) = ([row for row in table.rows if row["what"] == what] for what in ("plain", "slice"))
    found = [float(row["probability"]) for row in kinds["splitting"]]
    evaluations = mean(float(row["n"]) for row in kinds["splitting"])
    seconds = mean(float(row["seconds"]) for row in kinds["splitting"])
    seen = sum(int(row["violations"]) for row in kinds["uniform"])
    speed = int(plain["n"]) / float(plain["seconds"])
    lines = [
        "# Estimating N1,9 with phi-7, unrepaired",
        "",
        (
            f"{len(kinds['uniform'])} seeds. {COUNTED:,} uniform samples: {seen} violations in all seeds together. "
            f"Splitting: mean {mean(found):.2g}, standard deviation {stdev(found):.2g}, from {min(found):.2g} to "
            f"{max(found):.2g}; {evaluations / 1e6:.1f} million evaluations and {seconds:.0f} s each."
        ),
        "",
        (
            f"To compare with: {plain['violations']} violations in {int(plain['n']):,} uniform samples, "
            f"{float(plain['probability']):.2g} (95 %: {float(plain['lower']):.2g} .. {float(plain['upper']):.2g}); "
            f"{part['violations']} in {int(part['n']):,} samples of the {float(SLICE):.1%} of the region with the "
            f"least distance, {float(part['probability']):.2g} of the whole "
            f"(95 %: {float(part['lower']):.2g} .. {float(part['upper']):.2g}), if there are none elsewhere."
        ),
        "",
        f"Throughput of plain sampling, one thread: {speed:,.0f} samples per second. No GPU was at hand.",
        "",
        provenance("OMP_NUM_THREADS=1 python -m benchmarks.acasxu.estimate"),
        "| seed | violations in 100,000 | splitting | give or take a factor of | evaluations | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for counted, event in zip(kinds["uniform"], kinds["splitting"], strict=True):
        factor = 10 ** float(event["log10_se"])
        lines.append(
            f"| {event['seed']} | {counted['violations']} | {float(event['probability']):.2g} | {factor:.2f} "
            f"| {int(event['n']):,} | {float(event['seconds']):.1f} |"
        )
    (RESULTS / "estimate.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
