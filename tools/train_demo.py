"""Train the embedded demonstration network: a small student of ACAS Xu N2,9, bugs and all.

    python -m tools.train_demo TEACHER.onnx [--out FILE] [--seed N]

The student has the shape and conventions of the ACAS Xu networks (five normalised inputs, ReLU, five costs, the
advisory is the argmin), only smaller. It imitates the teacher over the whole domain and, oversampled, in the regions of
the properties it is shown with. Nothing makes it safe and nothing makes it unsafe: where it violates phi-2 and phi-8
it has learnt to, or has not learnt well enough. Weights are what training left; settings and seed are those of a run
whose student violates both properties.

Runs on one thread; the same seed on the same machine and torch gives the same file.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tools import acasxu
from tools.acasxu import Box, Phi

OUT = Path(__file__).resolve().parent.parent / "birdnn" / "data" / "demo.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the student is trained.

    Attributes:
        hidden: neurons in each hidden layer.
        shares: parts of a batch drawn from the domain and from the regions of the named properties.
        temperature: scale of normalised cost differences at which the decision is imitated.
    """

    hidden: tuple[int, ...] = (28, 28, 28)
    steps: int = 12_000
    batch: int = 2048
    learning_rate: float = 4e-3
    temperature: float = 0.01
    output_scale: float = 0.05
    shares: tuple[tuple[str, float], ...] = (
        ("domain", 0.5),
        ("prop_2", 0.2),
        ("prop_8", 0.2),
        ("prop_3", 0.05),
        ("prop_4", 0.05),
    )


def teacher(path: Path) -> nn.Sequential:
    """A fully connected ReLU network from its ONNX file's MatMul and Add initialisers, in file order."""
    arrays = [numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer if i.name != "input_AvgImg"]
    layers: list[nn.Module] = []
    for weight, bias in zip(arrays[::2], arrays[1::2], strict=True):
        layer = nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def student(hidden: tuple[int, ...]) -> nn.Sequential:
    sizes = (len(acasxu.INPUTS), *hidden, len(acasxu.OUTPUTS))
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def box_tensor(box: Box) -> Tensor:
    """Normalised corners, shape (2, 5)."""
    sides = [[float(i.normalised(raw)) for raw in box[i.name]] for i in acasxu.INPUTS]
    return torch.tensor(sides).T.contiguous()


def regions() -> dict[str, Tensor]:
    """The whole domain and each property's first region, by name."""
    domain: dict[str, tuple[Fraction, Fraction]] = {i.name: (i.lower, i.upper) for i in acasxu.INPUTS}
    return {"domain": box_tensor(domain), **{phi.name: box_tensor(phi.boxes[0]) for phi in acasxu.TABLE}}


