"""The package's public names: lazy, complete, importable."""

from __future__ import annotations

import subprocess
import sys

import birdnn


def test_every_public_name_is_there() -> None:
    assert list(birdnn.__all__) == sorted(birdnn.__all__)
    for name in birdnn.__all__:
        assert getattr(birdnn, name) is not None
    assert set(birdnn.__all__) <= set(dir(birdnn))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(birdnn, "no_such_name")


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, birdnn; print([n for n in sys.modules if n.startswith('birdnn.') or n in ('torch', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
