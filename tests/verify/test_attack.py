"""Falsification: finds what is easy to find, stays near the box, repeats itself, survives odd properties."""

from __future__ import annotations

import itertools
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope, Region, Row
from birdnn.verify import SearchSettings, effort
from birdnn.verify.attack import AttackSettings, _Hunt, attack, attack_all
from birdnn.verify.bounding import make_bound
from tests.bounds.builders import ACTIVATIONS, convolution, exact_margin, half_space, make_property, random_layers
from tests.bounds.builders import random_net as net_of
from tests.classifiers import classifier

MODULE = sys.modules[attack.__module__]  # the package's name of it is the function's
QUICK = AttackSettings(evaluations=4000)


def region_of(lower: list[float], upper: list[float], *unsafe: Polytope) -> Region:
    return Region(exact_lower=tuple(map(Fraction, lower)), exact_upper=tuple(map(Fraction, upper)), unsafe=unsafe)


def least_margin(net: Network, region: Region, points: torch.Tensor) -> float:
    with torch.no_grad():
        return float(region.margin(net(points)).amin())


def attacked(net: Network, region: Region, seed: int = 0, effort: AttackSettings = QUICK, **options) -> torch.Tensor:
    return attack(net, region, settings=effort, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.thorough
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_it_comes_close_to_the_exact_minimum(seed: int) -> None:
    """An attack that descends the wrong way still returns points."""
    layers = random_layers(seed, (2, 5, 2))
    region = region_of([-1.0, -1.0], [1.0, 1.0], half_space([1.0, -0.5], -100.0))  # out of reach: full effort
    net = network_from_layers(layers)
    reached = least_margin(net, region, attacked(net, region))
    exact = exact_margin(layers, [-1.0, -1.0], [1.0, 1.0], region.unsafe[0])
    assert exact - 1e-3 <= reached <= exact + 0.05


@pytest.mark.parametrize("left_out", ["_search_population", "_descend_all"])
def test_each_half_finds_a_corner(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either search alone reaches a margin that only one corner has."""
    monkeypatch.setattr(_Hunt, left_out, lambda self, *points: points)
    monkeypatch.setattr(MODULE, "_CORNERS", 0.0)
    net = network_from_layers([([[1.0] * 6], [0.0])])
    region = region_of([0.0] * 6, [1.0] * 6, half_space([1.0], 0.1))
    assert least_margin(net, region, attacked(net, region)) <= 0


def test_every_corner_is_within_reach() -> None:
    """From the middle of the box to any corner; steps that sum to half of a width end short of it."""
    signs = np.where(np.random.default_rng(0).random((1, 200)) < 0.5, -1.0, 1.0)
    net = network_from_layers([(signs, [0.0])])
    region = region_of([-1.0] * 200, [1.0] * 200, half_space([1.0], -199.9))

    def reached() -> float:
        return least_margin(net, region, attacked(net, region, effort=AttackSettings(evaluations=200)))

    assert reached() <= 0
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(MODULE, "_FIRST_STEP", 0.1)
        planted.setattr(MODULE, "_LAST_STEP", 1e-3)
        assert reached() > 0


def test_it_begins_where_it_is_told_to() -> None:
    """A violation that nothing leads to; it may be anywhere but in the middle."""
    places = torch.tensor([[0.8, 0.3], [0.2, 0.7]])
    layers = [
        ([[1.0, 0.0], [-1.0, 0.0]], [-0.8, 0.8]),
        ([[1e4, 1e4]], [0.0]),
        ([[1.0]], [-1.0]),
    ]  # -1 at x_0 = 0.8, from 1e-4 away on at least 0
    net, region = network_from_layers(layers), region_of([0.0] * 2, [1.0] * 2, half_space([1.0], -0.9))
    few = AttackSettings(evaluations=16)
    assert least_margin(net, region, attacked(net, region, effort=few)) > 0
    assert least_margin(net, region, attacked(net, region, effort=few, hints=places)) <= 0


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_points_stay_in_the_box(op: str, alpha: float | None) -> None:
    """Rounding to float32 aside: a point elsewhere is about another region. One edge is degenerate."""
    region = region_of([-0.5, 0.25, 1.0], [0.7, 0.25, 1.5], half_space([1.0, 1.0], -3.0), half_space([0.0, -1.0], -3.0))
    points = attacked(net_of(4, (3, 6, 2), op, alpha), region, thorough=True)
    assert points.dtype == torch.float32
    assert bool((points.double() >= region.lower - 1e-7).all())
    assert bool((points.double() <= region.upper + 1e-7).all())


def test_the_seed_decides() -> None:
    """Runs must be repeatable; and another seed looks elsewhere."""
    net, region = net_of(2, (3, 6, 2)), region_of([-1.0] * 3, [1.0] * 3, half_space([1.0, 0.0], -9.0))
    assert torch.equal(attacked(net, region, 5), attacked(net, region, 5))
    assert not torch.equal(attacked(net, region, 5), attacked(net, region, 6))


def test_thorough_goes_on() -> None:
    """Repair wants many counterexamples, of every polytope."""
    net = network_from_layers([([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])])
    region = region_of([0.0, 0.0], [1.0, 1.0], half_space([1.0, 0.0], 0.2), half_space([0.0, -1.0], -0.8))
    some, many = (attacked(net, region, thorough=thorough) for thorough in (False, True))
    unsafe = [[int((p.margin(net(points)) <= 0).sum()) for p in region.unsafe] for points in (some, many)]
    assert max(unsafe[0]) > 0
    assert min(unsafe[1]) > 100


class Counted:
    """What a network is asked: calls, and evaluations, of which a gradient costs two more."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.calls = self.evaluations = 0
        net.register_forward_pre_hook(self.count)

    def count(self, net: torch.nn.Module, of: tuple[torch.Tensor]) -> None:
        """Before each call."""
        self.calls += 1
        self.evaluations += len(of[0]) * (3 if of[0].requires_grad else 1)


@pytest.mark.parametrize("patience", [0, 3, 12, 25])
def test_it_stops_when_told_to(patience: int) -> None:
    """Looked at after every evaluation; what was found by then comes back."""
    asked = 0
    net, region = net_of(2, (3, 6, 2)), region_of([-1.0] * 3, [1.0] * 3, half_space([1.0, 0.0], -9.0))
    counted = Counted(net)

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > patience

    points = attacked(net, region, stopped=stopped)
    assert max(1, patience // 2) <= counted.calls <= patience + 1
    assert len(points) > 0


@pytest.mark.parametrize("n_inputs", [2, 30])
@pytest.mark.parametrize("evaluations", [1, 10, 64, 500, 6000])
def test_it_costs_what_was_asked_for(n_inputs: int, evaluations: int) -> None:
    """Evaluations are work: a limit of them holds on every machine."""
    net = net_of(3, (n_inputs, 6, 3))
    unsafe = [half_space([1.0, 0.0, 0.0], -9.0 - i) for i in range(3)]
    counted = Counted(net)
    attacked(
        net, region_of([-1.0] * n_inputs, [1.0] * n_inputs, *unsafe), effort=AttackSettings(evaluations=evaluations)
    )
    last = 3 * 64  # the end points of descents
    assert 0.5 * 3 * evaluations <= counted.evaluations <= 3 * evaluations + last
    assert counted.calls <= 200


def test_a_thousand_clauses_are_one_batch() -> None:
    """The network is asked a few times about all of them, not a thousand times about one."""
    net = net_of(5, (2, 6, 1))
    with torch.no_grad():
        least = float(net(2 * torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0)) - 1).min())
    unsafe = [half_space([1.0], least - 0.1 - i / 1000) for i in range(999)]
    regions = [
        region_of([-1.0] * 2, [1.0] * 2, *unsafe[:500]),
        *(region_of([-1.0] * 2, [0.5 + i / 1000, 1.0], p) for i, p in enumerate(unsafe[500:])),
        region_of([-1.0] * 2, [1.0] * 2, half_space([1.0], least + 0.02)),
    ]
    counted, shown = Counted(net), []

    def accepts(number: int, points: torch.Tensor) -> bool:
        shown.append(number)
        return bool((regions[number].margin(net(points)) <= 0).all())

    settings = AttackSettings(evaluations=400)
    found = attack_all(net, regions, settings=settings, generator=torch.Generator().manual_seed(0), accepts=accepts)
    assert shown == [len(regions) - 1]
    assert [len(found[i].points) > 0 for i in (0, 1, -1)] == [True] * 3
    assert counted.calls <= 60
    assert counted.evaluations <= 1000 * 500


def test_who_declines_is_asked_again_once_it_is_much_worse() -> None:
    """A point that violates in torch need not violate when its file is run."""
    net = network_from_layers([([[1.0] * 30], [0.0])])
    region = region_of([-1.0] * 30, [1.0] * 30, half_space([1.0], 1.0))
    asked: list[float] = []

    def accepts(number: int, points: torch.Tensor) -> bool:
        margin = region.margin(net(points).detach())
        assert number == 0
        assert bool((margin <= 0).all())
        asked.append(float(margin.amin()))
        return False

    attack_all(net, [region], settings=QUICK, generator=torch.Generator().manual_seed(0), accepts=accepts)
    assert len(asked) > 1
    assert all(later < 2 * earlier for earlier, later in itertools.pairwise(asked))


@pytest.mark.parametrize(("strict", "asked"), [(True, 0), (False, 1)])
def test_what_is_touched_is_not_below(strict: bool, asked: int) -> None:
    """A ReLU is never negative; often it is zero."""
    net = network_from_layers([([[1.0]], [0.0]), ([[1.0]], [0.0])])
    row = Row((Fraction(1),), Fraction(0), strict)
    region = region_of([-1.0], [1.0], Polytope(rows=(row,), n_outputs=1))
    shown: list[int] = []
    settings, generator = AttackSettings(evaluations=300), torch.Generator().manual_seed(0)
    attack_all(
        net, [region], settings=settings, generator=generator, accepts=lambda i, points: not shown.append(len(points))
    )
    assert len(shown) == asked


def test_an_input_that_no_float32_equals_is_taken_at_the_nearest() -> None:
    """Whether that is a counterexample is for others to say."""
    tenth = Fraction(1, 10)
    region = Region(
        exact_lower=(tenth, Fraction(0)), exact_upper=(tenth, Fraction(1)), unsafe=(half_space([1.0], -1.05),)
    )
    net = network_from_layers([([[-1.0, -1.0]], [0.0])])
    points = attacked(net, region)
    assert bool((points[:, 0] == np.float32(0.1)).all())
    assert least_margin(net, region, points) <= 0


class Odd(torch.nn.Module):
    """NaN where the first input is below a half, and a constant elsewhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, :1] < 0.5, torch.nan, 1.0) * torch.ones_like(x[:, :1]).detach()


@pytest.mark.parametrize("bound", [0.5, 1.5])
def test_no_number_is_no_violation(bound: float) -> None:
    """Nor does it lead anywhere; and no gradient is no reason to fail."""
    region = region_of([0.0] * 2, [1.0] * 2, half_space([1.0], bound))
    (found,) = attack_all(Odd(), [region], settings=QUICK, generator=torch.Generator().manual_seed(0))
    assert bool(found.points.isfinite().all())
    best = found.best(1)
    assert float(best[0, 0]) >= 0.5
    assert math.isclose(found.least, 1.0 - bound)


def test_the_widest_of_boxes() -> None:
    """Its width is beyond float32."""
    net = network_from_layers([([[1e-38, 0.0]], [0.0])])
    region = region_of([-3e38] * 2, [3e38] * 2, half_space([1.0], -2.9))
    points = attacked(net, region)
    assert bool(points.isfinite().all())
    assert least_margin(net, region, points) <= 0


@pytest.mark.parametrize("thorough", [False, True])
def test_odd_properties(thorough: bool) -> None:
    """Everything unsafe (no gradient to follow), nothing unsafe, a point for a box."""
    net = net_of(1, (2, 3, 2))
    everything = region_of([0.0, 0.0], [1.0, 1.0], Polytope(rows=(), n_outputs=2))
    assert len(attacked(net, everything, thorough=thorough)) > 0
    assert len(attacked(net, region_of([0.0, 0.0], [1.0, 1.0]), thorough=thorough)) == 0
    point = region_of([0.5, 0.5], [0.5, 0.5], half_space([1.0, 1.0], -50.0))
    assert bool((attacked(net, point, thorough=thorough) == 0.5).all())


def test_convolutions_are_attacked() -> None:
    """Gradients pass pooling and residual sums; many inputs."""
    net = convolution(2, "residual")
    centre = net(torch.zeros(1, 18))[0, 0].item()
    prop = make_property([-1.0] * 18, [1.0] * 18, half_space([1.0, 0.0], round(centre - 0.3, 3)))
    assert least_margin(net, prop.regions[0], attacked(net, prop.regions[0])) <= 0


# --- effort ------------------------------------------------------------------------------------------------------


def test_less_where_an_evaluation_costs_more() -> None:
    whole = AttackSettings()
    assert [whole.within(count).evaluations for count in (0.5, 200.0, 1e9, math.inf)] == [64, 200, 100_000, 100_000]
    assert AttackSettings(evaluations=3).within(0.5).evaluations == 3
    assert whole.scaled(1 / 3).evaluations == 33_334


def test_what_an_evaluation_costs() -> None:
    assert effort.multiplications(network_from_layers(random_layers(0, (3, 50, 2)))) == pytest.approx(250, rel=0.3)
    stem = 64 * 6 * 9
    layer1 = 2 * 64 * 6 * 6 * 9
    layer2 = 16 * 12 * (6 * 9 + 12 * 9 + 6)
    assert effort.multiplications(classifier()) == pytest.approx(stem + layer1 + layer2, rel=0.1)


def test_the_first_attack_leaves_time_for_bounds() -> None:
    """Of a classifier every other class is a polytope, and an image has many inputs."""
    net = classifier()
    each = effort.multiplications(net)
    few, many = (effort.first_attack(net, count, AttackSettings(), "cpu").evaluations for count in (1, 90))
    assert few > many
    assert 90 * many * each <= 1.1 * effort._FIRST
    assert effort.first_attack(net, 10**6, AttackSettings(), "cpu").evaluations == 64


def test_attacks_grow_up_to_the_whole_one() -> None:
    """Each is due once bounds have cost as much; where nothing is proved they follow one another."""
    net, whole = classifier(), AttackSettings()
    first = effort.first_attack(net, 3, whole, "cpu")
    steps = effort.attack_ladder(net, make_bound(net, SearchSettings()), first, whole)
    assert steps[0] == effort.Due(0.0, first)
    assert steps[-1].attack == whole
    for one, next_ in itertools.pairwise(steps):
        assert one.boxes < next_.boxes
        assert one.attack.evaluations < next_.attack.evaluations <= effort._GROWTH * one.attack.evaluations
    rounds = [each.evaluations for each in itertools.islice(effort.attack_rounds(net, 10**3, whole, "cpu"), 10)]
    assert rounds == sorted(rounds)
    assert rounds[0] * 1000 * effort.multiplications(net) <= effort._ATTACK
    assert rounds[-1] * 1000 * effort.multiplications(net) <= effort._HUNTS
