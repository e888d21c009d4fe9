"""Which edge is cut: the one on which what lines lose depends."""

from __future__ import annotations

import numpy as np
import torch

from birdnn.bounds.crown import CrownSettings
from birdnn.boxes import Boxes
from birdnn.formats.onnx import network_from_layers
from tests.bounds.builders import CPU, all_open, compiled, half_space, question_of


def edge_cut(steps: int, shift: float = 0) -> int:
    """Of ``5 x1 - |x0 + shift|`` on [-1, 1] squared, as a network: an output that is not above -1 everywhere."""
    first = np.array([[1, 0], [-1, 0], [0, 1]], np.float32), np.array([shift, -shift, 10], np.float32)
    last = np.array([[-1, -1, 5]], np.float32), np.array([-50], np.float32)
    net = network_from_layers([first, last], "Relu")
    boxes = Boxes(torch.full((1, 2), -1.0).double(), torch.full((1, 2), 1.0).double())
    polytopes = (half_space([1.0], -1.0),)
    bound = compiled(net, CPU, CrownSettings(steps=steps))
    left = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(1)).left
    assert left is not None
    assert len(left.parent) == 1, "nothing is open"
    return int(left.edge[0])


def test_what_is_linear_already_is_not_cut() -> None:
    """Halving x1 would change its share of the bound more, but no line loses anything there."""
    assert edge_cut(2) == 0


def test_without_losses_the_steepest_edge_is_cut() -> None:
    """Nothing is known of them before a step, and there are none where all signs are decided: what lines pay for
    rounding is no loss."""
    assert edge_cut(0) == 1
    assert edge_cut(2, shift=3) == 1
