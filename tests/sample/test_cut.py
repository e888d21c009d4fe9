"""Boxes that half-spaces of inputs cut: independent uniform draws of what is left, and what is counted there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from birdnn.errors import InputError
from birdnn.formats.onnx import network_from_layers
from birdnn.formats.vnnlib import parse_property
from birdnn.records import Unwatched
from birdnn.sample.cut import Cut
from birdnn.sample.draw import draw_from_property
from birdnn.sample.measures import UNIFORM, Continuous, Product, Samples
from birdnn.sample.splitting import SplittingSettings, violation_probability
from birdnn.sample.tally import Tally, union_margin
from birdnn.spec import Property
from tests.sample.cases import generator


def related(formula: str, *, high: tuple[str, ...] = ("1", "1"), n_outputs: int = 1) -> Property:
    """Of inputs from 0 to `high`."""
    names = [f"X_{i}" for i in range(len(high))]
    text = "".join(f"(declare-const {name} Real)" for name in (*names, *(f"Y_{j}" for j in range(n_outputs))))
    text += "".join(f"(assert (<= 0 {name} {top}))" for name, top in zip(names, high, strict=True))
    return parse_property(f"{text}(assert {formula})", name="p", relating=True)


SUM = network_from_layers([([[1.0, 1.0]], [0.0])]).float()


def test_draws_are_uniform_on_what_is_left() -> None:
    """A triangle: its first coordinate has density 2 (1 - x), and the point is never outside."""
    prop = related("(and (<= (+ X_0 X_1) 1) (>= Y_0 5))")
    for x in (UNIFORM.draws(prop, generator(1)).take(20_000), *draw_from_property(prop, 20_000, generator(2))):
        assert len(x) == 20_000
        assert bool((x.double().sum(1) <= 1).all())
        assert stats.kstest(x[:, 0].double().numpy(), stats.beta(1, 2).cdf).pvalue > 0.001
        assert stats.kstest(x[:, 1].double().numpy(), stats.beta(1, 2).cdf).pvalue > 0.001


def test_a_seed_repeats_the_draws_and_batches_do_not_repeat_each_other() -> None:
    prop = related("(and (< X_0 X_1) (>= Y_0 5))")
    first, again = (UNIFORM.draws(prop, generator(3)) for _ in range(2))
    one = first.take(10)
    assert torch.equal(one, again.take(10))
    assert not torch.equal(one, first.take(10))
    assert first.take(0).shape == (0, 2)


def test_it_is_the_union_over_polytopes_and_regions() -> None:
    """What one polytope leaves out another may speak about; where regions overlap no point counts twice."""
    whole = related("(or (and (<= X_0 X_1) (>= Y_0 5)) (>= Y_0 9))")
    assert Cut.of(whole, whole.regions[0]) is None
    assert Cut.of(related("(<= Y_0 X_0)"), related("(<= Y_0 X_0)").regions[0]) is None
    both = related("(or (and (<= X_0 (- X_1 0.5)) (>= Y_0 5)) (and (>= X_0 (+ X_1 0.5)) (>= Y_0 9)))")
    x = UNIFORM.draws(both, generator(1)).take(10_000)
    assert bool(((x[:, 0] - x[:, 1]).abs() >= 0.5 - 1e-6).all())
    assert float((x[:, 0] > x[:, 1]).double().mean()) == pytest.approx(0.5, abs=0.02)
    parts = ("(and (<= X_0 X_1) (>= Y_0 5))", "(and (<= X_0 0.5) (<= X_1 (* 2 X_0)) (>= Y_0 5))")
    two = related(f"(or {' '.join(parts)})")
    assert len(two.regions) == 2
    x = UNIFORM.draws(two, generator(1)).take(40_000).double()
    # left of the diagonal half of the square, right of it a triangle of area 1/8, which counts once where both hold
    right = (x[:, 0] > x[:, 1]).double().mean()
    assert float(right) == pytest.approx(0.125 / 0.625, abs=0.01)
    assert bool(((x[:, 0] <= x[:, 1]) | (x[:, 0] <= 0.5)).all())


def test_what_is_counted_is_a_share_of_what_is_left() -> None:
    """In the triangle x0 + x1 <= 1 the sum is above 0.8 in 36 % of it; rows of outputs and inputs are violations."""
    cases = {"(and (<= (+ X_0 X_1) 1) (>= Y_0 0.8))": 0.36, "(and (<= X_0 X_1) (<= Y_0 (* 3 X_0)))": 0.5}
    for formula, share in cases.items():
        prop = related(formula)
        tally = Tally(SUM, prop, UNIFORM.draws(prop, generator(5)))
        for _ in range(20):
            tally.add(2000)
        assert tally.violations / tally.n == pytest.approx(share, abs=0.01)
        assert all(prop.violated(x, [x[0] + x[1]]) for x in tally.worst[:5].tolist())


def test_margins_of_several_regions() -> None:
    """Exactly those points violate that a definition by hand says."""
    prop = related("(or (and (<= X_0 X_1) (>= Y_0 1)) (and (<= X_0 0.5) (<= Y_0 (* 3 X_0))))")
    x = torch.rand(2000, 2, generator=generator(2))
    y = SUM(x).detach()
    left, total = x[:, 0], x.double().sum(1)
    expected = ((left <= x[:, 1]) & (total >= 1)) | ((left <= 0.5) & (total <= 3 * left.double()))
    close = ((total - 1).abs() < 1e-6) | ((total - 3 * left.double()).abs() < 1e-6)
    assert bool(((union_margin(prop, x, y) <= 0) == expected)[~close].all())


def test_other_measures() -> None:
    prop = related("(and (<= X_0 X_1) (>= Y_0 5))")
    normal = Product(name="n", marginals=(Continuous(stats.norm(0.5, 0.2)), Continuous(stats.norm(0.5, 0.2))))
    x = normal.draws(prop, generator(1)).take(5000)
    assert bool((x[:, 0] <= x[:, 1]).all())
    assert normal.draws(prop, generator(1)).take(0).shape == (0, 2)
    some = Samples(name="s", x=torch.rand(1000, 2, generator=generator(4)).double())
    taken = some.draws(prop, generator(1)).take(2000)
    assert len(taken) == int((some.x[:, 0].float() <= some.x[:, 1].float()).sum())
    assert bool((taken[:, 0] <= taken[:, 1]).all())
    with pytest.raises(InputError, match="none of the 1 samples"):
        Samples(name="s", x=torch.tensor([[0.9, 0.1]]).double()).draws(prop, generator())


@pytest.mark.parametrize("formula", ["(= X_0 X_1)", "(<= (+ X_0 X_1) 0.01)"])
def test_next_to_nothing_is_left(formula: str) -> None:
    """Dependent points would be no ground for what is stated of them."""
    prop = related(f"(and {formula} (>= Y_0 5))")
    with pytest.raises(InputError, match=r"p: of 131,072 points of its boxes \d+ lie in the half-spaces"):
        UNIFORM.draws(prop, generator()).take(1000)
    with pytest.raises(InputError, match="state narrower bounds"):
        draw_from_property(prop, 1000, generator())
    narrower = related("(and (<= (+ X_0 X_1) 0.01) (>= Y_0 5))", high=("0.01", "0.01"))
    assert len(UNIFORM.draws(narrower, generator()).take(1000)) == 1000


def test_splitting_speaks_about_what_is_left() -> None:
    """In the triangle x0 + x1 <= 1 the sum is above 1 - d in about 2 d of it."""
    prop = related("(and (<= (+ X_0 X_1) 1) (>= Y_0 0.99))")
    settings = SplittingSettings(first=2000, seeds=200, particles=300, repetitions=6, moves=10)
    draws = generator(1)
    event, points = violation_probability(
        SUM, UNIFORM.cube(prop), settings=settings, generator=draws, measure="u", watch=Unwatched()
    )
    assert event.estimate == pytest.approx(1 - 0.99**2, rel=0.3)
    assert len(points)
    assert np.all([prop.violated(x, [float(np.float32(x[0]) + np.float32(x[1]))]) for x in points[:5].tolist()])
