"""Points with the desired answer as a property: one region for each, of that single input."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from birdnn.errors import FormatError, MismatchError
from birdnn.formats.points import LARGEST, Point, Points, read_points
from birdnn.pipeline.load import Loaded, scaling_of
from birdnn.printable import counted
from birdnn.reading import guarded_reader
from birdnn.records import Decision, Units
from birdnn.spec import Polytope, Property, Region, Row, Scaling


@guarded_reader
def load_points(path: Path, loaded: Loaded, decision: Decision, tolerance: float | None, units: Units) -> Property:
    """The property that every point of a file has the answer wished for, in network units.

    A decision is wished strictly: a tie with another output is unsafe. An input is the float32 nearest to what the file
    says, for no other value ever reaches the network.

    Args:
        path: the file.
        loaded: the network.
        decision: which output decides.
        tolerance: for outputs wished for, where the file does not say it; in the file's units.
        units: what the file speaks.

    Raises:
        FormatError: the file is unusable, or two rows ask for different answers at one input.
        MismatchError: decisions are wished for and nobody says which output decides; outputs without a tolerance.
    """
    names = [] if loaded.known is None else [quantity.name for quantity in loaded.known[0].outputs]
    points = read_points(path, loaded.net.n_inputs, loaded.net.n_outputs, names)
    # asked of the whole file before any row is made into a region
    if points.decided and decision == "none":
        raise MismatchError(f"{path}: which output decides? Say --decision argmin or --decision argmax")
    scaling = scaling_of(loaded) if units == "raw" else None
    regions: dict[tuple[Fraction, ...], Region] = {}
    asked: dict[tuple[Fraction, ...], tuple[int, object]] = {}
    # once for each output, not for each of many points; that two points have one wish is told by it, too
    sides = [_other_decides(wanted, decision, loaded.net.n_outputs) for wanted in range(loaded.net.n_outputs)]
    for point in points.points:
        x = _network_input(point, scaling, path)
        # by the float32 input, for two rows that differ in the file may reach the network as the same
        line, answer = asked.setdefault(x, (point.line, _wished_answer(point)))
        if answer != _wished_answer(point):
            problem = f"asks for another answer than line {line} at the same input (as float32)"
            raise FormatError(str(path), f"line {point.line}", problem)
        if x not in regions:
            unsafe = (
                _beyond_tolerance(point, points, tolerance, scaling)
                if point.decision is None
                else sides[point.decision]
            )
            regions[x] = Region(exact_lower=x, exact_upper=x, unsafe=unsafe)
    return Property(
        name=points.name,
        regions=tuple(regions.values()),
        n_inputs=loaded.net.n_inputs,
        n_outputs=loaded.net.n_outputs,
        sha256=points.sha256,
        path=points.path,
    )


def points_statement(prop: Property) -> str:
    """One line that says what such a property is about."""
    return f"the answer wished for at {counted(len(prop.regions), 'point')}"


def _wished_answer(point: Point) -> object:
    return point.decision, point.y, point.tolerance


def _network_input(point: Point, scaling: Scaling | None, path: Path) -> tuple[Fraction, ...]:
    x = point.x
    if scaling is not None:
        parts = zip(x, scaling.input_means, scaling.input_ranges, strict=True)
        x = tuple((value - mean) / extent for value, mean, extent in parts)
        if any(abs(value) > LARGEST for value in x):
            raise FormatError(str(path), f"line {point.line}", "an input is beyond float32 in the network's units")
    # the file's decimal is not what a float32 network is run at
    return tuple(Fraction(float(np.float32(float(value)))) for value in x)


def _other_decides(wanted: int, decision: Decision, n_outputs: int) -> tuple[Polytope, ...]:
    """Outputs at which another one decides, or as well: one half-space for each other output."""
    sign = 1 if decision == "argmin" else -1
    found = []
    for other in range(n_outputs):
        if other != wanted:
            row = [Fraction(0)] * n_outputs
            row[other], row[wanted] = Fraction(sign), Fraction(-sign)
            # not strict, so that a tie is unsafe
            found.append(Polytope(rows=(Row(tuple(row), Fraction(0)),), n_outputs=n_outputs))
    return tuple(found)


def _beyond_tolerance(
    point: Point, points: Points, common: float | None, scaling: Scaling | None
) -> tuple[Polytope, ...]:
    """Outputs of which one is further from the value wished for than the tolerance."""
    tolerance = point.tolerance if common is None or point.tolerance is not None else Fraction(common)
    if tolerance is None:
        problem = "says outputs without a tolerance: give --points-tolerance, or a column tolerance"
        raise MismatchError(f"{points.path}, line {point.line}: {problem}")
    y = point.y
    if scaling is not None:
        y = tuple((value - scaling.output_mean) / scaling.output_range for value in y)
        # a distance: it scales, and is not shifted
        tolerance = tolerance / scaling.output_range
    found = []
    for index, value in enumerate(y):
        for sign in (1, -1):
            row = tuple(Fraction(sign * (index == other)) for other in range(len(y)))
            # strict: an output that is exactly as far away as allowed is safe
            found.append(Polytope(rows=(Row(row, sign * value - tolerance, strict=True),), n_outputs=len(y)))
    return tuple(found)
