"""birdnn repairs neural networks by behaviour imitation, proves the repair, and measures what else changed.

The public names load on first use: importing the package imports nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from birdnn.errors import BirdnnError as BirdnnError
    from birdnn.errors import DisagreementError as DisagreementError
    from birdnn.errors import FormatError as FormatError
    from birdnn.errors import InputError as InputError
    from birdnn.errors import MismatchError as MismatchError
    from birdnn.errors import OutputError as OutputError
    from birdnn.errors import SpecError as SpecError
    from birdnn.errors import UnsupportedOpError as UnsupportedOpError
    from birdnn.formats import read_network as read_network
    from birdnn.formats import read_property as read_property
    from birdnn.formats import write_network as write_network
    from birdnn.network import Network as Network
    from birdnn.pipeline import estimate_files as estimate_files
    from birdnn.pipeline import falsify_files as falsify_files
    from birdnn.pipeline import localize_files as localize_files
    from birdnn.pipeline import repair_files as repair_files
    from birdnn.pipeline import verify_files as verify_files
    from birdnn.records import EstimateOutcome as EstimateOutcome
    from birdnn.records import EstimateRequest as EstimateRequest
    from birdnn.records import LocalizeOutcome as LocalizeOutcome
    from birdnn.records import LocalizeRequest as LocalizeRequest
    from birdnn.records import PacBound as PacBound
    from birdnn.records import Progress as Progress
    from birdnn.records import Proved as Proved
    from birdnn.records import RepairOutcome as RepairOutcome
    from birdnn.records import RepairRequest as RepairRequest
    from birdnn.records import Unknown as Unknown
    from birdnn.records import VerifyOutcome as VerifyOutcome
    from birdnn.records import VerifySettings as VerifySettings
    from birdnn.records import Violated as Violated
    from birdnn.records import Watch as Watch
    from birdnn.records import Witness as Witness
    from birdnn.spec import Property as Property
    from birdnn.spec import Region as Region

_HOME = {
    "BirdnnError": "errors",
    "DisagreementError": "errors",
    "EstimateOutcome": "records",
    "EstimateRequest": "records",
    "FormatError": "errors",
    "InputError": "errors",
    "LocalizeOutcome": "records",
    "LocalizeRequest": "records",
    "MismatchError": "errors",
    "Network": "network",
    "OutputError": "errors",
    "PacBound": "records",
    "Progress": "records",
    "Property": "spec",
    "Proved": "records",
    "Region": "spec",
    "RepairOutcome": "records",
    "RepairRequest": "records",
    "SpecError": "errors",
    "Unknown": "records",
    "UnsupportedOpError": "errors",
    "VerifyOutcome": "records",
    "VerifySettings": "records",
    "Violated": "records",
    "Watch": "records",
    "Witness": "records",
    "estimate_files": "pipeline",
    "falsify_files": "pipeline",
    "localize_files": "pipeline",
    "read_network": "formats",
    "read_property": "formats",
    "repair_files": "pipeline",
    "verify_files": "pipeline",
    "write_network": "formats",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"birdnn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
