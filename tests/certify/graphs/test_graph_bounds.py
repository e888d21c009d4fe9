"""No bound of the checker on a graph is contradicted by an exact value, whatever the size of its numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import ctx

from birdnn.certify.check.exact import fmpq_of_fraction
from birdnn.certify.check.files import Rejected
from birdnn.certify.check.graphs import exact, floats, nodes
from birdnn.certify.check.graphs.exact import GraphExactEngine, _as_ball, evaluate
from birdnn.certify.check.graphs.floats import GraphFloatEngine
from birdnn.certify.check.graphs.nodes import Affine, Bend, Graph
from birdnn.certify.check.graphs.walk import GraphPass, _depends_on_bounds
from birdnn.certify.check.layers import Activation
from birdnn.certify.check.lines import slope_range
from birdnn.certify.check.rounding import round_towards
from birdnn.certify.check.statement import Row
from birdnn.certify.check.tree import Items, Rows, Sides, padded_rows
from tests.certify.graphs.models import drawn, pooled
from tests.certify.graphs.test_graph_reader import read

ENGINES = (GraphFloatEngine, GraphExactEngine)


def values(graph: Graph, x: list[Fraction]) -> list[list[Any]]:
    """Of all nodes at a point: fractions, or balls."""
    parts = [Graph(graph.nodes[:k], graph.sizes[: k + 1], graph.single) for k in range(1, len(graph.nodes) + 1)]
    return [list(x), *(evaluate(part, x) for part in parts)]


def _between(a: float, b: float, quarters: int) -> Fraction:
    return Fraction(a) + (Fraction(b) - Fraction(a)) * quarters / 4


def below(low: float, value: Any) -> bool:
    """Is a number at most a value, as far as its ball tells?"""
    if isinstance(value, Fraction):
        return low == -np.inf or Fraction(low) <= value
    with ctx.workprec(1024):
        return low == -np.inf or not fmpq_of_fraction(Fraction(low)) > value


EXTREMES = (1.0, 1e-30, 1e20, 5e-324, 1e-310, 1e90, 1e115, 1e122, 1e150, 1e-100, 1e300, 1e-200)


def scaled(graph: Graph, draw: np.random.Generator) -> Graph:
    """The graph with the maps of each node, and its offsets, multiplied by powers of two, mostly far up and back."""
    nodes: list[Any] = []
    level = 0
    for node in graph.nodes:
        if isinstance(node, Affine):
            power = int(draw.choice([0, 0, 0, 1, -1])) * int(draw.integers(0, 850))
            if draw.random() < 0.4:
                power = min(max(-level, -850), 850)
            offset = int(draw.choice([0, 0, 1, -1])) * int(draw.integers(0, 850))
            sources = tuple((s, replace(each, table=each.table * Fraction(2) ** power)) for s, each in node.sources)
            if not any(0 < abs(value) < Fraction(1, 1 << 900) for _, each in sources for value in each.table):
                node, level = replace(node, sources=sources), level + power
            node = replace(node, offset=node.offset * Fraction(2) ** offset)
        nodes.append(node)
    return Graph(tuple(nodes), graph.sizes, graph.single)


class Asked:
    """A graph, two boxes, a point of each, and random items on them.

    Args:
        seed: of everything drawn.
        sided: are neurons split, so that the points lie on the sides?
    """

    def __init__(self, seed: int, sided: bool = False) -> None:
        draw = self.draw = np.random.default_rng([seed, 3])
        size = int(draw.choice([0, 0, -40, 30]))
        self.graph = read(pooled(seed, size) if seed % 5 == 0 else drawn(seed, size, steps=4))
        n = self.graph.n_inputs
        width = draw.choice([0.0, 1e-9, 0.1, 1.0], (2, 1)) * draw.random((2, n))
        at = draw.normal(size=(2, n)) * draw.choice([1.0, 1e-30, 1e20], p=[0.8, 0.1, 0.1])
        if seed % 3 == 2:  # as large and as small as float64 knows numbers
            self.graph = scaled(self.graph, draw)
            width = draw.choice([0.0, 1e-9, 1.0, 5e-324, 1e-320], (2, 1)) * draw.random((2, n))
            at = draw.normal(size=(2, n)) * draw.choice(EXTREMES)
        self.lower, self.upper = at - width, at + width
        x = [
            [_between(a, b, int(draw.integers(0, 5))) for a, b in zip(*box, strict=True)]
            for box in zip(self.lower, self.upper, strict=True)
        ]
        self.values = [values(self.graph, point) for point in x]
        self.x = x
        polytope = [tuple(_row(draw, self.graph.n_outputs) for _ in range(int(draw.integers(1, 3)))) for _ in range(2)]
        self.rows: Rows = padded_rows(tuple(polytope), self.graph.n_outputs)
        self.sided = sided
        self.cut: dict[int, list[tuple[int, int, float, float]]] = {}

    def tightened(self, passed: GraphPass, check: Callable[[str, float, Any], None]) -> None:
        """Through the nodes as the walk does; every bound is asked for."""
        corners = self.lower, self.upper
        passed.begin(corners)
        for k, node in enumerate(self.graph.nodes):
            if isinstance(node, Affine):
                passed.affine(k)
            else:
                l, u = (side.copy() for side in passed.interval(node.source))
                box, entry = np.nonzero(_depends_on_bounds(node, l, u))
                if len(box):
                    low, up = passed.neurons(node.source, box, entry, corners)
                    for i, j, a, b in zip(box, entry, low, up, strict=True):
                        value = self.values[i][node.source][j]
                        check("neurons", float(a), value)
                        check("neurons", float(-b), -value)
                    l[box, entry], u[box, entry] = np.maximum(l[box, entry], low), np.minimum(u[box, entry], up)
                if self.sided and k not in self.cut:
                    self._split(k, l, u)
                for i, j, side, at in ((i, j, s, a) for i, j, s, a in self.cut.get(k, ())):
                    if side > 0:
                        l[i, j] = max(l[i, j], at)
                    else:
                        u[i, j] = min(u[i, j], at)
                passed.relax(k, l, u)
            for i in range(2):
                low, up = (side[i] for side in passed.interval(k + 1))
                for j, value in enumerate(self.values[i][k + 1]):
                    check("interval", float(low[j]), value)
                    check("interval", float(-up[j]), -value)

    def _split(self, k: int, l: np.ndarray, u: np.ndarray) -> None:
        """Choose sides on which the points lie."""
        node = self.graph.nodes[k]
        assert not isinstance(node, Affine)
        found = []
        for i in range(2):
            j = int(self.draw.integers(l.shape[1]))
            value = self.values[i][node.source][j]
            near = round_towards(value, -np.inf) if isinstance(value, Fraction) else float(value.mid())
            side = float(self.draw.choice([-1, 1]))
            at = near - side * float(self.draw.random()) * 0.1 * abs(near)
            if np.isfinite(at) and bool(_times(Fraction(side), _sum(value, -Fraction(at))) >= 0):
                found.append((i, j, side, at))
        self.cut[k] = found

    def items(self) -> Items:
        """Each polytope on each box, with random multipliers, slopes and multipliers of sides."""
        draw, graph = self.draw, self.graph
        box, polytope = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        sizes = np.array([len(rows) for rows in self.rows.exact])[polytope]
        multipliers = draw.random((4, self.rows.a.shape[1])).astype(np.float32).astype(float) + 0.01
        multipliers = np.where(np.arange(multipliers.shape[1]) < sizes[:, None], multipliers, 0.0)
        slopes, sides = [], []
        counts = [sum(len([1 for i, *_ in cuts if i == b]) for cuts in self.cut.values()) for b in range(2)]
        for k in graph.bends:
            node = graph.nodes[k]
            assert not isinstance(node, Affine)
            item, neuron = np.nonzero(draw.random((4, graph.sizes[node.source])) < 0.4)
            low, high = slope_range(node.activation) if isinstance(node, Bend) else (0.0, 0.0)
            slope = np.clip((low + draw.random(len(item)) * (high - low)).astype(np.float32), low, high).astype(float)
            some = slice(None) if isinstance(node, Bend) else slice(0)
            slopes.append((item[some], neuron[some], slope[some]))
            each = [(n, j, s, a, float(np.float32(draw.random())), counts[b]) for n, b in enumerate(box)
                    for i, j, s, a in self.cut.get(k, ()) if i == b]  # fmt: skip
            columns = [np.array(column) for column in zip(*each, strict=True)] or [np.empty(0)] * 6
            kinds = (int, int, float, float, float, int)
            sides.append(Sides(*(column.astype(kind) for column, kind in zip(columns, kinds, strict=True))))
        return Items(box, polytope, multipliers, tuple(slopes), tuple(sides) if self.sided else ())

    def margin(self, n: int, items: Items) -> Any:
        """The exact value of an item's combination at the point of its box, less what its sides take."""
        b = int(items.box[n])
        y = self.values[b][-1]
        total: Any = Fraction(0)
        for weight, row in zip(items.multipliers[n], self.rows.exact[items.polytope[n]], strict=False):
            dot: Any = -row.bound
            for c, v in zip(row.coefficients, y, strict=True):
                dot = _sum(dot, _times(c, v))
            total = _sum(total, _times(Fraction(float(weight)), dot))
        for k, sides in zip(self.graph.bends, items.sides, strict=False):
            node = self.graph.nodes[k]
            assert not isinstance(node, Affine)
            for item, j, side, at, beta in zip(sides.item, sides.neuron, sides.side, sides.at, sides.beta, strict=True):
                if item == n:
                    way = _sum(self.values[b][node.source][j], Fraction(-float(at)))
                    total = _sum(total, _times(Fraction(-float(beta) * float(side)), way))
        return total


