"""Bounds and certificates of networks whose numbers come from the whole range of float32 and float64: no tolerance.

`tools.adversarial` makes the networks and knows, exactly, what they attain somewhere in their box.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn import chain
from birdnn.bounds import crown, interval, minima, plan
from birdnn.bounds.crown import CrownBound
from birdnn.bounds.protocol import MarginBound
from birdnn.bounds.slopes import Slopes
from birdnn.boxes import Boxes
from birdnn.certify.check import Rejected, check, floats, layers, lines
from birdnn.certify.check.layers import Activation
from birdnn.errors import FormatError, SpecError
from birdnn.formats.onnx import network_from_layers
from birdnn.merging import Merging
from birdnn.network import Network
from birdnn.spec import Row
from tests.bounds.builders import CPU, all_open, compiled, half_space, question_of
from tests.certify import producer
from tools.adversarial import FAMILIES, Made, Question, asked, attained, out_of_reach, questions
from tools.asked import bounds_of, lowest

SEEDS = st.integers(0, 2**32 - 1)


def above(bound: MarginBound, made: Made, value: Fraction) -> bool:
    """Is a bound of the row above a value?"""
    lower = lowest(bound, made, value)
    return lower is not None and lower > 0


def never_above(question: Question) -> int:
    """No bound is above what is attained somewhere; how many there were."""
    count = 0
    if question.bound is not None:
        for bound in bounds_of(question.made, question.semantics):
            assert not above(bound, question.made, question.bound), bound.name
            count += 1
    return count


@pytest.mark.thorough
@settings(max_examples=40)
@given(seed=SEEDS)
@example(seed=261262612)  # onnxruntime merges its constants, and their product is zero
def test_no_bound_is_above_what_is_attained(seed: int) -> None:
    """The row's value less its least one that is known: zero somewhere, so that no bound is positive."""
    for question in questions(seed):
        with contextlib.suppress(SpecError):  # a right-hand side beyond float64: refused, in a sentence
            never_above(question)


def asked_by_a_producer(question: Question, folder: Path, value: Fraction, how: str) -> str:
    """Whether the checker accepts what a producer with the checker's own eyes makes of a question."""
    net, prop = folder / "net.onnx", folder / "prop.vnnlib"
    net.write_bytes(question.made.model())
    try:
        prop.write_text(question.made.property(value).text)
        made = producer.certificate(net, [prop], question.semantics, most=16, faces=False)
        if made is None:
            return "not proved"
        check(net, [prop], producer.write(folder / "c.json.gz", made))
    except (Rejected, FormatError, SpecError):
        return "refused"
    return "accepted"


