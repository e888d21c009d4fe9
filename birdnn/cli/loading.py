"""Loading modules: without a look for garbage, and what to say where a package is missing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Around imports that take long; as before in the end, whatever happens.

    A million objects that stay would be gone through again and again.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def missing_package(error: BaseException) -> str:
    """What to say where a package that is not installed is the reason; empty where it is not."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    # a module of ours that is missing is no package to be installed
    if name in ("", "birdnn"):
        return ""
    return (
        f"the package {name} is not installed: pip install birdnn brings all that it needs. "
        "The checker alone is there: birdnn-check --help"
    )
