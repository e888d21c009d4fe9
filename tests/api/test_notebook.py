"""Tables in notebooks: what a row says, of strangers' names and of long inputs, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from birdnn.api.notebook import repair_html, verify_html
from birdnn.records import Violated, Witness
from tests.report.outcomes import LATE, PROVED, VIOLATED, prop, repair_outcome, verify_outcome


def test_each_verdict_has_its_word_its_colour_and_its_ground() -> None:
    shown = verify_html(verify_outcome(PROVED, VIOLATED, LATE))
    first, second, third = shown.split("<tr>")[2:]
    assert '<td>prop_0</td><td><strong style="color:#1a7f37">proved</strong></td><td></td><td>12</td>' in first
    assert '#cf222e">violated</strong></td><td>at 0.5, -0.25</td><td>3</td><td>1.5 s</td>' in second
    assert '#9a6700">unknown</strong></td><td>timeout</td><td>100</td>' in third
    assert "<p" not in shown


@pytest.mark.parametrize(("count", "more"), [(8, ""), (9, ", ... (9 inputs)")])
def test_of_a_long_input_eight_numbers_are_shown(count: int, more: str) -> None:
    x = tuple(float(i) for i in range(count))
    verdict = Violated(witness=Witness(x=x, y=(1.5,), replayed_by=("onnxruntime",)), boxes=1234567)
    shown = verify_html(verify_outcome(verdict))
    assert f"<td>at 0, 1, 2, 3, 4, 5, 6, 7{more}</td><td>1,234,567</td>" in shown


def test_what_strangers_write_is_text() -> None:
    """Neither markup nor characters that turn text round."""
    bad = "<b>&\u202e"
    outcome = verify_outcome(LATE)
    outcome = replace(outcome, verdicts=(replace(outcome.verdicts[0], name=bad),), disagreement=bad)
    mended = repair_outcome(properties=(prop(bad),), disagreement=bad, out=f"/n/{bad}.onnx")
    for shown in (verify_html(outcome), repair_html(mended)):
        assert "<b>" not in shown
        assert "\u202e" not in shown
        assert shown.count("&lt;b&gt;&amp;") >= 2


def test_a_contradiction_is_said_below_in_red() -> None:
    told = '<p style="color:#cf222e">A says yes, B no</p>'
    assert verify_html(replace(verify_outcome(PROVED), disagreement="A says yes, B no")).endswith(told)
    assert repair_html(repair_outcome(disagreement="A says yes, B no")).endswith(told)


def test_a_repair_says_what_was_written_and_what_is_kept() -> None:
    shown = repair_html(repair_outcome())
    assert shown.count("<tr>") == 3
    assert '#cf222e">violated</strong></td><td><strong style="color:#1a7f37">proved</strong>' in shown
    assert "<td>12,345</td><td>3.2 s</td>" in shown
    assert ": net.repaired.onnx</p>" in shown
    assert "<p>99.99 % of the domain is decided as before, mean difference 8.1e-05</p>" in shown
    assert "/a/rather/long" not in shown


def test_what_was_not_measured_is_not_said() -> None:
    outcome = repair_outcome(out=None, fidelity=None, result="nothing_to_repair")
    shown = repair_html(outcome)
    assert "nothing to repair" in shown
    assert ".onnx" not in shown
    assert "decided as before" not in shown
    fidelity = repair_outcome().fidelity
    assert fidelity is not None
    undecided = repair_html(repair_outcome(fidelity=replace(fidelity, decision_agreement=None)))
    assert "decided as before" not in undecided
    assert "<svg" not in undecided
