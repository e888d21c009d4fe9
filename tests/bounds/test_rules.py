"""Lines around activations: nothing above an upper line, nothing below a lower one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.bounds import rules
from birdnn.bounds.rules import RULES, SLOPES, Line, Relaxation, activation_value, relax
from birdnn.chain import Activation

SCALED = ("leaky_relu", "elu")
KINDS = tuple(RULES)
ALPHAS = {"leaky_relu": (0.01, 0.0, 1.0, -0.5, 1.5), "elu": (1.0, 0.3, 0.0, 2.0, -0.7)}
CASES = [Activation(kind, alpha) for kind in KINDS for alpha in ALPHAS.get(kind, (0.0,))]
INTERVALS = [
    (-1.0, 2.0), (-3.0, 0.5), (-0.5, 3.0), (-2.0, 2.0), (-5.0, -1.0), (0.5, 4.0), (-1.0, 0.0), (0.0, 1.0), (-30.0, 1.0),
    (-1.0, 30.0), (-0.3, 0.3), (-8.0, 6.0),
]  # fmt: skip


def check_lines(activation: Activation, lower: float, upper: float, points: int = 301) -> None:
    """Every mixture of the two lower (upper) lines stays below (above) the activation on the whole interval."""
    ends = torch.tensor([[lower, upper]], dtype=torch.float64)
    found = relax(activation, ends[:, :1], ends[:, 1:])
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    z = torch.cat([lower + share * (upper - lower), torch.tensor([0.0, 1e-9, -1e-9], dtype=torch.float64)])
    z = z.clamp(lower, upper)
    f = activation_value(activation, z)
    scale = 1 + max(abs(lower), abs(upper)) * (1 + abs(activation.alpha))
    for weight in (0.0, 0.3, 1.0):
        low = torch.lerp(at(found.low[0], z), at(found.low[1], z), weight)
        up = torch.lerp(at(found.up[0], z), at(found.up[1], z), weight)
        assert bool((low <= f + 4e-15 * scale).all()), "a lower line crosses"
        assert bool((up >= f - 4e-15 * scale).all()), "an upper line crosses"


def check_many(activation: Activation) -> None:
    """`check_lines` on a fixed set of intervals, for the planted bugs."""
    for interval in INTERVALS:
        check_lines(activation, *interval)


def at(line: Line, z: Tensor) -> Tensor:
    """The line's values, written out once more."""
    return line.slope[0] * z + (0 if line.offset is None else line.offset[0])


def intervals() -> st.SearchStrategy[tuple[float, float]]:
    """Ends of all magnitudes: saturated, tiny, one-sided, points."""
    ends = st.one_of(
        st.floats(-3, 3),
        st.floats(-60, 60),
        st.floats(-1e4, 1e4),
        st.sampled_from([0.0, 1e-300, -1e-300, 5e-324, 1e-9, -1e-9, 1e-12, 37.0, -37.0, 709.0, -745.0]),
    )
    widths = st.one_of(st.floats(0, 5), st.floats(0, 1e-8), st.just(0.0), st.floats(0, 1e4))
    return st.one_of(st.tuples(ends, ends).map(sorted), st.tuples(ends, widths).map(lambda p: (p[0], p[0] + p[1]))).map(
        tuple
    )


@pytest.mark.parametrize("activation", CASES, ids=str)
@settings(max_examples=60)
@given(interval=intervals())
@example(interval=(-1e-10, 1e-10))
@example(interval=(-40.0, 18.0))
@example(interval=(15.0, 60.0))
def test_no_line_crosses_its_activation(activation: Activation, interval: tuple[float, float]) -> None:
    """A line that crosses proves what is false, on whatever interval it happens."""
    check_lines(activation, *interval)


@pytest.mark.parametrize("kind", SCALED)
@given(alpha=st.floats(-3, 4), interval=intervals())
def test_no_line_crosses_for_any_alpha(kind: str, alpha: float, interval: tuple[float, float]) -> None:
    """A file may give any alpha: negative, above one, zero; the formulas for 0..1 are wrong there."""
    check_lines(Activation(kind, alpha), *interval)


@pytest.mark.parametrize("activation", CASES, ids=str)
@pytest.mark.parametrize("centre", [-2.0, -1e-3, 0.0, 1e-3, 2.0])
def test_lines_close_in_on_the_activation(activation: Activation, centre: float) -> None:
    """Lines that keep their distance on shrinking intervals would leave a search without an end (ELU, alpha < 0)."""
    for width in (1e-2, 1e-4, 1e-6):
        z = (
            torch.tensor([[centre - width / 3]], dtype=torch.float64),
            torch.tensor([[centre + width]], dtype=torch.float64),
        )
        found = relax(activation, *z)
        for end in z:
            gaps = [at(up, end[0]) - at(low, end[0]) for up in found.up for low in found.low]
            assert max(float(gap) for gap in gaps) <= 8 * width + 1e-14


