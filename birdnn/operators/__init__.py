"""The operators of a network: a table with one row for each, and what its rows are made of."""

from __future__ import annotations

from birdnn.operators.forward import Attributes, Inputs, pad
from birdnn.operators.shapes import Shape, ShapeProblem
from birdnn.operators.table import (
    OPERATORS,
    Function,
    Operator,
    activation_function,
    apply,
    magnitude,
    operator,
    operators_where,
    peak,
    roundings,
    shape_of,
)
from birdnn.operators.terms import Sums

__all__ = [
    "OPERATORS",
    "Attributes",
    "Function",
    "Inputs",
    "Operator",
    "Shape",
    "ShapeProblem",
    "Sums",
    "activation_function",
    "apply",
    "magnitude",
    "operator",
    "operators_where",
    "pad",
    "peak",
    "roundings",
    "shape_of",
]
