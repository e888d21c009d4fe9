"""Which candidate is handed out, and when the search for another one ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from birdnn.errors import MismatchError
from birdnn.formats import read_network
from birdnn.network import Network
from birdnn.pipeline.candidates import Candidates
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.folder import ResultFolder
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.methods import Stage
from birdnn.pipeline.preserving import Closeness
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import LEAST, Kept, RepairRequest, Tied, Unwatched, Watch
from birdnn.records.limits import OutOfTime
from birdnn.repair import Evidence
from birdnn.spec import Property
from tests.pipeline.subjects import above, asked, case_of, identity, loaded_from
from tests.pipeline.test_clock import Hand, Stopped
from tests.verify.cases import SHORT_ATTACK

FAST = RepairSettings(attack=SHORT_ATTACK)


def last_bias(net: Network) -> str:
    return [name for name in net.initialisers() if name.startswith("B")][-1]


@dataclass
class Shifted:
    """A method whose candidates are the network with its output shifted, by one number after the other."""

    net: Network
    shifts: Iterator[float]
    seen: list[Evidence] = field(default_factory=list)
    after: Callable[[], None] = lambda: None

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        self.seen.append(evidence)
        self.after()
        return self.net.with_values({last_bias(self.net): torch.tensor([next(self.shifts)])})

    def remarks(self) -> tuple[str, ...]:
        return ("planted",)

    def ties(self) -> tuple[Tied, ...]:
        return ()

    def negatives(self) -> dict[str, torch.Tensor]:
        return {}


def kept(agreement: float | None = 1.0, mae: float = 0.0, drawdown: float = 0.0, n: int = 9) -> Kept:
    return Kept(decision_agreement=agreement, mae=mae, size=1.0, drawdown=drawdown, n=n)


@dataclass
class Scripted:
    """What each candidate in turn keeps; the last entry goes on."""

    script: list[Kept]

    def __call__(self, loaded: object, deadline: object) -> Scripted:
        return self

    def kept(self, count: int, *, seed: int) -> Kept:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@dataclass
class Search:
    """A search among methods that shift the output of ``y = x``."""

    candidates: Candidates
    methods: list[Shifted]
    stages: list[Stage]

    def run(self) -> Search:
        self.candidates.search(self.stages)
        return self

    @property
    def results(self) -> list[str]:
        return [entry.result for entry in self.candidates.tried]

    @property
    def shift(self) -> float:
        """Of the network that lies on the disk."""
        net = read_network(self.candidates.folder.attempt)
        return net.value(last_bias(net)).item()


def search(
    folder: Path,
    *methods: Sequence[float],
    props: Sequence[Property] = (above(0.5),),
    keeps: Sequence[Kept] = (kept(),),
    watch: Watch | None = None,
    settings: RepairSettings = FAST,
    loaded: Loaded | None = None,
    **said: object,
) -> Search:
    """Bounds of 0.5 and more are proved by shifts below -0.5; nothing is enough to be content with, as it is built."""
    loaded = loaded or identity(folder, 0.0)
    request = replace(RepairRequest(net=loaded.path, out=folder / "out", min_agreement=1.0, max_mae=-1.0), **said)
    (folder / "out").mkdir()
    made = [Shifted(loaded.net, iter(shifts)) for shifts in methods]
    case = replace(case_of(loaded, *asked(*props)), corners=(torch.zeros(1).double(), torch.ones(1).double()))
    near = Closeness(case=case, settings=settings.preserving, seed=0, watch=Unwatched())
    candidates = Candidates(
        request=request,
        settings=settings,
        asked=list(case.asked),
        clock=Clock(timeout_s=math.inf, watch=watch or Unwatched()),
        folder=ResultFolder(request),
        compare=Scripted(list(keeps)),
        closeness=None if request.max_difference is None else near,
        semantics="real",
        record=False,
        slow=False,
        device="cpu",
        keeper=None,
        helpers=None,
    )
    found = [
        Stage(name=f"method {number}", make=lambda one=one: one, rounds=len(shifts))
        for number, (one, shifts) in enumerate(zip(made, methods, strict=True))
    ]
    return Search(candidates, made, found)


# --- one method


def test_one_method_ends_with_its_first_proof(tmp_path: Path) -> None:
    found = search(tmp_path, [0.0, -0.75, -0.875]).run()
    assert found.results == ["violated", "proved"]
    assert (found.shift, found.candidates.stopped, found.candidates.remarks) == (-0.75, "proved", ("planted",))
    assert [entry.answers for entry in found.candidates.tried] == [{"above": "violated"}, {"above": "proved"}]
    # the counterexample of the first is what the second learns from
    first, second = found.methods[0].seen
    assert not first.points
    assert [float(x) > 0.5 for x in second.points["above"]] == [True]


def test_one_method_may_have_no_more_candidates(tmp_path: Path) -> None:
    found = search(tmp_path, [0.0, -0.25]).run()
    assert found.results == ["violated", "violated"]
    assert found.candidates.stopped == "the method has no more candidates"
    assert found.shift == 0.0, "of two that are as bad the first is kept"


def test_what_is_neither_proved_nor_refuted_is_better_than_what_is_refuted(tmp_path: Path) -> None:
    """``relu(x) - relu(x)`` is 0, which no bound sees without a division of the box."""
    zero = loaded_from(tmp_path, ([[1], [1]], [0, 0]), ([[1, -1]], [0]))
    prop, brief = above(0.125, lower=-1.0), replace(FAST, slice_boxes=0)
    found = search(tmp_path, [0.5, 0.0], loaded=zero, props=(prop,), settings=brief).run()
    assert found.results == ["violated", "unknown"]
    assert found.shift == 0.0


# --- several methods


def test_counterexamples_add_up_over_methods(tmp_path: Path) -> None:
    found = search(tmp_path, [0.0, -0.25], [-0.75]).run()
    assert len(found.methods[1].seen[0].points["above"]) == 2
    assert found.candidates.stopped == "everything was tried"


@pytest.mark.parametrize(
    ("prefer", "first", "second", "better"),
    [
        ("decisions", kept(0.9, 0.25), kept(0.95, 0.5), True),
        ("outputs", kept(0.9, 0.25), kept(0.95, 0.5), False),
        ("outputs", kept(0.95, 0.5), kept(0.9, 0.25), True),
        ("decisions", kept(0.95, 0.5), kept(0.9, 0.25), False),
        ("decisions", kept(0.9, 0.5), kept(0.9, 0.25), True),
        ("outputs", kept(0.9, 0.5), kept(0.95, 0.5), True),
        ("outputs", kept(1.0, 0.0, drawdown=0.125), kept(0.5, 0.5), True),
        ("decisions", kept(0.5, 0.5), kept(1.0, 0.0, drawdown=0.125), False),
        ("decisions", kept(None, 0.5), kept(None, 0.25), True),
        ("decisions", kept(0.9, 0.25), kept(0.9, 0.25), False),
    ],
)
def test_of_two_that_are_proved_the_one_that_keeps_more_is_handed_out(
    tmp_path: Path, prefer: str, first: Kept, second: Kept, better: bool
) -> None:
    found = search(tmp_path, [-0.75], [-0.875], keeps=(first, second), prefer=prefer).run()
    assert found.results == ["proved", "proved" if better else "passed over"]
    assert found.shift == (-0.875 if better else -0.75)
    passed = found.candidates.tried[-1]
    assert (passed.boxes > 0, bool(passed.answers)) == (better, better)


def test_a_proof_comes_before_everything_that_is_kept(tmp_path: Path) -> None:
    found = search(tmp_path, [0.0], [-0.75], keeps=(kept(), kept(0.0, 9.0, drawdown=0.5))).run()
    assert (found.results, found.shift) == (["violated", "proved"], -0.75)


@pytest.mark.parametrize(
    ("keeps", "tried"),
    [(kept(0.999, 0.01), 1), (kept(0.9985, 0.01), 2), (kept(0.999, 0.011), 2), (kept(1.0, 0.0, drawdown=0.001), 2)],
)
def test_other_methods_are_asked_until_as_much_is_kept_as_aimed_at(tmp_path: Path, keeps: Kept, tried: int) -> None:
    found = search(tmp_path, [-0.75], [-0.875], keeps=(keeps,), min_agreement=None, max_mae=None).run()
    assert len(found.results) == tried
    assert (found.candidates.stopped == "proved, and as much is kept as asked for") == (tried == 1)


@pytest.mark.parametrize(
    ("keeps", "tried"),
    [(kept(0.99, 0.05), 1), (kept(0.989, 0.05), 2), (kept(0.99, 0.05, drawdown=1e-4), 1), (kept(drawdown=2e-4), 2)],
)
def test_a_method_may_be_content_with_less(tmp_path: Path, keeps: Kept, tried: int) -> None:
    found = search(tmp_path, [-0.75], [-0.875], keeps=(keeps,), min_agreement=None, max_mae=None)
    found.stages[0] = replace(found.stages[0], content=LEAST, drawdown=1e-4)
    assert len(found.run().results) == tried


def test_where_nothing_can_be_measured_no_other_candidate_is_looked_for(tmp_path: Path) -> None:
    found = search(tmp_path, [-0.75], [-0.875], keeps=(kept(None, n=0),)).run()
    assert found.results == ["proved"]
    assert "behaviour could not be measured" in found.candidates.stopped


# --- last resorts, methods without room, and the time


def test_a_last_resort_is_for_where_nothing_is_proved(tmp_path: Path) -> None:
    for folder, shift, results in (("proved", -0.75, ["proved"]), ("not", 0.0, ["violated", "proved"])):
        (tmp_path / folder).mkdir()
        found = search(tmp_path / folder, [shift], [-0.875])
        found.stages[1] = replace(found.stages[1], last_resort=True)
        assert found.run().results == results
        assert found.candidates.stopped == "proved"


def no_room() -> Shifted:
    raise MismatchError("no room")


def test_the_last_method_without_room_says_why_where_there_is_nothing_else(tmp_path: Path) -> None:
    found = search(tmp_path, [0.0], [])
    found.stages[1] = replace(found.stages[1], make=no_room)
    assert found.run().results == ["violated"]
    found.candidates.best = None
    with pytest.raises(MismatchError, match="no room"):
        found.candidates.search(found.stages[1:])


def test_whoever_wants_an_end_gets_no_candidate_more(tmp_path: Path) -> None:
    found = search(tmp_path, [0.0, -0.75], [-0.875], watch=Stopped()).run()
    assert found.candidates.best is None
    assert (found.results, found.candidates.stopped) == ([], "interrupted")


def test_a_method_that_is_not_made_in_time_ends_the_search(tmp_path: Path) -> None:
    found, now = search(tmp_path, [0.0], [-0.75]), Hand()
    found.candidates.clock = Clock(timeout_s=10.0, watch=Unwatched(), now=now)

    def late() -> Shifted:
        now.seconds = 10.0
        raise OutOfTime

    found.stages[0] = replace(found.stages[0], make=late)
    assert found.run().results == []
    assert found.candidates.stopped == "the time limit"


def test_a_candidate_made_at_the_very_end_lies_on_the_disk_and_is_not_judged(tmp_path: Path) -> None:
    found, now = search(tmp_path, [0.0, -0.75], [-0.875]), Hand()
    found.candidates.clock = Clock(timeout_s=10.0, watch=Unwatched(), now=now)
    found.methods[0].after = lambda: setattr(now, "seconds", 10.0)
    assert found.run().results == ["unknown"]
    assert (found.shift, found.candidates.stopped) == (0.0, "the time limit")
    assert found.candidates.clock.spent["repair"] == found.candidates.tried[0].seconds == 10.0


# --- as many as possible, and no further than


def test_of_as_many_as_possible_enough_that_is_kept_comes_before_the_count(tmp_path: Path) -> None:
    """A network that always gives one answer is easily proved."""
    props = above(0.5, "low"), above(0.75, "high")
    good, bad = kept(0.99, 0.05), kept(0.98, 0.0)
    for folder, keeps, shifts, shift in (
        ("worse", (good, bad), (-0.375, -0.75), -0.375),
        ("better", (bad, good), (-0.375, 0.0), 0.0),
        ("more", (good, good), (-0.375, -0.75), -0.75),
        ("fewer", (good, good), (-0.375, 0.0), -0.375),
    ):
        (tmp_path / folder).mkdir()
        methods = [[each] for each in shifts]
        said = {"as_many": True, "min_agreement": None, "max_mae": None}
        found = search(tmp_path / folder, *methods, props=props, keeps=keeps, **said).run()
        assert found.shift == shift, folder
        assert found.results[1] == ("passed over" if folder == "worse" else found.results[1])


@pytest.mark.parametrize("shifts", [(-2.0, 0.0), (0.0, -2.0)])
def test_who_is_too_far_is_worse_than_who_is_refuted(tmp_path: Path, shifts: tuple[float, float]) -> None:
    found = search(tmp_path, *([each] for each in shifts), max_difference=1.0).run()
    assert sorted(found.results) == ["too far", "violated"]
    assert found.shift == 0.0


def test_who_is_too_far_is_not_proved_and_who_says_the_same_again_is_not_asked_again(tmp_path: Path) -> None:
    found = search(tmp_path, [-2.0, -2.0, -2.0], [-0.75], keeps=(kept(),), max_difference=1.0).run()
    assert found.results == ["too far", "too far", "proved"]
    assert found.methods[0].seen[1].too_far
    assert found.shift == -0.75
