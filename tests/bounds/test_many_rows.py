"""Conjunctions of hundreds of rows: their multipliers are no less than 0, and what combining them errs by is paid."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.bounds import crown
from birdnn.bounds.compiled import state, step
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.minima import step_multipliers
from birdnn.bounds.protocol import BoundResult
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope
from tests.bounds.builders import CPU, all_open, compiled, half_space, question_of
from tests.bounds.test_crown import SEEDS

OFFSET, EPSILON = 0.0000123, 1e-9
FORMS = pytest.mark.parametrize("make", [CrownBound, compiled])


def weights_of(seed: int, rows: int, kind: str) -> np.ndarray:
    """Of sum 1, about: equal, random, one large one, or just above the middle between two steps of the rounding."""
    rng = np.random.default_rng(seed)
    raw = {
        "equal": np.ones(rows),
        "random": rng.random(rows) ** 8 + 1e-12,
        "one": np.where(np.arange(rows) == seed % rows, 1e6, 1.0),
        "above the middle": np.full(rows, math.floor(4096 / rows) + 0.6),
    }[kind]
    return np.asarray(raw / raw.sum())


@given(
    seed=SEEDS,
    rows=st.integers(1, 3000) | st.integers(80, 500),
    kind=st.sampled_from(["equal", "random", "one", "above the middle"]),
)
def test_multipliers_stay_on_the_simplex(seed: int, rows: int, kind: str) -> None:
    """In both forms: multiples of 2**-12, none negative, of sum 1 exactly."""
    weights = weights_of(seed, rows, kind)
    ours = weights.copy()
    step.settle(ours, rows)
    theirs = step_multipliers(torch.from_numpy(weights)[None], torch.zeros(1, rows, dtype=torch.float64), 0.1)
    for found in (ours, theirs[0].numpy()):
        assert (found >= 0).all()
        assert found.sum() == 1
        assert (found * 4096 == np.rint(found * 4096)).all()
    assert np.abs(ours - weights).max() <= (rows + 1) / 4096


def reached() -> tuple[Network, Boxes, tuple[Polytope, ...]]:
    """A network that copies its input, a box, and 412 rows that hold together at one input of it."""
    layers = [(np.array([[1.0], [0.0]]), np.array([10.0, 1.0])), (np.eye(2), np.array([-10.0, 0.0]))]
    net = network_from_layers([(w.astype(np.float32), b.astype(np.float32)) for w, b in layers], "Relu", alpha=None)
    rows = [half_space([0.0, -1.0], 0.0)] * 206
    rows += [half_space([1.5 * side, 0.0], EPSILON + side * 1.5 * OFFSET) for side in (-1, 1)] * 103
    polytope = Polytope(rows=tuple(row.rows[0] for row in rows), n_outputs=2)
    one = torch.ones(1, 1, dtype=torch.float64)
    return net, Boxes(-one, one), (polytope,)


def bounded(make: Any, semantics: str = "real") -> tuple[bool, BoundResult]:
    """Is it proved, and what was found?"""
    net, boxes, polytopes = reached()
    bound, question = make(net, CPU, CrownSettings(), semantics, True), question_of(polytopes)
    result = bound.bound(question, boxes, all_open(boxes, polytopes), bound.root(1))
    return bool(question.excluded(result.lower, result.polytope)[0]), result


@FORMS
@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_what_is_reached_is_not_proved(make: Any, semantics: str) -> None:
    """With multipliers rounded to the nearest, the largest of so many became -0.0059, and this was proved."""
    net, _, (polytope,) = reached()
    with torch.no_grad():
        y = net(torch.tensor([[OFFSET]], dtype=torch.float64))
    assert float(polytope.margin(y)) < 0
    proved, result = bounded(make, semantics)
    assert not proved
    assert result.choices is not None
    assert float(result.choices.multipliers.amin()) >= 0


def _nearest(multiplier: Any, rows: int) -> None:
    multiplier[:rows] = np.rint(multiplier[:rows] * 4096) / 4096
    multiplier[np.argmax(multiplier[:rows])] += 1 - multiplier[:rows].sum()


def test_a_negative_multiplier_proves_nothing(plain: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: rounding to the nearest. The loops do not take what comes of it; without that look they would."""
    monkeypatch.setattr(plain["step"], "settle", _nearest)
    seen = []
    right = plain["step"].start

    def start(net: Any, a: Any, b: Any, s: Any, place: int) -> None:
        seen.append(float(s.combined[state.MULTIPLIER].min()))
        right(net, a, b, s, place)

    monkeypatch.setattr(plain["step"], "start", start)
    with np.errstate(all="ignore"):
        assert not bounded(compiled)[0]
        assert min(seen) < 0, "nothing was planted"

        def believing(net: Any, a: Any, b: Any, s: Any, place: int) -> None:
            negative = s.combined[state.MULTIPLIER] < 0
            saved, at = s.combined[state.MULTIPLIER].copy(), place
            s.combined[state.MULTIPLIER][negative] = 0.0
            right(net, a, b, s, at)
            s.combined[state.MULTIPLIER] = saved
            for r in np.nonzero(negative)[0]:
                s.constant[at] -= saved[r] * b[r]
                last = net.shape[:, -2]
                for i in range(a.shape[1]):
                    j = last[state.AT] + i * last[state.WIDTH]
                    s.constant[at] += saved[r] * a[r, i] * net.bias[state.BIAS, last[state.ROW] + i]
                    s.rows[0, at, : last[state.WIDTH]] += (
                        saved[r] * a[r, i] * net.matrix[state.WEIGHT, j : j + last[state.WIDTH]]
                    )

        monkeypatch.setattr(plain["step"], "start", believing)
        assert bounded(compiled)[0], "the test would not see it"


def test_torch_rounds_down_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in the reference."""

    def nearest(weights: torch.Tensor, margins: torch.Tensor, size: float) -> torch.Tensor:
        del size
        slope = margins - margins.mean(1, keepdim=True)
        moved = (weights + 0.25 * slope / slope.abs().amax(1, keepdim=True).clamp(min=1e-12)).clamp(min=0)
        made = (moved / moved.sum(1, keepdim=True)).numpy().copy()
        for row in made:
            _nearest(row, len(row))
        return torch.from_numpy(made)

    assert not bounded(CrownBound)[0]
    monkeypatch.setattr(crown, "step_multipliers", nearest)
    assert bounded(CrownBound)[0], "the test would not see it"


@FORMS
def test_more_rows_pay_more(make: Any) -> None:
    """A conjunction of one row many times says what the row says; adding up errs the more, the more there are."""
    net = network_from_layers([(np.ones((2, 1), np.float32), np.ones(2, np.float32))], "Relu", alpha=None)
    point = torch.zeros(1, 1, dtype=torch.float64)
    short = []
    for rows in (1, 32, 320, 3200):
        polytope = Polytope(rows=half_space([1.0, -1.0], -1e-9).rows * rows, n_outputs=2)
        bound, question = make(net, CPU, CrownSettings(), "real"), question_of((polytope,))
        result = bound.bound(question, Boxes(point, point), torch.ones(1, 1, dtype=torch.bool), bound.root(1))
        short.append(1e-9 - float(result.lower[0]))
    assert 0 < short[0] == pytest.approx(short[1], rel=1e-3)
    assert short[2] > 5 * short[1]
    assert short[3] > 5 * short[2]
