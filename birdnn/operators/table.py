"""One row for each operator: everything about it that is the same wherever it is used.

What reads a file, folds a chain, propagates intervals or writes ONNX looks an operator up here. What is left out of a
row means "no": where something needs it, it raises. Not here, since each is a piece of mathematics of its own: how
nodes of a file are lowered (`birdnn.formats.lowering`), lines around activations (`birdnn.bounds.rules`), exact values
(`birdnn.verify.exactly`); and nothing of the checker, which shares no code with the prover.

Source: ONNX operator specification, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from birdnn.errors import UnsupportedOpError
from birdnn.operators import forward, linear, shapes, terms
from birdnn.operators.forward import Attributes, Forward, Inputs
from birdnn.operators.linear import LinearPart
from birdnn.operators.shapes import Shape, ShapeRule
from birdnn.operators.terms import Sums

T = TypeVar("T")

AsInputs: TypeAlias = Callable[[Attributes], Mapping[str, "NDArray[Any] | float | None"]]


@dataclass(frozen=True, slots=True)
class Function:
    """What is known of an activation: a function of one number, applied to each entry.

    Attributes:
        kind: its name in chains, suites and certificates.
        straight: on which sides of zero its graph is a straight line through zero.
        float32_error: what a runtime's float32 function errs by absolutely, times ``max(1, |alpha|)``, beside one
            rounding; None where it is made of comparisons and products. Assumed; measured for onnxruntime and torch
            over all float32 values by ``python -m tools.measure_activations``.
    """

    kind: str
    straight: Literal["nowhere", "right", "both sides"] = "nowhere"
    float32_error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A row of the table.

    Attributes:
        forward: what it computes, on inputs and lowered attributes.
        shape: the shape of its value, from those of its inputs.
        operands: how many values it reads, where a file says nothing about it but `numbers`.
        numbers: attributes that are numbers, with what ONNX takes where a file leaves them out.
        attributes: further ones that lowering keeps as the file has them, under the same names.
        as_inputs: lowered attributes that a file has as inputs: name -> array or number, None where it is left out.
        written: the operator that stands for it in a file that we write, if it is another.
        linear_part: how to get its linear part; None where it is not affine.
        sums: what its arithmetic errs by; None where it computes nothing, or is a `function`.
        function: what is known of an activation that chains have layers for.
        elementwise: does each entry of its value depend on one entry of one input, and not linearly?
        monotone: does its value grow with each of its inputs?
        moves: what it does to entries without computing with them: only their shape changes, so that their order
            stays; their order; or which there are.
        compares: does it choose among its numbers, without computing new ones?
        weighted: is it a layer with weights?
        divides: does it divide by an operand?
        on_integers: is it computed for constant integers, which exporters use for shapes?
        joint: does each entry of its value depend on all along its attribute ``axis``, and behind it?
        unmeasured: is it a function whose float32 errors in runtimes are unknown, so that nothing is claimed of an
            execution? Over the reals, our float64 function errs by a few units of the largest number that it makes.
    """

    forward: Forward
    shape: ShapeRule
    operands: int = 1
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    attributes: tuple[str, ...] = ()
    as_inputs: AsInputs | None = None
    written: str = ""
    linear_part: LinearPart | None = None
    sums: Sums | None = None
    function: Function | None = None
    elementwise: bool = False
    monotone: bool = False
    moves: Literal["", "shape", "order", "entries"] = ""
    compares: bool = False
    weighted: bool = False
    divides: bool = False
    on_integers: bool = False
    joint: bool = False
    unmeasured: bool = False

    @property
    def is_layout(self) -> bool:
        """Does its value hold the very entries of its input?"""
        return self.moves in ("shape", "order")


def _moving_row(
    compute: Forward, shape: ShapeRule, moves: Literal["shape", "order", "entries"], **more: Any
) -> Operator:
    """A row of an operator that computes nothing."""
    # moved entries are linear in what is moved
    part = more.pop("linear_part", linear.first_only)
    return Operator(
        forward=compute, shape=shape, moves=moves, linear_part=part, monotone=True, on_integers=True, **more
    )


def _function_row(compute: Forward, **more: Any) -> Operator:
    """A row of a function of one number that chains have no layer for."""
    return Operator(forward=compute, shape=shapes.same, elementwise=True, unmeasured=True, **more)


