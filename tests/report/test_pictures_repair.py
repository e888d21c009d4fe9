"""The course of a repair and what it changed: every candidate and every initialiser is there."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from birdnn.records import InitialiserChange, Kept, Tried
from birdnn.report.pictures_repair import change_picture, change_svg, progress_picture, progress_svg
from tests.report.outcomes import repair_outcome

KEPT = Kept(decision_agreement=0.9995, mae=1e-4, size=0.02, drawdown=0.0, n=1000)
TRIED = (
    Tried(method="finetune:lp", result="violated", kept=KEPT, seconds=2.0, boxes=1234, answers={"prop_8": "violated"}),
    Tried(method="retrain", result="passed over", kept=replace(KEPT, decision_agreement=1.0, mae=0.0), seconds=0.5),
    Tried(
        method="retrain",
        result="proved",
        kept=replace(KEPT, decision_agreement=0.99),
        seconds=9.0,
        boxes=5678,
        answers={"prop_8": "proved", "prop_2": "proved"},
    ),
)


def text_of(svg: str) -> list[str]:
    found = (element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text"))
    return ["".join(element.itertext()) for element in found]


def test_every_candidate_has_its_column() -> None:
    report = repair_outcome(tried=TRIED, stopped="proved")
    shown = text_of(progress_svg(report))
    assert [name for name in shown if name[:1] in "123" and name[1:3] == "  "] == [
        "1  finetune:lp",
        "2  retrain",
        "3  retrain",
    ]
    for word in ("proved", "violated", "passed over", "not looked at", "1,234", "5,678", "prop_8", "prop_2", "0"):
        assert word in shown, word
    told = progress_picture(report).description
    assert "1. finetune:lp: violated, 99.95 % same decision" in told
    assert told.endswith("Stopped: proved.")
    assert progress_svg(report) == progress_svg(report)


def test_candidates_without_a_decision_rule_or_any_difference() -> None:
    still = tuple(replace(entry, kept=replace(KEPT, decision_agreement=None, mae=0.0)) for entry in TRIED)
    shown = text_of(progress_svg(repair_outcome(tried=still)))
    assert {"no decision rule", "0 for each"} <= set(shown)


def test_a_candidate_that_was_not_measured_is_not_told_to_change_nothing() -> None:
    unknown = replace(KEPT, decision_agreement=None, mae=0.0, n=0)
    report = repair_outcome(tried=(replace(TRIED[0], kept=unknown), TRIED[2]))
    assert "1. finetune:lp: violated, behaviour not measured, 1,234 boxes" in progress_picture(report).description
    zero = replace(TRIED[0], kept=replace(unknown, n=9))
    zeros = [text_of(progress_svg(repair_outcome(tried=(one, TRIED[2])))).count("0") for one in (report.tried[0], zero)]
    assert zeros[0] + 1 == zeros[1]
    none = repair_outcome(tried=(replace(TRIED[0], kept=unknown),))
    shown = text_of(progress_svg(none))
    assert (shown.count("not measured"), "0 for each" in shown) == (2, False)


def test_a_candidate_that_is_too_far_has_its_mark() -> None:
    """It ended in a KeyError, here and on the page."""
    far = Tried(method="retrain", result="too far", kept=KEPT, seconds=1.0)
    shown = text_of(progress_svg(repair_outcome(tried=(far, TRIED[2]))))
    assert "too far" in shown


def test_a_repair_without_candidates_can_be_drawn() -> None:
    report = repair_outcome(tried=())
    assert "0 candidates" in progress_picture(report).title
    progress_svg(report)


def test_initialisers_that_did_not_change_are_shown_as_well() -> None:
    report = repair_outcome(initialisers={"W_0": 100, "b_0": 10, "W_1": 250})
    shown = [entry.strip() for entry in text_of(change_svg(report))]
    for word in ("W_0", "b_0", "W_1", "10 of 250", "0 of 100", "0 of 10"):
        assert word in shown, word
    assert change_picture(report).title == "What the repair changed: 1 initialiser of 3"
    assert change_picture(report).description == "W_1: 10 of 250, at most 0.03"


def test_a_change_of_nothing_can_be_drawn() -> None:
    report = repair_outcome(change={}, initialisers={"W": 3})
    assert change_picture(report).description == "nothing changed"
    change_svg(report)


def test_the_largest_of_many_initialisers_is_never_left_out() -> None:
    many = {f"W_{i}": 10 for i in range(60)}
    moved = {"W_57": InitialiserChange(count=3, size=10, l1=0.3, linf=0.2)}
    shown = text_of(change_svg(repair_outcome(change=moved, initialisers=many)))
    assert "W_57" in shown
