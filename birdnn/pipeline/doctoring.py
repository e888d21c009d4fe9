"""Which engines can be used here: each is asked a small question of which the answer is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from birdnn.bounds.compiled.bound import prepare
from birdnn.crosscheck.engines import ENGINES, Engine, shimmed, version_of
from birdnn.errors import EngineError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.crosschecking import Case, cross_checked, require_engines
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.load import load_network
from birdnn.records import DoctorOutcome, EngineState, Progress, Unknown, Unwatched, Watch
from birdnn.spec import Polytope, Property, Region, Row

_RIGHT = {"onnxruntime": "no_violation"}
"""Where it is not ``"proved"``."""

_LIMIT_S = 30.0


def examine(watch: Watch | None = None) -> DoctorOutcome:
    """Look at every engine, at what else is optional, and at the machine; have bounds compiled that are not yet."""
    watch = watch or Unwatched()
    states = []
    for engine in ENGINES:
        watch.update(Progress(phase=f"asking {engine.name}"))
        states.append(_of_engine(engine))
    watch.update(Progress(phase="compiling bounds, where this version did not yet on this machine: half a minute"))
    return DoctorOutcome(
        states=(_own(), *states, _compiler(), _flint(), _cuda()), versions=versions(), machine=machine()
    )


def _own() -> EngineState:
    version = versions()["birdnn"]
    return EngineState(name="birdnn", role="bounds, search, repair", version=version, usable=True, note="", install="")


def _of_engine(engine: Engine) -> EngineState:
    version = version_of(engine)
    try:
        require_engines([engine.name])
        usable, note = _small_question(engine.name)
    except EngineError as error:
        usable, note = False, error.problem.partition("; to get it")[0]
    if version is not None and shimmed(engine, version):
        note += "; runs with the additions for torch 2 and NumPy 2 (birdnn/crosscheck/auto_lirpa_03.py)"
    return EngineState(
        name=engine.name,
        role=engine.role,
        version=version,
        usable=usable,
        note=note,
        install="" if usable else engine.install,
    )


def _small_question(name: str) -> tuple[bool, str]:
    """``relu(x)`` stays below 2 on 0..1: right or wrong, and in what time."""
    row = Row((Fraction(-1),), Fraction(-2))
    region = Region(
        exact_lower=(Fraction(0),), exact_upper=(Fraction(1),), unsafe=(Polytope(rows=(row,), n_outputs=1),)
    )
    prop = Property(name="small", regions=(region,), n_inputs=1, n_outputs=1)
    with TemporaryDirectory(prefix="birdnn-") as folder:
        path = Path(folder) / "small.onnx"
        one = np.ones((1, 1)), np.zeros(1)
        path.write_bytes(layers_to_onnx([one, one]))
        case = Case(
            loaded=load_network(path),
            prop=prop,
            verdict=Unknown(reason="not_found", boxes=0),
            timeout_s=_LIMIT_S,
            seed=0,
            watch=Unwatched(),
        )
        answer = cross_checked(case, [name], 0.0)[1]
    if answer.answer == _RIGHT.get(name, "proved"):
        return True, f"answers a small question right, in {answer.seconds:.1f} s"
    return False, f"answers a small question with {answer.answer!r}: {answer.detail}"


def _compiler() -> EngineState:
    state = _package("numba", "compiled bounds of small networks, several times as fast")
    if not state.usable:
        return state
    usable, note = prepare()
    hint = "" if usable else "a machine that Numba compiles for, and NUMBA_DISABLE_JIT unset"
    return replace(state, usable=usable, note=note, install=hint)


def _flint() -> EngineState:
    return _package("python-flint", "fast exact rationals, for checking certificates")


def _package(name: str, role: str) -> EngineState:
    """Something that is used where it is installed."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = None
    hint = "" if version else f"pip install {name}"
    return EngineState(name=name, role=role, version=version, usable=version is not None, note="", install=hint)


def _cuda() -> EngineState:
    there = torch.cuda.is_available()
    built = torch.version.cuda
    note = torch.cuda.get_device_name() if there else "no device" if built else "this build of torch has no CUDA"
    hint = "a machine with a CUDA device and, from https://pytorch.org/get-started, a build of torch for it"
    return EngineState(
        name="CUDA",
        role="sampling and search on a graphics device",
        version=built,
        usable=there,
        note=note,
        install="" if there else hint,
    )
