"""Ties: one row of the unsafe set becomes a constant, at the price that is measured and no more."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.records import Proved, Unwatched
from birdnn.repair import Evidence, Goal, RepairTask, Retrain, RetrainSettings
from birdnn.repair.jacobian import Trained
from birdnn.repair.tie import Tie, tie_demands, tie_equations, tying_change
from birdnn.sample import evaluate
from birdnn.spec import Polytope, Property, Row
from birdnn.verify import verify
from tests.bounds.builders import graph_net, make_property, random_net
from tests.verify.cases import Engine, effort


def row(*coefficients: int) -> Row:
    return Row(tuple(Fraction(c) for c in coefficients), Fraction(0), False)


UNSAFE = Polytope(rows=(row(-1, 0, 1), row(0, -1, 1)), n_outputs=3)
"""Output 2 is at most the others."""


def chosen(y: Tensor, importance: Tensor) -> Tie:
    return Tie.of(UNSAFE, y, 0.1, importance)


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("limit", [5, 10_000])
def test_a_tied_row_is_constant_for_every_input(activation: str, limit: int) -> None:
    net = random_net(3, (2, 8, 8, 3), activation)
    trained = Trained(net, limit)
    layer = trained.output_layer()
    assert layer is not None
    x = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    tie = chosen(evaluate(net, x), torch.tensor([1.0, 1.0, 0.0]).double())
    change = tying_change([tie], layer, len(trained))
    assert change is not None
    after = evaluate(trained.at(change), x)
    values = after.double() @ tie.row
    assert float(values.std()) < 1e-6
    assert float(values.mean()) == pytest.approx(tie.constant, abs=1e-5)
    assert torch.equal(after[:, :2], evaluate(net, x)[:, :2])  # only the follower moves


def test_the_flattest_row_is_tied_and_the_least_important_output_follows() -> None:
    t = torch.linspace(0, 1, 101)
    y = torch.stack([3 * t, 0.9 * t, t], 1)
    tie = chosen(y, torch.tensor([1.0, 0.5, 2.0]).double())
    assert tie.row.tolist() == [0, -1, 1]
    assert tie.follower == 1
    assert tie.least == pytest.approx(0.1)
    assert tie.constant == pytest.approx(0.1)  # the median, 0.05, would be too little
    assert chosen(y + torch.tensor([0, 0, 1.0]), torch.ones(3).double()).constant == pytest.approx(1.05)


def test_equations_and_demands_say_what_a_tied_network_satisfies() -> None:
    trained = Trained(random_net(4, (2, 6, 3)), 10_000)
    layer = trained.output_layer()
    assert layer is not None
    y = evaluate(trained.net, torch.rand(200, 2, generator=torch.Generator().manual_seed(0)))
    ties = [chosen(y, torch.tensor([1.0, 1.0, 0.0]).double())]
    change = tying_change(ties, layer, len(trained))
    assert change is not None
    rows, values = tie_equations(ties, layer, len(trained))
    assert torch.allclose(rows @ change, values, atol=1e-12)
    assert not torch.allclose(torch.zeros_like(values), values, atol=1e-3)  # the original is not tied
    rows, values = tie_demands(ties, layer, len(trained))
    assert bool((rows @ change >= values - 1e-12).all())


@settings(max_examples=60)
@given(data=st.data())
def test_ties_in_a_chain_hold_together_in_any_order(data: st.DataObject) -> None:
    """Each names the follower of another: whichever comes last must not undo the first."""
    outputs = data.draw(st.integers(3, 6))
    trained = Trained(random_net(data.draw(st.integers(0, 99)), (2, 5, outputs)), 10_000)
    layer = trained.output_layer()
    assert layer is not None
    leaders = [data.draw(st.integers(0, k - 1)) for k in range(1, outputs)]  # of outputs 1, 2, ...: no circle
    chain = [(k, leader) for k, leader in enumerate(leaders, 1) if data.draw(st.booleans())] or [(1, 0)]
    ties = []
    for follower, leader in data.draw(st.permutations(chain)):
        row = torch.zeros(outputs, dtype=torch.float64)
        row[follower], row[leader] = data.draw(st.sampled_from([(1, -1), (-1, 1), (2, -0.5)]))
        least = data.draw(st.sampled_from([-1.0, 0.1, 3.0]))
        ties.append(Tie(row, follower, least + data.draw(st.sampled_from([0.0, 0.5])), least))
    change = tying_change([*ties, replace(ties[0], constant=ties[0].constant + 1)], layer, len(trained))
    assert change is not None
    x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before, after = evaluate(trained.net, x), evaluate(trained.at(change), x)
    for place, tie in enumerate(ties):
        values = after.double() @ tie.row
        constant = tie.constant + (1 if place == 0 else 0)  # the larger of the two
        assert float((values - constant).abs().amax()) < 1e-3, "float32"
    kept = [k for k in range(outputs) if k not in dict(chain)]
    assert torch.equal(before[:, kept], after[:, kept])


@pytest.mark.parametrize(
    ("rows", "followers"),
    [
        ([(1, -1, 0), (1, 0, -1)], [0, 0]),  # output 0 cannot follow two that differ
        ([(1, -1, 0), (-1, 1, 0)], [0, 1]),  # nor be above and below the same one
    ],
)
def test_ties_that_contradict_each_other_are_none(rows: list[tuple[int, ...]], followers: list[int]) -> None:
    trained = Trained(random_net(4, (2, 6, 3)), 10_000)
    layer = trained.output_layer()
    assert layer is not None
    ties = [Tie(torch.tensor(r).double(), k, 0.2, 0.1) for r, k in zip(rows, followers, strict=True)]
    assert tying_change(ties, layer, len(trained)) is None
    assert tying_change(ties[:1], layer, len(trained)) is not None


def never_low(low: float) -> tuple[Network, Property]:
    """Output 2 stays just above outputs that hardly decide anything, by ``low`` at the least."""
    net = random_net(8, (2, 16, 16, 3))
    weight, bias = net.value("W2").detach().clone(), net.value("B2").detach().clone()
    weight[2] = weight[0] + 0.02 * weight[2]
    bias[2] = bias[0] + low
    return net.with_values({"W2": weight, "B2": bias}), make_property([-1, -1], [1, 1], UNSAFE)


def method(net: Network, prop: Property, **settings: float) -> Retrain:
    corners = torch.full((2,), -1.0, dtype=torch.float64), torch.full((2,), 1.0, dtype=torch.float64)
    task = RepairTask(
        net=net,
        goals=(Goal(prop=prop, repair=True, violated=True),),
        domain=corners,
        decision="argmin",
        resample=lambda net, inside, generator, thorough: torch.rand(64, 2, generator=generator) * 2 - 1,
    )
    return Retrain(task, RetrainSettings(domain_points=300, region_points=300, ties=True, **settings))


def open_everywhere(prop: Property) -> Evidence:
    region = prop.regions[0]
    return Evidence(undecided={prop.name: Boxes(region.lower[None], region.upper[None])})


def boxes_of_the_proof(net: Network, prop: Property) -> int:
    verdict = verify(net, prop, settings=effort(), replays=[Engine(net)])
    assert isinstance(verdict, Proved)
    return verdict.boxes


def test_a_proof_out_of_reach_becomes_one_box() -> None:
    net, prop = never_low(0.02)
    repair = method(net, prop, tied_decisions=0.05, tied_outputs=0.1)
    first = repair.propose(Evidence(), timeout_s=60, watch=Unwatched())
    assert not repair.tied
    second = repair.propose(open_everywhere(prop), timeout_s=60, watch=Unwatched())
    assert set(repair.tied) == {prop.name}
    (told,) = repair.ties()
    assert (told.output, told.property) == (2, prop.name)
    assert boxes_of_the_proof(second, prop) == 1 < boxes_of_the_proof(first, prop)


def test_a_tie_of_the_first_candidate_is_made_even_where_no_input_asks_for_a_step() -> None:
    """Evidence of another method comes with the first call; what is told has to be what was done."""
    net, prop = never_low(0.5)
    repair = method(net, prop, tied_decisions=0.05, tied_outputs=0.1)
    after = repair.propose(open_everywhere(prop), timeout_s=60, watch=Unwatched())
    ((tie,),) = repair.tied.values()
    y = evaluate(after, torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert float((y.double() @ tie.row).std()) < 1e-6


@pytest.mark.parametrize("limit", ["tied_decisions", "tied_outputs"])
def test_a_tie_that_costs_too_much_is_not_made(limit: str) -> None:
    net, prop = never_low(0.02)
    prices = {"tied_decisions": 1.0, "tied_outputs": 10.0} | {limit: -1.0}
    repair = method(net, prop, **prices)
    repair.propose(open_everywhere(prop), timeout_s=60, watch=Unwatched())
    assert not repair.tied


def test_a_tie_beyond_the_limit_on_changes_is_not_made_and_that_is_told() -> None:
    net, prop = never_low(0.5)
    repair = method(net, prop, tied_decisions=0.05, tied_outputs=0.1)
    free = repair.propose(open_everywhere(prop), timeout_s=60, watch=Unwatched())
    moved = (free.value("W2") - net.value("W2")).detach().norm() / net.value("W2").detach().norm()
    assert repair.tied
    assert not repair.remarks()
    repair = method(net, prop, tied_decisions=0.05, tied_outputs=0.1)
    repair.task = replace(repair.task, max_change=float(moved) / 2)
    repair.propose(open_everywhere(prop), timeout_s=60, watch=Unwatched())
    assert not repair.tied
    assert "--max-change" in repair.remarks()[0]


def test_an_output_layer_that_is_no_initialiser_of_its_own_is_not_tied() -> None:
    """A scaled copy would have to be moved through whatever scales it."""
    rng = np.random.default_rng(1)
    tensors = {
        "W0": rng.normal(size=(2, 6)),
        "W1": rng.normal(size=(6, 3)),
        "B1": rng.normal(size=3),
        "s": np.full(3, 2),
    }
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    hidden = [("MatMul", ["x", "W0"], "m0", {}), ("Relu", ["m0"], "r0", {}), ("MatMul", ["r0", "W1"], "m1", {})]
    own = graph_net([*hidden, ("Add", ["m1", "B1"], "y", {})], tensors, (1, 2))
    assert Trained(own, 10_000).output_layer() is not None
    scaled = [*hidden, ("Add", ["m1", "B1"], "a1", {}), ("Mul", ["a1", "s"], "y", {})]
    assert Trained(graph_net(scaled, tensors, (1, 2)), 10_000).output_layer() is None
