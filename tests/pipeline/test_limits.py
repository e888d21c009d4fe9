"""A time limit holds at every stage of a command, and nothing else is decided by seconds."""

from __future__ import annotations

import gzip
import itertools
import time
import types
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from birdnn.formats.files import pack_gzip
from birdnn.pipeline import certifying, deciding, judging, repairing
from birdnn.pipeline.clock import Clock, Deadline, no_deadline, remaining_limit
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.fresh_samples import sample_afresh
from birdnn.pipeline.judging import Attempt, Effort, decide_all, make_hunter
from birdnn.pipeline.localising import localise_violated
from birdnn.pipeline.measuring import Comparison
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.settings import RepairSettings
from birdnn.pipeline.surviving import survivors
from birdnn.records import CaseFiles, Proved, RepairRequest, Unwatched, Verdict, VerifySettings
from birdnn.records.limits import OutOfTime
from birdnn.repair import Goal, LastLayer, LinearSettings, RepairTask, Retrain, RetrainSettings
from birdnn.verify import SearchSettings, search
from tests.pipeline.test_repairing import FAST, build
from tools import hard_inputs


class Ticking:
    """A clock that goes on by so many seconds whenever somebody looks at it."""

    def __init__(self, tick: float = 1.0, *, seconds: float = 0.0) -> None:
        self.seconds, self.tick = seconds, tick

    def __call__(self) -> float:
        self.seconds += self.tick
        return self.seconds


def at_once() -> Deadline:
    """Over before anything begins."""
    return Deadline(until=0.0, stopped=lambda: False, now=lambda: 1.0)


# --- the clock -----------------------------------------------------------------------------------------------------


def test_stages_share_what_is_left() -> None:
    now = [0.0]
    clock = Clock(timeout_s=100.0, reserve_s=15.0, watch=Unwatched(), now=lambda: now[0])
    assert (clock.left_s(), clock.end.left_s()) == (85.0, 100.0)
    now[0] = 20.0
    assert (clock.left_of(0.5), clock.left_of(0.25)) == (15.0, -10.0)
    now[0] = 85.0
    assert clock.over()
    assert not clock.end.over()
    stage = clock.stage(0.4)
    assert stage.left_s() == pytest.approx(6.0)
    assert [stage.part(1 / n).left_s() for n in (3, 1)] == pytest.approx([2.0, 6.0])
    now[0] = 91.0
    assert stage.over()
    assert clock.stage(0.5).left_s() == pytest.approx(4.5)
    now[0] = 200.0
    assert clock.stage(1.0).over()
    assert clock.end.left_s() == 0.0


def test_without_a_limit_nothing_ends_and_nothing_is_measured() -> None:
    clock = Clock(timeout_s=float("inf"), watch=Unwatched())
    assert clock.left_s() == clock.stage(0.1).part(0.1).left_s() == clock.left_of(0.3) == float("inf")
    assert no_deadline().affordable(1000, lambda: pytest.fail("measured")) == 1000


@pytest.mark.thorough
def test_a_repair_without_a_limit_has_all_the_time_for_its_proofs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stage's share leaves of no limit is no limit: it was no number, and every proof went box by box."""
    limits, right = [], judging.verify

    def seen(*asked: object, settings: SearchSettings, **others: object) -> Verdict:
        limits.append(settings)
        return right(*asked, settings=settings, **others)

    monkeypatch.setattr(judging, "verify", seen)
    repair_files(build(tmp_path, "Relu").request(), settings=FAST)
    assert limits
    assert {limit.timeout_s for limit in limits} == {float("inf")}


def test_a_share_is_as_much_work_as_fits() -> None:
    now = Ticking(0.0)

    def once() -> int:
        now.seconds += 2.0
        return 100

    deadline = Deadline(until=44.0, stopped=lambda: False, now=now)
    assert deadline.affordable(10**6, once, times=2.0) == 1000
    assert deadline.affordable(10, once) == 10


def test_the_limit_counts_since_the_process_began() -> None:
    assert remaining_limit(None, 0.0) == float("inf")
    assert remaining_limit(5.0) == 5.0
    assert 860.0 < remaining_limit(990.0, time.monotonic() - 30.0) <= 960.0
    assert remaining_limit(5.0, time.monotonic() - 30.0) == 0.0


