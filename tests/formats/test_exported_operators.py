"""What PyTorch's two exporters write for its layers and functions, read and compared with onnxruntime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from birdnn.formats.onnx import network_from_onnx, read_onnx


class Computes(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


_MASK = torch.tensor([True, False, True, False, True, False])

ROWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "amax": lambda x: x.amax(-1),
    "amin": lambda x: x.amin(-1, keepdim=True),
    "chunk": lambda x: torch.cat(torch.chunk(x, 3, -1)[::-1], -1),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "cosine": torch.cos,
    "cube": lambda x: x**3,
    "exp": torch.exp,
    "expand": lambda x: x.unsqueeze(1).expand(-1, 3, -1),
    "flip": lambda x: x.flip(-1),
    "index": lambda x: x[:, [2, 0, 1]],
    "log": lambda x: torch.log(x * x + 1),
    "log sum exp": lambda x: torch.logsumexp(x, -1),
    "maximum": lambda x: torch.maximum(x, torch.zeros(())),
    "maximum of two": lambda x: torch.max(x, x.flip(-1)),
    "mean": lambda x: x.mean(-1),
    "negative": lambda x: -x,
    "norm": lambda x: x.norm(dim=-1),
    "normalize": lambda x: functional.normalize(x, dim=-1),
    "outer": lambda x: x.unsqueeze(-1) @ x.unsqueeze(1),
    "pad": lambda x: functional.pad(x, (1, 2)),
    "product": lambda x: x * torch.tanh(x),
    "quotient": lambda x: x / (1 + torch.exp(x)),
    "reciprocal root": lambda x: torch.rsqrt(x * x + 1),
    "repeat": lambda x: x.repeat(1, 2),
    "roll": lambda x: torch.roll(x, 1, -1),
    "select": lambda x: torch.stack([x[:, 0], x[:, 1] - x[:, 2]], -1),
    "sign": torch.sign,
    "sine": torch.sin,
    "split": lambda x: torch.cat(x.split(2, -1)[::-1], -1),
    "sum": lambda x: x.sum(-1, keepdim=True),
    "where": lambda x: torch.where(_MASK, x, -x),
    "celu": nn.CELU(),
    "gelu": nn.GELU(),
    "gelu, approximate": nn.GELU("tanh"),
    "hard sigmoid": nn.Hardsigmoid(),
    "hard swish": nn.Hardswish(),
    "layer norm": nn.LayerNorm(6),
    "log sigmoid": nn.LogSigmoid(),
    "log softmax": nn.LogSoftmax(-1),
    "mish": nn.Mish(),
    "prelu": nn.PReLU(),
    "prelu, each": nn.PReLU(6),
    "relu6": nn.ReLU6(),
    "selu": nn.SELU(),
    "silu": nn.SiLU(),
    "softmax": nn.Softmax(-1),
    "softplus": nn.Softplus(),
    "softplus, steep": nn.Softplus(beta=2),
    "softsign": nn.Softsign(),
    "tanh shrink": nn.Tanhshrink(),
}
"""Of a batch of rows of six numbers."""

IMAGES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "circular convolution": nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
    "circular pad": nn.CircularPad2d(1),
    "constant pad": nn.ConstantPad2d((1, 2, 0, 1), 0.5),
    "group norm": nn.GroupNorm(1, 2),
    "instance norm": nn.InstanceNorm2d(2),
    "mean of channels": lambda x: x.mean(1, keepdim=True),
    "mean of places": lambda x: x.mean((2, 3)),
    "pixel shuffle": lambda x: functional.pixel_shuffle(torch.cat([x, x], 1), 2),
    "prelu of channels": nn.PReLU(2),
    "reflection pad": nn.ReflectionPad2d((1, 2, 0, 1)),
    "replication pad": nn.ReplicationPad2d(1),
    "transposed convolution": nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed convolution, groups": nn.ConvTranspose2d(2, 4, 2, stride=3, groups=2, dilation=2),
}
"""Of a batch of images of two channels."""

CASES = {**{name: (f, (1, 6)) for name, f in ROWS.items()}, **{name: (f, (1, 2, 6, 6)) for name, f in IMAGES.items()}}


def _module(name: str) -> tuple[nn.Module, Tensor]:
    function, shape = CASES[name]
    module = function if isinstance(function, nn.Module) else Computes(function)
    return module.eval(), torch.randn(shape, generator=torch.Generator().manual_seed(0))


def agrees(module: nn.Module, net) -> None:
    """A thousand points, by PyTorch's own evaluation; reading compared a few with onnxruntime."""
    x = torch.randn(1000, net.n_inputs, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.cat([module(row.reshape(net.input_shape)).reshape(1, -1) for row in x])
        assert torch.allclose(net(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_the_exporter_by_scripts(name: str) -> None:
    """With a batch of any size."""
    module, x = _module(name)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), data, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "N"}})
    agrees(module, network_from_onnx(data.getvalue()))


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_the_exporter_by_traces(name: str, tmp_path: Path) -> None:
    module, x = _module(name)
    path = tmp_path / "net.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=True, verbose=False)
    agrees(module, read_onnx(path))
