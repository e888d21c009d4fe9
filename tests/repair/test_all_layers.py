"""Retraining of all layers on bounds: the bounds hold, regions stay apart, and what was violated is proved."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from birdnn.bounds.interval import propagate_to
from birdnn.records import Proved, Unwatched
from birdnn.repair import AllLayers, AllLayersSettings, Evidence
from birdnn.repair.aims import Aim
from birdnn.repair.all_layers import Asked, Bounds, Together
from birdnn.repair.protocol import Goal
from birdnn.sample import evaluate
from birdnn.spec import Polytope, Property, Row
from birdnn.verify import SearchSettings, verify
from tests.bounds.builders import half_space, make_property, random_polytopes
from tests.repair.graphs import GRAPHS, a_graph
from tests.repair.tasks import task_of, violating
from tests.verify.cases import Engine


def asked_of(net_name: str, *props: Property) -> Together:
    net, generator = a_graph(net_name), torch.Generator().manual_seed(0)
    found = []
    for prop in props:
        goal = Goal(prop=prop, repair=True, violated=True)
        aim = Aim.of(goal, prop.regions[0], net, share=0.02, samples=10, generator=generator)
        found.append(Asked.of(aim))
    return Together.of(found)


def boxes(seed: int, outputs: int) -> Property:
    middle = np.random.default_rng(seed).normal(size=16)
    return make_property((middle - 0.1).tolist(), (middle + 0.1).tolist(), *random_polytopes(seed, outputs))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("softmax", [False, True])
def test_no_input_of_a_box_is_below_its_bounds(name: str, softmax: bool) -> None:
    net = a_graph(name, softmax=softmax)
    props = [boxes(seed, net.n_outputs) for seed in range(3)]
    together = asked_of(name, *props)
    lower = Bounds(net).rows(net, together.lower, together.upper, together)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        x = together.lower + (together.upper - together.lower) * torch.rand(3, 16, generator=generator)
        assert bool((together.values(evaluate(net, x)) >= lower.detach() - 1e-4).all())


def test_bounds_are_differentiable_in_every_layer() -> None:
    net = a_graph("behind a residual block")
    together = asked_of("behind a residual block", boxes(0, 3))
    torch.autograd.backward(Bounds(net).rows(net, together.lower, together.upper, together).sum())
    for name in net.repairable:
        gradient = net.value(name).grad
        assert gradient is not None
        assert bool(gradient.isfinite().all())
        assert bool(gradient.any())


def test_values_on_the_way_lie_in_their_intervals() -> None:
    net, prop = a_graph("behind a residual block"), boxes(4, 3)
    region = prop.regions[0]
    ends = propagate_to(net, ("b", "d", "y"), region.lower[None], region.upper[None])
    x = region.lower + (region.upper - region.lower) * torch.rand(300, 16, dtype=torch.float64)
    for (low, high), value in zip(ends, net.observe(x, ("b", "d", "y")), strict=True):
        assert bool(((value >= low) & (value <= high)).all())


def test_margins_of_regions_side_by_side_are_those_of_each() -> None:
    """Polytopes of one to three rows; the same region twice."""
    net = a_graph("two heads")
    props = [boxes(0, 4), boxes(1, 4), boxes(0, 4)]
    together = asked_of("two heads", *props)
    y = torch.randn(3, net.n_outputs, generator=torch.Generator().manual_seed(0))
    margins = together.least(together.best(together.values(y)))
    expected = [float(prop.regions[0].margin(y[i : i + 1])) for i, prop in enumerate(props)]
    assert margins.tolist() == pytest.approx(expected, abs=1e-5)


def robust(name: str, radius: float) -> Property:
    """What is second at a point is to be first around it."""
    net = a_graph(name)
    middle = torch.randn(16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    best = int(evaluate(net, middle[None].float()).topk(2).indices[0, 1])
    others = [j for j in range(net.n_outputs) if j != best]
    rows = [[Fraction(int(k == best) - int(k == j)) for k in range(net.n_outputs)] for j in others]
    unsafe = [Polytope(rows=(Row(tuple(row), Fraction(0)),), n_outputs=net.n_outputs) for row in rows]
    return make_property((middle - radius).tolist(), (middle + radius).tolist(), *unsafe)


@pytest.mark.thorough
def test_a_neighbourhood_is_repaired_and_its_network_proved() -> None:
    name = "behind a residual block"
    net, prop = a_graph(name), robust(name, 0.2)
    assert violating(net, prop.regions[0]) > 0.9, "nothing to show"
    task = replace(task_of(net, prop), domain=None)
    method = AllLayers(task, AllLayersSettings(steps=100, share=0.3, weight=0.3))
    for _ in range(4):  # what a proof does not reach is asked for more strongly
        after = method.propose(Evidence(), timeout_s=60, watch=Unwatched())
        verdict = verify(after, prop, settings=SearchSettings(max_boxes=1000), replays=[Engine(after)])
        if isinstance(verdict, Proved):
            break
    assert isinstance(verdict, Proved)
    assert violating(after, prop.regions[0]) == 0
    assert set(method.trained.names) == net.repairable


def test_a_change_is_cut_off_where_a_layer_may_not_move_farther() -> None:
    name = "behind a residual block"
    net = a_graph(name)
    task = replace(task_of(net, robust(name, 0.5)), domain=None, max_change=0.01)
    method = AllLayers(task, AllLayersSettings(steps=40))
    after = method.propose(Evidence(), timeout_s=60, watch=Unwatched())
    assert method.held
    assert "--max-change" in method.remarks()[0]
    layer = torch.cat([net.value(name).detach().flatten() for name in ("w3", "b3")])
    assert float((after.value("w3") - net.value("w3")).detach().norm()) <= 0.0101 * float(layer.norm())


def test_what_is_kept_is_the_users_data() -> None:
    net = a_graph("behind a residual block")
    data = torch.randn(50, 16, generator=torch.Generator().manual_seed(5))
    prop = make_property([0.0] * 16, [0.1] * 16, half_space([-1.0, 0.0, 0.0], -10.0))
    method = AllLayers(replace(task_of(net, prop), domain=None, data=data), AllLayersSettings(steps=1))
    drawn = method.imitation.sources[0](400)
    # half of the draws are inputs of the file, the others lie between two of them
    assert 0.4 < float((drawn[:, None] == data).all(2).any(1).double().mean()) < 0.6
    assert bool((drawn >= data.amin(0)).all() & (drawn <= data.amax(0)).all())