def test_stages_count_on_the_clock_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its zero is: stages that took their beginning from another clock were days long, or ended before."""
    clocks = []

    def shifted(**said: Any) -> Clock:
        clocks.append(Clock(**said, now=lambda: time.monotonic() - 1e6))
        return clocks[-1]

    monkeypatch.setattr(repairing, "Clock", shifted)
    request = replace(build(tmp_path, "Relu").request(), samples=1000)
    case = read_case(CaseFiles.of(request))
    attacked = shifted(timeout_s=20.0, watch=Unwatched())
    survivors(
        Attempt(loaded=case.loaded), case.asked, attacked, Effort(boxes=1, seed=0, semantics=case.semantics), 20.0
    )
    assert 0 <= attacked.spent["verify"] <= attacked.wall_s()
    outcome = repair_files(request, settings=replace(FAST, rounds=1, early_rounds=1))
    clock = clocks[-1]
    assert {"repair", "verify", "sample"} <= set(clock.spent)
    assert all(0 <= seconds <= outcome.wall_s for seconds in clock.spent.values())
    assert all(0 <= tried.seconds <= outcome.wall_s for tried in outcome.tried)


def test_reading_and_loading_count(tmp_path: Path) -> None:
    """The limit is for everything together: a process that took it all for its start has no time to search."""
    case = build(tmp_path, "Relu")
    settings = VerifySettings(timeout_s=20.0)
    late = verify_files(case.net, [case.prop], settings=settings, began=time.monotonic() - 21.0)
    assert late.verdicts[0].verdict.reason == "timeout"  # type: ignore[union-attr]
    assert late.verdicts[0].verdict.boxes == 0


# --- candidates ----------------------------------------------------------------------------------------------------


def test_a_busy_machine_drops_no_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 600 seconds of our own, which others' work spent, dropped candidates that could be proved."""
    case = build(tmp_path, "Relu")
    plan = read_case(CaseFiles.of(case.request()))
    fixed = [replace(s, prop=replace(s.prop, regions=_shrunk(s.prop.regions))) for s in plan.subjects]
    settings = RepairSettings()
    effort = Effort(
        boxes=settings.slice_boxes, work=settings.slice_work, seed=0, semantics="real", give_up=True, attack=FAST.attack
    )
    hours = itertools.count(0.0, 3600.0)
    monkeypatch.setattr(search, "time", types.SimpleNamespace(monotonic=lambda: next(hours)))
    clock = Clock(timeout_s=float("inf"), watch=Unwatched())
    answers = decide_all(plan.loaded, fixed, clock, effort).answers
    assert {type(answer.verdict) for answer in answers.values()} == {Proved}


def _shrunk(regions: tuple) -> tuple:
    """The property with thresholds that are out of reach."""
    rows = [replace(row, bound=row.bound - 1000) for region in regions for p in region.unsafe for row in p.rows]
    polytopes = tuple(replace(regions[0].unsafe[0], rows=(row,)) for row in rows)
    return (replace(regions[0], unsafe=polytopes),)


@pytest.mark.parametrize("method", [Retrain, LastLayer])
def test_a_method_that_is_still_being_made_ends(tmp_path: Path, method: type) -> None:
    """A thousand regions are characterised before the first candidate: whoever made the task catches it."""
    plan = read_case(CaseFiles.of(build(tmp_path, "Relu").request()))
    goals = tuple(Goal(prop=s.prop, repair=True, violated=True) for s in plan.subjects)
    task = RepairTask(
        net=plan.loaded.net,
        goals=goals,
        domain=plan.corners,
        decision="argmax",
        resample=make_hunter(FAST, lambda: True),
        over=lambda: True,
    )
    with pytest.raises(OutOfTime):
        method(task, RetrainSettings() if method is Retrain else LinearSettings())


# --- after the search ----------------------------------------------------------------------------------------------


def comparison(tmp_path: Path, deadline: Deadline) -> Comparison:
    """A network with itself."""
    plan = read_case(CaseFiles.of(build(tmp_path, "Relu").request()))
    net = plan.loaded.net
    settings = replace(FAST, domain_points=50_000, region_points=50_000, held_out_points=50_000)
    hunt = make_hunter(settings, deadline.over)
    return Comparison(
        before=net,
        after=net,
        case=plan,
        seed=0,
        settings=settings,
        resample=hunt,
        replays=plan.loaded.replays,
        deadline=deadline,
    )


