"""Every module of `benchmarks` and `tools` can be loaded: most are run by hand only, months apart."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("benchmarks", "tools")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported(name: str) -> None:
    if name.startswith("benchmarks.ray."):
        pytest.importorskip("ray")
    importlib.import_module(name)
