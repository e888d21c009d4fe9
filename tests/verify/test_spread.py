"""A proof by many helpers is the proof of one, whoever was slow, was lost, or answered twice."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.boxes import Boxes
from birdnn.errors import EngineError
from birdnn.network import Network
from birdnn.records import Proved, Unknown, Verdict, Violated
from birdnn.spec import Property
from birdnn.verify import spread, verify
from birdnn.verify.bounding import make_bound, root_of
from birdnn.verify.recording import Recorder
from birdnn.verify.spread import Errand, Explorer, Piece, Task, deal_boxes
from birdnn.verify.work import Work
from tests.verify.cases import SHORT_ATTACK, Engine, Impatient, effort
from tests.verify.hands import Hands
from tests.verify.test_frontier import Kept, case, same


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers are asked after a few boxes, and budgets are small, so that small proofs have many tasks."""
    monkeypatch.setattr(spread, "_MOST", 8)
    monkeypatch.setattr(spread, "_LEAST", 8)
    monkeypatch.setattr(spread, "PARTS", 4)
    monkeypatch.setattr(spread, "_LOOK_S", 0.0)


def asked(net: Network, prop: Property, helpers: Hands | None, **changes) -> Verdict:
    watch, keeper = changes.pop("watch", None), changes.pop("keeper", None)
    engine = changes.pop("engine", None) or Engine(net)
    limits = effort(**{"record": True, "batch": 4, "attack": SHORT_ATTACK, **changes})
    return verify(net, prop, settings=limits, replays=[engine], keeper=keeper, watch=watch, helpers=helpers)


@pytest.mark.thorough
@given(
    number=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
    lost=st.sampled_from([0.0, 0.2]),
    twice=st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=8)
def test_the_proof_is_that_of_one_process(number: int, seed: int, lost: float, twice: float) -> None:
    """Every box is closed once, by whomever; what was lost was done again, what came twice was taken once."""
    net, prop = case()
    hands = Hands(number=number, seed=seed, lost=lost, twice=twice)
    found = asked(net, prop, hands)
    same(found, asked(net, prop, None))
    assert isinstance(found, Proved)
    assert all(len(proof.beta) > 0 for proof in found.proofs), "no neuron is split"
    assert hands.begun == hands.ended_ == 2  # regions
    assert len(hands.pieces) > 20


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("record", [True, False])
def test_with_or_without_a_record(semantics: str, record: bool) -> None:
    net, prop = case()
    alone = asked(net, prop, None, semantics=semantics, record=record)
    found = asked(net, prop, Hands(number=3), semantics=semantics, record=record)
    assert isinstance(alone, Proved)
    assert isinstance(found, Proved)
    assert found.boxes == alone.boxes
    assert len(found.proofs) == (2 if record else 0)


def test_what_a_task_gives_depends_on_the_task_alone() -> None:
    net, prop = case()
    limits = effort(record=True, batch=4)
    errand = Errand(net=net, region=prop.regions[0], settings=limits, batch=4, budget=20, record=True)
    bound = make_bound(net, limits)
    first, other = (Explorer(errand, make_bound(net, limits)) for _ in range(2))
    task = Task(root_of(bound, prop.regions[0]), 0)
    other.explore(Task(task.work, 2))  # somebody who has done something else before
    one, two = first.explore(task), other.explore(task)
    assert one.boxes == two.boxes >= 20
    for mine, theirs in zip(one.left, two.left, strict=True):
        assert torch.equal(mine.boxes.lower, theirs.boxes.lower)
        assert torch.equal(mine.inherited, theirs.inherited)
    assert first.explore(Task(task.work, 2)).boxes >= 80  # dealt out again, it has four times the budget


@given(sizes=st.lists(st.integers(1, 9), max_size=5), parts=st.integers(1, 9))
def test_dealing_loses_no_box_and_doubles_none(sizes: list[int], parts: int) -> None:
    numbers = itertools.count()
    stack = [numbered([next(numbers) for _ in range(size)]) for size in sizes]
    found = deal_boxes(stack, parts)
    assert sorted(n for work in found for n in work.node.tolist()) == list(range(sum(sizes)))
    assert len(found) == min(parts, sum(sizes))
    lengths = [len(work) for work in found]
    assert not lengths or max(lengths) - min(lengths) <= 1


def numbered(nodes: list[int]) -> Work:
    sides = torch.zeros(len(nodes), 1, dtype=torch.float64)
    return Work(Boxes(sides, sides + 1), torch.ones(len(nodes), 1, dtype=torch.bool), sides, torch.tensor(nodes))


def test_few_boxes_never_leave_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    net, prop = case()
    monkeypatch.setattr(spread, "_MOST", 2048)
    monkeypatch.setattr(spread, "_LEAST", 2048)
    hands = Hands()
    assert isinstance(asked(net, prop, hands), Proved)
    assert not hands.begun


def test_whoever_may_give_up_asks_nobody_before_the_first_estimate() -> None:
    net, prop = case()
    hands = Hands()
    assert isinstance(asked(net, prop, hands, give_up=True), Proved)
    assert not hands.begun


class Late(Engine):
    """A replay that sees no violation before helpers are asked."""

    def __init__(self, net: Network, hands: Hands) -> None:
        super().__init__(net)
        self.hands = hands

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return super().__call__(x) + np.float32(0.0 if self.hands.begun else 1.0)


