"""What compiled bounds leave of a box: that of the reference, and nothing that may be unsafe is cut away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds.crown import CrownSettings
from birdnn.bounds.protocol import BoundResult, Left, Question
from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.rounding import Semantics
from birdnn.spec import Polytope
from birdnn.verify.work import Step, Work, candidate_points, examine, left_by_bounds
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    all_open,
    compiled,
    half_space,
    question_of,
    random_boxes,
    random_net,
    random_polytopes,
)

SEEDS = st.integers(0, 2**32 - 1)
WIDTHS = 0.0, 1e-16, 1e-9, 1e-3, 0.3, 2.0, 20.0


def tight_polytopes(net: Network, seed: int, rows: tuple[int, ...]) -> tuple[Polytope, ...]:
    """Polytopes that a net reaches in some places of its domain and not in others, so that planes cut."""
    outputs = net(2 * torch.rand(500, net.n_inputs, generator=torch.Generator().manual_seed(seed)) - 1)
    found = []
    for polytope in random_polytopes(seed, net.n_outputs, rows):
        margin = float(polytope.margin(outputs.detach()).quantile(0.1))
        moved = tuple(replace(row, bound=row.bound + Fraction(margin)) for row in polytope.rows)
        found.append(Polytope(rows=moved, n_outputs=net.n_outputs))
    return tuple(found)


def stepped(
    net: Network,
    polytopes: tuple[Polytope, ...],
    seed: int,
    width: float,
    semantics: Semantics,
    record: bool,
    steps: int = 2,
) -> tuple[Work, Question, Step, Left]:
    """A batch, what the loops leave of it, and what the reference leaves of it by the same bounds."""
    boxes, question = random_boxes(seed, 6, net.n_inputs, width), question_of(polytopes)
    bound = compiled(net, CPU, CrownSettings(steps=steps), semantics, record)
    opened = all_open(boxes, polytopes)
    opened[1::2, 0] = False
    batch = Work(boxes, opened, bound.root(len(boxes)), torch.arange(len(boxes)))
    step = examine(bound, question, batch)
    assert step.left is step.result.left, "the loops say nothing"
    return batch, question, step, left_by_bounds(bound, question, batch, step.result)


def check_left(batch: Work, question: Question, step: Step, theirs: Left) -> int:
    """Exclusions are equal, faces equal within rounding and outside of the exact ones; how many faces moved."""
    ours, result = step.left, step.result
    for name in ("closed", "parent", "opened", "score"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), f"{name}: not that of the reference"
    before = batch.boxes[ours.parent]
    size = torch.maximum(before.lower.abs(), before.upper.abs())
    for mine, other in ((ours.boxes.lower, theirs.boxes.lower), (ours.boxes.upper, theirs.boxes.upper)):
        assert bool(((mine - other).abs() <= 1e-15 * size).all()), "faces: not those of the reference"
    assert bool((ours.boxes.lower >= before.lower).all()), "clipping enlarges"
    assert bool((ours.boxes.upper <= before.upper).all()), "clipping enlarges"
    moved = (ours.boxes.lower > before.lower).sum() + (ours.boxes.upper < before.upper).sum()
    for row, parent in enumerate(ours.parent.tolist()):
        for item in ((result.box == parent) & ~ours.closed).nonzero()[:, 0].tolist():
            check_faces(batch, result, parent, item, ours, row)
    return int(moved)


def check_faces(batch: Work, result: BoundResult, parent: int, item: int, left: Left, row: int) -> None:
    """No face is inside of where an item's planes, in rational arithmetic, turn positive."""
    lower, upper = ([Fraction(v) for v in side[parent].tolist()] for side in (batch.boxes.lower, batch.boxes.upper))
    low, high = list(lower), list(upper)
    minima = result.plane_minimum[item].tolist()
    for slopes, minimum in zip(result.plane[item].tolist(), minima, strict=True):
        for d, slope in enumerate(slopes):
            if slope and np.isfinite(minimum):
                reach = -Fraction(minimum) / abs(Fraction(slope))
                if slope > 0:
                    high[d] = min(high[d], lower[d] + reach)
                else:
                    low[d] = max(low[d], upper[d] - reach)
    if any(a > b for a, b in zip(low, high, strict=True)):
        return  # the exact planes leave nothing, those with room something or all of it
    mine = zip(left.boxes.lower[row].tolist(), left.boxes.upper[row].tolist(), low, high, strict=True)
    assert all(Fraction(a) <= c and d <= Fraction(b) for a, b, c, d in mine), "a face is inside of the exact one"


