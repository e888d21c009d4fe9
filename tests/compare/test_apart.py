"""What a search finds, what is proved, and that the two do not contradict each other."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.compare import compare_files
from birdnn.compare.apart import Both, _replay_best, _search_aims, furthest_apart
from birdnn.compare.comparing import _Comparison
from birdnn.compare.pair import Pair, read_pair
from birdnn.compare.settings import CompareSettings
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.clock import Clock
from birdnn.records import CompareOutcome, CompareRequest, Decision, ProvedApart, Unwatched
from tests.bounds.builders import random_layers
from tests.compare.files import linear, spike, unit_domain


def compared(folder: Path, before: Path, after: Path, *, n_inputs: int = 2, bound_s: float = 2.0) -> CompareOutcome:
    return compare_files(
        CompareRequest(
            before=before,
            after=after,
            domain=unit_domain(folder, n_inputs),
            decision="argmax",
            samples=4_000,
            bound_s=bound_s,
        )
    )


def test_a_rare_difference_is_searched_for(tmp_path: Path) -> None:
    """About one point in fifty thousand lies on the spike; the search climbs it all the same."""
    flat, high = spike(tmp_path / "a.onnx", 0.0, 3), spike(tmp_path / "b.onnx", 3.0, 3)
    outcome = compared(tmp_path, flat, high, n_inputs=3)
    assert outcome.likeness[0].fidelity is not None
    assert outcome.likeness[0].fidelity.mae < 1e-3
    furthest, decision = outcome.apart
    assert (furthest.output, furthest.place) == (0, "domain")
    assert furthest.size == pytest.approx(3.0, abs=0.01)
    assert furthest.x == pytest.approx((1.0,) * 3, abs=1e-3)
    assert furthest.after[0] - furthest.before[0] == furthest.size
    assert furthest.replayed_by == ("onnxruntime", "onnxruntime")
    # A prefers output 1 by 0.5; B output 0 by up to 2.5: the lesser counts
    assert (decision.output, decision.decided) == (None, (1, 0))
    assert decision.size == pytest.approx(0.5)


def test_what_is_proved_is_not_below_what_is_found(tmp_path: Path) -> None:
    flat, high = spike(tmp_path / "a.onnx", 0.0), spike(tmp_path / "b.onnx", 3.0)
    outcome = compared(tmp_path, flat, high)
    (bound,) = outcome.proved_apart
    assert bound.method == "crown on the difference"
    assert bound.complete
    assert outcome.apart[0].size <= bound.upper[0] <= 3.0 * 1.03
    assert bound.upper[1] < 1e-6
    assert not outcome.disagreement


@pytest.mark.thorough
@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.01, 1.0]))
def test_any_pair_is_bounded(tmp_path: Path, seed: int, share: float) -> None:
    layers, others = (random_layers(s, (2, 5, 4, 2)) for s in (seed, seed + 1))
    mixed = [((1 - share) * w + share * v, (1 - share) * b + share * c) for (w, b), (v, c) in zip(layers, others)]  # noqa: B905
    for name, made in (("a", layers), ("b", mixed)):
        (tmp_path / f"{name}.onnx").write_bytes(layers_to_onnx([(np.float64(w), np.float64(b)) for w, b in made]))
    outcome = compared(tmp_path, tmp_path / "a.onnx", tmp_path / "b.onnx", bound_s=0.3)
    (bound,) = outcome.proved_apart
    for entry in outcome.apart:
        if entry.output is not None:
            assert entry.size <= bound.upper[entry.output] + 1e-5  # found in float32, proved of real numbers
    assert not outcome.disagreement


@pytest.mark.parametrize("which", ["before", "after"])
def test_points_at_which_a_file_gives_no_number_hide_no_difference(tmp_path: Path, which: str) -> None:
    """A file that gives a label is no evidence where it disagrees with its values, see `LabelReplay`."""
    files = [linear(tmp_path / f"{name}.onnx", [[v], [0]], [0, 0.5]) for name, v in (("a", 0), ("b", 1))]
    request = CompareRequest(
        before=files[0], after=files[1], domain=unit_domain(tmp_path, 1), decision="argmax", samples=100
    )
    pair = read_pair(request)
    loaded = getattr(pair, which)
    honest = loaded.replays[0]

    class Unsure:
        name = honest.name

        def __call__(self, x: np.ndarray) -> np.ndarray:
            return honest(x) if x[0] < 0.95 else np.full(2, np.nan)

    pair = replace(pair, **{which: replace(loaded, replays=(Unsure(),))})
    x = torch.linspace(1, 0, 101)[:, None]
    furthest, decision = _replay_best(pair, pair.places()[0], x, 16)
    assert (furthest.output, furthest.size) == (0, pytest.approx(0.94))
    assert (decision.output, decision.size) == (None, pytest.approx(0.44))
    assert all(map(math.isfinite, (*furthest.before, *furthest.after, *decision.before, *decision.after)))
    assert list(_replay_best(pair, pair.places()[0], x[:5], 16)) == []


def test_more_time_gives_a_bound_that_is_no_larger(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        made = random_layers(seed, (3, 20, 20, 2))
        (tmp_path / f"{name}.onnx").write_bytes(layers_to_onnx([(np.float64(w), np.float64(b)) for w, b in made]))
    files = tmp_path / "a.onnx", tmp_path / "b.onnx"
    (short,), (long,) = (compared(tmp_path, *files, n_inputs=3, bound_s=s).proved_apart for s in (1e-6, 3.0))
    assert short.boxes == 1 < long.boxes
    assert all(late <= early for late, early in zip(long.upper, short.upper, strict=True))
    assert max(long.upper) < max(short.upper)


def test_other_structures_are_bounded_each_by_itself(tmp_path: Path) -> None:
    flat = linear(tmp_path / "a.onnx", [[1, 0], [0, 1]], [0, 0])
    outcome = compared(tmp_path, flat, spike(tmp_path / "b.onnx", 3.0))
    (bound,) = outcome.proved_apart
    assert bound.method == "crown on each network by itself"
    assert any("1 affine layers in A, 2 in B" in note for note in outcome.notes)
    assert bound.upper[1] >= 0.5
    assert not outcome.disagreement


def test_a_bound_that_is_too_small_is_called_a_contradiction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop and look, rather than print both."""
    honest = _Comparison.bounded

    def planted(self: _Comparison, *arguments: object) -> ProvedApart:
        entry = honest(self, *arguments)  # type: ignore[arg-type]
        return ProvedApart(
            place=entry.place,
            upper=tuple(0.5 * value for value in entry.upper),
            method=entry.method,
            arithmetic=entry.arithmetic,
            boxes=entry.boxes,
            seconds=entry.seconds,
            complete=entry.complete,
        )

    monkeypatch.setattr(_Comparison, "bounded", planted)
    outcome = compared(tmp_path, spike(tmp_path / "a.onnx", 0.0), spike(tmp_path / "b.onnx", 3.0))
    assert "output 0 differs by" in outcome.disagreement


