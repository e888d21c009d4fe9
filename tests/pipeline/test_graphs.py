"""Repairs of graphs that are no chains: the last affine map behind any features, proved by the bounds of graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch

from birdnn.api.loading import network_bytes
from birdnn.formats import read_network
from birdnn.network import Network
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import PropertyRepair, Proved, RepairRequest, VerifySettings
from birdnn.repair import LinearSettings
from birdnn.sample import evaluate
from birdnn.verify import AttackSettings
from tests.repair.graphs import GRAPHS, a_graph

LIGHT = AttackSettings(evaluations=2000)
FAST = RepairSettings(
    linear=LinearSettings(domain_points=400, region_points=200, constraints=300),
    hunt=LIGHT,
    light_hunt=LIGHT,
    attack=LIGHT,
    slice_boxes=2000,
    selection_points=2000,
    domain_points=2000,
    region_points=2000,
    held_out_points=2000,
)


def text(net: Network, low: list[float], high: list[float], *unsafe: str) -> str:
    lines = [f"(declare-const X_{i} Real)" for i in range(net.n_inputs)]
    lines += [f"(declare-const Y_{j} Real)" for j in range(net.n_outputs)]
    lines += [
        f"(assert (>= X_{i} {a:.6f}))(assert (<= X_{i} {b:.6f}))"
        for i, (a, b) in enumerate(zip(low, high, strict=True))
    ]
    return "\n".join([*lines, f"(assert (or {' '.join(f'(and {each})' for each in unsafe)}))", ""])


def repaired(folder: Path, net: Network, prop: str, **asked: object) -> PropertyRepair:
    file, path = folder / "net.onnx", folder / "low.vnnlib"
    file.write_bytes(network_bytes(net))
    path.write_text(prop, encoding="utf-8")
    request = RepairRequest(net=file, props=(path,), method="finetune", out=folder / "out", samples=2000)
    return repair_files(replace(request, **asked), settings=FAST)


def around(net: Network, quantile: float) -> tuple[list[float], list[float], float]:
    """A box, and what output 0 is at most on so much of it."""
    generator = torch.Generator().manual_seed(3)
    middle = torch.randn(16, generator=generator, dtype=torch.float64)
    low, high = middle - 0.2, middle + 0.2
    y = evaluate(net, (low + 0.4 * torch.rand(4000, 16, generator=generator, dtype=torch.float64)).float())
    return low.tolist(), high.tolist(), float(y[:, 0].quantile(quantile))


@pytest.mark.parametrize(
    "name",
    [name if i in (1, 2) else pytest.param(name, marks=pytest.mark.thorough) for i, name in enumerate(GRAPHS)],
)
def test_the_last_affine_map_of_any_graph_is_repaired_and_the_file_proved(tmp_path: Path, name: str) -> None:
    net = a_graph(name)
    low, high, most = around(net, 0.9)
    outcome = repaired(tmp_path, net, text(net, low, high, f"(>= Y_0 {most:.6f})"), decision="none")
    (entry,) = outcome.properties
    assert (outcome.result, entry.before, entry.after) == ("proved", "violated", "proved")
    assert set(outcome.change) <= set(GRAPHS[name][1])
    assert outcome.out is not None
    (again,) = verify_files(Path(outcome.out), [tmp_path / "low.vnnlib"], settings=VerifySettings()).verdicts
    assert isinstance(again.verdict, Proved)
    moved = evaluate(read_network(Path(outcome.out)), torch.zeros(1, 16)) - evaluate(net, torch.zeros(1, 16))
    spread = evaluate(net, torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))).std(0)
    assert float(moved.abs().max()) < float(spread.max())  # far from the box


def test_a_graph_is_repaired_over_the_reals_and_says_so(tmp_path: Path) -> None:
    net = a_graph("two heads")
    low, high, most = around(net, 0.5)
    prop = text(net, low, high, f"(>= Y_0 {most:.6f})")
    outcome = repaired(tmp_path, net, prop, decision="none")
    assert outcome.semantics == "real"
    assert any("--semantics float32 asks for them" in note for note in outcome.notes)


@pytest.mark.thorough
def test_behind_a_softmax_the_scores_are_compared(tmp_path: Path) -> None:
    """The largest of two shares is that of two scores, in which the last map is affine; the file keeps its softmax."""
    net = a_graph("behind convolutions", softmax=True)
    low, high, _ = around(net, 0.5)
    y = evaluate(net, torch.tensor([low, high]).mean(0, keepdim=True))
    best, second = y.topk(2).indices[0].tolist()
    prop = text(net, low, high, f"(>= Y_{best} Y_{second})")  # the second of them is to win
    outcome = repaired(tmp_path, net, prop, decision="argmax")
    assert (outcome.result, outcome.properties[0].before) == ("proved", "violated")
    assert onnx.load(str(outcome.out)).graph.node[-1].op_type == "Softmax"