def _times(factor: Fraction, value: Any) -> Any:
    return factor * value if isinstance(value, Fraction) else fmpq_of_fraction(factor) * value


def _sum(a: Any, b: Any) -> Any:
    exact = isinstance(a, Fraction) and isinstance(b, Fraction)
    return a + b if exact else _as_ball(a) + _as_ball(b)


def _row(draw: np.random.Generator, outputs: int) -> Row:
    values = np.ldexp(draw.normal(size=outputs + 1), int(draw.choice([0, -20, 20, -400, 400, -900])))
    return Row(tuple(Fraction(float(v)) for v in values[:-1]), Fraction(float(values[-1])), False).scaled()[0]


def wrong(engine: type, seeds: range, sided: bool = False) -> int:
    """How many bounds exact values contradict."""
    count = 0

    def check(what: str, low: float, value: Any) -> None:
        nonlocal count
        del what
        count += not below(low, value)

    for seed in seeds:
        # exact arithmetic refuses what lies beyond float64
        with np.errstate(all="ignore"), ctx.workprec(1024), contextlib.suppress(Rejected):
            asked = Asked(seed, sided)
            passed = engine(asked.graph).start(asked.rows, 2)
            asked.tightened(passed, check)
            items = asked.items()
            planes = passed.planes(items)
            for corners in ((asked.lower, asked.upper), _points(asked.x)):
                least = passed.minimum(planes, np.arange(4), tuple(side[items.box] for side in corners))
                for n, low in enumerate(least):
                    check("planes", float(low), asked.margin(n, items))
    return count


