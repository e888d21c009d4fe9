"""Regions covered by bounds alone: what is too small is given up, and whatever is left open is handed back."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Proved, Unknown, Unwatched
from birdnn.spec import Region
from birdnn.verify import SearchSettings
from birdnn.verify.bounding import make_bound
from birdnn.verify.covering import cover_region
from tests.bounds.builders import half_space

FIXED = Fraction(1, 10)  # which no float64 is, so that its box is wider than nothing


def sum_of_inputs() -> Network:
    return network_from_layers([(np.ones((1, 2), np.float32), np.zeros(1, np.float32))], "Relu")


def a_region(bound: float) -> Region:
    """One free input between 0 and 1, one fixed at a decimal; unsafe where their sum is at least ``bound``."""
    return Region(
        exact_lower=(Fraction(0), FIXED), exact_upper=(Fraction(1), FIXED), unsafe=(half_space([-1], -bound),)
    )


def covered(bound: float, **limits: object) -> Proved | Unknown:
    settings = SearchSettings(semantics="real", timeout_s=60, batch=1, **limits)  # type: ignore[arg-type]
    found = make_bound(sum_of_inputs(), settings)
    return cover_region(found, a_region(bound), 1, settings=settings, watch=Unwatched(), phase="covering")


def width_left(found: Unknown) -> float:
    assert found.undecided is not None
    return float((found.undecided.upper - found.undecided.lower)[:, 0].sum())


def test_an_input_fixed_at_a_decimal_does_not_keep_a_box_from_being_given_up() -> None:
    """A part of the region is unsafe: before, its boxes were cut until no midpoint was left."""
    found = covered(0.6, smallest_width=1 / 8, max_boxes=1000)
    assert isinstance(found, Unknown)
    assert found.reason == "precision"
    assert found.boxes < 20
    # half of the free input, in boxes of an eighth or a sixteenth
    assert 4 <= found.open_boxes <= 9
    assert width_left(found) == pytest.approx(0.5, abs=1 / 8)


@pytest.mark.parametrize("boxes", [0, 1, 3, 7, 11])
def test_at_a_limit_nothing_that_is_open_is_lost(boxes: int) -> None:
    """All is unsafe, and nothing closes: boxes that are given up and boxes that wait cover the region together."""
    found = covered(-1.0, smallest_width=1 / 8, max_boxes=boxes)
    assert isinstance(found, Unknown)
    assert (found.reason, found.boxes) == ("boxes", boxes)
    assert found.undecided is not None
    assert found.open_boxes == len(found.undecided)
    assert width_left(found) == pytest.approx(1.0)


def test_what_is_safe_is_proved() -> None:
    assert isinstance(covered(1.2), Proved)
