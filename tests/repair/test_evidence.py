"""What a verification found goes to the region that it was found in."""

from __future__ import annotations

from fractions import Fraction

import torch

from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.records import Unwatched
from birdnn.repair import Evidence, Goal, RepairTask, Retrain, RetrainSettings
from birdnn.repair.hunting import behaviour_difference
from birdnn.spec import Region
from tests.bounds.builders import half_space, property_of


def region(lower: int, upper: int) -> Region:
    """Of a network that copies its input: from 2 on everything is unsafe, below nothing is."""
    return Region(exact_lower=(Fraction(lower),), exact_upper=(Fraction(upper),), unsafe=(half_space([-1.0], -2.0),))


def boxes(*ends: tuple[float, float]) -> Boxes:
    corners = torch.tensor(ends, dtype=torch.float64)
    return Boxes(corners[:, :1], corners[:, 1:])


def learnt(evidence: Evidence) -> tuple[tuple[list[float], bool], ...]:
    """For each region of [1, 2] and [3, 4] the inputs that it has learnt from, and whether its margin rose."""
    prop = property_of(region(1, 2), region(3, 4))
    task = RepairTask(
        net=network_from_layers([([[1.0]], [0.0])]),
        goals=(Goal(prop=prop, repair=True, violated=True),),
        domain=None,
        decision="none",
        resample=lambda net, inside, generator, thorough: torch.empty(0, 1),
    )
    method = Retrain(task, RetrainSettings(steps=0, region_points=64))
    for aim in method.aims:
        aim.margin = 0.5
        aim.samples = 0
    method.propose(evidence, timeout_s=60.0, watch=Unwatched())
    return tuple((aim.pool[:, 0].tolist(), aim.margin > 0.5) for aim in method.aims)


def test_a_counterexample_is_learnt_in_its_own_region() -> None:
    """With its neighbours, which a hunt that missed it has missed as well; phi-6 has two boxes."""
    found = learnt(Evidence(points={"made up": torch.tensor([[2.0], [3.5], [4.0], [9.0]])}))
    for (pool, harder), told, (lower, upper) in zip(found, ((2.0,), (3.5, 4.0)), ((1.0, 2.0), (3.0, 4.0)), strict=True):
        assert not harder
        assert set(told) <= set(pool)
        assert len(pool) > 10
        near = [min(abs(x - point) for point in told) for x in pool]
        assert max(near) <= 0.15 + 1e-6
        assert sum(distance < 0.006 for distance in near) > len(near) / 5, "none of them is close"
        assert all(lower <= x <= upper for x in pool)


def test_open_boxes_are_learnt_in_their_own_region() -> None:
    """One region's hard boxes are no reason to ask more of another one."""
    first, second = learnt(Evidence(undecided={"made up": boxes((3.0, 3.25), (3.5, 4.0))}))
    assert first == ([], False)
    assert second[1]
    assert len(second[0]) > 10
    assert all(3.0 <= x <= 4.0 for x in second[0])


def test_a_candidate_that_gives_no_number_is_behind_every_other() -> None:
    """Candidates are ranked by it: NaN would stay first wherever it came first."""
    y = torch.tensor([[1.0, 2.0]])
    assert behaviour_difference(y, y * torch.nan, "none") == torch.inf > behaviour_difference(y, y + 9, "none")