def uniform(box: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return box[0] + (box[1] - box[0]) * torch.rand(n, box.shape[1], generator=generator)


def loss(y: Tensor, wanted: Tensor, settings: Settings) -> Tensor:
    """Distance of the costs plus divergence of the decisions they imply."""
    decision = nn.functional.kl_div(
        torch.log_softmax(-y / settings.temperature, dim=1),
        torch.log_softmax(-wanted / settings.temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
    return ((y - wanted) / settings.output_scale).square().mean() + decision


def train(wanted: nn.Module, settings: Settings, seed: int) -> nn.Sequential:
    """A student after `settings.steps` batches of fresh points."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net, boxes = student(settings.hidden), regions()
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for step in range(settings.steps):
        draws = [uniform(boxes[name], round(share * settings.batch), generator) for name, share in settings.shares]
        x = torch.cat(draws)
        value = loss(net(x), wanted(x), settings)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 1000 == 0 or step == settings.steps - 1:
            print(f"step {step:6d}  loss {value.item():.4f}", flush=True)
    return net


def violates(phi: Phi, y: Tensor) -> Tensor:
    """Which rows of `y` (n, 5) are unsafe by `phi`, shape (n,)."""
    if phi.coc_limit is not None:
        limit = float((phi.coc_limit - acasxu.OUTPUT_MEAN) / acasxu.OUTPUT_RANGE)
        return y[:, acasxu.COC] >= limit
    conjunctions = [torch.stack([y[:, i] <= y[:, j] for i, j in rows]).all(0) for rows in phi.unsafe]
    return torch.stack(conjunctions).any(0)


def rates(net: nn.Module, names: tuple[str, ...], n: int, seed: int) -> dict[str, float]:
    """Share of `n` uniform points of each property's own region that violate it."""
    generator, boxes = torch.Generator().manual_seed(seed), regions()
    by_name = {phi.name: phi for phi in acasxu.TABLE}
    with torch.no_grad():
        return {
            name: sum(
                int(violates(by_name[name], net(uniform(boxes[name], n // 10, generator))).sum()) for _ in range(10)
            )
            / (n // 10 * 10)
            for name in names
        }


def agreement(net: nn.Module, wanted: nn.Module, box: Tensor, n: int = 200_000) -> float:
    with torch.no_grad():
        x = uniform(box, n, torch.Generator().manual_seed(1))
        return float((net(x).argmin(1) == wanted(x).argmin(1)).float().mean())


def to_onnx(net: nn.Sequential) -> onnx.ModelProto:
    """The student in the conventions of the ACAS Xu files: input [1, 1, 1, 5], Flatten, then MatMul, Add, Relu."""
    nodes = [helper.make_node("Flatten", ["input"], ["flat"], name="flatten", axis=1)]
    initialisers, last = [], "flat"
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    for number, layer in enumerate(linear, start=1):
        prefix = f"linear_{number}" if number == len(linear) else f"Operation_{number}"
        weight, bias = f"{prefix}_MatMul_W", f"{prefix}_Add_B"
        arrays = ((weight, layer.weight.detach().numpy().T), (bias, layer.bias.detach().numpy()))
        initialisers += [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays]
        nodes.append(helper.make_node("MatMul", [last, weight], [f"{prefix}_MatMul"], name=f"{prefix}_MatMul"))
        nodes.append(helper.make_node("Add", [f"{prefix}_MatMul", bias], [f"{prefix}_Add"], name=f"{prefix}_Add"))
        last = f"{prefix}_Add"
        if number < len(linear):
            nodes.append(helper.make_node("Relu", [last], [f"relu_{number}"], name=f"relu_{number}"))
            last = f"relu_{number}"
    graph = helper.make_graph(
        nodes,
        "birdnn_demo",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, 1, len(acasxu.INPUTS)])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, len(acasxu.OUTPUTS)])],
        initialisers,
    )
    model = helper.make_model(
        graph, producer_name="birdnn tools/train_demo.py", ir_version=8, opset_imports=[helper.make_opsetid("", 13)]
    )
    onnx.checker.check_model(model)
    return model


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the embedded demonstration network.")
    parser.add_argument("teacher", type=Path, help="ACASXU_run2a_2_9_batch_2000.onnx")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    wanted = teacher(options.teacher)
    net = train(wanted, Settings(), options.seed)
    for name, box in regions().items():
        if name in {"domain", "prop_2", "prop_3", "prop_4", "prop_8"}:
            print(f"{name}: same decision as the teacher at {100 * agreement(net, wanted, box):.2f} %")
    names = ("prop_1", "prop_2", "prop_3", "prop_4", "prop_8")
    for name, rate in rates(net, names, 1_000_000, seed=2).items():
        print(
            f"{name}: violated at {rate:.2e} of its region (teacher {rates(wanted, (name,), 1_000_000, 2)[name]:.2e})"
        )
    onnx.save(to_onnx(net), options.out)
    n_parameters = math.fsum(p.numel() for p in net.parameters())
    print(f"{options.out}: {n_parameters:.0f} parameters, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
