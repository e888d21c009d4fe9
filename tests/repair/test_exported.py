"""Networks as torch exports them now: names in initialisers alone, a mean over all places as ``ReduceMean``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from benchmarks.digits.residual import Classifier
from birdnn.blocks import partition
from birdnn.formats import read_network
from birdnn.formats.module import _quiet_exporter
from birdnn.pipeline.localising_blocks import localize_block_files
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.records import BlockLocalizeRequest, BlockRequest, RepairRequest
from tests.classifiers import CHANNELS, hard, quarters, stored, trained

pytestmark = pytest.mark.usefixtures("short_trials")

BLOCKS = ["block1", "layers.0", "layers.1", "block4"]


def module() -> Classifier:
    """The trained classifier again, its normalisations doing nothing but adding biases."""
    values = {
        t.name: torch.from_numpy(numpy_helper.to_array(t).copy())
        for t in onnx.load_from_string(trained()).graph.initializer
    }
    model = Classifier(CHANNELS).eval()
    places: list[tuple[str, nn.Conv2d, nn.BatchNorm2d | None]] = [("stem.conv", model.conv, model.bn)]
    for index, layer in enumerate(model.layers, 1):
        places += [(f"layer{index}.conv1", layer.conv1, layer.bn1), (f"layer{index}.conv2", layer.conv2, layer.bn2)]
        places += [(f"layer{index}.shortcut", layer.shortcut, None)] if layer.shortcut is not None else []
    with torch.no_grad():
        for name, conv, norm in places:
            conv.weight.copy_(values[f"{name}.weight"])
            if norm is not None:
                norm.bias.copy_(values[f"{name}.bias"])
        model.fc.weight.copy_(values["fc.weight"])
        model.fc.bias.copy_(values["fc.bias"])
    return model


@lru_cache(maxsize=1)
def exported() -> onnx.ModelProto:
    example = (torch.zeros(2, 1, 8, 8),)
    sizes = ({0: torch.export.Dim("n")},)
    with _quiet_exporter():
        program = torch.onnx.export(module(), example, dynamo=True, verbose=False, dynamic_shapes=sizes)
    assert program is not None
    return program.model_proto


def unfolded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A normalisation, an Identity and a Dropout behind each convolution, as exports for training have them."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = []
    for node in made.graph.node:
        nodes.append(node)
        if node.op_type != "Conv":
            continue
        end, name = node.output[0], node.input[1].removesuffix(".weight")
        channels = next(t.dims[0] for t in made.graph.initializer if t.name == node.input[1])
        tensors = {"weight": 1.3, "bias": 0.02, "running_mean": -0.01, "running_var": 1.7}
        names = [f"{name}_norm.{part}" for part in tensors]
        for full, value in zip(names, tensors.values(), strict=True):
            made.graph.initializer.append(numpy_helper.from_array(np.full(channels, value, np.float32), full))
        node.output[0] = f"{end}_raw"
        nodes += [
            helper.make_node("BatchNormalization", [f"{end}_raw", *names], [f"{end}_norm"], name=f"{end}_norm"),
            helper.make_node("Identity", [f"{end}_norm"], [f"{end}_same"], name=f"{end}_same"),
            helper.make_node("Dropout", [f"{end}_same"], [end], name=f"{end}_drop"),
        ]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


@pytest.fixture(scope="module", params=["folded", "unfolded"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exported")
    model = exported()
    assert "ReduceMean" in {node.op_type for node in model.graph.node}
    onnx.save(model if request.param == "folded" else unfolded(model), made / "net.onnx")
    for name, seed in {"repair": 11, "val": 12}.items():
        bad, good = hard(60, seed), quarters(30, seed)
        stored(made / f"{name}.npz", torch.cat([bad.x, good.x]), torch.cat([bad.y, good.y]))
    return made


@pytest.mark.thorough
def test_its_modules_are_blocks_and_one_is_repaired(folder: Path, tmp_path: Path) -> None:
    net = read_network(folder / "net.onnx")
    blocks = partition(net)
    assert [block.name for block in blocks] == BLOCKS
    assert [node.op for node in blocks[-1].nodes] == ["GlobalAveragePool", "Flatten", "Gemm"]

    found = localize_block_files(BlockLocalizeRequest(net=folder / "net.onnx", data=folder / "repair.npz")).found
    assert sorted(block.name for block in found.ranking()) == BLOCKS[:3]
    assert found.blocks[-1].nodes == ("node_mean", "node_linear")

    asked = BlockRequest(data=folder / "repair.npz", val=folder / "val.npz", epochs=3, block="layers.1")
    outcome = repair_blocks(
        RepairRequest(net=folder / "net.onnx", method="blocks", blocks=asked, out=tmp_path / "out", decision="argmax")
    )
    assert outcome.out is not None
    with np.load(folder / "val.npz") as val:
        y = onnxruntime.InferenceSession(outcome.out).run(None, {net.input_name: val["x"]})[0].argmax(1)
        assert int((y == val["y"]).sum()) == outcome.blocks.methods[0].accuracy["validation"].right
    before, after = onnx.load(folder / "net.onnx"), onnx.load(outcome.out)
    mine = {node.output for node in blocks[2].nodes}
    kept = {n.output[0]: n.SerializeToString() for n in before.graph.node if n.output[0] not in mine}
    assert {n.output[0]: n.SerializeToString() for n in after.graph.node if n.output[0] in kept} == kept
    values = {t.name: t.SerializeToString() for t in after.graph.initializer}
    free = blocks[2].weights(net)
    assert all(values[t.name] == t.SerializeToString() for t in before.graph.initializer if t.name not in free)
