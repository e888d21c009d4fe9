"""Counterexamples: float32 points of the exact box that violate on every engine, exactly."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope, Property, Region
from birdnn.verify.witness import Judge
from tests.bounds.builders import half_space, make_property, property_of


class Engine:
    """A replay that answers what it is told, or what a network in torch says plus `shift`."""

    def __init__(self, net: Network | None = None, shift: float = 0.0, answer: list[float] | None = None) -> None:
        self.net, self.shift, self.answer, self.asked = net, np.float32(shift), answer, []
        self.name = f"engine {shift}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        assert x.dtype == np.float32
        self.asked.append(x)
        if self.answer is not None:
            return np.array(self.answer, np.float32)
        with torch.no_grad():
            return self.net(torch.from_numpy(x)[None])[0].numpy() + self.shift


def identity() -> Network:
    """y = x."""
    return network_from_layers([([[1.0]], [0.0])])


def judge_of(prop: Property, *engines: Engine) -> Judge:
    return Judge(identity(), prop, engines or (Engine(identity()),))


def points(*values: float) -> torch.Tensor:
    return torch.tensor([[v] for v in values], dtype=torch.float64)


def test_a_point_that_violates_is_a_witness() -> None:
    """With the point, the outputs and the names of all who replayed it."""
    prop = make_property([0.0], [1.0], half_space([1.0], 0.25))
    engines = Engine(identity()), Engine(identity(), 0.125)
    witness = judge_of(prop, *engines).first(prop.regions[0], points(0.75, 0.0625))
    assert witness is not None
    assert witness.x == (0.0625,)
    assert witness.y == (0.0625,)
    assert witness.replayed_by == ("engine 0.0", "engine 0.125")


def test_every_engine_must_agree() -> None:
    """One dissenter is a reason for doubt, whichever place it has."""
    prop = make_property([0.0], [1.0], half_space([1.0], 0.25))
    for order in ((0.0, 1.0), (1.0, 0.0)):
        engines = [Engine(identity(), shift) for shift in order]
        assert judge_of(prop, *engines).first(prop.regions[0], points(0.0625, 0.125)) is None
        assert [len(engine.asked) for engine in engines] == [2, 2]


@pytest.mark.parametrize("answer", [[math.nan], [-math.inf], [math.inf]])
def test_an_answer_that_is_no_number_is_no_evidence(answer: list[float]) -> None:
    """NaN or an overflow of the engine."""
    prop = make_property([0.0], [1.0], half_space([1.0], 0.25))
    assert judge_of(prop, Engine(answer=answer)).first(prop.regions[0], points(0.0)) is None


def test_without_an_engine_nothing_is_violated() -> None:
    """`all` of no replays is true."""
    prop = make_property([0.0], [1.0], half_space([1.0], 0.25))
    with pytest.raises(ValueError, match="replay"):
        Judge(identity(), prop, ())


@pytest.mark.parametrize(("strict", "found"), [(False, True), (True, False)])
def test_the_boundary_belongs_to_closed_rows_only(strict: bool, found: bool) -> None:
    """y < 0.25 is not violated at 0.25; with tolerance zero, y <= 0.25 is."""
    prop = make_property([0.0], [1.0], half_space([1.0], 0.25, strict=strict))
    assert (judge_of(prop).first(prop.regions[0], points(0.25)) is not None) is found


def test_decimals_are_compared_exactly() -> None:
    """float32(0.1) > 1/10: y <= 0.1 is not violated at x = float32(0.1)."""
    row = half_space([1.0], 1.0).rows[0]
    polytope = Polytope(rows=(type(row)(row.coefficients, Fraction(1, 10)),), n_outputs=1)
    region = Region(exact_lower=(Fraction(0),), exact_upper=(Fraction(1),), unsafe=(polytope,))
    judge = judge_of(property_of(region))
    assert judge.replayed(torch.tensor([0.1])) is None
    assert judge.replayed(torch.nextafter(torch.tensor([0.1]), torch.tensor([0.0]))) is not None


@given(
    ends=st.tuples(st.fractions(-2, 2), st.fractions(-2, 2)).map(sorted),
    x=st.floats(-3, 3),
    strict=st.tuples(st.booleans(), st.booleans()),
)
def test_snapped_points_lie_in_the_exact_box(ends, x, strict) -> None:
    """A witness a hair outside the box is an invalid one, and costs fifteen times a right answer."""
    low, high = ends
    region = Region(
        exact_lower=(low,),
        exact_upper=(high,),
        strict_lower=(strict[0] and low < high,),
        strict_upper=(strict[1] and low < high,),
        unsafe=(half_space([0.0], 1.0),),
    )
    snapped = judge_of(property_of(region)).snap(region, points(x, float(low), float(high)))
    assert snapped.dtype == torch.float32
    for value in snapped[:, 0].tolist():
        assert region.contains([value])
    if not len(snapped):
        with_no_float32 = region.float32_box()
        assert bool((with_no_float32[0] > with_no_float32[1]).any())


def test_a_box_without_a_float32_point_has_no_witness() -> None:
    """A million and 0.03: the nearest float32 is further away than an input may be off."""
    far = (10**6 + Fraction(3, 100),)
    region = Region(exact_lower=far, exact_upper=far, unsafe=(half_space([0.0], 1.0),))
    engine = Engine(identity())
    assert judge_of(property_of(region), engine).first(region, points(0.3, 0.4)) is None
    assert not engine.asked


def test_an_input_at_a_decimal_is_run_beside_it() -> None:
    """At the nearest float32; the witness says what holds at the decimal itself."""
    third, single = (Fraction(1, 3),), Fraction(float(np.float32(1 / 3)))
    assert single > third[0]
    net = identity()
    for bound, exactly in ((0.25, True), (float(single), False)):  # y >= bound is unsafe
        region = Region(exact_lower=third, exact_upper=third, unsafe=(half_space([-1.0], -bound),))
        judge = Judge(net, property_of(region), [Engine(identity())], source=net)
        found, _ = judge.first_over_reals(region, points(0.3, 0.4))
        assert found is not None
        assert (found.x, found.exactly) == ((float(single),), exactly)


def test_a_point_outside_every_region_is_no_witness() -> None:
    """Even one that is unsafe."""
    prop = make_property([0.0], [1.0], half_space([1.0], 5.0))
    assert judge_of(prop).replayed(torch.tensor([1.5])) is None
    assert judge_of(prop).replayed(torch.tensor([-0.5])) is None


def test_no_points_no_witness() -> None:
    """An empty batch of candidates is usual once all boxes are proved."""
    prop = make_property([0.0], [1.0], half_space([1.0], 5.0))
    assert judge_of(prop).first(prop.regions[0], points()[:0].reshape(0, 1)) is None