@pytest.mark.thorough
@pytest.mark.parametrize("family", FAMILIES)
def test_the_checker_accepts_nothing_that_is_attained(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even from someone who looks for whatever passes; and it accepts what is far out of reach."""
    monkeypatch.setattr(producer, "MARGIN", 0.0)
    accepted = 0
    for seed in range(40):
        for question in questions(seed):
            if question.family == family and question.bound is not None:
                assert asked_by_a_producer(question, tmp_path, question.bound, "attained") != "accepted", seed
                far = out_of_reach(question.bound)
                accepted += asked_by_a_producer(question, tmp_path, far, "out of reach") == "accepted"
    assert accepted > 5


def folded(up: int, down: int) -> Made:
    """``x -> 2**down * 2**down * ... * 2**up * ... * x`` in float32: the first factors underflow together."""
    steps = [("Mul", {"b": np.float32([[2.0**down]])}, {})] * 12 + [("Mul", {"b": np.float32([[2.0**up]])}, {})] * 12
    ends = np.float32([2.0**3]), np.float32([2.0**4])
    return Made(tuple(steps), *ends, (Fraction(-1),), np.float32)


def test_products_of_weights_that_underflow_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folded in float64 the map is zero; it is the identity. Planted: nobody pays for that."""
    made = folded(100, -100)
    value = attained(made, "real", np.random.default_rng(0))
    assert value is not None
    assert value < -8
    low = Fraction(-4)
    assert not any(above(bound, made, low) for bound in bounds_of(made, "real"))
    monkeypatch.setattr(chain.Affine, "lost", 0.0)
    assert any(above(bound, made, low) for bound in bounds_of(made, "real")), "planted"


def hidden(weight: float, x: float) -> Made:
    """``relu(w x) w`` in float64: a row on x underflows, x is large."""
    layer = np.array([[weight]])
    steps = (("MatMul", {"w": layer}, {}), ("Relu", {}, {}), ("MatMul", {"w": layer}, {}))
    return Made(steps, np.array([x]), np.array([2 * x]), (Fraction(-1),), np.float64)


def test_rows_that_underflow_prove_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Planted: the room for what underflows on the way of a row, in the prover and in the checker."""
    made, between = hidden(2.0**-600, 2.0**440), -(Fraction(2) ** -780)
    value = attained(made, "real", np.random.default_rng(0))
    assert value is not None
    assert value < between
    assert not any(above(bound, made, between) for bound in bounds_of(made, "real"))
    question = Question("hidden", made, "real", between)
    monkeypatch.setattr(producer, "MARGIN", 0.0)
    assert asked_by_a_producer(question, tmp_path, between, "") != "accepted"
    for module in (crown, minima):
        monkeypatch.setattr(module, "LOST64", 0.0)
    assert any(above(bound, made, between) for bound in bounds_of(made, "real")), "planted"
    monkeypatch.setattr(floats, "UNDERFLOW", 0.0)
    monkeypatch.setattr(floats, "HUGE", np.inf)
    assert asked_by_a_producer(question, tmp_path, between, "") == "accepted", "planted"


def test_values_too_large_for_the_account_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: no limit on what a row that underflows may meet."""
    made, between = hidden(2.0**-600, 2.0**1000), -(Fraction(2) ** -220)
    value = attained(made, "real", np.random.default_rng(0))
    assert value is not None
    assert value < between
    assert not any(above(bound, made, between) for bound in bounds_of(made, "real"))
    monkeypatch.setattr(crown, "RANGE64", np.inf)
    assert any(above(bound, made, between) for bound in bounds_of(made, "real")), "planted"


def test_a_tiny_coefficient_is_not_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``1e-324 y <= -9e-300`` where y reaches -1e25: in float64 a row about nothing. Planted: rows as they stand."""
    steps = (("Mul", {"b": np.float32([[1e5]])}, {}),)
    made = Made(steps, np.float32([-1e20]), np.float32([1e20]), (Fraction(1, 10**324),), np.float32)
    value = -Fraction(9, 10**300)
    bounds = list(bounds_of(made, "real"))
    assert not any(above(bound, made, value) for bound in bounds)
    assert asked(made, value, "real", tmp_path) == "not proved"
    question = Question("coefficient", made, "real", value)
    assert asked_by_a_producer(question, tmp_path, value, "") != "accepted"
    monkeypatch.setattr(Row, "normal", lambda self: self)
    for module in (crown, interval, minima):
        monkeypatch.setattr(module, "LOST64", 0.0)
    assert any(above(bound, made, value) for bound in bounds), "planted"


def scaled(*steps: tuple, lower: float, upper: float, coefficient: int = 1, dtype: type = np.float32) -> Made:
    """One input and one output; an operand is a number."""
    made = []
    for op, operand, attributes in steps:
        shape = {"MatMul": (1, 1), "Gemm": (1, 1), "Clip": ()}.get(op, (1, 1))
        made.append((op, {} if operand is None else {"b": np.full(shape, operand, dtype)}, attributes))
    ends = (np.array([end], dtype) for end in (lower, upper))
    return Made(tuple(made), *ends, (Fraction(coefficient),), dtype)


BEYOND = {
    "a weight beyond float64": (
        scaled(("Mul", 1e200, {}), ("Mul", 1e200, {}), lower=0, upper=1e-200, coefficient=-1, dtype=np.float64),
        "real",
        -(Fraction(10) ** 150),
    ),
    "a weight beyond float64, and a ReLU": (
        scaled(
            ("Mul", 1e200, {}), ("Mul", 1e200, {}), ("Relu", None, {}), ("MatMul", 1, {}),
            lower=0, upper=1e-200, coefficient=-1, dtype=np.float64,
        ),
        "real",
        -(Fraction(10) ** 150),
    ),
    "Clip ends at the largest number": (
        scaled(("Mul", 1e38, {}), ("Clip", 0, {}), ("MatMul", 1, {}), lower=100, upper=1000),
        "real",
        Fraction(35) * 10**37,
    ),
    "a factor of Gemm that may be flushed": (
        scaled(("Mul", 1e15, {}), ("Gemm", 1e15, {"alpha": 1e-39}), ("Mul", 1e9, {}), lower=1, upper=2),
        "float32",
        Fraction(1, 2),
    ),
    "a divisor that may be flushed": (
        scaled(
            ("Mul", 1e-30, {}), ("Div", 1e-40, {}), ("Mul", -1e-10, {}), ("Add", 100, {}), ("Relu", None, {}),
            ("MatMul", 1, {}), lower=1, upper=2,
        ),
        "float32",
        Fraction(1, 2),
    ),
    "constants that onnxruntime merges": (
        scaled(("Mul", 1e27, {}), ("Div", 1e27, {}), ("MatMul", 1, {}), ("Mul", 1e-30, {}), lower=1, upper=2),
        "float32",
        Fraction(1, 10**31),
    ),
    "constants whose product overflows": (
        scaled(("Mul", 1e-30, {}), ("MatMul", 1, {}), ("Mul", 1e20, {}), ("Mul", 1e20, {}), lower=1, upper=2),
        "float32",
        Fraction(10) ** 9,
    ),
    "an input that may be flushed": (
        scaled(("Relu", None, {}), lower=1e-40, upper=1e-39),
        "float32",
        Fraction(1, 10**41),
    ),
}  # fmt: skip
"""Network, semantics, and a bound that is attained: at 1e200, at the largest float32, at zero where it is flushed."""


@pytest.mark.parametrize("case", BEYOND)
def test_what_lies_beyond_a_format_is_not_proved(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By no bound, and no certificate of it is accepted. A review found each of these."""
    made, semantics, value = BEYOND[case]
    for bound in bounds_of(made, semantics):  # type: ignore[arg-type]
        assert not above(bound, made, value), bound.name
    monkeypatch.setattr(producer, "MARGIN", 0.0)
    question = Question(case, made, semantics, value)  # type: ignore[arg-type]
    assert asked_by_a_producer(question, tmp_path, value, case) != "accepted"


def test_merged_constants_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime, as installed, returns zero where each operation by itself gives 1e-30. Planted: nobody pays."""
    made, _, value = BEYOND["constants that onnxruntime merges"]
    session = onnxruntime.InferenceSession(made.model(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"X": np.float32([[1.5]])})[0] == 0
    monkeypatch.setattr(producer, "MARGIN", 0.0)
    for module in (chain, interval, plan):
        monkeypatch.setattr(module, "mergings", lambda *_: defaultdict(Merging))
    assert all(above(bound, made, value) for bound in bounds_of(made, "float32")), "planted"
    monkeypatch.setattr(layers, "ceil", lambda _: 0)
    assert asked_by_a_producer(Question("merged", made, "float32", value), tmp_path, value, "planted") == "accepted"


@pytest.mark.parametrize("alpha", [1e-40, -1e-40])
def test_an_alpha_that_may_be_flushed_to_zero(alpha: float) -> None:
    """A slope below 2**-126 is nothing to some executions, and 1e-10 is a lot where z is 1e30."""
    alpha, z = float(np.float32(alpha)), torch.tensor([[-1e30]]).double()
    relaxation = crown.relax(chain.Activation("leaky_relu", alpha), z, z / 2, "float32")
    low, high = (sides[0].at(z) for sides in (relaxation.low, relaxation.up))
    assert float(low) <= min(0, -1e30 * alpha)
    assert float(high) >= max(0, -1e30 * alpha)
    act = Activation("leaky_relu", alpha)
    assert lines.execution_error(act, z.numpy())[0, 0] >= abs(alpha) * 1e30


def steep(alpha: float, seed: int) -> tuple[Network, Fraction]:
    """A sum of leaky ReLUs whose lines are of sizes 1 and ``alpha``, and the least value of it on -1..1, exactly."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 9))
    inner = (rng.normal(size=(n, 1)) * 1e-15 / alpha).astype(np.float32)
    outer = rng.normal(size=(1, n)).astype(np.float32)
    layers = [(inner, np.zeros(n, np.float32)), (outer, np.zeros(1, np.float32))]
    net = network_from_layers(layers, "LeakyRelu", alpha=alpha)
    steepness = Fraction(float(np.float32(alpha)))

    def at(x: int) -> Fraction:
        z = [Fraction(float(w)) * x for w in inner[:, 0]]
        y = [v if v > 0 else steepness * v for v in z]
        return sum((Fraction(float(w)) * v for w, v in zip(outer[0], y, strict=True)), Fraction(0))

    return net, min(at(-1), at(0), at(1))


def above_attained(make: Callable[..., MarginBound]) -> int:
    """How many bounds lie above what is attained."""
    one, polytopes, count = torch.ones(1, 1).double(), (half_space([1.0], 0.0),), 0
    for alpha in (1e6, 1e10, 1e14, 1e20):
        for seed in range(60, 130):
            net, least = steep(alpha, seed)
            bound, boxes = make(net, CPU), Boxes(-one, one)
            found = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1))
            count += Fraction(float(found.lower)) > least
    return count


@pytest.mark.thorough
@pytest.mark.parametrize("make", [CrownBound, compiled])
def test_lines_of_very_different_sizes(make: Callable[..., MarginBound]) -> None:
    """Found by `tools.adversarial`, seed 2837: a line and the distance to the other were not the other."""
    assert above_attained(make) == 0


@pytest.mark.thorough
def test_a_line_and_a_distance_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the upper line as the lower one and what is between them."""

    def back(self: Slopes, rows: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        low, up, high, down = self.pack.unbind(1)
        negative = rows.clamp(max=0)
        constant = constant + torch.linalg.vecdot(negative, high - down) + torch.linalg.vecdot(rows, down)
        return torch.addcmul(rows * low, negative, up - low), constant

    monkeypatch.setattr(Slopes, "back", back)
    assert above_attained(CrownBound) > 0
