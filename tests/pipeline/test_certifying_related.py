"""Of which queries about two networks there are certificates."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.pipeline.certifying_related import certify_related, pair_obstacle
from birdnn.records import Unwatched
from birdnn.records.limits import never
from birdnn.spec import Polytope, Property, Row
from tests.bounds.builders import make_property
from tests.pipeline.subjects import identity

LAYERS = [(np.eye(1), np.zeros(1)), (np.eye(1), np.zeros(1))]


def pair(op: str, alpha: float | None = None) -> tuple[Network, Network]:
    moved = [LAYERS[0], (np.eye(1), np.ones(1))]
    return network_from_layers(LAYERS, op, alpha=alpha), network_from_layers(moved, op, alpha=alpha)


def asks(*coefficients: Fraction | float) -> Property:
    row = Row(tuple(map(Fraction, coefficients)), Fraction(1))
    return make_property([0.0], [1.0], Polytope(rows=(row,), n_outputs=2))


@pytest.mark.parametrize(
    ("op", "alpha", "obstacle"),
    [("Relu", None, ""), ("LeakyRelu", 0.1, ""), ("Tanh", None, "tanh"), ("Elu", 0.5, "elu")],
)
def test_differences_are_followed_behind_piecewise_linear_activations(
    op: str, alpha: float | None, obstacle: str
) -> None:
    told = pair_obstacle(*pair(op, alpha), asks(1, -1))
    assert told.endswith(f"not {obstacle}" if obstacle else "")
    assert bool(told) == bool(obstacle)


@pytest.mark.parametrize(
    ("one", "other", "held"),
    [
        (1, -1, True),
        (0.1, -0.1, True),
        (1, Fraction(1, 2**60), False),  # each is a float64, their sum is none
        (1, Fraction(1, 3), False),
        (Fraction(1, 3), Fraction(-1, 3), True),
        (0, 0, True),
    ],
)
def test_sums_of_coefficients_have_to_be_numbers_of_float64(one: float, other: float, held: bool) -> None:
    """The checker bounds outputs and differences, and a sum that is rounded would be another row."""
    assert (pair_obstacle(*pair("Relu"), asks(one, other)) == "") == held


def test_every_row_counts() -> None:
    good, bad = (Row((Fraction(1), second), Fraction(0)) for second in (Fraction(-1), Fraction(1, 3)))
    for rows in ((good, bad), (bad, good)):
        prop = make_property([0.0], [1.0], Polytope(rows=rows, n_outputs=2))
        assert "none that float64 holds" in pair_obstacle(*pair("Relu"), prop)
        apart = make_property([0.0], [1.0], *(Polytope(rows=(row,), n_outputs=2) for row in rows))
        assert "none that float64 holds" in pair_obstacle(*pair("Relu"), apart)


def test_where_nothing_is_decided_nothing_is_written(tmp_path: Path) -> None:
    loaded, out = identity(tmp_path, 0.0), tmp_path / "c.json"
    assert certify_related({"f": loaded, "g": loaded}, [], out, watch=Unwatched(), over=never) is None
    assert not out.exists()
