"""Two files read together: which of them speaks for both, where they are compared, and what cannot be."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from birdnn.compare.pair import DOMAIN, read_pair
from birdnn.errors import MismatchError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.records import CompareRequest
from tests.compare.files import linear, unit_domain
from tests.formats.test_nnet import TEXT, replaced, written

PROP = (
    "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)"
    "(assert (>= X_0 0.25))(assert (<= X_0 0.5))(assert (>= X_1 0))(assert (<= X_1 1))(assert (>= Y_0 100))"
)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """Two inputs, one output."""
    return linear(tmp_path / "a.onnx", [[1, 2]], [0])


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        ([[1, 2, 3]], r"a\.onnx has 2 inputs, .*b\.onnx has 3; only networks with the same numbers"),
        ([[1, 2], [3, 4]], r"a\.onnx has 1 output, .*b\.onnx has 2; only networks with the same numbers"),
    ],
)
def test_other_inputs_or_outputs(one: Path, tmp_path: Path, weight: list[list[float]], told: str) -> None:
    other = linear(tmp_path / "b.onnx", weight, [0.0] * len(weight))
    with pytest.raises(MismatchError, match=told):
        read_pair(CompareRequest(before=one, after=other))


def test_the_domain_comes_first_then_each_property(one: Path, tmp_path: Path) -> None:
    (tmp_path / "p.vnnlib").write_text(PROP)
    pair = read_pair(
        CompareRequest(before=one, after=one, props=(tmp_path / "p.vnnlib",), domain=unit_domain(tmp_path, 2))
    )
    domain, region = pair.places()
    assert (domain.name, domain.subject, domain.regions[0].unsafe) == (DOMAIN, None, ())
    assert (domain.regions[0].exact_lower, domain.regions[0].exact_upper) == ((0, 0), (1, 1))
    assert (region.name, region.regions[0].exact_lower[0]) == ("p", Fraction(1, 4))
    assert region.subject is pair.case.subjects[0]
    without = read_pair(CompareRequest(before=one, after=one, props=(tmp_path / "p.vnnlib",)))
    assert [place.name for place in without.places()] == ["p"]
    assert read_pair(CompareRequest(before=one, after=one)).places() == ()


def test_a_property_that_is_called_like_the_domain(one: Path, tmp_path: Path) -> None:
    """Figures are told by the name of their place."""
    (tmp_path / "domain.vnnlib").write_text(PROP)
    pair = read_pair(
        CompareRequest(before=one, after=one, props=(tmp_path / "domain.vnnlib",), domain=unit_domain(tmp_path, 2))
    )
    names = [place.name for place in pair.places()]
    assert names[0] == DOMAIN
    assert len(set(names)) == 2


def test_both_are_run_in_float32_and_stay_as_they_were_read(one: Path, tmp_path: Path) -> None:
    other = linear(tmp_path / "b.onnx", [[1, 2]], [0.5])
    pair = read_pair(CompareRequest(before=one, after=other))
    before, after = pair.run(torch.tensor([[0.25, 1.0], [1.0, 0.0]]))
    assert (before.tolist(), after.tolist()) == ([[2.25], [1.0]], [[2.75], [1.5]])
    assert before.dtype == after.dtype == torch.float32
    pair.nets[0].double()
    assert next(iter(pair.before.net.values().values())).dtype == torch.float32
    assert pair.semantics == "float32"


@pytest.mark.parametrize("which", ["A", "B"])
def test_outputs_that_are_no_numbers_are_refused(one: Path, tmp_path: Path, which: str) -> None:
    steep = linear(tmp_path / "b.onnx", [[1e30, 0]], [0])
    before, after = (steep, one) if which == "A" else (one, steep)
    pair = read_pair(CompareRequest(before=before, after=after))
    pair.run(torch.tensor([[0.5, 0.0]]))
    with pytest.raises(
        MismatchError, match=rf"b\.onnx: network {which} has no finite output at the input 1e\+09, 0\.5$"
    ):
        pair.run(torch.tensor([[0.5, 0.0], [1e9, 0.5]]))
    pair.run(torch.zeros(0, 2))


def test_networks_of_other_types_are_compared_over_the_reals(one: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.onnx"
    value = numpy_helper.from_array(np.ones((2, 1)), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", 1])],
        [value],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), wide)
    assert read_pair(CompareRequest(before=one, after=wide)).semantics == "real"


def test_who_brings_a_header_speaks_for_both(one: Path, tmp_path: Path) -> None:
    """Domain and units are those of the NNet file, whichever of the two it is."""
    headed = written(tmp_path, TEXT)
    for before, after in ((one, headed), (headed, one)):
        pair = read_pair(CompareRequest(before=before, after=after))
        assert pair.case.loaded.path == headed
        assert pair.case.corners is not None
    assert read_pair(CompareRequest(before=one, after=one)).case.loaded.path == one


def test_numbers_of_other_units_are_not_compared(tmp_path: Path) -> None:
    headed = written(tmp_path, TEXT)
    close = written(tmp_path, replaced(9, "20.0,0.1,300.0001,"), "close.nnet")
    other = written(tmp_path, replaced(9, "20.0,0.1,301.0,"), "other.nnet")
    assert read_pair(CompareRequest(before=headed, after=close)).before.path == headed
    for before, after in ((headed, other), (other, headed)):
        with pytest.raises(MismatchError, match="normalise their inputs or outputs differently"):
            read_pair(CompareRequest(before=before, after=after))


def test_what_was_inferred_is_said(tmp_path: Path) -> None:
    demo = Path(__file__).resolve().parents[2] / "birdnn" / "data" / "demo.onnx"
    other = tmp_path / "other.onnx"
    other.write_bytes(layers_to_onnx([(np.ones((5, 5)), np.zeros(5))]))
    said = read_pair(CompareRequest(before=other, after=demo)).notes
    assert [line for line in said if line.startswith("The weights of B are those of")]
    assert not [line for line in said if line.startswith("The weights of A")]
    assert [line for line in said if "compared in their regions and not decided" in line]
    named = read_pair(CompareRequest(before=other, after=other, suite="acasxu", as_name="N1,1")).notes
    assert "Taken as N1,1 of suite acasxu (--as)." in named
