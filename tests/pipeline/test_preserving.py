"""How far a repaired network is from the original, on small cases: found, proved, asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import FormatError, MismatchError
from birdnn.formats.onnx import bytes_with_values
from birdnn.pipeline import preserving
from birdnn.pipeline.candidates import Candidates
from birdnn.pipeline.judging import Attempt, make_hunter
from birdnn.pipeline.load import load_network
from birdnn.pipeline.preserving import Closeness, surely_kept
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.reporting import report_files
from birdnn.records import CaseFiles, Decision, Kept, Preservation, PropertyRepair, Unwatched
from birdnn.records.limits import never
from birdnn.verify.differing import Difference
from tests.formats.models import model, node
from tests.pipeline.test_repairing import FAST, build


def changes(outcome: PropertyRepair, net: Path) -> torch.Tensor:
    """Of each output at random inputs of the domain, as the files are run."""
    assert outcome.out is not None
    old, new = (OnnxReplay(Path(path).read_bytes()) for path in (net, outcome.out))
    x = 2 * torch.rand(2000, 2, generator=torch.Generator().manual_seed(7)) - 1
    return torch.stack([torch.tensor(new(p.numpy())) - torch.tensor(old(p.numpy())) for p in x])


def known(outcome: PropertyRepair) -> Preservation:
    assert outcome.preservation is not None
    return outcome.preservation


@pytest.mark.thorough
def test_what_is_asked_for_is_proved_and_holds(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(method="finetune", max_difference=2.0), settings=FAST)
    assert outcome.result == "proved"
    assert outcome.behaviour_kept in ("kept", "badly kept")
    found = known(outcome)
    assert found.complete
    assert found.found <= found.proved + 1e-5
    assert found.proved <= 2.0
    assert found.constants == (found.boxes == 1)  # one bias: the checker agrees
    change = changes(outcome, case.net)
    assert (change <= torch.tensor(found.upper) + 1e-5).all()
    assert (change >= torch.tensor(found.lower) - 1e-5).all()
    again = report_files(Path(str(outcome.report))).outcome
    assert again.preservation == found
    assert again.request.max_difference == 2.0


@pytest.mark.thorough
def test_what_cannot_be_is_no_repair(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(method="finetune", max_difference=1e-6), settings=FAST)
    assert (outcome.result, outcome.attempt) == ("violated", True)
    assert any("No candidate could be proved to be within 1e-06" in note for note in outcome.notes)
    assert {entry.result for entry in outcome.tried} == {"too far"}
    assert len(outcome.tried) < FAST.rounds  # the same again and again is not tried
    assert not list(tmp_path.rglob("*.repaired.onnx"))


def test_nobody_asks_and_it_is_told(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(method="finetune"), settings=FAST)
    found = known(outcome)
    change = changes(outcome, case.net)
    assert float(change.abs().max()) <= 1.2 * found.found  # the search sees about as far as two thousand points
    assert (change <= torch.tensor(found.upper) + 1e-5).all()
    written = json.loads(Path(str(outcome.report)).read_text())["preservation"]
    assert written["found_upper"] == list(found.found_upper)


def test_without_a_domain_there_is_nothing_to_prove_it_over(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    with pytest.raises(MismatchError, match="--max-difference is about the domain"):
        repair_files(case.request(domain=None, max_difference=0.1), settings=FAST)


@pytest.mark.thorough
def test_a_bound_below_what_is_found_is_a_contradiction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = build(tmp_path, "Relu")
    nothing = torch.zeros(3, dtype=torch.float64)
    planted = Difference(lower=-nothing, upper=nothing, boxes=1, complete=True)
    monkeypatch.setattr(preserving, "tighten_difference", lambda *asked, **more: planted)
    outcome = repair_files(case.request(method="finetune"), settings=FAST)
    assert "it was proved that in the domain it changes" in outcome.disagreement
    assert not list(tmp_path.rglob("*.repaired.onnx"))


@pytest.mark.parametrize("decision", ["argmin", "argmax"])
def test_a_decision_that_is_surely_kept_is_kept(decision: Decision) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(3000, 4, generator=generator, dtype=torch.float64)
    lower, upper = torch.tensor([-0.3, 0.1, 0.0, -0.2]).double(), torch.tensor([0.1, 0.5, 0.0, -0.1]).double()
    kept = surely_kept(y, lower, upper, decision)
    assert 0 < int(kept.sum()) < len(y)

    def best(z: torch.Tensor) -> torch.Tensor:
        return z.argmin(1) if decision == "argmin" else z.argmax(1)

    lost = torch.zeros(len(y), dtype=torch.bool)
    for number in range(16):  # the worst change is at a corner
        corner = torch.tensor([number >> i & 1 for i in range(4)]).bool()
        lost |= best(y + torch.where(corner, upper, lower)) != best(y)
    assert torch.equal(kept, ~lost)
    unknown = torch.full((4,), torch.inf, dtype=torch.float64)
    assert not surely_kept(y, -unknown, unknown, decision).any()


def test_an_input_that_float32_does_not_have_contradicts_nothing(tmp_path: Path) -> None:
    """One input is fixed at 0.3, which is no float32: what is run lies beside the domain."""
    case = build(tmp_path, "Relu")
    case.domain.write_text("lower = [-1.0, 0.3]\nupper = [1.0, 0.3]\n")
    outcome = repair_files(case.request(method="finetune"), settings=FAST)
    assert not outcome.disagreement
    assert known(outcome).x[1] == pytest.approx(0.3)


def test_who_is_close_comes_before_who_is_not(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    loaded = load_network(case.net)
    near, far = Attempt(loaded=loaded), Attempt(loaded=loaded, too_far=True)
    good, bad = (Kept(decision_agreement=share, mae=0.0, size=1.0, drawdown=0.0, n=9) for share in (1.0, 0.5))
    for as_many in (False, True):
        found = Candidates.__new__(Candidates)
        found.request, found.asked = case.request(as_many=as_many), []
        for best, kept, new, other, wins in ((far, good, near, bad, True), (near, bad, far, good, False)):
            found.best, found._kept = best, kept
            assert found._is_better(new, other) is wins


def test_networks_of_which_no_difference_is_followed_are_refused_at_once(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    nodes = [node("MatMul", ["x", "a"], "h"), node("Relu", ["h"], "r"), node("MatMul", ["x", "b"], "s")]
    nodes.append(node("Add", ["r", "s"]))
    case.net.write_bytes(model(nodes, {"a": np.ones((2, 3), np.float32), "b": np.eye(2, 3, dtype=np.float32)}, (1, 2)))
    with pytest.raises(MismatchError, match="--max-difference needs bounds of a difference"):
        repair_files(case.request(max_difference=0.1), settings=FAST)


def test_ranges_of_different_numbers_of_outputs_are_damage(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(method="finetune"), settings=FAST)
    record = Path(str(outcome.report))
    content = json.loads(record.read_text())
    content["preservation"]["found_upper"].pop()
    record.write_text(json.dumps(content))
    with pytest.raises(FormatError, match="different numbers of outputs"):
        report_files(record)


def test_a_large_constant_is_no_contradiction(tmp_path: Path) -> None:
    """Bounds around ten thousand are closer to each other than two numbers of float32."""
    before = build(tmp_path, "Relu")
    loaded = load_network(before.net)
    bias = next(name for name, value in loaded.net.initialisers().items() if value.shape == (3,))
    moved = loaded.net.with_values({bias: loaded.net.value(bias).detach() + 1e4})
    path = tmp_path / "moved.onnx"
    path.write_bytes(bytes_with_values(moved, before.net))
    case = read_case(CaseFiles.of(before.request()))
    closeness = Closeness(case=case, settings=FAST.preserving, seed=0, watch=Unwatched())
    after = load_network(path)
    hunt = make_hunter(FAST, never)
    found = closeness.preserved(after, None, hunt, never)
    assert found is not None
    assert found.lower[0] > 9999
    assert not closeness.contradiction(after, found)
    beyond = replace(found, lower=tuple(value + 1e-3 for value in found.lower))
    assert "output 0 changes by" in closeness.contradiction(after, beyond)
