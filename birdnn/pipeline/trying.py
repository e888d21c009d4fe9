"""Engines are asked a small question of which the answer is known. Loads them, as `diagnosing` does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from birdnn.bounds.compiled.bound import prepare
from birdnn.crosscheck.engines import GET_CUDA, NAMES, engine_named
from birdnn.errors import EngineError, InputError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.crosschecking import Inquiry, cross_checked, require_engines
from birdnn.pipeline.device import device_for
from birdnn.pipeline.load import Loaded, load_network
from birdnn.records import EngineState, Proved, Unknown, Unwatched
from birdnn.spec import Polytope, Property, Region, Row
from birdnn.verify import SearchSettings, verify

_RIGHT = {"onnxruntime": "no_violation"}
"""Where it is not ``"proved"``."""

_LIMIT_S = 30.0


def try_engine(state: EngineState) -> EngineState:
    """What is there, with how it answered."""
    usable, note, hint = _ask_engine(state.name) if state.name in NAMES else _OTHERS[state.name]()
    return replace(state, usable=usable, note=note, install="" if usable else hint)


def _ask_engine(name: str) -> tuple[bool, str, str]:
    """Is it usable, how did it go, and what would help?"""
    hint = engine_named(name).install
    try:
        require_engines([name])
        with _small_question() as (loaded, prop):
            # no verdict of ours, so that onnxruntime has points to run and no counterexample
            unknown = Unknown(reason="not_found", boxes=0)
            inquiry = Inquiry(loaded=loaded, prop=prop, verdict=unknown, timeout_s=_LIMIT_S, seed=0, watch=Unwatched())
            # behind our own answer
            answer = cross_checked(inquiry, [name], 0.0)[1]
    except EngineError as error:
        return False, error.problem, hint
    if answer.answer == _RIGHT.get(name, "proved"):
        return True, f"answers a small question right, in {answer.seconds:.1f} s", hint
    return False, f"answers a small question with {answer.answer!r}: {answer.detail}", hint


@contextmanager
def _small_question() -> Iterator[tuple[Loaded, Property]]:
    """``relu(x)`` stays below 2 on 0..1."""
    # -y <= -2: an output of at least 2 is unsafe
    row = Row((Fraction(-1),), Fraction(-2))
    region = Region(
        exact_lower=(Fraction(0),), exact_upper=(Fraction(1),), unsafe=(Polytope(rows=(row,), n_outputs=1),)
    )
    prop = Property(name="small", regions=(region,), n_inputs=1, n_outputs=1)
    with TemporaryDirectory(prefix="birdnn-") as folder:
        path = Path(folder) / "small.onnx"
        one = np.ones((1, 1)), np.zeros(1)
        path.write_bytes(layers_to_onnx([one, one]))
        yield load_network(path), prop


def _compiler() -> tuple[bool, str, str]:
    usable, note = prepare()
    return usable, note, "a machine that Numba compiles for, and NUMBA_DISABLE_JIT unset"


def _flint() -> tuple[bool, str, str]:
    hint = "pip install --force-reinstall python-flint"
    try:
        flint = import_module("flint")
    except ImportError as error:
        return False, f"cannot be imported here: {error}", hint
    # computed, not only imported
    third = flint.fmpq(1, 3)
    right = third + third + third == 1
    return right, "adds three thirds right" if right else "three thirds are not one", hint


def _cuda() -> tuple[bool, str, str]:
    """A proof on the device, all steps of it."""
    try:
        device = device_for("cuda")
    except InputError as error:
        return False, str(error), GET_CUDA
    name = torch.cuda.get_device_name()
    with _small_question() as (loaded, prop):
        settings = SearchSettings(timeout_s=_LIMIT_S, device=device)
        verdict = verify(loaded.net, prop, settings=settings, replays=loaded.replays)
    if isinstance(verdict, Proved):
        return True, f"{name}: proves a small property", ""
    return False, f"{name}: does not prove a small property", GET_CUDA


_OTHERS: Mapping[str, Callable[[], tuple[bool, str, str]]] = {
    "numba": _compiler,
    "python-flint": _flint,
    "CUDA": _cuda,
}
