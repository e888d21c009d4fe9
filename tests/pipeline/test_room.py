"""What a proof at a point loses: a margin beyond it is proved, and candidates are asked for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.pipeline.room import rounding_room
from birdnn.records import Proved
from birdnn.repair import Goal
from birdnn.repair.hunting import aims_of
from birdnn.verify import SearchSettings, verify
from tests.bounds.builders import half_space, make_property, random_net
from tests.repair.tasks import task_of
from tests.verify.cases import Engine

EXECUTED = SearchSettings(semantics="float32")


def asked(net, x: list[float], margin: float):
    """That output 0 stays `margin` above a threshold at a point."""
    with torch.no_grad():
        value = float(net.copy().double()(torch.tensor([x], dtype=torch.float64))[0, 0])
    return make_property(x, x, half_space([1.0, 0.0], value - margin))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), exponent=st.integers(-12, 12))
def test_twice_as_much_is_proved_and_less_than_all_is_not(seed: int, exponent: int) -> None:
    net = random_net(seed, (3, 8, 8, 2), scale=1.5 * 2.0**exponent)
    x = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
    room = rounding_room(net, EXECUTED)(asked(net, x, 0.0).regions[0])
    assert room > 0
    assert isinstance(verify(net, asked(net, x, 2 * room), settings=EXECUTED, replays=[Engine(net)]), Proved)
    assert not isinstance(verify(net, asked(net, x, room / 16), settings=EXECUTED, replays=[Engine(net)]), Proved)


def test_over_the_reals_and_in_boxes_nothing_is_kept_free() -> None:
    net, box = random_net(0, (3, 8, 2)), make_property([0.0] * 3, [1.0] * 3, half_space([1.0, 0.0], 0.0))
    point = asked(net, [0.5] * 3, 0.0).regions[0]
    assert rounding_room(net, SearchSettings())(point) == 0
    assert rounding_room(net, EXECUTED)(box.regions[0]) == 0


@pytest.mark.parametrize("violated", [True, False])
def test_a_candidate_is_asked_for_what_can_be_proved(violated: bool) -> None:
    """Twice the share of its own margin at a point that is nearly undecided was less than a proof can see."""
    net = random_net(0, (3, 8, 2))
    prop = asked(net, [0.5] * 3, -1e-7 if violated else 1e-7)
    room = rounding_room(net, EXECUTED)
    generator = torch.Generator().manual_seed(0)
    task = task_of(net, prop)
    for given_room, floor in ((task.room, 0.0), (room, 4 * room(prop.regions[0]))):
        goal = Goal(prop=prop, repair=True, violated=violated)
        (aim,) = aims_of(
            replace(task, goals=(goal,), room=given_room),
            task.teacher(),
            shares=(0.02, 0.02),
            samples=(10, 10),
            generator=generator,
        )
        assert aim.margin == pytest.approx(max(floor, 0.02 * 1e-7), rel=0.5)
