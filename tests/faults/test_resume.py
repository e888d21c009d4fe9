"""A long proof whose process is killed, again and again: it goes on, and its certificate is that of one go."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from birdnn.formats.onnx import layers_to_onnx
from tests.cli.conftest import box_property
from tests.faults.processes import ENVIRONMENT, ROOT, finished, start

pytestmark = pytest.mark.faults

KEPT_AT_ONCE = """
from birdnn.pipeline import keeping
from tests.faults import dies
keeping.EVERY_S = keeping._SHARE = 0
dies.main()
"""


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    """A proof of a few hundred boxes."""
    draw = np.random.default_rng(7)
    layers = [
        (draw.normal(size=(o, i)) * np.sqrt(2 / i), draw.normal(size=o) * 0.1) for i, o in pairwise([4, 30, 30, 30, 1])
    ]
    (tmp_path / "net.onnx").write_bytes(layers_to_onnx(layers))
    (tmp_path / "high.vnnlib").write_text(box_property(4, "(>= Y_0 3.85)", "-2.0", "2.0"))
    return ["verify", "--net", tmp_path / "net.onnx", "--prop", tmp_path / "high.vnnlib", "--semantics", "float32"]


def test_killed_at_any_file_operation(asked: list[object], tmp_path: Path) -> None:
    kept, once, often = tmp_path / "kept", tmp_path / "once.certificate.json.gz", tmp_path / "often.certificate.json.gz"
    status, said, err = finished(start(*asked, "--certificate", once))
    assert (status, said) == (0, "unsat\n"), err
    code = 0
    for operations in range(3, 40, 4):
        process = subprocess.run(
            [sys.executable, "-c", KEPT_AT_ONCE, str(operations), str(kept)]
            + [str(a) for a in (*asked, "--certificate", often, "--resume", kept)],
            env=ENVIRONMENT,
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=120,
        )
        code = process.returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL, process.stderr
        assert not often.exists()
    assert operations > 7, "nothing was killed"
    if code != 0:
        status, said, err = finished(start(*asked, "--certificate", often, "--resume", kept))
        assert (status, said) == (0, "unsat\n"), err
    assert often.read_bytes() == once.read_bytes()
    assert not list(kept.glob("*.npz"))
