"""Networks that end with a softmax of which only the order is asked, or whose logarithm of which only differences."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.pipeline.deciding import verify_files
from birdnn.records import Proved, VerifySettings
from birdnn.spec import Polytope, Property, Row
from birdnn.verify import compared
from birdnn.verify.compared import left_out_remark, without_tail
from tests.bounds.builders import make_property
from tests.formats.models import dense, model, node


def classifier(*tail: str, shape: tuple[int, ...] = (1, 3), **options: int) -> bytes:
    """Two layers, three logits, and what comes behind them."""
    tensors = {**dense(np.random.default_rng(5), 2, 6, 3), "n": np.array(shape, np.int64)}
    nodes = [node("MatMul", ["x", "W0"], "m0"), node("Add", ["m0", "B0"], "a0"), node("Relu", ["a0"], "r0")]
    nodes += [node("MatMul", ["r0", "W1"], "m1"), node("Add", ["m1", "B1"], "a1"), node("Reshape", ["a1", "n"], "l")]
    value = "l"
    for place, op in enumerate(tail):
        last = "y" if place == len(tail) - 1 else f"t{place}"
        nodes.append(node(op, [value], last, **({"axis": 1} if op == "Flatten" else options)))
        value = last
    return model(nodes, tensors, (1, 2), opset=13)


def asked(*rows: tuple[list[int], float]) -> Property:
    made = [Row(tuple(map(Fraction, coefficients)), Fraction(bound)) for coefficients, bound in rows]
    return make_property([-1, -1], [1, 1], Polytope(rows=tuple(made), n_outputs=3))


ORDER = asked(([1, -1, 0], 0), ([0, -2, 2], 0))
DIFFERENCE = asked(([1, -1, 0], 2))
SINGLE = asked(([1, 0, 0], 0))


def ends(net: Network) -> str:
    return net.nodes[-1].op


@pytest.mark.parametrize("tail", [("Softmax",), ("LogSoftmax",), ("Softmax", "Flatten"), ("Softmax", "LogSoftmax")])
def test_what_keeps_the_order_is_left_out(tail: tuple[str, ...]) -> None:
    net = network_from_onnx(classifier(*tail))
    front = without_tail(net, ORDER, "real")
    assert ends(front) == "Reshape"
    assert front.n_outputs == net.n_outputs
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()
    polytope = ORDER.regions[0].unsafe[0]
    assert torch.equal(polytope.margin(front(x)) <= 0, polytope.margin(net(x)) <= 0)
    assert {tail[0], tail[-1]} - {"Flatten"} <= set(left_out_remark(net, ORDER, "real").replace(";", " ").split())


def test_differences_are_those_of_the_logarithm_only() -> None:
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    net = network_from_onnx(classifier("LogSoftmax"))
    front = without_tail(net, DIFFERENCE, "real")
    assert torch.allclose(front(x)[:, 0] - front(x)[:, 1], net(x)[:, 0] - net(x)[:, 1])
    other = network_from_onnx(classifier("Softmax"))
    assert without_tail(other, DIFFERENCE, "real") is other


@pytest.mark.parametrize(
    ("prop", "semantics", "data"),
    [
        (SINGLE, "real", classifier("Softmax")),
        (SINGLE, "real", classifier("LogSoftmax")),
        (asked(([1, 1, -2], 0)), "real", classifier("Softmax")),
        (ORDER, "float32", classifier("Softmax")),
        (ORDER, "real", classifier("Softmax", shape=(1, 3, 1), axis=2)),
        (ORDER, "real", classifier("Relu")),
    ],
)
def test_what_matters_stays(prop: Property, semantics, data: bytes) -> None:
    """A threshold, three outputs, an execution that may make equals of different numbers, another axis."""
    net = network_from_onnx(data)
    assert without_tail(net, prop, semantics) is net
    assert left_out_remark(net, prop, semantics) == ""


def test_rows_are_what_they_were_when_this_was_written() -> None:
    """A row with further terms, of inputs for instance, must be looked at by `compared._survives_softmax` as well."""
    assert {field.name for field in fields(Row)} == {"coefficients", "bound", "strict"}


def question(tmp_path: Path, *assertions: str) -> Path:
    lines = [f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2")]
    lines += [f"(assert ({sign} X_{i} {end}))" for i in (0, 1) for sign, end in ((">=", "-0.05"), ("<=", "0.05"))]
    path = tmp_path / "asked.vnnlib"
    path.write_text("\n".join([*lines, *(f"(assert {text})" for text in assertions)]) + "\n")
    return path


def test_decided_on_the_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proved at once with the sentence that says why; without it, by intervals of probabilities, not in as many."""
    (tmp_path / "net.onnx").write_bytes(classifier("Softmax"))
    logits = network_from_onnx(classifier("Softmax"))(torch.zeros(1, 2))[0]
    least, most = int(logits.argmin()), int(logits.argmax())
    prop = question(tmp_path, f"(>= Y_{least} Y_{most})")
    outcome = verify_files(tmp_path / "net.onnx", [prop], settings=VerifySettings(timeout_s=60))
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    assert any("Softmax changes nothing" in line for line in outcome.notes)
    monkeypatch.setattr(compared, "_survives_softmax", lambda *_, **__: False)
    other = verify_files(tmp_path / "net.onnx", [prop], settings=VerifySettings(timeout_s=60))
    assert not any("Softmax" in line for line in other.notes)


def test_a_violation_is_one_of_the_file(tmp_path: Path) -> None:
    """The witness has the file's outputs: probabilities."""
    (tmp_path / "net.onnx").write_bytes(classifier("Softmax"))
    logits = network_from_onnx(classifier("Softmax"))(torch.zeros(1, 2))[0]
    least, most = int(logits.argmin()), int(logits.argmax())
    prop = question(tmp_path, f"(<= Y_{least} Y_{most})")
    witness = (
        verify_files(tmp_path / "net.onnx", [prop], settings=VerifySettings(timeout_s=60)).verdicts[0].counterexample
    )
    assert witness is not None
    assert abs(sum(witness.y) - 1) < 1e-5
    assert witness.exactly is True