def test_a_witness_of_anybody_ends_it_once_it_is_replayed() -> None:
    """And one that does not violate when it is replayed ends nothing."""
    net, prop = case(margin=-0.01)
    changes = {"attack": effort().attack, "semantics": "float32"}
    hands = Hands(number=2)
    found = asked(net, prop, hands, engine=Late(net, hands), **changes)
    assert isinstance(found, Violated)
    assert prop.violated(found.witness.x, found.witness.y)
    assert hands.begun == hands.ended_ == 1
    hands, never = Hands(number=2), Engine(net, shift=1.0)
    assert isinstance(asked(net, prop, hands, engine=never, max_boxes=400, **changes), Unknown)
    assert any(len(piece.points) for piece in hands.pieces)
    assert never.asked


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_any_limit_ends_it_and_the_next_run_begins_there(semantics: str) -> None:
    """With helpers or without, in turn."""
    net, prop = case()
    whole = asked(net, prop, None, semantics=semantics)
    keeper, runs = Kept(always=False), 0
    while True:
        hands = Hands(number=1, seed=runs, lost=0.1) if runs % 3 else None
        found = asked(net, prop, hands, semantics=semantics, keeper=keeper, watch=Impatient(30))
        runs += 1
        if not isinstance(found, Unknown):
            break
        assert found.reason == "interrupted"
        assert len(keeper.data) == 1
    assert runs > 2  # once without, once with helpers it was ended
    same(found, whole)


def test_so_many_boxes_are_a_limit() -> None:
    net, prop = case()
    keeper = Kept(always=False)
    found = asked(net, prop, Hands(), max_boxes=100, keeper=keeper)
    assert isinstance(found, Unknown)
    assert found.reason == "boxes"
    assert found.open_boxes
    same(asked(net, prop, Hands(), keeper=keeper), asked(net, prop, None))


def test_memory_is_a_limit() -> None:
    net, prop = case()
    found = asked(net, prop, Hands(), memory_bytes=20_000)
    assert isinstance(found, Unknown)
    assert found.reason == "memory"


def test_nobody_is_waited_for_beyond_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    net, prop = case()
    begun = time.monotonic()
    found = asked(net, prop, Hands(idle=True), timeout_s=2.0)
    assert isinstance(found, Unknown)
    assert found.reason == "timeout"
    assert time.monotonic() - begun < 60.0


def test_a_task_that_kills_everybody_is_told_and_nothing_is_lost() -> None:
    net, prop = case()
    keeper = Kept(always=False)
    with pytest.raises(EngineError, match=r"lost 4 times, in the end because somebody pulled the plug"):
        asked(net, prop, Hands(lost=0.8, often=4), keeper=keeper)
    assert len(keeper.data) == 1
    same(asked(net, prop, None, keeper=keeper), asked(net, prop, None))


BUGS = {
    "halves of a piece take numbers that others have": (
        Recorder, "add", lambda self, other, own, right=Recorder.add: _forgetful(self, other, own, right)
    ),
    "what a task leaves open is lost": (
        spread, "deal_boxes", lambda stack, parts: deal_boxes(stack, parts)[1:]
    ),
    "a box is dealt twice": (
        spread, "deal_boxes", lambda stack, parts: [*deal_boxes(stack, parts), *deal_boxes(stack, parts)[:1]]
    ),
    "a helper closes what it does not look at": (
        Explorer, "explore", lambda self, task, right=Explorer.explore: replace(right(self, task), left=[])
    ),
}  # fmt: skip


def _forgetful(recorder: Recorder, other: Recorder, own: torch.Tensor, right) -> torch.Tensor:
    before = recorder.nodes
    numbers = right(recorder, other, own)
    recorder.nodes = before + (recorder.nodes - before) // 2
    return numbers


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """The proofs above are compared box by box, and would not be the same."""
    net, prop = case()
    whole = asked(net, prop, None)
    place, name, wrong = BUGS[bug]
    monkeypatch.setattr(place, name, wrong)
    with pytest.raises((AssertionError, IndexError, ValueError)):
        same(asked(net, prop, Hands(number=2)), whole)


def test_a_result_that_comes_twice_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it were taken twice: the guard is what the first test rests on."""
    net, prop = case()
    whole = asked(net, prop, None)
    right = spread.Crew.ended

    class Forgiving(dict):
        """Remembers tasks that are done."""

        def __delitem__(self, key: int) -> None:
            self.done = {**getattr(self, "done", {}), key: self[key]}
            super().__delitem__(key)

        def get(self, key: int, default=None):
            return super().get(key, getattr(self, "done", {}).get(key, default))

    def ended(self, recorder):
        if not isinstance(self._running, Forgiving):
            self._running = Forgiving(self._running)
        yield from right(self, recorder)

    monkeypatch.setattr(spread.Crew, "ended", ended)
    hands = Hands(number=2, twice=0.5)
    with pytest.raises((AssertionError, KeyError)):
        same(asked(net, prop, hands), whole)
    assert hands.repeats


def test_pieces_add_up() -> None:
    net, prop = case()
    hands = Hands(number=4)
    found = asked(net, prop, hands)
    assert isinstance(found, Proved)
    shared = sum(piece.boxes for piece in hands.pieces)
    assert found.boxes / 2 < shared < found.boxes
    assert all(isinstance(piece, Piece) and piece.seconds >= 0 for piece in hands.pieces)
