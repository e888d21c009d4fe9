"""The compiled loops as plain Python, for tests that plant bugs in them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from birdnn.bounds.compiled import bound as loops
from birdnn.bounds.compiled import compiler


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The loops without a compiler: its functions can be replaced."""
    source = Path(compiler.__file__).parent
    made: dict[str, ModuleType] = {}
    for name in ("compiler", "lines", "pairs", "rows", "losses", "signs", "branch", "step", "model", "splits", "loops"):
        full = f"birdnn.bounds.compiled.{name}"
        spec = importlib.util.spec_from_file_location(full, source / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, full, module)
        spec.loader.exec_module(module)
        made[name] = module
        if name == "compiler":
            module.compiled = module.inlined = module.entrance = lambda function: function
    monkeypatch.setattr(loops._LOOPS, "ready", lambda **how: made["loops"])
    return made
