"""Properties: exact rationals inside, tensors rounded outward beside them."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.certify.check.statement import Pair
from birdnn.errors import MismatchError, SpecError
from birdnn.spec import Polytope, Property, Region, Row, Scaling, round_down, round_up
from tests.strategies import properties, regions

F = Fraction
FRACTIONS = st.fractions(max_denominator=10**12) | st.floats(allow_nan=False, allow_infinity=False).map(Fraction)


def row(*coefficients: int, bound: Fraction | int = 0, strict: bool = False) -> Row:
    return Row(tuple(map(F, coefficients)), F(bound), strict)


def box(lower: list[Fraction], upper: list[Fraction], *polytopes: tuple[Row, ...], n_outputs: int = 1) -> Region:
    return Region(
        exact_lower=tuple(lower),
        exact_upper=tuple(upper),
        unsafe=tuple(Polytope(rows=rows, n_outputs=n_outputs) for rows in polytopes),
    )


@given(value=FRACTIONS)
def test_rounding_is_tight_and_outward(value: Fraction) -> None:
    """The neighbours of an exact number: a box rounded to nearest would lose points."""
    low, high = round_down(value), round_up(value)
    assert F(low) <= value <= F(high)
    assert high in (low, math.nextafter(low, math.inf))
    assert (low == high) == (F(low) == value)


def test_rounding_beyond_the_range() -> None:
    """No float64 above: infinity; the largest one below."""
    huge = F(10) ** 400
    assert (round_up(huge), round_down(-huge)) == (math.inf, -math.inf)
    assert round_down(huge) == math.nextafter(math.inf, 0)


@given(region=regions(2, 2))
def test_tensors_enclose_the_exact_box(region: Region) -> None:
    """A proof over the tensors is a proof over the box."""
    for i in range(2):
        assert F(float(region.lower[i])) <= region.exact_lower[i]
        assert region.exact_upper[i] <= F(float(region.upper[i]))
    for polytope in region.unsafe:
        for bound, exact in zip(polytope.b.tolist(), map(Row.normal, polytope.rows), strict=True):
            assert F(bound) >= exact.bound


@given(value=FRACTIONS, width=st.fractions(0, 1), strict=st.booleans())
def test_float32_box_is_the_outermost_inside(value: Fraction, width: Fraction, strict: bool) -> None:
    """A witness is a float32 point of the exact box; its corners are the last such points."""
    if abs(value) > F(10) ** 300:
        return
    upper = value + width + F(1, 10**9)
    region = Region(
        exact_lower=(value,), exact_upper=(upper,), unsafe=(), strict_lower=(strict,), strict_upper=(strict,)
    )
    if region.nearest:
        return
    low, high = (float(corner[0]) for corner in region.float32_box())
    infinity = np.float32(np.inf)
    if low <= high:
        assert region.contains([low])
        assert region.contains([high])
    if math.isfinite(low):
        assert (F(low) > value) if strict else (F(low) >= value)
        with np.errstate(over="ignore"):
            before = np.nextafter(np.float32(low), -infinity)
        assert not np.isfinite(before) or not region.contains([float(before)])
    if math.isfinite(high):
        assert (F(high) < upper) if strict else (F(high) <= upper)
        with np.errstate(over="ignore"):
            after = np.nextafter(np.float32(high), infinity)
        assert not np.isfinite(after) or not region.contains([float(after)])


@given(
    base=st.sampled_from([0.1, 1 / 3, 0.5, 1.0, -0.7, 1e-30, -1e-42, 0.0, 900.7]),
    parts=st.tuples(st.fractions(0, 2), st.fractions(0, 2)),
    shift=st.integers(-1, 1),
    strict=st.tuples(st.booleans(), st.booleans()),
)
def test_an_input_whose_range_holds_no_float32_is_run_at_the_nearest(
    base: float, parts: tuple[Fraction, Fraction], shift: int, strict: tuple[bool, bool]
) -> None:
    """And stands for the nearest number of the range, by the checker's reading as well; proofs cover both."""
    first = np.float32(base)
    here = F(float(first))
    step = abs(F(float(np.nextafter(first, np.float32(0) if base else np.float32(1)))) - here)
    low, high = (here + part * step * F(shift or 1) / 2 for part in sorted(parts, reverse=shift < 0))
    if low == high and any(strict):
        return
    region = Region(
        exact_lower=(low,), exact_upper=(high,), unsafe=(), strict_lower=strict[:1], strict_upper=strict[1:]
    )
    pair = Pair(((low, strict[0]),), ((high, strict[1]),), ())
    near = [here + k * step for k in range(-4, 5)]
    points = [value for value in near if F(float(np.float32(float(value)))) == value]
    inside = [v for v in points if not (v < low or v > high or (v == low and strict[0]) or (v == high and strict[1]))]
    assert bool(region.nearest) == (not inside)
    lower, upper = (float(corner[0]) for corner in region.float32_box())
    assert float(region.lower[0]) <= lower <= upper <= float(region.upper[0])
    for value in points:
        meant = region.stands_for([float(value)])
        if inside:
            assert meant == ((value,) if value in inside else None)
            assert pair.meant((value,)) == meant
            continue
        distances = {v: max(low - v, v - high) for v in points}
        if distances[value] == min(distances.values()):  # of two as near we take one, the checker both
            ours = pair.meant((value,))
            assert ours is not None
            assert pair.contains(ours)
            assert meant in (ours, None)
            assert (meant is not None) == (region.nearest == {0: float(value)})
            assert ours[0] == ((low + high) / 2 if any(strict) else min(max(value, low), high))
        else:
            assert meant is None
            assert pair.meant((value,)) is None
    if not inside:
        assert lower == upper == region.nearest[0]


