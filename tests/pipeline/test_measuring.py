"""Figures of a repair on networks of which they are known: the output is the input, moved by a constant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from birdnn.pipeline.case import Case, Points
from birdnn.pipeline.measuring import Compared, Comparison, Measured, compared_at
from birdnn.pipeline.reading import UNKNOWN_DOMAIN
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Drawdowns, Rate
from birdnn.spec import Property
from tests.bounds.builders import property_of
from tests.pipeline.subjects import above, asked, case_of, identity, named

SETTINGS = RepairSettings(
    domain_points=1000, region_points=1000, held_out_points=3000, selection_points=1000, neighbours=500
)


def comparison(folder: Path, shift: float, case: Case, **more: object) -> Comparison:
    """The network of the case, and the same with outputs moved."""
    after = identity(folder, shift, name="after.onnx")
    made = Comparison(
        before=case.loaded.net,
        after=after.net,
        case=case,
        settings=SETTINGS,
        resample=lambda *args: torch.zeros(0, 1),
        seed=0,
        replays=after.replays,
    )
    return replace(made, **more)


def measured(
    folder: Path, shift: float, *props: Property, repaired: dict | None = None, proved: str = "", violated: str = ""
) -> Measured:
    case = case_of(identity(folder, 0.0), *asked(*props))
    made = comparison(folder, shift, case)
    return made.measure(repaired or {}, frozenset(proved.split()), frozenset(violated.split()))


# --- the figures of regions


def test_a_repair_that_moves_all_outputs_down(tmp_path: Path) -> None:
    repaired = {"above": torch.tensor([[0.75], [0.75], [1.0]])}
    found = measured(tmp_path, -0.75, above(0.5), repaired=repaired, proved="above", violated="above")
    assert found.efficacy == Rate(hits=2, n=2, by_proof=True), "a point counts once"
    assert found.generalisation is not None
    assert found.generalisation.by_proof
    assert found.generalisation.hits == found.generalisation.n
    assert 1350 < found.generalisation.n < 1650, "half of three thousand"
    (lost,) = found.drawdown.properties
    assert (lost.share, 400 < lost.n < 600) == (0.0, True)
    kept = found.region_fidelity["above"]
    assert (kept.n, kept.mae) == (lost.n, pytest.approx(0.75))
    assert found.contradicted == {}


def test_what_is_newly_violated_is_lost_and_no_rate_is_by_a_proof_that_a_point_contradicts(tmp_path: Path) -> None:
    repaired = {"above": torch.tensor([[0.5], [0.75]])}
    found = measured(tmp_path, 0.25, above(0.5), repaired=repaired, proved="above", violated="above")
    assert found.drawdown.properties[0].share == pytest.approx(0.5, abs=0.06)
    assert found.efficacy == Rate(hits=0, n=2)
    assert set(found.contradicted) == {"above"}
    witness = found.contradicted["above"]
    assert above(0.5).violated(witness.x, witness.y)


def test_rates_of_several_properties_are_added_and_certain_only_where_each_is(tmp_path: Path) -> None:
    props = above(0.5, "one"), above(0.75, "two")
    repaired = {"one": torch.tensor([[0.625], [0.875]]), "two": torch.tensor([[0.875]])}
    for proved, certain in (("one two", True), ("one", False)):
        found = measured(tmp_path, -1.0, *props, repaired=repaired, proved=proved, violated="one two")
        assert found.efficacy == Rate(hits=3, n=3, by_proof=certain)
    half = measured(tmp_path, -0.25, *props, repaired=repaired, violated="one two")
    assert half.efficacy == Rate(hits=2, n=3)


def test_a_rate_of_no_points_makes_no_other_uncertain(tmp_path: Path) -> None:
    repaired = {"one": torch.tensor([[0.625]]), "two": torch.zeros(0, 1)}
    props = above(0.5, "one"), above(0.75, "two")
    found = measured(tmp_path, -1.0, *props, repaired=repaired, proved="one", violated="one two")
    assert found.efficacy == Rate(hits=1, n=1, by_proof=True)
    none = measured(tmp_path, -1.0, *props, repaired={"one": torch.zeros(0, 1)}, violated="one")
    assert none.efficacy is None


def test_of_what_was_not_violated_nothing_is_healed(tmp_path: Path) -> None:
    found = measured(tmp_path, 0.0, above(2.0), proved="above")
    assert (found.efficacy, found.generalisation, found.region_fidelity) == (None, None, {})
    assert found.drawdown.properties[0].share == 0.0


def test_without_a_domain_the_note_says_so(tmp_path: Path) -> None:
    found = measured(tmp_path, 0.0, above(2.0))
    assert (found.fidelity, found.fidelity_note) == (None, UNKNOWN_DOMAIN)


def test_where_violations_are_rare_an_attack_brings_them(tmp_path: Path) -> None:
    """Above 1 there is the corner alone, which no uniform point meets."""
    case = case_of(identity(tmp_path, 0.0), *asked(above(1.0)))
    hunted = comparison(tmp_path, -1.0, case, resample=lambda *args: torch.tensor([[1.0], [1.0], [0.5]]))
    found = hunted.measure({}, frozenset(), frozenset({"above"}))
    assert found.generalisation == Rate(hits=1, n=1)


def test_rates_without_the_proof_keep_their_counts() -> None:
    made = Measured(
        fidelity=None,
        fidelity_note="",
        region_fidelity={},
        drawdown=Drawdowns(),
        efficacy=Rate(hits=3, n=3, by_proof=True),
        generalisation=None,
        contradicted={},
        neighbours=(),
        behaviour=(),
    )
    assert made.without_proof() == replace(made, efficacy=Rate(hits=3, n=3))


def test_the_choice_goes_by_the_worst_drawdown(tmp_path: Path) -> None:
    props = above(0.5, "some"), above(9.0, "none"), above(-1.0, "all violate it before")
    case = case_of(identity(tmp_path, 0.0), *asked(*props))
    kept = comparison(tmp_path, 0.25, case).kept(5000, seed=3)
    assert kept.drawdown == pytest.approx(0.5, abs=0.06)
    assert comparison(tmp_path, -0.25, case).kept(5000, seed=3).drawdown == 0.0


# --- neighbours of points


@pytest.mark.parametrize(
    ("point", "domain", "bound", "before"),
    [
        (1.0, None, 1.25, 0.75),  # of [0.5, 1.5] all but the last quarter is below 1.25
        (1.0, (0.0, 1.25), 1.25, 1.0),  # [0.5, 1.25]
        (1.0, (1.0, 2.0), 1.25, 0.5),  # [1, 1.5]
        (2.0, (0.0, 1.0), 1.75, 0.5),  # [1.5, 2]: a point beyond the domain is its own neighbour
        (-2.0, (0.0, 1.0), -1.75, 0.5),
    ],
)
def test_neighbours_lie_around_the_point_and_in_the_domain(
    tmp_path: Path, point: float, domain: tuple[float, float] | None, bound: float, before: float
) -> None:
    prop = above(bound, lower=point, upper=point)
    subject = Points(prop=prop, path="points", text="", role="goal", radius=0.5)
    corners = None if domain is None else tuple(torch.tensor([each]).double() for each in domain)
    case = replace(case_of(identity(tmp_path, 0.0), subject), corners=corners)
    (found,) = comparison(tmp_path, -9.0, case).measure({}, frozenset(), frozenset({"above"})).neighbours
    assert (found.points, found.radius, found.n) == (1, 0.5, 500)
    assert found.before == pytest.approx(before, abs=0.07)
    assert found.after == 1.0
    assert found.generalisation == Rate(hits=500 - round(500 * found.before), n=500 - round(500 * found.before))


# --- both networks at the same points


def test_margins_are_those_of_each_points_own_region(tmp_path: Path) -> None:
    regions = (*above(0.5).regions, *above(2.0).regions)
    prop = named("two", property_of(*regions))
    before, after = identity(tmp_path, 0.0).net, identity(tmp_path, 1.0, name="after.onnx").net
    xs = [torch.tensor([[0.25], [1.0]]), torch.tensor([[0.75]])]
    found = compared_at(before, after, prop, xs)
    assert found.x.flatten().tolist() == found.before.flatten().tolist() == [0.25, 1.0, 0.75]
    assert found.margin_before.tolist() == [0.25, -0.5, 1.25]
    assert found.margin_after.tolist() == [-0.75, -1.5, 0.25]
    twice = found.and_more(found)
    assert twice.margin_after.tolist() == 2 * [-0.75, -1.5, 0.25]
    assert isinstance(twice, Compared)


def test_where_time_is_over_the_first_points_are_compared(tmp_path: Path) -> None:
    net = identity(tmp_path, 0.0).net
    prop = named("two", property_of(*above(0.5).regions, *above(2.0).regions))
    xs = [torch.rand(1000, 1), torch.rand(9000, 1)]
    found = compared_at(net, net, prop, xs, lambda: True)
    assert 0 < len(found.x) < 10_000
    assert {len(part) for part in (found.before, found.after, found.margin_before, found.margin_after)} == {
        len(found.x)
    }
    first = min(1000, len(found.x))
    assert torch.equal(found.margin_before[:first], 0.5 - found.x[:first, 0])
    assert torch.equal(found.margin_before[first:], 2.0 - found.x[first:, 0])
