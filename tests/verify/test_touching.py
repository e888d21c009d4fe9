"""Thresholds that are touched are decided exactly, and nothing is called out of reach that an input reaches."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Proved, Unknown, Unwatched, Violated
from birdnn.rounding import Semantics
from birdnn.spec import Polytope, Property, Region, Row
from birdnn.verify import search, touching, verify
from birdnn.verify.balls import Balls, NotEvaluated
from birdnn.verify.bounding import make_bound
from birdnn.verify.recording import Recorder
from birdnn.verify.touching import Touching, _Box, _Form, _relu, _spare_of_form
from tests.bounds.builders import make_property, property_of
from tests.verify.test_exactly import convolution
from tests.verify.test_search import effort, with_replay

F = Fraction
SUM = [([[1.0, 0], [0, 1]], [0.0, 0]), ([[1.0, 1]], [0.0])]  # relu(x0) + relu(x1)
SIZE = [([[1.0], [-1]], [0.0, 0]), ([[1.0, 1]], [0.0])]  # |x|
BEHIND = [([[1.0, -1], [0.5, 0.25]], [0.0, 0.125]), ([[1.0, 0], [0, 1]], [0.0, 0])]  # not negative
NEGATED = [([[1.0, -1]], [0.0]), ([[-1.0]], [0.0])]  # -relu(x0 - x1)
TWICE = [([[1.0, 0], [0, 1]], [0.0, 0]), ([[1.0, 1], [1, 0]], [0.0, 0])]  # y0 is never below y1


def row(*coefficients: float, bound: Fraction | float = 0.0, strict: bool = True) -> Row:
    return Row(tuple(F(c) for c in coefficients), F(bound), strict)


def asked(*rows: Row, low: object = -1, high: object = 1, n_inputs: int = 2, open_: bool = False) -> Property:
    ends = [tuple(F(v) for v in (end if isinstance(end, tuple) else (end,) * n_inputs)) for end in (low, high)]
    polytope = Polytope(rows=rows, n_outputs=len(rows[0].coefficients))
    strict = (open_,) * n_inputs
    made = Region(
        exact_lower=ends[0], exact_upper=ends[1], unsafe=(polytope,), strict_lower=strict, strict_upper=strict
    )
    return property_of(made)


CASES = {
    "the largest sum": (SUM, asked(row(-1, bound=-2))),
    "an open box": (SUM, asked(row(-1, bound=-2, strict=False), open_=True)),
    "a point": (SUM, asked(row(-1, bound=F(-3, 4)), low=(F(1, 2), F(1, 4)), high=(F(1, 2), F(1, 4)))),
    "a size": (SIZE, asked(row(-1, bound=-1), n_inputs=1)),
    "nothing negative": (BEHIND, asked(row(1, 0))),
    "nothing positive": (NEGATED, asked(row(-1))),
    "far below float64": (SUM, asked(row(1, bound=F(-1, 10**320), strict=False))),
    "two outputs": (TWICE, asked(row(1, -1))),
    "decimals": (SUM, asked(row(-1, bound=F(-4, 10)), high=(F(1, 10), F(3, 10)))),
    "open decimals": (SUM, asked(row(-1, bound=F(-4, 10), strict=False), high=(F(1, 10), F(3, 10)), open_=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_touched_thresholds_are_decided(name: str) -> None:
    """By closed form; one more of the same is violated."""
    layers, prop = CASES[name]
    net, replay = with_replay(layers)
    verdict = verify(net, prop, settings=effort(record=True), replays=[replay])
    assert isinstance(verdict, Proved)
    assert verdict.touched
    assert len(verdict.proofs) < len(prop.regions)  # so that there is no certificate
    (region,) = prop.regions
    (polytope,) = region.unsafe
    wider = tuple(Row(r.coefficients, r.bound + F(1, 8), r.strict) for r in polytope.rows)
    missed = property_of(
        Region(
            exact_lower=region.exact_lower,
            exact_upper=region.exact_upper,
            strict_lower=region.strict_lower,
            strict_upper=region.strict_upper,
            unsafe=(Polytope(rows=wider, n_outputs=polytope.n_outputs),),
        )
    )
    assert isinstance(verify(net, missed, settings=effort(), replays=[replay]), Violated)


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_the_end_of_a_relu_is_exact_in_runs_too(semantics: Semantics) -> None:
    """A larger network, of which no exact form is made: an output behind a ReLU; runs are never negative either."""
    draw = np.random.default_rng(0)
    layers = [(draw.normal(size=(40, 9)), draw.normal(size=40)), (draw.normal(size=(3, 40)), draw.normal(size=3))]
    net = network_from_layers([*layers, (np.eye(3), np.zeros(3))])
    exact = Touching(net, semantics)
    (region,) = asked(row(1, 0, 0), n_inputs=9).regions
    ends = region.lower.tolist(), region.upper.tolist()
    ends_in_relu = with_tail(net)
    assert Touching(ends_in_relu, semantics).spare(region, *ends, region.unsafe) == 0
    closed = asked(row(1, 0, 0, strict=False), n_inputs=9).regions[0]
    assert Touching(ends_in_relu, semantics).spare(closed, *ends, closed.unsafe) is None
    assert exact.spare(closed, *ends, closed.unsafe) is None


def test_a_number_that_is_run_beside_its_range_counts_for_runs() -> None:
    """A box beside 0.1 holds no point of the region, and the float32 that is run for it."""
    net = network_from_layers([([[1.0]], [0.0])])
    (region,) = asked(row(1, bound=1, strict=False), low=F(1, 10), high=F(1, 10), n_inputs=1).regions
    run = region.nearest[0]
    assert Touching(net, "real").spare(region, [run], [run], region.unsafe) == 0
    assert Touching(net, "float32").spare(region, [run], [run], region.unsafe) is None


def with_tail(net: Network) -> Network:
    """The network without what comes behind its last ReLU."""
    from dataclasses import replace

    last = next(node for node in reversed(net.nodes) if node.op == "Relu")
    nodes = net.nodes[: net.nodes.index(last) + 1]
    graph = replace(net.graph, nodes=nodes, output_name=last.output)
    return Network(graph, {n: v for n, v in net.initialisers().items() if any(n in node.inputs for node in nodes)})


def dyadic(draw: np.random.Generator, *shape: int) -> np.ndarray:
    return draw.integers(-4, 5, shape) / 2


def exactly(layers: list[tuple[np.ndarray, np.ndarray]], x: tuple[Fraction, ...]) -> list[Fraction]:
    """By a second evaluation, in fractions."""
    h = list(x)
    for index, (weight, bias) in enumerate(layers):
        h = [
            sum((F(float(w)) * v for w, v in zip(r, h, strict=True)), F(float(b)))
            for r, b in zip(weight, bias, strict=True)
        ]
        if index < len(layers) - 1:
            h = [max(v, F(0)) for v in h]
    return h


@pytest.mark.thorough
def test_nothing_is_out_of_reach_that_a_point_reaches() -> None:
    """Random networks, boxes with decimals and open sides, thresholds at the very least value of a grid."""
    decided = touched = 0
    for seed in range(150):
        draw = np.random.default_rng(seed)
        sizes = [2, *draw.integers(1, 4, draw.integers(1, 3)).tolist(), 2]
        layers = [(dyadic(draw, n, m), dyadic(draw, n)) for m, n in itertools.pairwise(sizes)]
        unit = F(1, int(draw.choice([1, 8, 10])))
        low = tuple(F(int(v)) * unit for v in draw.integers(-8, 4, 2))
        high = tuple(v + F(int(w)) * unit for v, w in zip(low, draw.integers(1, 8, 2), strict=True))
        sides = [tuple(bool(v) for v in draw.integers(0, 2, 2)) for _ in range(2)]
        axes = [[a + (b - a) * F(k, 8) for k in range(9)] for a, b in zip(low, high, strict=True)]
        grid, ends = list(itertools.product(*axes)), list(zip(low, high, *sides, strict=True))
        inside = [
            all((a < v or not s) and (v < b or not t) for v, (a, b, s, t) in zip(x, ends, strict=True)) for x in grid
        ]
        outputs = [exactly(layers, x) for x in grid]
        c = tuple(F(int(v)) for v in draw.integers(-2, 3, 2))
        values = [sum((k * v for k, v in zip(c, y, strict=True)), F(0)) for y in outputs]
        for bound, strict in itertools.product({min(values), min(values) - F(1, 4)}, (False, True)):
            polytope = Polytope(rows=(Row(c, bound, strict),), n_outputs=2)
            region = Region(
                exact_lower=low, exact_upper=high, unsafe=(polytope,), strict_lower=sides[0], strict_upper=sides[1]
            )
            spare = Touching(network_from_layers(layers), "real").spare(
                region, region.lower.tolist(), region.upper.tolist(), region.unsafe
            )
            if spare is None:
                continue
            decided, touched = decided + 1, touched + (spare == 0)
            scale = next((v / w for v, w in zip(polytope.rows[0].normal().coefficients, c, strict=True) if w), F(1))
            assert not any(polytope.holds(y) for y, here in zip(outputs, inside, strict=True) if here), seed
            assert scale * (min(values) - bound) >= spare, seed
    assert decided > 100
    assert touched > 30


def test_curved_and_convolved_values_are_enclosed() -> None:
    """Graphs that are no chains; sampled outputs are never nearer than what is spared."""
    for last in ("residual", "sigmoid"):
        net = convolution(3, last)
        prop = make_property(
            [0.25] * 18, [0.5 if i in (4, 13) else 0.25 for i in range(18)], Polytope(rows=(), n_outputs=2)
        )
        (region,) = prop.regions
        boxes = Boxes(region.lower[None], region.upper[None])
        with torch.no_grad():
            values = net.double()(boxes.uniform(2000, torch.Generator().manual_seed(0))[0])[:, 0]
        net = convolution(3, last)
        below = Polytope(rows=(row(1, 0, bound=float(values.min()) - 10),), n_outputs=2)
        spare = Touching(net, "real").spare(region, region.lower.tolist(), region.upper.tolist(), [below])
        assert spare is not None
        assert 0 <= float(spare) <= 10


def test_a_slope_that_was_rounded_is_not_taken_for_exact() -> None:
    """Integers beyond some length are rounded, also where a relaxed ReLU multiplies one that just fits."""
    one, long = np.array([1], dtype=object), np.array([(1 << 8191) + 1], dtype=object)
    fits = _Form((Balls(long, None, -8191),), Balls(0 * one, None, 0))
    box = _Box([((F(-1), False), (F(2), False))])
    relaxed = _relu(fits, box, relaxed=True)
    assert relaxed.columns[0].rad is not None
    with pytest.raises(NotEvaluated):
        box.ends(relaxed)
    with pytest.raises(NotEvaluated):
        _spare_of_form(row(1, bound=0), relaxed, [((F(-1), False), (F(2), False))])


@pytest.mark.parametrize("name", ["the largest sum", "an open box", "a size", "two outputs"])
def test_what_stays_undecided_is_told_early(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a network is too large for exact forms no box is cut for ever at a corner that touches the threshold."""
    monkeypatch.setattr(touching, "EXACT", 0)
    layers, prop = CASES[name]
    net, replay = with_replay(layers)
    verdict = verify(net, prop, settings=effort(max_boxes=2000), replays=[replay])
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "precision"