def test_measuring_ends_with_its_share(tmp_path: Path) -> None:
    """What was looked at is what is counted; with time, as many points as the settings say."""
    brief = comparison(tmp_path, at_once()).measure({}, frozenset(), frozenset({"low"}))
    assert brief.fidelity is not None
    assert 0 < brief.fidelity.n <= 2048
    assert 0 < brief.drawdown.properties[0].n <= 2048
    whole = comparison(tmp_path, no_deadline()).measure({}, frozenset(), frozenset({"low"}))
    assert whole.fidelity is not None
    assert whole.fidelity.n > 40_000


def test_a_candidate_is_compared_within_its_share(tmp_path: Path) -> None:
    asked = comparison(tmp_path, at_once())
    began = time.process_time()
    assert asked.kept(10**8, seed=0).mae == 0.0
    assert time.process_time() - began < 20, "a hundred million points were drawn"


def test_sampling_after_a_proof_is_shared_between_properties(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    plan = read_case(CaseFiles.of(case.request()))
    prop, now = plan.subjects[0].prop, Ticking()
    props = [replace(prop, name=name) for name in ("one", "two")]
    deadline = Deadline(until=21.0, stopped=lambda: False, now=now)
    found = sample_afresh(plan.loaded, props, samples=10**9, seed=0, watch=Unwatched(), deadline=deadline)
    counts = [found.bounds[name].n for name in ("one", "two")]
    assert all(counts)
    assert max(counts) <= 3 * min(counts)


def test_localising_for_a_report_ends(tmp_path: Path) -> None:
    plan = read_case(CaseFiles.of(build(tmp_path, "Relu").request()))
    found = list(localise_violated(plan, plan.subjects, 0, FAST.localize, Unwatched(), at_once()))
    assert found == []


# --- certificates --------------------------------------------------------------------------------------------------


def test_a_certificate_is_compressed_in_pieces() -> None:
    data = bytes(range(256)) * 40_000
    assert pack_gzip(data) == gzip.compress(data, mtime=0)
    looks = itertools.count()
    with pytest.raises(OutOfTime):
        pack_gzip(data, lambda: next(looks) > 1)


def test_no_time_for_a_certificate_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict stands, nothing half-written lies about, and a note tells it."""
    case = build(tmp_path, "Relu")
    clock, write = Ticking(0.0), certifying.certificate_bytes

    def slowly(*args: object, **options: object) -> bytes:
        clock.seconds += 1000.0
        return write(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(certifying, "certificate_bytes", slowly)
    monkeypatch.setattr(deciding, "Clock", partial(Clock, now=clock))
    out = tmp_path / "c.json.gz"
    settings = VerifySettings(timeout_s=60.0, certificate=out)
    outcome = verify_files(case.net, [case.prop], settings=settings)
    assert outcome.certificate is None
    assert any("No certificate was written" in note for note in outcome.notes)
    assert list(tmp_path.glob("*c.json*")) == []


# --- hard inputs -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_small_inputs_of_each_hard_kind_are_decided_or_not_in_time(tmp_path: Path) -> None:
    """The full-sized ones are the slow test below."""
    made = [
        hard_inputs.images(tmp_path, pixels=25, width=16, classes=3),
        hard_inputs.sawtooth(tmp_path, layers=3, pieces=4),
        hard_inputs.clauses(tmp_path, count=30),
    ]
    for files in made:
        request = RepairRequest(net=files.net, props=(files.prop,), out=tmp_path / files.net.stem, timeout_s=4.0)
        began = time.monotonic()
        outcome = repair_files(request, settings=FAST)
        assert outcome.result in ("proved", "sampled", "violated", "nothing_to_repair")
        assert time.monotonic() - began < 4.0 + 60.0, "far beyond any scheduler's fault"


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(hard_inputs.KINDS))
def test_limits_hold_on_hard_inputs(tmp_path: Path, kind: str) -> None:
    """On a machine of our own; five seconds, or five per cent, beyond the limit."""
    files = hard_inputs.KINDS[kind](tmp_path)
    began = time.monotonic()
    verify_files(files.net, [files.prop], settings=VerifySettings(timeout_s=10.0))
    assert time.monotonic() - began < 15.0
    began = time.monotonic()
    request = RepairRequest(net=files.net, props=(files.prop,), out=tmp_path / "out", timeout_s=60.0, report=True)
    repair_files(request)
    assert time.monotonic() - began < 65.0
