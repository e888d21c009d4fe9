"""Which repair methods are tried in which order, and what a request may ask of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.pipeline.case import Case
from birdnn.pipeline.methods import Stage, front_of, stages, with_method
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import RepairRequest
from birdnn.repair import RepairTask
from birdnn.spec import Property
from tests.bounds.builders import graph_net, half_space, make_property, random_net
from tests.formats.models import model, node
from tests.pipeline.subjects import asked, case_of, loaded_model, named
from tests.repair.tasks import task_of

SMALL = random_net(0, (2, 4, 3))
BARE = graph_net([("Relu", ["x"], "y", {})], {}, (1, 2))
"""Its outputs are made by no affine map."""
COMPARED = make_property([0.0, 0.0], [1.0, 1.0], half_space([1, -1, 0], 0))
THRESHOLD = make_property([0.0, 0.0], [1.0, 1.0], half_space([-1, 0, 0], -1))
WIDE = make_property([0.0] * 25, [1.0] * 25, half_space([1, -1, 0], 0))
SETTINGS = RepairSettings(rounds=8, early_rounds=4, rounds_before_ties=2, early_growth=1.5)


def request(method: str = "auto", **more: object) -> RepairRequest:
    made = RepairRequest(net=Path("net.onnx"))
    # not by its constructor, which refuses while tests run what users may well say
    for name, value in ({"method": method} | more).items():
        object.__setattr__(made, name, value)
    return made


# --- what may be asked for


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"method": "magic"}, "method 'magic' is unknown; known: auto"),
        ({"optimiser": "luck"}, "optimiser 'luck' is unknown; known: .*pso"),
        ({"alpha": -0.01}, "alpha -0.01 is no share: give a number from 0 to 1"),
        ({"alpha": 1.01}, "alpha 1.01 is no share"),
        ({"alpha": math.nan}, "alpha nan is no share"),
        ({"method": "finetune", "optimiser": "pso", "top": 5}, "--top 5: the network has 4 hidden neurons"),
        ({"method": "finetune", "optimiser": "cmaes", "top": 0}, "--top 0: .*give a number from 1 to 4"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, object], words: str) -> None:
    with pytest.raises(MismatchError, match=words):
        with_method(request(**said), SMALL, SMALL)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_all_neurons_of_a_small_network_are_modified_where_nobody_says_how_many(alpha: float) -> None:
    told = with_method(request("finetune", optimiser="pso", alpha=alpha), SMALL, SMALL)
    assert told.top == 4
    assert with_method(request("finetune", optimiser="pso", top=2), SMALL, SMALL).top == 2
    assert with_method(request("finetune", optimiser="lp", top=99), SMALL, SMALL).top == 99


@pytest.mark.parametrize(("method", "refused"), [("finetune", True), ("retrain", False), ("auto", False)])
def test_a_linear_program_needs_an_affine_map_at_the_end_of_what_is_trained(method: str, refused: bool) -> None:
    told = request(method, optimiser="lp")
    assert with_method(told, BARE, SMALL) == told
    if refused:
        with pytest.raises(MismatchError, match="use --optimiser pso or cmaes"):
            with_method(told, SMALL, BARE)
    else:
        assert with_method(told, SMALL, BARE) == told


# --- what is trained


def softmax_case(folder: Path, *props: Property) -> Case:
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(2, 3)).astype(np.float32)}
    nodes = [node("MatMul", ["x", "w"], "z"), node("Softmax", ["z"], axis=1)]
    return case_of(loaded_model(folder, model(nodes, weights, (1, 2))), *asked(*props))


def test_a_softmax_is_left_out_where_all_properties_compare_outputs(tmp_path: Path) -> None:
    case = softmax_case(tmp_path, COMPARED, named("again", COMPARED))
    assert [step.op for step in front_of(case).nodes] == ["MatMul"]


@pytest.mark.parametrize("props", [(COMPARED, named("level", THRESHOLD)), (named("level", THRESHOLD), COMPARED)])
def test_one_property_about_a_value_keeps_it(tmp_path: Path, props: tuple[Property, ...]) -> None:
    case = softmax_case(tmp_path, *props)
    assert front_of(case) is case.loaded.net


# --- in which order


def tried(asked_for: RepairRequest, prop: Property, *, goals: int = 1, domain: bool = True) -> list[Stage]:
    net: Network = random_net(0, (prop.n_inputs, 4, 3))
    task: RepairTask = task_of(net, prop)
    task = task if domain else replace(task, domain=None)
    case = Case.__new__(Case)  # whose properties are counted, and nothing else of it until a method is made
    object.__setattr__(case, "subjects", asked(*(named(str(number), prop) for number in range(goals))))
    object.__setattr__(case, "related", ())
    return stages(asked_for, case, task, (), SETTINGS)


def names(found: list[Stage]) -> list[tuple[str, int]]:
    return [(stage.name, stage.rounds) for stage in found]


@pytest.mark.parametrize(
    ("said", "prop", "goals", "found"),
    [
        (request("finetune", optimiser="bias"), COMPARED, 1, [("finetune:bias", 8)]),
        (request("retrain", no_ties=True), COMPARED, 1, [("retrain", 8)]),
        (request("retrain"), COMPARED, 1, [("retrain", 2), ("retrain, ties allowed", 8)]),
        (request("retrain", no_ties=True), WIDE, 1, [("retrain, all layers", 4), ("retrain", 8)]),
        (
            request(no_ties=True),
            COMPARED,
            9,
            [("finetune:lp", 4), ("retrain, output layer", 4), ("retrain", 8)],
        ),
        (
            request(),
            COMPARED,
            1,
            [
                ("finetune:lp", 4),
                ("retrain, output layer", 2),
                ("retrain", 2),
                ("retrain, output layer, ties allowed", 4),
                ("retrain, ties allowed", 8),
            ],
        ),
        (
            request(no_ties=True),
            WIDE,
            8,
            [("finetune:lp", 2), ("retrain, all layers", 4), ("retrain, output layer", 4), ("retrain", 8)],
        ),
        (
            request(no_ties=True),
            WIDE,
            9,
            [("retrain, all layers", 4), ("finetune:lp", 1), ("retrain, output layer", 4), ("retrain", 8)],
        ),
    ],
)
def test_cheap_methods_come_first(
    said: RepairRequest, prop: Property, goals: int, found: list[tuple[str, int]]
) -> None:
    assert names(tried(said, prop, goals=goals)) == found


def test_ties_are_the_last_resort_and_need_a_domain_to_be_judged_on() -> None:
    assert [stage.last_resort for stage in tried(request(), COMPARED)] == [False, False, False, True, True]
    assert names(tried(request(), COMPARED, domain=False)) == names(tried(request(no_ties=True), COMPARED))


def test_the_last_method_alone_may_go_on_without_a_limit() -> None:
    *early, last = tried(request(no_ties=True), WIDE)
    assert {stage.growth for stage in early} == {1.5}
    assert last.growth == math.inf
    (only,) = tried(request("finetune", optimiser="lp"), COMPARED)
    assert only.growth == math.inf


def test_25_inputs_that_vary_are_many_and_24_are_few() -> None:
    fixed = make_property([0.0] * 25, [0.0, *[1.0] * 24], half_space([1, -1, 0], 0))
    assert names(tried(request("retrain", no_ties=True), fixed)) == [("retrain", 8)]


def test_methods_are_made_as_the_request_says(tmp_path: Path) -> None:
    task = task_of(SMALL, COMPARED)
    case = softmax_case(tmp_path, COMPARED)
    settings = replace(SETTINGS, retrain=replace(SETTINGS.retrain, domain_points=50, region_points=50))

    def made(said: RepairRequest) -> list:
        return [stage.make() for stage in stages(said, case, task, (), settings)]

    (bias,) = made(request("finetune", optimiser="bias"))
    (lp,) = made(request("finetune", optimiser="lp"))
    assert (bias.settings.biases_only, lp.settings.biases_only) == (True, False)
    plain, tying = made(request("retrain", pairing="output"))
    assert (plain.settings.ties, tying.settings.ties) == (False, True)
    assert {one.settings.pairing for one in (plain, tying)} == {"output"}
