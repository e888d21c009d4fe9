"""Boxes: cutting and clipping lose no point that may be unsafe."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from birdnn.boxes import Boxes

SEEDS = st.integers(0, 2**32 - 1)


def boxes_of(seed: int, count: int = 6, n: int = 3, *, magnitude: float = 1.0, width: float = 1.0) -> Boxes:
    """Random boxes, some edges degenerate."""
    generator = torch.Generator().manual_seed(seed)
    lower = magnitude * (2 * torch.rand(count, n, generator=generator, dtype=torch.float64) - 1)
    widths = width * torch.rand(count, n, generator=generator, dtype=torch.float64)
    widths[torch.rand(count, n, generator=generator) < 0.2] = 0
    return Boxes(lower, lower + widths)


def box(*edges: tuple[float, float]) -> Boxes:
    """One box."""
    return Boxes(*(torch.tensor([[e[side] for e in edges]], dtype=torch.float64) for side in (0, 1)))


def inside(boxes: Boxes, points: Tensor) -> Tensor:
    """Which points, shape (boxes, points, inputs), lie in their box."""
    return ((points >= boxes.lower[:, None]) & (points <= boxes.upper[:, None])).all(2)


def check_clip(seed: int, magnitude: float, width: float) -> int:
    """Every sampled point where all planes are at or below zero is still there; returns how many points were cut."""
    boxes = boxes_of(seed, magnitude=magnitude, width=width)
    generator = torch.Generator().manual_seed(seed + 1)
    plane = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64)
    plane[torch.rand(plane.shape, generator=generator) < 0.2] = 0
    centre = (plane @ boxes.centres()[..., None])[..., 0]
    radius = (plane.abs() @ boxes.widths()[..., None])[..., 0] / 2
    offset = -centre + radius * (1.6 * torch.rand(6, 2, generator=generator, dtype=torch.float64) - 0.4)
    clipped = boxes.clip(plane, centre - radius + offset)
    points = boxes.uniform(500, generator)
    unsafe = (torch.einsum("bpi,bsi->bsp", plane, points) + offset[:, None] <= -1e-13 * magnitude).all(2)
    kept = inside(clipped, points)
    assert bool(kept[unsafe].all()), "an unsafe point was cut away"
    assert bool((clipped.lower >= boxes.lower).all()), "clipping never enlarges"
    assert bool((clipped.upper <= boxes.upper).all()), "clipping never enlarges"
    return int((~kept).sum())


@given(seed=SEEDS, width=st.sampled_from([1e-9, 1e-3, 1.0, 100.0]), magnitude=st.sampled_from([1e-6, 1.0, 1e6]))
def test_clipping_loses_no_unsafe_point(seed: int, width: float, magnitude: float) -> None:
    """A counterexample that is cut away turns "violated" into "proved"."""
    check_clip(seed, magnitude, width)


def test_clipping_cuts() -> None:
    """A clip that keeps everything would pass the test above."""
    assert sum(check_clip(seed, 1.0, 1.0) for seed in range(10)) > 1000


def test_a_planted_bug_of_clipping_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach times 0.9: some unsafe point at the edge is lost."""
    right = Boxes.clip
    monkeypatch.setattr(Boxes, "clip", lambda self, plane, minimum: right(self, plane, 0.9 * minimum))
    with pytest.raises(AssertionError, match="cut away"):
        sum(check_clip(seed, 1.0, 1.0) for seed in range(20))


def test_clipping_by_hand() -> None:
    """x0 + x1 - 0.5 <= 0 on the unit square: each edge ends at 0.5; a plane above zero leaves nothing."""
    square = box((0.0, 1.0), (0.0, 1.0))
    plane = torch.tensor([[[1.0, 1.0]]], dtype=torch.float64)
    half = square.clip(plane, torch.tensor([[-0.5]], dtype=torch.float64))
    assert torch.allclose(half.upper, torch.tensor([[0.5, 0.5]], dtype=torch.float64), atol=1e-8)
    assert bool((half.upper >= 0.5).all()), "rounded inward"
    assert bool((half.lower == 0).all())
    assert bool(square.clip(plane, torch.tensor([[0.5]], dtype=torch.float64)).empty().all())
    other = square.clip(-plane, torch.tensor([[-0.25]], dtype=torch.float64))
    assert torch.allclose(other.lower, torch.tensor([[0.75, 0.75]], dtype=torch.float64), atol=1e-8)


