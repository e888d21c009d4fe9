"""Draws are seeded, inside the exact box, and spread by volume."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.sample import distinct_rows, draw_from_boxes, draw_from_property, draw_from_region, evaluate
from birdnn.sample.draw import BATCH
from birdnn.spec import Polytope, Property, Region, Row


def region(lower: float, upper: float) -> Region:
    """A box of two inputs, the second a point; unsafe: the output is at most 0."""
    unsafe = Polytope(rows=(Row((Fraction(1),), Fraction(0)),), n_outputs=1)
    third = Fraction(1, 3)
    return Region(
        exact_lower=(Fraction(lower), third),
        exact_upper=(Fraction(upper), third + Fraction(1, 10**6)),
        unsafe=(unsafe,),
    )


def prop(*regions: Region) -> Property:
    return Property(name="p", regions=regions, n_inputs=2, n_outputs=1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_point_lies_in_the_exact_box() -> None:
    box = region(-0.1, 0.7)
    points = draw_from_region(box, 500, generator())
    assert points.dtype == torch.float32
    assert all(box.contains([float(v) for v in x]) for x in points)


def test_a_seed_repeats_a_draw_and_another_does_not() -> None:
    box = region(0, 1)
    assert torch.equal(draw_from_region(box, 50, generator(3)), draw_from_region(box, 50, generator(3)))
    assert not torch.equal(draw_from_region(box, 50, generator(3)), draw_from_region(box, 50, generator(4)))


def test_regions_get_points_by_volume() -> None:
    small, large = draw_from_property(prop(region(0, 1), region(2, 5)), 1000, generator())
    assert (len(small), len(large)) == (250, 750)


def test_batches_do_not_change_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network_from_layers([([[1.0, 2.0]], [0.5])])
    x = torch.rand(100, 2)
    at_once = evaluate(net, x)
    monkeypatch.setitem(BATCH, "cpu", 7)
    assert torch.allclose(evaluate(net, x), at_once)
    assert evaluate(net, x[:0]).shape == (0, 1)


def test_boxes_share_the_points() -> None:
    boxes = Boxes(torch.tensor([[0.0], [2.0]], dtype=torch.float64), torch.tensor([[1.0], [3.0]], dtype=torch.float64))
    points = draw_from_boxes(boxes, 10, generator())
    assert int((points < 1.5).sum()) == 5


@pytest.mark.parametrize("columns", [1, 2, 5, 16, 17, 40])
def test_distinct_rows_are_sorted_and_each_is_there_once(columns: int) -> None:
    rows = torch.randint(-2, 3, (300, columns), generator=generator()).float() / 4
    rows[:, columns // 2 :] = rows[:, : columns - columns // 2]
    rows = torch.cat([rows, rows[::3], -rows[::5]])
    assert distinct_rows(rows).tolist() == sorted(map(list, {tuple(row) for row in rows.tolist()}))


def test_distinct_drops_duplicates() -> None:
    assert len(distinct_rows(torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]))) == 2
