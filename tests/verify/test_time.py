"""Limits of time within a step, and budgets that are work: a busy machine may be slow, it must not change a verdict."""

from __future__ import annotations

import itertools
import types
from typing import Any

import pytest
import torch

from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownBound
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.records import Proved, Unknown, Violated
from birdnn.records.limits import OutOfTime
from birdnn.sample import pieces
from birdnn.spec import Property
from birdnn.verify import AttackSettings, attack, effort, falsify, search, sifting, verify
from birdnn.verify.attack import attack_all
from birdnn.verify.bounding import root_of
from tests.bounds.builders import CPU, half_space, make_property, property_of, random_layers, random_net
from tests.verify.cases import NO_ATTACK, Engine
from tests.verify.cases import effort as settings_of

SETTINGS = AttackSettings()


def restless() -> tuple:
    """A thousand boxes."""
    net = network_from_layers(random_layers(2, (4, 24, 24, 24, 1), scale=2.5))
    return net, make_property([-1] * 4, [1] * 4, half_space([1.0], -22.0))


def test_work_is_counted_not_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same budget in multiplications ends a search at the same box, on a machine that takes an hour for each."""
    net, prop = restless()
    limits = settings_of(batch=32, max_work=300 * effort.backward_box_work(net), give_up=True, timeout_s=float("inf"))
    idle = verify(net, prop, settings=limits, replays=[Engine(net)])
    clock = itertools.count(0.0, 3600.0)
    monkeypatch.setattr(search, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    busy = verify(net, prop, settings=limits, replays=[Engine(net)])
    assert isinstance(idle, Unknown)
    assert isinstance(busy, Unknown)
    assert (busy.reason, busy.boxes) == (idle.reason, idle.boxes) == ("boxes", idle.boxes)
    assert 300 <= idle.boxes < 400


def test_a_large_network_gets_fewer_boxes_for_the_same_work() -> None:
    small, large = random_net(0, (2, 10, 2)), random_net(0, (2, 100, 100, 2))
    counts = [effort.boxes_within(1e9, net, CrownBound(net, CPU)) for net in (small, large)]
    assert counts[0] > 20 * counts[1] > 20


def test_time_may_run_out_within_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """One box of a wide network takes seconds: the clock is asked between its passes, and the box stays open."""
    net, prop = restless()
    bound = CrownBound(net, CPU)
    bound.over = lambda: True
    work = root_of(bound, prop.regions[0])
    with pytest.raises(OutOfTime):
        bound.bound(search.Question.of(prop.regions[0].unsafe, 1, CPU), work.boxes, work.opened, work.inherited)

    ticks = itertools.count(0.0, 1.0)
    monkeypatch.setattr(search, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
    found = verify(net, prop, settings=settings_of(batch=32, timeout_s=60.0), replays=[Engine(net)])
    assert isinstance(found, Unknown)
    assert found.reason == "timeout"
    assert found.open_boxes > 0
    assert next(ticks) < 66, "the clock was asked long after the limit"


@pytest.mark.parametrize("make", [GraphBound, IntervalBound, CompiledBound], ids=lambda make: make.__name__)
def test_every_bound_asks_whether_time_is_over(make: Any) -> None:
    net, prop = restless()
    bound = make(net) if make is CompiledBound else make(net, CPU)
    assert not bound.over()
    bound.over = lambda: True
    work = root_of(bound, prop.regions[0])
    with pytest.raises(OutOfTime):
        bound.bound(search.Question.of(prop.regions[0].unsafe, 1, CPU), work.boxes, work.opened, work.inherited)


def test_an_attack_looks_at_the_clock_between_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """One evaluation of ten thousand points of a large network takes minutes."""
    monkeypatch.setattr(pieces, "_PIECE", 1e5)
    net, prop = restless()
    evaluated = []
    monkeypatch.setattr(type(net), "__call__", lambda self, x: evaluated.append(len(x)) or self.forward(x))
    points = attack(
        net, prop.regions[0], settings=SETTINGS, generator=torch.Generator().manual_seed(0), stopped=lambda: True
    )
    assert len(points)
    assert sum(evaluated) <= pieces.points_per_piece(net)


def test_pieces_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    net, prop = restless()
    found = []
    for piece in (1e9, 1e5):
        monkeypatch.setattr(pieces, "_PIECE", piece)
        generator = torch.Generator().manual_seed(0)
        found.append(attack(net, prop.regions[0], settings=SETTINGS, generator=generator))
    assert found[0].shape == found[1].shape
    assert torch.allclose(found[0], found[1], atol=1e-3)


# --- many clauses --------------------------------------------------------------------------------------------------


def triangle() -> list:
    """y_0 = relu(x_0) + relu(x_0 - x_1), y_1 = relu(x_0 - x_1), of two inputs in 0..1."""
    return [([[1.0, 0.0], [1.0, -1.0]], [0.0, 0.0]), ([[1.0, 1.0], [0.0, 1.0]], [0.0, 0.0])]


def of_outputs(count: int) -> Property:
    """So many clauses on the outputs of one box, none of which is reached: both outputs would have to be large."""
    unsafe = [half_space([-1.0, 0.0], -2.01 - i / count) for i in range(count)]
    return make_property([0.0, 0.0], [1.0, 1.0], *unsafe)


def of_inputs(count: int, reach: float) -> Property:
    """So many boxes, each with its own threshold for the first output."""
    regions = []
    for i in range(count):
        low, high = i / count, (i + 1) / count
        threshold = 2 * high + 0.01 if i != 3 * count // 4 else 2 * high + 0.01 - reach
        regions += make_property([low, 0.0], [high, 1.0], half_space([-1.0, 0.0], -threshold)).regions
    return property_of(*regions)


@pytest.mark.parametrize("prop", [of_outputs(100), of_inputs(100, 0.0)], ids=["outputs", "inputs"])
def test_what_bounds_exclude_at_once_is_not_attacked(monkeypatch: pytest.MonkeyPatch, prop: Property) -> None:
    """A thousand attacks took minutes before the first bound, which excludes all of them together."""
    attacked: list[int] = []

    def noted(net: object, regions: list, **options: object) -> list:
        attacked.append(sum(len(region.unsafe) for region in regions))
        return attack_all(net, regions, **options)

    monkeypatch.setattr(search, "attack_all", noted)
    net = network_from_layers(triangle())
    found = verify(net, prop, settings=settings_of(), replays=[Engine(net)])
    assert isinstance(found, Proved)
    assert found.boxes >= len(prop.regions)
    assert sum(attacked) <= 2
    lost = falsify(net, prop, settings=settings_of(), replays=[Engine(net)])
    assert isinstance(lost, Unknown)
    assert lost.tried in ("bounds, which leave nothing to attack", "1 round of attack on 1 input region")


@pytest.mark.parametrize("count", [1, 1000])
def test_bounds_of_many_regions_are_few_calls(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Three thousand regions took a search each; where no certificate is asked for their first bounds are enough."""
    calls: list[int] = []
    bounded = IntervalBound.bound

    def noted(self: IntervalBound, question: Question, boxes: Boxes, *others: torch.Tensor) -> BoundResult:
        calls.append(len(boxes))
        return bounded(self, question, boxes, *others)

    monkeypatch.setattr(IntervalBound, "bound", noted)
    monkeypatch.setattr(sifting, "AT_ONCE", 0.0)
    net = network_from_layers(triangle())
    prop = of_inputs(count, -2.0)  # far out of reach
    found = verify(net, prop, settings=settings_of(batch=256, semantics="float32"), replays=[Engine(net)])
    assert isinstance(found, Proved)
    assert found.boxes == count
    assert sum(calls) == count
    assert len(calls) == -(-count // 256)


def test_the_one_clause_that_is_violated_is_found() -> None:
    net = network_from_layers(triangle())
    prop = of_inputs(100, 0.02)
    found = verify(net, prop, settings=settings_of(attack=SETTINGS), replays=[Engine(net)])
    assert isinstance(found, Violated)
    assert prop.violated(found.witness.x, found.witness.y)


def test_many_polytopes_get_short_attacks() -> None:
    net = network_from_layers(triangle())
    hunts = [
        effort.hunt_effort(net, polytopes, regions, SETTINGS) for polytopes, regions in ((1, 1), (1000, 1), (9, 1000))
    ]
    assert hunts[0] == SETTINGS
    assert max(hunt.evaluations for hunt in hunts[1:]) < SETTINGS.evaluations / 10


def test_many_clauses_are_decided_by_bounds_alone_where_there_is_no_attack() -> None:
    net = network_from_layers(triangle())
    assert isinstance(
        verify(net, of_inputs(40, 0.02), settings=settings_of(attack=NO_ATTACK), replays=[Engine(net)]), Violated
    )