def test_float32_box_may_be_empty() -> None:
    """Where floats lie further apart than an input may be off; far out there is nothing either."""
    for low, high in ((F(10**6) + F(3, 100), F(10**6) + F(4, 100)), (F(10) ** 39, F(10) ** 40)):
        region = box([low], [high])
        first, last = region.float32_box()
        assert first > last
        assert (region.nearest, region.unrunnable) == ({}, 0)
        pair = Pair(((low, False),), ((high, False),), ())
        assert not any(pair.meant((F(v),)) for v in (10**6, 10**6 + 0.0625, float(np.finfo(np.float32).max)))
    edge = F(float(np.finfo(np.float32).max)) + F(1, 20000)
    assert box([edge], [edge]).nearest == {0: float(np.finfo(np.float32).max)}
    assert Pair(((edge, False),), ((edge, False),), ()).meant((F(float(np.finfo(np.float32).max)),)) == (edge,)


def test_a_violation_at_a_decimal() -> None:
    """The nearest float32 counts as the decimal; other floats near it do not."""
    tenth = F(1, 10)
    made = Property(name="p", regions=(box([tenth], [tenth], (row(1),)),), n_inputs=1, n_outputs=1)
    value = float(np.float32(0.1))
    assert made.violated([value], [0.0])
    assert made.regions[0].stands_for([value]) == (tenth,)
    for other in (0.1, float(np.nextafter(np.float32(0.1), np.float32(0))), math.nan):
        assert not made.violated([other], [0.0])


@given(prop=properties(2, 2), seed=st.integers(0, 2**32 - 1))
def test_margin_and_exact_arithmetic_agree(prop: Property, seed: int) -> None:
    """Away from the boundary the margin's sign says what exact arithmetic does."""
    rng = np.random.default_rng(seed)
    for x, y in zip(rng.uniform(-2, 2, (8, 2)), rng.uniform(-3, 3, (8, 2)), strict=True):
        point, outputs = x.tolist(), y.tolist()
        margins = [float(region.margin(torch.from_numpy(y)[None])) for region in prop.regions]
        inside = [region.contains(point) for region in prop.regions]
        for region, margin in zip(prop.regions, margins, strict=True):
            if abs(margin) > 1e-9:
                assert any(polytope.holds([F(v) for v in outputs]) for polytope in region.unsafe) == (margin <= 0)
        if all(abs(margin) > 1e-9 for margin in margins):
            expected = any(margin <= 0 and here for margin, here in zip(margins, inside, strict=True))
            assert prop.violated(point, outputs) == expected


def test_margin_by_hand() -> None:
    """Least over the polytopes of the largest over the rows."""
    region = box([F(0)], [F(1)], (row(1, -1), row(0, 1, bound=2)), (row(-1, 0, bound=-5),), n_outputs=2)
    y = torch.tensor([[3.0, 1.0], [1.0, 3.0], [7.0, 0.0]])
    assert region.margin(y).tolist() == [2.0, 1.0, -2.0]
    assert region.margin(y.double()).dtype == torch.float64


