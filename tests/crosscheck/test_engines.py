"""Which engines there are, and what is said about one that is missing or broken."""

from __future__ import annotations

import sys
from importlib import metadata
from types import ModuleType

import pytest

from birdnn.crosscheck import auto_lirpa_03, engines
from birdnn.crosscheck.engines import ENGINES, NAMES, engine_named, load_engine, needs_shim, require, version_of
from birdnn.errors import EngineError


def absent(name: str) -> str:
    raise metadata.PackageNotFoundError(name)


def test_an_unknown_engine_names_the_known_ones() -> None:
    with pytest.raises(EngineError, match="onnxruntime, auto_lirpa, marabou") as caught:
        require("z3")
    assert caught.value.exit_status == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_engine_tells_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.metadata, "version", absent)
    with pytest.raises(EngineError, match="pip install") as caught:
        require(name)
    assert caught.value.exit_status == 4
    assert version_of(engine_named(name)) is None


def test_an_engine_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package made for another torch fails in its own words, not in a traceback."""
    engine = engine_named("auto_lirpa")
    monkeypatch.setitem(sys.modules, engine.module, None)
    with pytest.raises(EngineError, match=r"9\.9 cannot be imported here"):
        load_engine(engine, "9.9")


def test_only_version_0_3_is_helped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later one brings its own; touching it would hide what is wrong with it."""
    engine = engine_named("auto_lirpa")
    assert needs_shim(engine, "0.3")
    assert not any(needs_shim(engine, version) for version in ("0.2", "0.30", "0.7.0", "1.3"))
    assert not needs_shim(engine_named("marabou"), "0.3")
    monkeypatch.setattr(auto_lirpa_03, "prepare", lambda: pytest.fail("helped"))
    monkeypatch.setattr(auto_lirpa_03, "complete", lambda package: pytest.fail("helped"))
    fake = ModuleType("auto_LiRPA")
    monkeypatch.delitem(sys.modules, "auto_LiRPA", raising=False)
    monkeypatch.setattr(engines.importlib, "import_module", lambda name: fake)
    assert load_engine(engine, "0.7") is fake


def test_marabou_is_never_imported_here() -> None:
    """Its crash would be ours."""
    assert [engine.name for engine in ENGINES if not engine.here] == ["marabou"]
    assert "maraboupy" not in sys.modules