def _stepping_row(compute: Forward) -> Operator:
    """A row of a function that jumps from one whole number to the next."""
    return Operator(
        forward=compute, shape=shapes.same, elementwise=True, monotone=True, compares=True, on_integers=True
    )


def _reshaping_row() -> Operator:
    return _moving_row(forward.reshape, shapes.given, "shape", as_inputs=_target_shape, written="Reshape")


def _target_shape(attributes: Attributes) -> Mapping[str, NDArray[Any]]:
    return {"shape": np.array(attributes["shape"], np.int64)}


def _slice_bounds(attributes: Attributes) -> Mapping[str, NDArray[Any]]:
    axes, starts, stops, steps = np.array(attributes["slices"], np.int64).reshape(-1, 4).T
    # a stop before the first entry, -1 in Python's own numbering, would count from the end
    ends = np.where(stops < 0, np.iinfo(np.int64).min, stops)
    return {"starts": starts, "ends": ends, "axes": axes, "steps": steps}


def _gather_indices(attributes: Attributes) -> Mapping[str, NDArray[Any]]:
    return {"indices": np.array(attributes["indices"], np.int64).reshape(attributes["index_shape"])}


def _reduced_axes(attributes: Attributes) -> Mapping[str, NDArray[Any]]:
    return {"axes": np.array(attributes["axes"], np.int64)}


def _power_exponent(attributes: Attributes) -> Mapping[str, float]:
    return {"exponent": float(attributes["exponent"])}


def _clip_limits(attributes: Attributes) -> Mapping[str, float | None]:
    limits = {name: float(attributes[name]) for name in ("min", "max")}
    # in a file a limit that is none is left out, not written as infinity
    return {name: None if math.isinf(value) else value for name, value in limits.items()}


def _constant_roundings(count: int) -> terms.RoundingCount:
    return lambda shapes, attributes: count


_WINDOW = ("kernel_shape", "strides", "pads", "dilations")

