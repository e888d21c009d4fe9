"""Write a suite file: domain, decision, units, properties in words, and the networks they are meant for.

    python -m tools.make_suite acasxu ONNX_FOLDER [--demo FILE]
    python -m tools.make_suite hcas FOLDER
    python -m tools.make_suite vcas FOLDER

The tables are `tools/acasxu.py` and `tools/cas.py`. The folders are those that `birdnn fetch` fills: ONNX_FOLDER holds
the 45 networks `ACASXU_run2a_{a}_{t}_batch_2000.onnx`, the others the NNet files. Networks are read for their
fingerprints only. The result goes to properties/NAME.toml.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from birdnn.formats import read_network
from birdnn.formats.nnet import read_nnet
from birdnn.formats.suite import content_key
from birdnn.network import weights_sha256
from tools import acasxu, cas
from tools.family import Family, Stated, decimal, plain

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "birdnn" / "data" / "demo.onnx"
DEMO_PROPERTIES = ("prop_1", "prop_2", "prop_3", "prop_4", "prop_8")

Known = tuple[str, Path, tuple[str, ...]]
"""A network's name, its file, and the properties that are meant for it."""


def head(family: Family) -> Iterator[str]:
    """What holds for all networks."""
    low = ", ".join(decimal(i.normalised(i.lower), up=False) for i in family.inputs)
    high = ", ".join(decimal(i.normalised(i.upper), up=True) for i in family.inputs)
    title = {"acasxu": "ACAS Xu", "hcas": "HorizontalCAS", "vcas": "VerticalCAS"}[family.name]
    yield f"# What the {title} network files do not say. Written by tools/make_suite.py; do not edit."
    yield f"# Networks: {family.networks_source}. Properties: {family.properties_source}."
    yield f'suite = "{family.name}"'
    yield f'text = "{family.text}"'
    yield f'decision = "{family.decision}"  # {family.decision_text}'
    yield 'units = "normalised"  # of the networks\' inputs and outputs, of [domain], and of the property files'
    yield from ("", "[domain]", f"lower = [{low}]", f"upper = [{high}]")
    if {"rho", "theta", "psi"} <= {i.name for i in family.inputs}:
        yield from ("", "[encounter]  # seen from above", 'distance = "rho"', 'bearing = "theta"', 'heading = "psi"')


def quantities(family: Family) -> Iterator[str]:
    """Inputs and outputs with their raw units: network value = (raw - mean) / range."""
    for i in family.inputs:
        yield from ("", "[[inputs]]", f'name = "{i.name}"', f'text = "{i.text}"', f'unit = "{i.unit}"')
        for key in ("lower", "upper", "mean", "range"):
            yield f"{key} = {plain(getattr(i, key))}"
    word = family.output_word
    for name, text in family.outputs:
        yield from ("", "[[outputs]]", f'name = "{name}"', f'text = "{word} of {text}"', f'unit = "{word}"')
        yield f"mean = {plain(family.output_mean)}"
        yield f"range = {plain(family.output_range)}"


def properties(table: Iterable[Stated]) -> Iterator[str]:
    for phi in table:
        yield from ("", "[[properties]]", f'name = "{phi.name}"', f'file = "{phi.name}.vnnlib"', f'text = "{phi.text}"')


def network(name: str, path: Path, applicable: tuple[str, ...]) -> Iterator[str]:
    net = read_nnet(path).network if path.suffix == ".nnet" else read_network(path)
    names = ", ".join(f'"{p}"' for p in applicable)
    yield from ("", "[[networks]]", f'name = "{name}"', f'weights_sha256 = "{weights_sha256(net)}"')
    if key := content_key(net):
        yield f'content_key = "{key}"'
    yield f"properties = [{names}]"


def suite(family: Family, table: Iterable[Stated], networks: Iterable[Known]) -> str:
    """The suite file's text."""
    lines = [*head(family), *quantities(family), *properties(table)]
    for known in networks:
        lines += network(*known)
    return "\n".join(lines) + "\n"


def acasxu_suite(folder: Path, demo: Path = DEMO) -> str:
    """The text of acasxu.toml."""
    networks: list[Known] = [
        (f"N{a},{t}", folder / f"ACASXU_run2a_{a}_{t}_batch_2000.onnx", acasxu.applicable(a, t))
        for a, t in acasxu.NETWORKS
    ]
    return suite(acasxu.FAMILY, acasxu.TABLE, [*networks, ("demo", demo, DEMO_PROPERTIES)])


def hcas_suite(folder: Path) -> str:
    """The text of hcas.toml."""
    networks: list[Known] = [
        (f"H{a},{t:02d}", folder / f"HCAS_rect_v6_pra{a}_tau{t:02d}_25HU_3000.nnet", cas.hcas_applicable(a, t))
        for a, t in cas.HCAS_NETWORKS
    ]
    return suite(cas.HCAS, cas.HCAS_TABLE, networks)


def vcas_suite(folder: Path) -> str:
    """The text of vcas.toml. The files count advisories from 1, the outputs and we from 0."""
    networks: list[Known] = [
        (f"V{a}", folder / f"VertCAS_pra{a + 1:02d}_v4_45HU_200.nnet", cas.vcas_applicable(a))
        for a in cas.VCAS_NETWORKS
    ]
    return suite(cas.VCAS, cas.VCAS_TABLE, networks)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write a suite file.")
    parser.add_argument("name", choices=("acasxu", "hcas", "vcas"))
    parser.add_argument("folder", type=Path, help="the networks")
    parser.add_argument("--demo", type=Path, default=DEMO)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    texts = {
        "acasxu": lambda: acasxu_suite(options.folder, options.demo),
        "hcas": lambda: hcas_suite(options.folder),
        "vcas": lambda: vcas_suite(options.folder),
    }
    out: Path = options.out or ROOT / "properties" / f"{options.name}.toml"
    out.write_text(texts[options.name](), encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
