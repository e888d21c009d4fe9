"""Draws are independent, inside the region, distributed as the measure's name says, and never given twice."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from birdnn.errors import InputError
from birdnn.sample.measures import UNIFORM, Choice, Continuous, Even, Measure, Product, Samples
from birdnn.spec import Scaling
from tests.bounds.builders import half_space, make_property, property_of
from tests.sample.cases import box, generator, prop

NORMAL = Continuous(stats.norm(0.0, 0.1))


def marginals(*parts: Continuous | Choice | Even) -> Product:
    return Product(name="test", marginals=parts)


@given(seed=st.integers(0, 2**32), low=st.floats(-1, 0.4), width=st.floats(1e-3, 1))
def test_every_draw_lies_in_the_exact_box(seed: int, low: float, width: float) -> None:
    region = box((low, 0.25), (low + width, 0.25), 0.0)
    for measure in (UNIFORM, marginals(Continuous(stats.norm(0, 2)), Choice((0.25, 0.5), (1, 1)))):
        x = measure.draws(prop(region), generator(seed)).take(50)
        assert x.dtype == torch.float32
        assert all(region.contains(point) for point in x.tolist())


def test_a_seed_repeats_the_draws_and_batches_do_not_repeat_each_other() -> None:
    square = prop(box((0, 0), (1, 1), 0.0))
    first, again = (UNIFORM.draws(square, generator(3)) for _ in range(2))
    assert torch.equal(first.take(10), again.take(10))
    assert not torch.equal(first.take(10), again.take(20)[10:])


def test_regions_are_drawn_by_volume_and_not_in_fixed_shares() -> None:
    """Fixed shares would not be independent draws, and an interval of a binomial count would not be theirs."""
    both = prop(box((0, 0), (1, 1), 0.0), box((2, 0), (5, 1), 0.0))
    counts = [int((UNIFORM.draws(both, generator(s)).take(400)[:, 0] <= 1).sum()) for s in range(200)]
    assert sum(counts) / len(counts) == pytest.approx(100, abs=3)
    assert stats.tstd(counts) == pytest.approx((400 * 0.25 * 0.75) ** 0.5, rel=0.2)


def test_where_regions_overlap_no_point_counts_twice() -> None:
    both = prop(box((0, 0), (1, 1), 0.0), box((0.5, 0), (2, 1), 0.0))
    x = UNIFORM.draws(both, generator()).take(20_000)[:, 0]
    assert stats.kstest(x.numpy(), stats.uniform(0, 2).cdf).pvalue > 0.001
    naive = torch.cat([torch.rand(8000), 0.5 + 1.5 * torch.rand(12000)])
    assert stats.kstest(naive.numpy(), stats.uniform(0, 2).cdf).pvalue < 0.001


@pytest.mark.parametrize(("low", "high"), [(-0.05, 0.3), (0.4, 0.7), (-0.9, -0.5), (0.8, 0.9)])
def test_a_marginal_is_conditioned_exactly_also_in_its_tails(low: float, high: float) -> None:
    x = marginals(NORMAL).draws(prop(box((low,), (high,), 0.0)), generator()).take(4000)[:, 0]
    expected = stats.truncnorm(low / 0.1, high / 0.1, scale=0.1)
    assert stats.kstest(x.double().numpy(), expected.cdf).pvalue > 0.001


def test_a_choice_keeps_its_weights_inside_the_region() -> None:
    x = marginals(Choice((0.0, 0.5, 1.0, 9.0), (1, 3, 1, 100))).draws(prop(box((0.25,), (1,), 0.0)), generator())
    drawn = x.take(4000)[:, 0]
    assert set(drawn.tolist()) == {0.5, 1.0}
    assert float((drawn == 0.5).double().mean()) == pytest.approx(0.75, abs=0.03)


def test_marginals_in_raw_units() -> None:
    scaling = Scaling(
        input_means=(Fraction(100),), input_ranges=(Fraction(10),), output_mean=Fraction(0), output_range=Fraction(1)
    )
    raw = Product(name="raw", marginals=(Continuous(stats.uniform(100, 5)),), scaling=scaling)
    x = raw.draws(prop(box((0,), (1,), 0.0)), generator()).take(2000)[:, 0]
    assert stats.kstest(x.numpy(), stats.uniform(0, 0.5).cdf).pvalue > 0.001


def test_a_region_that_fixes_an_input_is_drawn_from() -> None:
    """phi-4 fixes an angle: the others keep their distribution."""
    x = marginals(NORMAL, NORMAL).draws(prop(box((0, 0.25), (1, 0.25), 0.0)), generator()).take(100)
    assert set(x[:, 1].tolist()) == {0.25}
    x = UNIFORM.draws(prop(box((0, 0.05), (1, 0.05), 0.0)), generator()).take(100)
    assert x[:, 1].unique().tolist() == [float(np.float32(0.05))]
    with pytest.raises(InputError, match="input 1: no float32 lies in"):
        UNIFORM.draws(prop(box((0, 1e6 + 0.03), (1, 1e6 + 0.03), 0.0)), generator())


@pytest.mark.parametrize(
    "measure",
    [
        marginals(Continuous(stats.uniform(3, 1))),
        marginals(Choice((7.0,), (1,))),
        Samples(name="file", x=torch.tensor([[3.0], [-1.0]], dtype=torch.float64)),
    ],
)
def test_a_measure_that_misses_the_region_is_refused(measure: Measure) -> None:
    with pytest.raises(InputError, match=r"region of p.*give"):
        measure.draws(prop(box((0,), (1,), 0.0)), generator())


def test_samples_are_used_once_and_only_inside() -> None:
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    draws = Samples(name="file", x=x).draws(prop(box((-0.005,), (0.505,), 0.0)), generator())
    assert draws.left == 51
    drawn = torch.cat([draws.take(20), draws.take(20), draws.take(20)])[:, 0]
    assert len(drawn) == 51
    assert torch.equal(drawn.sort().values, x[100:151, 0].float())
    assert not torch.equal(drawn, drawn.sort().values)
    assert (draws.left, len(draws.take(5))) == (0, 0)


def test_the_probability_of_a_box_of_hundreds_of_inputs_is_below_any_number_and_no_zero() -> None:
    """Two boxes of which one has twice the volume, 0.01 ** 400 or so: it gets twice the draws."""
    wide = [0.01] * 399 + [0.02]
    first = make_property([0.0] * 400, [0.01] * 400, half_space([1.0], 0.0)).regions[0]
    second = make_property([1.0] * 400, [1 + w for w in wide], half_space([1.0], 0.0)).regions[0]
    x = UNIFORM.draws(property_of(first, second), torch.Generator().manual_seed(0)).take(3000)
    assert float((x[:, 0] >= 1).double().mean()) == pytest.approx(2 / 3, abs=0.03)