def _points(x: list[list[Fraction]]) -> tuple[np.ndarray, np.ndarray]:
    """Tiny boxes around the points, on which a plane has nothing but its account of rounding."""
    middle = np.array([[float(value) for value in point] for point in x])
    return np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sided", [False, True])
def test_bounds_hold(engine: type, sided: bool) -> None:
    assert not wrong(engine, range(25), sided)


@pytest.mark.thorough
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sided", [False, True])
def test_many_bounds_hold(engine: type, sided: bool) -> None:
    assert not wrong(engine, range(100, 400), sided)


def test_both_arithmetics_bound_alike() -> None:
    """Float64 loses its rounding, and nothing else."""
    for seed in (seed for seed in range(30) if seed % 3 < 2):
        with np.errstate(all="ignore"):
            found = []
            for engine in ENGINES:
                asked = Asked(seed)
                passed = engine(asked.graph).start(asked.rows, 2)
                asked.tightened(passed, lambda *_: None)
                items = asked.items()
                found.append(
                    passed.minimum(passed.planes(items), np.arange(4), (asked.lower[items.box], asked.upper[items.box]))
                )
        finite = np.isfinite(found[0])
        size = 1 + np.abs(found[1])
        assert (found[0] <= found[1] + 1e-9 * size)[finite].all()


