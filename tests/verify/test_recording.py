"""What a recorder makes of multipliers."""

from __future__ import annotations

import numpy as np

from birdnn.verify.recording import _unpad_multipliers


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