OPERATORS: Mapping[str, Operator] = {
    "Add": Operator(
        forward=forward.add,
        shape=shapes.binary,
        operands=2,
        linear_part=linear.constants_to_zero,
        sums=Sums(_constant_roundings(1), forward.add, forward.add),
        monotone=True,
        on_integers=True,
    ),
    "AveragePool": Operator(
        forward=forward.average_pool,
        shape=shapes.pool,
        attributes=(*_WINDOW, "count_include_pad"),
        linear_part=linear.first_only,
        sums=Sums(
            lambda shapes, attributes: math.prod(attributes["kernel_shape"]) + 1,
            forward.average_pool,
            terms.average_pool_peak,
        ),
        monotone=True,
    ),
    "BatchNormalization": Operator(
        forward=forward.batch_normalization,
        shape=shapes.normalization,
        attributes=("epsilon",),
        linear_part=linear.batch_normalization,
        # eight: also where a runtime folds scale and variance, mean and shift
        sums=Sums(_constant_roundings(8), terms.batch_normalization_magnitude, terms.batch_normalization_peak),
        divides=True,
    ),
    "Ceil": _stepping_row(forward.ceil),
    "Clip": Operator(
        forward=forward.clip,
        shape=shapes.same,
        as_inputs=_clip_limits,
        elementwise=True,
        monotone=True,
        compares=True,
    ),
    "Concat": _moving_row(
        forward.concat, shapes.concat, "entries", attributes=("axis",), linear_part=linear.constants_to_zero
    ),
    "Conv": Operator(
        forward=forward.conv,
        shape=shapes.conv,
        attributes=("strides", "pads", "dilations", "group"),
        linear_part=linear.without_bias,
        sums=Sums(lambda shapes, _: math.prod(shapes[1][1:]) + 1, forward.conv, forward.conv),
        weighted=True,
    ),
    "ConvTranspose": Operator(
        forward=forward.conv_transpose,
        shape=shapes.conv_transpose,
        attributes=("strides", "pads", "dilations", "group", "output_padding"),
        linear_part=linear.without_bias,
        sums=Sums(
            lambda shapes, attributes: shapes[1][0] // attributes["group"] * math.prod(shapes[1][2:]) + 1,
            forward.conv_transpose,
            forward.conv_transpose,
        ),
        weighted=True,
    ),
    "Cos": _function_row(forward.cos),
    "Div": Operator(
        forward=forward.div,
        shape=shapes.binary,
        operands=2,
        linear_part=linear.first_only,
        sums=Sums(_constant_roundings(2), forward.div, terms.div_peak),  # a runtime may multiply by the reciprocal
        divides=True,
    ),
    "Elu": Operator(
        forward=forward.elu,
        shape=shapes.same,
        numbers={"alpha": 1.0},
        function=Function("elu", straight="right", float32_error=5e-7),
        elementwise=True,
    ),
    "Erf": _function_row(forward.erf, monotone=True),
    "Exp": _function_row(forward.exp, monotone=True),
    "Flatten": _reshaping_row(),
    "Floor": _stepping_row(forward.floor),
    "Gather": _moving_row(forward.gather, shapes.gather, "entries", attributes=("axis",), as_inputs=_gather_indices),
    "Gelu": _function_row(forward.gelu, attributes=("approximate",)),
    "Gemm": Operator(
        forward=forward.gemm,
        shape=shapes.gemm,
        attributes=("alpha", "beta", "transA", "transB"),
        linear_part=linear.gemm,
        sums=Sums(terms.gemm_roundings, terms.gemm_magnitude, terms.gemm_peak),
        weighted=True,
    ),
    "GlobalAveragePool": Operator(
        forward=forward.global_average_pool,
        shape=shapes.global_pool,
        linear_part=linear.first_only,
        sums=Sums(
            lambda shapes, _: math.prod(shapes[0][2:]) + 2,
            forward.global_average_pool,
            terms.global_average_pool_peak,
        ),
        monotone=True,
    ),
    "Greater": Operator(forward=forward.greater, shape=shapes.binary, operands=2, compares=True),
    "GreaterOrEqual": Operator(forward=forward.greater_or_equal, shape=shapes.binary, operands=2, compares=True),
    "HardSwish": _function_row(forward.hard_swish),
    "Identity": _moving_row(forward.identity, shapes.same, "shape"),
    "LayerNormalization": Operator(
        forward=forward.layer_normalization,
        shape=shapes.layer_normalization,
        attributes=("axis", "epsilon"),
        joint=True,
        unmeasured=True,
    ),
    "LeakyRelu": Operator(
        forward=forward.leaky_relu,
        shape=shapes.same,
        numbers={"alpha": float(np.float32(0.01))},  # attributes are float32
        function=Function("leaky_relu", straight="both sides"),
        elementwise=True,
    ),
    "Log": _function_row(forward.log),
    "LogSoftmax": Operator(
        forward=forward.log_softmax, shape=shapes.same, attributes=("axis",), joint=True, unmeasured=True
    ),
    "MatMul": Operator(
        forward=forward.matmul,
        shape=shapes.matmul,
        operands=2,
        linear_part=linear.exactly_one,
        sums=Sums(lambda shapes, _: shapes[0][-1], forward.matmul, forward.matmul),
        weighted=True,
        on_integers=True,
    ),
    "Max": Operator(forward=forward.maximum, shape=shapes.binary, operands=2, monotone=True, compares=True),
    "MaxPool": Operator(forward=forward.max_pool, shape=shapes.pool, attributes=_WINDOW, monotone=True, compares=True),
    "Min": Operator(forward=forward.minimum, shape=shapes.binary, operands=2, monotone=True, compares=True),
    "Mul": Operator(
        forward=forward.mul,
        shape=shapes.binary,
        operands=2,
        linear_part=linear.exactly_one,
        sums=Sums(_constant_roundings(1), forward.mul, forward.mul),
        on_integers=True,
    ),
    "Pow": _function_row(forward.power, as_inputs=_power_exponent),
    "ReduceSum": Operator(
        forward=forward.reduce_sum,
        shape=shapes.reduced,
        as_inputs=_reduced_axes,
        linear_part=linear.first_only,
        sums=Sums(
            lambda shapes, attributes: math.prod(shapes[0][axis] for axis in attributes["axes"]),
            forward.reduce_sum,
            forward.reduce_sum,
        ),
        monotone=True,
    ),
    "Relu": Operator(
        forward=forward.relu,
        shape=shapes.same,
        function=Function("relu", straight="both sides"),
        elementwise=True,
        monotone=True,
        compares=True,
    ),
    "Reshape": _reshaping_row(),
    "Round": _stepping_row(forward.round_),
    "Sigmoid": Operator(
        forward=forward.sigmoid,
        shape=shapes.same,
        function=Function("sigmoid", float32_error=5e-7),
        elementwise=True,
        monotone=True,
    ),
    "Sign": _stepping_row(forward.sign),
    "Sin": _function_row(forward.sin),
    "Slice": _moving_row(forward.slice_, shapes.slice_, "entries", as_inputs=_slice_bounds),
    "Softmax": Operator(forward=forward.softmax, shape=shapes.same, attributes=("axis",), joint=True, unmeasured=True),
    "Softplus": _function_row(forward.softplus, monotone=True),
    "Sqrt": _function_row(forward.sqrt),
    "Squeeze": _reshaping_row(),
    "Sub": Operator(
        forward=forward.sub,
        shape=shapes.binary,
        operands=2,
        linear_part=linear.constants_to_zero,
        sums=Sums(_constant_roundings(1), forward.add, forward.add),
        on_integers=True,
    ),
    "Tanh": Operator(
        forward=forward.tanh,
        shape=shapes.same,
        function=Function("tanh", float32_error=5e-7),
        elementwise=True,
        monotone=True,
    ),
    "Transpose": _moving_row(forward.transpose, shapes.transpose, "order", attributes=("perm",)),
    "Unsqueeze": _reshaping_row(),
    "Where": Operator(forward=forward.where, shape=shapes.ternary, operands=3, compares=True),
}
"""Operator, as ONNX spells it -> its row."""


