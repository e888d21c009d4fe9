"""Networks and properties between files, torch and memory: what is kept exactly, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given

import birdnn
from birdnn.api.loading import PROPERTY, network_bytes, path_of
from birdnn.formats.onnx import layers_to_onnx, network_from_layers
from tests.formats.test_nnet import TEXT
from tests.strategies import decimals

LAYERS = [(np.eye(2), np.array([0.5, 0.0])), (np.ones((1, 2)), np.array([-1.0]))]
HALF = {"lower": [0], "upper": [1], "unsafe": [([[1]], [0])]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A network whose file says who made it."""
    path = tmp_path / "net.onnx"
    model = onnx.load_from_string(layers_to_onnx(LAYERS))
    model.producer_name = "somebody"
    path.write_bytes(model.SerializeToString())
    return path


def producer(data: bytes) -> str:
    return str(onnx.load_from_string(data).producer_name)


def test_what_is_loaded_is_given_back_as_it_is(file: Path) -> None:
    net = birdnn.load_network(file)
    assert birdnn.load_network(net) is net
    prop = birdnn.box_property("p", **HALF)  # type: ignore[arg-type]
    assert birdnn.load_property(prop) is prop


def test_a_module_does_not_say_what_its_input_is_like() -> None:
    with pytest.raises(birdnn.MismatchError, match=r"input_shape is missing: .*load_network\(module, input_shape="):
        birdnn.load_network(torch.nn.Linear(2, 1))


def test_the_shape_of_a_vector_may_be_a_number() -> None:
    assert birdnn.load_network(torch.nn.Linear(3, 1), input_shape=3).n_inputs == 3


@pytest.mark.parametrize("given", [3, np.eye(2), birdnn.box_property("p", **HALF)])
def test_what_is_no_file_is_refused_in_words(given: object) -> None:
    """While tests run types are checked before; whoever calls birdnn has this alone."""
    with pytest.raises(birdnn.InputError, match=f"^a property, as a file, .* is expected, not {type(given).__name__}$"):
        path_of(PROPERTY, given)


def test_a_module_that_takes_something_else_than_the_property_says() -> None:
    """Nobody said the shape that torch complains about: the property did."""
    with pytest.raises(birdnn.MismatchError, match=r"^property 'p' has 1 input, and a module.*_shape=\(\.\.\.\)"):
        birdnn.verify(torch.nn.Linear(2, 1), birdnn.box_property("p", **HALF))


def test_a_property_prints_in_a_line() -> None:
    assert repr(birdnn.box_property("p", **HALF)) == "Property('p', 1 input, 1 output, 1 region)"


def test_a_file_is_written_with_the_values_of_now_and_keeps_the_rest(file: Path, tmp_path: Path) -> None:
    net = birdnn.load_network(file)
    with torch.no_grad():
        net.value(next(name for name, value in net.initialisers().items() if value.shape == (1,))).add_(4.0)
    data = network_bytes(net)
    assert producer(data) == "somebody"
    (tmp_path / "new.onnx").write_bytes(data)
    x = torch.tensor([[1.0, 2.0]])
    assert birdnn.load_network(tmp_path / "new.onnx")(x).item() == net(x).item() == 1.5 + 2.0 - 1.0 + 4.0
    assert birdnn.load_network(file)(x).item() == 2.5


@pytest.mark.parametrize("became", ["gone", "damaged", "another network"])
def test_a_network_whose_file_is_no_longer_its_own_is_written_anew(file: Path, became: str) -> None:
    """Its numbers in another graph would be another network, or none."""
    net = birdnn.load_network(file)
    if became == "gone":
        file.unlink()
    else:
        file.write_bytes(b"?" if became == "damaged" else layers_to_onnx(LAYERS, "Tanh"))
    data = network_bytes(net)
    assert producer(data) != "somebody"
    file.write_bytes(data)
    assert birdnn.load_network(file)(torch.tensor([[1.0, 2.0]])).item() == 2.5


