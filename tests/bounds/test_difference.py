"""How far apart two networks can be: no sampled difference exceeds a bound, and close networks have small ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds import difference
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.difference import (
    CompiledDifferenceBound,
    DifferenceBound,
    SeparateBound,
    difference_questions,
    in_all_forms,
    layer_mismatch,
)
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound, Question
from birdnn.bounds.rules import activation_value
from birdnn.boxes import Boxes
from birdnn.chain import Activation, NotAChain
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    Layers,
    graph_net,
    outputs_at,
    points_of,
    random_boxes,
    random_layers,
)

SEEDS = st.integers(0, 2**32 - 1)
SIZES = (3, 6, 5, 4, 2)


def upper(bound: MarginBound, boxes: Boxes, n_outputs: int) -> torch.Tensor:
    """Bounds of the absolute difference of each output, (boxes, outputs)."""
    question = difference_questions(n_outputs, CPU)
    opened = torch.ones(len(boxes), len(question), dtype=torch.bool)
    lower = bound.bound(question, boxes, opened, bound.root(len(boxes))).lower
    return (-lower).reshape(len(boxes), n_outputs, 2).amax(2)


def moved(layers: Layers, seed: int, size: float, places: set[int]) -> Layers:
    """Some of the layers with other weights."""
    rng = np.random.default_rng(seed + 1)
    return [
        (
            (w + size * rng.normal(size=w.shape)).astype(np.float32) if k in places else w,
            (b + size * rng.normal(size=b.shape)).astype(np.float32) if k in places else b,
        )
        for k, (w, b) in enumerate(layers)
    ]


def pair(seed: int, op: str, alpha: float | None, size: float, places: set[int]) -> tuple[Network, Network]:
    layers = random_layers(seed, SIZES)
    first, second = (network_from_layers(made, op, alpha=alpha) for made in (layers, moved(layers, seed, size, places)))
    return first, second


def check_sound(before: Network, after: Network, bound: MarginBound, seed: int) -> None:
    """Differences at corners, centres and random points of boxes, none of them above the bound."""
    boxes = Boxes.concatenate([random_boxes(seed, 3, 3), random_boxes(seed + 1, 3, 3, width=0.05)])
    points = points_of(boxes, seed, 200)
    seen = (outputs_at(after, points) - outputs_at(before, points)).abs().amax(1)
    assert bool((seen <= upper(bound, boxes, before.n_outputs)).all())


@pytest.mark.thorough
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=8)
@given(seed=SEEDS, size=st.sampled_from([0.0, 1e-4, 0.05, 2.0]), first=st.integers(0, 3))
def test_no_difference_exceeds_its_bound(op: str, alpha: float | None, seed: int, size: float, first: int) -> None:
    """A bound below a difference that occurs would promise what is false."""
    before, after = pair(seed, op, alpha, size, {first, 3} if seed % 2 else {first})
    check_sound(before, after, DifferenceBound(before, after, CPU), seed)


@settings(max_examples=8)
@given(seed=SEEDS)
def test_networks_bounded_each_by_itself(seed: int) -> None:
    """Other depths, other activations, intervals: sound all the same."""
    before = network_from_layers(random_layers(seed, SIZES), "Relu")
    after = network_from_layers(random_layers(seed + 1, (3, 7, 2)), "Tanh")
    for make in (CrownBound, IntervalBound):
        check_sound(before, after, SeparateBound(make(before, CPU), make(after, CPU), 2), seed)


def line(weight: float, bias: float, last: float) -> Network:
    """``last * relu(weight x + bias)``."""
    layers = [(np.array([[weight]], np.float32), np.array([bias], np.float32))]
    return network_from_layers([*layers, (np.array([[last]], np.float32), np.zeros(1, np.float32))], "Relu")


UNIT = Boxes(torch.tensor([[-1.0]]).double(), torch.tensor([[1.0]]).double())


@pytest.mark.parametrize(
    ("before", "after", "most"),
    [
        (line(1, 0, 1), line(1, 0, 2), 1.0),  # relu(x), at most 1 at x = 1
        (line(1, 0, 1), line(1, 0.25, 1), 0.25),  # shifted: by 0.25 wherever both are active
        (line(1, 0, 1), line(1, 0, 1), 0.0),
    ],
)
def test_bounds_computed_by_hand(before: Network, after: Network, most: float) -> None:
    found = float(upper(DifferenceBound(before, after, CPU), UNIT, 1))
    assert most <= found <= most + 1e-9


def test_a_small_change_has_a_small_bound() -> None:
    """Bounding each network by itself cannot tell: that is what following the difference is for."""
    before, after = pair(3, "Relu", None, 1e-4, {0, 1, 2, 3})
    boxes = random_boxes(0, 4, 3)
    together = upper(DifferenceBound(before, after, CPU), boxes, 2)
    apart = upper(SeparateBound(CrownBound(before, CPU), CrownBound(after, CPU), 2), boxes, 2)
    assert float(together.max()) < 0.02
    assert bool((together < apart / 20).all())


def test_a_planted_error_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slopes that are a tenth too small make some bound too small, and the test above sees it."""
    honest = difference.slope_range

    def planted(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        least, most = honest(*arguments)  # type: ignore[arg-type]
        return least, 0.9 * most

    monkeypatch.setattr(difference, "slope_range", planted)

    def look() -> None:
        for seed in range(20):
            before, after = pair(seed, "Relu", None, 0.05, {0})
            check_sound(before, after, DifferenceBound(before, after, CPU), seed)

    with pytest.raises(AssertionError):
        look()


def ranges(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ranges on both sides of zero and on either, some of them points, (1, count) each."""
    rng = torch.Generator().manual_seed(seed)
    ends = 3 * torch.randn(2, 1, count, generator=rng, dtype=torch.float64)
    ends[1, :, ::7] = ends[0, :, ::7]
    return ends.amin(0), ends.amax(0)


def within(low: torch.Tensor, up: torch.Tensor, seed: int, count: int = 200) -> torch.Tensor:
    """Points of ranges, ends included, (count, n)."""
    share = torch.rand(count, low.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([low, up, torch.minimum(low + share * (up - low), up)])


@given(seed=SEEDS)
def test_lines_lie_around_all_that_slopes_allow(seed: int) -> None:
    """They are tight: less of an offset, and some multiple of d lies outside."""
    below, above, (low, up) = ranges(seed, 60), ranges(seed + 2, 60), ranges(seed + 1, 60)
    lines = difference._gap_lines(below, above, low, up)
    d = within(low, up, seed)
    for share in (0.0, 0.5, 1.0):
        lower, upper = (least + share * (most - least) for least, most in (below, above))
        assert bool((lines.low[0].at(d) <= lower * d + 1e-9).all())
        assert bool((upper * d <= lines.up[0].at(d) + 1e-9).all())
    ends = torch.cat([low, up])
    for line, multiples, hull in ((lines.up[0], above, torch.maximum), (lines.low[0], below, torch.minimum)):
        touched = (line.at(ends) - hull(multiples[0] * ends, multiples[1] * ends)).abs()
        assert float(touched.max()) < 1e-9


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_every_secant_is_between_the_slopes(op: str, alpha: float | None, seed: int) -> None:
    activation = network_from_layers(random_layers(0, SIZES), op, alpha=alpha).chain()[1]
    assert isinstance(activation, Activation)
    low, up = ranges(seed, 60)
    least, most = difference.slope_range(activation, low, up)
    z, other = within(low, up, seed), within(low, up, seed + 1).flip(0)
    run = other - z
    rise = activation_value(activation, other) - activation_value(activation, z)
    slack = 1e-12 * (1 + z.abs() + other.abs())
    assert bool((rise >= torch.minimum(least * run, most * run) - slack).all())
    assert bool((rise <= torch.maximum(least * run, most * run) + slack).all())


@pytest.mark.parametrize(("op", "alpha"), [*ACTIVATIONS, ("LeakyRelu", 1.5), ("LeakyRelu", -0.5), ("Elu", 0.5)])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_every_difference_is_between_the_multiples(op: str, alpha: float | None, seed: int) -> None:
    """Of what each network's range says by itself, of convex, concave and other activations."""
    activation = network_from_layers(random_layers(0, SIZES), op, alpha=alpha).chain()[1]
    assert isinstance(activation, Activation)
    (low, up), (low_b, up_b) = ranges(seed, 60), ranges(seed + 1, 60)
    nothing = torch.zeros_like(low)
    below, above = difference._gap_slopes(
        activation, torch.cat([low, low_b, nothing], 1), torch.cat([up, up_b, nothing], 1)
    )
    a, b = within(low, up, seed), within(low_b, up_b, seed + 2).flip(0)
    d, rise = b - a, activation_value(activation, b) - activation_value(activation, a)
    slack = 1e-11 * (1 + a.abs() + b.abs())
    assert bool((rise >= torch.minimum(below[0] * d, below[1] * d) - slack).all())
    assert bool((rise <= torch.maximum(above[0] * d, above[1] * d) + slack).all())


@pytest.mark.parametrize(("op", "alpha"), [*ACTIVATIONS, ("LeakyRelu", 1.5)])
@pytest.mark.parametrize("places", [{0, 1, 2, 3}, {2}])
def test_the_compiled_bounds_are_the_same(op: str, alpha: float | None, places: set[int]) -> None:
    """With several rows in a polytope, from scratch and from what was inherited, and where boxes are to be cut."""
    before, after = pair(4, op, alpha, 0.05, places)
    steps = CrownSettings(steps=0)  # the ascent goes other ways where derivatives are a hair from zero
    bounds = DifferenceBound(before, after, CPU, steps), CompiledDifferenceBound(before, after, steps, 2, always=True)
    rows = torch.tensor([[[1.0, 0, -1, 0], [0.5, 0, 0, -0.25]], [[0, 1, 0, -1], [0, -1, 1, 0]]], dtype=torch.float64)
    question = Question(rows, torch.full((2, 2), 0.125, dtype=torch.float64), torch.ones(2, dtype=torch.bool))
    boxes = Boxes.concatenate([random_boxes(0, 6, 3), random_boxes(1, 6, 3, width=0.05)])
    opened, known = torch.ones(12, 2, dtype=torch.bool), [bound.root(12) for bound in bounds]
    for _ in range(2):
        one, other = (b.bound(question, boxes, opened, k) for b, k in zip(bounds, known, strict=True))
        for name in ("lower", "inherited"):
            assert torch.allclose(getattr(one, name), getattr(other, name), rtol=1e-7, atol=1e-9), name
        first, second = (
            b.sensitivity(question, opened, r.inherited) for b, r in zip(bounds, (one, other), strict=True)
        )
        assert torch.allclose(first, second, rtol=1e-7)
        assert other.left is not None
        known, boxes = [one.inherited, other.inherited], boxes.bisect(first.argmax(1))[:12]


@pytest.mark.parametrize("make", [DifferenceBound, CompiledDifferenceBound])
@settings(max_examples=6)
@given(seed=SEEDS)
def test_no_row_on_both_networks_is_below_its_bound(make: type, seed: int) -> None:
    """Rows that are no differences, on nets of any kind of layer."""
    before, after = pair(seed, *ACTIVATIONS[seed % len(ACTIVATIONS)], [0.01, 0.5][seed % 2], {seed % 4})
    bound = make(before, after, CPU) if make is DifferenceBound else make(before, after, always=True)
    boxes = random_boxes(seed, 3, 3, width=0.5)
    rng = torch.Generator().manual_seed(seed)
    a = (4 * torch.randn(3, 1, 4, generator=rng, dtype=torch.float64)).round() / 4
    question = Question(a, torch.zeros(3, 1, dtype=torch.float64), torch.ones(3, dtype=torch.bool))
    lower = bound.bound(question, boxes, torch.ones(3, 3, dtype=torch.bool), bound.root(3)).lower.reshape(3, 3)
    points = points_of(boxes, seed, 200)
    outputs = torch.cat([outputs_at(before, points), outputs_at(after, points)], -1).double()
    seen = torch.einsum("bno,pro->bnpr", outputs, a).amin((1, 3))
    assert bool((lower <= seen + 1e-12 * (1 + seen.abs())).all())


def test_forms_of_a_row_are_the_same_row() -> None:
    """Exactly, and none of them where a sum of coefficients would be rounded."""
    a = torch.tensor([[[1.0, 2, -1, 3]], [[1.0, 1, 2.0**-60, 1]]], dtype=torch.float64)
    question = in_all_forms(Question(a, torch.zeros(2, 1, dtype=torch.float64), torch.ones(2, dtype=torch.bool)))
    y = torch.randint(-8, 8, (50, 4), generator=torch.Generator().manual_seed(0)).double()
    joint = torch.cat([y, y[:, 2:] - y[:, :2]], 1)
    values = torch.einsum("pro,no->npr", question.a, joint)
    assert bool((values[:, 0] == (y @ a[0, 0])[:, None]).all())
    assert bool((question.a[1] == torch.cat([a[1, 0], a.new_zeros(2)])).all())


def coarse(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers whose differences float64 holds."""
    return (numbers * 2**20).round() / 2**20


@given(seed=SEEDS)
def test_blocks_that_tighten_each_other_lose_nothing(seed: int) -> None:
    """Every a, b and b - a that was possible before is so afterwards, and no range grows."""
    parts = [tuple(coarse(end) for end in ranges(seed + k, 40)) for k in range(2)]
    a, b = (coarse(within(low, up, seed + 5 + k)) for k, (low, up) in enumerate(parts))
    d = b - a
    low = torch.cat([parts[0][0], parts[1][0], d.amin(0, keepdim=True)], 1)
    up = torch.cat([parts[0][1], parts[1][1], d.amax(0, keepdim=True) + 1], 1)
    before = low.clone(), up.clone()
    difference._tighten_blocks(low, up)
    everything = torch.cat([a, b, d], 1)
    assert bool(((everything >= low) & (everything <= up)).all())
    assert bool(((low >= before[0]) & (up <= before[1])).all())
    # where d is not known, it follows
    low[:, 80:], up[:, 80:] = -math.inf, math.inf
    difference._tighten_blocks(low, up)
    assert bool(((d >= low[:, 80:]) & (d <= up[:, 80:]) & up[:, 80:].isfinite()).all())


def test_layers_in_which_the_networks_agree_are_one_network() -> None:
    """What they cannot differ in costs nothing and adds nothing."""
    before, after = pair(5, "Relu", None, 0.1, {3})
    assert difference._shared_layers(before, after) == 3
    assert [layer.bias.shape[0] for layer in DifferenceBound(before, after, CPU)._layer] == [6, 5, 4, 6]
    before, after = pair(5, "Relu", None, 0.1, {1})
    assert difference._shared_layers(before, after) == 1
    # the same numbers by other operations may round differently when they are folded
    gemm = [("Gemm", ("x", "w", "b"), "z", {"transB": 1}), ("Relu", ("z",), "y", {})]
    weight, bias = random_layers(5, SIZES)[0]
    assert difference._shared_layers(before, graph_net(gemm, {"w": weight, "b": bias}, [1, 3])) == 0


def test_networks_without_a_correspondence_say_why() -> None:
    relu, tanh = pair(0, "Relu", None, 0.1, {0})[0], pair(0, "Tanh", None, 0.1, {0})[0]
    assert layer_mismatch(relu.chain(), relu.chain()) == ""
    assert layer_mismatch(relu.chain(), tanh.chain()) == (
        "the activation behind affine layer 1 is relu in A, tanh in B"
    )
    small = network_from_layers(random_layers(0, (3, 2)), "Relu")
    assert layer_mismatch(relu.chain(), small.chain()) == "4 affine layers in A, 1 in B"
    narrow = network_from_layers(random_layers(0, (3, 6, 3, 4, 2)), "Relu")
    assert layer_mismatch(relu.chain(), narrow.chain()) == "affine layer 2 is 5 x 6 in A, 3 x 6 in B"
    with pytest.raises(NotAChain, match="do not correspond"):
        DifferenceBound(relu, tanh, CPU)


def test_an_overflow_says_nothing() -> None:
    def scaled(seed: int, by: float) -> Network:
        return network_from_layers([(w * np.float32(by), b) for w, b in random_layers(seed, SIZES)], "Relu")

    with pytest.raises(NotAChain, match="multiply to"):
        DifferenceBound(scaled(0, 1e38), scaled(1, 1e37), CPU)
    boxes = random_boxes(0, 3, 3, width=1e300)
    found = upper(DifferenceBound(scaled(0, 1e22), scaled(1, 1e21), CPU), boxes, 2)
    assert bool((found == math.inf).all())