def operator(op: str, node: str = "") -> Operator:
    """The row of the operator `op` of the node called `node`.

    Raises:
        UnsupportedOpError: there is none.
    """
    row = OPERATORS.get(op)
    if row is None:
        raise UnsupportedOpError("", op, node, tuple(sorted(OPERATORS)))
    return row


def apply(op: str, inputs: Inputs, attributes: Attributes, node: str = "") -> Tensor:
    """What the operator `op` of the node called `node` computes.

    Raises:
        UnsupportedOpError: it is not in the table.
    """
    return operator(op, node).forward(inputs, attributes)


def shape_of(op: str, inputs: Sequence[Shape], attributes: Attributes) -> Shape:
    """The shape of an operator's value.

    Raises:
        ShapeProblem: the operator does not take inputs of these shapes.
        UnsupportedOpError: it is not in the table.
    """
    return operator(op).shape(inputs, attributes)


def magnitude(op: str, inputs: Inputs, attributes: Attributes) -> Tensor:
    """The sum of absolute terms of an affine operator, given the absolute values of what it reads.

    Raises:
        UnsupportedOpError: its row does not say.
    """
    row = operator(op)
    if row.sums is not None:
        # of absolute values: with absolute constants the same operator adds the absolute terms
        return row.sums.magnitude(inputs, attributes)
    return _require_stated(op, row.moves, row.forward)(inputs, attributes)


def peak(op: str, inputs: Inputs, attributes: Attributes) -> Tensor:
    """A bound of everything that a float32 runtime may compute on the way, see `Sums`; arguments as of `magnitude`."""
    row = operator(op)
    if row.sums is not None:
        return row.sums.peak(inputs, attributes)
    return _require_stated(op, row.moves, row.forward)(inputs, attributes)


def roundings(op: str, shapes: Sequence[Sequence[int]], attributes: Attributes) -> int:
    """How many roundings a term passes through at most, in any order of its sums; none where nothing is computed.

    Raises:
        UnsupportedOpError: its row does not say.
    """
    row = operator(op)
    if row.sums is not None:
        return row.sums.roundings(shapes, attributes)
    return _require_stated(op, row.moves or row.compares, 0)


def _require_stated(op: str, computes_nothing: object, value: T) -> T:
    """What holds of an operator that computes nothing; who computes has to say what it errs by."""
    # a row that says nothing must not pass for one that computes nothing: bounds would lack its rounding
    if not computes_nothing:
        raise UnsupportedOpError("", op, "", tuple(sorted(operators_where(lambda row: row.sums is not None))))
    return value


def operators_where(holds: Callable[[Operator], bool]) -> frozenset[str]:
    """The operators of whose rows something holds."""
    return frozenset(name for name, row in OPERATORS.items() if holds(row))


def activation_function(kind: str) -> tuple[str, Function]:
    """The operator of an activation's kind, and what is known of it.

    Raises:
        KeyError: there is no such activation.
    """
    for name, row in OPERATORS.items():
        if row.function is not None and row.function.kind == kind:
            return name, row.function
    raise KeyError(f"activation {kind!r} is unknown")
