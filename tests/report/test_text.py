"""Tables: they say what the records say, fit the terminal, and claim nothing more."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console, RenderableType

from birdnn.records import (
    CertificateFile,
    Drawdown,
    Drawdowns,
    Fidelity,
    PacBound,
    Preservation,
    Rate,
    Unknown,
)
from birdnn.report.tables import duration_text
from birdnn.report.text import repair_summary, verify_summary
from tests.report.outcomes import AROUND, LATE, PROVED, VIOLATED, prop, repair_outcome, verify_outcome

OUTCOMES = {
    "proved": repair_outcome(),
    "unmeasured": repair_outcome(
        fidelity=None,
        fidelity_note="not measured: domain unknown, give --domain",
        behaviour=(),
        behaviour_kept="not measured",
        drawdown=Drawdowns(),
        efficacy=None,
        generalisation=None,
        change={},
        suite=None,
    ),
    "nothing": repair_outcome(result="nothing_to_repair", out=None, report=None, properties=(prop(before="proved"),)),
    "sampled": repair_outcome(result="sampled", properties=(prop(after="unknown"), prop("b", after="unknown"))),
    "violated": repair_outcome(result="violated", properties=(prop(after="violated"),), regressions=("prop_1",)),
    "interrupted": repair_outcome(result="violated", interrupted=True, properties=(prop(after="unknown"),)),
    "points": repair_outcome(generalisation=None, neighbours=(AROUND,)),
    "late": repair_outcome(result="sampled", timed_out=True, properties=(prop(after="unknown"),)),
}

CHECKED = CertificateFile(
    path="/n/net.certificate.json.gz",
    sha256="ab",
    size=24_176,
    properties=("prop_8",),
    answer="accepted",
    detail="float64, all 472 leaves",
    write_s=0.01,
    check_s=1.5,
)


def drawn(what: RenderableType, width: int = 80, *, colour: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=colour, no_color=not colour, highlight=False).print(what)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("case", OUTCOMES)
def test_tables_fit_and_claim_nothing_more(case: str, width: int) -> None:
    text = drawn(repair_summary(OUTCOMES[case], width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "accuracy" not in text.lower()
    assert "safe" not in text.lower()


def test_a_proved_repair_says_what_a_person_wants_to_know() -> None:
    text = " ".join(drawn(repair_summary(OUTCOMES["proved"], verbose=True), 80).split())
    for piece in (
        "Repaired and proved: 2 of 2 properties that were asked about are proved.",
        "Kept: 99.99 % same decision (argmin) on the domain (suite acasxu), mean absolute difference 8.1e-05 (0.4",
        "prop_8 violated proved complete search 12,345 3.25 s",
        "prop_2 (keep) proved proved",
        "99.99 % same decision (argmin), mean absolute difference 8.1e-05, n = 400,000",
        "0.001 % of 100,000 points in prop_3, the worst of 2 properties",
        "efficacy 100 % by proof",
        "generalisation 40 of 40",
        "4 min 05 s",
        "float64, rounding accounted for; as executed in float32",
        "prop_3: not asked for",
        "10 of 250 values in 1 initialiser",
    ):
        assert piece in text, piece


def test_a_repair_fits_a_screen_and_hides_no_remark() -> None:
    """Also not what the proof speaks about; what goes without saying waits for --verbose."""
    notes = tuple(f"Note {number}." for number in range(5))
    sampled = PacBound(measure="uniform on the region", epsilon=7e-6, delta=1e-3, n=1_000_000, violations=0)
    kept = Preservation(
        where="the domain (suite acasxu)",
        found_lower=(-0.0034,),
        found_upper=(0.0034299,),
        x=(0.0, 0.0),
        lower=(-0.0068,),
        upper=(0.0068351,),
        arithmetic="",
        method="",
        boxes=1,
        seconds=0.0,
        complete=True,
        decided=Rate(hits=73_100, n=100_000),
    )
    moved = Fidelity(decision_agreement=0.9921, mae=2.5e-4, n=99_946)
    usual = repair_outcome(
        notes=("The weights are those of N2,9 in suite acasxu.",),
        tried=(),
        properties=(prop(sampled=sampled), prop("prop_2", sampled=sampled)),
        region_fidelity={"prop_8": moved, "prop_2": moved},
        preservation=kept,
        certificate=CHECKED,
        drawdown=Drawdowns(properties=(Drawdown(name="prop_8", share=0.0, n=99_946),)),
        generalisation=Rate(hits=40, n=40, by_proof=True),
    )
    text = drawn(repair_summary(usual, 80), 80)
    assert len(text.rstrip().splitlines()) <= 24
    assert "change in domain      0.00342 found, at most 0.00684 proved over the reals" in text
    assert "by proof" not in text
    assert "arithmetic" in text
    text = drawn(repair_summary(repair_outcome(notes=notes, tried=()), 80), 80)
    assert all(note in text for note in notes)


def test_neighbours_of_points_are_counted_and_never_proved() -> None:
    text = " ".join(drawn(repair_summary(OUTCOMES["points"]), 100).split())
    assert "neighbours of fixes 75.00 % have the answer wished for (before 50.00 %), 300 of 600 that had not" in text
    assert "n = 1,200, at most 0.01 away in each input" in text
    assert "generalisation" not in text


def test_only_a_proof_is_called_one() -> None:
    for case in ("sampled", "violated", "interrupted", "late"):
        text = drawn(repair_summary(OUTCOMES[case]), 80)
        assert "Repaired and proved" not in text
        assert "complete search" not in text


def test_unknown_domain_says_what_to_do() -> None:
    assert "not measured: domain unknown, give --domain" in drawn(repair_summary(OUTCOMES["unmeasured"]), 100)


def test_a_drawdown_of_no_points_is_not_called_none() -> None:
    entries = (Drawdown(name="a", share=None, n=0), Drawdown(name="b", share=0.0, n=5))
    mixed = " ".join(drawn(repair_summary(repair_outcome(drawdown=Drawdowns(properties=entries)), 120), 120).split())
    assert "none seen in 1 property, at least 5 points each; n/a for a" in mixed
    alone = drawn(repair_summary(repair_outcome(drawdown=Drawdowns(properties=entries[:1])), 120), 120)
    assert "n/a: no point satisfied a property before" in alone


@pytest.mark.parametrize("width", [60, 80])
def test_verify_table(width: int) -> None:
    text = drawn(verify_summary(verify_outcome(PROVED, VIOLATED, LATE), width), width)
    assert max(map(len, text.splitlines())) <= width
    for piece in ("unsat", "sat", "timeout", "0.5, -0.25"):
        assert piece in text
    assert ("7 boxes open" in text) == (width == 80)


def test_an_undecided_search_and_an_attack_without_success_are_told_apart() -> None:
    tried = Unknown(reason="not_found", boxes=0, tried="2 rounds of attack on 1 input region")
    text = drawn(verify_summary(verify_outcome(tried, Unknown(reason="boxes", boxes=9, open_boxes=3)), 160), 160)
    assert "no counterexample found, no proof tried: 2 rounds of attack on 1 input region" in text
    assert "limit of boxes, 3 boxes open" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.041, "0.04 s"), (12.34, "12.3 s"), (245.2, "4 min 05 s"), (7260, "2 h 01 min")]
)
def test_durations(value: float, text: str) -> None:
    assert duration_text(value) == text


def test_a_certificate_is_told_with_what_the_checker_says() -> None:
    """A file that nobody mentions is not found, and one that was rejected must not pass for a proof."""
    said = replace(CHECKED, answer="rejected", detail="node 7: a polytope is left open")
    for summary, outcome in ((verify_summary, verify_outcome(PROVED)), (repair_summary, repair_outcome())):
        assert "certificate" not in drawn(summary(outcome, 200), 200)
        text = drawn(summary(replace(outcome, certificate=said), 200), 200)
        assert "/n/net.certificate.json.gz (24 kB)" in text
        assert "rejected: node 7: a polytope is left open; 1.50 s" in text
