"""How a report becomes a row, and an instance a command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from birdnn.campaign import REPAIR, VERIFY, Instance
from birdnn.campaign.children import Ending
from birdnn.campaign.kinds import EXECUTED, result_columns
from birdnn.records import CONTRADICTION, Drawdowns, Preservation, Rate, Verdict
from birdnn.report.publish import dumps, json_document
from tests.report.outcomes import LATE, LOST, PROVED, VIOLATED, repair_outcome, verify_outcome
from tests.report.pages import STORED


def verified(*verdicts: Verdict, **changes: Any) -> dict[str, object]:
    return VERIFY.found(json_document(verify_outcome(*verdicts)) | changes)


def repaired(**changes: Any) -> dict[str, object]:
    return REPAIR.found(json_document(repair_outcome(**changes)))


def test_a_verification_is_a_row() -> None:
    assert verified(PROVED) == {
        "verdict": "unsat",
        "boxes": 12,
        "solve_s": "1.500",
        "semantics": "real",
        "note": "",
    }


def test_a_row_says_why_nothing_is_decided() -> None:
    """Each reason once; a timeout is an answer by itself."""
    found = verified(LATE, LOST, LOST)
    assert (found["verdict"], found["note"]) == ("unknown", "precision")
    assert verified(LATE)["note"] == ""


def test_a_contradiction_is_the_answer() -> None:
    found = verified(PROVED, disagreement="A says yes, B no")
    assert (found["verdict"], found["note"]) == (CONTRADICTION, "A says yes, B no")
    torn = repaired(disagreement="a sample violates it")
    assert (torn["outcome"], torn["note"]) == (CONTRADICTION, "a sample violates it")


def test_a_row_tells_runs_from_the_reals() -> None:
    """Beside a proof, or as a counterexample that violates when run only."""
    content = json_document(verify_outcome(PROVED, VIOLATED))
    first, second = content["properties"]
    assert VERIFY.found(content)["note"] == ""
    assert VERIFY.found(content | {"properties": [first | {"executed": second["counterexample"]}]})["note"] == EXECUTED
    for exactly, told in ((False, EXECUTED), (True, ""), (None, "")):
        witness = second["counterexample"] | {"exactly": exactly}
        assert VERIFY.found(content | {"properties": [second | {"counterexample": witness}]})["note"] == told


def test_a_repair_is_a_row() -> None:
    found = repaired(certificate=STORED)
    assert (found["outcome"], found["kept"], found["boxes"], found["rounds"]) == ("proved", "kept", 24690, 3)
    assert (found["agreement"], found["mae"], found["region_agreement"]) == ("0.999870", "8.1e-05", "0.992100")
    assert (found["drawdown"], found["regressions"]) == (1e-5, "")
    # By proof or not, what was counted.
    assert (found["efficacy"], found["generalisation"]) == ("1.000000", "1.000000")
    assert (found["certificate_kb"], found["leaves"], found["check_s"]) == ("82.9", 3066, "1.5")
    assert (found["repair_s"], found["verify_s"], found["sample_s"]) == ("20.0", "15.0", "3.0")


def test_what_was_not_measured_is_empty_or_nan() -> None:
    none = repaired(
        fidelity=None,
        fidelity_note="unknown",
        region_fidelity={},
        efficacy=None,
        generalisation=Rate(hits=0, n=0),
        drawdown=Drawdowns(),
        behaviour_kept=None,
    )
    assert (none["agreement"], none["mae"], none["region_agreement"]) == ("nan", "nan", "nan")
    assert (none["efficacy"], none["generalisation"], none["drawdown"], none["kept"]) == ("", "", "", "")
    assert not {"certificate_kb", "largest"} & none.keys()


def test_the_worst_region_counts_and_regressions_are_named() -> None:
    first = repair_outcome().region_fidelity["prop_8"]
    regions = {"a": replace(first, decision_agreement=None), "b": first, "c": replace(first, decision_agreement=0.5)}
    found = repaired(region_fidelity=regions, regressions=("prop_1", "prop_3"))
    assert (found["region_agreement"], found["regressions"]) == ("0.500000", "prop_1 prop_3")


@pytest.mark.parametrize(
    ("lower", "upper", "proved"), [((-0.5,), (0.25,), "0.5"), ((-0.5,), (float("inf"),), "inf"), ((0.0,), (2.0,), "2")]
)
def test_the_largest_change_is_found_and_proved(lower: Any, upper: Any, proved: str) -> None:
    """Where one side is not known nothing is."""
    made = Preservation(
        where="",
        found_lower=(-0.375,),
        found_upper=(0.125,),
        x=(0.0,),
        lower=lower,
        upper=upper,
        arithmetic="",
        method="",
        boxes=1,
        seconds=0.0,
        complete=True,
        decided=Rate(hits=1, n=4),
    )
    found = repaired(preservation=made)
    assert (found["largest"], found["largest_proved"], found["surely"]) == ("0.375", proved, "0.250000")


@pytest.mark.parametrize(
    ("answer", "row", "solved"),
    [
        ("proved", {}, True),
        ("nothing_to_repair", {"kept": "", "regressions": ""}, True),
        ("sampled", {}, False),
        ("proved", {"kept": "badly kept"}, False),
        ("proved", {"kept": "kept", "regressions": "prop_1"}, False),
    ],
)
def test_a_repair_is_solved_where_its_command_ends_well(answer: str, row: dict[str, str], solved: bool) -> None:
    assert REPAIR.solves(answer, row) is solved


ONE = Instance(
    line=1,
    nets=(("", Path("/n.onnx")),),
    props=(Path("/p.vnnlib"), Path("/q.vnnlib")),
    onnx="n.onnx",
    vnnlib="p.vnnlib+q.vnnlib",
    timeout_s=1.5,
    keep=(Path("/k.vnnlib"),),
    suite="acasxu",
)


def test_an_instance_is_a_command() -> None:
    head = ["--net", "/n.onnx", "--prop", "/p.vnnlib", "--prop", "/q.vnnlib"]
    report = ["--timeout", "1.5", "--json", "/out/verify.json", "--quiet"]
    assert VERIFY.words(ONE, Path("/out")) == ["verify", *head, *report]
    more = ["--keep", "/k.vnnlib", "--suite", "acasxu", "--timeout", "1.5", "--out", "/out", "--quiet"]
    assert REPAIR.words(ONE, Path("/out")) == ["repair", *head, *more]
    assert (VERIFY.names(ONE), REPAIR.names(ONE)) == (("n.onnx", "p.vnnlib+q.vnnlib"), ("n", "p+q"))
    two = replace(ONE, nets=(("f", Path("/n.onnx")), ("g", Path("/m.onnx"))), onnx="n.onnx+m.onnx")
    named = ["--net", "f=/n.onnx", "--net", "g=/m.onnx", *head[2:]]
    assert VERIFY.words(two, Path("/out")) == ["verify", *named, *report]
    assert (VERIFY.names(two)[0], REPAIR.names(two)[0], two.name) == ("n.onnx+m.onnx", "n+m", "n+m p+q")


def ending(**changes: Any) -> Ending:
    return Ending(**({"reason": "ended", "status": 0, "wall_s": 1.25, "told": "", "peak_gib": 0.375} | changes))


@pytest.mark.parametrize(
    ("how", "answer", "note"),
    [
        ({"reason": "memory", "status": None}, "memory", "killed from outside after 0.38 GiB"),
        ({"reason": "timeout", "status": None}, "timeout", "killed from outside after 1.2 s"),
        ({"status": 2, "told": "birdnn: error: no such option"}, "error", "status 2: no such option"),
        ({"status": 4, "told": "first\n\nlast\n"}, "error", "status 4: last"),
        ({"status": 5, "told": "internal error: x\nsee y"}, "crash", "status 5: internal error: x"),
        ({"status": -9}, "crash", "signal 9: it said nothing"),
        ({"status": None, "told": "lost"}, "crash", "lost"),
        ({"status": 3, "told": "x" * 400}, "crash", "status 3: " + "x" * 290),
    ],
)
def test_a_process_that_left_no_report_says_why(how: dict[str, Any], answer: str, note: str, tmp_path: Path) -> None:
    assert result_columns(VERIFY, ending(**how), tmp_path) == {"verdict": answer, "note": note}


def test_a_report_counts_whatever_the_status_and_one_that_is_cut_does_not(tmp_path: Path) -> None:
    text = dumps(verify_outcome(VIOLATED))
    (tmp_path / VERIFY.report).write_text(text)
    assert result_columns(VERIFY, ending(status=1), tmp_path)["verdict"] == "sat"
    (tmp_path / VERIFY.report).write_text(text[:-5])
    assert result_columns(VERIFY, ending(status=1), tmp_path)["verdict"] == "crash"
    # One that was killed is not asked what it wrote before.
    (tmp_path / VERIFY.report).write_text(text)
    killed = ending(reason="timeout", status=None)
    assert result_columns(VERIFY, killed, tmp_path)["verdict"] == "timeout"
