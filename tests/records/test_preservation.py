"""How far a repaired network can be from the original: what is known on both sides, and what is not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from birdnn.records import Preservation
from birdnn.report.publish import dumps, record_from


def preservation(**changes: Any) -> Preservation:
    made: dict[str, Any] = {
        "where": "the domain",
        "found_lower": (-0.25, 0.0),
        "found_upper": (0.125, 0.0),
        "x": (0.5,),
        "lower": (-0.5, 0.0),
        "upper": (0.25, 0.0),
        "arithmetic": "float64",
        "method": "own",
        "boxes": 3,
        "seconds": 1.0,
        "complete": True,
    }
    return Preservation(**(made | changes))


def test_the_greatest_change_is_of_either_side() -> None:
    """An output that only falls changes most on its lower one."""
    assert (preservation().found, preservation().proved) == (0.25, 0.5)
    risen = preservation(found_upper=(0.125, 0.75), upper=(0.25, 2.0))
    assert (risen.found, risen.proved) == (0.75, 2.0)
    none = preservation(found_lower=(), found_upper=(), lower=(), upper=())
    assert (none.found, none.proved) == (0.0, 0.0)


def test_what_is_not_known_is_infinite_and_null_in_the_file() -> None:
    open_above = preservation(lower=(-0.5, -math.inf), upper=(math.inf, 0.0))
    assert open_above.proved == math.inf
    content = json.loads(dumps(open_above))
    assert (content["lower"], content["upper"]) == ([-0.5, None], [None, 0.0])
    # Each on its own side: the least that is known of a lower bound is minus infinity.
    assert record_from(Preservation, content) == open_above


@pytest.mark.parametrize("side", ["found_lower", "found_upper", "lower", "upper"])
def test_no_output_is_lost(side: str) -> None:
    with pytest.raises(ValueError, match="of different numbers of outputs"):
        preservation(**{side: (0.0,)})
