"""What `compare` says: bounds are rounded to the safe side, and raw units stand only where they mean something."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from rich.console import Console

from birdnn.records import (
    Apart,
    CompareOutcome,
    CompareRequest,
    Domain,
    Fidelity,
    Likeness,
    ProvedApart,
    ScaledQuantity,
    Structure,
)
from birdnn.report.comparison_page import compare_page
from birdnn.report.comparison_text import compare_summary
from tests.report.outcomes import MACHINE, VERSIONS
from tests.report.pages import Seen

FURTHEST = Apart(
    place="domain",
    x=(0.5,),
    before=(0.0, 0.0),
    after=(0.1234567, 0.0),
    size=0.1234567,
    output=0,
    decided=None,
    replayed_by=("onnxruntime",),
)
BOUND = ProvedApart(
    place="domain", upper=(0.1234999, 0.0041), method="crown", arithmetic="float64", boxes=3, seconds=0.5, complete=True
)
OUTCOME = CompareOutcome(
    request=CompareRequest(before=Path("a.onnx"), after=Path("b.onnx")),
    before="/n/a.onnx",
    after="/n/b.onnx",
    before_sha256="aa",
    after_sha256="bb",
    structure=Structure(matching="none", statements=(), changes=(), parameters=4, compared=0, same_file=False),
    likeness=(
        Likeness(
            place="domain",
            fidelity=Fidelity(decision_agreement=None, mae=0.01, n=100),
            per_output=(0.01, 0.001),
            n=100,
        ),
    ),
    apart=(FURTHEST,),
    proved_apart=(BOUND,),
    bound_note="",
    properties=(),
    regressions=(),
    semantics="real",
    domain=Domain(lower=(0.0,), upper=(1.0,), source="a file"),
    decision="none",
    suite=None,
    inputs=(),
    outputs=(),
    wall_s=1.0,
    versions=VERSIONS,
    machine=MACHINE,
)


def tables(outcome: CompareOutcome) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=100).print(compare_summary(outcome, 100))
    return stream.getvalue().split()


def test_what_is_proved_is_rounded_up_and_what_is_found_down() -> None:
    """The bound 0.1234999 was printed as 0.123, and as 0.12 in the page."""
    told = tables(OUTCOME)
    assert (told.count("0.124"), told.count("0.123"), "0.0041" in told) == (2, 2, True)
    figures = {pointer: shown for pointer, _, shown in Seen.of(compare_page(OUTCOME)).figures}
    assert figures["/proved_apart/0/upper/0"] == "0.124"
    assert figures["/proved_apart/0/upper/1"] == "0.0041"
    assert figures["/apart/0/size"] == "0.123"


def test_where_an_output_has_no_bound_none_is_told_for_all() -> None:
    half = replace(OUTCOME, proved_apart=(replace(BOUND, upper=(math.inf, 0.0041)),))
    assert "0.124" not in tables(half)
    seen = Seen.of(compare_page(half))
    assert "no bound was proved" in seen.text
    assert {p: s for p, _, s in seen.figures if p.startswith("/proved_apart/0/upper")} == {
        "/proved_apart/0/upper/0": "–",
        "/proved_apart/0/upper/1": "0.0041",
    }


@pytest.mark.parametrize(
    ("scalings", "raw"),
    [([(0, 2), (0, 2)], 0.25), ([(0, 2), (0, 3)], None), ([(0, 2), (1, 2)], None), ([(0, 2), (0, 2), (9, 9)], 0.25)],
)
def test_a_change_of_decision_is_told_in_raw_units_where_the_outputs_share_a_scaling(
    scalings: list[tuple[int, int]], raw: float | None
) -> None:
    """It was scaled by the range of output 0, whichever were compared."""
    outputs = [
        ScaledQuantity(name=str(i), text="", unit="", mean=Fraction(mean), range=Fraction(extent))
        for i, (mean, extent) in enumerate(scalings)
    ]
    flip = replace(FURTHEST, size=0.125, output=None, decided=(0, 1))
    assert flip.scaled((), outputs).size_raw == raw
    assert replace(flip, output=1).scaled((), outputs).size_raw == 0.125 * scalings[1][1]
