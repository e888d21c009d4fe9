"""What a result was made with: versions of what takes part, and the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import torch

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.records import Machine
from birdnn.rounding import FUNCTION_ERROR, Semantics
from birdnn.spec import Property
from birdnn.verify import require_float32

PACKAGES = ("birdnn", "torch", "onnx", "onnxruntime", "numpy", "scipy", "numba", "cmaes", "evox")


def versions() -> Mapping[str, str]:
    """Package name -> version, ``python`` included; ``"not installed"`` for one that runs from a folder."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def semantics_of(net: Network, asked: Semantics | None) -> Semantics:
    """What a proof is to speak about: what was asked, else float32 execution, where the network is in float32.

    Raises:
        MismatchError: asked for float32, of a network in another type.
    """
    if asked == "float32":
        require_float32(net)
    if asked is not None:
        return asked
    return "float32" if all(value.dtype == torch.float32 for value in net.values().values()) else "real"


def require_semantics(prop: Property, semantics: Semantics) -> None:
    """See that a proof of these semantics answers the property.

    Raises:
        MismatchError: it is a query over float32, and the proof would speak about the reals.
    """
    if prop.element == "float32" and semantics != "float32":
        told = "is a query over float32, which a proof over the reals does not answer: choose semantics float32"
        raise MismatchError(f"property {prop.name!r} {told}")


def assumptions(net: Network, semantics: Semantics) -> dict[str, float]:
    """Activation -> absolute error that is assumed of the runtime's function, for those that the network has."""
    if semantics == "real":
        return {}
    found = {node.op.lower() for node in net.nodes if node.output in net.graph.dependent}
    return {kind: error for kind, error in FUNCTION_ERROR.items() if kind in found}


def assumption_notes(net: Network, semantics: Semantics) -> tuple[str, ...]:
    """The same, one sentence each."""
    return tuple(
        f"Assumed of the runtime: its {kind} errs by at most {error:g}, beside one rounding."
        for kind, error in assumptions(net, semantics).items()
    )


def machine(device: str = "cpu") -> Machine:
    """The machine that this process runs on; `device` is where tensors live."""
    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=len(affinity(0)) if affinity else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gib=_memory_gib(),
        device=device if device == "cpu" else torch.cuda.get_device_name(device),
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, UnicodeDecodeError):
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError, AttributeError):
        return None
