"""The walk down a tree, with bounds that the test gives: what it asks, and what it lets pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birdnn.certify.check import Rejected, files
from birdnn.certify.check.certificate import LEAF, Region, _count_splits_above
from birdnn.certify.check.network import read_network
from birdnn.certify.check.statement import Row
from birdnn.certify.check.tree import Items, Rows, Walk, padded_rows
from tests.certify.cases import network

Least = Callable[[int, int, np.ndarray, np.ndarray], float]
"""Minimum of a plane, from its node's place in the batch, its polytope and the corners of a box."""


@dataclass
class Given:
    """An engine that says what it is told to, and writes down what it is asked."""

    least: Least
    low: float = -1.0
    name: str = "given"
    heights: list[tuple[int, np.ndarray]] = field(default_factory=list)
    asked: list[tuple[int, list[int]]] = field(default_factory=list)
    relaxed: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)
    items: list[Items] = field(default_factory=list)

    def start(self, rows: Rows, boxes: int) -> Given:
        return self

    def enter(self, k: int, h: np.ndarray) -> None:
        self.heights.append((k, h.copy()))

    def neurons(self, k: int, box: np.ndarray, neuron: np.ndarray, corners: Any) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append((k, neuron[box == 0].tolist()))
        low = np.where(neuron == 0, 0.5, self.low)  # the first neuron of a layer is positive, the others are open
        return low, np.full(len(box), 2.0)

    def relax(self, k: int, l: np.ndarray, u: np.ndarray, error: np.ndarray) -> None:
        self.relaxed.append((k, l.copy(), u.copy()))

    def planes(self, items: Items) -> Items:
        self.items.append(items)
        return items

    def minimum(self, planes: Items, which: np.ndarray, corners: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        of = [(int(planes.box[n]), int(planes.polytope[n])) for n in which]
        return np.array(
            [self.least(*pair, low, high) for pair, low, high in zip(of, *corners, strict=True)], dtype=float
        )


def region(
    axis: Sequence[int],
    cut: Sequence[float],
    items: Sequence[tuple[int, int]],
    faces: Sequence[tuple[int, int, float]] = (),
    strict: Sequence[bool] = (False,),
    slopes: Sequence[int] = (),
    beta: Sequence[float] = (),
) -> Region:
    """The square from 0 to 1 cut as said, items (node, polytope) of one row each, and faces (node, face, at)."""
    tree = np.array(axis)
    rows = tuple((Row((Fraction(1),), Fraction(0), some),) for some in strict)
    counts = [len(slopes)] * len(items)
    return Region(
        lower=(Fraction(0),) * 2,
        upper=(Fraction(1),) * 2,
        polytopes=rows,
        sizes=np.array([1] * len(rows)),
        axis=tree,
        rank=np.cumsum(tree != LEAF) - 1,
        cut=np.array(cut, dtype=float),
        face_node=np.array([face[0] for face in faces], dtype=np.intp),
        face=np.array([face[1] for face in faces], dtype=np.intp),
        face_at=np.array([face[2] for face in faces], dtype=float),
        item_node=np.array([item[0] for item in items], dtype=np.intp),
        item_polytope=np.array([item[1] for item in items], dtype=np.intp),
        multiplier=np.arange(1.0, len(items) + 1),
        multiplier_start=np.arange(len(items) + 1),
        slope_start=np.cumsum([0, *counts]),
        neuron=np.array(list(slopes) * len(items), dtype=np.intp),
        slope=np.full(len(slopes) * len(items), 0.5),
        parent=np.array([0, *np.repeat(np.nonzero(tree != LEAF)[0], 2)]),
        sides=_count_splits_above(tree, 2),
        beta=np.array(beta, dtype=float),
        beta_start=np.cumsum([0, *(_count_splits_above(tree, 2)[item[0]] for item in items)]),
    )


def walk(folder: Path, engine: Given, what: Region, batch: int = 256, single: bool = False) -> int:
    """How many nodes were seen; of a network with two layers of three and of two neurons."""
    chain = read_network(files.read_file(network(folder / "net.onnx", [2, 3, 2, 1])))
    done: list[int] = []
    Walk(chain, engine, what, "here", single, None, batch, done.append).run()
    return sum(done)


LEAVES = [LEAF] * 2
CUT = [0, *LEAVES], [0.5], [(1, 0), (2, 0)]


def above(value: float) -> Least:
    return lambda node, polytope, low, high: value


@pytest.mark.parametrize(
    ("least", "strict", "closes"),
    [(1e-300, False, True), (0.0, False, False), (0.0, True, True), (-1e-300, True, False)],
)
def test_when_a_polytope_is_closed(tmp_path: Path, least: float, strict: bool, closes: bool) -> None:
    what = region([LEAF], [], [(0, 0)], strict=[strict])
    if closes:
        assert walk(tmp_path, Given(above(least)), what) == 1
    else:
        with pytest.raises(Rejected, match="left open"):
            walk(tmp_path, Given(above(least)), what)


@pytest.mark.parametrize("closed", [0, 1])
def test_a_leaf_closes_every_polytope(tmp_path: Path, closed: int) -> None:
    engine = Given(lambda node, polytope, low, high: 1.0 if polytope == closed else -1.0)
    with pytest.raises(Rejected, match="left open"):
        walk(tmp_path, engine, region([LEAF], [], [(0, 0), (0, 1)], strict=[False, False]))


def at_the_edge(value: float) -> Least:
    """Nothing is known of boxes that are not cut; of what a face cuts off, this; below a cut all is closed."""

    def least(node: int, polytope: int, low: np.ndarray, high: np.ndarray) -> float:
        whole = bool((low == 0).all() and (high == 1).all())
        return -1.0 if whole else value if bool((high <= 0.25).any()) else 1.0

    return least


@pytest.mark.parametrize(
    ("least", "strict", "moves"), [(1e-300, False, True), (0.0, False, False), (0.0, True, True), (-1.0, True, False)]
)
def test_how_far_a_face_may_move(tmp_path: Path, least: float, strict: bool, moves: bool) -> None:
    """The lower face of axis 0 to a quarter: the part below has to be clear."""
    what = region([0, *LEAVES], [0.5], [(0, 0), (1, 0), (2, 0)], [(0, 0, 0.25)], [strict])
    if moves:
        assert walk(tmp_path, Given(at_the_edge(least)), what) == 3
    else:
        with pytest.raises(Rejected, match="farther than a plane"):
            walk(tmp_path, Given(at_the_edge(least)), what)


def whole(low: np.ndarray, high: np.ndarray) -> bool:
    return bool((low == 0).all() and (high == 1).all())


def known_in_parts(node: int, polytope: int, low: np.ndarray, high: np.ndarray) -> float:
    """Nothing is known of the whole square, and everything of a part."""
    return -1.0 if whole(low, high) else 1.0


def test_a_face_may_stay_where_it_is(tmp_path: Path) -> None:
    what = region([0, *LEAVES], [0.5], [(0, 0), (1, 0), (2, 0)], [(0, 0, 0.0), (0, 1, 1.0)])
    assert walk(tmp_path, Given(known_in_parts), what) == 3


def test_a_face_is_clear_of_every_open_polytope(tmp_path: Path) -> None:
    items = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    both, faces = (False, False), [(0, 0, 0.25)]

    def least(clear: int) -> Least:
        return lambda n, p, low, high: -1.0 if whole(low, high) or (high[0] == 0.25 and p != clear) else 1.0

    assert (
        walk(
            tmp_path,
            Given(known_in_parts),
            region(*CUT[:2], items, faces, both),
        )
        == 3
    )
    for clear in (0, 1):
        with pytest.raises(Rejected, match="farther than a plane"):
            walk(tmp_path, Given(least(clear)), region(*CUT[:2], items, faces, both))
    for missing in (0, 1):
        some = [item for item in items if item != (0, missing)]
        with pytest.raises(Rejected, match="no plane"):
            walk(
                tmp_path,
                Given(known_in_parts),
                region(*CUT[:2], some, faces, both),
            )


@pytest.mark.parametrize(("low", "high", "crosses"), [(0.25, 0.75, False), (0.5, 0.5, False), (0.75, 0.25, True)])
def test_faces_may_meet_and_not_cross(tmp_path: Path, low: float, high: float, crosses: bool) -> None:
    what = region([1, *LEAVES], [0.5], [(0, 0), (1, 0), (2, 0)], [(0, 0, low), (0, 1, high)])
    engine = Given(known_in_parts)
    if crosses:
        with pytest.raises(Rejected, match="cross"):
            walk(tmp_path, engine, what)
    else:
        assert walk(tmp_path, engine, what) == 3


@pytest.mark.parametrize(("cut", "inside"), [(0.0, False), (1e-9, True), (1.0, False), (1 - 1e-9, True)])
def test_a_cut_is_inside(tmp_path: Path, cut: float, inside: bool) -> None:
    engine = Given(known_in_parts)
    if inside:
        assert walk(tmp_path, engine, region([0, *LEAVES], [cut], CUT[2])) == 3
    else:
        with pytest.raises(Rejected, match="cut outside"):
            walk(tmp_path, engine, region([0, *LEAVES], [cut], CUT[2]))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 256])
