"""Which networks have an execution in float32 that can be spoken of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.pipeline.claims import network_semantics
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.reading import read_case
from birdnn.records import CaseFiles, Proved, VerifySettings
from birdnn.verify import SearchSettings, require_float32, verify
from tests.bounds.builders import half_space, make_property
from tests.formats.models import model, node
from tests.formats.test_onnx_operators import floats, quantised

FAR = make_property([-1.0] * 4, [1.0] * 4, half_space([1.0, 0.0, 0.0], -1e6))


def behind_layout() -> bytes:
    """An integer weight that reaches its product by way of a transposition."""
    nodes = [node("DequantizeLinear", ["q", "s"], "w"), node("Transpose", ["w"], "t"), node("MatMul", ["x", "t"])]
    return model(nodes, {"q": np.array([[3, -5, 7, 1]] * 3, np.int32), "s": np.float32(0.1)}, opset=13)


def folded() -> bytes:
    """Integers that become the attribute of a node, so that no value of the graph is made of them."""
    nodes = [node("MatMul", ["x", "v"], "h"), node("DequantizeLinear", ["q", "s"], "w"), node("PRelu", ["h", "w"])]
    return model(nodes, {"q": np.array([3], np.int8), "s": np.float32(0.1), "v": floats(4, 3)}, opset=13)


@pytest.mark.parametrize("data", [quantised(np.int8), quantised(np.uint8, axis=0), behind_layout(), folded()])
def test_products_with_integers_have_none(data: bytes) -> None:
    """Whatever the samples show: which products a runtime computes in integers is a matter of its version."""
    net = network_from_onnx(data)
    changed: Network = net.copy()
    for one in (net, changed):
        with pytest.raises(MismatchError, match=r"of 'w', which DequantizeLinear makes of integers.* semantics real"):
            require_float32(one)
    with pytest.raises(MismatchError, match="choose semantics real"):
        verify(net, FAR, settings=SearchSettings(semantics="float32"), replays=[])
    assert isinstance(verify(net, FAR, settings=SearchSettings(semantics="real"), replays=[OnnxReplay(data)]), Proved)
    assert network_semantics(net, None) == "real"
    (told,) = net.notes
    assert told.startswith("DequantizeLinear makes 'w' of integers; a runtime may compute with these integers instead")


def test_on_files(tmp_path: Path) -> None:
    """What is decided speaks about the reals, and says why; who asks for runs is refused."""
    net, prop = tmp_path / "net.onnx", tmp_path / "prop.vnnlib"
    net.write_bytes(quantised(np.int8))
    declared = [f"(declare-const X_{i} Real)" for i in range(4)] + [f"(declare-const Y_{i} Real)" for i in range(3)]
    boxes = [f"(assert (<= X_{i} 1.0))\n(assert (>= X_{i} 0.0))" for i in range(4)]
    prop.write_text("\n".join([*declared, *boxes, "(assert (<= Y_0 -1000.0))"]))
    outcome = verify_files(net, [prop], settings=VerifySettings())
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    assert outcome.settings.semantics == "real"
    assert any("DequantizeLinear makes 'w'" in note for note in outcome.notes)
    with pytest.raises(MismatchError, match="DequantizeLinear makes of integers"):
        verify_files(net, [prop], settings=VerifySettings(semantics="float32"))
    with pytest.raises(MismatchError, match="DequantizeLinear makes of integers"):
        read_case(CaseFiles(net=net, props=(prop,), semantics="float32"))
    assert read_case(CaseFiles(net=net, props=(prop,))).semantics == "real"
