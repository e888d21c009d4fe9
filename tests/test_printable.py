"""Text for people: how many there are of something."""

from __future__ import annotations

import pytest

from birdnn.printable import counted


@pytest.mark.parametrize(("count", "told"), [(0, "0 inputs"), (1, "1 input"), (2, "2 inputs"), (3072, "3,072 inputs")])
def test_one_is_no_plural(count: int, told: str) -> None:
    assert counted(count, "input") == told


def test_some_plurals_are_their_own() -> None:
    assert [counted(count, "box", "boxes") for count in (1, 2)] == ["1 box", "2 boxes"]
