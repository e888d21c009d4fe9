"""How the loops are compiled, and kept on disk.

`fastmath` lets the compiler reorder sums and fuse products, no more: the rounding bounds (`birdnn.rounding`) hold for
any order of operations and with fused multiply-add. NaN and infinity keep their meaning.

Compiled code is stale as soon as anything that went into it changes, and stale bounds may be wrong: Numba looks at one
file's time and size, so that a hash of all files and constants stands in the name besides.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

from birdnn import rounding

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
    "_nrt": False,  # nothing is allocated: without reference counts there is half as much to compile
}


_Function = TypeVar("_Function")


def compiled(function: _Function) -> _Function:
    """A function that compiled ones call."""
    return cast(_Function, njit(**_OPTIONS)(function))


def inlined(function: _Function) -> _Function:
    """A small function that compiled ones call for each neuron: a call would cost as much as what it does."""
    return cast(_Function, njit(inline="always", **_OPTIONS)(function))


def entrance(function: Any) -> Any:
    """A function that Python calls: its code, and that of all it calls, stays on disk where there is a place for it."""
    function.__qualname__ = f"{function.__name__}_{_hash_sources()}"
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither beside the package nor in the user's cache
        return njit(**_OPTIONS)(function)


def is_on_disk(function: Any) -> bool:
    """Has this very code been compiled before?"""
    folder = function.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{function.py_func.__qualname__}*.nbi"))


def _hash_sources() -> str:
    """Of all that goes into compiled code."""
    found = hashlib.sha256()
    # all files: an entrance has the code of everything that it calls in it, whichever file that is in
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    # Numba freezes global constants into the code, and these are in another folder
    numbers = {name: value for name, value in vars(rounding).items() if isinstance(value, int | float)}
    found.update(repr(sorted(numbers.items())).encode())
    return found.hexdigest()[:16]
