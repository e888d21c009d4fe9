"""Networks as other tools write them through every command: what their folded twins get, they get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats import read_network, read_property
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.repairing import repair_files
from birdnn.records import Proved, RepairRequest, VerifySettings, Violated
from birdnn.sample import draw_uniform, evaluate
from tests.formats.models import Array, dense, model, node
from tests.pipeline.test_repairing import FAST

TENSORS = dense(np.random.default_rng(3), 2, 8, 2)


def perceptron(first: str = "W0", bias: str = "B0", x: str = "x") -> list[onnx.NodeProto]:
    """Its nodes, with other names for the first weight and bias."""
    return [
        node("MatMul", [x, first], "m0"),
        node("Add", ["m0", bias], "a0"),
        node("Relu", ["a0"], "r0"),
        node("MatMul", ["r0", "W1"], "m1"),
        node("Add", ["m1", "B1"], "y"),
    ]


def plain() -> bytes:
    return model(perceptron(), TENSORS, ("N", 2))


def computed() -> bytes:
    """Weights and a bias that nodes make of other constants."""
    made = [
        node("Transpose", ["W"], "Wt", perm=[1, 0]),
        node("Mul", ["Wt", "half"], "V"),
        node("Identity", ["B0"], "b"),
        node("Reshape", ["flat", "size"], "W1"),
    ]
    tensors = {
        "W": 2 * TENSORS["W0"].T,
        "half": np.array([0.5], np.float32),
        "B0": TENSORS["B0"],
        "flat": TENSORS["W1"].ravel(),
        "size": np.array([8, 2]),
        "B1": TENSORS["B1"],
    }
    return model([*made, *perceptron("V", "b")], tensors, ("N", 2))


def constants() -> bytes:
    """All numbers in ``Constant`` nodes, behind their readers."""
    made = [
        helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(value))
        for name, value in TENSORS.items()
    ]
    return model([*perceptron(), *made], {}, ("N", 2))


def scalars() -> bytes:
    """A shift of all outputs by a number without axes, as ``net(x) + 0.5`` is exported."""
    nodes = perceptron()
    nodes[-1] = node("Add", ["m1", "B1"], "z")
    shifted = TENSORS | {"B1": TENSORS["B1"] - np.float32(0.5), "s": np.array(0.5, np.float32)}
    return model([*nodes, node("Add", ["z", "s"])], shifted, ("N", 2))


def several() -> bytes:
    """Two inputs of a number each, and two outputs of a number each."""
    nodes = [node("Concat", ["p", "q"], "x", axis=1), *perceptron()]
    nodes += [node("Slice", ["y", "i0", "i1", "i1"], "first"), node("Slice", ["y", "i1", "i2", "i1"], "second")]
    tensors = TENSORS | {f"i{i}": np.array([i]) for i in range(3)}
    proto = onnx.load_model_from_string(model(nodes, tensors))
    del proto.graph.input[:]
    del proto.graph.output[:]
    for kind, names in ((proto.graph.input, "pq"), (proto.graph.output, ("first", "second"))):
        kind.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in names)
    return proto.SerializeToString()


MODELS = {"computed": computed, "constants": constants, "scalars": scalars, "several": several}


@dataclass(frozen=True)
class Files:
    """A network and two properties of it, one violated by a tenth of all inputs, one that holds."""

    net: Path
    plain: Path
    broken: Path
    holds: Path


def written(folder: Path, name: str) -> Files:
    files = Files(*(folder / file for file in ("net.onnx", "plain.onnx", "broken.vnnlib", "holds.vnnlib")))
    files.net.write_bytes(MODELS[name]())
    files.plain.write_bytes(plain())
    x = draw_uniform(torch.zeros(2), torch.ones(2), 20_000, torch.Generator().manual_seed(1))
    y = evaluate(read_network(files.plain), x)[:, 1]
    lines = [f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1")]
    lines += [f"(assert (>= X_{i} 0.0))\n(assert (<= X_{i} 1.0))" for i in range(2)]
    for path, bound in ((files.broken, torch.quantile(y, 0.9)), (files.holds, y.max() + 0.1)):
        path.write_text("\n".join([*lines, f"(assert (>= Y_1 {float(bound):.6f}))"]) + "\n")
    return files


def replayed(net: Path, x: Array) -> Array:
    """What the file answers."""
    return np.asarray(OnnxReplay(net.read_bytes())(x.astype(np.float32)))


@pytest.mark.parametrize("name", MODELS)
def test_verified_as_the_plain_network_is(tmp_path: Path, name: str) -> None:
    """A violation that the file itself shows, and a proof."""
    files = written(tmp_path, name)
    x = torch.rand(50, 2, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(read_network(files.net)(x), read_network(files.plain)(x), atol=1e-5)
    broken, holds = verify_files(files.net, [files.broken, files.holds], settings=VerifySettings()).verdicts
    assert isinstance(broken.verdict, Violated)
    witness = broken.verdict.witness
    found = replayed(files.net, np.array(witness.x))
    assert found.tolist() == list(witness.y)
    assert read_property(files.broken).violated(witness.x, found.tolist())
    assert isinstance(holds.verdict, Proved)


@pytest.mark.thorough
@pytest.mark.parametrize("name", MODELS)
def test_repaired_as_the_plain_network_is(tmp_path: Path, name: str) -> None:
    """The file that is written keeps its graph, and is proved by whoever reads it again."""
    files = written(tmp_path, name)
    request = RepairRequest(
        net=files.net, props=(files.broken,), domain="property", decision="none", out=tmp_path / "out", samples=2000
    )
    outcome = repair_files(request, settings=FAST)
    assert outcome.result == "proved"
    assert outcome.out is not None
    (again,) = verify_files(Path(outcome.out), [files.broken], settings=VerifySettings()).verdicts
    assert isinstance(again.verdict, Proved)
    before, after = onnx.load(files.net), onnx.load(outcome.out)
    kept = [entry for entry in before.graph.node if entry.op_type != "Constant"]
    assert list(after.graph.node) == kept
    assert (before.graph.input, before.graph.output) == (after.graph.input, after.graph.output)
    assert any("Constant nodes" in note for note in outcome.notes) == (name == "constants")
