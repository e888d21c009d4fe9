"""Shares, means and intervals on networks small enough to know them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.compare import CompareSettings, compare_files
from birdnn.compare.likeness import _chunk_sizes, _furthest_points, _interval_of_mean, _transitions, change_depth
from birdnn.errors import MismatchError
from birdnn.records import CompareOutcome, CompareRequest, Decision, Transition
from birdnn.sample.draw import BATCH
from tests.compare.files import linear, unit_domain


def compared(tmp_path: Path, before: Path, after: Path, **asked: object) -> CompareOutcome:
    request = CompareRequest(
        before=before, after=after, domain=unit_domain(tmp_path, 2), samples=40_000, bound_s=0.0, **asked
    )
    return compare_files(request)


def test_figures_computed_by_hand(tmp_path: Path) -> None:
    """Outputs (x, y) and (x + 1/4, y): the decision changes where y - 1/4 < x < y, 7/32 of the square."""
    before = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [0, 0])
    after = linear(tmp_path / "b.onnx", [[1, 0], [0, 1]], [0.25, 0])
    (found,) = compared(tmp_path, before, after, decision="argmin").likeness
    assert found.place == "domain"
    assert found.fidelity is not None
    assert found.fidelity.n == found.n == 40_000
    assert found.fidelity.decision_agreement == pytest.approx(25 / 32, abs=0.01)
    assert found.agreement is not None
    assert found.agreement.lower < 25 / 32 < found.agreement.upper
    assert found.agreement.upper - found.agreement.lower < 0.01
    assert found.per_output == pytest.approx((0.25, 0.0), abs=1e-6)
    assert found.fidelity.mae == pytest.approx(0.125, abs=1e-6)
    assert found.mae is not None
    assert found.mae.lower <= found.fidelity.mae <= found.mae.upper + 1e-12
    # output 0 was the least and is not any more, never the other way
    assert [(t.before, t.after) for t in found.transitions] == [(0, 1)]
    assert found.transitions[0].count == round(40_000 * (1 - found.fidelity.decision_agreement))
    (found,) = compared(tmp_path, before, after, decision="argmax").likeness
    assert [(t.before, t.after) for t in found.transitions] == [(1, 0)]


def test_identical_networks_do_not_differ(tmp_path: Path) -> None:
    before = linear(tmp_path / "a.onnx", [[1, 2], [3, -1]], [0, 0.5])
    outcome = compared(tmp_path, before, linear(tmp_path / "b.onnx", [[1, 2], [3, -1]], [0, 0.5]), decision="argmax")
    (found,) = outcome.likeness
    assert found.fidelity is not None
    assert (found.fidelity.decision_agreement, found.fidelity.mae, found.per_output) == (1.0, 0.0, (0.0, 0.0))
    assert (found.transitions, outcome.apart, outcome.structure.changes) == ((), (), ())
    assert outcome.structure.same_file


def test_a_seed_repeats_the_draws(tmp_path: Path) -> None:
    before = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [0, 0])
    after = linear(tmp_path / "b.onnx", [[1, 0], [0.5, 1]], [0, 0])
    one, same, other = (compared(tmp_path, before, after, decision="argmin", seed=s).likeness for s in (1, 1, 2))
    assert one == same
    assert one != other


def test_points_that_violate_in_a_do_not_count(tmp_path: Path) -> None:
    """A repair must change them: y_0 >= 1/2 is unsafe, so that half of the square is left out."""
    before = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [0, 0])
    after = linear(tmp_path / "b.onnx", [[0.5, 0], [0, 1]], [0, 0])
    prop = tmp_path / "p.vnnlib"
    prop.write_text(
        "".join(f"(declare-const X_{i} Real)(declare-const Y_{i} Real)" for i in (0, 1))
        + "".join(f"(assert (>= X_{i} 0.0))(assert (<= X_{i} 1.0))" for i in (0, 1))
        + "(assert (>= Y_0 0.5))"
    )
    domain, region = compared(tmp_path, before, after, props=(prop,)).likeness
    assert domain.fidelity is not None
    assert domain.fidelity.n == pytest.approx(20_000, rel=0.03)
    # mean of x / 2 over x in 0 .. 1/2 is 1/8, halved by the output that stays
    assert domain.fidelity.mae == pytest.approx(1 / 16, rel=0.03)
    assert (region.place, region.n) == ("p", 10_000)
    assert region.drawdown is not None
    assert region.drawdown.share == 0.0
    assert region.healed is not None
    # B violates nowhere but at the corner x = 1
    assert region.healed.hits >= region.healed.n - 1 > 4_000


def test_a_time_limit_means_fewer_points(tmp_path: Path) -> None:
    before = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [0, 0])
    request = CompareRequest(
        before=before, after=before, domain=unit_domain(tmp_path, 2), samples=10**9, bound_s=0.0, timeout_s=1.0
    )
    outcome = compare_files(request, settings=CompareSettings(time_share=0.2))
    assert 0 < outcome.likeness[0].n < 10**9
    assert outcome.wall_s < 60


@pytest.mark.parametrize("decision", ["argmin", "argmax"])
@given(seed=st.integers(0, 2**32 - 1))
def test_depth_is_positive_where_decisions_differ(decision: Decision, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    before, after = (torch.randn(50, 4, generator=draw) for _ in range(2))
    clear, chosen = change_depth(before, after, decision)
    old, new = (y.argmin(1) if decision == "argmin" else y.argmax(1) for y in (before, after))
    assert torch.equal(clear > 0, old != new)
    assert not bool((chosen == old).any())


def test_depth_by_hand() -> None:
    """A prefers 0 to 1 by 3; B prefers 1 to 0 by 2, and 2 to 0 by 0.5."""
    before, after = torch.tensor([[0.0, 3.0, 9.0]]), torch.tensor([[2.0, 0.0, 1.5]])
    clear, chosen = change_depth(before, after, "argmin")
    assert (clear.tolist(), chosen.tolist()) == ([2.0], [1])


def test_a_network_that_gives_no_number_is_refused(tmp_path: Path) -> None:
    """An overflow far out, where the reader's own trial does not look."""
    fine = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [0, 0])
    steep = linear(tmp_path / "b.onnx", [[1e30, 0], [0, 1]], [0, 0])
    domain = tmp_path / "wide.toml"
    domain.write_text("lower = [0, 0]\nupper = [1e12, 1e12]\n")
    with pytest.raises(MismatchError, match="network B has no finite output"):
        compare_files(CompareRequest(before=fine, after=steep, domain=domain, samples=100))


