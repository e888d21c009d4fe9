"""Measures on a property's inputs, by name: uniform, independent marginals, or somebody's samples.

A property's input set is the union of its regions' boxes, or of what half-spaces of inputs leave of them
(`birdnn.sample.cut`); every measure is conditioned on it. Points are float32,
inside the exact boxes: real draws are rounded to the nearest such point. Draws are independent: which region a point
comes from is drawn too, and where regions overlap a point belongs to the first that holds it, so that none counts
twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from birdnn.errors import InputError
from birdnn.sample.cut import TRIED, Cut, draw_by_rejection
from birdnn.sample.pieces import drawable_count
from birdnn.spec import Property, Region, Scaling


@runtime_checkable
class Draws(Protocol):
    """Fresh points of a measure, a batch at a time."""

    @property
    def left(self) -> int | None:
        """How many there are still; None: without end."""

    def take(self, count: int) -> Tensor:
        """``count`` points (fewer where no more are left), (n, inputs) float32, never given before."""


@runtime_checkable
class Measure(Protocol):
    """A probability measure on inputs.

    Attributes:
        name: as statements print it.
    """

    @property
    def name(self) -> str:
        """See above."""

    def draws(self, prop: Property, generator: torch.Generator) -> Draws:
        """Independent draws from the measure conditioned on the property's input set, on the generator's device.

        Raises:
            InputError: the measure gives that set probability 0.
        """


@runtime_checkable
class Marginal(Protocol):
    """The distribution of one input."""

    def mass(self, lower: float, upper: float) -> float:
        """Probability of a range; of a single value, where it is continuous, the density."""

    def push(self, u: Tensor, lower: float, upper: float) -> Tensor:
        """Values of the distribution conditioned on a range, from uniform ones in [0, 1]; the same shape."""


@dataclass(frozen=True, slots=True)
class Even:
    """The uniform distribution on whatever range is asked for; `mass` is its length, 1 for a single value."""

    def mass(self, lower: float, upper: float) -> float:
        """See `Marginal`."""
        return upper - lower if upper > lower else 1.0

    def push(self, u: Tensor, lower: float, upper: float) -> Tensor:
        """See `Marginal`."""
        return lower + u * (upper - lower)


@dataclass(frozen=True, slots=True, eq=False)
class Continuous:
    """A frozen continuous distribution of SciPy."""

    frozen: Any

    def mass(self, lower: float, upper: float) -> float:
        """See `Marginal`."""
        if upper <= lower:
            return float(self.frozen.pdf(lower))
        return abs(float(np.subtract(*self._nearer_tail(lower, upper)[1])))

    def push(self, u: Tensor, lower: float, upper: float) -> Tensor:
        """See `Marginal`. Computed from the nearer tail, where probabilities keep their digits."""
        inverse, (first, last) = self._nearer_tail(lower, upper)
        values = inverse(first + u.cpu().numpy() * (last - first))
        return torch.from_numpy(np.clip(values, lower, upper)).to(u)

    def _nearer_tail(self, lower: float, upper: float) -> tuple[Any, tuple[float, float]]:
        # probabilities near 1 differ in their last digits only; those of the other tail keep all of theirs
        if self.frozen.cdf(lower) > 0.5:
            return self.frozen.isf, (float(self.frozen.sf(lower)), float(self.frozen.sf(upper)))
        return self.frozen.ppf, (float(self.frozen.cdf(lower)), float(self.frozen.cdf(upper)))


@dataclass(frozen=True, slots=True)
class Choice:
    """A few values, each with its weight (positive, any sum)."""

    values: tuple[float, ...]
    weights: tuple[float, ...]

    def mass(self, lower: float, upper: float) -> float:
        """See `Marginal`."""
        return sum(weight for _, weight in self._values_inside(lower, upper)) / sum(self.weights)

    def push(self, u: Tensor, lower: float, upper: float) -> Tensor:
        """See `Marginal`."""
        values, weights = (torch.tensor(part).to(u) for part in zip(*self._values_inside(lower, upper), strict=True))
        edges = weights.cumsum(0) / weights.sum()
        return values[torch.bucketize(u.contiguous(), edges[:-1], right=True)]

    def _values_inside(self, lower: float, upper: float) -> list[tuple[float, float]]:
        return [(v, w) for v, w in zip(self.values, self.weights, strict=True) if lower <= v <= upper]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """Independent marginals, conditioned on boxes exactly: each input on its own range.

    Attributes:
        name: see `Measure`.
        marginals: one for each input; None: uniform.
        scaling: what turns the marginals' raw units into network units; None: they speak network units.
    """

    name: str
    marginals: tuple[Marginal, ...] | None = None
    scaling: Scaling | None = None

    def draws(self, prop: Property, generator: torch.Generator) -> CubeDraws:
        """See `Measure`."""
        return CubeDraws(self.cube(prop), generator)

    def cube(self, prop: Property) -> Cube:
        """The property's input set as the image of a unit cube.

        Raises:
            InputError: the measure gives that set probability 0.
        """
        marginals = self.marginals or (Even(),) * prop.n_inputs
        boxes = [_Box(region, marginals, self.scaling, Cut.of(prop, region)) for region in prop.regions]
        flat = [all(box.lower[i] >= box.upper[i] for box in boxes) for i in range(prop.n_inputs)]
        logarithms = np.array([box.log_mass(flat) for box in boxes])
        if not (logarithms > -np.inf).any():
            raise InputError(
                f"the measure ({self.name}) gives the input region of {prop.name} probability 0; give one that "
                "reaches it: compare its ranges, and --measure-units, with the region's bounds"
            )
        # by the largest, so that the one that matters does not underflow
        weights = np.exp(logarithms - logarithms.max())
        return Cube(prop=prop, boxes=tuple(boxes), weights=tuple((weights / weights.sum()).tolist()))


UNIFORM = Product(name="uniform on the region")


class _Box:
    """A region under independent marginals, bounds in the marginals' units; what a cut leaves of it counts."""

    def __init__(self, region: Region, marginals: Sequence[Marginal], scaling: Scaling | None, cut: Cut | None) -> None:
        self.marginals, self.scaling, self.cut = marginals, scaling, cut
        self.float32 = region.float32_box()
        first, last = self.float32
        if bool((first > last).any()):
            index = int((first > last).double().argmax())
            bounds = f"[{float(region.exact_lower[index])!r}, {float(region.exact_upper[index])!r}]"
            raise InputError(f"input {index}: no float32 lies in {bounds}, there is nothing to sample; widen the range")
        # a range that holds one float32 is that value, whatever the rounding of its ends
        exact, single = torch.stack([region.lower, region.upper]), first.double().expand(2, -1)
        corners = torch.where(first == last, single, exact)
        self.lower, self.upper = (corners if scaling is None else scaling.raw_inputs(corners)).tolist()

    def log_mass(self, flat: Sequence[bool]) -> float:
        """Logarithm of the probability of the box, which itself is below any float64 where inputs are hundreds.

        Of 0 where it is flat along an input that varies in other boxes.
        """
        parts = zip(self.marginals, self.lower, self.upper, flat, strict=True)
        masses = [m.mass(low, high) if low < high or all_flat else 0.0 for m, low, high, all_flat in parts]
        return float(np.log(masses).sum()) if all(mass > 0 for mass in masses) else -math.inf

    def points(self, u: Tensor) -> Tensor:
        columns = zip(self.marginals, self.lower, self.upper, u.unbind(1), strict=True)
        values = torch.stack([m.push(part, low, high) for m, low, high, part in columns], dim=1)
        lower, upper = (side.to(u.device) for side in self.float32)
        x = values if self.scaling is None else self.scaling.normalised_inputs(values)
        return torch.minimum(torch.maximum(x.float(), lower), upper)

    def holds(self, x: Tensor) -> Tensor:
        lower, upper = (side.to(x.device) for side in self.float32)
        return ((x >= lower) & (x <= upper)).all(1) & self.counts(x)

    def counts(self, x: Tensor) -> Tensor:
        """Which points of the box the cut leaves: (n,) bool."""
        return torch.ones(len(x), dtype=torch.bool, device=x.device) if self.cut is None else self.cut.holds(x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cube:
    """A property's input set as the image of the unit cube with the uniform measure.

    Attributes:
        prop: the property.
        boxes: its regions.
        weights: probability of each, summing to 1 (overlaps counted in each).
    """

    prop: Property
    boxes: tuple[_Box, ...]
    weights: tuple[float, ...]

    @property
    def dimensions(self) -> int:
        """The inputs, and before them the choice of a region where there are several."""
        return self.prop.n_inputs + (len(self.boxes) > 1)

    @property
    def cut(self) -> bool:
        """Do half-spaces leave a part of its boxes only?"""
        return any(box.cut is not None for box in self.boxes)

    def points(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Images of float64 points (n, dimensions): (n, inputs) float32, and which of them count, (n,) bool.

        A point that an earlier region holds as well does not count: the earlier one has it already. Nor does one that
        a cut leaves out.
        """
        if len(self.boxes) == 1:
            x = self.boxes[0].points(u)
            return x, self.boxes[0].counts(x)
        # without the last edge, which rounding may leave below 1: the last box takes what is beyond the others
        edges = torch.tensor(self.weights, dtype=u.dtype, device=u.device).cumsum(0)
        which = torch.bucketize(u[:, 0].contiguous(), edges[:-1], right=True)
        x = u.new_zeros(len(u), self.prop.n_inputs, dtype=torch.float32)
        counts = torch.ones(len(u), dtype=torch.bool, device=u.device)
        for index, box in enumerate(self.boxes):
            mine = which == index
            if not bool(mine.any()):
                continue
            x[mine] = points = box.points(u[mine, 1:])
            counts[mine] = box.counts(points)
            # the point is the first region's: counted in both, an overlap would have twice its probability
            for earlier in self.boxes[:index]:
                counts[mine] &= ~earlier.holds(points)
        return x, counts


@dataclass(slots=True, eq=False)
class CubeDraws:
    """`Draws` without end."""

    cube: Cube
    generator: torch.Generator
    left: int | None = None

    def take(self, count: int) -> Tensor:
        """See `Draws`.

        Raises:
            InputError: half-spaces leave next to nothing of the boxes.
        """
        prop = self.cube.prop
        return draw_by_rejection(
            self._draw_counted, count, drawable_count(TRIED, prop.n_inputs) if self.cube.cut else 1, prop.name
        )

    def _draw_counted(self, size: int) -> Tensor:
        """So many points of the cube, without those that do not count, (m, inputs)."""
        shape = (size, self.cube.dimensions)
        x, counts = self.cube.points(
            torch.rand(shape, generator=self.generator, dtype=torch.float64, device=self.generator.device)
        )
        return x[counts]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Somebody's independent draws, (n, inputs) float64 in network units.

    Each is used at most once, so that what is stated holds for the distribution that they come from; drawing from them
    with replacement would speak about the file. Those inside the input set are draws from the conditioned distribution.
    """

    name: str
    x: Tensor

    def draws(self, prop: Property, generator: torch.Generator) -> SampleDraws:
        """See `Measure`; in an order that the generator chooses, for files are often sorted."""
        points, homeless = [], torch.ones(len(self.x), dtype=torch.bool)
        for region in prop.regions:
            inside = homeless & ((self.x >= region.lower) & (self.x <= region.upper)).all(1)
            lower, upper = region.float32_box()
            x = torch.minimum(torch.maximum(self.x.float(), lower), upper)
            cut = Cut.of(prop, region)
            inside = inside if cut is None else inside & cut.holds(x)
            points.append(x[inside])
            homeless &= ~inside
        x = torch.cat(points)
        if not len(x):
            raise InputError(
                f"none of the {len(self.x):,} samples lies inside the input region of {prop.name}; give samples of "
                "inputs for which the property speaks, and --measure-units raw where they are not in network units"
            )
        # a generator of its own on the CPU: the seed gives the same order on each device
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(generator.initial_seed()))
        return SampleDraws(x[order].to(generator.device))


@dataclass(slots=True, eq=False)
class SampleDraws:
    """`Draws` until all were given."""

    x: Tensor
    given: int = field(default=0)

    @property
    def left(self) -> int | None:
        """See `Draws`."""
        return len(self.x) - self.given

    def take(self, count: int) -> Tensor:
        """See `Draws`."""
        part = self.x[self.given : self.given + count]
        self.given += len(part)
        return part
