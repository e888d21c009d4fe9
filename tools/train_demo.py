"""Train the embedded demonstration network: a small student of ACAS Xu N2,9, bugs and all.

    python -m tools.train_demo TEACHER.onnx [--out FILE] [--seed N]

The student has the shape and conventions of the ACAS Xu networks (five normalised inputs, ReLU, five costs, the
advisory is the argmin), only smaller. It imitates the teacher over the whole domain and, oversampled, in the regions of
the properties it is shown with and at the points where the teacher comes closest to violating phi-2 and phi-8, or does.
So it inherits its teacher's two defects, at about the teacher's rates, by imitation alone: no weight is set by hand.

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
from tools.acasxu import Phi
from tools.family import Box

BY_NAME = {phi.name: phi for phi in acasxu.TABLE}
OUT = Path(__file__).resolve().parent.parent / "birdnn" / "data" / "demo.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the student is trained.

    Attributes:
        hidden: neurons in each hidden layer.
        steps, batch, learning_rate: of Adam with a cosine schedule.
        temperature: scale of normalised cost differences at which best and worst advisory are imitated.
        output_scale: scale at which the costs themselves are imitated.
        shares: parts of a batch drawn uniformly from the domain and from the regions of the named properties.
        close: property, share of a batch drawn from the points of its region where the teacher comes closest to
            violating it or does, and how large a part of the region counts as close.
        pool: points of a region among which the close ones are looked for.
    """

    hidden: tuple[int, ...] = (28, 28, 28)
    steps: int = 6000
    batch: int = 2048
    learning_rate: float = 4e-3
    temperature: float = 1e-3
    output_scale: float = 0.05
    shares: tuple[tuple[str, float], ...] = (
        ("domain", 0.5),
        ("prop_2", 0.1),
        ("prop_8", 0.2),
        ("prop_3", 0.05),
        ("prop_4", 0.05),
    )
    close: tuple[tuple[str, float, float], ...] = (("prop_2", 0.08, 1 / 16), ("prop_8", 0.12, 1 / 1024))
    pool: int = 2_000_000


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


def margin(phi: Phi, y: Tensor) -> Tensor:
    """How far each row of `y` (n, 5) is from unsafe by `phi`, shape (n,); not above zero is unsafe."""
    if phi.coc_limit is not None:
        return float((phi.coc_limit - acasxu.OUTPUT_MEAN) / acasxu.OUTPUT_RANGE) - y[:, acasxu.COC]
    conjunctions = [torch.stack([y[:, i] - y[:, j] for i, j in rows]).amax(0) for rows in phi.unsafe]
    return torch.stack(conjunctions).amin(0)


def close_points(wanted: nn.Module, name: str, part: float, n: int, generator: torch.Generator) -> Tensor:
    """The `part` of `n` uniform points of the property's region with the teacher's least margins."""
    x = uniform(regions()[name], n, generator)
    return x[margin(BY_NAME[name], wanted(x)).argsort()[: max(1, int(part * n))]]


def divergence(y: Tensor, wanted: Tensor) -> Tensor:
    log = nn.functional.log_softmax
    return nn.functional.kl_div(log(y, dim=1), log(wanted, dim=1), log_target=True, reduction="batchmean")


def loss(y: Tensor, wanted: Tensor, settings: Settings) -> Tensor:
    """Distance of the costs plus divergence of the best and of the worst advisory that they imply."""
    distance = ((y - wanted) / settings.output_scale).square().mean()
    t = settings.temperature
    return distance + divergence(-y / t, -wanted / t) + 0.5 * divergence(y / t, wanted / t)


def train(wanted: nn.Module, settings: Settings, seed: int) -> nn.Sequential:
    """A student after `settings.steps` batches, most of them fresh points."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    boxes = regions()
    pools = [(close_points(wanted, name, part, settings.pool, generator), n) for name, n, part in settings.close]
    net = student(settings.hidden)
    optimiser = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for step in range(settings.steps):
        draws = [uniform(boxes[name], round(share * settings.batch), generator) for name, share in settings.shares]
        for points, share in pools:
            draws.append(points[torch.randint(len(points), (round(share * settings.batch),), generator=generator)])
        x = torch.cat(draws)
        value = loss(net(x), wanted(x), settings)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 1000 == 0 or step == settings.steps - 1:
            print(f"step {step:6d}  loss {value.item():.4f}", flush=True)
    return net


def rate(net: nn.Module, name: str, n: int, seed: int) -> float:
    """Share of `n` uniform points of the property's own region that violate it."""
    generator, box, phi = torch.Generator().manual_seed(seed), regions()[name], BY_NAME[name]
    chunk = n // 10
    with torch.no_grad():
        counts = [int((margin(phi, net(uniform(box, chunk, generator))) <= 0).sum()) for _ in range(10)]
    return sum(counts) / (10 * chunk)


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
    for name in ("prop_1", "prop_2", "prop_3", "prop_4", "prop_8"):
        ours, theirs = (rate(n, name, 1_000_000, seed=2) for n in (net, wanted))
        print(f"{name}: violated at {ours:.2e} of its region (teacher {theirs:.2e})")
    onnx.save(to_onnx(net), options.out)
    n_parameters = math.fsum(p.numel() for p in net.parameters())
    print(f"{options.out}: {n_parameters:.0f} parameters, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
