"""What a repair says of itself, and how its two kinds are read back from one form."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from birdnn.errors import NotProvedError
from birdnn.records import ExampleRepair, PropertyRepair, RepairOutcome
from birdnn.report.publish import dumps, json_document, record_from
from tests.report.block_outcomes import block_outcome
from tests.report.outcomes import WITNESS, prop, repair_outcome


def asked(**said: Any) -> PropertyRepair:
    """A repair of which this was asked."""
    made = repair_outcome()
    return replace(made, request=replace(made.request, **said))


def again(outcome: RepairOutcome) -> RepairOutcome:
    return record_from(RepairOutcome, json.loads(dumps(outcome)))


@pytest.mark.parametrize(
    ("said", "top", "alpha"),
    [
        ({"method": "finetune", "optimiser": "pso", "top": 7, "alpha": 0.0}, 7, 0.0),
        ({"method": "finetune", "optimiser": "cmaes", "top": None}, None, 0.5),
        ({"method": "finetune", "optimiser": "lp", "top": 7}, None, None),
        ({"method": "retrain", "optimiser": "pso", "top": 7}, None, None),
    ],
)
def test_what_a_method_has_no_use_for_is_null(said: dict[str, Any], top: int | None, alpha: float | None) -> None:
    made = asked(**said)
    assert (made.top, made.alpha) == (top, alpha)


@pytest.mark.parametrize(
    "said",
    [
        {"method": "finetune", "optimiser": "pso", "top": 7, "alpha": 0.0},
        {"method": "finetune", "optimiser": "bias"},
        {"method": "retrain", "pairing": "input", "max_change": 0.25},
        {"timeout_s": 5.0, "min_agreement": 0.0, "max_mae": 0.5, "max_difference": 2.0, "no_ties": True},
        {"units": "raw", "seed": 11, "command": ("birdnn", "repair", "--net", "my net.onnx")},
    ],
)
def test_what_was_asked_for_reads_back(said: dict[str, Any]) -> None:
    """Of a method with its optimiser the published form has one word; 0 and False were said."""
    found = again(asked(**said)).request
    assert {name: getattr(found, name) for name in said} == said


def test_what_the_file_does_not_say_keeps_its_default() -> None:
    found = again(asked(method="finetune", optimiser="lp", top=7, alpha=0.25)).request
    assert (found.top, found.alpha, found.max_change) == (None, 0.5, 1.0)


def test_a_repair_by_examples_reads_back_as_one() -> None:
    found = again(block_outcome())
    assert isinstance(found, ExampleRepair)
    assert (found.request.method, found.request.optimiser) == ("blocks", "lp")
    assert "blocks" in found.fidelity_note


@pytest.mark.parametrize(
    ("changes", "proved"),
    [
        ({}, True),
        ({"result": "nothing_to_repair", "out": None}, True),
        ({"result": "sampled"}, False),
        ({"result": "violated"}, False),
        ({"disagreement": "a sample violates it"}, False),
        ({"properties": (prop(), prop("b", after="unknown"))}, False),
        ({"result": "nothing_to_repair", "properties": (prop(after="violated"),)}, False),
        ({"properties": ()}, False),
    ],
)
def test_nothing_is_called_proved_for_its_result_alone(changes: dict[str, Any], proved: bool) -> None:
    """A file that was edited, a property that was lost afterwards, a contradiction."""
    assert repair_outcome(**changes).proved is proved


@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"result": "violated", "properties": (prop(after="violated"), prop("b"))}, 1, "prop_8: violated"),
        (
            {"result": "sampled", "properties": (prop(after="unknown"), prop("b", after="unknown"))},
            3,
            "prop_8: unknown; b: unknown",
        ),
        ({"result": "violated", "disagreement": "A against B"}, 6, "A against B"),
        ({"result": "sampled"}, 3, "the result is sampled"),
    ],
)
def test_what_is_not_proved_is_named_with_its_status(changes: dict[str, Any], status: int, told: str) -> None:
    with pytest.raises(NotProvedError) as caught:
        repair_outcome(**changes).raise_unless_proved()
    assert (caught.value.exit_status, str(caught.value)) == (status, told)


def test_a_repair_by_examples_that_failed_is_a_violation() -> None:
    for result, status in (("violated", 1), ("sampled", 3)):
        with pytest.raises(NotProvedError) as caught:
            replace(block_outcome(), result=result).raise_unless_proved()
        assert caught.value.exit_status == status


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (None, ""),
        ("kept", ""),
        ("badly kept", "behaviour badly kept"),
        ("not measured", "behaviour not measured"),
    ],
)
def test_behaviour_that_is_not_kept_stands_beside_the_result(word: Any, said: str) -> None:
    assert repair_outcome(behaviour_kept=word).reservation() == said


def test_counterexamples_are_of_one_network() -> None:
    """Those of the original and of the repaired file, of all properties together."""
    wide, deep = replace(WITNESS, x=(0.5,)), replace(WITNESS, y=(1.0, 2.0))
    for other in (wide, deep):
        for changes in ({"counterexamples": (WITNESS, other)}, {"remaining": other}):
            with pytest.raises(ValueError, match="different numbers of inputs or outputs"):
                repair_outcome(properties=(prop(**changes),))
        with pytest.raises(ValueError, match="different numbers"):
            repair_outcome(properties=(prop(), prop("b", counterexamples=(other,))))
    repair_outcome(properties=(prop(counterexamples=(wide, wide)), prop("b", counterexamples=())))


def test_a_form_of_two_kinds_lacks_nothing() -> None:
    """Both write the same keys in the same order."""
    assert list(json_document(repair_outcome())) == list(json_document(block_outcome()))
