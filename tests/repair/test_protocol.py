"""Repair methods have everything that the pipeline calls, and keep what a task promises of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial

import pytest
import torch

from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.neurons import neurons
from birdnn.records import Unwatched
from birdnn.records.limits import Over
from birdnn.repair import (
    AllLayers,
    AllLayersSettings,
    Evidence,
    Finetune,
    FinetuneSettings,
    LastLayer,
    LinearSettings,
    Repairer,
    RepairTask,
    Retrain,
    RetrainSettings,
    hunting,
)
from birdnn.sample import evaluate
from birdnn.spec import Polytope, Property, Row
from tests.bounds.builders import make_property, random_net
from tests.repair.tasks import task_of

SIZES = (2, 8, 8, 3)
_FEW = {"domain_points": 200, "region_points": 100}


def finetune(task: RepairTask, optimiser: str) -> Finetune:
    settings = FinetuneSettings(optimiser=optimiser, evaluations=200, searches=1, healed_points=50, **_FEW)
    return Finetune(task, settings, neurons(task.net))


METHODS: Mapping[str, Callable[[RepairTask], Repairer]] = {
    "retrain": lambda task: Retrain(task, RetrainSettings(ties=True, tied_outputs=9.0, tied_decisions=1.0, **_FEW)),
    "all layers": lambda task: AllLayers(task, AllLayersSettings(steps=15, region_points=100)),
    "lp": lambda task: LastLayer(task, LinearSettings(**_FEW)),
    "bias": lambda task: LastLayer(task, LinearSettings(biases_only=True, **_FEW)),
    "pso": partial(finetune, optimiser="pso"),
    "cmaes": partial(finetune, optimiser="cmaes"),
}
"""Every method that repairs properties."""


def test_a_repair_method_is_one_and_half_a_one_is_none() -> None:
    class Half:
        propose = Retrain.propose

    net, prop = violated(0)
    assert all(isinstance(make(task_of(net, prop)), Repairer) for make in METHODS.values())
    assert not issubclass(Half, Repairer)


def violated(seed: int) -> tuple[Network, Property]:
    """Output 0 is too high in a tenth of the inputs; biases of the second layer are zero, as many are at first."""
    net = random_net(seed, SIZES)
    net = net.with_values({"B1": torch.zeros(SIZES[2])})
    x = torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    most = Fraction(float(torch.quantile(evaluate(net, x)[:, 0], 0.9)))
    unsafe = Polytope(rows=(Row((Fraction(-1), Fraction(0), Fraction(0)), -most),), n_outputs=3)
    return net, make_property([-1, -1], [1, 1], unsafe)


def farthest(before: Network, after: Network) -> float:
    """How far a layer moved at most, as a share of its size: Euclidean norms of its weights and biases together."""
    shares = []
    for layer in range(len(SIZES) - 1):
        old, new = (
            torch.cat([net.value(f"{kind}{layer}").detach().double().flatten() for kind in "WB"])
            for net in (before, after)
        )
        shares.append(float((new - old).norm() / old.norm()))
    return max(shares)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("seed", [0, 3])
def test_no_layer_moves_farther_than_a_task_allows(name: str, seed: int) -> None:
    net, prop = violated(seed)
    region = prop.regions[0]
    out_of_reach = Evidence(undecided={prop.name: Boxes(region.lower[None], region.upper[None])})

    def candidates(limit: float) -> tuple[list[float], Repairer]:
        method = METHODS[name](replace(task_of(net, prop), max_change=limit))
        told = (Evidence(), out_of_reach)
        return [farthest(net, method.propose(one, timeout_s=60, watch=Unwatched())) for one in told], method

    free, _ = candidates(float("inf"))
    limit = max(free) / 3
    assert limit > 1e-3, "nothing to hold"
    held, method = candidates(limit)
    assert 0 < max(held) <= limit * (1 + 1e-5), "float32 rounds what is stored"
    assert method.remarks() == () or "--max-change" in method.remarks()[0]


@pytest.mark.parametrize("optimiser", ["pso", "cmaes"])
def test_no_weight_moves_by_a_greater_share_of_itself_where_neurons_are_scaled(optimiser: str) -> None:
    net, prop = violated(0)
    method = finetune(replace(task_of(net, prop), max_change=0.02), optimiser)
    after = method.propose(Evidence(), timeout_s=60, watch=Unwatched())
    moved = [(after.value(name) - net.value(name)).abs() - 0.02 * net.value(name).abs() for name in net.repairable]
    assert float(torch.cat([part.detach().flatten() for part in moved]).max()) < 1e-6
    assert "--max-change" in method.remarks()[0]


@pytest.mark.parametrize("name", METHODS)
def test_the_hunts_of_every_method_end_with_its_share_of_the_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's own limit is that of the whole repair, and far away."""
    seen: list[Over] = []
    search = hunting._search_regions

    def recorded(aims: object, student: object, resample: object, generator: object, over: Over, **more: bool) -> None:
        seen.append(over)
        search(aims, student, resample, generator, over, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(hunting, "_search_regions", recorded)
    METHODS[name](task_of(*violated(0))).propose(Evidence(), timeout_s=600, watch=Unwatched())
    assert len(seen) > 1 or name == "all layers", "which takes counterexamples alone"
    later = time.monotonic() + 601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert all(over() for over in seen)


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_repeats_and_another_one_is_another_candidate(name: str) -> None:
    net, prop = violated(0)

    def candidate(seed: int) -> torch.Tensor:
        after = METHODS[name](task_of(net, prop, seed=seed)).propose(Evidence(), timeout_s=600, watch=Unwatched())
        return torch.cat([value.detach().flatten() for value in after.initialisers().values()])

    assert torch.equal(candidate(1), candidate(1))
    assert not torch.equal(candidate(1), candidate(2))
