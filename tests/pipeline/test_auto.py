"""The choice of a method: cheap first, dearer where that keeps too little; of what is proved the least change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.pipeline.judging import Attempt
from birdnn.pipeline.methods import Stage, stages
from birdnn.pipeline.repairing import repair_files
from birdnn.records import PropertyRepair, Tied, Watch
from birdnn.repair import Evidence
from tests.pipeline.test_repairing import FAST, build

LOCAL, ALL = "finetune:lp", "retrain"


class Raised:
    """A method whose candidates raise or lower the bias of output 0, by one step after the other."""

    def __init__(self, net: Network, steps: Iterator[float]) -> None:
        self.net, self.steps, self.seen = net, steps, []

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        self.seen.append(evidence)
        bias = self.net.value("B2").detach()
        return self.net.with_values({"B2": bias + next(self.steps) * torch.eye(len(bias))[0]})

    def remarks(self) -> tuple[str, ...]:
        return ("planted",)

    def ties(self) -> tuple[Tied, ...]:
        return ()

    def negatives(self) -> dict[str, torch.Tensor]:
        return {}


def repaired(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *methods: list[float], **asked
) -> tuple[PropertyRepair, list[Raised]]:
    """`auto` with methods that shift the bias of an output; -5 and less are proved, 0 is violated."""
    made = []

    def stages(request, plan, task, broken, settings):
        made.extend(Raised(task.net, iter(steps)) for steps in methods)
        return [
            Stage(name=f"method {i}", make=lambda one=one: one, rounds=len(steps))
            for i, (one, steps) in enumerate(zip(made, methods, strict=True))
        ]

    monkeypatch.setattr("birdnn.pipeline.repairing.stages", stages)
    outcome = repair_files(build(folder, "Relu").request(**asked), settings=FAST)
    return outcome, made


def results(outcome: PropertyRepair) -> list[tuple[str, str]]:
    return [(entry.method, entry.result) for entry in outcome.tried]


def test_the_first_method_is_enough_where_it_keeps_what_was_asked_for(tmp_path: Path) -> None:
    outcome = repair_files(build(tmp_path, "Relu").request(min_agreement=0.5, max_mae=1.0), settings=FAST)
    assert outcome.result == "proved"
    assert {name for name, _ in results(outcome)} == {LOCAL}
    assert "as much is kept as asked for" in outcome.stopped


def test_a_dearer_method_follows_where_too_little_is_kept(tmp_path: Path) -> None:
    outcome = repair_files(build(tmp_path, "Relu").request(min_agreement=1.0, max_mae=1e-9), settings=FAST)
    assert outcome.result == "proved"
    assert [name for name, _ in results(outcome)][-1] == ALL
    assert outcome.stopped == "everything was tried"


def test_of_two_proved_candidates_the_one_that_changed_less_is_kept(tmp_path, monkeypatch) -> None:
    outcome, _ = repaired(tmp_path, monkeypatch, [-9.0], [-5.0], min_agreement=1.0)
    assert results(outcome) == [("method 0", "proved"), ("method 1", "proved")]
    assert next(iter(outcome.change.values())).linf == pytest.approx(5.0, abs=1e-3)


def test_a_candidate_that_changes_more_than_a_proved_one_is_passed_over(tmp_path, monkeypatch) -> None:
    outcome, _ = repaired(tmp_path, monkeypatch, [-5.0], [-9.0], min_agreement=1.0)
    assert results(outcome) == [("method 0", "proved"), ("method 1", "passed over")]
    assert next(iter(outcome.change.values())).linf == pytest.approx(5.0, abs=1e-3)


def test_a_violated_candidate_goes_on_and_its_counterexample_reaches_the_next_method(tmp_path, monkeypatch) -> None:
    outcome, (first, second) = repaired(tmp_path, monkeypatch, [0.0], [-5.0])
    assert results(outcome) == [("method 0", "violated"), ("method 1", "proved")]
    assert not first.seen[0].points
    assert sum(map(len, second.seen[0].points.values())) == 1


def test_a_method_without_room_is_left_out_and_the_last_one_says_why(tmp_path, monkeypatch) -> None:
    def impossible() -> Raised:
        raise MismatchError("no room")

    def stages(request, plan, task, broken, settings):
        possible = Stage(name="second", make=lambda: Raised(task.net, iter([-5.0])), rounds=1)
        none = Stage(name="first", make=impossible, rounds=1)
        return [none, possible] if request.seed == 0 else [none, none]

    monkeypatch.setattr("birdnn.pipeline.repairing.stages", stages)
    request = build(tmp_path, "Relu").request()
    assert results(repair_files(request, settings=FAST)) == [("second", "proved")]
    with pytest.raises(MismatchError, match="no room"):
        repair_files(replace(request, seed=1), settings=FAST)


def test_the_report_says_what_was_tried_and_why_it_ended(tmp_path, monkeypatch) -> None:
    report = repaired(tmp_path, monkeypatch, [-9.0], [-5.0], min_agreement=1.0)[0]
    assert [entry.result for entry in report.tried] == ["proved", "proved"]
    assert report.tried[0].kept.mae > report.tried[1].kept.mae > 0
    assert report.request.method_name == "auto"
    assert report.rounds == 2
    assert report.stopped
    assert "planted" in report.notes


@pytest.mark.parametrize(("prefer", "wins"), [("decisions", 5.0), ("outputs", 5.0)])
def test_either_preference_takes_the_least_change_where_both_agree(tmp_path, monkeypatch, prefer, wins) -> None:
    outcome, _ = repaired(tmp_path, monkeypatch, [-9.0], [-5.0], min_agreement=1.0, prefer=prefer)
    assert next(iter(outcome.change.values())).linf == pytest.approx(wins, abs=1e-3)


def before_ties(folder: Path, monkeypatch: pytest.MonkeyPatch, first: float) -> PropertyRepair:
    """Two methods that ties may follow, of whose share of the time limit nothing is left when the first has ended."""

    def stages(request, plan, task, broken, settings):
        steps = [first], [-5.0], [-6.0]
        made = [Raised(task.net, iter(each)) for each in steps]
        return [
            Stage(name=f"method {i}", make=lambda one=one: one, rounds=1, last_resort=i == 2)
            for i, one in enumerate(made)
        ]

    monkeypatch.setattr("birdnn.pipeline.repairing.stages", stages)
    request = build(folder, "Relu").request(min_agreement=1.0, timeout_s=600.0)
    return repair_files(request, settings=replace(FAST, share_before_ties=0.0))


def test_time_that_is_kept_for_ties_is_free_once_something_is_proved(tmp_path, monkeypatch) -> None:
    """It lay idle, and nothing better was looked for."""
    outcome = before_ties(tmp_path, monkeypatch, -9.0)
    assert results(outcome) == [("method 0", "proved"), ("method 1", "proved")]
    assert outcome.stopped == "everything was tried"


def test_what_was_not_tried_for_lack_of_time_is_named(tmp_path, monkeypatch) -> None:
    outcome = before_ties(tmp_path, monkeypatch, 0.0)
    assert results(outcome) == [("method 0", "violated"), ("method 2", "proved")]
    assert outcome.stopped == "the time limit left too little for more of method 1"


def test_only_the_last_method_goes_on_with_dearer_and_dearer_proofs(tmp_path, monkeypatch) -> None:
    """Another method's candidate may be cheap to prove; where none is left, one that is dear is better than nothing."""
    asked, found = list[float](), list[Stage]()

    def undecided(loaded, subjects, clock, effort, *, as_many) -> Attempt:
        asked.append(effort.boxes)
        return Attempt(loaded=loaded)

    def watched(*said) -> list[Stage]:
        found.extend(stages(*said))
        first, last = found[0], found[-1]
        steps = [Raised(said[2].net, iter([-5.0] * 5)) for _ in range(2)]
        return [
            replace(stage, make=lambda one=one: one, rounds=4, last_resort=False)
            for stage, one in zip((first, last), steps, strict=True)
        ]

    monkeypatch.setattr("birdnn.pipeline.repairing.stages", watched)
    monkeypatch.setattr("birdnn.pipeline.candidates.decide_all", undecided)
    repair_files(build(tmp_path, "Relu").request(), settings=FAST)
    assert len(found) > 2
    few, more = FAST.slice_boxes, FAST.slice_growth
    assert asked == [few, more * few, more * few, more * few, few, more * few, more**2 * few, more**3 * few]