def test_everything_unsafe_and_nothing_unsafe() -> None:
    """A polytope without rows is the whole space; no polytope is the empty set."""
    y = torch.zeros(2, 1)
    everything = box([F(0)], [F(1)], ())
    assert everything.margin(y).tolist() == [-math.inf, -math.inf]
    nothing = box([F(0)], [F(1)])
    assert nothing.margin(y).tolist() == [math.inf, math.inf]
    prop = Property(name="p", regions=(everything,), n_inputs=1, n_outputs=1)
    assert prop.violated([0.5], [7.0])
    assert not prop.violated([1.5], [7.0])


def test_boundaries_are_exact() -> None:
    """One tenth is no float: the nearest one lies above it, and so outside."""
    region = box([F(0)], [F(1, 10)], (row(1, bound=F(3, 10)),))
    prop = Property(name="p", regions=(region,), n_inputs=1, n_outputs=1)
    below = math.nextafter(0.1, 0)
    assert not prop.violated([0.1], [0.0])
    assert prop.violated([below], [0.0])
    assert prop.violated([below], [0.3]) == (F(0.3) <= F(3, 10))
    assert not prop.violated([below], [math.nextafter(0.3, 1)])
    assert not prop.violated([below], [0.1 + 0.2])


def test_strict_rows_and_bounds_exclude_their_boundary() -> None:
    """For a strict < the boundary is not a violation."""
    region = Region(
        exact_lower=(F(0),), exact_upper=(F(1),), strict_lower=(True,), strict_upper=(False,),
        unsafe=(Polytope(rows=(row(1, strict=True),), n_outputs=1),),
    )  # fmt: skip
    prop = Property(name="p", regions=(region,), n_inputs=1, n_outputs=1)
    assert not prop.violated([0.5], [0.0])
    assert prop.violated([0.5], [-5e-324])
    assert not prop.violated([0.0], [-1.0])
    assert prop.violated([1.0], [-1.0])
    assert region.margin(torch.zeros(1, 1)).tolist() == [0.0]
    assert float(region.float32_box()[0]) == np.nextafter(np.float32(0), np.float32(1))


@given(value=st.fractions(), bound=st.fractions())
def test_a_row_is_rounded_as_its_docstring_says(value: Fraction, bound: Fraction) -> None:
    """Right-hand sides outward, coefficients to nearest: a bound rounded down would hide unsafe outputs."""
    polytope = Polytope(rows=(Row((value,), bound),), n_outputs=1)
    normal = polytope.rows[0].normal()
    (value,), bound = normal.coefficients, normal.bound
    assert abs(F(float(polytope.a)) - value) <= abs(value) * F(1, 2**53)
    assert bound <= F(float(polytope.b)) <= bound + abs(bound) * F(1, 2**52)
    third = Polytope(rows=(Row((F(1, 3),), F(1, 3)),), n_outputs=1)
    assert F(float(third.b)) > F(4, 3) > F(float(third.a))


@given(
    values=st.lists(st.fractions() | st.sampled_from([F(0), F(1, 10**400), F(10) ** 400, F(2), F(4, 3)]), min_size=1),
    bound=st.fractions(),
    power=st.integers(-2000, 2000),
)
def test_a_normal_row_is_the_same_half_space(values: list[Fraction], bound: Fraction, power: int) -> None:
    """A coefficient below the range of float64 would be 0, and the row would be about nothing."""
    row = Row(tuple(F(2) ** power * v for v in values), F(2) ** power * bound, True)
    normal, largest = row.normal(), max(map(abs, values))
    assert normal.strict
    if largest:
        assert 1 <= max(map(abs, normal.coefficients)) < 2
        scale = max(map(abs, normal.coefficients)) / (F(2) ** power * largest)
        assert (*normal.coefficients, normal.bound) == tuple(scale * v for v in (*row.coefficients, row.bound))
        assert 0 == scale.numerator & (scale.numerator - 1) == scale.denominator & (scale.denominator - 1)
    else:
        assert normal == row


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_violate_nothing(bad: float) -> None:
    """NaN is no evidence."""
    prop = Property(name="p", regions=(box([F(0)], [F(1)], ()),), n_inputs=1, n_outputs=1)
    assert not prop.violated([0.5], [bad])
    assert not prop.violated([bad], [0.0])
    assert not prop.regions[0].contains([bad])


