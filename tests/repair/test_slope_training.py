"""Retraining until slopes are right: they become so, what is kept stays, and open proofs are learnt from."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from birdnn.boxes import Boxes
from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.records import Unwatched
from birdnn.repair import Evidence, Goal, RepairTask, SlopeGoal, SlopeTraining, SlopeTrainingSettings
from birdnn.repair.slope_training import SlopeAim
from birdnn.sample import evaluate
from birdnn.spec import Polytope, Property, Region, Row
from tests.bounds.builders import half_space, make_property, random_net
from tests.repair.tasks import closest

FAST = SlopeTrainingSettings(steps=600, polish=100, points=100, boxes=48, kept=200, search=10, grows=1.3, rate=5e-3)
LOWER, UPPER = (-1.0, -1.0), (1.0, 1.0)


def rising(outputs: int = 2, output: int = 0, direction: int = 0, lower: tuple[float, ...] = LOWER) -> SlopeGoal:
    """An output never falls along an input."""
    zeros = [Fraction(0)] * outputs
    slope = [*zeros]
    slope[output] = Fraction(1)
    unsafe = Polytope(rows=(Row((*zeros, *slope), Fraction(0), True),), n_outputs=2 * outputs)
    box = [tuple(map(Fraction, side)) for side in (lower, UPPER)]
    region = Region(exact_lower=box[0], exact_upper=box[1], unsafe=(unsafe,))
    return SlopeGoal(name="rising", direction=direction, regions=(region,))


def task(net: Network, *goals: Goal, **more: object) -> RepairTask:
    corners = torch.tensor(LOWER, dtype=torch.float64), torch.tensor(UPPER, dtype=torch.float64)
    made: dict[str, object] = {"domain": corners, "decision": "argmax", "slopes": (rising(),), **more}
    return RepairTask(net=net, goals=goals, resample=closest, **made)  # type: ignore[arg-type]


def falling(net: Network, count: int = 40_000, direction: int = 0, output: int = 0) -> float:
    """Share of fresh inputs at which the output falls."""
    x = (2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(7)) - 1).requires_grad_(True)
    (slope,) = torch.autograd.grad(net.copy().float()(x)[:, output].sum(), x)
    return float((slope[:, direction] < 0).double().mean())


@pytest.mark.parametrize("seed", [0, 3])
def test_an_output_falls_nowhere_afterwards(seed: int) -> None:
    net = random_net(seed, (2, 12, 12, 2))
    assert falling(net) > 0.1
    repaired = SlopeTraining(task(net), FAST).propose(Evidence(), timeout_s=120, watch=Unwatched())
    assert falling(repaired) == 0


def test_what_is_right_already_is_hardly_moved() -> None:
    """Both outputs grow with the first input; the loss on what is kept holds everything else where it is."""
    net = random_net(0, (2, 12, 12, 2))
    values = {name: value.abs() for name, value in net.initialisers().items() if value.dim() > 1}
    rising_net = net.with_values(values)
    assert falling(rising_net) == 0
    found = SlopeTraining(task(rising_net), FAST).propose(Evidence(), timeout_s=120, watch=Unwatched())
    x = 2 * torch.rand(2000, 2, generator=torch.Generator().manual_seed(1)) - 1
    before, after = evaluate(rising_net, x), evaluate(found, x)
    assert float((before - after).abs().mean()) < 0.02 * float(before.abs().mean())


def test_a_property_that_holds_stays() -> None:
    net = random_net(0, (2, 12, 12, 2))
    x = 2 * torch.rand(20_000, 2, generator=torch.Generator().manual_seed(3)) - 1
    least = float(evaluate(net, x)[:, 1].min())
    prop = make_property(LOWER, UPPER, half_space([0, 1], least - 0.3))  # output 1 is never that small
    goal = Goal(prop=prop, repair=True, violated=False)
    found = SlopeTraining(task(net, goal), FAST).propose(Evidence(), timeout_s=120, watch=Unwatched())
    assert falling(found) == 0
    assert float(evaluate(found, x)[:, 1].min()) > least - 0.3


def test_no_layer_moves_farther_than_it_may() -> None:
    net = random_net(0, (2, 12, 12, 2))
    repairer = SlopeTraining(task(net, max_change=0.01), FAST)
    found = repairer.propose(Evidence(), timeout_s=60, watch=Unwatched())
    for name, value in net.initialisers().items():
        if value.dim() > 1:
            moved = float((found.value(name) - value).detach().norm())
            assert moved <= 0.011 * math.hypot(float(value.detach().norm()), 20.0)
    assert repairer.remarks()


def test_it_ends_in_time_and_when_somebody_wants_that() -> None:
    class Stopped(Unwatched):
        def stopped(self) -> bool:
            return True

    net = random_net(0, (2, 12, 12, 2))
    slow = SlopeTrainingSettings(steps=10**6)
    for watch, seconds in ((Unwatched(), 0.5), (Stopped(), 1e6)):
        found = SlopeTraining(task(net), slow).propose(Evidence(), timeout_s=seconds, watch=watch)
        assert all(bool(value.isfinite().all()) for value in found.initialisers().values())


def an_aim(goal: SlopeGoal, net: Network) -> SlopeAim:
    return SlopeAim.of(goal, goal.regions[0], net.float(), 0.02, torch.Generator().manual_seed(0))


def test_boxes_that_a_proof_left_open_are_learnt_from() -> None:
    net, generator = random_net(0, (2, 12, 12, 2)), torch.Generator().manual_seed(0)
    aim = an_aim(rising(), net)
    middle = torch.tensor([[0.25, -0.5]], dtype=torch.float64)
    aim.meet(Boxes(middle - 1e-9, middle + 1e-9), generator)
    assert bool((aim.pool == middle.float()).all(1).any())
    near = (aim.pool[-1] - middle.float()[0]).abs()
    assert 0 < float(near.max()) <= 0.01  # and neighbours of it: where kinks cross, all slopes around count


def test_what_was_found_in_another_region_is_none_of_this() -> None:
    net = random_net(0, (2, 12, 12, 2))
    aim = an_aim(rising(lower=(0.0, 0.0)), net)
    before = len(aim.pool)
    aim.add(torch.tensor([[-0.5, 0.5], [0.5, 0.5], [1.0 + 1e-7, 0.5]]))
    assert aim.pool[before:].tolist() == [[0.5, 0.5], [1.0, 0.5]]


def test_a_search_finds_what_is_worst() -> None:
    net, generator = random_net(0, (2, 12, 12, 2)).float(), torch.Generator().manual_seed(0)
    aim = an_aim(rising(), net)
    assert aim.search(net, generator)
    with torch.no_grad():
        worst = float(aim.slopes_at(net, aim.pool[-200:]).min())
        x = 2 * torch.rand(100_000, 2, generator=torch.Generator().manual_seed(5)) - 1
        assert worst <= float(aim.slopes_at(net, x).min()) + 1e-5
    values = {name: value.abs() for name, value in net.initialisers().items() if value.dim() > 1}
    assert not aim.search(net.with_values(values), generator)


def test_samples_of_boxes_hold_their_corners_and_stay_inside() -> None:
    net, generator = random_net(0, (2, 12, 12, 2)), torch.Generator().manual_seed(0)
    aim = an_aim(rising(lower=(-1.0, 1.0)), net)  # the second input is fixed
    x = aim.draw(64, generator)
    samples = aim.boxes_around(x, (0.1, 0.1), generator)
    assert bool((samples[..., 1] == 1).all())
    assert bool((samples >= aim.lower).all() & (samples <= aim.upper).all())
    inner = (x[:, 0] > -0.85) & (x[:, 0] < 0.85)
    width = samples[inner][..., 0].amax(1) - samples[inner][..., 0].amin(1)
    torch.testing.assert_close(width, torch.full_like(width, 0.2), rtol=1e-4, atol=1e-5)


def test_quotients_of_straight_lines_are_their_slopes() -> None:
    net, generator = random_net(0, (2, 12, 12, 2)), torch.Generator().manual_seed(0)
    straight = net.with_values({n: v.abs() + (9 if v.dim() == 1 else 0) for n, v in net.initialisers().items()}).float()
    aim, x = an_aim(rising(output=1), straight), torch.zeros(50, 2)
    # all neurons are active: one slope everywhere, whatever the distance; float32 rounds small differences
    torch.testing.assert_close(
        aim.quotients(straight, x, generator).detach(), aim.slopes_at(straight, x).detach(), rtol=0.05, atol=0.05
    )


def test_without_slopes_there_is_nothing_to_train() -> None:
    net = random_net(0, (2, 12, 12, 2))
    prop: Property = make_property(LOWER, UPPER, half_space([1, 0], -9))
    with pytest.raises(MismatchError, match="nothing is asked of slopes"):
        SlopeTraining(task(net, Goal(prop=prop, repair=True, violated=False), slopes=()), FAST)
