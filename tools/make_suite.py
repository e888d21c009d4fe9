"""Write properties/acasxu.toml: domain, decision, units, properties in words, and the networks they are meant for.

    python -m tools.make_suite ONNX_FOLDER [--demo FILE] [--out FILE]

The table is `tools/acasxu.py`; ONNX_FOLDER holds the 45 networks `ACASXU_run2a_{a}_{t}_batch_2000.onnx`, which are read
for their fingerprints only.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from birdnn.formats import read_network
from birdnn.formats.suite import content_key
from birdnn.network import weights_sha256
from tools import acasxu

ROOT = Path(__file__).resolve().parent.parent
DEMO_PROPERTIES = ("prop_1", "prop_2", "prop_3", "prop_4", "prop_8")


def head() -> Iterator[str]:
    """What holds for all networks."""
    low = ", ".join(acasxu.decimal(i.normalised(i.lower), up=False) for i in acasxu.INPUTS)
    high = ", ".join(acasxu.decimal(i.normalised(i.upper), up=True) for i in acasxu.INPUTS)
    yield "# What the ACAS Xu network files do not say. Written by tools/make_suite.py; do not edit."
    yield "# Networks: Julian et al. 2016. Properties: Katz et al. 2017, arXiv:1702.01135."
    yield 'suite = "acasxu"'
    yield 'text = "Airborne collision avoidance, N(previous advisory, time to loss of vertical separation)"'
    yield 'decision = "argmin"  # the advisory is the output of least cost'
    yield 'units = "normalised"  # of the networks\' inputs and outputs, of [domain], and of the property files'
    yield from ("", "[domain]", f"lower = [{low}]", f"upper = [{high}]")
    yield from ("", "[encounter]  # seen from above", 'distance = "rho"', 'bearing = "theta"', 'heading = "psi"')


def quantities() -> Iterator[str]:
    """Inputs and outputs with their raw units: network value = (raw - mean) / range."""
    for i in acasxu.INPUTS:
        yield from ("", "[[inputs]]", f'name = "{i.name}"', f'text = "{i.text}"', f'unit = "{i.unit}"')
        for key in ("lower", "upper", "mean", "range"):
            yield f"{key} = {acasxu.exact(getattr(i, key))}"
    for name, text in acasxu.OUTPUTS:
        yield from ("", "[[outputs]]", f'name = "{name}"', f'text = "cost of {text}"', 'unit = "cost"')
        yield f"mean = {acasxu.exact(acasxu.OUTPUT_MEAN)}"
        yield f"range = {acasxu.exact(acasxu.OUTPUT_RANGE)}"


def properties() -> Iterator[str]:
    for phi in acasxu.TABLE:
        yield from ("", "[[properties]]", f'name = "{phi.name}"', f'file = "{phi.name}.vnnlib"', f'text = "{phi.text}"')


def network(name: str, path: Path, applicable: tuple[str, ...]) -> Iterator[str]:
    net = read_network(path)
    names = ", ".join(f'"{p}"' for p in applicable)
    yield from ("", "[[networks]]", f'name = "{name}"', f'weights_sha256 = "{weights_sha256(net)}"')
    if key := content_key(net):
        yield f'content_key = "{key}"'
    yield f"properties = [{names}]"


def suite(folder: Path, demo: Path) -> str:
    """The suite file's text."""
    lines = [*head(), *quantities(), *properties()]
    for a, t in acasxu.NETWORKS:
        file = folder / f"ACASXU_run2a_{a}_{t}_batch_2000.onnx"
        lines += network(f"N{a},{t}", file, acasxu.applicable(a, t))
    lines += network("demo", demo, DEMO_PROPERTIES)
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the ACAS Xu suite file.")
    parser.add_argument("folder", type=Path, help="the 45 ONNX networks")
    parser.add_argument("--demo", type=Path, default=ROOT / "birdnn" / "data" / "demo.onnx")
    parser.add_argument("--out", type=Path, default=ROOT / "properties" / "acasxu.toml")
    options = parser.parse_args(argv)
    options.out.write_text(suite(options.folder, options.demo), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