def test_what_makes_no_sense_is_refused() -> None:
    """Empty boxes, other lengths, numbers beyond float64."""
    with pytest.raises(SpecError, match="input 1 has lower bound 2 above upper bound 1"):
        box([F(0), F(2)], [F(1), F(1)])
    with pytest.raises(SpecError, match="empty range"):
        Region(exact_lower=(F(1),), exact_upper=(F(1),), strict_lower=(True,), unsafe=())
    with pytest.raises(SpecError, match="lengths"):
        box([F(0)], [F(1), F(1)])
    with pytest.raises(SpecError, match="beyond the range"):
        box([F(0)], [F(10) ** 400])
    for bad in (row(1, bound=F(10) ** 400), Row((F(1, 10**200),), F(10) ** 200)):
        with pytest.raises(SpecError, match="beyond the range"):
            box([F(0)], [F(1)], (bad,))
    with pytest.raises(SpecError, match="1 coefficients"):
        box([F(0)], [F(1)], (row(1, 2),))
    with pytest.raises(SpecError, match="no input region"):
        Property(name="p", regions=(), n_inputs=1, n_outputs=1)
    with pytest.raises(SpecError, match="another size"):
        Property(name="p", regions=(box([F(0)], [F(1)]),), n_inputs=2, n_outputs=1)


def test_sizes_must_fit() -> None:
    """A property for another network is refused by name, not evaluated."""
    prop = Property(name="prop_x", regions=(box([F(0)], [F(1)], ()),), n_inputs=1, n_outputs=1)
    prop.require_sizes(1, 1)
    with pytest.raises(MismatchError, match=r"'prop_x' speaks about 1 input and 1 output; the network has 2 and 1"):
        prop.require_sizes(2, 1)
    with pytest.raises(MismatchError):
        prop.violated([0.0], [0.0, 1.0])


def test_outputs_are_those_with_a_coefficient() -> None:
    """What the decision depends on."""
    region = box([F(0)], [F(1)], (row(0, 1, -1, 0),), n_outputs=4)
    assert Property(name="p", regions=(region,), n_inputs=1, n_outputs=4).outputs() == {1, 2}


SCALING = Scaling(
    input_means=(F(650), F("0.1")),
    input_ranges=(F(1100), F("6.28318530718")),
    output_mean=F("7.5"),
    output_range=F(300),
)


@given(prop=properties(2, 2), seed=st.integers(0, 2**32 - 1))
def test_scaling_keeps_the_meaning(prop: Property, seed: int) -> None:
    """A point violates in raw units iff its normalised twin does in network units: exactly."""
    scaled = prop.scaled(SCALING)
    rng = np.random.default_rng(seed)
    for _ in range(8):
        x = [F(float(v)) for v in rng.uniform(-2, 2, 2)]
        y = [F(float(v)) for v in rng.uniform(-3, 3, 2)]
        x_norm = [(v - m) / r for v, m, r in zip(x, SCALING.input_means, SCALING.input_ranges, strict=True)]
        y_norm = [(v - SCALING.output_mean) / SCALING.output_range for v in y]
        for raw, norm in zip(prop.regions, scaled.regions, strict=True):
            assert raw._contains_exactly(x) == norm._contains_exactly(x_norm)
            for before, after in zip(raw.unsafe, norm.unsafe, strict=True):
                assert before.holds(y) == after.holds(y_norm)


def test_scaling_of_tensors() -> None:
    """There and back."""
    raw = torch.tensor([[650.0, 0.1], [1200.0, 3.0]], dtype=torch.float64)
    x = SCALING.normalised_inputs(raw)
    assert x[0].tolist() == [0.0, 0.0]
    assert torch.allclose(SCALING.raw_inputs(x), raw)
    assert SCALING.raw_outputs(torch.tensor([1.0])).tolist() == [307.5]
    with pytest.raises(SpecError, match="positive"):
        Scaling(input_means=(F(0),), input_ranges=(F(0),), output_mean=F(0), output_range=F(1))
    with pytest.raises(MismatchError, match="scaling of 2 inputs"):
        Property(name="p", regions=(box([F(0)], [F(1)]),), n_inputs=1, n_outputs=1).scaled(SCALING)


def test_properties_travel_between_processes() -> None:
    """Workers get them pickled."""
    prop = Property(name="p", regions=(box([F(0)], [F(1, 3)], (row(1, strict=True),)),), n_inputs=1, n_outputs=1)
    twin = pickle.loads(pickle.dumps(prop))
    assert twin.regions[0].exact_upper == (F(1, 3),)
    assert torch.equal(twin.regions[0].unsafe[0].a, prop.regions[0].unsafe[0].a)
