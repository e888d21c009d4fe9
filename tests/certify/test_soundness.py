"""An accepted certificate is never contradicted: by exact evaluation, by onnxruntime, by any order of summation."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from flint import fmpq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from birdnn.certify.check import Accepted, Answer, Rejected, Settings, check, files
from birdnn.certify.check.exact import ExactEngine, evaluate, gap_extremes
from birdnn.certify.check.floats import FloatEngine
from birdnn.certify.check.layers import Activation, Chain
from birdnn.certify.check.lines import ASSUMED_ERROR, default_slopes, is_bent, line_offsets, slope_range
from birdnn.certify.check.network import read_network
from birdnn.certify.check.statement import Row
from birdnn.certify.check.tree import Batch, Items, Sides, Walk, padded_rows
from birdnn.formats.onnx import layers_to_onnx
from tests.certify.cases import ACTIVATIONS, network, property_text
from tests.certify.producer import _empty_region, about, certificate, head, write

KINDS = [
    Activation("relu", 0.0),
    Activation("leaky_relu", 0.25),
    Activation("leaky_relu", 2.0),
    Activation("leaky_relu", -0.5),
    Activation("elu", 1.0),
    Activation("elu", 0.5),
    Activation("sigmoid", 0.0),
    Activation("tanh", 0.0),
]
ENDS = st.sampled_from([-30.0, -3.0, -1.0, -1e-3, 0.0, 1e-12, 0.5, 2.0, 9.0, 40.0]) | st.floats(-8, 8)


def _value(act: Activation, z: np.ndarray) -> np.ndarray:
    """The activations, written once more."""
    if act.kind == "tanh":
        return np.tanh(z)
    if act.kind == "sigmoid":
        return 1 / (1 + np.exp(-z))
    if act.kind == "elu":
        return np.where(z > 0, z, act.alpha * np.expm1(np.minimum(z, 0)))
    return np.where(z > 0, z, act.alpha * z)


def _number(value: Any) -> Fraction:
    return Fraction(int(value.p), int(value.q))


@pytest.mark.parametrize("act", KINDS, ids=lambda act: f"{act.kind}-{act.alpha}")
@given(a=ENDS, b=ENDS, share=st.floats(0, 1))
@example(a=-1.0, b=2.0, share=0.0)
@example(a=-2.0, b=3.0, share=1.0)
@settings(max_examples=60)
def test_lines_hold_and_touch(act: Activation, a: float, b: float, share: float) -> None:
    """Below and above the activation, in both arithmetics, and no farther away than rounding asks for."""
    l, u = min(a, b), max(a, b)
    low, high = slope_range(act)
    ends = np.array([[l]]), np.array([[u]])
    loose = bool(is_bent(act, *ends)[0, 0])
    z = np.concatenate([np.linspace(l, u, 4001), [0.0] if l <= 0 <= u else []])
    for s in (low + share * (high - low), *(float(side[0, 0]) for side in default_slopes(act, *ends))):
        if not loose:
            s = float(default_slopes(act, *ends)[0][0, 0])
        gap = _value(act, z) - s * z
        below, above = (float(side[0, 0]) for side in line_offsets(act, *ends, np.array([[s]])))
        exact = [float(_number(v)) for v in gap_extremes(act, *map(_rational, (l, u, s)))]
        for low_offset, high_offset in ((below, above), exact):
            assert low_offset <= gap.min() + 1e-14
            assert high_offset >= gap.max() - 1e-14
            fine = 1e-9 + 1e-6 * (u - l) ** 2
            assert low_offset >= gap.min() - fine
            assert high_offset <= gap.max() + fine


@pytest.mark.parametrize(
    "act", [k for k in KINDS if k.kind in ("sigmoid", "tanh", "elu")], ids=lambda act: f"{act.kind}-{act.alpha}"
)
@given(a=ENDS, b=ENDS, share=st.floats(0, 1))
@settings(max_examples=40)
def test_float_offsets_are_not_inside_exact_ones(act: Activation, a: float, b: float, share: float) -> None:
    """The rounding of the functions is accounted for: never tighter than what balls show."""
    l, u = min(a, b), max(a, b)
    low, high = slope_range(act)
    s = low + share * (high - low)
    ends = np.array([l]), np.array([u])
    if not is_bent(act, *ends)[0]:
        return
    below, above = (side[0] for side in line_offsets(act, *ends, np.array([s])))
    exact = [Fraction(int(v.p), int(v.q)) for v in gap_extremes(act, *map(_rational, (l, u, s)))]
    slack = Fraction(2) ** -140
    ends_only = [_exact_gap(act, z, s) for z in (l, u)]
    assert Fraction(float(below)) <= min(ends_only) + slack
    assert Fraction(float(above)) >= max(ends_only) - slack
    assert exact[0] <= min(ends_only) + slack
    assert exact[1] >= max(ends_only) - slack


def _rational(value: float) -> fmpq:
    return fmpq(*value.as_integer_ratio())


def _exact_gap(act: Activation, z: float, s: float) -> Fraction:
    low, high = gap_extremes(act, *map(_rational, (z, z, s)))
    middle = (low + high) / 2
    return Fraction(int(middle.p), int(middle.q))


def _shuffled(chain: Chain, x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A single-precision execution with the terms of each sum in random order."""
    h = x.astype(np.float32)
    for layer in chain.layers:
        weight = np.array([[float(v) for v in row] for row in layer.weight], dtype=np.float32)
        bias = np.array([float(v) for v in layer.bias], dtype=np.float32)
        z = []
        for row, start in zip(weight, bias, strict=True):
            terms = [np.float32(w * v) for w, v in zip(row, h, strict=True)] + [start]
            total = np.float32(0)
            for i in draw.permutation(len(terms)):
                total = np.float32(total + terms[i])
            z.append(total)
        h = np.array(z, dtype=np.float32)
        if layer.activation is not None:
            h = _value(layer.activation, h).astype(np.float32)
    return h