def _no_slack(self: Any, k: int, right: Any = floats.GraphFloatPass.affine) -> None:
    right(self, k)
    self.slack[k] = self.slack[k] * 0


def _inward(
    self: Any, act: Any, l: Any, u: Any, low: Any, high: Any, right: Any = floats.GraphFloatPass._lines_of_slopes
) -> Any:
    lines = right(self, act, l, u, low, high)
    return floats._Lines(lines.low, lines.low_offset + 1e-9, lines.up, lines.up_offset)


def _always_settled(
    self: Any, k: int, windows: Any, l: Any, u: Any, right: Any = floats.GraphFloatPass._pick_entries
) -> None:
    right(self, k, windows, l, u)
    lines = self.lines[k]
    self.lines[k] = floats._Lines(lines.low, lines.low_offset, lines.low, -lines.low_offset)


def _other_side(
    self: Any, k: int, items: Any, place: int, part: Any, right: Any = floats.GraphFloatPass._side_terms
) -> Any:
    rows, constant = right(self, k, items, place, part)
    return -rows, -constant


def _best_of_all(window: Any, l: Any, u: Any, right: Any = exact._pick_entry) -> Any:
    return right(window, l, u)[0], None


def _no_sides(self: Any, items: Any, n: int, right: Any = exact.GraphExactPass._side_terms) -> Any:
    return {k: (row, constant + 1) for k, (row, constant) in right(self, items, n).items()}


PLANTED = [
    (GraphFloatEngine, floats.GraphFloatPass, "affine", _no_slack),
    (GraphFloatEngine, floats.GraphFloatPass, "_lines_of_slopes", _inward),
    (GraphFloatEngine, floats.GraphFloatPass, "_pick_entries", _always_settled),
    (GraphFloatEngine, floats.GraphFloatPass, "_side_terms", _other_side),
    (GraphExactEngine, exact, "_pick_entry", _best_of_all),
    (GraphExactEngine, exact.GraphExactPass, "_side_terms", _no_sides),
]


@pytest.mark.parametrize(("engine", "where", "name", "bug"), PLANTED)
def test_a_planted_bug_is_noticed(
    engine: type, where: object, name: str, bug: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, bug)
    assert any(wrong(engine, range(seed, seed + 10), True) for seed in range(0, 100, 10))


@pytest.mark.parametrize("engine", ENGINES)
def test_windows_of_inactive_neurons_are_settled(engine: Any) -> None:
    """All are zero, so that none exceeds the one that is picked: a constant above them would lose what rows say."""
    one = np.array([Fraction(1)], dtype=object)
    same = nodes.Map((4, 4), np.arange(4), np.arange(4), np.zeros(4, np.intp), one)
    bend = Bend(1, Activation("relu", 0.0))
    graph = Graph((Affine(((0, same),), np.array([Fraction(0)] * 4, dtype=object)), bend,
                   nodes.Pool(2, np.arange(4)[None])), (4, 4, 4, 1), single=True)  # fmt: skip
    low, up = np.array([[-3.0, -2.0, -1.0, -0.5]]), np.array([[-1.0, 2.0, -0.5, -0.25]])
    for top in (-0.125, 2.0):  # with and without an entry that may be active
        up[0, 1] = top
        pass_ = engine(graph).start(padded_rows(((Row((Fraction(1),), Fraction(0), False),),), 1), 1)
        pass_.begin((low, up))
        pass_.affine(0)
        for k in (1, 2):
            pass_.relax(k, *pass_.interval(k))
        assert max(top, 0.0) <= float(pass_.interval(3)[1][0, 0]) <= max(top, 0.0) + 1e-9
        if engine is GraphFloatEngine:
            assert pass_.lines[2].up[0, 0] == (top < 0)
        else:
            assert (pass_.picked[2][0][0][1] is None) == (top < 0)
