"""Queries about several networks as properties of one: their outputs, side by side, at inputs that share variables.

``(== X_f[0] X_g[0])`` makes two inputs one variable, so that what differs between networks can be followed instead of
being subtracted. All other comparisons of inputs stay what they are; where they alone bound a variable, the bound that
they imply is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from birdnn.errors import FormatError, MismatchError
from birdnn.formats.dnf import And, Atom, Contradiction, Formula, Or, Term, Variable, build_regions, relates_inputs
from birdnn.formats.files import stem_and_kind
from birdnn.formats.vnnlib import query_in_text, read_property_bytes
from birdnn.formats.vnnlib2 import Declared, Query
from birdnn.spec import Property, Region

_ROUNDS = 8
"""Of implied bounds: each follows a chain of comparisons by one link."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relation:
    """What a query says about several networks.

    Attributes:
        networks: as they are declared, in order.
        prop: of the outputs of all networks, side by side, at the variables.
        reads: for each network the variable that each of its inputs is.
    """

    networks: tuple[Declared, ...]
    prop: Property
    reads: tuple[tuple[int, ...], ...]

    def require_sizes(self, name: str, n_inputs: int, n_outputs: int, path: str) -> None:
        """Refuse a network that is not the declared one.

        Raises:
            MismatchError: it has another number of inputs or outputs.
        """
        declared = next(net for net in self.networks if net.name == name)
        for what, here, there in (
            ("inputs", declared.input.size, n_inputs),
            ("outputs", declared.output.size, n_outputs),
        ):
            if here != there:
                raise MismatchError(f"{path}: network {name} of the query has {here} {what}, this file {there}")


def read_relation(path: Path) -> Relation | None:
    """A query about several networks; None of any other property.

    Raises:
        FormatError: the file is no property, or leaves an input unbounded.
    """
    text, digest = read_property_bytes(path)
    query = query_in_text(text, str(path))
    if query is None or len(query.networks) < 2:
        return None
    return relation_of_query(query, text=text, path=str(path), digest=digest)


def relation_of_query(query: Query, *, text: str, path: str = "", digest: str = "") -> Relation:
    """The query as a property of all its networks.

    Raises:
        FormatError: an input has no bounds.
    """
    variable = _number_variables(query)
    formula = _add_implied_bounds(_rename_inputs(query.formula, variable))
    n_inputs, relational, why = 1 + max(variable), relates_inputs(formula), ""
    regions: tuple[Region, ...] = ()
    try:
        regions = build_regions(formula, n_inputs, query.n_outputs, path, relational=relational)
    except Contradiction as error:
        why = ", ".join(part for part in (error.place, error.problem) if part)
    except FormatError as error:
        raise FormatError(error.path, error.place, f"{error.problem} (inputs are numbered over all networks)") from None
    name = stem_and_kind(path)[0] or "property"
    prop = Property(
        name=name,
        regions=regions,
        n_inputs=n_inputs,
        n_outputs=query.n_outputs + (n_inputs if relational else 0),
        text=text,
        sha256=digest,
        path=path or None,
        element=query.element,
        relational=relational,
        vacuous=why,
        notes=(f"{name} is vacuous: {why}, so nothing is unsafe.",) if why else (),
    )
    ends = [(net.input.first, net.input.first + net.input.size) for net in query.networks]
    return Relation(networks=query.networks, prop=prop, reads=tuple(tuple(variable[a:b]) for a, b in ends))


def _certain_atoms(formula: Formula) -> Iterator[Atom]:
    """The comparisons that hold wherever the formula does."""
    if isinstance(formula, Atom):
        yield formula
    # not into an Or: what one of its branches says need not hold in another
    elif isinstance(formula, And):
        for part in formula.parts:
            yield from _certain_atoms(part)


