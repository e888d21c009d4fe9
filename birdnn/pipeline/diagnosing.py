"""Which engines are there, and what would be used. Loads none of them: `birdnn.pipeline.trying` asks them."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from birdnn.crosscheck.engines import ENGINES, GET_CUDA, NAMES, Engine, engine_named, needs_shim
from birdnn.later import later
from birdnn.pipeline.facts import machine, versions
from birdnn.records import DoctorOutcome, EngineState, Progress, Unwatched, Watch

if TYPE_CHECKING:
    from birdnn.pipeline import trying
else:
    trying = later("birdnn.pipeline.trying")

UNTRIED = "not tried; --try asks it"
_DRIVER = "libcuda.so.1"


def examine_engines(watch: Watch | None = None, *, tried: bool = False) -> DoctorOutcome:
    """Look at every engine, at what else is optional, and at the machine.

    Args:
        watch: told what is going on.
        tried: each engine is asked a small question of which the answer is known, the graphics device as well, and
            bounds are compiled that are not yet. Otherwise nothing is said to work, only to be there.
    """
    watch = watch or Unwatched()
    states = [
        _own_state(),
        *(_engine_state(engine) for engine in ENGINES),
        _compiler_state(),
        _flint_state(),
        _cuda_state(),
    ]
    if tried:
        # what is known not to be usable is not asked: it would only fail a second time
        for place, state in enumerate(states):
            if state.usable is None:
                watch.update(Progress(phase=f"asking {state.name}"))
                states[place] = trying.try_engine(state)
    return DoctorOutcome(states=tuple(_with_remark(state) for state in states), versions=versions(), machine=machine())


def _own_state() -> EngineState:
    version = versions()["birdnn"]
    return EngineState(name="birdnn", role="bounds, search, repair", version=version, usable=True, note="", install="")


def _engine_state(engine: Engine) -> EngineState:
    return _package_state(engine.name, engine.role, engine.package, engine.module, engine.install)


def _with_remark(state: EngineState) -> EngineState:
    """The state with what is special about such a version."""
    if state.version is None or state.name not in NAMES or not needs_shim(engine_named(state.name), state.version):
        return state
    additions = "runs with the additions for torch 2 and NumPy 2 (birdnn/crosscheck/auto_lirpa_03.py)"
    return replace(state, note=f"{state.note}; {additions}")


def _compiler_state() -> EngineState:
    return _package_state("numba", "compiled bounds of small networks, several times as fast", "numba", "numba")


def _flint_state() -> EngineState:
    return _package_state("python-flint", "fast exact rationals, for checking certificates", "python-flint", "flint")


def _package_state(name: str, role: str, package: str, module: str, install: str = "") -> EngineState:
    """A package that is installed and whose module Python finds, or how to get it."""
    version = _package_version(package)
    # both: a package may be recorded as installed and its module be gone, which the note below says
    if version is not None and find_spec(module) is not None:
        return EngineState(name=name, role=role, version=version, usable=None, note=UNTRIED, install="")
    note = "" if version is None else f"version {version} is installed, and Python finds no module {module}"
    hint = install or f"pip install {name}"
    return EngineState(name=name, role=role, version=version, usable=False, note=note, install=hint)


def _package_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cuda_state() -> EngineState:
    built, devices = _built_for(), _driver_devices()
    there = bool(built and devices)
    if there:
        note = f"{', '.join(devices)}; {UNTRIED}"
    elif built:
        note = "no device that its driver knows"
    else:
        note = "this build of torch has no CUDA" if built is None else "there is no torch"
    return EngineState(
        name="CUDA",
        role="sampling, training and search on a graphics device, where --device says so or auto finds that it pays",
        version=built or None,
        usable=None if there else False,
        note=note,
        install="" if there else GET_CUDA,
    )


def _built_for() -> str | None:
    """The CUDA version that torch is built for, which it has in a file of its own; empty where there is no torch."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return ""
    # read, not imported: torch takes seconds to load, and `doctor` says without it what is there
    text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    named = re.search(r"^cuda\b.*= *['\"]([\w.]+)['\"]", text, re.MULTILINE)
    return named[1] if named else None


def _driver_devices() -> tuple[str, ...]:
    """Names of the devices that CUDA's driver knows; it honours CUDA_VISIBLE_DEVICES."""
    try:
        # the driver itself, as torch would have to be loaded to be asked
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return ()
    count, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    found = []
    for place in range(count.value):
        device = ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), place)
        driver.cuDeviceGetName(name, len(name), device)
        found.append(name.value.decode("utf-8", "replace"))
    return tuple(found)
