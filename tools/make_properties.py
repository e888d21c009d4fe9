"""Write prop_1 .. prop_10 as VNN-LIB 1.0 from the table of raw units (`tools/acasxu.py`).

    python -m tools.make_properties [FOLDER]

Every bound is normalised exactly and rounded outward to twelve decimals, so the written box contains the stated one.
The formula describes what is unsafe, as the benchmark of VNN-COMP does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tools import acasxu
from tools.acasxu import Box, Phi, Rows

FOLDER = Path(__file__).resolve().parent.parent / "properties"


def bounds(box: Box) -> Iterator[tuple[str, str]]:
    """For each input the two comparisons, upper bound first, in network units."""
    for i, quantity in enumerate(acasxu.INPUTS):
        low, high = (quantity.normalised(raw) for raw in box[quantity.name])
        yield f"(<= X_{i} {acasxu.decimal(high, up=True)})", f"(>= X_{i} {acasxu.decimal(low, up=False)})"


def raw_comments(box: Box) -> list[str]:
    """What each input's bounds are in raw units, as comments."""
    comments = []
    for i, quantity in enumerate(acasxu.INPUTS):
        low, high = (acasxu.exact(raw) for raw in box[quantity.name])
        comments.append(f"; X_{i}: {quantity.name}, {quantity.text}: {low} .. {high} {quantity.unit}")
    return comments


def input_asserts(phi: Phi) -> Iterator[str]:
    if len(phi.boxes) == 1:
        for comment, (upper, lower) in zip(raw_comments(phi.boxes[0]), bounds(phi.boxes[0]), strict=True):
            yield from ("", comment, f"(assert {upper})", f"(assert {lower})")
        return
    yield ""
    for number, box in enumerate(phi.boxes, start=1):
        yield from (f"; region {number} of {len(phi.boxes)}", *raw_comments(box))
    yield "(assert (or"
    for box in phi.boxes:
        yield f"    (and {' '.join(part for pair in bounds(box) for part in pair)})"
    yield "))"


def output_asserts(phi: Phi) -> Iterator[str]:
    yield from ("", f"; unsafe: {phi.unsafe_text}")
    if phi.coc_limit is not None:
        limit = (phi.coc_limit - acasxu.OUTPUT_MEAN) / acasxu.OUTPUT_RANGE
        yield f"(assert (>= Y_{acasxu.COC} {acasxu.decimal(limit, up=False)}))"
    elif len(phi.unsafe) == 1:
        yield from (f"(assert {row})" for row in _rows(phi.unsafe[0]))
    else:
        yield "(assert (or"
        yield from (f"    (and {' '.join(_rows(conjunction))})" for conjunction in phi.unsafe)
        yield "))"


def _rows(conjunction: Rows) -> list[str]:
    return [f"(<= Y_{i} Y_{j})" for i, j in conjunction]


def vnnlib(phi: Phi) -> str:
    """The property as the text of a VNN-LIB 1.0 file."""
    lines = [
        f"; ACAS Xu phi-{phi.number}: {phi.text}",
        "; Katz et al. 2017, arXiv:1702.01135. Written by tools/make_properties.py: bounds normalised exactly,",
        f"; rounded outward to {acasxu.DECIMALS} decimals; outputs Y_0 .. Y_4 are the costs of COC, WL, WR, SL, SR.",
        "",
        *(f"(declare-const X_{i} Real)" for i in range(len(acasxu.INPUTS))),
        *(f"(declare-const Y_{i} Real)" for i in range(len(acasxu.OUTPUTS))),
        *input_asserts(phi),
        *output_asserts(phi),
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write the ACAS Xu properties from the table of raw units.")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder: Path = parser.parse_args(argv).folder
    for phi in acasxu.TABLE:
        file = folder / f"{phi.name}.vnnlib"
        file.write_text(vnnlib(phi), encoding="utf-8")
        print(file)


if __name__ == "__main__":
    main()
