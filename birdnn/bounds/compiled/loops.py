"""What Python calls of the compiled loops; importing it loads Numba."""

from __future__ import annotations

from birdnn.bounds.compiled.splits import close
from birdnn.bounds.compiled.step import bound, sensitivity

__all__ = ["bound", "close", "sensitivity"]
