"""From verdicts to a certificate: what can be certified, where it goes, and what the checker's answer is called."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from birdnn.certify.check import UNRUN
from birdnn.pipeline.certifying import (
    Decided,
    certificate_obstacle,
    certified_answers,
    certify,
    checked_certificate,
    notes_beside_graphs,
    unwritten_note,
    verdict_without_proof,
    write_certificate,
    write_file,
)
from birdnn.pipeline.load import Loaded, load_property
from birdnn.records import CertificateFile, Proved, Unknown, Unwatched, Violated, Witness
from birdnn.records.limits import OutOfTime
from birdnn.verify import SearchSettings, verify
from tests.certify.cases import property_text
from tests.formats.label_cases import classifier
from tests.pipeline.subjects import PROVED, UNKNOWN, above, identity, loaded_model
from tests.pipeline.test_clock import Stopped
from tests.verify.cases import SHORT_ATTACK

LIMITS = SearchSettings(record=True, attack=SHORT_ATTACK)


def decided(folder: Path, loaded: Loaded, bound: float, name: str = "prop") -> Decided:
    """That ``y = x + bias`` stays below a bound where x is between -0.5 and 0.5."""
    path = folder / f"{name}.vnnlib"
    path.write_text(property_text(1, 1, f"(>= Y_0 {bound})"))
    prop = load_property(path, loaded, "normalised")
    return Decided(prop=prop, path=str(path), verdict=verify(loaded.net, prop, settings=LIMITS, replays=loaded.replays))


def certified(loaded: Loaded, found: Sequence[Decided], out: Path, **more: object) -> CertificateFile | None:
    options: dict = {"semantics": "real", "watch": Unwatched(), "over": lambda: False} | more
    written = write_certificate(loaded, found, out, **options)
    return None if written is None else checked_certificate(written, options["watch"], options["over"])


def content(path: Path) -> dict:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


# --- what can be certified


def test_what_the_checker_does_not_read_is_named(tmp_path: Path) -> None:
    plain = identity(tmp_path, 0.0)
    assert certificate_obstacle(plain, "normalised") == ""
    assert "raw units" in certificate_obstacle(plain, "raw")
    label = loaded_model(tmp_path, classifier(), "label.onnx")
    assert certificate_obstacle(label, "normalised") == "the checker does not read ArgMax"


def test_half_a_proof_is_none(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    whole = decided(tmp_path, loaded, 2.0)
    assert isinstance(whole.verdict, Proved)
    (region,) = whole.prop.regions
    out = tmp_path / "c.json"
    for verdict, prop in (
        (whole.verdict, replace(whole.prop, regions=(region, region))),  # of two regions one
        (replace(whole.verdict, proofs=()), whole.prop),  # nothing was recorded
        (replace(whole.verdict, proofs=()), replace(whole.prop, regions=(), vacuous="no input satisfies it")),
        (UNKNOWN, whole.prop),
    ):
        assert certified(loaded, [replace(whole, verdict=verdict, prop=prop)], out) is None
    assert certify(loaded, [], out, semantics="real", watch=Unwatched()) is None
    assert not out.exists()


def test_proofs_and_counterexamples_are_written_and_checked(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    held, broken = decided(tmp_path, loaded, 2.0, "held"), decided(tmp_path, loaded, 0.25, "broken")
    assert isinstance(broken.verdict, Violated)
    out = tmp_path / "c.json"
    found = certify(loaded, [held, replace(held, verdict=UNKNOWN), broken], out, semantics="real", watch=Unwatched())
    assert found is not None
    assert (found.answer, found.properties, found.path) == ("accepted", ("held", "broken"), str(out))
    assert found.leaves == 1  # a counterexample has none
    assert (found.size, found.sha256) == (out.stat().st_size, hashlib.sha256(out.read_bytes()).hexdigest())
    assert content(out)["network"]["file"] == "net.onnx"
    assert found.write_s >= 0
    assert found.check_s >= 0


def test_only_what_is_decided_is_said() -> None:
    entries = [
        Decided(prop=above(1.0, name), path=name, verdict=v, shared=2) for name, v in (("a", PROVED), ("b", UNKNOWN))
    ]
    (answer,) = certified_answers(entries)
    assert (answer.prop.name, answer.verdict, answer.shared) == ("a", PROVED, 2)


def test_a_file_is_packed_and_may_lie_elsewhere_for_the_time_being(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    entry, out = decided(tmp_path, loaded, 2.0), tmp_path / "c.json.GZ"

    def elsewhere(asked: Path, data: bytes) -> Path:
        assert (asked, data[:2]) == (out, b"\x1f\x8b")
        return write_file(tmp_path / "draft.gz", data)

    found = certified(loaded, [entry], out, write=elsewhere, named="later.onnx")
    assert found is not None
    assert (found.path, found.size) == (str(out), (tmp_path / "draft.gz").stat().st_size)
    assert not out.exists()
    assert content(tmp_path / "draft.gz")["network"]["file"] == "later.onnx"
    assert found.answer == "accepted"


def test_no_time_to_write_leaves_no_file(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    entry, out = decided(tmp_path, loaded, 2.0), tmp_path / "c.json"
    with pytest.raises(OutOfTime):
        certified(loaded, [entry], out, over=lambda: True)
    assert not out.exists()
    assert "before c.json was complete; give more time" in unwritten_note(out)


# --- what the checker says


def answer(loaded: Loaded, entry: Decided, out: Path, **more: object) -> tuple[str, str]:
    found = certified(loaded, [entry], out, **more)
    assert found is not None
    return found.answer, found.detail


def after_writing(then) -> object:
    """Write, then do something before the checker reads."""

    def write(out: Path, data: bytes) -> Path:
        write_file(out, data)
        then()
        return out

    return write


def test_a_file_of_ours_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    entry, out = decided(tmp_path, loaded, 2.0), tmp_path / "c.json"
    word, _ = answer(loaded, entry, out, write=lambda path, data: write_file(path, b"{"))
    assert word == "rejected"


def test_a_file_of_the_user_that_cannot_be_read_contradicts_nothing(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    entry, out = decided(tmp_path, loaded, 2.0), tmp_path / "c.json"
    word, detail = answer(loaded, entry, out, write=after_writing(Path(entry.path).unlink))
    assert (word, entry.path in detail) == ("not checked", True)


def test_a_false_counterexample_is_rejected(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    entry = decided(tmp_path, loaded, 2.0)
    lie = Witness(x=(0.0,), y=(9.0,), replayed_by=("none",), exactly=True)
    word, _ = answer(loaded, replace(entry, verdict=Violated(witness=lie, boxes=0)), tmp_path / "c.json")
    assert word == "rejected"
    # what is said of a run alone is not for this checker to say, and that it was not checked is told
    run = Violated(witness=replace(lie, exactly=None), boxes=0)
    word, detail = answer(loaded, replace(entry, verdict=run), tmp_path / "c.json")
    assert (word, UNRUN in detail) == ("accepted", True)
    assert UNRUN not in answer(loaded, entry, tmp_path / "c.json")[1]


@pytest.mark.parametrize(("stopping", "detail"), [(True, "interrupted"), (False, "the time limit")])
def test_who_ended_the_check_is_told(tmp_path: Path, stopping: bool, detail: str) -> None:
    loaded = identity(tmp_path, 0.0)
    late: list[bool] = []
    entry, watch = decided(tmp_path, loaded, 2.0), Stopped() if stopping else Unwatched()
    write = after_writing(lambda: late.append(True))
    found = answer(loaded, entry, tmp_path / "c.json", write=write, watch=watch, over=lambda: bool(late))
    assert found == ("not checked", detail)


# --- what is left of a verdict


def test_a_proof_that_is_not_believed_is_none_and_no_counterexample() -> None:
    left = verdict_without_proof(Proved(boxes=7, arithmetic="spoken of"))
    assert isinstance(left, Unknown)
    assert (left.reason, left.boxes, left.arithmetic) == ("rejected", 7, "spoken of")
    violated = Violated(witness=Witness(x=(0.0,), y=(9.0,), replayed_by=("run",)), boxes=0)
    assert verdict_without_proof(violated) is violated
    assert verdict_without_proof(UNKNOWN) is UNKNOWN


def test_a_certificate_of_graphs_says_of_which_it_does_not_speak(tmp_path: Path) -> None:
    loaded = identity(tmp_path, 0.0)
    entries = [decided(tmp_path, loaded, 2.0, name) for name in ("one", "two")]
    undecided = Decided(prop=above(1.0, "open"), path="", verdict=UNKNOWN)
    found = certified(loaded, entries[:1], tmp_path / "c.json")
    assert found is not None
    (note,) = notes_beside_graphs([*entries, undecided], found)
    assert note.startswith("No certificate speaks about two: ")


def test_one_file_holds_proofs_of_one_form(tmp_path: Path) -> None:
    """A counterexample of any form stands beside proofs of graphs, a proof of chains does not."""
    loaded = identity(tmp_path, 0.0)
    held, broken = decided(tmp_path, loaded, 2.0, "held"), decided(tmp_path, loaded, 0.25, "broken")
    assert isinstance(held.verdict, Proved)
    (proof,) = held.verdict.proofs
    graph = replace(held, verdict=replace(held.verdict, proofs=(replace(proof, intervals=np.zeros((0, 2), np.int64)),)))
    named = replace(graph, prop=replace(held.prop, name="graph"))
    found = certified(loaded, [held, named, broken], tmp_path / "c.json")
    assert found is not None
    assert found.properties == ("graph", "broken")
