"""Fine-tuning heals a planted neuron with every activation; one program changes the last layer least."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from birdnn.errors import MismatchError
from birdnn.localize import localize
from birdnn.network import Network, weights_sha256
from birdnn.neurons import Neuron, neurons
from birdnn.records import Progress, Unwatched
from birdnn.repair import (
    Evidence,
    Finetune,
    FinetuneSettings,
    LastLayer,
    LinearSettings,
    Repairer,
    Retrain,
    RetrainSettings,
)
from birdnn.repair.program import Matrix, Output, least_absolute
from birdnn.sample import evaluate
from birdnn.spec import Polytope, Property, Region, Row
from tests.bounds.builders import make_property, property_of, random_net
from tests.localize.planted import PLANTED, Planted, planted
from tests.repair.graphs import a_graph
from tests.repair.tasks import mean_change, task_of, violating

ACTIVATIONS = ["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh"]
SMALL = {"evaluations": 600, "healed_points": 200, "domain_points": 400, "region_points": 200}


class Stopped(Unwatched):
    """The user has pressed Ctrl-C."""

    def stopped(self) -> bool:
        return True


def bad_neuron(activation: str) -> Planted:
    """The network that is planted, without what makes up for its neuron's output at rest: at 0 times it is safe."""
    case = planted(activation)
    return Planted(case.net.with_values({"B2": torch.zeros(2)}), case.region)


def tuned(net: Network, region: Region, optimiser: str, *, seed: int = 0) -> Finetune:
    """The method on a planted network, its neurons ranked as `localize` ranks them."""
    found = planted_ranking(net, region)
    settings = FinetuneSettings(optimiser=optimiser, top=5, **SMALL)
    return Finetune(task_of(net, property_of(region), decision="none", seed=seed), settings, found)


def planted_ranking(net: Network, region: Region) -> list[Neuron]:
    return [entry.neuron for entry in localize(net, *Planted(net, region).samples(0)).ranking()]


