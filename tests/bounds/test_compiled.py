"""The compiled bounds: those of the reference, whoever computes them, and no number above what a network attains."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds import crown
from birdnn.bounds.compiled import bound as loops
from birdnn.bounds.compiled import compiler, splits, step
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.protocol import BoundResult, MarginBound
from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.records import Proved, RegionProof
from birdnn.records.limits import OutOfTime
from birdnn.rounding import Semantics
from birdnn.spec import Polytope, Row
from birdnn.verify import SearchSettings, bounding, verify
from birdnn.verify.bounding import make_bound
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    all_open,
    compiled,
    half_space,
    make_property,
    question_of,
    random_boxes,
    random_net,
    random_polytopes,
)
from tests.bounds.test_crown import SEEDS, check_bound

CLOSE = 1e-9
"""Of the largest number: both round, in different orders."""


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    size = float(other.abs().where(other.isfinite(), 0.0).amax()) if other.numel() else 0.0
    return torch.allclose(one, other, rtol=CLOSE, atol=CLOSE * max(1.0, size), equal_nan=True)


def both(
    net: Network, boxes: Boxes, rows: int, steps: int, semantics: Semantics, record: bool
) -> Iterator[tuple[CrownBound, BoundResult]]:
    polytopes = random_polytopes(rows, net.n_outputs, range(1, 1 + rows))
    opened = all_open(boxes, polytopes)
    opened[1::2, 0] = False
    for make in (CrownBound, compiled):
        bound = make(net, CPU, CrownSettings(steps=steps), semantics, record)
        yield bound, bound.bound(question_of(polytopes), boxes, opened, bound.root(len(boxes)))


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=8)
@given(
    seed=SEEDS,
    hidden=st.lists(st.integers(1, 11), min_size=1, max_size=4),
    width=st.sampled_from([0.0, 1e-12, 1e-3, 0.3, 2.0, 20.0]),  # at 1e-9 rounding says whether there is a chord
    rows=st.integers(1, 9),
)
def test_they_are_the_bounds_of_the_reference(op, alpha, seed, hidden, width, rows, semantics) -> None:
    """Before any step on slopes there is nothing in which rounding could decide: all numbers are equal."""
    net = random_net(seed, (3, *hidden, 4), op, alpha)
    boxes = random_boxes(seed, 5, 3, width)
    (reference, theirs), (bound, ours) = both(net, boxes, rows, 0, semantics, record=False)
    assert torch.equal(theirs.box, ours.box)
    assert torch.equal(theirs.polytope, ours.polytope)
    assert close(ours.inherited, theirs.inherited)
    planes = theirs.plane.shape[1]
    assert close(ours.plane[:, :planes], theirs.plane)
    assert close(ours.plane_minimum[:, :planes], theirs.plane_minimum)
    assert close(ours.lower, theirs.lower)
    opened = all_open(boxes, random_polytopes(rows, 4, range(1, 1 + rows)))
    question = question_of(random_polytopes(rows, 4, range(1, 1 + rows)))
    expected = reference.sensitivity(question, opened, theirs.inherited)
    assert close(bound.sensitivity(question, opened, theirs.inherited), expected)


@pytest.mark.thorough
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_the_ascent_is_that_of_the_reference(op: str, alpha: float | None, record: bool) -> None:
    """The same steps; where rounding decides the sign of one, few items differ. What is proved is left alone.

    Of steps whose bounds are equal one may be kept here and another there: processors round sums in their own order.
    """
    equal, chosen_alike, items = 0, 0, 0
    for seed in range(20):
        net = random_net(seed, (3, 9, 9, 9, 4), op, alpha)
        (_, theirs), (_, ours) = both(net, random_boxes(seed, 6, 3), 4, 6, "float32", record)
        still = ours.lower <= 0
        alike = (theirs.lower - ours.lower).abs() <= 1e-7 * (1 + theirs.lower.abs())
        assert not bool(((theirs.lower > 1e-6) & still & ~alike).any()), "the reference proves more"
        equal, items = equal + int(alike[still].sum()), items + int(still.sum())
        if ours.choices is not None and theirs.choices is not None:
            apart = (ours.choices.multipliers - theirs.choices.multipliers).abs().amax(1)
            chosen = ours.choices.slopes.isnan() == theirs.choices.slopes.isnan()
            alike &= (apart < 1e-6) & chosen.all(1)
        chosen_alike += int(alike[still].sum())
    assert items > 50
    assert equal >= 0.97 * items
    assert chosen_alike >= 0.75 * items


@pytest.mark.parametrize("make", [CrownBound, compiled])
def test_what_is_proved_by_a_hair_is_bounded_better_where_a_certificate_is_wanted(make: Any) -> None:
    """The checker would not close it: a bound that is positive, and no more than it is lowered by."""
    net, boxes = random_net(0, (2, 6, 6, 1), "Tanh"), random_boxes(0, 1, 2, 0.5)

    def lowest(level: float, steps: int, record: bool) -> float:
        polytopes = (half_space([1.0], level),)
        bound = make(net, CPU, CrownSettings(steps=steps), "real", record)
        result = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1))
        return float(result.lower)

    level = lowest(0.0, 0, record=False) - crown._APART / 2
    assert 0 < lowest(level, 0, record=False) < crown._APART
    assert -crown._APART < lowest(level, 0, record=True) < 0
    assert lowest(level, 6, record=False) < crown._APART  # nothing to gain
    assert lowest(level, 6, record=True) > crown._APART


@pytest.mark.parametrize("make", [CrownBound, compiled])
@pytest.mark.parametrize(("steps", "level"), [(0, 0.0), (6, -1e9), (6, 0.0)])
def test_the_last_plane_of_several_rows_is_the_best_one(make: Any, steps: int, level: float) -> None:
    """Also where no step is taken, or all is proved without: candidates are where that plane is least."""
    net, boxes = random_net(0, (2, 6, 6, 3)), random_boxes(0, 4, 2, 0.5)
    polytopes = (
        Polytope(rows=tuple(Row(tuple(map(Fraction, a)), Fraction(level)) for a in torch.eye(3).tolist()), n_outputs=3),
    )
    bound = make(net, CPU, CrownSettings(steps=steps), "real", record=True)
    result = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(4))
    assert result.plane.shape == (4, 4, 2)
    assert torch.equal(result.plane_minimum.amax(1), result.plane_minimum[:, -1])
    assert torch.equal(result.plane_minimum[:, -1], result.lower)
    if steps == 0 or level < 0:
        best = result.plane_minimum[:, :-1].argmax(1)
        assert torch.equal(result.plane[:, -1], result.plane[torch.arange(4), best])


@pytest.mark.thorough
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=15)
@given(
    seed=SEEDS,
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    width=st.sampled_from([1e-9, 1e-3, 0.3, 2.0, 20.0]),
    scale=st.sampled_from([0.3, 1.5, 6.0]),
    steps=st.integers(0, 4),
)
def test_no_point_beats_its_bound(op, alpha, seed, hidden, width, scale, steps) -> None:
    net = random_net(seed, (2, *hidden, 2), op, alpha, scale)
    check_bound(net, random_boxes(seed, 4, 2, width), random_polytopes(seed, 2), CrownSettings(steps=steps), compiled)


def test_overflow_proves_nothing() -> None:
    """Neither a box that overflows, nor its neighbours in the batch are touched by it."""
    net = random_net(0, (2, 5, 5, 1), "Relu")
    corners = [[-1.0, -1.0], [1e308, -1.0]], [[1.0, 1.0], [1.5e308, 1.0]]
    boxes = Boxes(*(torch.tensor(side).double() for side in corners))
    polytopes = (half_space([1.0], -1e9),)
    for semantics in ("real", "float32"):
        bound = compiled(net, CPU, None, semantics, record=True)
        found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(2))
        assert found.lower[0] > 0
        assert found.lower[1] == -torch.inf
        assert found.plane_minimum[1, 0] == -torch.inf


# --- planted bugs, in the loops as plain Python -------------------------------------------------------------------


def standard_check(seeds: range = range(3)) -> None:
    with np.errstate(all="ignore"):
        for op, alpha in ACTIVATIONS:
            for seed in seeds:
                net = random_net(seed, (2, 4, 4, 2), op, alpha, 2.0)
                check_bound(net, random_boxes(seed, 3, 2), random_polytopes(seed, 2), CrownSettings(steps=2), compiled)


def _no_second_line(net: Any, k: int, low: Any, up: Any, s: Any, right: Callable[..., None]) -> None:
    right(net, k, low, up, s)
    s.neuron[1] += 0.5  # LOW_OFFSET


def _middle(net: Any, row: Any, constant: float, s: Any) -> float:
    n = net.shape[0, 0]
    return constant + float((row * s.place[0])[:n].sum())


def _inactive(right: Callable[..., None]) -> Callable[..., None]:
    return lambda low, up, alpha, lines: right(min(low, -0.1), min(up, 0.0), alpha, lines)


def _heavier(a: Any, b: Any, y: Any, s: Any, size: float, right: Callable[..., None]) -> None:
    right(a, b, y, s, size)
    s.combined[0] *= 3


BUGS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "a minimum at the wrong end": ("step", "least", lambda right: lambda n, row, c, s: right(n, -row, c, s)),
    "the middle for the minimum": ("step", "least", lambda right: _middle),
    "lower lines too high": ("step", "find_lines", lambda right: lambda *a: _no_second_line(*a, right)),
    "a chord too low": ("lines", "_chord", lambda right: lambda *a: (right(*a)[0], right(*a)[1] - 0.3)),
    "tangents that cross": ("lines", "_clears", lambda right: lambda *a: True),
    "inactive where it is not": ("lines", "_leaky", _inactive),
    "no bias": ("step", "push_back", lambda right: lambda n, *a: right(n._replace(bias=0 * n.bias), *a)),
    "multipliers off the simplex": ("step", "_weigh", lambda right: lambda *a: _heavier(*a, right=right)),
    "slopes out of their range": ("rows", "_between", lambda right: lambda one, other, w: right(one, other, w) + 0.7),
    "rows of another polytope": ("step", "start", lambda right: lambda n, a, *b: right(n, a[::-1] + 1, *b)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(plain: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """A check that cannot fail checks nothing."""
    standard_check(range(1))
    place, name, wrong = BUGS[bug]
    monkeypatch.setattr(plain[place], name, wrong(getattr(plain[place], name)))
    with pytest.raises(AssertionError, match=r"above a reachable margin|its bound"):
        standard_check()


# --- threads, limits, the compiler ---------------------------------------------------------------------------------


def test_threads_change_nothing() -> None:
    """The same tree, the same certificate."""
    net = random_net(5, (4, 16, 16, 16, 2), "Relu")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        y = net(2 * torch.rand(100_000, 4, generator=draw) - 1)
    prop = make_property([-1.0] * 4, [1.0] * 4, half_space([1.0, -1.0], float((y[:, 0] - y[:, 1]).min()) - 0.4))
    proofs = []
    for threads in (1, 2, 8):

        def make(net: Network, limits: SearchSettings, threads: int = threads) -> CompiledBound:
            return CompiledBound(net, limits.crown, limits.semantics, limits.record, threads, always=True)

        verdict = verify(net, prop, settings=SearchSettings(record=True), replays=[_nobody()], bound=make)
        assert isinstance(verdict, Proved), verdict
        proofs.append(verdict)
    assert proofs[0].boxes > 50
    for other in proofs[1:]:
        assert other.boxes == proofs[0].boxes
        for field in fields(RegionProof):
            mine, theirs = (getattr(v.proofs[0], field.name) for v in (proofs[0], other))
            assert np.array_equal(mine, theirs), field.name


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_parts_of_a_batch_are_the_batch(threads: int) -> None:
    """A box in no part keeps what was in memory before; the last parts are short, so that nobody waits for long."""
    for boxes in (0, 1, 2, 7, 256, 4096):
        parts = loops._shrinking_parts(boxes, threads)
        assert [i for begin, end in parts for i in range(begin, end)] == list(range(boxes))
        assert threads == 1 or not parts or parts[-1][1] - parts[-1][0] == 1


class _nobody:
    name = "nobody"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.full(2, np.nan)


def test_the_end_of_time_is_seen_within_a_batch() -> None:
    """A batch that takes many seconds: of 200 boxes each needs a tenth of one."""
    net = random_net(0, (40, 300, 300, 300, 2), "Relu")
    bound = CompiledBound(net, threads=2, always=True)
    boxes, polytopes = random_boxes(0, 200, 40), random_polytopes(0, 2)
    began = time.monotonic()
    bound.over = lambda: time.monotonic() > began + 0.3
    with pytest.raises(OutOfTime):
        bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(200))
    assert time.monotonic() < began + 15


def test_one_signature_is_all_that_is_compiled() -> None:
    """What was warmed up is what is called: else the first batch would compile again, and nobody could stop it."""
    (reference, _), _ = both(random_net(0, (3, 4, 2)), random_boxes(0, 3, 3), 2, 2, "real", record=True)
    assert isinstance(reference, CrownBound)
    assert {len(each.signatures) for each in (step.bound, step.sensitivity, splits.close)} == {1}


def test_few_boxes_at_a_glance_take_no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of boxes alone, so that a search does not depend on what was bounded before it."""
    net, boxes, polytopes = random_net(0, (3, 6, 5, 2)), random_boxes(0, 3, 3), random_polytopes(0, 2)
    asked = question_of(polytopes), boxes, all_open(boxes, polytopes)
    bound = CompiledBound(net)
    reference = CrownBound(net, CPU)
    expected = reference.bound(*asked, reference.root(3))
    entered = []
    monkeypatch.setattr(CompiledBound, "_loops", lambda self: entered.append(self))
    found = bound.at_a_glance(*asked, bound.root(3))
    assert not entered
    assert torch.equal(found.lower, expected.lower)
    assert found.inherited.shape == bound.root(3).shape
    monkeypatch.setattr(loops, "_LITTLE", 3 * bound._work - 1)
    assert torch.equal(bound.at_a_glance(*asked, bound.root(3)).lower, expected.lower)
    assert entered


