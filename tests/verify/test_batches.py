"""How many boxes one step takes."""

from __future__ import annotations

import pytest

from birdnn.formats.onnx import network_from_layers
from birdnn.verify.effort import batch_for
from tests.bounds.builders import random_layers


@pytest.mark.parametrize(
    ("sizes", "batch"), [((5, 50, 50, 50, 50, 50, 50, 5), 256), ((784, 600, 600, 10), 2), ((784, 4000, 4000, 10), 1)]
)
def test_wide_networks_are_examined_in_small_batches(sizes: tuple[int, ...], batch: int) -> None:
    """A step of 256 boxes of a wide network takes minutes, and no limit is looked at within one."""
    assert batch_for(network_from_layers(random_layers(0, sizes)), "cpu") == batch