def test_an_nnet_file_becomes_onnx(tmp_path: Path) -> None:
    path, out = tmp_path / "net.nnet", tmp_path / "net.onnx"
    path.write_text(TEXT)
    birdnn.save_network(path, out)
    x = torch.tensor([[0.25, -0.5]])
    assert torch.equal(birdnn.load_network(out)(x), birdnn.load_network(path)(x))


def test_a_network_of_no_file_can_be_written_anywhere(tmp_path: Path) -> None:
    out = tmp_path / "made.onnx.gz"
    birdnn.save_network(network_from_layers(LAYERS), out)
    assert birdnn.load_network(out)(torch.tensor([[-1.0, 2.0]])).item() == 1.0
    birdnn.save_network(network_from_layers(LAYERS[:1]), out)  # another one, over it
    assert birdnn.load_network(out).n_outputs == 2


def test_without_a_repaired_file_there_is_no_repaired_module() -> None:
    with pytest.raises(birdnn.MismatchError, match="the outcome's result says why"):
        birdnn.repaired_module(torch.nn.Linear(2, 1), None)


def test_the_file_of_a_property_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "p.vnnlib"
    birdnn.save_property(birdnn.box_property("p", **HALF), file)  # type: ignore[arg-type]
    with pytest.raises(birdnn.OutputError, match="never overwritten"):
        birdnn.save_property(birdnn.load_property(file), file)


def test_the_text_of_a_property_is_one_line() -> None:
    """A line break would end the comment, and the rest would be read as formula."""
    made = birdnn.box_property("p", **HALF, text=" Y_0 stays\n(assert (<= X_0 0))\t high ")  # type: ignore[arg-type]
    assert made.text == "; Y_0 stays (assert (<= X_0 0)) high"
    assert birdnn.box_property("p", **HALF).text == ""  # type: ignore[arg-type]


def test_several_polytopes_of_several_rows() -> None:
    unsafe = [([[1, 0], [0, 1]], [0, 0]), (np.array([[-1.0, 0.0]]), np.array([-5.0]))]
    made = birdnn.box_property("p", lower=[0], upper=[1], unsafe=unsafe)
    assert (made.n_inputs, made.n_outputs) == (1, 2)
    inside = [(-1.0, -1.0), (0.0, 0.0), (5.0, 1.0), (6.0, 1.0)]
    outside = [(-1.0, 1.0), (1.0, -1.0), (4.0, 9.0)]
    assert [made.violated([0.5], y) for y in (*inside, *outside)] == [True] * 4 + [False] * 3
    assert not made.violated([1.5], (0.0, 0.0))


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (" 0.1 ", Fraction(1, 10)),
        ("1e-2", Fraction(1, 100)),
        (0.1, Fraction(0.1)),
        (np.float32(0.1), Fraction(float(np.float32(0.1)))),
        (np.int64(2**60), Fraction(2**60)),
        (2**60 + 1, Fraction(2**60 + 1)),
        (Decimal("0.1"), Fraction(1, 10)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_a_number_stands_for_itself(value: Any, exact: Fraction) -> None:
    made = birdnn.box_property("p", lower=[value], upper=[2**61], unsafe=[([[value]], [value])])
    (region,) = made.regions
    assert region.exact_lower == (exact,)
    assert (region.unsafe[0].rows[0].coefficients, region.unsafe[0].rows[0].bound) == ((exact,), exact)


@given(value=decimals())
def test_decimals_as_text(value: Fraction) -> None:
    said = f"{float(value):.3f}"
    assert birdnn.box_property("p", **{**HALF, "lower": [said], "upper": [3]}).regions[0].exact_lower == (value,)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "inf", "1/0", "", None, Decimal("NaN"), 1j, "0x1"])
def test_what_is_no_finite_number(value: Any) -> None:
    with pytest.raises(birdnn.SpecError, match=r"^p: lower: "):
        birdnn.box_property("p", **{**HALF, "lower": [value]})


@pytest.mark.parametrize("value", [[], 0, [[0]]])
def test_a_corner_is_a_list_of_numbers(value: Any) -> None:
    with pytest.raises(birdnn.SpecError, match=r"p: upper: an array of 1 dimension\(s\) is expected, not one of shape"):
        birdnn.box_property("p", **{**HALF, "upper": value})
