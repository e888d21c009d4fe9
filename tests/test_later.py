"""Modules that load when something of them is first used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from birdnn.later import later


def test_it_loads_at_first_use() -> None:
    program = (
        "import sys; from birdnn.later import later; late = later('colorsys'); before = 'colorsys' in sys.modules;"
        "late.hsv_to_rgb; print(before, 'colorsys' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True"]


def test_a_patch_of_the_stand_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module would not see it, and a test that plants a bug could not fail."""
    with pytest.raises(AttributeError, match="set 'rgb_to_yiq' on the module itself"):
        monkeypatch.setattr(later("colorsys"), "rgb_to_yiq", None)


@pytest.mark.parametrize("name", ["nnet", "onnx", "vnnlib"])
def test_a_package_holds_its_modules(name: str) -> None:
    """Not what stands for them."""
    package = import_module("birdnn.formats")
    module = import_module(f"birdnn.formats.{name}")
    assert getattr(package, name) is module