def test_of_few_points_there_is_no_interval_of_a_mean() -> None:
    """And no interval of absolute values begins below zero."""
    values = torch.tensor([0.0, 1.0]).repeat(50).double()
    assert _interval_of_mean(values[:99], 0.95) is None
    found = _interval_of_mean(values, 0.95)
    assert found is not None
    reach = 1.959964 * float(values.std()) / 10
    assert (found.lower, found.upper) == (pytest.approx(0.5 - reach), pytest.approx(0.5 + reach))
    wide = _interval_of_mean(torch.cat([torch.zeros(199), torch.ones(1)]).double(), 0.999)
    assert wide is not None
    assert (wide.lower, wide.confidence) == (0.0, 0.999)


def test_changes_of_decision_are_counted_the_most_frequent_first() -> None:
    before = torch.eye(3)[[0, 0, 1, 1, 1, 2]]
    after = torch.eye(3)[[2, 0, 0, 0, 0, 2]]
    wanted = (Transition(before=1, after=0, count=3), Transition(before=0, after=2, count=1))
    assert _transitions(before, after, "argmax") == wanted
    assert _transitions(before, after, "none") == ()
    assert _transitions(before, before, "argmin") == ()


@pytest.mark.parametrize("more", [0, 1, -1])
def test_chunks_are_as_many_points_as_were_asked_for(more: int) -> None:
    sizes = list(_chunk_sizes(2 * BATCH["cpu"] + more))
    assert sum(sizes) == 2 * BATCH["cpu"] + more
    assert all(0 < size <= BATCH["cpu"] for size in sizes)
    assert list(_chunk_sizes(0)) == []


def test_the_furthest_points_of_each_output_are_kept() -> None:
    """One output that is far apart everywhere does not crowd out the other, nor both a change of decision."""
    before = torch.tensor([[0.0, 1.0]]).repeat(100, 1)
    after = before - torch.stack([100 + torch.arange(100.0), torch.zeros(100)], 1)
    after[3, 1] = -6.0
    after[10:13, 1] = 1.1
    after[5, 0] = 2.0  # the only one that B decides otherwise
    kept = _furthest_points(before, after, "argmin").tolist()
    assert 3 in kept
    assert 99 in kept
    assert 5 in kept
    assert kept == sorted(set(kept))
    assert _furthest_points(before[:2], after[:2], "none").tolist() == [0, 1]
    assert _furthest_points(before[:2, :1], after[:2, :1], "argmin").tolist() == [0, 1]


def test_where_every_point_violates_in_a_nothing_is_said_of_what_was_kept(tmp_path: Path) -> None:
    """What a repair has to change is no part of fidelity; of the region it is told what was healed."""
    before = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [2, 0])
    after = linear(tmp_path / "b.onnx", [[1, 0], [0, 1]], [-2, 0])
    prop = tmp_path / "p.vnnlib"
    prop.write_text(
        "".join(f"(declare-const X_{i} Real)(declare-const Y_{i} Real)" for i in (0, 1))
        + "".join(f"(assert (>= X_{i} 0.0))(assert (<= X_{i} 1.0))" for i in (0, 1))
        + "(assert (>= Y_0 0.5))"
    )
    request = CompareRequest(before=before, after=after, props=(prop,), samples=400, bound_s=0.0)
    (region,) = compare_files(request).likeness
    assert (region.place, region.fidelity, region.agreement, region.n) == ("p", None, None, 100)
    assert region.healed is not None
    assert (region.healed.hits, region.healed.n, region.healed.by_proof) == (100, 100, False)
    assert region.drawdown is not None
    assert (region.drawdown.share, region.drawdown.n) == (None, 0)
