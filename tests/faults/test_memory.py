"""Too little memory: an answer, `unknown` for want of memory, or a message; never a traceback or half a file.

RLIMIT_DATA limits what a process writes to, heaps and anonymous mappings. RLIMIT_AS would count libraries as well, of
which torch with CUDA maps several GiB before it does anything; a control group needs rights that CI does not give, and
ends a process by kill -9, which is tested elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from birdnn.formats.onnx import layers_to_onnx
from tests.cli.conftest import box_property
from tests.faults.processes import ENVIRONMENT, ROOT, repair, require_whole, result, temporaries

pytestmark = pytest.mark.faults

LIMITED = """
import resource, runpy, sys
import birdnn.cli.app, birdnn.pipeline, onnxruntime, scipy.optimize, torch
base = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")][0] * 1024
limit = int(sys.argv[1]) if not sys.argv[1].startswith("+") else base + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
sys.argv = ["birdnn", *sys.argv[2:]]
runpy.run_module("birdnn", run_name="__main__")
"""
GIB = 2**30
MIB = 2**20


def limited(limit: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command with so many bytes of data; with a plus, more than the libraries take."""
    words = [sys.executable, "-c", LIMITED, limit, *arguments]
    return subprocess.run(
        list(map(str, words)), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=240
    )


def wide(folder: Path, width: int) -> list[object]:
    """A network of which a batch of boxes needs ``256 * 784 * width * 8`` bytes, and a property that holds."""
    draw, sizes = np.random.default_rng(7), [784, width, width, 1]
    layers = [(draw.normal(size=(o, i)) / np.sqrt(i), draw.normal(size=o) * 0.1) for i, o in pairwise(sizes)]
    (folder / "wide.onnx").write_bytes(layers_to_onnx(layers))
    (folder / "holds.vnnlib").write_text(box_property(784, "(>= Y_0 20.0)", "-1.0", "1.0"))
    return ["--net", folder / "wide.onnx", "--prop", folder / "holds.vnnlib", "--timeout", 20]


def test_two_gib_are_enough_for_a_repair(tmp_path: Path) -> None:
    done = limited(str(2 * GIB), *repair(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    require_whole(tmp_path / "out")


def test_a_verification_that_wants_more_than_two_gib(tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    done = limited(str(2 * GIB), "verify", *wide(tmp_path, 600), "--json", target)
    assert done.returncode in (0, 3), done.stderr
    assert "internal error" not in done.stderr
    report = json.loads(target.read_text())
    assert report["properties"][0]["reason"] in (None, "memory", "timeout"), report


@pytest.mark.parametrize("more", [1, 8, 24, 48, 96])
@pytest.mark.parametrize("command", ["verify", "repair"])
def test_memory_runs_out_somewhere(tmp_path: Path, more: int, command: str) -> None:
    """Wherever it does."""
    out = tmp_path / "out"
    arguments = repair(out) if command == "repair" else ["verify", *wide(tmp_path, 200)]
    done = limited(f"+{more * MIB}", *arguments)
    assert done.returncode in (0, 3), (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or "memory" in done.stderr + done.stdout or "timeout" in done.stdout, done.stderr
    require_whole(out)
    assert not out.exists() or not temporaries(out)
    if done.returncode == 0 and command == "repair":
        assert result(out)
