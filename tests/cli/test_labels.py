"""Networks that give a label, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from birdnn.crosscheck.onnxruntime import OnnxReplay
from tests.cli.conftest import Call
from tests.formats.label_cases import classifier
from tests.test_labels import asked


def test_on_the_command_line(call: Call, tmp_path: Path) -> None:
    """The counterexample's output is the label; a certificate is refused, a repair changes the file's weights."""
    net, prop, found = tmp_path / "net.onnx", tmp_path / "p.vnnlib", tmp_path / "c.txt"
    net.write_bytes(classifier())
    most = int(OnnxReplay(net.read_bytes())(np.zeros(2, np.float32))[0])
    prop.write_text(asked(f"(= Y_0 {most})", end="0.05"))
    said = call("verify", net, "--prop", prop, "--counterexample", found)
    assert (said.status, said.word) == (1, "sat")
    assert f"(Y_0 {most}.0))" in found.read_text()
    said = call("verify", net, "--prop", prop, "--certificate", tmp_path / "c.json")
    assert (said.status, "the checker does not read ArgMax" in " ".join(said.err.split())) == (4, True)
    assert call("estimate", "--net", net, "--prop", prop, "--samples", 1000).status == 0
    out = tmp_path / "out"
    said = call("repair", "--net", net, "--prop", prop, "--out", out, "--timeout", 60)
    assert said.status in (0, 3), said.err
    after = OnnxReplay((out / "net.repaired.onnx").read_bytes())
    assert int(after(np.zeros(2, np.float32))[0]) != most
    assert call("verify", out / "net.repaired.onnx", "--prop", prop).word == "unsat"
