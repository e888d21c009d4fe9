"""The checker on two networks: constants that it reads for itself, exactly, and what it says nothing of."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from birdnn.certify.check import Rejected
from birdnn.certify.check.__main__ import main
from birdnn.certify.check.apart import constants_apart
from birdnn.errors import MismatchError
from birdnn.formats.onnx import layers_to_onnx

Layers = list[tuple[np.ndarray, np.ndarray]]


def layers() -> Layers:
    rng = np.random.default_rng(2)
    return [(rng.normal(size=(5, 2)), rng.normal(size=5)), (rng.normal(size=(3, 5)), rng.normal(size=3))]


def written(path: Path, change: Callable[[Layers], None] | None = None, activation: str = "Relu") -> Path:
    made = layers()
    if change is not None:
        change(made)
    path.write_bytes(layers_to_onnx(made, activation))
    return path


def shifted(by: float) -> Callable[[Layers], None]:
    def change(made: Layers) -> None:
        made[-1][1][1] += by

    return change


def biases(path: Path) -> list[np.ndarray]:
    tensors = onnx.load(path).graph.initializer
    return [array for array in map(numpy_helper.to_array, tensors) if array.shape == (3,)]


def test_constants_are_what_the_files_say(tmp_path: Path) -> None:
    before, after = written(tmp_path / "a.onnx"), written(tmp_path / "b.onnx", shifted(0.25))
    apart = constants_apart(before, after)
    ((old,), (new,)) = biases(before), biases(after)
    assert apart == tuple(Fraction(float(b)) - Fraction(float(a)) for a, b in zip(old, new, strict=True))
    assert apart[1] != 0
    assert constants_apart(before, before) == (0, 0, 0)
    assert constants_apart(before, after, most=float(apart[1])) == apart
    with pytest.raises(Rejected, match="output 1 differs by"):
        constants_apart(before, after, most=float(np.nextafter(float(apart[1]), 0)))


def first_weight(made: Layers) -> None:
    made[0][0][0, 0] += 1e-3


def first_bias(made: Layers) -> None:
    made[0][1][0] += 1e-3


def last_weight(made: Layers) -> None:
    made[1][0][2, 1] += 1e-3


def wider(made: Layers) -> None:
    made[0] = (np.vstack([made[0][0], made[0][0][:1]]), np.append(made[0][1], 0.0))
    made[1] = (np.hstack([made[1][0], np.zeros((3, 1))]), made[1][1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (first_weight, "layer 1 has other weights"),
        (first_bias, "layer 1 has another bias"),
        (last_weight, "layer 2 has other weights"),
        (wider, "layer 1 has other weights"),
    ],
)
def test_of_any_other_change_nothing_is_said(tmp_path: Path, change: Callable[[Layers], None], told: str) -> None:
    before, after = written(tmp_path / "a.onnx"), written(tmp_path / "b.onnx", change)
    with pytest.raises(Rejected, match=told):
        constants_apart(before, after)
    other = written(tmp_path / "c.onnx", activation="Tanh")
    with pytest.raises(Rejected, match="layer 1 has other activations"):
        constants_apart(before, other)


def test_other_sizes_cannot_be_compared(tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    small.write_bytes(layers_to_onnx([(np.ones((1, 2)), np.zeros(1))]))
    with pytest.raises(MismatchError, match="2 inputs and 3 outputs"):
        constants_apart(written(tmp_path / "a.onnx"), small)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = (str(written(tmp_path / name, change)) for name, change in (("a", None), ("b", shifted(0.25))))
    assert main(["--net", after, "--before", before]) == 0
    said = capsys.readouterr().out
    assert "at every input the outputs are those of a" in said
    assert "0.0, 0.25" in said
    assert main(["--net", after, "--before", before, "--most", "0.2"]) == 1
    assert capsys.readouterr().out.startswith("rejected: output 1 differs by 0.25")
    for words in (
        ["--net", after],
        ["--net", after, "--most", "1"],
        ["--net", after, "--before", before, "--prop", "p"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
