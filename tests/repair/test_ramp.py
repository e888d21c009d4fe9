"""A ramp that all outputs share: slopes become right, and what outputs decide stays."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from birdnn.boxes import Boxes
from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Unwatched
from birdnn.records.limits import OutOfTime
from birdnn.repair import CommonRamp, Evidence, Goal, RampSettings, RepairTask, SlopeGoal
from birdnn.sample import evaluate
from birdnn.spec import Polytope, Region, Row
from tests.bounds.builders import Layers, graph_net, half_space, make_property, random_layers
from tests.repair.tasks import closest

INPUTS, OUTPUTS = 3, 3
LOWER, UPPER = (-0.2, -0.3, 0.25), (0.4, 0.1, 0.25)
QUICK = RampSettings(points=2000)


def slope_goal(coefficients: tuple[int, ...], bound: int = 0, direction: int = 0) -> SlopeGoal:
    """``coefficients @ slopes <= bound`` is unsafe in a box, of which one edge is a point."""
    row = Row((Fraction(0),) * OUTPUTS + tuple(map(Fraction, coefficients)), Fraction(bound), True)
    region = Region(
        exact_lower=tuple(Fraction(v).limit_denominator(100) for v in LOWER),
        exact_upper=tuple(Fraction(v).limit_denominator(100) for v in UPPER),
        unsafe=(Polytope(rows=(row,), n_outputs=2 * OUTPUTS),),
    )
    return SlopeGoal(name="slope", direction=direction, regions=(region,))


RISING, FALLING = slope_goal((1, 0, 0)), slope_goal((0, -1, 0))


def roomy_layers(seed: int, hidden: int, idle: int = 10) -> Layers:
    """Beside neurons of ordinary weights some that are never active."""
    width = 12
    layers = random_layers(seed, (INPUTS, *([width + idle] * hidden), OUTPUTS))
    for weight, bias in layers[:-1]:
        weight[width:], bias[width:] = 0, -1
    return layers


def task(net: Network, *slopes: SlopeGoal, goals: tuple[Goal, ...] = (), **more: object) -> RepairTask:
    corners = torch.full((INPUTS,), -1.0).double(), torch.ones(INPUTS).double()
    made: dict[str, object] = {"domain": corners, "decision": "argmax", **more}
    return RepairTask(net=net, goals=goals, resample=closest, slopes=slopes or (RISING,), **made)  # type: ignore[arg-type]


def propose(ramp: CommonRamp, evidence: Evidence | None = None) -> Network:
    return ramp.propose(evidence or Evidence(), timeout_s=60, watch=Unwatched())


def uniform(lower: tuple[float, ...], upper: tuple[float, ...], count: int = 20_000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    low, high = torch.tensor(lower), torch.tensor(upper)
    return low + (high - low) * torch.rand(count, INPUTS, generator=generator)


def slopes(net: Network, output: int, direction: int = 0) -> torch.Tensor:
    """At fresh inputs of the region."""
    x = uniform(LOWER, UPPER).double().requires_grad_(True)
    (found,) = torch.autograd.grad(net.copy().double()(x)[:, output].sum(), x)
    return found[:, direction]


@pytest.mark.parametrize("goal", [RISING, FALLING], ids=["rising", "falling"])
@pytest.mark.parametrize("hidden", [1, 2, 3, 5])
def test_slopes_become_right_and_all_decisions_stay(hidden: int, goal: SlopeGoal) -> None:
    net = network_from_layers(roomy_layers(3, hidden))
    sign, output = (1, 0) if goal is RISING else (-1, 1)
    assert bool((sign * slopes(net, output) < 0).any())
    ramp = CommonRamp(task(net, goal), QUICK)
    repaired = propose(ramp)
    assert bool((sign * slopes(repaired, output) >= 0).all())
    assert sign * ramp.rise > 0
    # where neurons are idle outputs move by the same amount, and by none far from the region
    x = uniform((-1.0,) * INPUTS, (1.0,) * INPUTS)
    moved = evaluate(repaired, x) - evaluate(net, x)
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-5)
    assert float(moved.abs().max()) == pytest.approx(abs(ramp.rise) * ramp.width, rel=0.05)
    assert f"{abs(ramp.rise) * ramp.width:.3g}" in ramp.remarks()[0]
    before = (x[:, 0] < LOWER[0] - 0.02) | ((x[:, 2] - LOWER[2]).abs() > 0.15 if hidden > 1 else False)
    assert bool((moved[before].abs() < 1e-5).all())
    assert int(before.sum()) > 1000
    assert ramp.negatives() == {}
    assert ramp.ties() == ()


def test_without_idle_neurons_few_decisions_change() -> None:
    net = network_from_layers(random_layers(4, (INPUTS, 30, 30, 30, OUTPUTS)))
    repaired = propose(CommonRamp(task(net), QUICK))
    assert bool((slopes(repaired, 0) >= 0).all())
    x = uniform((-1.0,) * INPUTS, (1.0,) * INPUTS)
    kept = (evaluate(repaired, x).argmax(1) == evaluate(net, x).argmax(1)).double().mean()
    assert 0.97 < kept < 1


def test_a_gentler_ramp_would_leave_wrong_slopes() -> None:
    """So that the tests above can fail."""
    net = network_from_layers(roomy_layers(3, 3))
    ramp = CommonRamp(task(net), RampSettings(points=2000, steeper=0.7))
    assert bool((slopes(propose(ramp), 0) < 0).any())


def test_an_open_proof_makes_it_steeper() -> None:
    net = network_from_layers(roomy_layers(3, 3))
    ramp = CommonRamp(task(net), QUICK)
    propose(ramp)
    first = ramp.rise
    lower = torch.tensor([LOWER], dtype=torch.float64)
    open_boxes = Evidence(undecided={"slope": Boxes(lower, lower + 0.01)})
    propose(ramp, open_boxes)
    assert ramp.rise > 1.2 * first
    # one that is too far from the original already is not made steeper
    second = ramp.rise
    propose(ramp, Evidence(too_far=True))
    assert ramp.rise == second


def test_what_is_right_already_gets_no_ramp() -> None:
    layers = [(np.abs(weight), bias) for weight, bias in roomy_layers(2, 2)]
    with pytest.raises(MismatchError, match="no wrong slope"):
        CommonRamp(task(network_from_layers(layers)), QUICK)


def in_region(goal: SlopeGoal, lower: tuple[float, ...], upper: tuple[float, ...], count: int = 1) -> SlopeGoal:
    """The same of another region, so many times."""
    (region,) = goal.regions
    box = (tuple(map(Fraction, side)) for side in (lower, upper))
    moved = replace(region, **dict(zip(("exact_lower", "exact_upper"), box, strict=True)))
    return replace(goal, regions=(moved,) * count)


@pytest.mark.parametrize(
    ("lower", "upper", "more"),
    [
        ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), {"domain": None}),
        ((-0.5, 0.25, 0.25), (0.5, 0.25, 0.25), {"domain": None}),
        ((-3.0, -0.5, -0.5), (-2.0, 0.5, 0.5), {}),
        ((-1.5, -0.5, -0.5), (0.5, 1.5, 0.5), {}),
        ((0.25, -0.5, -0.5), (0.25 + 2.0**-30, 0.5, 0.5), {}),
        ((0.25, -0.5, -0.5), (0.25, 0.5, 0.5), {}),
        ((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), {"domain": (torch.full((3,), -torch.inf), torch.full((3,), torch.inf))}),
    ],
)
@pytest.mark.parametrize("seed", [3, 4])
def test_any_region_gets_a_ramp_or_a_reason(
    seed: int, lower: tuple[float, ...], upper: tuple[float, ...], more: dict[str, object]
) -> None:
    net = network_from_layers(roomy_layers(seed, 3))
    if (domain := more.get("domain")) is not None:
        more = {**more, "domain": tuple(side.double() for side in domain)}  # type: ignore[attr-defined]
    try:
        ramp = CommonRamp(task(net, in_region(RISING, lower, upper), **more), QUICK)
    except MismatchError:
        return  # nothing else may leave it
    repaired = propose(ramp)
    x = uniform(lower, upper).double().requires_grad_(True)
    (found,) = torch.autograd.grad(repaired.copy().double()(x)[:, 0].sum(), x)
    assert bool((found[:, 0] >= 0).all())


def test_many_regions_are_searched_once_each_and_time_is_kept() -> None:
    net = network_from_layers(roomy_layers(3, 3))
    goal = in_region(RISING, LOWER, UPPER, 40)
    asked = [0]

    def over() -> bool:
        asked[0] += 1
        return False

    ramp = CommonRamp(task(net, goal, over=over), replace(QUICK, fades=(0.05,)))
    before = asked[0]
    ramp.propose(Evidence(), timeout_s=60, watch=Unwatched())
    assert before > 80
    assert asked[0] - before == 40
    drawn = ramp.generator.get_state()
    ramp.propose(Evidence(), timeout_s=-1.0, watch=Unwatched())
    assert torch.equal(ramp.generator.get_state(), drawn), "nothing was searched"


def test_a_slope_between_two_bounds_is_moved_between_them() -> None:
    net = network_from_layers(roomy_layers(1, 2))
    found = slopes(net, 0)
    low, high = float(found.min()), float(found.max())
    # both ends move up by 2: least slopes above low + 2, greatest below high + 3
    goals = (slope_goal((1, 0, 0), int(np.floor(low + 2))), slope_goal((-1, 0, 0), -int(np.ceil(high + 3))))
    moved = slopes(propose(CommonRamp(task(net, *goals), QUICK)), 0)
    assert float(moved.min()) >= np.floor(low + 2)
    assert float(moved.max()) <= np.ceil(high + 3)
    narrow = slope_goal((1, 0, 0), 0), slope_goal((-1, 0, 0), -1)
    with pytest.raises(MismatchError, match="no ramp helps both"):
        CommonRamp(task(network_from_layers(roomy_layers(1, 2)), *narrow), QUICK)


def scaled_net(hidden: int) -> Network:
    """Inputs and outputs are scaled by the file itself."""
    layers = roomy_layers(5, hidden)
    tensors = {"mean": np.array([[0.1, -0.2, 0.3]], np.float32), "range": np.array([[0.5, 2, 4]], np.float32)}
    tensors |= {"out": np.array([[2, 5, 0.25]], np.float32)}
    nodes: list[tuple] = [("Sub", ["x", "mean"], "c", {}), ("Div", ["c", "range"], "v", {})]
    value = "v"
    for k, (weight, bias) in enumerate(layers):
        tensors |= {f"w{k}": weight.T.copy(), f"b{k}": bias}
        nodes.append(("Gemm", [value, f"w{k}", f"b{k}"], f"z{k}", {}))
        value = f"h{k}"
        nodes.append(("Relu", [f"z{k}"], value, {}))
    nodes[-1] = ("Mul", [f"z{len(layers) - 1}", "out"], "y", {})
    return graph_net(nodes, tensors, (1, INPUTS))


def test_scaling_in_front_and_behind_is_seen_through() -> None:
    net = scaled_net(3)
    assert bool((slopes(net, 0) < 0).any())
    repaired = propose(CommonRamp(task(net), QUICK))
    assert bool((slopes(repaired, 0) >= 0).all())
    x = uniform((-1.0,) * INPUTS, (1.0,) * INPUTS)
    moved = evaluate(repaired, x) - evaluate(net, x)
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-4)


_VIOLATED = Goal(
    prop=make_property(LOWER, UPPER, half_space((1, 0, 0), 100)),
    repair=True,
    violated=True,
)


@pytest.mark.parametrize(
    ("more", "goals", "words"),
    [
        ({"decision": "none"}, (RISING,), "nothing decides"),
        ({}, (RISING, slope_goal((1, 0, 0), direction=1)), "several inputs"),
        ({}, (slope_goal((1, -1, 0)),), "differences of outputs"),
        ({"goals": (_VIOLATED,)}, (RISING,), "violated as well"),
        ({"max_difference": 1e-3}, (RISING,), "higher than outputs may be"),
        ({"max_change": 1e-4}, (RISING,), "farther than they may be moved"),
    ],
)
def test_where_it_cannot_help_it_says_so(more: dict[str, object], goals: tuple[SlopeGoal, ...], words: str) -> None:
    net = network_from_layers(roomy_layers(3, 3))
    with pytest.raises(MismatchError, match=words):
        CommonRamp(task(net, *goals, **more), QUICK)  # type: ignore[arg-type]


def test_networks_without_neurons_for_it_are_refused() -> None:
    with pytest.raises(MismatchError, match="can be spared"):
        CommonRamp(task(network_from_layers(random_layers(0, (INPUTS, 4, 4, OUTPUTS)))), RampSettings(spare=0.0))
    with pytest.raises(MismatchError, match="ReLU"):
        CommonRamp(task(network_from_layers(roomy_layers(3, 3), "Tanh")), QUICK)


def test_time_may_be_over() -> None:
    with pytest.raises(OutOfTime):
        CommonRamp(task(network_from_layers(roomy_layers(3, 3)), over=lambda: True), QUICK)
