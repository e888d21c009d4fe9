"""What a recorder makes of multipliers."""

from __future__ import annotations

import numpy as np

from birdnn.bounds.crown import CrownBound
from birdnn.bounds.protocol import Question
from birdnn.verify.bounding import root_of
from birdnn.verify.branching import cut_remains
from birdnn.verify.part import Part
from birdnn.verify.recording import Recorder, _unpad_multipliers
from birdnn.verify.work import examine
from tests.bounds.builders import CPU, half_space, make_property, random_net


def test_padding_is_added_to_the_row_that_it_repeats() -> None:
    """In each form; the form that a question left out has no part in anything."""
    multiplier = np.arange(1.0, 13.0).reshape(2, 2, 3)
    found = _unpad_multipliers(multiplier, np.array([3, 2]))
    assert found[0].tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0]]
    assert found[1, :, :2].tolist() == [[7, 8 + 9], [10, 11 + 12], [0, 0]]
    three = np.ones((1, 3, 2))
    assert _unpad_multipliers(three, np.array([1]))[:, :, 0].tolist() == [[2, 2, 2]]


def test_rows_on_one_network_have_one_form() -> None:
    one = np.arange(1.0, 4.0).reshape(1, 1, 3)
    assert _unpad_multipliers(one, np.array([2]))[0, :, :2].tolist() == [[1, 5]]
    assert _unpad_multipliers(one[:0], np.array([], int)).shape == (0, 1, 3)


def test_cuts_count_for_the_limit_of_memory() -> None:
    """As the planes and faces do: all that is kept of the proof, and the open boxes."""
    net, prop = random_net(0, (2, 6, 1)), make_property([-1, -1], [1, 1], half_space([1.0], 0.0))
    bound, (region,) = CrownBound(net, CPU, record=True), prop.regions
    part = Part(
        place=0, region=region, boxes_before=0, attacks=[], stack=[root_of(bound, region)], rounds=[],
        recorder=Recorder(region),
    )  # fmt: skip
    assert part.bytes == part.stack[0].bytes
    batch = part.stack.pop()
    step = examine(bound, Question.of(region.unsafe, 1, CPU), batch)
    part.recorder.examined(batch, step)
    before = part.bytes
    halves, _ = cut_remains(bound, step, region.lower * 0, part.recorder)
    assert part.bytes > before > 0
    kept = sum(array.nbytes for array in part.recorder.arrays().values())
    assert part.bytes == part.recorder.bytes == kept
    part.recorder = None
    part.stack += halves
    assert part.bytes == halves[0].bytes