def check_used(batch: Work, step: Step, theirs: Left) -> None:
    """As in the reference but where rounding says which of two planes cuts more."""
    ours = step.left
    assert ours.used is not None
    assert theirs.used is not None
    for item in (ours.used != theirs.used).any(1).nonzero()[:, 0].tolist():
        assert not ours.closed[item], "used: another plane closes the item"
        box = batch.boxes[step.result.box[item : item + 1]]
        lower, upper = box.cuts(step.result.plane[item : item + 1], step.result.plane_minimum[item : item + 1])
        for mine, best in ((lower, lower.amax(1)), (upper, upper.amin(1))):
            reached = (mine[0, ours.used[item]] - best[0]).abs() <= 1e-12
            assert bool((reached.any(0) | ~(mine[0, theirs.used[item]] == best[0]).any(0)).all()), "used: not the best"


def check_edges(net: Network, polytopes: tuple[Polytope, ...], seed: int, width: float, semantics: Semantics) -> None:
    """Before any step, when nothing is known of what lines lose: that of the reference, up to rounding."""
    _, question, step, theirs = stepped(net, polytopes, seed, width, semantics, False, steps=0)
    bound, known = compiled(net, CPU, None, semantics), step.result.inherited[step.left.parent]
    sensitivity = bound.sensitivity(question, step.left.opened, known).nan_to_num(nan=1.0).clamp(min=1e-300)
    scores, rows, divisible = (
        sensitivity * step.left.boxes.widths(),
        torch.arange(len(theirs.edge)),
        step.left.boxes.divisible(),
    )
    best, mine = scores[rows, theirs.edge], scores[rows, step.left.edge]
    assert bool(((mine >= best * (1 - 1e-9)) | ~divisible.any(1)).all()), "another edge than the reference cuts"


def check_suspicious(net: Network, polytopes: tuple[Polytope, ...], batch: Work, step: Step) -> int:
    """No box is passed over on which float32 or float64 violates at a candidate; how many are."""
    everywhere = replace(step, left=replace(step.left, suspicious=torch.ones_like(step.left.suspicious)))
    points = candidate_points(batch, everywhere)
    with torch.no_grad():
        outputs = [net(points.float()).double(), net.copy().double()(points)]
    margins = [torch.stack([p.margin(y) for p in polytopes], 1) for y in outputs]
    still = step.left.opened.repeat(2, 1)
    unsafe = torch.stack([(m <= 0) & still for m in margins]).any(0).any(1).reshape(2, -1).any(0)
    assert bool((~unsafe | step.left.suspicious).all()), "a counterexample is passed over"
    return int((~step.left.suspicious).sum())


def check(
    net: Network, seed: int, width: float, rows: tuple[int, ...], semantics: Semantics = "float32", record: bool = True
) -> tuple[int, int]:
    """All of the above; how many faces moved, how many boxes are not suspicious."""
    polytopes = tight_polytopes(net, seed, rows)
    batch, question, step, theirs = stepped(net, polytopes, seed, width, semantics, record)
    moved = check_left(batch, question, step, theirs)
    if record:
        check_used(batch, step, theirs)
    divisible = step.left.boxes.divisible()
    cut = divisible.gather(1, step.left.edge[:, None])[:, 0]
    assert bool((cut | ~divisible.any(1)).all()), "an edge that cannot be cut"
    check_edges(net, polytopes, seed, width, semantics)
    return moved, check_suspicious(net, polytopes, batch, step)


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=15)
@given(
    seed=SEEDS,
    hidden=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    width=st.sampled_from(WIDTHS),
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    record=st.booleans(),
)
def test_it_is_what_the_reference_leaves(op, alpha, seed, hidden, width, rows, record, semantics) -> None:
    check(random_net(seed, (3, *hidden, 3), op, alpha), seed, width, tuple(rows), semantics, record)


