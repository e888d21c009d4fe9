"""A property: regions of inputs, and for each the outputs that must not occur there.

A property describes what is *unsafe*, as VNN-LIB does: it is violated iff some input of a region's box gives an output
in one of that region's unsafe polytopes. Numbers are exact rationals. Of the float64 tensors beside them, corners of
boxes and right-hand sides are rounded so that the box and the unsafe set only grow. Coefficients of outputs cannot be:
which way is safe depends on the sign of the output. They are rounded to nearest, see `Polytope`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from birdnn.errors import MismatchError, SpecError
from birdnn.later import later
from birdnn.printable import counted

if TYPE_CHECKING:
    import numpy as np
    import torch
else:
    np, torch = later("numpy"), later("torch")


def round_down(value: Fraction) -> float:
    """The largest float64 that is at most `value`; minus infinity below the range."""
    try:
        nearest = float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.nextafter(math.inf, 0.0)
    # Python compares a float and a Fraction exactly, and the nearest float is at most one step off
    return nearest if nearest <= value else math.nextafter(nearest, -math.inf)


def round_up(value: Fraction) -> float:
    """The smallest float64 that is at least `value`; infinity above the range."""
    return -round_down(-value)


@dataclass(frozen=True, slots=True)
class Row:
    """A half-space of outputs: ``coefficients . y <= bound``, or ``<`` where `strict`.

    Attributes:
        coefficients: one for each output.
        bound: right-hand side.
        strict: the boundary does not belong to it.
    """

    coefficients: tuple[Fraction, ...]
    bound: Fraction
    strict: bool = False

    def holds(self, y: Sequence[Fraction]) -> bool:
        """Does `y` lie in the half-space? Exact."""
        # most coefficients are 0, and products of rationals are slow
        value = sum((c * v for c, v in zip(self.coefficients, y, strict=True) if c), Fraction(0))
        return value < self.bound if self.strict else value <= self.bound

    def normal(self) -> Row:
        """The same half-space, by a power of two, with a largest absolute coefficient of at least 1 and below 2."""
        largest = max(map(abs, self.coefficients), default=Fraction(0))
        if not largest or 1 <= largest < 2:
            return self
        power = largest.numerator.bit_length() - largest.denominator.bit_length()  # one too many, or right
        # a power of two moves no digit: a coefficient that float64 holds is held exactly afterwards
        scale = Fraction(2) ** (-power if largest >= Fraction(2) ** power else 1 - power)
        return Row(tuple(c * scale for c in self.coefficients), self.bound * scale, self.strict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polytope:
    """A set of unsafe outputs: those in all of its half-spaces. Without rows it is everything.

    Attributes:
        rows: the half-spaces, exact.
        n_outputs: dimension of the space.
        a: (rows, n_outputs) float64, the coefficients of `Row.normal`. One that float64 holds is exact. Any other is
            rounded to nearest, off by at most 2**-53 of itself or 2**-1074, in either direction: bounds account for
            that, samples speak about the rounded row; only `holds` is exact.
        b: (rows,) float64, the right-hand sides of `Row.normal`, rounded up: ``a @ y <= b`` holds for no fewer outputs
            than exactly.
        strict: (rows,) bool.

    Raises:
        SpecError: a row has another number of coefficients, or a right-hand side is beyond the range of float64.
    """

    rows: tuple[Row, ...]
    n_outputs: int
    a: torch.Tensor = field(init=False)
    b: torch.Tensor = field(init=False)
    strict: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        if any(len(row.coefficients) != self.n_outputs for row in self.rows):
            raise SpecError(f"a constraint on outputs does not have {self.n_outputs} coefficients")
        normal = [row.normal() for row in self.rows]
        a = [[float(c) for c in row.coefficients] for row in normal]
        b = [round_up(row.bound) for row in normal]
        if not all(map(math.isfinite, b)):
            raise SpecError("a bound on an output, in units of its largest coefficient, is beyond the range of float64")
        object.__setattr__(self, "a", torch.tensor(a, dtype=torch.float64).reshape(len(self.rows), self.n_outputs))
        object.__setattr__(self, "b", torch.tensor(b, dtype=torch.float64))
        object.__setattr__(self, "strict", torch.tensor([row.strict for row in self.rows], dtype=torch.bool))

    def margin(self, y: torch.Tensor) -> torch.Tensor:
        """For outputs (n, n_outputs) the largest ``a @ y - b`` over the rows, (n,); minus infinity without rows."""
        if not self.rows:
            return torch.full_like(y[:, 0], -math.inf)
        return (y @ self.a.to(y).T - self.b.to(y)).amax(dim=1)

    def holds(self, y: Sequence[Fraction]) -> bool:
        """Does `y` lie in the polytope? Exact."""
        return all(row.holds(y) for row in self.rows)


NEAR = Fraction(1, 10**4)
"""How far from its range an input may be run whose range holds no float32: the tolerance of VNN-COMP."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """One box of inputs, and what must not happen in it.

    Networks are run on float32 numbers. Where the range of an input holds none, as that of an input fixed at 0.1, it is
    run at the nearest one, if that is at most `NEAR` away; such an input stands for the exact number of the range that
    is nearest to it (`stands_for`).

    Attributes:
        exact_lower, exact_upper: corners of the box.
        strict_lower, strict_upper: bounds that the box itself excludes; empty means none. Tensors and searches take
            the closed box, exact tests honour strictness.
        unsafe: the unsafe polytopes.
        lower, upper: (n_inputs,) float64, the corners rounded outward, and out to the numbers in `nearest`.
        nearest: inputs whose range holds no float32 -> the one that they are run at.
        unrunnable: the first input whose range holds none, and none is near; None without.

    Raises:
        SpecError: the box is empty or unbounded, or lengths differ.
    """

    exact_lower: tuple[Fraction, ...]
    exact_upper: tuple[Fraction, ...]
    unsafe: tuple[Polytope, ...]
    strict_lower: tuple[bool, ...] = ()
    strict_upper: tuple[bool, ...] = ()
    lower: torch.Tensor = field(init=False)
    upper: torch.Tensor = field(init=False)
    nearest: Mapping[int, float] = field(init=False)
    unrunnable: int | None = field(init=False)
    _float32: list[tuple[torch.Tensor, torch.Tensor]] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        size = len(self.exact_lower)
        for name in ("strict_lower", "strict_upper"):
            object.__setattr__(self, name, getattr(self, name) or (False,) * size)
        if not size or {size} != {len(self.exact_upper), len(self.strict_lower), len(self.strict_upper)}:
            raise SpecError("the corners of a box have different lengths, or none")
        for i, (low, high) in enumerate(zip(self.exact_lower, self.exact_upper, strict=True)):
            if low > high:
                raise SpecError(f"input {i} has lower bound {float(low):.9g} above upper bound {float(high):.9g}")
            if low == high and (self.strict_lower[i] or self.strict_upper[i]):
                raise SpecError(f"input {i} has an empty range: a strict bound at {float(low):.9g} on both sides")
        lower = torch.tensor([round_down(value) for value in self.exact_lower], dtype=torch.float64)
        upper = torch.tensor([round_up(value) for value in self.exact_upper], dtype=torch.float64)
        if not (lower.isfinite().all() and upper.isfinite().all()):
            raise SpecError("a bound on an input is beyond the range of float64")
        nearest: dict[int, float] = {}
        far = None
        for i in _without_inner(lower, upper):
            gap, value = self._nearest_float32(i)
            if 0 <= gap <= NEAR:
                nearest[i] = value
                # a proof has to cover the number that is run and the exact one that it stands for
                lower[i], upper[i] = min(float(lower[i]), value), max(float(upper[i]), value)
            elif gap > NEAR:
                far = i if far is None else far
        object.__setattr__(self, "nearest", nearest)
        object.__setattr__(self, "unrunnable", far)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def _nearest_float32(self, index: int) -> tuple[Fraction, float]:
        """The float32 nearest to the range of an input, and how far it is; -1 for one that holds a float32."""
        low, high = self.exact_lower[index], self.exact_upper[index]
        after, before = self._float32_ends(index)
        if after <= before:
            return Fraction(-1), after
        # of two that are as near the lower; `nearest` remembers which, so that the same one stands for the number
        return min((low - _exact_fraction(before), before), (_exact_fraction(after) - high, after))

    def _float32_ends(self, index: int) -> tuple[float, float]:
        """The first and the last float32 within the range of an input; the first is the greater one without any."""
        first = _float32_at_least(self.exact_lower[index], self.strict_lower[index])
        return first, -_float32_at_least(-self.exact_upper[index], self.strict_upper[index])

    @property
    def n_inputs(self) -> int:
        """Dimension of the box."""
        return len(self.exact_lower)

    def is_fixed(self, index: int) -> bool:
        """Is an input's range a single number?"""
        return self.exact_lower[index] == self.exact_upper[index]

    @property
    def is_point(self) -> bool:
        """Is the box a single point?"""
        return self.exact_lower == self.exact_upper

    def margin(self, y: torch.Tensor) -> torch.Tensor:
        """How far outputs (n, n_outputs) are from being unsafe: (n,), in the type of `y`.

        The least over the polytopes of the largest ``a @ y - b`` over their rows: at most 0 is unsafe, up to rounding
        and to the boundary of strict rows, which `Property.violated` decides exactly. Infinity without polytopes.
        """
        if not self.unsafe:
            return torch.full_like(y[:, 0], math.inf)
        return torch.stack([polytope.margin(y) for polytope in self.unsafe]).amin(dim=0)

    def margin_at(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The same of outputs at inputs `x` (n, n_inputs), which rows of a relational property speak about as well.

        In float64 where they do, so that rows of inputs alone say what draws of inputs go by.
        """
        if self.unsafe and self.unsafe[0].n_outputs > y.shape[1]:
            y = torch.cat([y.double(), x.to(y.device).double()], dim=1)
        return self.margin(y)

    def float32_box(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The outermost float32 points that are run for the exact box, strictness honoured: (n_inputs,) each.

        Where an input's range holds no float32, both are that of `nearest`; where there is none either, its first is
        greater than its second.
        """
        if not self._float32:  # rational arithmetic: with many inputs as slow as an attack, and asked for as often
            near = self.nearest
            ends = [(near[i], near[i]) if i in near else self._float32_ends(i) for i in range(self.n_inputs)]
            low, high = zip(*ends, strict=True)
            self._float32.append((torch.tensor(low, dtype=torch.float32), torch.tensor(high, dtype=torch.float32)))
        lower, upper = self._float32[0]
        # copies: whoever clamps these corners must not change them for the next
        return lower.clone(), upper.clone()

    def contains(self, x: Sequence[float]) -> bool:
        """Does `x` stand for a point of the exact box? False where it holds NaN or infinity, or has another length."""
        return self.stands_for(x) is not None

    def stands_for(self, x: Sequence[float]) -> tuple[Fraction, ...] | None:
        """The point of the exact box that an input means: itself, but for those that `nearest` has; None outside."""
        if len(x) != self.n_inputs or not all(math.isfinite(value) for value in x):
            return None
        point = [Fraction(float(value)) for value in x]
        for i, value in self.nearest.items():
            if x[i] == value:
                point[i] = self._nearest_within(i, point[i])
        return tuple(point) if self._contains_exactly(point) else None

    def _contains_exactly(self, x: Sequence[Fraction]) -> bool:
        above = zip(self.exact_lower, x, self.strict_lower, strict=True)
        below = zip(x, self.exact_upper, self.strict_upper, strict=True)
        return all(a < b if strict else a <= b for pairs in (above, below) for a, b, strict in pairs)

    def _nearest_within(self, index: int, value: Fraction) -> Fraction:
        """The number of an input's range that is nearest to `value`, the middle where that bound is excluded."""
        low, high = self.exact_lower[index], self.exact_upper[index]
        # the nearest number would be a bound, which does not belong to the range
        if self.strict_lower[index] or self.strict_upper[index]:
            return (low + high) / 2
        return min(max(value, low), high)


def regions_hull(regions: Sequence[Region]) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners of the smallest box around some regions, at least one: (inputs,) float64 each."""
    lower = torch.stack([region.lower for region in regions]).amin(0)
    upper = torch.stack([region.upper for region in regions]).amax(0)
    return lower, upper


def _without_inner(lower: torch.Tensor, upper: torch.Tensor) -> list[int]:
    """Inputs whose range, (inputs,) float64 ends rounded outward, may hold no float32; few but for fixed ones."""
    # for all inputs at once: rational arithmetic is for the few that may hold none
    single = lower.to(torch.float32)
    above = torch.where(single.double() > lower, single, single.nextafter(torch.tensor(math.inf)))
    exactly = (lower == upper) & (single.double() == lower)  # fixed at a float32
    return (~(above.double() < upper) & ~exactly).nonzero().flatten().tolist()


def _exact_fraction(value: float) -> Fraction:
    """A float, or a number beyond all of them."""
    return Fraction(value) if math.isfinite(value) else Fraction(10) ** 400 * (1 if value > 0 else -1)


def _float32_at_least(value: Fraction, strict: bool) -> float:
    """The smallest float32 that is at least (strict: greater than) `value`, as a Python float; infinity if none is."""
    infinity, largest = np.float32(np.inf), np.finfo(np.float32).max
    # rounded to nearest, on either side of `value` perhaps: steps of one float32 lead to the right one
    point = np.float32(min(max(round_down(value), -float(largest)), float(largest)))
    while point > -largest and _is_at_least(np.nextafter(point, -infinity), value, strict):
        point = np.nextafter(point, -infinity)
    while not _is_at_least(point, value, strict):
        if point == largest:
            return math.inf
        point = np.nextafter(point, infinity)
    return float(point)


def _is_at_least(candidate: np.float32, value: Fraction, strict: bool) -> bool:
    exact = Fraction(float(candidate))
    return exact > value if strict else exact >= value


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How raw units become network units: ``x = (raw - mean) / range``, and back for outputs.

    Attributes:
        input_means, input_ranges: one for each input, raw units.
        output_mean, output_range: the same for all outputs, raw units.

    Raises:
        SpecError: a range is not positive, or lengths differ.
    """

    input_means: tuple[Fraction, ...]
    input_ranges: tuple[Fraction, ...]
    output_mean: Fraction
    output_range: Fraction

    def __post_init__(self) -> None:
        if len(self.input_means) != len(self.input_ranges):
            raise SpecError("a scaling needs as many means as ranges")
        if any(value <= 0 for value in (*self.input_ranges, self.output_range)):
            raise SpecError("a scaling needs positive ranges")

    def normalised_inputs(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw inputs (n, n_inputs) in network units, rounded in the type of `raw`."""
        means, ranges = (raw.new_tensor([float(v) for v in values]) for values in (self.input_means, self.input_ranges))
        return (raw - means) / ranges

    def raw_inputs(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs (n, n_inputs) in network units in raw ones, rounded in the type of `x`."""
        means, ranges = (x.new_tensor([float(v) for v in values]) for values in (self.input_means, self.input_ranges))
        return x * ranges + means

    def raw_outputs(self, y: torch.Tensor) -> torch.Tensor:
        """Outputs in network units in raw ones, rounded in the type of `y`."""
        return y * float(self.output_range) + float(self.output_mean)

    def _scaled_region(self, region: Region) -> Region:
        def scaled(corner: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
            parts = zip(corner, self.input_means, self.input_ranges, strict=True)
            return tuple((value - mean) / extent for value, mean, extent in parts)

        return Region(
            exact_lower=scaled(region.exact_lower),
            exact_upper=scaled(region.exact_upper),
            strict_lower=region.strict_lower,
            strict_upper=region.strict_upper,
            unsafe=tuple(self._scaled_polytope(polytope) for polytope in region.unsafe),
        )

    def _scaled_polytope(self, polytope: Polytope) -> Polytope:
        rows = []
        for row in polytope.rows:
            # raw = range * y + mean with a positive range: divided by it a row keeps coefficients and direction
            bound = (row.bound - self.output_mean * sum(row.coefficients, Fraction(0))) / self.output_range
            rows.append(Row(row.coefficients, bound, row.strict))
        return Polytope(rows=tuple(rows), n_outputs=polytope.n_outputs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Property:
    """A statement about a network: no input of a region's box has an output in that region's unsafe polytopes.

    Attributes:
        name: the file's stem, e.g. ``"prop_8"``.
        regions: its boxes with their unsafe polytopes.
        n_inputs, n_outputs: sizes of the networks it speaks about.
        text: the file's text.
        sha256: hex digest of the file as stored.
        path: the file, or None.
        element: what its variables are: reals, or what the network computes in float32. A proof of the latter has to
            speak about execution in float32.
        partial: its text need not name all outputs of a network: `fitted` adds the others.
        relational: its rows speak about the outputs and, behind them, the inputs, and `n_outputs` counts both: it is a
            property of the network that hands on its inputs (`birdnn.verify.relating`).
        vacuous: why nothing satisfies its formula, so that no network violates it; then it has no region. Else empty.
        notes: what a reader has to tell of how it was taken, one sentence each.

    Raises:
        SpecError: no region, or one of another size.

    Source: Katz et al. 2017, arXiv:1702.01135, for the form; VNN-LIB for the meaning of the text.
    """

    name: str
    regions: tuple[Region, ...]
    n_inputs: int
    n_outputs: int
    text: str = ""
    sha256: str = ""
    path: str | None = None
    element: Literal["real", "float32"] = "real"
    partial: bool = False
    relational: bool = False
    vacuous: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.regions and not self.vacuous:
            raise SpecError(f"property {self.name!r} has no input region")
        for region in self.regions:
            if region.n_inputs != self.n_inputs or any(p.n_outputs != self.n_outputs for p in region.unsafe):
                raise SpecError(f"property {self.name!r} has a region of another size than its variables")

    def __repr__(self) -> str:
        # numbers of all regions would fill pages; `birdnn property explain` says them in words
        sizes = counted(self.n_inputs, "input"), counted(self.n_outputs, "output"), counted(len(self.regions), "region")
        return f"Property({self.name!r}, {', '.join(sizes)})"

    def require_sizes(self, n_inputs: int, n_outputs: int) -> None:
        """Refuse a network of another size.

        Raises:
            MismatchError: the property speaks about other numbers of inputs or outputs.
        """
        # a relational property is met by the network itself, and by the one that hands on its inputs behind its outputs
        if n_inputs != self.n_inputs or n_outputs not in (self.named_outputs, self.n_outputs):
            raise self._size_mismatch(n_inputs, n_outputs)

    @property
    def varying(self) -> int:
        """How many inputs vary in a region, at most."""
        return max(int((region.lower < region.upper).sum()) for region in self.regions)

    @property
    def named_outputs(self) -> int:
        """How many outputs it speaks about, without the inputs behind them."""
        return self.n_outputs - (self.n_inputs if self.relational else 0)

    def _size_mismatch(self, n_inputs: int, n_outputs: int) -> MismatchError:
        mine = f"{counted(self.n_inputs, 'input')} and {counted(self.named_outputs, 'output')}"
        theirs = f"the network has {n_inputs} and {n_outputs}"
        return MismatchError(f"property {self.name!r} speaks about {mine}; {theirs}")

    def fitted(self, n_inputs: int, n_outputs: int) -> Property:
        """The property of a network of that size: where it is `partial`, of outputs that its text does not name too.

        Raises:
            MismatchError: the property speaks about other numbers of inputs or outputs.
        """
        own = self.named_outputs
        missing = n_outputs - own
        if n_inputs != self.n_inputs or missing < 0 or (missing and not self.partial):
            raise self._size_mismatch(n_inputs, n_outputs)
        if not missing:
            return self
        more = (Fraction(0),) * missing

        def padded(polytope: Polytope) -> Polytope:
            # outputs that the text does not name lie between those that it names and the inputs
            cut = [(row.coefficients[:own], row.coefficients[own:], row) for row in polytope.rows]
            rows = tuple(replace(row, coefficients=(*first, *more, *last)) for first, last, row in cut)
            return Polytope(rows=rows, n_outputs=self.n_outputs + missing)

        regions = tuple(replace(region, unsafe=tuple(map(padded, region.unsafe))) for region in self.regions)
        told = f"{self.name} speaks about {own} of the network's {n_outputs} outputs, the first ones."
        return replace(self, regions=regions, n_outputs=self.n_outputs + missing, notes=(*self.notes, told))

    def violated(self, x: Sequence[float], y: Sequence[float]) -> bool:
        """Is an input `x` with output `y` a violation? Exact rational arithmetic on the floats as given.

        True iff `x` stands for a point of some region's exact box (`Region.stands_for`) and `y` in one of its unsafe
        polytopes. NaN or infinity in either is no evidence: False.

        Raises:
            MismatchError: another number of inputs or outputs.
        """
        self.require_sizes(len(x), len(y))
        if not all(math.isfinite(value) for value in (*x, *y)):
            return False
        # outputs of the network itself: what it would hand on is added
        values = (*y, *x) if self.relational and len(y) < self.n_outputs else y
        outputs = [Fraction(float(v)) for v in values]
        return any(
            region.contains(x) and any(polytope.holds(outputs) for polytope in region.unsafe) for region in self.regions
        )

    def outputs(self) -> frozenset[int]:
        """Indices of the outputs that its formula mentions with a coefficient other than 0."""
        rows = (row for region in self.regions for polytope in region.unsafe for row in polytope.rows)
        return frozenset(index for row in rows for index, value in enumerate(row.coefficients) if value)

    def scaled(self, scaling: Scaling) -> Property:
        """This property, in raw units, restated exactly in network units.

        Raises:
            MismatchError: the scaling is for another number of inputs, or the property relates inputs, or speaks about
                float32 entries of the network itself.
        """
        if self.relational:
            raise MismatchError(f"property {self.name!r} relates inputs, which is decided in network units: not raw")
        if self.element == "float32":
            raise MismatchError(
                f"property {self.name!r} is over float32, so over what the network itself reads: not raw"
            )
        if len(scaling.input_means) != self.n_inputs:
            raise MismatchError(f"a scaling of {len(scaling.input_means)} inputs for a property of {self.n_inputs}")
        return replace(self, regions=tuple(scaling._scaled_region(region) for region in self.regions))
