"""Targets lie where the property allows, and leave alone what already is there."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from birdnn.records import SampleSet
from birdnn.repair.targets import imitation_targets, nearest_rows, project_outputs
from birdnn.spec import Polytope, Region, Row


def smallest_is_unsafe(index: int, outputs: int) -> Polytope:
    """Unsafe: output `index` is at most every other."""
    rows = []
    for other in set(range(outputs)) - {index}:
        coefficients = [Fraction(0)] * outputs
        coefficients[index], coefficients[other] = Fraction(1), Fraction(-1)
        rows.append(Row(tuple(coefficients), Fraction(0)))
    return Polytope(rows=tuple(rows), n_outputs=outputs)


REGION = Region(
    exact_lower=(Fraction(0),) * 2,
    exact_upper=(Fraction(1),) * 2,
    unsafe=(smallest_is_unsafe(0, 4), smallest_is_unsafe(1, 4)),
)


def test_the_projection_reaches_the_margin() -> None:
    y = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    assert bool((REGION.margin(project_outputs(REGION, y, 0.1)) >= 0.1 - 1e-5).all())


def test_the_projection_leaves_good_outputs_alone() -> None:
    y = torch.tensor([[1.0, 1.0, 0.0, 2.0]])
    assert torch.equal(project_outputs(REGION, y, 0.5), y)


def test_one_half_space_is_left_by_the_shortest_way() -> None:
    half = Region(
        exact_lower=(Fraction(0),),
        exact_upper=(Fraction(1),),
        unsafe=(Polytope(rows=(Row((Fraction(1), Fraction(-1)), Fraction(0)),), n_outputs=2),),
    )
    moved = project_outputs(half, torch.tensor([[0.0, 2.0]]), 1e-9)
    assert torch.allclose(moved, torch.tensor([[1.0, 1.0]]), atol=1e-5)


def test_nearest() -> None:
    of, among = torch.tensor([[0.0], [9.0]]), torch.tensor([[10.0], [1.0]])
    assert nearest_rows(of, among).tolist() == [1, 0]


@pytest.mark.parametrize("pairing", ["input", "output"])
def test_a_negative_takes_over_its_partner(pairing: str) -> None:
    positives = SampleSet(
        x=torch.tensor([[0.1, 0.1], [0.9, 0.9]]),
        y=torch.tensor([[5.0, 5.0, 1.0, 5.0], [0.5, 0.5, 0.0, 0.5]]),
        margin=torch.tensor([4.0, 0.5]),
    )
    x, y = torch.tensor([[0.2, 0.2], [0.3, 0.3]]), torch.tensor([[0.0, 1.0, 1.0, 1.0], [5.0, 5.0, 1.0, 5.0]])
    found = imitation_targets(REGION, x, y, positives, pairing, 1e-6)
    assert torch.equal(found[1], y[1])  # a good point keeps its own behaviour
    assert torch.allclose(found[0], positives.y[0 if pairing == "input" else 1])