@pytest.mark.thorough
def test_nothing_is_compiled_for_a_handful_of_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk is used at once; where nothing is, the compiler starts as soon as work has been done."""
    begun = []

    class Nothing(loops._Loops):
        def on_disk(self) -> bool:
            return False

        def _warm_up(self) -> None:
            begun.append(True)

    monkeypatch.setattr(loops, "_LOOPS", Nothing())
    polytopes, bound = random_polytopes(0, 2), CompiledBound(random_net(0, (2, 16, 16, 2)))
    for count, so_far in ((3, 0), (60_000, 1), (3, 1)):
        boxes = random_boxes(0, count, 2)
        bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(count))
        assert len(begun) == so_far


def test_which_form_a_search_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    net = random_net(0, (2, 3, 2))
    assert isinstance(make_bound(net, SearchSettings()), CompiledBound)
    with monkeypatch.context() as patch:
        patch.setattr(bounding, "LARGE", 10)
        assert type(make_bound(net, SearchSettings())) is CrownBound
    monkeypatch.setattr(bounding, "available", lambda: False)
    assert type(make_bound(net, SearchSettings())) is CrownBound


def test_what_goes_into_compiled_code_is_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant of the account of rounding is changed: code on disk that holds the old one is another code."""
    before = compiler._hash_sources()
    assert before in step.bound.py_func.__qualname__
    monkeypatch.setattr("birdnn.rounding.FLOAT64", 2.0**-52)
    assert compiler._hash_sources() != before


