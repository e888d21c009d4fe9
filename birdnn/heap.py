"""Memory that was freed stays with the process: to get it again costs more than the arithmetic on it.

A batch of activations is megabytes that are freed and wanted again for the next one. The C library of Linux gives them
back to the system each time, which clears every page before it hands it out anew; evaluations of small networks take
two to five times as long by that. Other systems' libraries keep what was freed by themselves.
"""

from __future__ import annotations

import ctypes
import os
import sys

_KEPT = 1 << 28  # bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them
_SAID = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"


def keep_freed_memory() -> bool:
    """Keep up to 256 MiB that were freed, for the rest of the process; true where the C library was told so.

    For processes that are ours: a program that imports birdnn decides about its memory itself, and so does a user who
    said it by the C library's own environment variables.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SAID):
        return False
    # both: blocks above the second are the system's own mappings, which free() gives back whatever the first says
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(what, _KEPT) == 1 for what in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