def test_every_node_is_seen_once(tmp_path: Path, batch: int) -> None:
    """A tree of fifteen nodes, all leaves of which have to be closed."""
    axis, cuts = [0, 1, 1, 0, 0, 0, 0, *[LEAF] * 8], [0.5, 0.5, 0.5, 0.25, 0.25, 0.75, 0.75]
    items = [(node, 0) for node in range(7, 15)]
    assert walk(tmp_path, Given(above(1.0)), region(axis, cuts, items), batch) == 15
    for leaf in range(7, 15):
        some = [item for item in items if item[0] != leaf]
        with pytest.raises(Rejected, match=f"node {leaf}: a polytope is left open"):
            walk(tmp_path, Given(above(1.0)), region(axis, cuts, some), batch)


def test_what_the_engine_is_asked(tmp_path: Path) -> None:
    """Every neuron of the first layer, later ones only where they are bent; bounds that only get tighter."""
    engine = Given(known_in_parts)
    walk(tmp_path, engine, region([0, *LEAVES], [0.25], CUT[2]), 1)
    assert engine.asked[:2] == [(0, [0, 1, 2]), (1, [0, 1])]  # the root, of which nothing is known
    assert engine.asked[2:4] == [(0, [0, 1, 2]), (1, [1])]  # its halves
    assert engine.heights[0][1].tolist() == [[1, 1]]
    assert engine.relaxed[0][1].tolist() == [[0.5, -1, -1]]
    engine = Given(known_in_parts)
    what = region([0, *LEAVES], [0.25], CUT[2])
    lower = Region(**{**vars(what), "lower": (Fraction(-3), Fraction(0))})
    engine.least = lambda n, p, low, high: -1.0 if bool((low[0] == -3) & (high[0] == 1)) else 1.0
    walk(tmp_path, engine, lower, 1)
    assert engine.heights[0][1].tolist() == [[3, 1]]


