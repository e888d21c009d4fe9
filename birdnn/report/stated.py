"""A property in words, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from rich.console import Group, RenderableType
from rich.text import Text

from birdnn.printable import counted, readable
from birdnn.records import ToldProperty
from birdnn.report.tables import add_fact, add_notes, facts_grid
from birdnn.report.words import Side, nearest_float, plain_number, rounded_range, unsafe_words
from birdnn.spec import Region

_REGIONS = 6
_INPUTS = 12
_POLYTOPES = 8


def property_summary(told: ToldProperty) -> RenderableType:
    """For each region between which values the inputs lie, and what must not come out there."""
    prop, inputs, outputs = told.prop, Side("X", told.inputs), Side("Y", told.outputs)
    parts: list[RenderableType] = [Text(f"{readable(prop.name)}: {readable(told.statement)}", "bold")]
    for place, region in enumerate(prop.regions[:_REGIONS]):
        grid = facts_grid()
        where = "where" if len(prop.regions) == 1 else f"region {place + 1}, where"
        for line in _box_lines(region, inputs):
            add_fact(grid, where, line)
            # Named on the first line alone.
            where = " "
        for line in _unsafe_lines(region, outputs):
            add_fact(grid, "never", line)
        parts.append(grid)
    facts = facts_grid()
    if (more := len(prop.regions) - _REGIONS) > 0:
        add_fact(facts, "more", f"{more:,} further regions")
    add_fact(facts, "speaks about", f"{counted(prop.n_inputs, 'input')}, {counted(prop.n_outputs, 'output')}")
    if prop.element == "float32":
        add_fact(facts, "over", "the network as executed in float32")
    add_fact(facts, "units", "raw, as the network's scaling says" if told.inputs else "")
    add_fact(facts, "known as", told.recognised)
    add_notes(facts, told.notes)
    return Group(*parts, facts)


def _box_lines(region: Region, inputs: Side) -> Iterator[str]:
    """Each input's range, in raw units where the scaling is known."""
    for place in range(min(region.n_inputs, _INPUTS)):
        low, high = (inputs.raw(place, side[place]) for side in (region.exact_lower, region.exact_upper))
        name, unit = inputs.name(place), inputs.unit(place)
        strict = (region.strict_lower[place], region.strict_upper[place])
        yield f"{_range_text(name, low, high, strict)} {unit}".rstrip()
    if (more := region.n_inputs - _INPUTS) > 0:
        yield f"and {more:,} further inputs in their ranges"


def _range_text(name: str, low: Fraction, high: Fraction, strict: tuple[bool, bool]) -> str:
    # Compared exactly: two ends that print alike may differ.
    if low == high:
        return f"{name} = {plain_number(nearest_float(low))}"
    signs = ["<" if each else "≤" for each in strict]
    ends = rounded_range(nearest_float(low), nearest_float(high))
    return f"{plain_number(ends[0])} {signs[0]} {name} {signs[1]} {plain_number(ends[1])}"


def _unsafe_lines(region: Region, outputs: Side) -> Iterator[str]:
    for polytope in region.unsafe[:_POLYTOPES]:
        yield unsafe_words(polytope.rows, outputs)
    if (more := len(region.unsafe) - _POLYTOPES) > 0:
        yield f"and {more:,} further sets of outputs"
