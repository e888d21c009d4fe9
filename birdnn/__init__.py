"""birdnn repairs neural networks by behaviour imitation, proves the repair, and measures what else changed.

The public names load on first use: importing the package imports nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from birdnn.api import box_property as box_property
    from birdnn.api import check as check
    from birdnn.api import estimate as estimate
    from birdnn.api import falsify as falsify
    from birdnn.api import load_network as load_network
    from birdnn.api import load_property as load_property
    from birdnn.api import localize as localize
    from birdnn.api import localize_blocks as localize_blocks
    from birdnn.api import repair as repair
    from birdnn.api import repair_blocks as repair_blocks
    from birdnn.api import repaired_module as repaired_module
    from birdnn.api import rule as rule
    from birdnn.api import save_network as save_network
    from birdnn.api import save_property as save_property
    from birdnn.api import verify as verify
    from birdnn.errors import BirdnnError as BirdnnError
    from birdnn.errors import DisagreementError as DisagreementError
    from birdnn.errors import EngineError as EngineError
    from birdnn.errors import FormatError as FormatError
    from birdnn.errors import InputError as InputError
    from birdnn.errors import MismatchError as MismatchError
    from birdnn.errors import NotProvedError as NotProvedError
    from birdnn.errors import OutputError as OutputError
    from birdnn.errors import SpecError as SpecError
    from birdnn.errors import UnsupportedOpError as UnsupportedOpError
    from birdnn.network import Network as Network
    from birdnn.records import CheckOutcome as CheckOutcome
    from birdnn.records import EstimateOutcome as EstimateOutcome
    from birdnn.records import ExampleRepair as ExampleRepair
    from birdnn.records import LocalizeOutcome as LocalizeOutcome
    from birdnn.records import PacBound as PacBound
    from birdnn.records import Progress as Progress
    from birdnn.records import PropertyRepair as PropertyRepair
    from birdnn.records import Proved as Proved
    from birdnn.records import RepairOutcome as RepairOutcome
    from birdnn.records import Unknown as Unknown
    from birdnn.records import VerifyOutcome as VerifyOutcome
    from birdnn.records import Violated as Violated
    from birdnn.records import Watch as Watch
    from birdnn.records import Witness as Witness
    from birdnn.spec import Property as Property
    from birdnn.spec import Region as Region

# once more than above: a type checker follows imports alone, and imports that run would load torch with the package
_HOME = {
    "BirdnnError": "errors",
    "CheckOutcome": "records",
    "DisagreementError": "errors",
    "EngineError": "errors",
    "EstimateOutcome": "records",
    "ExampleRepair": "records",
    "FormatError": "errors",
    "InputError": "errors",
    "LocalizeOutcome": "records",
    "MismatchError": "errors",
    "Network": "network",
    "NotProvedError": "errors",
    "OutputError": "errors",
    "PacBound": "records",
    "Progress": "records",
    "Property": "spec",
    "PropertyRepair": "records",
    "Proved": "records",
    "Region": "spec",
    "RepairOutcome": "records",
    "SpecError": "errors",
    "Unknown": "records",
    "UnsupportedOpError": "errors",
    "VerifyOutcome": "records",
    "Violated": "records",
    "Watch": "records",
    "Witness": "records",
    "box_property": "api",
    "check": "api",
    "estimate": "api",
    "falsify": "api",
    "load_network": "api",
    "load_property": "api",
    "localize": "api",
    "localize_blocks": "api",
    "repair": "api",
    "repair_blocks": "api",
    "repaired_module": "api",
    "rule": "api",
    "save_network": "api",
    "save_property": "api",
    "verify": "api",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return str(import_module("birdnn.version").installed_version())
    if name == "errors":  # a class in an except clause is looked up only once something was raised
        return import_module("birdnn.errors")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(f"birdnn.{_HOME[name]}")
    except ModuleNotFoundError as error:
        from birdnn.later import missing_package  # who installed the checker alone

        if told := missing_package(error):
            raise ModuleNotFoundError(f"birdnn.{name}: {told}", name=error.name) from None
        raise
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})


class _Package(ModuleType):
    """Keeps `birdnn.verify` the function: importing the package of that name would put the package in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


# whoever imports a submodule sets it on its package, and only the class of the package sees that
sys.modules[__name__].__class__ = _Package
