"""What the documentation of the functions shows, in a folder with the demonstration network."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from birdnn.api import asking, loading


@pytest.mark.thorough
@pytest.mark.parametrize("module", [asking, loading], ids=lambda module: module.__name__)
def test_the_examples(module: ModuleType, demo: Path) -> None:
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted >= 5
    assert not found.failed
