"""The published models: field names, worst verdicts, whole files, a current schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from birdnn.records import (
    ARITHMETIC,
    AnyRepair,
    Drawdown,
    Drawdowns,
    ExampleRepair,
    PropertyRepair,
    RepairOutcome,
    Series,
    Unknown,
    Verdict,
    worst_verdict,
)
from birdnn.report.publish import MisreadError, dumps, json_document, record_from, write_record
from birdnn.report.schemas import schemas
from birdnn.report.witnesses import counterexample_text
from tests.report.block_outcomes import block_outcome, nothing_found
from tests.report.maps import line, plain
from tests.report.outcomes import AROUND, LATE, LOST, PROVED, VIOLATED, WITNESS, prop, repair_outcome, verify_outcome
from tests.report.pages import outcome

SCHEMAS = Path(__file__).resolve().parent.parent.parent / "docs" / "schema"

REPAIR_FIELDS = {
    "outcome",
    "method",
    "properties",
    "fidelity",
    "region_fidelity",
    "drawdown",
    "efficacy",
    "generalisation",
    "regressions",
    "repair_s",
    "verify_s",
    "sample_s",
    "wall_s",
    "net",
    "net_sha256",
    "out",
    "out_sha256",
    "domain",
    "decision",
    "change",
    "command",
    "machine",
    "seed",
    "versions",
    "schema_version",
}
PROPERTY_FIELDS = {"name", "before", "after", "verify_s", "sha256", "text", "arithmetic", "counterexamples"}


@pytest.mark.parametrize(
    ("verdicts", "outcome", "verdict"),
    [
        ((PROVED,), "proved", "unsat"),
        ((PROVED, PROVED), "proved", "unsat"),
        ((PROVED, VIOLATED, LATE), "violated", "sat"),
        ((PROVED, LATE), "unknown", "timeout"),
        ((LATE, LOST, PROVED), "unknown", "unknown"),
        ((Unknown(reason="memory", boxes=1),), "unknown", "unknown"),
        ((Unknown(reason="interrupted", boxes=1),), "unknown", "unknown"),
    ],
)
def test_the_worst_answer_speaks_for_all(verdicts: tuple[Verdict, ...], outcome: str, verdict: str) -> None:
    report = json_document(verify_outcome(*verdicts))
    assert (report["outcome"], report["verdict"]) == (outcome, verdict)
    assert len(report["properties"]) == len(verdicts)
    assert (report["counterexample"] is not None) == (outcome == "violated")


def test_nothing_is_proved_without_an_answer() -> None:
    with pytest.raises(ValueError, match="empty"):
        worst_verdict([])


def test_commands_are_quoted() -> None:
    assert json_document(verify_outcome(PROVED))["command"] == "birdnn verify --net 'my net.onnx'"


def test_repair_has_the_promised_fields() -> None:
    report = json.loads(dumps(repair_outcome()))
    assert set(report) >= REPAIR_FIELDS
    assert set(report["properties"][0]) >= PROPERTY_FIELDS
    assert set(report["fidelity"]) == {"decision_agreement", "mae", "n"}
    assert report["change"] == {"W_1": {"count": 10, "size": 250, "L1": 0.5, "Linf": 0.03, "largest": []}}
    assert (report["drawdown"]["worst"], report["drawdown"]["share"]) == ("prop_3", 1e-5)
    assert report["generalisation"] == {"share": None, "hits": 40, "n": 40, "by_proof": False}


def test_neighbours_of_points_have_their_own_figures() -> None:
    (entry,) = repair_outcome(neighbours=(AROUND,)).neighbours
    assert (entry.name, entry.points, entry.n, entry.before, entry.after) == ("fixes", 12, 1200, 0.5, 0.75)
    assert (entry.generalisation.share, entry.generalisation.by_proof) == (0.5, False)


def test_what_was_not_measured_is_null() -> None:
    report = repair_outcome(
        fidelity=None, fidelity_note="domain unknown", drawdown=Drawdowns(), efficacy=None, domain=None
    )
    assert report.fidelity is None
    assert report.drawdown.worst is None
    assert report.efficacy is None
    assert report.fidelity_note == "domain unknown"


def test_a_drawdown_of_no_points_is_null_and_not_the_worst() -> None:
    entries = (Drawdown(name="a", share=None, n=0), Drawdown(name="b", share=0.0, n=5))
    report = json.loads(dumps(repair_outcome(drawdown=Drawdowns(properties=entries))))["drawdown"]
    assert (report["worst"], report["share"]) == ("b", 0.0)
    assert report["properties"][0] == {"name": "a", "share": None, "n": 0}
    nothing = json.loads(dumps(repair_outcome(drawdown=Drawdowns(properties=entries[:1]))))["drawdown"]
    assert (nothing["worst"], nothing["share"], nothing["n"]) == (None, None, None)


def test_every_arithmetic_is_named() -> None:
    outcome = repair_outcome(properties=(prop(), prop("b", arithmetic="exact")))
    assert outcome.arithmetic == f"{ARITHMETIC['float32']}; exact"


def test_a_report_goes_through_the_writer_in_one_piece() -> None:
    written: list[tuple[Path, bytes]] = []
    write_record(repair_outcome(), Path("x.json"), lambda path, data: written.append((path, data)))
    ((path, data),) = written
    assert path == Path("x.json")
    assert json.loads(data)["outcome"] == "proved"


def test_counterexamples_are_written_as_vnn_comp_does() -> None:
    assert counterexample_text(WITNESS) == "((X_0 0.5)\n(X_1 -0.25)\n(Y_0 1.5))\n"


def test_the_published_schema_is_current() -> None:
    """Made by ``python -m tools.make_schema``."""
    assert {path.name: path.read_text() for path in SCHEMAS.glob("*.json")} == schemas()


@pytest.mark.parametrize(
    "made", [outcome(), block_outcome(), block_outcome(nothing_found())], ids=["proofs", "blocks", "none"]
)
def test_the_outcome_reads_back(made: AnyRepair) -> None:
    """As a record of its kind, of which the JSON is the same again; of the request there is what it says."""
    again = record_from(RepairOutcome, json.loads(dumps(made)))
    assert type(again) is type(made)
    assert json_document(again) == json_document(made)
    tried = {"tried": made.tried} if isinstance(made, PropertyRepair) else {}
    assert replace(again, request=made.request, report=made.report, **tried) == made
    assert (again.request.seed, again.request.method_name) == (made.request.seed, made.request.method_name)


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        (("properties", 0, "regions", 0, "upper"), ["1"], ("properties", 0, "regions", 0)),
        (("properties", 0, "regions", 0, "unsafe", 0, 0, "bound"), "1/0", ("properties", 0, "regions", 0)),
        (("inputs", 1, "mean"), "9" * 5000, ("inputs", 1, "mean")),
        (("maps", 0, "panels", 0, "decisions", "data"), "never", ("maps", 0, "panels", 0, "decisions")),
        (("semantics",), None, ()),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(
    key: tuple[str | int, ...], value: object, place: tuple[str | int, ...]
) -> None:
    content = json.loads(dumps(outcome(maps=(plain(),))))
    at = content
    for part in key[:-1]:
        at = at[part]
    at[key[-1]] = value
    with pytest.raises((MisreadError, ValidationError)) as caught:
        record_from(RepairOutcome, content)
    error = caught.value
    found = error.place if isinstance(error, MisreadError) else error.errors()[0]["loc"]
    assert found[: len(place)] == place


def test_a_repair_is_of_one_kind() -> None:
    """Proofs speak about something, counts of examples do not."""
    proofs, examples = (json.loads(dumps(made)) for made in (outcome(), block_outcome()))
    with pytest.raises(MisreadError, match="a repair by blocks only"):
        record_from(RepairOutcome, proofs | {"semantics": None})
    with pytest.raises(MisreadError, match="has no properties"):
        record_from(RepairOutcome, proofs | {"blocks": examples["blocks"]})
    with pytest.raises(MisreadError, match="PropertyRepair is expected, and this is ExampleRepair"):
        record_from(PropertyRepair, examples)
    assert record_from(ExampleRepair, examples | {"semantics": "real"}).blocks == block_outcome().blocks  # once so


def test_what_an_earlier_version_wrote_reads_back() -> None:
    """It lacks what came since."""
    since = ("headline", "behaviour", "behaviour_kept", "rule_by", "ties", "watched", "inputs", "outputs", "blocks")
    content = {name: value for name, value in json.loads(dumps(outcome())).items() if name not in since}
    again = record_from(RepairOutcome, content)
    assert isinstance(again, PropertyRepair)
    assert (again.behaviour, again.behaviour_kept, again.inputs) == ((), None, ())


def test_what_would_fail_when_it_is_drawn_is_refused_when_it_is_read() -> None:
    """It ended in an internal error: margins at other positions, decisions for outputs without names, no examples."""
    content = json.loads(dumps(outcome(maps=(plain(),), lines=(line(),))))
    content["lines"][0]["panels"][1]["margins"] = json_document(Series.of(np.ones(9)))
    with pytest.raises(MisreadError, match="one margin for each position") as caught:
        record_from(RepairOutcome, content)
    assert caught.value.place == ("lines", 0)
    content = json.loads(dumps(outcome(maps=(plain(),))))
    content["maps"][0]["outputs"] = ["COC"]
    with pytest.raises(MisreadError, match="beyond the 1 that have names") as caught:
        record_from(RepairOutcome, content)
    assert caught.value.place == ("maps", 0)
    content = json.loads(dumps(block_outcome()))
    content["blocks"]["methods"][1]["accuracy"]["test"]["n"] = 0
    with pytest.raises(MisreadError, match="one at least") as caught:
        record_from(RepairOutcome, content)
    assert caught.value.place == ("blocks", "methods", 1, "accuracy", "test")
