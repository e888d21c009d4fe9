"""Two networks with the same inputs and outputs: how alike they behave, how far apart they get, what was lost."""

from __future__ import annotations

from birdnn.compare.comparing import compare_files
from birdnn.compare.settings import CompareSettings

__all__ = ["CompareSettings", "compare_files"]
