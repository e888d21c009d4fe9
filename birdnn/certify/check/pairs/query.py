"""VNN-LIB 2.0 about two networks, read by the checker itself.

Understood are ``(vnnlib-version <2.0>)``, two declarations of networks with one input and one output of ``real``
numbers, ``isomorphic-to`` and ``equal-to``, and assertions over ``and``, ``or``, ``<= >= < > ==`` and linear ``+ - *``.
Inputs that are said to be equal wherever the formula holds are one variable. Where it compares inputs in another way,
it is read for counterexamples only. Everything that is not named here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import prod

from birdnn.certify.check.files import File
from birdnn.certify.check.statement import Atom, Linear, Reader, Statement, TooLong, Tree, first_word, relates_inputs

_PLACE = r"\[(?:0|[1-9][0-9]{0,6})(?:,(?:0|[1-9][0-9]{0,6}))*\]"
_TOKEN = re.compile(
    rf"""(?:[ \t\n]|\r\n)+
      | (?P<comment>;[^\r\n]*)
      | (?P<token>[()]
          | (?: <[0-9]+\.[0-9]+> | [A-Za-z][0-9A-Za-z_-]* (?:{_PLACE})? | {_PLACE}
              | -?[0-9]+(?:\.[0-9]+)? | [<>]=? | == | [+*-] )(?=[()\ \t\r\n;]|\Z))
      | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z][0-9A-Za-z_]*")
_WORDS = frozenset({"and", "or"})
"""Of the language, which name nothing."""

_MAX_ENTRIES = 1 << 18
"""Of a declared tensor."""


@dataclass(frozen=True)
class Declared:
    """A network of the query: its name, its sizes, and the earlier one that it is said to be equal to."""

    name: str
    n_inputs: int
    n_outputs: int
    equal: str = ""


@dataclass(frozen=True)
class Query:
    """What a query says is unsafe.

    Attributes:
        networks: two, as they are declared.
        statement: about the variables, and the outputs of the first network followed by those of the second. Where it
            is relational it holds for inputs of single precision only, whatever they are: nobody may prove it.
        reads: for each network, the variable that each of its inputs is. Variables are numbered as their first inputs
            come, the first network's before the second's.
    """

    networks: tuple[Declared, Declared]
    statement: Statement
    reads: tuple[tuple[int, ...], tuple[int, ...]]

    def variables(self, x: Sequence[Fraction]) -> tuple[Fraction, ...] | None:
        """The variables, from the inputs of both networks; None where inputs differ that are one."""
        found = dict[int, Fraction]()
        for variable, value in zip(chain(*self.reads), x, strict=True):
            if found.setdefault(variable, value) != value:
                return None
        return tuple(found[variable] for variable in range(len(found)))


def read_query(file: File) -> Query:
    """The query in ``file``.

    Raises:
        FormatError: it says something that this checker does not know, or nothing at all.
        Uncertain: it says something that readers of VNN-LIB may take in two ways.
    """
    reader = _Reader(file)
    try:
        return reader.query()
    except TooLong:
        raise reader.fail("numbers that grow so long") from None


