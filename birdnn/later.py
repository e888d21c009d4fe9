"""Libraries that load when something of them is first used: torch and SciPy take seconds that few commands need.

And what to say where one is not installed.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until somebody asks it for a name.

    It takes no names itself: a test's patch would be seen by those alone who use this stand-in.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self.__name__} is loaded later: set {name!r} on the module itself")


def later(name: str) -> Any:
    """The module ``name``, which must be installed; a module of ours says ``TYPE_CHECKING`` besides to have types."""
    return _Later(name)


def missing_package(error: BaseException) -> str:
    """What to say where a package that is not installed is the reason; empty where it is not."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    # a module of ours that is missing is no package to be installed
    if name in ("", "birdnn"):
        return ""
    return (
        f"the package {name} is not installed: pip install . in birdnn's source folder brings all that it needs. "
        "The checker alone is there: birdnn-check --help"
    )
