"""The demonstration network's file keeps to the conventions of the ACAS Xu files and computes what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tools import train_demo

DEMO = Path(__file__).resolve().parents[2] / "birdnn" / "data" / "demo.onnx"


def test_the_written_file_computes_what_was_trained():
    torch.manual_seed(0)
    net = train_demo.student((7, 6))
    session = onnxruntime.InferenceSession(train_demo.to_onnx(net).SerializeToString())
    x = torch.rand(5) - 0.5
    (y,) = session.run(None, {"input": x.numpy().reshape(1, 1, 1, 5)})
    np.testing.assert_allclose(y, net(x[None]).detach().numpy(), atol=1e-6)


def test_training_repeats_with_its_seed():
    settings = train_demo.Settings(hidden=(6,), steps=3, batch=40, pool=640)
    teacher = train_demo.student((5,)).requires_grad_(False)
    first, second = (train_demo.train(teacher, settings, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_embedded_network_keeps_the_conventions():
    model = onnx.load(DEMO)
    assert (model.ir_version, model.opset_import[0].version) == (8, 13)
    (entrance,) = model.graph.input
    assert [d.dim_value for d in entrance.type.tensor_type.shape.dim] == [1, 1, 1, 5]
    kinds = [node.op_type for node in model.graph.node]
    hidden = (len(kinds) - 3) // 3
    assert kinds == ["Flatten", *["MatMul", "Add", "Relu"] * hidden, "MatMul", "Add"]
    assert DEMO.stat().st_size < 64 * 1024


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["prop_2", "prop_8"])
def test_the_embedded_network_has_what_is_to_be_repaired(name):
    """A demonstration without a defect would show nothing; nor would one that no attack has to look for."""
    session = onnxruntime.InferenceSession(DEMO)
    box = train_demo.regions()[name]
    x = train_demo.uniform(box, 50_000, torch.Generator().manual_seed(5))
    y = torch.tensor(np.concatenate([session.run(None, {"input": p.numpy().reshape(1, 1, 1, 5)})[0] for p in x]))
    rate = (train_demo.margin(train_demo.BY_NAME[name], y) <= 0).float().mean().item()
    assert 1e-5 < rate < 5e-2
