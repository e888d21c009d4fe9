"""Classifiers of digits: how they are trained, and their files, whose nodes are called as exporters do it.

``/layer1/conv1/Conv`` is such a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from benchmarks.digits.train import Images

SIDE = 8
"""Pixels of an image, each way."""

BATCH, RATE, DECAY = 50, 4e-3, 1e-4


def fit(model: nn.Module, images: Images, seed: int, epochs: int) -> None:
    """Train a classifier of images (n, 1, 8, 8); the seed says in which order they come."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(epochs):
        for part in torch.split(torch.randperm(len(images), generator=generator), BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images.x[part].reshape(-1, 1, SIDE, SIDE)), images.y[part]).backward()
            optimiser.step()
            schedule.step()


class File:
    """Nodes and tensors as they come; the input is X, images (n, 1, 8, 8)."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []

    def tensor(self, name: str, value: Tensor) -> str:
        """Put numbers, whole ones as int64, all others as float32; their name."""
        kept = value.detach().float() if value.is_floating_point() else value
        self._tensors.append(numpy_helper.from_array(kept.numpy(), name))
        return name

    def node(self, op: str, scope: str, inputs: Sequence[str], **attributes: object) -> str:
        """Put a node; the name of its value."""
        name = f"{scope}/{op}"
        self._nodes.append(helper.make_node(op, inputs, [f"{name}_output_0"], name=name, **attributes))
        return f"{name}_output_0"

    def convolution(self, scope: str, value: str, conv: nn.Conv2d, bn: nn.BatchNorm2d | None) -> str:
        """Put a convolution with the normalisation behind it folded in; the name of its value."""
        weight = conv.weight.double()
        bias = torch.zeros(conv.out_channels, dtype=torch.float64) if conv.bias is None else conv.bias.double()
        if bn is not None:
            mean, variance = (bn.get_buffer(f"running_{name}").double() for name in ("mean", "var"))
            factor = bn.weight.double() / (variance + bn.eps).sqrt()
            weight, bias = weight * factor[:, None, None, None], bn.bias.double() + (bias - mean) * factor
        place = scope[1:].replace("/", ".")
        names = [self.tensor(f"{place}.weight", weight), self.tensor(f"{place}.bias", bias)]
        pads = list(conv.padding) * 2
        shape = {"kernel_shape": list(conv.kernel_size), "strides": list(conv.stride), "pads": pads}
        return self.node("Conv", scope, [value, *names], **shape)

    def model(self, opset: int) -> bytes:
        """The file whose output, Y (n, 10), is what the last node makes."""
        self._nodes[-1].output[0] = "Y"
        graph = helper.make_graph(
            self._nodes,
            "digits",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["N", 10])],
            self._tensors,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return bytes(made.SerializeToString())
