"""What networks and suites still say of an earlier result; nothing, where they are gone or are others."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from birdnn.formats.suite import BUNDLED, Suite
from birdnn.pipeline.rereading import changed_initialisers, graph_changed, installed_quantities
from tests.formats.models import model, node
from tests.pipeline.subjects import identity, loaded_from


def test_what_an_installed_suite_says_is_exact() -> None:
    inputs, outputs = installed_quantities("acasxu") or ((), ())
    assert [(q.name, q.range) for q in inputs][1] == ("theta", Fraction("6.28318530718"))
    assert len(inputs) == len(outputs) == 5


def test_a_name_in_a_record_becomes_no_path(tmp_path: Path) -> None:
    suite = tmp_path / "acasxu.toml"
    suite.write_bytes(Suite.load(BUNDLED[0]).path.read_bytes())
    assert Suite.load(suite).name == "acasxu", "nothing to show"
    assert installed_quantities(str(suite)) is None


def test_values_that_moved_are_told(tmp_path: Path) -> None:
    before, after = identity(tmp_path, 0.0, 1.0), identity(tmp_path, 0.0, 3.5, name="after.onnx")
    (name,) = changed = changed_initialisers(before.path, after.path)
    assert (name, changed[name].count, changed[name].linf) == ("B0", 1, 2.5)
    assert changed_initialisers(before.path, before.path) == {}


def test_of_networks_that_are_gone_or_others_nothing_is_told(tmp_path: Path) -> None:
    before, gone, broken = identity(tmp_path, 0.0), tmp_path / "gone.onnx", tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    for other in (gone, broken):
        assert changed_initialisers(before.path, other) == changed_initialisers(other, before.path) == {}
        assert graph_changed(before.path, other) is graph_changed(other, before.path) is None
    deeper = loaded_from(tmp_path, ([[1]], [0]), ([[1]], [0]), name="deeper.onnx")
    assert changed_initialisers(deeper.path, before.path) == {}


def test_nodes_that_came_and_went_are_told(tmp_path: Path) -> None:
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    for path, op in ((before, "Relu"), (after, "Tanh")):
        nodes = [node("MatMul", ["x", "w"], "h"), node(op, ["h"])]
        path.write_bytes(model(nodes, {"w": np.eye(2, dtype=np.float32)}, (1, 2)))
    change = graph_changed(before, after)
    assert change is not None
    assert ([n.op for n in change.nodes_gone], [n.op for n in change.nodes_new]) == (["Relu"], ["Tanh"])
    assert (change.nodes_kept, change.initialisers_kept) == (1, 1)