def test_without_a_place_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba refuses to cache: it is compiled for this process."""
    right, refused = compiler.njit, []

    def njit(**options: Any) -> Any:
        if options.pop("cache", False):
            refused.append(1)
            raise RuntimeError("cannot cache function: no locator available")
        return right(**options)

    monkeypatch.setattr(compiler, "njit", njit)
    found = compiler.entrance(lambda x: x + 1)
    assert refused
    assert not compiler.is_on_disk(found)
    assert found(1) == 2


def test_prepared_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `birdnn doctor` says; a compiler that fails leaves everything to the reference, without a word elsewhere."""
    usable, told = loops.prepare()
    assert usable
    assert "ready" in told or "kept on disk" in told

    class Broken(loops._Loops):
        def _bound_one(self) -> None:
            raise RuntimeError("LLVM knows no such machine\nand more")

    monkeypatch.setattr(loops, "_LOOPS", Broken())
    assert loops.prepare() == (False, "cannot compile here: RuntimeError: LLVM knows no such machine")
    net, boxes, polytopes = random_net(0, (2, 3, 2)), random_boxes(0, 3, 2), random_polytopes(0, 2)
    mine, theirs = (
        bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(3))
        for bound in (compiled(net), CrownBound(net, CPU))
    )
    assert torch.equal(mine.lower, theirs.lower)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert not loops.available()
    usable, told = loops.prepare()
    assert not usable
    assert "NUMBA_DISABLE_JIT" in told


