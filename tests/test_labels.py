"""Networks that end with ArgMax: read as what it reads, and asked what the property asks of the label."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from birdnn.crosscheck.onnxruntime import LabelReplay, OnnxReplay
from birdnn.errors import FormatError, MismatchError, UnsupportedOpError
from birdnn.formats.labels import Label, with_output
from birdnn.formats.onnx import network_from_onnx
from birdnn.formats.vnnlib import parse_property
from birdnn.graph import Taken
from birdnn.labels import label_of_values, property_of_values
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved, VerifySettings, Violated
from birdnn.spec import Property
from tests.formats.label_cases import TAILS, classifier, typed
from tests.formats.models import model, node

FORMULAS = (
    "(<= Y_0 2)", "(< Y_0 2)", "(>= Y_0 1.5)", "(= Y_0 3)", "(or (<= Y_0 0.5) (>= Y_0 1.5))", "(<= Y_0 -1)",
    "(>= Y_0 0)", "(or (= Y_0 0) (= Y_0 3))", "(<= (* -2 Y_0) -5)", "(and (>= Y_0 1) (<= Y_0 2))",
)  # fmt: skip


def asked(formula: str, n: int = 2, *, end: str = "1", relating: bool = False) -> str:
    names = [f"X_{i}" for i in range(n)]
    text = "".join(f"(declare-const {name} Real)\n" for name in (*names, "Y_0"))
    text += "".join(f"(assert (>= {name} -{end}))(assert (<= {name} {end}))\n" for name in names)
    return f"{text}(assert {formula})\n"


def unsafe(prop: Property, k: int) -> bool:
    return any(p.holds((Fraction(k),)) for p in prop.regions[0].unsafe)


@pytest.mark.parametrize("taken", ["first", "last"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_label_is_unsafe_where_its_values_are(formula: str, taken: Taken) -> None:
    """Of all values in a small grid, ties among them: no more and no fewer than the definition says."""
    prop = parse_property(asked(formula, 1), name="p")
    values = property_of_values(prop, 4, taken)
    assert values.n_outputs == 4
    for y in itertools.product((0.0, 1.0, 2.0), repeat=4):
        array = np.array(y) if taken == "first" else np.array(y)[::-1]
        place = int(array.argmax()) if taken == "first" else 3 - int(array.argmax())
        assert label_of_values(y, taken) == place
        assert values.violated([0.0], y) == unsafe(prop, place), (y, place)


def test_few_comparisons() -> None:
    """One label that must come out is a comparison with each other one, as people write it; of many none is taken."""
    (region,) = property_of_values(
        parse_property(asked("(or (<= Y_0 3.5) (>= Y_0 4.5))", 1), name="p"), 10, "first"
    ).regions
    assert [len(p.rows) for p in region.unsafe] == [1] * 9
    (region,) = property_of_values(parse_property(asked("(= Y_0 4)", 1), name="p"), 10, "first").regions
    assert [len(p.rows) for p in region.unsafe] == [9]
    with pytest.raises(MismatchError, match="500 of 1000 labels are unsafe"):
        property_of_values(parse_property(asked("(< Y_0 500)", 1), name="p"), 1000, "first")


def test_beside_inputs() -> None:
    prop = parse_property(asked("(and (<= X_0 X_1) (<= Y_0 1))"), name="p", relating=True)
    values = property_of_values(prop, 3, "first")
    assert (values.n_outputs, values.named_outputs) == (5, 3)
    for x, y in itertools.product(((0.0, 0.5), (0.5, 0.0)), itertools.product((0.0, 1.0), repeat=3)):
        assert values.violated(x, y) == (x[0] <= x[1] and int(np.argmax(y)) <= 1)
    with pytest.raises(MismatchError, match="relates the label that the network gives with inputs"):
        property_of_values(parse_property(asked("(<= Y_0 X_1)"), name="p", relating=True), 3, "first")


@pytest.mark.parametrize("name", TAILS)
def test_the_label_of_what_is_read_is_that_of_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(TAILS[name])
    loaded = load_network(path)
    assert loaded.net.n_outputs == 4
    assert loaded.net.graph.label == ("last" if name == "last" else "first")
    assert "The network gives a label: its one output Y_0 is the place" in loaded.net.notes[0]
    session = OnnxReplay(TAILS[name])
    (replay,) = loaded.replays
    for x in torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)):
        y = replay(x.numpy())
        assert y.shape == (4,)
        assert label_of_values(y.tolist(), loaded.net.graph.label or "first") == int(session(x.numpy())[0])
        assert np.allclose(y, loaded.net(x[None]).detach().numpy()[0], atol=1e-5)


def test_what_is_no_label_of_all_values() -> None:
    two = [node("Reshape", ["x", "n"], "r"), node("ArgMax", ["r"], axis=1)]
    with pytest.raises(FormatError, match="one label of all its entries is supported"):
        network_from_onnx(typed(model(two, {"n": np.array([2, 2], np.int64)}, (1, 4))))
    inside = [node("ArgMax", ["x"], "k", axis=1), node("Cast", ["k"], "f", to=TensorProto.FLOAT), node("Exp", ["f"])]
    with pytest.raises(UnsupportedOpError, match="where it makes the one label"):
        network_from_onnx(model(inside, {}, (1, 4)))
    narrow = [node("ArgMax", ["x"], "k", axis=1), node("Cast", ["k"], to=TensorProto.BOOL)]
    with pytest.raises(FormatError):
        network_from_onnx(typed(model(narrow, {}, (1, 4)), TensorProto.BOOL))


@pytest.mark.parametrize(
    ("name", "semantics"),
    [("alone", "real"), ("alone", "float32"), ("last", "real"), ("last", "float32"), ("softmax", "real")],
)
def test_verdicts_agree_with_a_grid(name: str, semantics, tmp_path: Path) -> None:
    """What a grid of runs violates is never proved, and a witness is one of the file."""
    path, answers = tmp_path / "net.onnx", set()
    path.write_bytes(TAILS[name])
    session = OnnxReplay(TAILS[name])
    for end, formula in itertools.product(("0.02", "1"), FORMULAS):
        prop = tmp_path / "p.vnnlib"
        prop.write_text(asked(formula, end=end))
        made = parse_property(prop.read_text())
        side = np.linspace(-float(end), float(end), 9, dtype=np.float32)
        found = {int(session(np.array(x))[0]) for x in itertools.product(side, side)}
        settings = VerifySettings(timeout_s=20, semantics=semantics)
        outcome = verify_files(path, [prop], settings=settings).verdicts[0]
        answers.add(type(outcome.verdict))
        violated = any(unsafe(made, k) for k in found)
        if isinstance(outcome.verdict, Proved):
            assert not violated
        if isinstance(outcome.verdict, Violated):
            (given,) = outcome.verdict.witness.y
            assert int(session(np.array(outcome.verdict.witness.x, np.float32))[0]) == given
            assert unsafe(made, int(given))
    assert answers >= {Proved, Violated}


def test_more_than_one_output_of_a_property(tmp_path: Path) -> None:
    net, prop = tmp_path / "net.onnx", tmp_path / "p.vnnlib"
    net.write_bytes(classifier())
    prop.write_text(
        asked("(<= Y_0 Y_1)").replace("(declare-const Y_0 Real)", "(declare-const Y_0 Real)(declare-const Y_1 Real)")
    )
    with pytest.raises(MismatchError, match="speaks about 2 inputs and 2 outputs"):
        load_property(prop, load_network(net), "normalised")


def test_a_label_that_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run it is no evidence; a file whose label is read wrongly is refused."""
    values = with_output(onnx.load_model_from_string(classifier(seed=6)), "l").SerializeToString()
    mixed, own, other = LabelReplay(classifier(), values, "first"), OnnxReplay(classifier()), OnnxReplay(values)
    lost = 0
    for x in np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32):
        differ = int(own(x)[0]) != int(other(x).argmax())
        lost += differ
        assert np.isnan(mixed(x)).all() == np.isnan(mixed(x)).any() == differ
    assert lost
    monkeypatch.setattr("birdnn.formats.onnx.label_of", lambda graph: Label("x", "node", 1, "first"))
    with pytest.raises(FormatError, match="differ: its label is"):
        network_from_onnx(classifier())


def test_values_made_of_each_other_are_refused() -> None:
    """Whoever looks behind a label for what makes it does not go round for ever."""
    nodes = [helper.make_node("Identity", ["Y"], ["Z"]), helper.make_node("Identity", ["Z"], ["Y"])]
    ends = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2])] for name in "XY"]
    made = helper.make_model(helper.make_graph(nodes, "g", *ends), opset_imports=[helper.make_opsetid("", 13)])
    with pytest.raises(FormatError, match="nodes form a circle"):
        network_from_onnx(made.SerializeToString())