def test_attempts_end() -> None:
    """A violated property whose margin is a hair takes no more exact attempts than are worth it."""
    net, replay = with_replay(SIZE)
    prop = asked(row(1, bound=F(1, 10**12), strict=False), low=F(-1), high=F(10), n_inputs=1)
    verdict = verify(net, prop, settings=effort(max_boxes=500), replays=[replay])
    assert isinstance(verdict, Violated | Unknown)


def test_nothing_more_is_recorded_once_no_certificate_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no region: what was kept of those before counts no more for the limit of memory, and is not kept."""
    made = []
    monkeypatch.setattr(search, "Recorder", lambda region: made.append(Recorder(region)) or made[-1])
    net, replay = with_replay(BEHIND)
    apart, touched = (asked(row(1, 0, bound=bound)).regions[0] for bound in (-1, 0))
    own = search.Search(net, property_of(apart, touched, apart), effort(record=True), [replay], Unwatched())
    verdict = own.concluded(own.run(make_bound))
    assert isinstance(verdict, Proved)
    assert (verdict.touched, verdict.proofs, own.proof_bytes) == (1, (), 0)
    assert len(made) == 2
    own = search.Search(net, property_of(apart, apart), effort(record=True), [replay], Unwatched())
    own.run(make_bound)
    assert own.proof_bytes == sum(proof.bytes for proof in own.proofs) > 0