@pytest.mark.parametrize("activation", CASES, ids=str)
@pytest.mark.parametrize("ends", [(-math.inf, math.inf), (-math.inf, 1.0), (-1.0, math.inf), (-1.7e308, 1.7e308)])
def test_lines_on_unbounded_intervals_claim_nothing(activation: Activation, ends: tuple[float, float]) -> None:
    """Bounds that overflowed come in as infinities; a finite line that crosses would turn them into a proof."""
    found = relax(activation, *(torch.tensor([[end]], dtype=torch.float64) for end in ends))
    z = torch.tensor([-700.0, -1.0, 0.0, 1.0, 700.0], dtype=torch.float64).clamp(*ends)
    f = activation_value(activation, z)
    for line in found.low:
        assert not bool((at(line, z) > f + 1e-12 * (1 + f.abs())).any())
    for line in found.up:
        assert not bool((at(line, z) < f - 1e-12 * (1 + f.abs())).any())


@pytest.mark.parametrize("activation", CASES, ids=str)
@pytest.mark.parametrize("ends", [(math.nan, math.nan), (math.nan, 1.0), (-1.0, math.nan)])
def test_lines_on_no_interval_are_no_lines(activation: Activation, ends: tuple[float, float]) -> None:
    """NaN is neither below nor above zero: not both signs, hence once the line of an inactive ReLU."""
    found = relax(activation, *(torch.tensor([[end]], dtype=torch.float64) for end in ends))
    z = torch.tensor([-2.0, 0.0, 2.0], dtype=torch.float64)
    f = activation_value(activation, z)
    assert not any(bool((at(line, z) > f).any()) for line in found.low)
    assert not any(bool((at(line, z) < f).any()) for line in found.up)


def test_each_rule_has_its_function() -> None:
    """A rule around another function than the network's bounds something else."""
    z = torch.linspace(-3, 3, 25, dtype=torch.float64)
    torch_functions = {
        "relu": lambda v, a: torch.relu(v),
        "leaky_relu": torch.nn.functional.leaky_relu,
        "elu": torch.nn.functional.elu,
        "sigmoid": lambda v, a: torch.sigmoid(v),
        "tanh": lambda v, a: torch.tanh(v),
    }
    assert set(RULES) == set(SLOPES) == set(torch_functions)
    for activation in CASES:
        expected = torch_functions[activation.kind](z, activation.alpha)
        assert torch.allclose(activation_value(activation, z), expected, rtol=1e-15, atol=1e-15)


def test_an_activation_without_a_rule_has_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default rule would be unsound for whatever comes next."""
    monkeypatch.delitem(rules.RULES, "tanh")
    z = torch.zeros(1, 1, dtype=torch.float64)
    with pytest.raises(KeyError):
        relax(Activation("tanh"), z, z)


def _scaled(line: Line, slope: float, offset: float) -> Line:
    return Line(line.slope * slope, None if line.offset is None else line.offset * offset)


BUGS = {
    "upper lines scaled by 0.9": lambda r: Relaxation(
        r.low, (_scaled(r.up[0], 0.9, 0.9), _scaled(r.up[1], 0.9, 0.9)), r.start
    ),
    "one upper line scaled by 0.9": lambda r: Relaxation(r.low, (r.up[0], _scaled(r.up[1], 0.9, 0.9)), r.start),
    "lower lines scaled by 1.1": lambda r: Relaxation(
        (_scaled(r.low[0], 1.1, 1.1), _scaled(r.low[1], 1.1, 1.1)), r.up, r.start
    ),
    "sign of the lower slopes": lambda r: Relaxation(
        (_scaled(r.low[0], -1, 1), _scaled(r.low[1], -1, 1)), r.up, r.start
    ),
    "sign of an upper slope": lambda r: Relaxation(r.low, (_scaled(r.up[0], -1, 1), r.up[1]), r.start),
    "lower and upper exchanged": lambda r: Relaxation(r.up, r.low, r.start),
}


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("activation", [Activation(k, ALPHAS.get(k, (0.0,))[0]) for k in KINDS], ids=str)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, activation: Activation, bug: str) -> None:
    """A check that cannot fail checks nothing."""
    right = rules.RULES[activation.kind]
    check_many(activation)
    monkeypatch.setitem(rules.RULES, activation.kind, lambda *args: BUGS[bug](right(*args)))
    with pytest.raises(AssertionError, match="line crosses"):
        check_many(activation)
