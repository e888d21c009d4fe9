"""Which semantics a proof has: what was asked, what a query is over, else what has certificates."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_layers, network_from_onnx
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.pipeline.claims import (
    assumption_notes,
    assumptions,
    is_chain,
    network_semantics,
    query_semantics,
    require_semantics,
    semantics_note,
)
from birdnn.rounding import Semantics
from tests.bounds.builders import convolution, graph_net
from tests.formats.models import model, node
from tests.pipeline.subjects import above

REAL, SINGLE = above(1.0, "real"), replace(above(1.0, "single"), element="float32")


@cache
def network(kind: str) -> Network:
    """A chain in float32, one in float64, a graph that is none."""
    if kind == "graph":
        return convolution(0, "residual")
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(3, 2)), rng.normal(size=3)), (rng.normal(size=(1, 3)), rng.normal(size=1))]
    return network_from_layers(layers, "Sigmoid", dtype=np.float64 if kind == "double" else np.float32)


def test_a_graph_with_branches_is_no_chain() -> None:
    assert [is_chain(network(kind)) for kind in ("single", "double", "graph")] == [True, True, False]


@pytest.mark.parametrize(
    ("kind", "asked", "props", "found"),
    [
        ("single", None, (), "float32"),
        ("single", "real", (), "real"),
        ("single", "real", (SINGLE,), "real"),
        ("single", None, (REAL, SINGLE), "float32"),
        ("double", None, (REAL,), "real"),
        ("double", "real", (), "real"),
        ("graph", None, (REAL,), "real"),
        ("graph", None, (REAL, SINGLE), "float32"),
        ("graph", "float32", (), "float32"),
    ],
)
def test_a_proof_speaks_about_what_was_asked_or_else_what_there_is(
    kind: str, asked: Semantics | None, props: tuple, found: Semantics
) -> None:
    assert network_semantics(network(kind), asked, props) == found


@pytest.mark.parametrize(("asked", "props"), [("float32", ()), (None, (REAL, SINGLE))])
def test_a_network_in_float64_has_no_execution_in_float32(asked: Semantics | None, props: tuple) -> None:
    with pytest.raises(MismatchError, match="this one has float64"):
        network_semantics(network("double"), asked, props)


@pytest.mark.parametrize(
    ("kind", "semantics", "asked", "told"),
    [
        ("graph", "real", None, 1),
        ("graph", "real", "real", 0),
        ("graph", "float32", None, 0),
        ("double", "real", None, 0),
    ],
)
def test_reals_are_told_of_where_the_form_of_the_graph_chose_them(
    kind: str, semantics: Semantics, asked: Semantics | None, told: int
) -> None:
    notes = semantics_note(network(kind), semantics, asked)
    assert len(notes) == told
    assert all("--semantics float32 asks for them" in note for note in notes)


def test_one_query_over_float32_makes_all_proofs_speak_of_it() -> None:
    assert query_semantics([], None) == query_semantics([REAL], None) == "real"
    assert query_semantics([REAL, SINGLE], None) == "float32"
    assert query_semantics([REAL, SINGLE], "float32") == "float32"
    assert query_semantics([REAL], "float32") == "float32"


def test_a_proof_over_the_reals_answers_no_query_over_float32() -> None:
    with pytest.raises(MismatchError, match=r"'single' is a query over float32.*choose semantics float32"):
        query_semantics([REAL, SINGLE], "real")
    for prop, semantics in ((REAL, "real"), (REAL, "float32"), (SINGLE, "float32")):
        require_semantics(prop, semantics)


def test_what_is_assumed_of_a_runtime_is_what_the_table_measured() -> None:
    function = operator("Sigmoid").function
    assert function is not None
    net, error = network("single"), function.float32_error
    assert assumptions(net, "float32") == {"sigmoid": error}
    assert assumptions(net, "real") == {}
    (note,) = assumption_notes(net, "float32")
    assert f"its sigmoid errs by at most {error:g}" in note
    assert assumption_notes(net, "real") == ()
    assert assumptions(network("graph"), "float32") == {}


def test_nothing_is_assumed_of_what_was_computed_once() -> None:
    """A function of constants is none of the runs that a proof speaks about."""
    nodes = [node("Sigmoid", ["c"], "s"), node("Tanh", ["x"], "t"), node("Add", ["t", "s"])]
    net = network_from_onnx(model(nodes, {"c": np.zeros((1, 2), np.float32)}, (1, 2)))
    assert list(assumptions(net, "float32")) == ["tanh"]


def test_a_graph_of_one_function_is_no_chain_of_affine_maps() -> None:
    residual = graph_net([("Relu", ["x"], "r", {}), ("Add", ["x", "r"], "y", {})], {}, (1, 2))
    assert not is_chain(residual)
    assert network_semantics(residual, None) == "real"
