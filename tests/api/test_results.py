"""Results in tests, pipelines and notebooks: what they say when asked, and what they refuse to be asked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from typing import Any

import pytest

import birdnn
from birdnn.api.notebook import repair_html
from birdnn.records import Result
from tests.report.block_outcomes import block_outcome
from tests.report.outcomes import LATE, PROVED, VIOLATED, prop, repair_outcome, verify_outcome

OUTCOMES = [verify_outcome(PROVED), verify_outcome(VIOLATED), repair_outcome(), block_outcome(), PROVED, VIOLATED, LATE]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_a_result_is_neither_true_nor_false(outcome: Any) -> None:
    """``assert birdnn.verify(...)`` passed whatever was found."""
    assert isinstance(outcome, Result)
    for ask in (bool, lambda found: not found, lambda found: found or None):
        with pytest.raises(TypeError, match="neither true nor false: ask"):
            ask(outcome)


def test_what_is_proved_says_so() -> None:
    outcome = verify_outcome(PROVED, PROVED)
    assert outcome.proved
    outcome.raise_unless_proved()
    assert all(answer.proved for answer in outcome.verdicts)


@pytest.mark.parametrize(
    ("outcome", "told", "status"),
    [
        (verify_outcome(PROVED, VIOLATED), r"prop_\w+: violated at \[0\.5, -0\.25\]$", 1),
        (verify_outcome(LATE), r"unknown \(timeout\)", 3),
        (replace(verify_outcome(PROVED), disagreement="A says yes, B no"), "A says yes, B no", 6),
    ],
)
def test_what_is_not_proved_is_named(outcome: birdnn.VerifyOutcome, told: str, status: int) -> None:
    """With the counterexample, the reason, or the contradiction, and the status that the command line has for it."""
    assert not outcome.proved
    with pytest.raises(birdnn.NotProvedError, match=told) as caught:
        outcome.raise_unless_proved()
    assert caught.value.exit_status == status


def test_a_repair_is_proved_where_every_property_is() -> None:
    done = repair_outcome()
    assert done.proved
    done.raise_unless_proved()
    half = replace(done, result="sampled", properties=(*done.properties, prop("b", after="unknown")))
    for outcome in (half, replace(half, result="proved"), replace(done, disagreement="a sample violates it")):
        assert not outcome.proved
        with pytest.raises(birdnn.NotProvedError, match=r"b: unknown|a sample violates it"):
            outcome.raise_unless_proved()


def test_nothing_is_proved_by_examples() -> None:
    done = block_outcome()
    assert not done.proved
    with pytest.raises(birdnn.NotProvedError, match="the result is sampled"):
        done.raise_unless_proved()
    assert repr(done) == "<RepairOutcome sampled; net.repaired.onnx; 245 s>"


def test_results_are_shown_in_a_line() -> None:
    """Pytest prints them in every failure."""
    assert repr(verify_outcome(PROVED, VIOLATED)).startswith("<VerifyOutcome ")
    for outcome in (verify_outcome(PROVED, VIOLATED), repair_outcome()):
        assert len(repr(outcome)) < 200
        assert "\n" not in repr(outcome)


def test_notebooks_show_a_table() -> None:
    """Names are text there, whatever they hold."""
    outcome = verify_outcome(PROVED, VIOLATED)
    first = replace(outcome.verdicts[0], name="<script>")
    shown = replace(outcome, verdicts=(first, *outcome.verdicts[1:]))._repr_html_()  # type: ignore[attr-defined]
    assert "<script>" not in shown
    assert shown.count("<tr>") == 3
    assert ">violated<" in shown
    assert "at 0.5, -0.25" in shown
    assert ">proved<" in repair_outcome()._repr_html_()  # type: ignore[attr-defined]


def test_the_version_is_there() -> None:
    assert birdnn.__version__ == metadata.version("birdnn")
    assert "__version__" in dir(birdnn)


def test_errors_can_be_named_before_any_was_raised() -> None:
    """In a process that did nothing else: an ``except`` clause is looked up only where something was raised."""
    code = "import birdnn; print(birdnn.errors.NotProvedError is birdnn.NotProvedError)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_badly_kept_repair_says_so_where_it_is_shown() -> None:
    """In a notebook it stood in green, and in the interpreter as nothing but proved."""
    done = replace(repair_outcome(), behaviour_kept="badly kept")
    assert "; behaviour badly kept; " in repr(done)
    assert "badly kept" in repair_html(done)
    assert "badly" not in repr(repair_outcome()) + repair_html(repair_outcome())