def test_nobody_waits_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes on by the reference, and a limit of time holds."""
    began, release = time.monotonic(), threading.Event()

    class Slow(loops._Loops):
        def on_disk(self) -> bool:
            return False

        def _bound_one(self) -> None:
            release.wait(60)

    monkeypatch.setattr(loops, "_LOOPS", Slow())
    bound, boxes, polytopes = (
        CompiledBound(random_net(0, (2, 40, 40, 2))),
        random_boxes(0, 500, 2),
        random_polytopes(0, 2),
    )
    bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(500))
    assert loops._LOOPS._compiling is not None
    assert loops._LOOPS._compiling.is_alive()
    assert time.monotonic() < began + 30
    release.set()
    loops._LOOPS._compiling.join()
    assert loops._LOOPS.ready().bound is step.bound


@pytest.mark.parametrize("make", [compiled, CrownBound], ids=["loops", "torch"])
def test_an_item_without_hope_is_left_to_its_halves(make: Callable[..., MarginBound]) -> None:
    """After three steps it must be worth going on; what is proved, or on its way, is not given up."""
    left = 0
    for seed in range(12):
        net, boxes = random_net(seed, (3, 12, 12, 2)), random_boxes(seed, 20, 3)
        polytopes = random_polytopes(seed, 2)
        question, opened = question_of(polytopes), all_open(boxes, polytopes)
        bounds = [make(net, CPU, CrownSettings(**how)) for how in ({"steps": 3}, {"hope": 0.0}, {"hope": math.inf})]
        few, never, always = (bound.bound(question, boxes, opened, bound.root(20)) for bound in bounds)
        open_items = few.lower < 0
        assert torch.equal(never.lower[open_items], few.lower[open_items])
        assert torch.equal(always.lower > 0, (always.lower > 0) | (never.lower > 0))
        left += int((always.lower[open_items] > few.lower[open_items]).sum())
    assert left > 20  # there was something to gain
