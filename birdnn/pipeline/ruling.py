"""Which output decides, read from the properties where neither the user nor a suite says it.

A property that compares one output with several others speaks about who wins. Unsafe sets are read in two ways:

- all at once (``Y_0 <= Y_1 and Y_0 <= Y_2``): output 0 must not win; unsafe is that it is the least: argmin;
- one by one (``Y_0 <= Y_1 or Y_0 <= Y_2``): output 0 must win; unsafe is that it is not the greatest: argmax.

With the signs reversed it is the other rule. Of two outputs one is the least exactly where the other is the greatest:
any comparison will do, and both rules count the same changes. Where properties speak for different rules, or compare
nothing, nobody knows. It is a guess, and said: a property that bans what would be an odd winner speaks for the wrong
rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from birdnn.records import Decision
from birdnn.spec import Polytope, Property, Row


def derived_rule(props: Sequence[Property]) -> Decision:
    """The rule for which the properties speak; ``"none"`` where none does, or they contradict each other."""
    # one voice is enough, and one against it too much: it is a guess that fidelity is judged by
    said = {rule for prop in props for rule in _rules_spoken_for(prop)}
    return said.pop() if len(said) == 1 else "none"


def _rules_spoken_for(prop: Property) -> Iterator[Decision]:
    if prop.relational:  # what its rows compare outputs with are inputs
        return
    for region in prop.regions:
        if prop.n_outputs == 2:
            if any(_compared_outputs(row) is not None for polytope in region.unsafe for row in polytope.rows):
                yield "argmax"
            continue
        for polytope in region.unsafe:
            if sign := _star_direction(polytope.rows):
                yield "argmin" if sign > 0 else "argmax"
        # one by one: together they ban all but one winner, so that the signs mean the other rule
        if sign := _star_direction(_single_rows(region.unsafe)):
            yield "argmax" if sign > 0 else "argmin"


def _single_rows(polytopes: Iterable[Polytope]) -> list[Row]:
    return [polytope.rows[0] for polytope in polytopes if len(polytope.rows) == 1]


def _compared_outputs(row: Row) -> tuple[int, int] | None:
    """``(i, j)`` where the row says ``Y_i <= Y_j`` up to a constant, else None."""
    named = [index for index, coefficient in enumerate(row.coefficients) if coefficient]
    # 2 Y_0 <= Y_1 compares no outputs; a constant does not matter
    if len(named) != 2 or sum(row.coefficients) != 0:
        return None
    i, j = named
    return (i, j) if row.coefficients[i] > 0 else (j, i)


def _star_direction(rows: Sequence[Row]) -> int:
    """1 where each row says that one output is at most another one, different ones; -1: at least; 0: neither."""
    pairs = [_compared_outputs(row) for row in rows]
    known = {pair for pair in pairs if pair is not None}
    # as a set: the same row twice is one comparison, and one says nothing of who wins over all
    if None in pairs or len(known) < 2:
        return 0
    if len({i for i, _ in known}) == 1:
        return 1
    return -1 if len({j for _, j in known}) == 1 else 0
