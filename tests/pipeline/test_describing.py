"""What a report tells beside verdicts: units, what applies besides, what a verdict leaves unsaid."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from birdnn.formats.suite import Suite
from birdnn.pipeline.case import Applicable, Case
from birdnn.pipeline.describing import (
    Found,
    applicable_outcomes,
    outcome_remarks,
    scaled_quantities,
    suite_quantities,
)
from birdnn.pipeline.judging import Attempt
from birdnn.pipeline.load import Loaded, load_network
from birdnn.pipeline.measuring import Measured
from birdnn.records import Drawdowns, PacBound
from tests.formats.models import model, node
from tests.pipeline.subjects import (
    PROVED,
    UNKNOWN,
    VIOLATED,
    above,
    answers,
    asked,
    case_of,
    identity,
    loaded_model,
)
from tests.pipeline.test_repairing import nnet_text


def nnet(folder: Path, means: str = "0.5,3.0,", ranges: str = "2.0,4.0,") -> Loaded:
    """One input and two outputs."""
    path = folder / "net.nnet"
    text = nnet_text([(np.ones((2, 1)), np.zeros(2))], 1)
    path.write_text(text.replace("0.0,0.0,\n1.0,1.0,\n", f"{means}\n{ranges}\n", 1))
    return load_network(path)


# --- quantities


def test_an_nnet_file_says_what_its_numbers_mean(tmp_path: Path) -> None:
    inputs, outputs = scaled_quantities(nnet(tmp_path))
    assert [(q.name, q.mean, q.range) for q in inputs] == [("X_0", 0.5, 2)]
    assert [(q.name, q.mean, q.range) for q in outputs] == [("Y_0", 3, 4), ("Y_1", 3, 4)]


def test_an_onnx_file_says_nothing_of_units(tmp_path: Path) -> None:
    assert scaled_quantities(identity(tmp_path, 0.0)) == ((), ())


def test_a_suite_names_units_with_exact_numbers(tmp_path: Path) -> None:
    suite = Suite.load("acasxu")
    inputs, outputs = suite_quantities(suite)
    assert [q.name for q in inputs] == [q.name for q in suite.inputs]
    assert inputs[1].range == Fraction("6.28318530718")  # not what float64 makes of it
    assert len(outputs) == len(suite.outputs) == 5
    known = replace(nnet(tmp_path), known=(suite, suite.entry("N1,1")))
    assert scaled_quantities(known) == (inputs, outputs)


# --- fields


def test_where_no_network_was_written_nothing_was_measured() -> None:
    found = Measured.nothing()
    assert found.fidelity_note == "no network was written"
    said = {entry.name: getattr(found, entry.name) for entry in fields(Measured)}
    assert not any(value for name, value in said.items() if name not in ("fidelity_note", "drawdown"))
    assert found.drawdown == Drawdowns()


def watched(folder: Path) -> Case:
    """Two properties that were asked for, two that apply besides."""
    besides = [Applicable(prop=above(1.0, name), path=name, text=f"about {name}") for name in ("first", "second")]
    return case_of(identity(folder, 0.0), *asked(above(1.0, "one"), above(2.0, "two")), *besides)


def test_what_was_not_looked_at_again_is_not_called_unknown(tmp_path: Path) -> None:
    bound = PacBound(measure="uniform", epsilon=0.1, delta=0.1, n=3, violations=0)
    before = answers(first=VIOLATED, second=UNKNOWN)
    found = Found(before=before, sampled={"second": bound})
    told = applicable_outcomes(watched(tmp_path), found, answers(first=UNKNOWN))
    assert [(o.name, o.text, o.before, o.after, o.sampled) for o in told] == [
        ("first", "about first", "violated", "unknown", None),
        ("second", "about second", "unknown", None, bound),
    ]


# --- remarks


BEFORE = answers(one=PROVED, two=VIOLATED, first=PROVED, second=UNKNOWN)


def remarks(case: Case, best: Attempt | None, *, as_many: bool = False, **before: object) -> list[str]:
    return list(outcome_remarks(case, BEFORE | answers(**before), best, as_many=as_many))


def test_there_may_be_nothing_to_remark(tmp_path: Path) -> None:
    case = watched(tmp_path)
    best = Attempt(loaded=case.loaded, answers=answers(one=PROVED, two=UNKNOWN, first=PROVED, second=UNKNOWN))
    assert remarks(case, best) == remarks(case, None) == []


def test_what_applies_and_was_violated_is_told_even_where_nothing_was_written(tmp_path: Path) -> None:
    (told,) = remarks(watched(tmp_path), None, second=VIOLATED)
    assert told == "Applicable, not named and violated on the original: second; --suite repairs all."


def test_of_as_many_as_possible_it_is_told_how_many(tmp_path: Path) -> None:
    """Of those that were asked for; what was not looked at is not proved."""
    case = watched(tmp_path)
    best = Attempt(loaded=case.loaded, answers=answers(two=PROVED, first=PROVED, second=PROVED))
    assert remarks(case, best, as_many=True, two=UNKNOWN) == ["Of 2 properties 1 were proved before and 1 are now."]
    best.answers |= answers(one=PROVED)
    assert remarks(case, best, as_many=True) == ["Of 2 properties 1 were proved before and 2 are now."]


def test_what_nobody_looked_at_again_is_named(tmp_path: Path) -> None:
    case = watched(tmp_path)
    (told,) = remarks(case, Attempt(loaded=case.loaded, answers=answers(second=PROVED)))
    assert told.endswith("for lack of time: first.")


def with_constants(folder: Path, count: int) -> Loaded:
    """So many layers, with their weights in Constant nodes."""
    nodes, last = [], "x"
    for number in range(count):
        value, out = numpy_helper.from_array(np.ones((1, 1), np.float32)), "y" if number == count - 1 else f"h{number}"
        nodes.append(node("Constant", [], f"c{number}", value=value))
        nodes.append(node("MatMul", [last, f"c{number}"], out))
        last = out
    return loaded_model(folder, model(nodes, {}, (1, 1)))


@pytest.mark.parametrize(("count", "words"), [(1, "nodes 'c0' are"), (4, "'c3' are"), (6, "'c3' and 2 more are")])
def test_constants_that_became_initialisers_are_told(tmp_path: Path, count: int, words: str) -> None:
    loaded = with_constants(tmp_path, count)
    case = case_of(loaded, *asked(above(1.0)))
    (told,) = remarks(case, Attempt(loaded=loaded, answers=answers(above=PROVED)))
    assert words in told
    assert remarks(case, None) == []


def test_why_there_is_no_certificate_is_told(tmp_path: Path) -> None:
    case = case_of(nnet(tmp_path), *asked(above(1.0)))
    (told,) = remarks(case, Attempt(loaded=case.loaded))
    assert told == (
        "No certificate: the checker reads ONNX, not NNet; the ONNX copy beside it can have one: verify --certificate."
    )
    plain = watched(tmp_path)
    raw = replace(plain, files=replace(plain.files, units="raw"))
    best = Attempt(loaded=raw.loaded, answers=answers(first=PROVED, second=PROVED))
    (told,) = remarks(raw, best)
    assert told == "No certificate: the property speaks raw units, the checker those of the network."
