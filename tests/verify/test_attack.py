"""Falsification: finds what is easy to find, stays near the box, repeats itself, survives odd properties."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope, Region
from birdnn.verify import SearchSettings, effort, search, verify
from birdnn.verify.attack import AttackSettings, _Hunt, attack
from tests.bounds.builders import ACTIVATIONS, convolution, exact_margin, half_space, make_property, random_layers
from tests.bounds.builders import random_net as net_of
from tests.classifiers import classifier
from tests.verify.cases import Engine

QUICK = AttackSettings(samples=256, generations=12, population=128, elite=32, starts=16, steps=15)


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


@pytest.mark.parametrize("part", ["by_population", "by_gradient"])
def test_each_half_finds_a_corner(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either search alone reaches a margin that only one corner has."""
    other = {"by_population": "by_gradient", "by_gradient": "by_population"}[part]
    monkeypatch.setattr(_Hunt, other, lambda self, points, margin: points[:0])
    net = network_from_layers([([[1.0, 1.0, 1.0, 1.0]], [0.0])])
    region = region_of([0.0] * 4, [1.0] * 4, half_space([1.0], 0.05))
    assert least_margin(net, region, attacked(net, region)) <= 0


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


@pytest.mark.parametrize(("patience", "evaluations"), [(0, 1), (3, 4), (12, 13), (15, 16)])
def test_it_stops_within_one_attack(patience: int, evaluations: int) -> None:
    """Looked at in every one of the 12 generations, then in every step; what was found by then comes back."""
    asked, seen = 0, 0
    net, region = net_of(2, (3, 6, 2)), region_of([-1.0] * 3, [1.0] * 3, half_space([1.0, 0.0], -9.0))

    def count(*call: object) -> None:
        nonlocal seen
        seen += 1

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > patience

    net.register_forward_hook(count)
    points = attacked(net, region, stopped=stopped)
    assert seen == evaluations
    assert len(points) > 0


@pytest.mark.parametrize("thorough", [False, True])
def test_odd_properties(thorough: bool) -> None:
    """Everything unsafe (no gradient to follow), nothing unsafe, a point for a box."""
    net = net_of(1, (2, 3, 2))
    everything = region_of([0.0, 0.0], [1.0, 1.0], Polytope(rows=(), n_outputs=2))
    assert len(attacked(net, everything, thorough=thorough)) > 0
    assert len(attacked(net, region_of([0.0, 0.0], [1.0, 1.0]), thorough=thorough)) == 0
    point = region_of([0.5, 0.5], [0.5, 0.5], half_space([1.0, 1.0], -50.0))
    assert bool((attacked(net, point, thorough=thorough) == 0.5).all())


def test_it_starts_inside_the_boxes_it_is_given() -> None:
    """Undecided boxes of a search are where to look next."""
    region = region_of([0.0], [1.0], half_space([1.0], 0.0))
    inside = Boxes(*(torch.tensor([[v], [v + 0.5]], dtype=torch.float64) for v in (0.25, 0.3)))
    net = network_from_layers([([[0.0]], [1.0])])
    lazy = AttackSettings(samples=64, generations=0, starts=64, steps=1, elite=64)
    points = attacked(net, region, effort=lazy, inside=inside).double()
    near = ((points >= inside.lower.T - 1e-6) & (points <= inside.upper.T + 1e-6)).any(1)
    assert bool(near.all())


def test_convolutions_are_attacked() -> None:
    """Gradients pass pooling and residual sums; many inputs."""
    net = convolution(2, "residual")
    centre = net(torch.zeros(1, 18))[0, 0].item()
    prop = make_property([-1.0] * 18, [1.0] * 18, half_space([1.0, 0.0], round(centre - 0.3, 3)))
    assert least_margin(net, prop.regions[0], attacked(net, prop.regions[0])) <= 0


# --- effort ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluations", [0.5, 200.0, 5_000.0, 60_000.0])
def test_less_where_an_evaluation_costs_more(evaluations: float) -> None:
    whole = AttackSettings()
    less = whole.within(evaluations)
    assert less.samples + less.generations * less.population <= evaluations + 64
    assert 3 * less.starts * less.steps <= max(evaluations, 120)
    assert (less.samples >= 32, less.population >= 32, less.elite >= 8, less.starts >= 2) == (True,) * 4
    assert whole.within(1e9) == whole
    assert QUICK.within(0.5).samples <= QUICK.samples


def test_what_an_evaluation_costs() -> None:
    assert effort.multiplications(network_from_layers(random_layers(0, (3, 50, 2)))) == pytest.approx(250, rel=0.3)
    stem = 64 * 6 * 9
    layer1 = 2 * 64 * 6 * 6 * 9
    layer2 = 16 * 12 * (6 * 9 + 12 * 9 + 6)
    assert effort.multiplications(classifier()) == pytest.approx(stem + layer1 + layer2, rel=0.1)


def test_the_attack_leaves_time_for_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a classifier every other class is a polytope, and an image has many inputs."""
    net = classifier()
    monkeypatch.setattr(effort, "_ATTACK", 1e8)
    asked: list[AttackSettings] = []

    def noted(*args, settings: AttackSettings, **options) -> torch.Tensor:
        asked.append(settings)
        return attack(*args, settings=settings, **options)

    monkeypatch.setattr(search, "attack", noted)
    polytopes = [half_space([1.0 if k == j else 0.0 for k in range(10)], 1e3) for j in range(3)]
    prop = make_property([0.0] * 64, [0.01] * 64, *polytopes)
    verify(net, prop, settings=SearchSettings(max_boxes=1), replays=[Engine(net)])
    (settings,) = asked
    drawn = settings.samples + settings.generations * settings.population
    assert drawn * effort.multiplications(net) * 3 <= 1.1e8