@pytest.mark.thorough
@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(
    seed=st.integers(0, 2**20),
    semantics=st.sampled_from(["real", "float32"]),
    side=st.sampled_from([0.1, 1.0, 3.0]),
    neurons=st.sampled_from([0.0, 0.5, 0.9]),
)
@settings(max_examples=9)
def test_an_accepted_certificate_is_never_contradicted(
    activation: str, seed: int, semantics: str, side: float, neurons: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The threshold is put where the truth is close: at the worst of many samples, moved by little or nothing."""
    folder, draw = tmp_path_factory.mktemp("true"), np.random.default_rng(seed)
    net = network(
        folder / "net.onnx", [2, 4, 4, 2], activation, seed=seed % 97, alpha=0.7 if activation == "Elu" else None
    )
    x = ((draw.random((600, 2)) * 2 - 1) * side).astype(np.float32)
    x[:4] = np.float32(side) * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    x = np.clip(x, -np.float32(side), np.float32(side))
    x = x[(np.abs(x.astype(float)) <= side).all(1)]
    session = onnxruntime.InferenceSession(str(net))
    y = session.run(None, {session.get_inputs()[0].name: x})[0]
    top = float(y[:, 0].max()) + float(draw.choice([-1e-3, 0.0, 1e-6, 1e-2, 0.3]))
    prop = folder / "prop.vnnlib"
    prop.write_text(property_text(2, 2, f"(and (>= Y_0 {top!r}) (<= Y_1 1000.0))", side).replace("e-", "e-"))
    data = certificate(net, [prop], semantics, most=400, seed=seed, neurons=neurons)
    if data is None:
        return
    path = write(folder / "it.json.gz", data)
    for arithmetic in ("float64", "exact") if seed % 4 == 0 else ("float64",):
        check(net, [prop], path, Settings(arithmetic=arithmetic))
    chain = read_network(files.read_file(net))
    worst = x[np.argsort(-y[:, 0])[:5]]
    if semantics == "real":
        outputs = [evaluate(chain, [Fraction(float(v)) for v in point])[0] for point in worst]
        assert all(value < Fraction(top) if isinstance(value, Fraction) else float(value) < top for value in outputs)
    else:
        assert (y[:, 0] < top).all()
        assert all(_shuffled(chain, point, draw)[0] < top for point in worst for _ in range(5))


def _pass(
    chain: Chain,
    engine: FloatEngine | ExactEngine,
    single: bool,
    lower: np.ndarray,
    upper: np.ndarray,
    rows: tuple[Row, ...],
):
    walk = Walk(chain, engine, _empty_region([rows]), "test", single)
    walk.rows = padded_rows((rows,), chain.n_outputs)
    ends = np.cumsum([0, *(len(layer.bias) for layer in chain.layers[:-1])])
    walk.spans = [slice(a, b) for a, b in pairwise(ends)]
    unknown = np.full((1, ends[-1]), np.inf)
    batch = Batch(np.zeros(1, int), lower[None], upper[None], -unknown, unknown, np.ones((1, 1), bool))
    with np.errstate(all="ignore"):
        pass_ = walk._tighten_bounds(batch)
        items = Items(np.zeros(1, int), np.zeros(1, int), np.ones((1, 1)), tuple(_none() for _ in walk.spans))
        planes = pass_.planes(items)
        return batch, float(pass_.minimum(planes, np.zeros(1, int), (lower[None], upper[None]))[0])


def _none() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, int), np.zeros(0, int), np.zeros(0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("single", [False, True])
@given(seed=st.integers(0, 2**20), scale=st.sampled_from([0.0, 1e-3, 0.3, 2.0]))
@settings(max_examples=6)
def test_bounds_hold_at_a_point_to_the_last_bit(
    activation: str, single: bool, seed: int, scale: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On a box that is a point (or small) the float64 minimum lies below the exact output, and close to it."""
    folder, draw = tmp_path_factory.mktemp("point"), np.random.default_rng(seed)
    chain = read_network(files.read_file(network(folder / "n.onnx", [3, 5, 5, 2], activation, seed=seed % 89)))
    x = draw.normal(size=3).astype(np.float32).astype(float)
    lower, upper = x - scale, x + scale
    row = Row((Fraction(1, 3), Fraction(-2, 7)), Fraction(1, 10), False)
    (y0, y1) = evaluate(chain, [Fraction(v) for v in x])
    truth = y0 * row.coefficients[0] + y1 * row.coefficients[1] - row.bound if isinstance(y0, Fraction) else None
    found = [_pass(chain, engine(chain, single), single, lower, upper, (row,)) for engine in (FloatEngine, ExactEngine)]
    least = truth if truth is not None else Fraction(float(y0) / 3 - float(y1) * 2 / 7 - 0.1) + Fraction(1, 10**14)
    assert Fraction(found[0][1]) <= least
    found[1] = (found[1][0], found[1][1] / 21)  # exact rows are multiplied by their common denominator
    for batch, bound in found:
        assert Fraction(bound) <= least + Fraction(1, 10**16)
        assert (batch.l <= batch.u).all() or scale == 0.0
    assert abs(found[0][1] - found[1][1]) <= 1e-9 * max(1.0, abs(found[1][1]))
    if scale == 0.0:
        assert float(least) - found[1][1] < (3e-5 if single else 1e-12)


SIDES_HOLD = {
    "sides that swap": lambda s: replace(s, side=-s.side),
    "a negative multiplier": lambda s: replace(s, beta=-s.beta),
    "another neuron": lambda s: replace(s, neuron=(s.neuron + 1) % 5),
    "another place": lambda s: replace(s, at=s.at + 0.3 * s.side),
}


def _sided(seed: int, activation: str, single: bool, exponent: int, spoil: Any, folder: Path) -> int:
    """Planes with random sides, at points of the box where these are true: how many points there are.

    The first two layers have one side each, at a value that the layer takes somewhere in the box.
    """
    draw = np.random.default_rng(seed)
    chain = read_network(files.read_file(network(folder / "n.onnx", [3, 5, 5, 2], activation, seed=seed % 89)))
    centre = draw.normal(size=3)
    lower, upper = centre - 0.5, centre + 0.5
    row, total = Row((Fraction(1), Fraction(-2)), Fraction(1, 10), False), 0
    x = lower + draw.random((400, 3))
    weights = [np.array([[float(v) for v in r] for r in layer.weight]) for layer in chain.layers]
    biases = [np.array([float(v) for v in layer.bias]) for layer in chain.layers]
    known, h, z = np.ones(len(x), bool), x, []
    sides = []
    for layer, weight, bias in zip(chain.layers, weights, biases, strict=True):
        z.append(h @ weight.T + bias)
        if layer.activation is not None:
            h = _value(layer.activation, z[-1])
            j, side = draw.integers(5, size=1), draw.choice([-1.0, 1.0], size=1)
            at = z[-1][0, j]
            known &= side[0] * (z[-1][:, j[0]] - at[0]) >= 0
            beta = draw.choice([0.0, 0.3, 1.0], size=1) * 2.0**exponent
            sides.append(spoil(Sides(np.zeros(1, int), j, side, at, beta, np.full(1, 2))))
    margin = z[-1][known] @ np.array([1.0, -2.0]) - 0.1
    for engine in (FloatEngine, ExactEngine):
        walk = Walk(chain, engine(chain, single), _empty_region([(row,)]), "test", single)
        walk.rows, walk.spans = padded_rows(((row,),), 2), [slice(0, 5), slice(5, 10)]
        unknown = np.full((1, 10), np.inf)
        batch = Batch(np.zeros(1, int), lower[None], upper[None], -unknown, unknown, np.ones((1, 1), bool))
        with np.errstate(all="ignore"):
            pass_ = walk._tighten_bounds(batch)
            none = tuple(_none() for _ in walk.spans)
            planes = pass_.planes(Items(np.zeros(1, int), np.zeros(1, int), np.ones((1, 1)), none, tuple(sides)))
            scale = float(int(planes.scale)) if engine is ExactEngine else 1.0
            for point, exactly in zip(x[known], margin, strict=True):
                least = float(pass_.minimum(planes, np.zeros(1, int), (point[None], point[None]))[0]) / scale
                assert not least > exactly + 1e-9 * 2.0 ** max(exponent, 0), "a plane above a margin"
                total += 1
    return total


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(seed=st.integers(0, 2**20), single=st.booleans(), exponent=st.sampled_from([-60, -3, 0, 4, 60]))
@settings(max_examples=5)
def test_planes_with_sides_hold_where_the_sides_do(
    activation: str, seed: int, single: bool, exponent: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever their multipliers are; in both arithmetics, for every activation."""
    _sided(seed, activation, single, exponent, lambda sides: sides, tmp_path_factory.mktemp("sides"))


@pytest.mark.parametrize("wrong", SIDES_HOLD)
def test_planes_with_wrong_sides_do_not_hold(wrong: str, tmp_path: Path) -> None:
    """A check that cannot fail checks nothing."""
    assert sum(_sided(seed, "Relu", False, 0, lambda sides: sides, tmp_path) for seed in range(6)) > 100

    def spoilt() -> None:
        for seed in range(30):
            _sided(seed, "Relu", False, 0, SIDES_HOLD[wrong], tmp_path)

    with pytest.raises(AssertionError, match="a plane above a margin"):
        spoilt()


def test_both_arithmetics_take_the_same_from_sides(tmp_path: Path) -> None:
    """The float64 one a little more, for its rounding; where a layer may err, both pay for it."""
    for single in (False, True):
        chain = read_network(files.read_file(network(tmp_path / "n.onnx", [2, 3, 2], seed=3)))
        row, least = Row((Fraction(1, 2), Fraction(-2)), Fraction(1, 4), False), []
        for engine, beta in ((FloatEngine, 0.0), (ExactEngine, 0.0), (FloatEngine, 1e6), (ExactEngine, 1e6)):
            walk = Walk(chain, engine(chain, single), _empty_region([(row,)]), "test", single)
            walk.rows, walk.spans, unknown = padded_rows(((row,),), 2), [slice(0, 3)], np.full((1, 3), np.inf)
            x = np.array([[0.25, -0.5]])
            batch = Batch(np.zeros(1, int), x, x, -unknown, unknown, np.ones((1, 1), bool))
            with np.errstate(all="ignore"):
                pass_ = walk._tighten_bounds(batch)
                z = batch.l[:, 0] / 2 + batch.u[:, 0] / 2
                sides = Sides(np.zeros(1, int), np.zeros(1, int), np.ones(1), z, np.full(1, beta), np.ones(1, int))
                items = Items(np.zeros(1, int), np.zeros(1, int), np.ones((1, 1)), (_none(),), (sides,))
                planes = pass_.planes(items)
                scale = float(int(planes.scale)) if engine is ExactEngine else 1.0
                least.append(float(pass_.minimum(planes, np.zeros(1, int), (x, x))[0]) / scale)
        lost = least[0] - least[2], least[1] - least[3]
        slack = 1e6 * (float(batch.u[0, 0] - batch.l[0, 0]) / 2)
        assert lost[1] == pytest.approx(slack, rel=0.6, abs=1e-9)
        assert lost[0] > lost[1] >= (0.9 * slack if single else 0)
        assert lost[0] < lost[1] + 1e-6


def test_rounding_of_wide_layers_by_hand(tmp_path: Path) -> None:
    """Gamma counts the widest layer; an offset moves by gamma of itself, to the safe side, where nothing else errs."""
    engine = FloatEngine(read_network(files.read_file(network(tmp_path / "wide.onnx", [500, 2, 1]))), False)
    assert engine.gamma == 2 * (500 + 8 + 40) * 2.0**-53
    pass_, zero, one = engine.start(padded_rows((), 1), 1), np.zeros(1), np.ones(1)
    for offset in (one, -one):
        low, high = (pass_._safe_offset(offset, zero, one, one, zero, side)[0] for side in (-1.0, 1.0))
        assert (low, high) == (offset[0] - engine.gamma, offset[0] + engine.gamma)


def test_execution_errors_cover_long_sums(tmp_path: Path) -> None:
    """A sum that loses its small terms in single precision: only the error of that execution tells."""
    n = 64
    weight = np.full((1, n), 2.0**-24)
    weight[0, 0] = 1.0
    net = tmp_path / "sum.onnx"
    net.write_bytes(layers_to_onnx([(np.eye(n), np.zeros(n)), (weight, np.zeros(1))]))
    ones = (
        property_text(n, 1, f"(<= Y_0 {1 + 60 * 2.0**-24!r})")
        .replace("0.5)", "1.0)")
        .replace("-0.5", "1.0")
        .replace("-1.0", "1.0")
    )
    prop = tmp_path / "p.vnnlib"
    prop.write_text(ones)
    data = certificate(net, [prop], "real", most=3)
    assert data is not None
    path = write(tmp_path / "c.json.gz", data)
    assert check(net, [prop], path).semantics == "real"
    data["semantics"] = "float32"
    for arithmetic in ("float64", "exact"):
        with pytest.raises(Rejected, match="left open"):
            check(net, [prop], write(path, data), Settings(arithmetic=arithmetic))


def test_overflow_in_single_precision_proves_nothing(tmp_path: Path) -> None:
    """Finite in float64, infinite in what the statement is about."""
    net = tmp_path / "big.onnx"
    net.write_bytes(layers_to_onnx([(np.eye(1) * 1e38, np.zeros(1)), (np.eye(1) * 1e-38, np.zeros(1))]))
    prop = tmp_path / "p.vnnlib"
    prop.write_text(property_text(1, 1, "(>= Y_0 50)", 2.0))
    data = certificate(net, [prop], "real")
    assert data is not None
    data["semantics"] = "float32"
    with pytest.raises(Rejected, match="overflow"):
        check(net, [prop], write(tmp_path / "c.json.gz", data))


def test_samples_come_with_all_leaves(tmp_path: Path) -> None:
    """And the line says both."""
    net = network(tmp_path / "net.onnx", [2, 8, 8, 2], seed=5)
    prop = tmp_path / "p.vnnlib"
    prop.write_text(property_text(2, 2, "(>= Y_0 0.0)"))
    data = certificate(net, [prop], "float32")
    assert data is not None
    path = write(tmp_path / "c.json.gz", data)
    phases: list[str] = []
    accepted = check(net, [prop], path, Settings(sample=3, seed=7), lambda phase, done, total: phases.append(phase))
    leaves = accepted.answers[0].leaves
    assert accepted.line() == f"float64, all {leaves} leaves; exact, 3 of {leaves}"
    assert {phase.rsplit(", ")[-1] for phase in phases} == {"float64", "exact"}
    everything = check(net, [prop], path, Settings(sample=10**6))
    assert everything.answers[0].sampled == leaves


@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_counterexamples(activation: str, semantics: str, tmp_path: Path) -> None:
    """Accepted where the input violates exactly; rejected outside of the box or where it does not."""
    net = network(tmp_path / "net.onnx", [2, 4, 2], activation, seed=2)
    x = np.array([0.25, -0.5], dtype=np.float32)
    y = evaluate(read_network(files.read_file(net)), [Fraction(float(v)) for v in x])
    cases = {
        "violates": (0.25, float(y[0]) - 1e-3, None),
        "not": (0.25, float(y[0]) + 1e-3, "exact"),
        "out": (0.75, 0.0, "none of"),
    }
    for name, (first, bound, reason) in cases.items():
        prop = tmp_path / f"{name}.vnnlib"
        prop.write_text(property_text(2, 2, f"(>= Y_0 {bound:.12f})"))
        proof = {"property": about(prop), "verdict": "violated", "input": [repr(first), "-0.5"]}
        path = write(tmp_path / "c.json.gz", head(net, semantics, [proof]))
        if name == "not" and semantics == "float32":
            assert not check(net, [prop], path).answers[0].exactly
        elif reason:
            with pytest.raises(Rejected, match=reason):
                check(net, [prop], path)
        else:
            accepted = check(net, [prop], path)
            assert (accepted.line(), accepted.answers[0].input) == ("1 violated, exact", (0.25, -0.5))
    proof["input"] = ["0.1", "-0.5"]
    with pytest.raises(Rejected, match="single precision"):
        check(net, [prop], write(tmp_path / "c.json.gz", head(net, semantics, [proof])))


def test_a_counterexample_of_one_branch_of_two(tmp_path: Path) -> None:
    net = network(tmp_path / "net.onnx", [2, 4, 2], seed=2)
    y = evaluate(read_network(files.read_file(net)), [Fraction(1, 4), Fraction(-1, 2)])
    prop = tmp_path / "p.vnnlib"
    prop.write_text(property_text(2, 2, f"(or (>= Y_0 1000) (>= Y_0 {float(y[0]) - 1e-3:.12f}))"))
    proof = {"property": about(prop), "verdict": "violated", "input": ["0.25", "-0.5"]}
    assert check(net, [prop], write(tmp_path / "c.json.gz", head(net, "real", [proof]))).answers[0].exactly
    prop.write_text(prop.read_text().replace("(or ", "(and "))
    proof["property"] = about(prop)
    with pytest.raises(Rejected, match="exact"):
        check(net, [prop], write(tmp_path / "c.json.gz", head(net, "real", [proof])))


@pytest.mark.parametrize("ends", [("0.1", "0.100000001"), ("0.100000001", "0.1")], ids=["last", "first"])
def test_an_input_that_is_another_point_in_each_branch(ends: tuple[str, str], tmp_path: Path) -> None:
    """It violates exactly where one of these points does: a proof beside it is wrong, whatever the others do."""
    net, prop = tmp_path / "net.onnx", tmp_path / "p.vnnlib"
    net.write_bytes(layers_to_onnx([(np.eye(1), np.zeros(1))]))
    # no number of single precision is either end, and the one that is run for both is the same
    branches = " ".join(f"(and (>= X_0 {end}) (<= X_0 {end}) (>= Y_0 0.1000000005))" for end in ends)
    prop.write_text(property_text(1, 1, f"(or {branches})"))
    x = [f"{float(np.float32(0.1)):.30f}"]  # as a decimal: exactly
    proof = {"property": about(prop), "verdict": "violated", "input": x}
    assert check(net, [prop], write(tmp_path / "c.json.gz", head(net, "real", [proof]))).answers[0].exactly


def test_what_is_said_of_several_answers() -> None:
    proved, exact, loose = (
        Answer("p", "proved", leaves=3),
        Answer("q", "violated"),
        Answer("r", "violated", exactly=False),
    )

    def line(*answers: Answer) -> str:
        return Accepted(settings=Settings(), semantics="real", assumptions={}, answers=answers).line()

    assert line(proved, exact) == "float64, all 3 leaves; 1 violated, exact"
    assert line(proved, proved, exact, loose) == "float64, all 6 leaves; 2 violated"
    assert line(exact) == "1 violated, exact"
    assert line(loose, exact) == "2 violated"


def test_a_run_that_violates_beside_a_proof(tmp_path: Path) -> None:
    """Over the reals only, and then it is left to a program that runs networks: 1 + x is 1 in single precision."""
    net, prop = tmp_path / "net.onnx", tmp_path / "p.vnnlib"
    net.write_bytes(layers_to_onnx([(np.eye(1), np.ones(1))]))
    prop.write_text(property_text(1, 1, "(<= Y_0 0.25)"))
    for semantics in ("real", "float32"):
        data = certificate(net, [prop], semantics)
        assert data is not None
        assert check(net, [prop], write(tmp_path / "c.json.gz", data)).unrun() == ()
        data["proofs"][0]["executed"] = ["0.25"]
        path = write(tmp_path / "c.json.gz", data)
        if semantics == "real":
            (answer,) = check(net, [prop], path).unrun()
            assert (answer.verdict, answer.input, answer.exactly) == ("proved", (0.25,), False)
        else:
            with pytest.raises(Rejected, match="a proof about execution"):
                check(net, [prop], path)


@pytest.mark.parametrize("exactly", [True, False])
@pytest.mark.parametrize("stated", [True, False])
def test_which_counterexamples_need_a_run(exactly: bool, stated: bool) -> None:
    """Over the reals none that is stated, and found, to violate exactly; of an execution every one."""
    answer = Answer("p", "violated", input=(0.0,), exactly=exactly, stated=stated)
    for semantics, needed in (("real", not (exactly and stated)), ("float32", True)):
        accepted = Accepted(settings=Settings(), semantics=semantics, assumptions={}, answers=(answer,))  # type: ignore[arg-type]
        assert accepted.unrun() == ((answer,) if needed else ())


def test_the_checker_imports_nothing_of_birdnn_but_errors() -> None:
    """In a fresh interpreter, all of its modules."""
    code = (
        "import sys, birdnn.certify.check, birdnn.certify.check.exact, birdnn.certify.check.__main__\n"
        "print(*sorted(n for n in sys.modules if n.split('.')[0] in ('birdnn', 'torch', 'onnxruntime', 'vnnlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert all(name in ("birdnn", "birdnn.errors") or name.startswith("birdnn.certify") for name in names), names
    assert "birdnn.certify.check.exact" in names


def test_the_assumptions_are_of_smooth_activations() -> None:
    """ReLU and LeakyReLU need none."""
    assert set(ASSUMED_ERROR) == {"tanh", "sigmoid", "elu"}