def _number_variables(query: Query) -> list[int]:
    """The number of each input's variable; inputs that are equal wherever the formula holds have the same."""
    below = {pair for atom in _certain_atoms(query.formula) if (pair := _ordered_inputs(atom)) is not None}
    leader = list(range(query.n_inputs))

    def of(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    # equal where each is at most the other. The least number leads, so that variables count in the order of inputs
    for low, high in below:
        if (high, low) in below:
            one, other = sorted((of(low), of(high)))
            leader[other] = one
    numbers = dict[int, int]()
    return [numbers.setdefault(of(index), len(numbers)) for index in range(query.n_inputs)]


def _ordered_inputs(atom: Atom) -> tuple[int, int] | None:
    """``(i, j)`` where it says that input i is at most input j."""
    factors = atom.term.factors
    if atom.strict or atom.term.constant or len(factors) != 2 or any(kind != "X" for kind, _ in factors):
        return None
    (one, a), (other, b) = factors.items()
    if a != -b:
        return None
    return (one[1], other[1]) if a > 0 else (other[1], one[1])


def _rename_inputs(formula: Formula, variable: list[int]) -> Formula:
    """The formula of the variables, without what says that one equals itself."""
    if isinstance(formula, Atom):
        return replace(formula, term=_rename_term(formula.term, variable))
    parts = [_rename_inputs(part, variable) for part in formula.parts]
    # a true part makes the whole of an Or true: without it the formula would say more
    if isinstance(formula, Or):
        return Or(tuple(parts))
    return And(tuple(part for part in parts if not (isinstance(part, Atom) and _is_trivial(part))))


def _rename_term(term: Term, variable: list[int]) -> Term:
    factors = dict[Variable, Fraction]()
    for (kind, index), factor in term.factors.items():
        key = (kind, variable[index]) if kind == "X" else (kind, index)
        factors[key] = factors.get(key, Fraction(0)) + factor
    return Term({key: factor for key, factor in factors.items() if factor}, term.constant)


def _is_trivial(atom: Atom) -> bool:
    return not atom.term.factors and (atom.term.constant < 0 or (atom.term.constant == 0 and not atom.strict))


def _add_implied_bounds(formula: Formula) -> Formula:
    """The formula, with bounds of variables that follow from bounds of others."""
    atoms = [a for a in _certain_atoms(formula) if a.term.factors and all(kind == "X" for kind, _ in a.term.factors)]
    ends: dict[tuple[int, bool], Fraction] = {}  # (variable, is it the upper end?)
    stated = set[tuple[int, bool]]()
    # each round reads the ends of the one before alone, so that the order of comparisons changes nothing
    for _ in range(_ROUNDS):
        before = dict(ends)
        for atom in atoms:
            for (_, index), factor in atom.term.factors.items():
                value = _implied_end(atom, index, before)
                if value is None:
                    continue
                side = (index, factor > 0)
                known = ends.get(side)
                if known is None or (value < known if side[1] else value > known):
                    ends[side] = value
                if len(atom.term.factors) == 1:
                    stated.add(side)
        if ends == before:
            break
    # never strict, even where they follow from strict comparisons: these stay rows, so that a box may be too large
    # and nothing is lost. A side that the text bounds itself is left as it is
    added = [
        Atom(Term({("X", index): Fraction(1 if upper else -1)}, -value if upper else value), False, 0)
        for (index, upper), value in sorted(ends.items())
        if (index, upper) not in stated
    ]
    return And((formula, *added))


def _implied_end(atom: Atom, index: int, ends: Mapping[tuple[int, bool], Fraction]) -> Fraction | None:
    """What an atom of inputs, ``sum of factors + constant <= 0``, says of one of them, given ends of the others."""
    rest = atom.term.constant
    for (_, other), factor in atom.term.factors.items():
        if other != index:
            # the others at those ends that leave this one the most room
            end = ends.get((other, factor < 0))
            if end is None:
                return None
            rest += factor * end
    return -rest / atom.term.factors["X", index]