def pair_of(folder: Path, decision: Decision = "argmax") -> Pair:
    """``(x, y)``, and ``(x, 2 y)``, on the unit square."""
    files = [linear(folder / f"{name}.onnx", [[1, 0], [0, b]], [0, 0]) for name, b in (("a", 1), ("b", 2))]
    asked = {"domain": unit_domain(folder, 2), "decision": decision, "samples": 100}
    return read_pair(CompareRequest(before=files[0], after=files[1], **asked))  # type: ignore[arg-type]


def test_two_networks_as_one_give_the_first_ones_outputs_first(tmp_path: Path) -> None:
    both = Both(*pair_of(tmp_path).nets)
    assert both(torch.tensor([[0.25, 0.5]])).tolist() == [[0.25, 0.5, 0.25, 1.0]]


@pytest.mark.parametrize("decision", ["argmax", "argmin"])
def test_what_is_searched_for(tmp_path: Path, decision: Decision) -> None:
    """Each output above and below, then the clearest change of decision: the aim holds where it happens, only there."""
    pair = pair_of(tmp_path, decision)
    seen = torch.tensor([[0.5, 0.375], [0.9, 0.1]])
    *differences, change = _search_aims(pair, seen, 8)
    assert len(differences) == 4
    both = Both(*pair.nets)
    # A decides for the first output and B for the second, or the other way round
    assert change.margin(both(seen)).gt(0).tolist() == [False, True]
    # output 1, which differs most, comes first: B above A, which lowers the margin
    assert differences[0].margin(both(torch.tensor([[0.5, 0.0], [0.5, 1.0]]))).tolist() == [0.0, -1.0]
    assert differences[1].margin(both(torch.tensor([[0.5, 1.0]]))).tolist() == [1.0]


def test_of_many_outputs_those_are_searched_that_differ_in_samples(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, "none")
    assert len(list(_search_aims(pair, torch.tensor([[0.5, 0.5]]), 1))) == 2
    assert len(list(_search_aims(pair, torch.zeros(0, 2), 8))) == 4
    decided = pair_of(tmp_path)
    assert len(list(_search_aims(decided, torch.zeros(0, 2), 8))) == 4, "no sample says which decisions change"


def test_without_time_the_samples_are_what_was_found(tmp_path: Path) -> None:
    """Run on the files; those outside the place do not count."""
    pair, effort = pair_of(tmp_path), CompareSettings()
    (place,) = pair.places()
    clock = Clock(timeout_s=0.0, watch=Unwatched())
    seen = torch.tensor([[0.5, 0.25], [0.75, 0.5], [2.0, 2.0]])
    furthest, change = furthest_apart(pair, place, seen, effort, clock, thorough=True)
    assert (furthest.output, furthest.size, furthest.x) == (1, 0.5, (0.75, 0.5))
    assert (furthest.before, furthest.after) == ((0.75, 0.5), (0.75, 1.0))
    assert (change.decided, change.size) == ((0, 1), 0.25)
    assert furthest_apart(pair, place, seen[2:], effort, clock, thorough=True) == ()
    assert furthest_apart(pair, place, seen[:0], effort, clock, thorough=True) == ()