@pytest.mark.thorough
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("optimiser", ["pso", "cmaes"])
def test_a_planted_neuron_is_healed(activation: str, optimiser: str) -> None:
    case = bad_neuron(activation)
    method = tuned(case.net, case.region, optimiser)
    assert isinstance(method, Repairer)
    assert PLANTED in method.neurons
    assert violating(case.net, case.region) > 0.03
    after = method.propose(Evidence(), timeout_s=120, watch=Unwatched())
    assert violating(after, case.region) < 5e-4
    factors = dict(zip(method.neurons, method.change.tolist(), strict=True))
    assert factors[PLANTED] < -0.5
    assert len(method.negatives()["made up"]) > 100


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_planted_neuron_is_healed_by_the_last_layer(activation: str) -> None:
    case = bad_neuron(activation)
    method = LastLayer(task_of(case.net, property_of(case.region), decision="none"), LinearSettings())
    assert isinstance(method, Repairer)
    after = method.propose(Evidence(), timeout_s=120, watch=Unwatched())
    assert violating(after, case.region) < 5e-4
    x = torch.rand(500, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(evaluate(after, x)[:, 1], evaluate(case.net, x)[:, 1])  # no unsafe set names output 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_control_shifts_one_output_and_heals_as_well(activation: str) -> None:
    """At the price that the comparison is to show: every output value of that output moves."""
    case = bad_neuron(activation)
    task = task_of(case.net, property_of(case.region), decision="none")
    after = LastLayer(task, LinearSettings(biases_only=True)).propose(Evidence(), timeout_s=120, watch=Unwatched())
    assert violating(after, case.region) < 5e-4
    x = torch.rand(500, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = evaluate(after, x) - evaluate(case.net, x)
    assert float(moved[:, 0].std()) < 1e-4 < float(moved[:, 0].abs().mean())
    assert float(moved[:, 1].abs().max()) == 0
    least = LastLayer(task, LinearSettings()).propose(Evidence(), timeout_s=120, watch=Unwatched())
    assert mean_change(case.net, least, case.region) < mean_change(case.net, after, case.region)


@pytest.mark.thorough
def test_a_change_within_the_limit_is_found_where_the_best_one_is_beyond_it() -> None:
    """Cut off at the limit, the best change heals nothing; a dearer one lies within it and heals."""
    case = bad_neuron("LeakyRelu")
    task = task_of(case.net, property_of(case.region), decision="none")

    def healed(limit: float) -> tuple[float, float]:
        """How far the last layer moved, as a share of its size, and the share that still violates."""
        method = LastLayer(replace(task, max_change=limit), LinearSettings())
        after = method.propose(Evidence(), timeout_s=120, watch=Unwatched())
        assert not method.remarks()
        moved, size = method.change.norm(), method.trained.original.norm()
        return float(moved / size), violating(after, case.region)

    far, left = healed(100.0)
    assert left == 0
    near, left = healed(0.9 * far)
    assert near <= 0.9 * far
    assert left == 0


@pytest.mark.thorough
@pytest.mark.parametrize("optimiser", ["pso", "cmaes", "lp"])
def test_a_seed_repeats(optimiser: str) -> None:
    case = bad_neuron("Tanh")

    def once() -> str:
        task = task_of(case.net, property_of(case.region), decision="none")
        method = LastLayer(task, LinearSettings()) if optimiser == "lp" else tuned(case.net, case.region, optimiser)
        return weights_sha256(method.propose(Evidence(), timeout_s=120, watch=Unwatched()))

    assert once() == once() != weights_sha256(case.net)


@pytest.mark.parametrize("optimiser", ["pso", "cmaes", "lp"])
@pytest.mark.parametrize("why", ["interrupted", "no time"])
def test_it_ends_when_told_with_what_it_has(optimiser: str, why: str) -> None:
    case = bad_neuron("Relu")
    task = task_of(case.net, property_of(case.region), decision="none")
    method = LastLayer(task, LinearSettings()) if optimiser == "lp" else tuned(case.net, case.region, optimiser)
    begun = time.monotonic()
    watch, seconds = (Stopped(), 60.0) if why == "interrupted" else (Unwatched(), 0.0)
    after = method.propose(Evidence(), timeout_s=seconds, watch=watch)
    assert time.monotonic() - begun < 50
    assert mean_change(case.net, after, case.region) < 1e-6


def test_an_interruption_ends_a_search_after_its_batch() -> None:
    case = bad_neuron("Relu")

    class Soon:
        asked = 0

        def update(self, progress: Progress) -> None:
            """Not asked for."""

        def stopped(self) -> bool:
            self.asked += 1
            return self.asked > 3

    method = tuned(case.net, case.region, "pso")
    watch = Soon()
    method.propose(Evidence(), timeout_s=60.0, watch=watch)
    assert watch.asked < 8


def test_a_counterexample_of_the_proof_is_put_right() -> None:
    """The hunt is blind here: what the proof found is all that can be learnt."""
    net = random_net(8, (2, 16, 3))
    row = Row((Fraction(-1), Fraction(1), Fraction(0)), Fraction(0))
    prop = make_property([-1, -1], [1, 1], Polytope(rows=(row,), n_outputs=3))
    task = task_of(net, prop)
    blind = type(task)(
        net=net,
        goals=task.goals,
        domain=task.domain,
        decision="argmax",
        resample=lambda net, inside, generator, thorough: torch.empty(0, 2),
    )
    x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(4)) * 2 - 1
    bad = x[prop.regions[0].margin(evaluate(net, x)) <= 0][:1]
    assert len(bad) == 1
    for method in (
        LastLayer(blind, LinearSettings()),
        Finetune(blind, FinetuneSettings(top=10, **SMALL), neurons(net)),
    ):
        for aim in method.aims:
            aim.samples = 0
        after = method.propose(Evidence(points={"made up": bad}), timeout_s=60, watch=Unwatched())
        assert float(prop.regions[0].margin(evaluate(after, bad))) > 0


def test_what_is_preserved_is_the_users_data_too() -> None:
    case = bad_neuron("Relu")
    data = torch.rand(50, 16, generator=torch.Generator().manual_seed(5)) + 1  # beyond the region
    task = replace(task_of(case.net, property_of(case.region)), domain=None, data=data)
    method = Finetune(task, FinetuneSettings(top=5, **SMALL), neurons(case.net))
    assert torch.equal(method.preserved[-1].x, data)


def test_a_softmax_that_changes_nothing_is_left_out_of_the_search() -> None:
    net, front = a_graph("two heads", softmax=True), a_graph("two heads")
    row = Row((Fraction(1), Fraction(-1), Fraction(0), Fraction(0)), Fraction(0))
    prop = make_property([-1] * 16, [1] * 16, Polytope(rows=(row,), n_outputs=4))
    method = Finetune(replace(task_of(net, prop), front=front), FinetuneSettings(top=3, **SMALL), neurons(net))
    x = torch.rand(9, 16, generator=torch.Generator().manual_seed(5))
    assert torch.equal(evaluate(method.teacher, x), evaluate(front, x))
    after = method.propose(Evidence(), timeout_s=60, watch=Unwatched())
    assert torch.allclose(evaluate(after, x).sum(1), torch.ones(len(x)))
    assert float(method.change.abs().max()) > 0


# --- the linear program


def test_the_program_is_the_one_with_a_variable_for_each_absolute_value() -> None:
    """Its dual is solved; here the primal, written out."""
    rng = np.random.default_rng(0)
    columns = [np.array([0, 2, 3]), np.array([1, 2, 4, 5])]  # both outputs move with the third unknown
    parts = [
        Output(columns=c, features=rng.normal(size=(30, len(c))), weights=rng.uniform(0.5, 1.5, 30)) for c in columns
    ]
    rows, wanted = rng.normal(size=(6, 6)), rng.uniform(0, 1, size=6)
    found = least_absolute(parts, rows, wanted)
    assert found is not None
    assert (rows @ found >= wanted - 1e-8).all()
    cost = sum(float(part.weights @ np.abs(part.features @ found[part.columns])) for part in parts)

    n = 60
    block = np.zeros((n, 6))
    for number, part in enumerate(parts):
        block[30 * number : 30 * number + 30, part.columns] = part.features
    primal = linprog(
        np.concatenate([np.zeros(6), *(part.weights for part in parts)]),
        A_ub=np.block(
            [
                [block, -np.eye(n)],
                [-block, -np.eye(n)],
                [-rows, np.zeros((6, n))],
            ]
        ),
        b_ub=np.concatenate([np.zeros(2 * n), -wanted]),
        bounds=[(None, None)] * 6 + [(0, None)] * n,
        method="highs",
    )
    assert cost == pytest.approx(primal.fun, rel=1e-2)
    assert cost >= primal.fun - 1e-9


def single(features: Matrix, weights: Matrix) -> list[Output]:
    """One output, which every unknown moves."""
    return [Output(columns=np.arange(features.shape[1]), features=features, weights=weights)]


def test_what_ranges_over_the_points_has_a_price() -> None:
    """A bias heals as well as a weight does, at a mean cost that is higher: with a price on the range it is taken."""
    x = np.linspace(0.0, 1.0, 41)
    parts = single(np.stack([x, np.ones(41)], 1), np.ones(41) / 41)  # d[0] x + d[1]
    rows, wanted = np.array([[1.0, 1.0]]), np.array([1.0])  # at x = 1
    cheap, even = (least_absolute(parts, rows, wanted, spread=spread) for spread in (0.0, 2.0))
    assert cheap is not None
    assert even is not None
    change = parts[0].features @ cheap
    assert np.abs(change).mean() < 0.5
    assert np.ptp(change) > 1
    assert even == pytest.approx([0.0, 1.0], abs=1e-3)


def test_contradicting_constraints_still_have_an_answer() -> None:
    rows = np.array([[1.0, 0.0], [-1.0, 0.0]])
    found = least_absolute(single(np.eye(2), np.ones(2) / 2), rows, np.array([1.0, 1.0]))
    assert found is not None
    assert np.abs(found).max() <= 1 + 1e-6


def test_what_is_not_finite_counts_for_nothing() -> None:
    rows, wanted = np.array([[1.0, 1.0], [np.inf, 0.0], [1.0, 0.0]]), np.array([1.0, 1.0, np.nan])
    features, weights = np.array([[1.0, 0.0], [0.0, 4.0], [np.nan, 1.0]]), np.ones(3) / 3
    found = least_absolute(single(features, weights), rows, wanted)
    assert found is not None
    assert np.allclose(found, [1.0, 0.0])
    assert least_absolute(single(features[2:], weights[2:]), rows, wanted) is None


def test_a_solver_without_time_changes_nothing() -> None:
    assert least_absolute(single(np.eye(2), np.ones(2)), np.ones((1, 2)), np.ones(1), seconds=0.0) is None


def prop_of(*polytopes: Polytope) -> Property:
    return make_property([-1, -1], [1, 1], *polytopes)


def row(*coefficients: int) -> Row:
    return Row(tuple(Fraction(c) for c in coefficients), Fraction(0))


def polytope(*rows: Row) -> Polytope:
    return Polytope(rows=rows, n_outputs=3)


@pytest.mark.parametrize(
    ("polytopes", "expected"),
    [
        # output 0 is not maximal: each row names it
        ((polytope(row(-1, 1, 0), row(-1, 0, 1)),), [(0,)]),
        # 0 or 1 is minimal: both would do
        ((polytope(row(-1, 0, 1), row(0, -1, 1)),), [(2,)]),
        ((polytope(row(-1, 1, 0)), polytope(row(-1, 0, 0), row(0, 1, 0))), [(0,), (1,)]),
        # no single output can help with both
        ((polytope(row(1, 0, 0)), polytope(row(0, 0, 1))), [(0, 2)]),
    ],
)
def test_outputs_that_can_help(polytopes: tuple[Polytope, ...], expected: list[tuple[int, ...]]) -> None:
    method = LastLayer(task_of(random_net(8, (2, 6, 3)), prop_of(*polytopes)), LinearSettings(domain_points=100))
    assert [outputs for outputs, _ in method.alternatives] == [o for o in expected for _ in range(2)]


def test_every_hard_input_satisfies_what_is_asked_and_outputs_move_no_more_than_by_retraining() -> None:
    net = random_net(8, (2, 16, 16, 3))
    probe = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    most = Fraction(float(torch.quantile(evaluate(net, probe)[:, 0], 0.95)))
    high = Row((Fraction(-1), Fraction(0), Fraction(0)), -most)
    prop = prop_of(polytope(high))
    linear = LastLayer(task_of(net, prop, decision="none"), LinearSettings())
    retrain = Retrain(task_of(net, prop, decision="none"), RetrainSettings(domain_points=1000, region_points=500))
    after, other = (m.propose(Evidence(), timeout_s=60, watch=Unwatched()) for m in (linear, retrain))
    (aim,) = linear.aims
    assert len(aim.pool) > 100
    assert float(aim.region.margin(evaluate(after, aim.pool)).min()) >= 0.5 * aim.margin
    region = prop.regions[0]
    assert violating(after, region) == violating(other, region) == 0
    assert mean_change(net, after, region) <= mean_change(net, other, region)


# --- bad input


def test_more_neurons_than_there_are() -> None:
    case = bad_neuron("Relu")
    task = task_of(case.net, property_of(case.region))
    with pytest.raises(MismatchError, match=r"--top 49: .* 48 hidden neurons .* from 1 to 48"):
        Finetune(task, FinetuneSettings(top=49), neurons(case.net))
    with pytest.raises(MismatchError, match="3 neurons are to be modified, 2 were ranked"):
        Finetune(task, FinetuneSettings(top=3), [PLANTED, PLANTED, Neuron("active_0", 1)])


def test_progress_says_what_lacks() -> None:
    case = bad_neuron("Relu")
    said: list[Progress] = []

    class Listening(Unwatched):
        def update(self, progress: Progress) -> None:
            said.append(progress)

    tuned(case.net, case.region, "cmaes").propose(Evidence(), timeout_s=60, watch=Listening())
    assert said
    assert {progress.phase for progress in said} == {"modifying neurons"}
    assert "lacks" in said[0].detail
