"""Calls about labelled examples: what becomes of arrays, which options are the method's, and what is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import birdnn
from birdnn.api import by_examples
from birdnn.formats.onnx import layers_to_onnx, network_from_layers
from birdnn.records import BlockRequest
from tests.report.block_outcomes import block_outcome

LAYERS = [(np.eye(2), np.zeros(2))]
DATA = np.array([[0.1, 0.2]]), np.array([1])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a repair was asked, in place of the repair."""
    found: dict[str, Any] = {}

    def stand_in(request: Any, watch: Any = None) -> Any:
        found.update(request=request, watch=watch)
        return block_outcome()

    monkeypatch.setattr(by_examples, "repair_block_files", stand_in)
    return found


def test_examples_in_memory_become_files_beside_the_result(tmp_path: Path, seen: dict[str, Any]) -> None:
    out = tmp_path / "out"
    np.savez(tmp_path / "val.npz", x=DATA[0], y=DATA[1])
    birdnn.repair_blocks(
        network_from_layers(LAYERS), DATA, str(tmp_path / "val.npz"), out=str(out), test=DATA, epochs=3, timeout_s=9
    )
    request = seen["request"]
    assert (request.method, request.decision, request.net, request.out) == (
        "blocks",
        "argmax",
        out / "network.onnx",
        out,
    )
    assert request.timeout_s == 9
    asked = request.blocks
    assert isinstance(asked, BlockRequest)
    assert (asked.data, asked.val, asked.test) == (out / "data.npz", tmp_path / "val.npz", out / "test.npz")
    assert asked.epochs == 3
    with np.load(out / "data.npz") as held:
        assert held["x"].dtype == np.float32
        assert held["y"].tolist() == [1]


def test_without_held_out_examples_there_are_none(tmp_path: Path, seen: dict[str, Any]) -> None:
    birdnn.repair_blocks(tmp_path / "net.onnx", "d.npz", "v.npz", out=tmp_path / "out", seed=7)
    assert (seen["request"].blocks.test, seen["request"].seed) == (None, 7)
    assert seen["request"].blocks.epochs == BlockRequest(data=Path("d"), val=Path("v")).epochs
    assert not (tmp_path / "out").exists()


def test_an_option_of_properties_is_none_of_examples(tmp_path: Path, seen: dict[str, Any]) -> None:
    for name in ("domain", "decision", "method", "samples"):
        with pytest.raises(TypeError, match=rf"repair_blocks\(\) has no option '{name}'"):
            birdnn.repair_blocks("net.onnx", "d.npz", "v.npz", out=tmp_path, **{name: None})
    with pytest.raises(birdnn.InputError, match="examples is 0"):
        birdnn.localize_blocks("net.onnx", "d.npz", examples=0)
    assert not seen


def test_what_cannot_be_repaired_leaves_nothing(tmp_path: Path) -> None:
    net = network_from_layers(LAYERS)
    with pytest.raises(birdnn.MismatchError, match="it has no convolution"):
        birdnn.repair_blocks(net, DATA, DATA, out=tmp_path / "deep" / "out")
    with pytest.raises(birdnn.MismatchError, match="it has no convolution"):
        birdnn.localize_blocks(net, DATA)
    (tmp_path / "net.onnx").write_bytes(layers_to_onnx(LAYERS))
    with pytest.raises(birdnn.OutputError, match="says something else"):
        birdnn.repair_blocks(net, DATA, (DATA[0] + 1, DATA[1]), test=DATA, out=_holding(tmp_path / "held"))
    assert [path.name for path in (tmp_path / "held").iterdir()] == ["val.npz"]


def _holding(folder: Path) -> Path:
    """A folder with other validation examples."""
    folder.mkdir()
    np.savez(folder / "val.npz", x=DATA[0], y=DATA[1])
    return folder
