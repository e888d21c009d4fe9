"""Write the properties of all families as VNN-LIB 1.0 from their tables of raw units.

    python -m tools.make_properties [FOLDER]

prop_1 .. prop_10 are those of ACAS Xu (`tools/acasxu.py`), hcas_1 .. and vcas_1 .. our own (`tools/cas.py`). Every
bound is normalised exactly and rounded outward to twelve decimals, so the written box contains the stated one. The
formula describes what is unsafe, as the benchmark of VNN-COMP does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tools import acasxu, cas
from tools.family import DECIMALS, Box, Family, Rows, Stated, decimal

FOLDER = Path(__file__).resolve().parent.parent / "properties"
TABLES: tuple[tuple[Family, tuple[Stated, ...]], ...] = (
    (acasxu.FAMILY, acasxu.TABLE),
    (cas.HCAS, cas.HCAS_TABLE),
    (cas.VCAS, cas.VCAS_TABLE),
)


def bounds(box: Box, family: Family) -> Iterator[tuple[str, str]]:
    """For each input the two comparisons, upper bound first, in network units."""
    for i, quantity in enumerate(family.inputs):
        low, high = (quantity.normalised(raw) for raw in box[quantity.name])
        yield f"(<= X_{i} {decimal(high, up=True)})", f"(>= X_{i} {decimal(low, up=False)})"


def raw_comments(box: Box, family: Family) -> list[str]:
    """What each input's bounds are in raw units, as comments."""
    comments = []
    for i, quantity in enumerate(family.inputs):
        low, high = (acasxu.exact(raw) for raw in box[quantity.name])
        comments.append(f"; X_{i}: {quantity.name}, {quantity.text}: {low} .. {high} {quantity.unit}")
    return comments


def input_asserts(phi: Stated, family: Family) -> Iterator[str]:
    if len(phi.boxes) == 1:
        parts = zip(raw_comments(phi.boxes[0], family), bounds(phi.boxes[0], family), strict=True)
        for comment, (upper, lower) in parts:
            yield from ("", comment, f"(assert {upper})", f"(assert {lower})")
        return
    yield ""
    for number, box in enumerate(phi.boxes, start=1):
        yield from (f"; region {number} of {len(phi.boxes)}", *raw_comments(box, family))
    yield "(assert (or"
    for box in phi.boxes:
        yield f"    (and {' '.join(part for pair in bounds(box, family) for part in pair)})"
    yield "))"


def output_asserts(phi: Stated, family: Family) -> Iterator[str]:
    yield from ("", f"; unsafe: {phi.unsafe_text}")
    if phi.at_least is not None:
        output, value = phi.at_least
        limit = (value - family.output_mean) / family.output_range
        yield f"(assert (>= Y_{output} {decimal(limit, up=False)}))"
    elif len(phi.unsafe) == 1:
        yield from (f"(assert {row})" for row in _rows(phi.unsafe[0]))
    else:
        yield "(assert (or"
        yield from (f"    (and {' '.join(_rows(conjunction))})" for conjunction in phi.unsafe)
        yield "))"


def _rows(conjunction: Rows) -> list[str]:
    return [f"(<= Y_{i} Y_{j})" for i, j in conjunction]


def vnnlib(phi: Stated, family: Family = acasxu.FAMILY) -> str:
    """The property as the text of a VNN-LIB 1.0 file."""
    listed = ", ".join(name for name, _ in family.outputs)
    named = f"outputs Y_0 .. Y_{len(family.outputs) - 1} are the {family.output_word}s of {listed}"
    lines = [
        f"; {phi.title}: {phi.text}",
        f"; {family.properties_source}. Written by tools/make_properties.py: bounds normalised exactly,",
        f"; rounded outward to {DECIMALS} decimals; {named}.",
        "",
        *(f"(declare-const X_{i} Real)" for i in range(len(family.inputs))),
        *(f"(declare-const Y_{i} Real)" for i in range(len(family.outputs))),
        *input_asserts(phi, family),
        *output_asserts(phi, family),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the properties from the tables of raw units.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder: Path = parser.parse_args(argv).folder
    for family, table in TABLES:
        for phi in table:
            file = folder / f"{phi.name}.vnnlib"
            file.write_text(vnnlib(phi, family), encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main()