def test_a_neuron_is_split(tmp_path: Path) -> None:
    """Its sides have the box of their parent, whose bounds are kept but for its own; items come with multipliers."""
    engine = Given(lambda n, p, low, high: 1.0)
    what = region([2 + 4, LEAF, LEAF], [0.5], [(1, 0), (2, 0)], beta=[3.0, 4.0])
    assert walk(tmp_path, engine, what, 2) == 3
    assert engine.asked == [(0, [0, 1, 2]), (1, [0, 1])], "only the root is tightened"
    (_, low, up), (_, low_above, up_above) = engine.relaxed[1], engine.relaxed[3]
    assert (low.tolist(), up.tolist()) == ([[0.5, -1]], [[2, 2]])
    assert (low_above.tolist(), up_above.tolist()) == ([[0.5, -1], [0.5, 0.5]], [[2, 0.5], [2, 2]])
    first, second = engine.items[-1].sides
    assert not len(first.item)
    expected = [0, 1], [1, 1], [-1, 1], [0.5, 0.5], [3, 4], [1, 1]
    found = second.item, second.neuron, second.side, second.at, second.beta, second.count
    assert tuple(column.tolist() for column in found) == expected


def test_neurons_are_split_above_and_below_cuts(tmp_path: Path) -> None:
    """Below a cut everything is bounded anew; multipliers are those of the splits above, from the root on."""
    axis, cuts = [0, 5, LEAF, 2, LEAF, 1, LEAF, LEAF, LEAF], [0.5, 0.25, -3.0, 0.5]
    items = [(node, 0) for node in (2, 4, 6, 7, 8)]
    engine = Given(lambda n, p, low, high: 1.0)
    assert walk(tmp_path, engine, region(axis, cuts, items, beta=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), 1) == 9
    found = [[[*zip(of.neuron, of.side, of.at, of.beta, strict=True)] for of in items.sides] for items in engine.items]
    assert [layers for layers in found if layers] == [
        [[], [(0, 1, 0.25, 1)]],
        [[(0, 1, -3, 3)], [(0, -1, 0.25, 2)]],
        [[(0, -1, -3, 7)], [(0, -1, 0.25, 6)]],
        [[(0, -1, -3, 5)], [(0, -1, 0.25, 4)]],
    ]
    assert [k for k, _ in engine.asked].count(0) == 5, "the root, its halves, and what is cut below a neuron"


