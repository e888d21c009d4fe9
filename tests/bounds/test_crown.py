"""CROWN: no reachable margin lies below its bound, whatever slopes and multipliers it takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.bounds import crown
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.minima import minimum_of, step_multipliers
from birdnn.bounds.protocol import BoundResult, MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.chain import Affine, NotAChain
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.spec import Polytope
from birdnn.verify import SearchSettings
from birdnn.verify.bounding import make_bound
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    all_open,
    convolution,
    exact_margin,
    graph_net,
    half_space,
    outputs_at,
    points_of,
    question_of,
    random_boxes,
    random_layers,
    random_net,
    random_polytopes,
)

SEEDS = st.integers(0, 2**32 - 1)
TOLERANCE = 1e-9  # rounding in float64 of networks with values of order 10


def check_bound(
    net: Network,
    boxes: Boxes,
    polytopes: tuple[Polytope, ...],
    effort: CrownSettings,
    make: Callable[..., MarginBound] = CrownBound,
) -> BoundResult:
    """Bounds, planes and inherited bounds all lie on the right side of what the network does at sampled points."""
    bound = make(net, CPU, effort)
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(len(boxes)))
    points = points_of(boxes)
    check_items(found, boxes, polytopes, points, outputs_at(net, points))
    check_inherited(net, found.inherited, points)
    return found


def check_items(
    found: BoundResult, boxes: Boxes, polytopes: tuple[Polytope, ...], points: Tensor, outputs: Tensor
) -> None:
    """Each bound below each sampled margin, each plane below the margin too and its minimum what it says."""
    for i, (box, polytope) in enumerate(zip(found.box.tolist(), found.polytope.tolist(), strict=True)):
        margins = outputs[box] @ polytopes[polytope].a.T - polytopes[polytope].b
        margin = margins.amax(1)
        assert not bool(found.lower[i] > margin.amin() + TOLERANCE), "a bound above a reachable margin"
        for plane, minimum in zip(found.plane[i], found.plane_minimum[i], strict=True):
            side = torch.where(plane > 0, boxes.lower[box], boxes.upper[box])
            at_points = (points[box] - side) @ plane + minimum
            assert not bool((at_points > margin + TOLERANCE).any()), "a plane above a reachable margin"


def check_inherited(net: Network, inherited: Tensor, points: Tensor) -> None:
    """The bounds of hidden neurons that halves of a box start from hold what really arrives there."""
    neurons = inherited.shape[1] // 2  # a last column may say more
    lower, upper = inherited[:, :neurons], inherited[:, neurons : 2 * neurons]
    start, x = 0, points
    chain = net.chain()
    for layer, activation in itertools.pairwise([*chain, None]):
        if isinstance(layer, Affine):
            x = x @ layer.weight.T + layer.bias
            if activation is not None:
                span = slice(start, start := start + x.shape[-1])
                assert not bool((x < lower[:, None, span] - TOLERANCE).any()), "a neuron below its bound"
                assert not bool((x > upper[:, None, span] + TOLERANCE).any()), "a neuron above its bound"
        else:
            x = crown_value(layer.kind, layer.alpha, x)


def crown_value(kind: str, alpha: float, z: Tensor) -> Tensor:
    """The activations, written out once more."""
    return {
        "relu": lambda: torch.relu(z),
        "leaky_relu": lambda: torch.where(z > 0, z, alpha * z),
        "elu": lambda: torch.where(z > 0, z, alpha * torch.expm1(z.clamp(max=0))),
        "sigmoid": lambda: torch.sigmoid(z),
        "tanh": lambda: torch.tanh(z),
    }[kind]()


def standard_check(seeds: range = range(3), effort: CrownSettings = CrownSettings()) -> None:  # noqa: B008
    """`check_bound` on a fixed set of networks, for the planted bugs."""
    for seed, (op, alpha) in itertools.product(seeds, ACTIVATIONS):
        net = random_net(seed, (2, 5, 4, 2), op, alpha)
        check_bound(net, random_boxes(seed, 6, 2), random_polytopes(seed, 2), effort)


# --- against samples ---------------------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@settings(max_examples=15)
@given(
    seed=SEEDS,
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    n_in=st.integers(1, 3),
    width=st.sampled_from([1e-9, 1e-3, 0.3, 2.0, 20.0]),
    scale=st.sampled_from([0.3, 1.5, 6.0]),
    steps=st.integers(0, 4),
)
def test_no_point_beats_its_bound(op, alpha, seed, hidden, n_in, width, scale, steps) -> None:
    """A bound above a reachable margin would certify an unsafe network."""
    net = random_net(seed, (n_in, *hidden, 2), op, alpha, scale)
    check_bound(net, random_boxes(seed, 4, n_in, width), random_polytopes(seed, 2), CrownSettings(steps=steps))


@settings(max_examples=25)
@given(seed=SEEDS, which=st.integers(0, len(ACTIVATIONS) - 1))
def test_any_slopes_and_multipliers_are_valid(seed: int, which: int) -> None:
    """Optimisation only chooses: wherever in its range it lands, the bound holds (each step counts in the best)."""
    generator = torch.Generator().manual_seed(seed)

    def anywhere(like: Tensor) -> Tensor:
        ends = torch.rand(like.shape, generator=generator, dtype=torch.float64)
        return (3 * ends - 1).clamp(0, 1)  # often exactly 0 or 1

    def step(r, rows, z, low, up, size):
        return anywhere(low), None if up is None else anywhere(up)

    def weights(weights, margins, size):
        return torch.distributions.Dirichlet(torch.full_like(weights, 0.3)).sample()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crown, "_step", step)
        patch.setattr(crown, "step_multipliers", weights)
        torch.manual_seed(seed)
        net = random_net(seed, (2, 4, 4, 2), *ACTIVATIONS[which])
        check_bound(net, random_boxes(seed, 5, 2), random_polytopes(seed, 2), CrownSettings(steps=8))


def test_multipliers_stay_on_the_simplex() -> None:
    """Weights that sum to more than one, or below zero, scale or turn a bound."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.eye(4, dtype=torch.float64)[torch.randint(4, (64,), generator=generator)]
    for _ in range(50):
        margins = torch.randn(64, 4, generator=generator, dtype=torch.float64) * 10.0 ** torch.randint(
            -14, 3, (64, 1), generator=generator
        )
        weights = step_multipliers(weights, margins, 0.3)
        assert bool((weights >= 0).all())
        assert torch.allclose(weights.sum(1), torch.ones(64, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(step_multipliers(weights, torch.zeros_like(weights), 0.3), weights)


# --- against exact values ----------------------------------------------------------------------------------------


@given(seed=SEEDS)
def test_the_linear_programs_find_what_samples_approach(seed: int) -> None:
    """The exact answers judge the bounds; with one input a fine grid judges the exact answers."""
    layers, polytope = random_layers(seed, (1, 4, 2)), random_polytopes(seed, 2, rows=(2,))[0]
    x = torch.linspace(-1, 1, 4001, dtype=torch.float64)[:, None]
    sampled = float(polytope.margin(outputs_at(network_from_layers(layers), x[None])[0]).amin())
    assert sampled - 0.02 <= exact_margin(layers, [-1.0], [1.0], polytope) <= sampled + 1e-7


@settings(max_examples=25)
@given(seed=SEEDS, sizes=st.sampled_from([(1, 4, 1), (2, 4, 2), (2, 3, 3, 2), (3, 5, 2)]))
def test_no_bound_exceeds_the_exact_minimum(seed: int, sizes: tuple[int, ...]) -> None:
    """Samples may miss the worst point of a box; the linear programs over all activation patterns do not."""
    layers, boxes = random_layers(seed, sizes), random_boxes(seed, 2, sizes[0])
    polytopes = random_polytopes(seed, sizes[-1], rows=(1, 2))
    bound = CrownBound(network_from_layers(layers), CPU)
    found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(len(boxes)))
    for box, polytope, lower in zip(found.box.tolist(), found.polytope.tolist(), found.lower.tolist(), strict=True):
        exact = exact_margin(layers, boxes.lower[box].tolist(), boxes.upper[box].tolist(), polytopes[polytope])
        assert lower <= exact + 1e-6


@given(seed=SEEDS)
def test_without_open_neurons_a_single_row_is_exact(seed: int) -> None:
    """A bound that is loose on a linear network hides a mistake in the offsets."""
    net, boxes = random_net(seed, (3, 2)), random_boxes(seed, 4, 3)
    polytopes = random_polytopes(seed, 2, rows=(1,))
    found = check_bound(net, boxes, polytopes, CrownSettings())
    worst = (outputs_at(net, points_of(boxes)) @ polytopes[0].a.T - polytopes[0].b).amin((1, 2))
    assert torch.allclose(found.lower, worst, atol=1e-12)


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_at_a_point_the_bound_is_the_margin(op: str, alpha: float | None) -> None:
    """Degenerate boxes: a gap at a point would never close, a bound above it is wrong."""
    net = random_net(3, (3, 6, 6, 2), op, alpha)
    x = random_boxes(1, 9, 3).lower
    polytopes = random_polytopes(4, 2)
    found = check_bound(net, Boxes(x, x), polytopes, CrownSettings())
    margins = torch.stack([p.margin(outputs_at(net, x[:, None])[:, 0]) for p in polytopes], 1)
    assert torch.allclose(found.lower.view(9, 3), margins, atol=1e-11)


def test_a_conjunction_is_bounded_jointly() -> None:
    """x <= -0.1 and -x <= -0.1 cannot both hold, which no single row shows on a box around zero."""
    net = network_from_layers([([[1.0]], [10.0]), ([[1.0]], [-10.0])])  # x, through an active ReLU
    rows = (half_space([1.0], -0.1).rows[0], half_space([-1.0], -0.1).rows[0])
    question = question_of((Polytope(rows=rows, n_outputs=1),))
    bound = CrownBound(net, CPU)
    boxes = Boxes(*(torch.tensor([[v]], dtype=torch.float64) for v in (-1.0, 1.0)))
    found = bound.bound(question, boxes, torch.ones(1, 1, dtype=torch.bool), bound.root(1))
    assert bool(question.excluded(found.lower, found.polytope).all())


# --- batches and halves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_halves_inherit_valid_bounds(op: str, alpha: float | None) -> None:
    """What a box passes on must hold in each half, down several levels, and lose nothing."""
    net, polytopes = random_net(8, (2, 6, 5, 2), op, alpha), random_polytopes(8, 2)
    bound, question = CrownBound(net, CPU), question_of(polytopes)
    boxes = random_boxes(8, 4, 2, width=2.0)
    inherited = bound.root(len(boxes))
    for level in range(4):
        found = bound.bound(question, boxes, all_open(boxes, polytopes), inherited)
        points = points_of(boxes, seed=level, count=100)
        check_items(found, boxes, polytopes, points, outputs_at(net, points))
        check_inherited(net, found.inherited, points)
        for side, sign in ((0, 1), (1, -1)):
            inner, outer = found.inherited.chunk(2, 1)[side], inherited.chunk(2, 1)[side]
            assert bool((sign * (inner - outer) >= 0).all()), "inheriting lost something"
        dimension = torch.arange(len(boxes)) % 2
        boxes, inherited = boxes.bisect(dimension), found.inherited.repeat(2, 1)


@pytest.mark.parametrize("rows_per_pass", [1, 7, 4096])
def test_a_box_is_bounded_alike_alone_and_in_a_batch(rows_per_pass: int) -> None:
    """Rows of many boxes travel as one matrix; a row that took another box's lines would bound the wrong thing."""
    net, polytopes, boxes = random_net(5, (3, 7, 6, 2)), random_polytopes(5, 2), random_boxes(5, 12, 3)
    question, opened = question_of(polytopes), torch.rand(12, 3, generator=torch.Generator().manual_seed(1)) < 0.6
    bound = CrownBound(net, CPU, CrownSettings(rows_per_pass=rows_per_pass))
    together = bound.bound(question, boxes, opened, bound.root(12))
    assert bool((together.box.diff() >= 0).all()), "candidates of the search need items in order of their boxes"
    for box in range(12):
        alone = bound.bound(question, boxes[box : box + 1], opened[box : box + 1], bound.root(1))
        mine = together.box == box
        assert torch.equal(together.polytope[mine], alone.polytope)
        assert torch.allclose(together.lower[mine], alone.lower, atol=1e-9)
        assert torch.allclose(together.inherited[box], alone.inherited[0], atol=1e-12)


def test_padding_changes_nothing() -> None:
    """Polytopes of different lengths share a tensor; what fills it up must be no row of anyone else, nor a zero row."""
    net, boxes = random_net(6, (2, 5, 3)), random_boxes(6, 5, 2)
    polytopes = random_polytopes(6, 3, rows=(1, 3, 2))
    together = check_bound(net, boxes, polytopes, CrownSettings(steps=0)).lower.view(5, 3)
    for i, polytope in enumerate(polytopes):
        alone = check_bound(net, boxes, (polytope,), CrownSettings(steps=0)).lower
        assert torch.allclose(together[:, i], alone, atol=1e-12)


def test_a_polytope_without_rows_is_never_excluded() -> None:
    """Everything is unsafe there; an empty maximum taken for infinity would prove it safe."""
    everything = Polytope(rows=(), n_outputs=2)
    for polytopes in ((everything,), (everything, *random_polytopes(1, 2))):
        question, net, boxes = question_of(polytopes), random_net(1, (2, 4, 2)), random_boxes(1, 4, 2)
        bound = CrownBound(net, CPU)
        found = bound.bound(question, boxes, all_open(boxes, polytopes), bound.root(4))
        assert not bool(question.excluded(found.lower, found.polytope)[found.polytope == 0].any())


def test_a_bound_of_zero_excludes_only_strict_rows() -> None:
    """y < 0 is out of reach where y >= 0 is proved; y <= 0 is not."""
    zero = torch.zeros(1, dtype=torch.float64)
    mixed = (half_space([1.0], 0.0).rows[0], half_space([1.0], 0.0, strict=True).rows[0])
    for polytope, excluded in (
        (half_space([1.0], 0.0), False),
        (half_space([1.0], 0.0, strict=True), True),
        (Polytope(rows=mixed, n_outputs=1), False),
    ):
        assert bool(question_of((polytope,)).excluded(zero, torch.tensor([0]))) is excluded


# --- numbers that are none ---------------------------------------------------------------------------------------


def excluded(bound: MarginBound, question: Question, boxes: Boxes) -> Tensor:
    """Which items the bound method claims to have proved."""
    found = bound.bound(
        question, boxes, torch.ones(len(boxes), len(question), dtype=torch.bool), bound.root(len(boxes))
    )
    return question.excluded(found.lower, found.polytope)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_proves_nothing(value: float) -> None:
    """NaN compares false with everything; one forgotten `not` and it is a proof."""
    question = question_of((half_space([1.0], 0.0), half_space([1.0], 0.0, strict=True)))
    assert not bool(question.excluded(torch.tensor([value, value], dtype=torch.float64), torch.tensor([0, 1])).any())


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf"), 1e308])
@pytest.mark.parametrize("where", ["weight", "bias"])
def test_poisoned_networks_are_not_proved(op: str, alpha: float | None, poison: float, where: str) -> None:
    """A network whose numbers overflow has no bounds, in whatever layer it happens."""
    question, boxes = question_of((half_space([1.0], -1e9),)), random_boxes(2, 3, 2)
    for layer in range(2):
        bound = CrownBound(random_net(2, (2, 4, 4, 1), op, alpha), CPU)
        assert bool(excluded(bound, question, boxes).all()), "without poison it is easy"
        getattr(bound._layer[layer], where).view(-1)[:] = poison
        if op in ("Sigmoid", "Tanh") or abs(poison) == 1e308:
            continue  # a finite answer may be right here; samples cannot tell
        bound._layer[layer].size = bound._layer[layer].weight.abs()
        assert not bool(excluded(bound, question, boxes).any())


def test_an_overflowed_neuron_is_not_inactive(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 - relu(x0 + x1 + 1.5 x2), times 1e308 inside: the sum of infinities is NaN, once taken for an inactive ReLU.

    The engine refuses such weights; what would meet them if it did not may prove nothing either.
    """
    layers = [([[1e308, 1e308, 1.5e308]], [0.0]), ([[-1e-308]], [1.0])]
    net = network_from_layers(layers, dtype=np.float64)
    centre = torch.tensor([[-3.5, 3.5, 0.0]], dtype=torch.float64)
    boxes = Boxes(centre - 0.3, centre + 0.3)  # at the upper corner the margin is 1 - 1.05
    with pytest.raises(NotAChain, match="multiply to"):
        CrownBound(net, CPU)
    assert make_bound(net, SearchSettings()).name == "graph"
    monkeypatch.setattr("birdnn.bounds.crown.RANGE64", np.inf)
    assert not bool(excluded(CrownBound(net, CPU), question_of((half_space([1.0], 0.0),)), boxes).any())


# --- other graphs ------------------------------------------------------------------------------------------------


def test_a_convolution_that_folds_is_bounded() -> None:
    """Sequential convolutions become dense layers; a wrong basis would bound another network."""
    net = convolution(1, last="sigmoid")
    centre = torch.randn(3, 18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    check_bound(net, Boxes(centre - 0.2, centre + 0.2), random_polytopes(1, 2), CrownSettings())


def test_preprocessing_folds_into_the_first_layer() -> None:
    """The leading Sub of ACAS Xu files, and a Mul with both signs."""
    floats = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).numpy()
    tensors = {"mean": floats[:1], "scale": floats[1:2], "w": floats[2:].T.copy(), "v": floats[2:]}
    nodes = [
        ("Sub", ["x", "mean"], "a", {}),
        ("Mul", ["a", "scale"], "b", {}),
        ("MatMul", ["b", "w"], "c", {}),
        ("Tanh", ["c"], "d", {}),
        ("MatMul", ["d", "v"], "y", {}),
    ]
    check_bound(graph_net(nodes, tensors, (1, 3)), random_boxes(0, 5, 3), random_polytopes(0, 3), CrownSettings())


# --- planted bugs ------------------------------------------------------------------------------------------------


def _back_with(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]):
    right = crown.Slopes.back

    def back(self, rows, constant):
        return change(*right(self, rows, constant))

    return back


def _tight_minimum(rows, constant, centre, radius, right=minimum_of):
    return right(rows, constant, centre, 0.9 * radius)


def _relax_with(change):
    right = crown.relax

    def relax(activation, lower, upper, semantics):
        return change(right(activation, lower, upper, semantics), right, activation, lower, upper)

    return relax


BUGS = {
    "radius of the box times 0.9": ("minimum_of", _tight_minimum),
    "rows times 0.9": ("Slopes.back", _back_with(lambda rows, constant: (0.9 * rows, constant))),
    "offsets times 0.9": ("Slopes.back", _back_with(lambda rows, constant: (rows, 0.9 * constant))),
    "sign of the offsets": ("Slopes.back", _back_with(lambda rows, constant: (rows, -constant))),
    "lines of a smaller interval": (
        "relax",
        _relax_with(lambda found, right, activation, lower, upper: right(activation, 0.9 * lower, 0.9 * upper)),
    ),
    "overflowing weights of the rows": ("step_multipliers", lambda weights, margins, size: 1.5 * weights),
    "slopes out of their range": (
        "_step",
        lambda r, rows, z, low, up, size: (low - 2 * (rows > 0) * z.sign(), None if up is None else up + 2),
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """A check that cannot fail checks nothing."""
    standard_check(range(1))
    place, wrong = BUGS[bug]
    monkeypatch.setattr(f"birdnn.bounds.crown.{place}", wrong)
    with pytest.raises(AssertionError, match=r"above a reachable margin|its bound"):
        standard_check()


def test_a_mixed_up_box_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the neighbouring box: the bug that batching invites."""
    right = crown.Slopes.of_rows
    monkeypatch.setattr(crown.Slopes, "of_rows", lambda self, box: right(self, (box + 1) % len(self.pack)))
    with pytest.raises(AssertionError, match=r"above a reachable margin|its bound"):
        standard_check()