def test_something_is_cut_and_something_is_not_suspicious() -> None:
    """Else the test above would see nothing."""
    found = [check(random_net(seed, (3, 8, 8, 3)), seed, 1.0, (1, 2, 3)) for seed in range(20)]
    moved, clear = (sum(column) for column in zip(*found, strict=True))
    assert moved > 50
    assert clear > 20


def test_a_box_that_overflows_stays_as_it_is() -> None:
    """Nothing is known of it, and nothing is cut."""
    net, polytopes = random_net(0, (2, 5, 5, 1)), (half_space([1.0], -1e9),)
    corners = [[-1.0, -1.0], [1e308, -1.0]], [[1.0, 1.0], [1.5e308, 1.0]]
    bound, question = compiled(net), question_of(polytopes)
    work = Work(
        Boxes(*(torch.tensor(side).double() for side in corners)),
        torch.ones(2, 1, dtype=torch.bool),
        bound.root(2),
        torch.arange(2),
    )
    step = examine(bound, question, work)
    assert step.left.parent.tolist() == [1]
    assert torch.equal(step.remains.boxes.lower, work.boxes.lower[1:])
    assert torch.equal(step.remains.boxes.upper, work.boxes.upper[1:])
    assert torch.equal(step.left.edge, left_by_bounds(bound, question, work, step.result).edge)
    assert step.left.score.tolist() == [-torch.inf]
    assert step.left.suspicious.all()


# --- planted bugs, in the loops as plain Python -------------------------------------------------------------------


def standard_check() -> None:
    with np.errstate(all="ignore"):
        for seed in range(8):
            check(random_net(seed, (3, 4, 3)), seed, WIDTHS[3 + seed % 4], (1, 2))
            check(random_net(seed, (2, 2, 2)), seed, 1e-16, (1,))


def _scaled(right: Callable[..., None], factor: float) -> Callable[..., None]:
    return lambda lower, upper, planes, minimum, s: right(lower, upper, planes, factor * minimum, s)


def _inward(right: Callable[..., None]) -> Callable[..., None]:
    def cuts(lower: Any, upper: Any, planes: Any, minimum: Any, s: Any) -> None:
        right(lower, upper, planes, minimum, s)
        s.cut[0][np.isfinite(s.cut[0])] += 1e-14

    return cuts


def _intersected(right: Callable[..., None]) -> Callable[..., None]:
    """Of several items the last one decides."""

    def find_left(net: Any, asked: Any, found: Any, left: Any, i: int, sound: bool, s: Any) -> None:
        right(net, asked, found, left, i, sound, s)
        left.lower[i], left.upper[i] = np.maximum(asked.lower[i], s.cut[0]), np.minimum(asked.upper[i], s.cut[1])

    return find_left


BUGS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "clipping too much": ("branch", "_cuts", lambda right: _scaled(right, 0.9)),
    "clipping too little": ("branch", "_cuts", lambda right: _scaled(right, 1.1)),
    "no room for rounding": ("branch", "CLIP_ROOM", lambda right: 0.0),
    "rounding inward": ("branch", "_cuts", _inward),
    "one polytope decides for all": ("step", "find_left", _intersected),
    "a bound just below zero taken for a proof": (
        "branch", "proved", lambda right: lambda lower, closed, apart, room: lower > -0.01
    ),
    "another plane used": (
        "branch", "_find_used", lambda right: lambda asked, found, left, i, s: left.used[asked.first[i] :].fill(True)
    ),
    "the first edge cut": ("branch", "_edge", lambda right: lambda *a: 0),
    "nothing is suspicious": ("branch", "_is_near", lambda right: lambda *a: False),
    "only what is unsafe by far is suspicious": ("branch", "_NEAR", lambda right: -0.1),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(plain: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """A check that cannot fail checks nothing."""
    place, name, wrong = BUGS[bug]
    monkeypatch.setattr(plain[place], name, wrong(getattr(plain[place], name)))
    with pytest.raises(AssertionError, match=r"reference|exact one|used:|cannot be cut|passed over"):
        standard_check()


def test_the_standard_check_finds_nothing_else(plain: dict[str, ModuleType]) -> None:
    """Without a bug."""
    standard_check()
