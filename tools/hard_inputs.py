"""Inputs on which a time limit is hard to hold, made from a seed.

    python -m tools.hard_inputs FOLDER

Three networks, each with a property: many inputs and wide layers (every single step costs seconds), many layers of many
pieces (no proof will ever end), and many clauses (whatever is done for each of them is done a thousand times). Tests
make smaller ones of the same kinds.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

Layers = Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""Weights (out, in) and biases (out,), a ReLU between any two."""


@dataclass(frozen=True, slots=True)
class Files:
    """A network and a property of it."""

    net: Path
    prop: Path


def write_network(path: Path, layers: Layers) -> None:
    """A chain of Gemm and Relu as ONNX."""
    inner, nodes, values = "x", [], []
    for i, (weight, bias) in enumerate(layers):
        values += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        last = i == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [inner, f"w{i}", f"b{i}"], ["y" if last else f"z{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [f"h{i}"]))
        inner = f"h{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", layers[0][0].shape[1]), ("y", layers[-1][0].shape[0]))
    ]
    graph = helper.make_graph(nodes, "hard", ends[:1], ends[1:], values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def write_property(path: Path, n_inputs: int, n_outputs: int, clauses: Iterable[Iterable[str]]) -> None:
    """The unsafe set: any of the clauses, each a conjunction of assertions such as ``(<= X_0 1)``."""
    names = [f"X_{i}" for i in range(n_inputs)] + [f"Y_{i}" for i in range(n_outputs)]
    lines = [f"(declare-const {name} Real)" for name in names]
    told = " ".join(f"(and {' '.join(clause)})" for clause in clauses)
    path.write_text("\n".join([*lines, f"(assert (or {told}))", ""]))


def box(lower: Iterable[float], upper: Iterable[float]) -> list[str]:
    """Assertions that the inputs lie in a box."""
    pairs = enumerate(zip(lower, upper, strict=True))
    return [part for i, (low, high) in pairs for part in (f"(>= X_{i} {low:.6f})", f"(<= X_{i} {high:.6f})")]


def images(
    folder: Path, *, pixels: int = 784, width: int = 256, classes: int = 10, radius: float = 0.2, seed: int = 0
) -> Files:
    """A classifier of noisy patterns with two hidden layers, and its robustness around one of them."""
    generator = torch.Generator().manual_seed(seed)
    patterns = (torch.rand(classes, pixels, generator=generator) < 0.2).float()
    sizes = (pixels, width, width, classes)
    parts = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    for part in parts:
        part.weight.data = torch.randn(part.weight.shape, generator=generator) * (2 / part.in_features) ** 0.5
        part.bias.data.zero_()
    model = torch.nn.Sequential(parts[0], torch.nn.ReLU(), parts[1], torch.nn.ReLU(), parts[2])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(60):
        y = torch.randint(classes, (128,), generator=generator)
        x = (patterns[y] + 0.3 * torch.randn(128, pixels, generator=generator)).clamp(0, 1)
        optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(model(x), y))
        optimiser.step()
    files = Files(folder / "images.onnx", folder / "images.vnnlib")
    write_network(files.net, [(p.weight.detach().numpy(), p.bias.detach().numpy()) for p in parts])
    centre = patterns[0].numpy()
    region = box((centre - radius).clip(0, 1), (centre + radius).clip(0, 1))
    write_property(files.prop, pixels, classes, [[*region, f"(>= Y_{i} Y_0)"] for i in range(1, classes)])
    return files


def sawtooth(folder: Path, *, layers: int = 10, pieces: int = 8) -> Files:
    """Two inputs through sawtooths of sawtooths, ``pieces ** layers`` pieces along each; a property of their sum."""
    turns = np.arange(pieces) / pieces
    heights = np.where(np.arange(pieces) == 0, 1.0, 2.0 * (-1.0) ** np.arange(pieces)) * pieces
    rise = np.kron(np.eye(2), np.ones((pieces, 1)))  # each sawtooth's neurons read its input
    fold = np.kron(np.eye(2), heights[None])
    bias = -np.tile(turns, 2)
    chain = [(rise, bias), *((rise @ fold, bias) for _ in range(layers - 1)), (fold, np.zeros(2))]
    files = Files(folder / "sawtooth.onnx", folder / "sawtooth.vnnlib")
    write_network(files.net, [(w.astype(np.float32), b.astype(np.float32)) for w, b in chain])
    write_property(files.prop, 2, 2, [[*box((0, 0), (1, 1)), "(>= (+ Y_0 Y_1) 1.9)"]])
    return files


def clauses(folder: Path, *, count: int = 1000, seed: int = 0) -> Files:
    """A small network, and a property of so many input boxes and thresholds, a few of which are violated."""
    rng = np.random.default_rng(seed)
    sizes = (2, 16, 16, 2)
    chain = [(rng.normal(size=(b, a)) * (2 / a) ** 0.5, 0.1 * rng.normal(size=b)) for a, b in itertools.pairwise(sizes)]
    files = Files(folder / "clauses.onnx", folder / "clauses.vnnlib")
    layers = [(w.astype(np.float32), b.astype(np.float32)) for w, b in chain]
    write_network(files.net, layers)
    edges = np.linspace(0, 1, count + 1)
    told = []
    for low, high in itertools.pairwise(edges):
        points = np.stack(np.meshgrid(np.linspace(low, high, 3), np.linspace(0, 1, 101)), -1).reshape(-1, 2)
        highest = _outputs(layers, points)[:, 0].max()
        told.append([*box((low, 0), (high, 1)), f"(>= Y_0 {highest + rng.uniform(-0.0005, 0.02):.6f})"])
    write_property(files.prop, 2, 2, told)
    return files


def _outputs(layers: Layers, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.T.astype(np.float64) + bias
        x = x if i == len(layers) - 1 else np.maximum(x, 0)
    return x


KINDS: dict[str, Callable[[Path], Files]] = {"images": images, "sawtooth": sawtooth, "clauses": clauses}
"""Name -> maker of the files at full size."""


def main() -> None:
    """Make all of them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for make in KINDS.values():
        files = make(folder)
        print(files.net, files.prop)


if __name__ == "__main__":
    main()
