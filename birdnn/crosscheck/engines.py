"""Which engines that others wrote can be asked, and how to get one that is missing."""

from __future__ import annotations

import importlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

from birdnn.errors import EngineError
from birdnn.later import later

auto_lirpa_03 = later("birdnn.crosscheck.auto_lirpa_03")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that birdnn can ask.

    Attributes:
        name: as ``--crosscheck`` spells it.
        module: what Python imports.
        package: its name in package registries.
        role: what it is asked.
        install: the command that gets it.
        here: it runs in our process. Otherwise its module is never imported here.
    """

    name: str
    module: str
    package: str
    role: str
    install: str
    here: bool = True


ENGINES: tuple[Engine, ...] = (
    Engine(
        name="onnxruntime",
        module="onnxruntime",
        package="onnxruntime",
        role="replays counterexamples and fresh points on the file itself",
        install="pip install onnxruntime",
    ),
    Engine(
        name="auto_lirpa",
        module="auto_LiRPA",
        package="auto_LiRPA",
        role="bounds by IBP, CROWN and alpha-CROWN, for our branch and bound",
        # version 0.3 asks for a torch of 2022; it works with ours
        install="pip install appdirs tqdm && pip install --no-deps auto_LiRPA",
    ),
    Engine(
        name="marabou",
        module="maraboupy",
        package="maraboupy",
        role="complete verification in a process of its own",
        install="pip install 'maraboupy>=2.0' (published for Python up to 3.11)",
        here=False,
    ),
)
"""In the order in which they are asked."""

NAMES: tuple[str, ...] = tuple(engine.name for engine in ENGINES)

GET_CUDA = "a machine with a CUDA device and, from https://pytorch.org/get-started, a build of torch for it"
"""What a graphics device takes, told as `Engine.install` is."""


def engine_named(name: str) -> Engine:
    """The engine called `name`.

    Raises:
        EngineError: there is none.
    """
    for engine in ENGINES:
        if engine.name == name:
            return engine
    raise EngineError(name, f"no such engine; known: {', '.join(NAMES)}")


def version_of(engine: Engine) -> str | None:
    """The installed version; None where there is none."""
    try:
        return metadata.version(engine.package)
    except metadata.PackageNotFoundError:
        return None


def needs_shim(engine: Engine, version: str) -> bool:
    """Does this version work only with the additions of `birdnn.crosscheck.auto_lirpa_03`?"""
    return engine.name == "auto_lirpa" and version.split(".")[:2] == ["0", "3"]


def require(name: str) -> str:
    """The version of the engine called `name`, which is installed and, where it runs here, can be imported.

    Raises:
        EngineError: otherwise.
    """
    engine = engine_named(name)
    version = version_of(engine)
    if version is None:
        raise EngineError(name, "is not installed", engine.install)
    if engine.here:
        load_engine(engine, version)
    return version


def load_engine(engine: Engine, version: str) -> ModuleType:
    """The engine's module.

    Raises:
        EngineError: it cannot be imported.
    """
    old = needs_shim(engine, version)
    # patched with the first import only: a second time would wrap what is wrapped already
    fresh = engine.module not in sys.modules
    try:
        with _undo_side_effects():
            if old and fresh:
                auto_lirpa_03.prepare()
            module = importlib.import_module(engine.module)
            if old and fresh:
                auto_lirpa_03.complete(module)
            return module
    except Exception as error:
        problem = f"version {version} cannot be imported here ({type(error).__name__}: {error})"
        raise EngineError(engine.name, problem, engine.install) from error


@contextmanager
def _undo_side_effects() -> Iterator[None]:
    """What these packages do to a process while they are imported ends with the import.

    They warn and log to stderr, put filters before ours, and let recursion go a million deep.
    """
    root = logging.getLogger()
    handlers, level, depth = root.handlers[:], root.level, sys.getrecursionlimit()
    try:
        with warnings.catch_warnings(record=True), redirect_stderr(io.StringIO()):
            yield
    finally:
        root.handlers[:], root.level = handlers, level
        # with a million levels an endless recursion of ours would crash the process instead of raising
        sys.setrecursionlimit(depth)
        logging.getLogger("auto_LiRPA.utils").disabled = True