@given(seed=SEEDS)
def test_what_is_cut_away_is_clear_of_the_plane(seed: int) -> None:
    """A checker's plane differs by a hair; with a hair's room it would reject the proof, as it did on N2,6."""
    generator = torch.Generator().manual_seed(seed)
    boxes = boxes_of(seed)
    plane = torch.randn(len(boxes), 1, boxes.lower.shape[1], generator=generator, dtype=torch.float64)
    spread = (plane[:, 0].abs() * boxes.widths()).sum(1)
    minimum = -torch.rand(len(boxes), generator=generator, dtype=torch.float64) * spread
    clipped = boxes.clip(plane, minimum[:, None])
    moved = torch.stack([clipped.lower - boxes.lower, boxes.upper - clipped.upper]).amax(0)
    left = boxes.widths() - moved  # along one input, with all others where the plane is least
    at_the_face = minimum[:, None] + plane[:, 0].abs() * left
    assert bool((at_the_face >= 1e-7 * spread[:, None])[moved > 0].all())


@pytest.mark.parametrize("minimum", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("slope", [1.0, -2.0, 0.0, math.nan, math.inf, 5e-324])
def test_a_plane_without_a_number_cuts_nothing(slope: float, minimum: float) -> None:
    """Bounds that overflowed: a corner of NaN is never empty and never proved, and loses its place in the cover."""
    square = box((0.0, 1.0), (-1.0, 1.0))
    clipped = square.clip(
        torch.full((1, 1, 2), slope, dtype=torch.float64), torch.tensor([[minimum]], dtype=torch.float64)
    )
    assert torch.equal(clipped.lower, square.lower)
    assert torch.equal(clipped.upper, square.upper)


def test_clipping_at_zero_keeps_the_boundary() -> None:
    """A minimum of exactly zero is attained at a corner, and that corner may be the counterexample."""
    square = box((0.1, 0.7), (0.3, 0.9), (0.2, 0.2))
    plane = torch.tensor([[[1.0, -1.0, 3.0]]], dtype=torch.float64)
    clipped = square.clip(plane, torch.zeros(1, 1, dtype=torch.float64))
    assert bool(inside(clipped, torch.tensor([[[0.1, 0.9, 0.2]]], dtype=torch.float64)).all())


@given(
    seed=SEEDS, width=st.sampled_from([0.0, 5e-324, 1e-16, 1.0, 1e300]), magnitude=st.sampled_from([0.0, 1.0, 1e300])
)
def test_halves_cover_their_box(seed: int, width: float, magnitude: float) -> None:
    """Space between two halves is space that nobody proves."""
    boxes = boxes_of(seed, magnitude=magnitude, width=width)
    dimension = torch.arange(6) % 3
    halves = boxes.bisect(dimension)
    first, second = halves[:6], halves[6:]
    rows = torch.arange(6)
    assert torch.equal(first.upper[rows, dimension], second.lower[rows, dimension])
    assert torch.equal(first.lower, boxes.lower)
    assert torch.equal(second.upper, boxes.upper)
    assert not bool(halves.empty().any())
    others = torch.ones(6, 3, dtype=torch.bool).scatter(1, dimension[:, None], False)
    assert torch.equal(first.upper[others], boxes.upper[others])
    assert torch.equal(second.lower[others], boxes.lower[others])


def test_an_edge_of_neighbouring_numbers_is_not_divisible() -> None:
    """Cutting it gives the same box again, and a search without an end."""
    edges = box((1.0, math.nextafter(1.0, 2.0)), (0.0, 5e-324), (2.0, 2.0), (0.0, 1.0), (-1.7e308, 1.7e308))
    assert edges.divisible().tolist() == [[False, False, False, True, False]]


@given(seed=SEEDS, magnitude=st.sampled_from([1e-300, 1.0, 1e6]))
def test_uniform_points_and_centres_lie_inside(seed: int, magnitude: float) -> None:
    """Points outside would be candidates that a property does not speak about."""
    boxes = boxes_of(seed, magnitude=magnitude)
    slack = 1e-15 * magnitude
    wider = Boxes(boxes.lower - slack, boxes.upper + slack)
    assert bool(inside(wider, boxes.uniform(50, torch.Generator().manual_seed(seed))).all())
    assert bool(inside(boxes, boxes.centres()[:, None]).all())


def test_concatenation_and_selection_keep_the_order() -> None:
    """Boxes travel beside tensors that describe them."""
    boxes = boxes_of(3)
    again = Boxes.concatenate([boxes[:2], boxes[torch.tensor([2, 3])], boxes[4:]])
    assert len(again) == 6
    assert torch.equal(again.lower, boxes.lower)
    assert torch.equal(again.upper, boxes.upper)
    assert torch.equal(boxes[boxes.lower[:, 0] > 0].lower, boxes.lower[boxes.lower[:, 0] > 0])