class _Reader(Reader):
    """Reads one query.

    Attributes:
        tensors: of each declared one its kind, X or Y, its shape, and the number of its first entry among those of its
            kind in all networks.
        variable: of each input, see `Query.reads`.
    """

    def __init__(self, file: File) -> None:
        super().__init__(file)
        self.networks: list[Declared] = []
        self.tensors: dict[str, tuple[str, tuple[int, ...], int]] = {}
        self.variable: list[int] = []

    def query(self) -> Query:
        """The whole text."""
        asserted = self._read_assertions()
        if len(self.networks) != 2:
            raise self.fail(f"queries about {len(self.networks)} networks, only about two")
        first, second = self.networks
        n_inputs, n_outputs = first.n_inputs + second.n_inputs, first.n_outputs + second.n_outputs
        # Read twice: first with a variable for each input, to see which are equal wherever the formula holds, then with
        # the variables.
        self.variable = list(range(n_inputs))
        self.variable = self._merge_equal_inputs([atom for tree in asserted for atom in self._certain_atoms(tree)])
        branches = self._formula_branches(["and", *asserted])
        n_variables, columns = 1 + max(self.variable), [f"Y_{i}" for i in range(n_outputs)]
        relational = any(relates_inputs(linear) for branch in branches for linear, _ in branch)
        if relational:
            columns += [f"X_{i}" for i in range(n_variables)]
            # Executions have no other numbers, and a variable that is only compared with another has no bounds.
            branches = [(*branch, *_single_precision_atoms(n_variables)) for branch in branches]
        pairs = [
            pair for branch in branches if (pair := self._pair_of_branch(branch, n_variables, columns)) is not None
        ]
        if not pairs:
            raise self.fail("assertions that contradict each other")
        ways = tuple(self.variable[: first.n_inputs]), tuple(self.variable[first.n_inputs :])
        return Query((first, second), Statement(tuple(pairs), n_variables, n_outputs, relational), ways)

    def _token_pattern(self) -> re.Pattern[str]:
        return _TOKEN

    def _read_assertions(self) -> list[Tree]:
        """The assertions, behind what is declared."""
        commands = self._read_commands()
        if commands[:1] != [["vnnlib-version", "<2.0>"]]:
            raise self.fail("a query that does not begin with (vnnlib-version <2.0>)")
        asserted: list[Tree] = []
        for command in commands[1:]:
            if command[:1] == ["declare-network"] and not asserted:
                self._read_network(command[1:])
            elif command[:1] == ["assert"] and len(command) == 2:
                asserted.append(command[1])
            else:
                raise self.fail(f"{first_word(command)} there")
        return asserted

    def _read_network(self, parts: list[Tree]) -> None:
        name, rest, equal = parts[0] if parts else "", parts[1:], ""
        before = [net.name for net in self.networks]
        if not isinstance(name, str):
            raise self.fail("a network without a name")
        self._require_new_name(name, before)
        relation = rest[0] if rest else ""
        if isinstance(relation, list) and relation[:1] in (["isomorphic-to"], ["equal-to"]):
            del rest[0]
            if len(relation) != 2 or relation[1] not in before:
                raise self.fail(f"{first_word(relation)} something that is no network before")
            equal = str(relation[1]) if relation[0] == "equal-to" else ""
        if len(rest) != 2:
            raise self.fail("a network of other than one input and one output")
        sizes = self._read_tensor(rest[0], "X", "input"), self._read_tensor(rest[1], "Y", "output")
        self.networks.append(Declared(name, *sizes, equal))

    def _read_tensor(self, tree: Tree, kind: str, said: str) -> int:
        """Declare a tensor; its size."""
        if not isinstance(tree, list) or len(tree) != 4 or tree[0] != f"declare-{said}":
            raise self.fail(f"another form than (declare-{said} NAME real [SHAPE])")
        name, element, place = tree[1:]
        if element != "real" or not isinstance(place, str) or place[:1] != "[":
            raise self.fail(f"{said}s of another type than real, or without a shape")
        shape = _parse_indices(place)
        size = prod(shape)
        if not 0 < size <= _MAX_ENTRIES:
            raise self.fail(f"an {said} of shape {list(shape)}")
        self._require_new_name(str(name), list(self.tensors))
        # This network is not in the list yet: what stands there is before it.
        n = sum(net.n_inputs if kind == "X" else net.n_outputs for net in self.networks)
        self.tensors[str(name)] = kind, shape, n
        return size

    def _require_new_name(self, name: str, taken: Sequence[str]) -> None:
        if not _NAME.fullmatch(name) or name in _WORDS or name in taken:
            raise self.fail(f"the name {first_word(name)}, or a name that is given twice")

    def _certain_atoms(self, tree: Tree) -> Iterator[Atom]:
        """What holds wherever a formula does."""
        if isinstance(tree, list) and tree[:1] == ["and"]:
            for part in tree[1:]:
                yield from self._certain_atoms(part)
        # What only one branch of an `or` says does not hold everywhere.
        elif isinstance(tree, list) and tree and tree[0] != "or":
            yield from self._comparison_atoms(tree[0], [self._linear_term(part) for part in tree[1:]])

    def _merge_equal_inputs(self, atoms: list[Atom]) -> list[int]:
        """The variable of each input: one for all that are at most each other."""
        below = {pair for linear, strict in atoms if not strict and (pair := _ordered_inputs(linear)) is not None}
        leader = list(range(len(self.variable)))

        def of(index: int) -> int:
            while leader[index] != index:
                index = leader[index]
            return index

        for low, high in below:
            if (high, low) in below:
                # The first input leads, so that variables are numbered as their first inputs come.
                one, other = sorted((of(low), of(high)))
                leader[other] = one
        numbers = dict[int, int]()
        return [numbers.setdefault(of(index), len(numbers)) for index in range(len(leader))]

    def _formula_branches(self, tree: Tree) -> list[tuple[Atom, ...]]:
        if isinstance(tree, str) or len(tree) < 2:
            raise self.fail(f"the formula {first_word(tree)}")
        return super()._formula_branches(tree)

    def _comparison_atoms(self, relation: Tree, terms: list[Linear]) -> tuple[Atom, ...]:
        if len(terms) != 2:
            raise self.fail(f"{first_word(relation)} with {len(terms)} terms as a formula")
        return super()._comparison_atoms("=" if relation == "==" else relation, terms)

    def _linear_term(self, tree: Tree) -> Linear:
        if not isinstance(tree, str):
            # VNN-LIB 2.0 has none; the reader of version 1.0 would take it.
            if tree[:1] == ["/"]:
                raise self.fail("division")
            return super()._linear_term(tree)
        name, bracket, rest = tree.partition("[")
        if not bracket:
            return super()._linear_term(tree)
        kind, shape, first = self.tensors.get(name, ("", (), 0))
        place = _parse_indices(bracket + rest)
        if len(place) != len(shape) or not all(at < size for at, size in zip(place, shape, strict=True)):
            raise self.fail(f"{first_word(tree)}, which is no entry of an input or an output")
        index = first
        for depth, at in enumerate(place):
            # Row by row, as tensors are stored.
            index += at * prod(shape[depth + 1 :])
        index = self.variable[index] if kind == "X" else index
        return Linear({f"{kind}_{index}": Fraction(1)}, Fraction(0))


def _single_precision_atoms(n_variables: int) -> list[Atom]:
    """That all variables are numbers of single precision, as those of an execution are: a comparison may be all that
    bounds one."""
    largest, one = Fraction(2) ** 128, Fraction(1)
    return [(Linear({f"X_{i}": sign * one}, -largest), False) for i in range(n_variables) for sign in (1, -1)]


def _parse_indices(text: str) -> tuple[int, ...]:
    """The numbers in brackets."""
    return tuple(int(number) for number in text[1:-1].split(","))


def _ordered_inputs(linear: Linear) -> tuple[int, int] | None:
    """``(i, j)`` where ``linear <= 0`` says that input i is at most input j."""
    # Anything more is a relation that no variable can stand for.
    if linear.constant or len(linear.factors) != 2 or any(name[0] != "X" for name in linear.factors):
        return None
    (one, a), (other, b) = linear.factors.items()
    if a != -b:
        return None
    low, high = (one, other) if a > 0 else (other, one)
    return int(low[2:]), int(high[2:])