def test_both_sides_of_a_neuron_have_to_be_closed(tmp_path: Path) -> None:
    for missing in (1, 2):
        items = [(node, 0) for node in (1, 2) if node != missing]
        with pytest.raises(Rejected, match=f"node {missing}: a polytope is left open"):
            walk(tmp_path, Given(lambda n, p, low, high: 1.0), region([2, LEAF, LEAF], [0.0], items, beta=[0.0]))


def test_bounds_only_get_tighter(tmp_path: Path) -> None:
    """What is inherited stays where the engine finds less."""
    engine = Given(known_in_parts)
    found = iter([-1.0, -1.0, -5.0, -5.0, -5.0, -5.0])
    plain = engine.neurons

    def neurons(k: int, box: np.ndarray, neuron: np.ndarray, corners: Any) -> tuple[np.ndarray, np.ndarray]:
        engine.low = next(found)
        low, high = plain(k, box, neuron, corners)
        return low, high - engine.low - 1

    engine.neurons = neurons  # type: ignore[method-assign]
    walk(tmp_path, engine, region([0, *LEAVES], [0.25], CUT[2]), 2)
    for _, l, u in engine.relaxed[2:]:
        assert (l >= -1).all()
        assert (u <= 2).all()


def test_items_come_with_what_is_theirs(tmp_path: Path) -> None:
    """Multipliers of their rows, padded by zeros, and slopes by layer: neurons 0 to 2 and 3 to 4."""
    one = region([LEAF], [], [(0, 0), (0, 1)], strict=(False, False), slopes=[0, 2, 3, 4])
    rows = Row((Fraction(1),), Fraction(0), False)
    what = Region(
        **{
            **vars(one),
            "polytopes": ((rows, rows), (rows,)),
            "sizes": np.array([2, 1]),
            "multiplier": np.array([1.0, 2.0, 3.0]),
            "multiplier_start": np.array([0, 2, 3]),
        }
    )
    engine = Given(above(1.0))
    walk(tmp_path, engine, what)
    (items,) = engine.items
    assert items.multipliers.tolist() == [[1, 2], [3, 0]]
    (first, at_first, _), (second, at_second, slope) = items.slopes
    assert (first.tolist(), at_first.tolist()) == ([0, 0, 1, 1], [0, 2, 0, 2])
    assert (second.tolist(), at_second.tolist()) == ([0, 0, 1, 1], [0, 1, 0, 1])
    assert slope.tolist() == [0.5] * 4


def test_an_execution_that_could_overflow(tmp_path: Path) -> None:
    """In one input of two; over the reals nothing overflows."""
    wide = Region(**{**vars(region([LEAF], [], [(0, 0)])), "upper": (Fraction(10**38), Fraction(1))})
    assert walk(tmp_path, Given(above(1.0)), wide) == 1
    with pytest.raises(Rejected, match="could overflow in layer 0"):
        walk(tmp_path, Given(above(1.0)), wide, single=True)
    assert walk(tmp_path, Given(above(1.0)), region([LEAF], [], [(0, 0)]), single=True) == 1


def test_a_polytope_is_strict_where_all_of_its_rows_are() -> None:
    """One closed row is enough for its border to count."""
    strict, closed = (Row((Fraction(1),), Fraction(0), some) for some in (True, False))
    assert padded_rows(((strict,), (strict, closed), (strict, strict), (closed,), ()), 1).strict.tolist() == [
        1,
        0,
        1,
        0,
        0,
    ]
