"""What a result says about how it came to be: versions, and the machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from birdnn.records import Machine

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


def machine(device: str = "cpu") -> Machine:
    """The machine that this process runs on; `device` is where tensors live."""
    cores = _core_count()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=cores,
        threads=_thread_count(cores),
        memory_gib=_memory_gib(),
        # whoever computes on it has loaded torch; it is not imported for a name
        device=device if device == "cpu" else sys.modules["torch"].cuda.get_device_name(device),
    )


def _core_count() -> int:
    # what this process may use, in a container or under `taskset`; not every system can say it
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _thread_count(cores: int) -> int:
    """As many as torch has, if it is loaded; else as many as it will have: nothing is loaded to be counted."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    # a list is allowed there, one number for each level of nesting
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) > 0 else cores


def _cpu_name() -> str:
    try:
        # first: `platform.processor` says "x86_64" on Linux, or nothing
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
