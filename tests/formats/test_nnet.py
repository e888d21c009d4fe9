"""NNet files: the same network as the ONNX files, exact constants, errors with line numbers."""

from __future__ import annotations

import gzip
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.chain import Affine
from birdnn.errors import FormatError, MismatchError, OutputError
from birdnn.formats import read_network, write_network
from birdnn.formats.nnet import read_nnet, write_nnet
from birdnn.formats.onnx import network_from_layers, network_from_onnx, read_onnx
from birdnn.formats.vnnlib import parse_property, read_property
from birdnn.spec import Property
from tests.formats.models import run

F = Fraction

TEXT = """// a comment
// another
2,2,1,3,
2,3,1,
0,
-10.0,0.5,
10.0,1.5,
1.0,1.0,7.5,
20.0,0.1,300.0,
1.0,-2.0,
0.5,0.25,
0.0,3.5e-1,
0.5,
-0.5,
0.0,
1.0,2.0,-1.0,
0.125,
"""
LINES = TEXT.splitlines()


def written(folder: Path, text: str, name: str = "net.nnet") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def replaced(number: int, line: str) -> str:
    """TEXT with another line of this number, counted from 1."""
    return "\n".join([*LINES[: number - 1], line, *LINES[number:]]) + "\n"


def test_by_hand(tmp_path: Path) -> None:
    """Normalised in, normalised out; constants exact as written."""
    nnet = read_nnet(written(tmp_path, TEXT))
    net = nnet.network
    assert net.repairable == {"W0", "B0", "W1", "B1"}
    assert (net.n_inputs, net.n_outputs, net.source) == (2, 1, str(tmp_path / "net.nnet"))
    x = [0.5, -0.25]
    hidden = [max(0.5 + 0.5 + 0.5, 0), max(0.25 - 0.0625 - 0.5, 0), max(-0.0875, 0)]
    expected = hidden[0] + 2 * hidden[1] - hidden[2] + 0.125
    assert net(torch.tensor([x])).item() == pytest.approx(expected, abs=1e-6)
    assert nnet.evaluate(np.array(x)).tolist() == pytest.approx([expected], abs=1e-6)
    scaling = nnet.require_scaling()
    assert scaling.input_ranges == (20, F(1, 10))
    assert (scaling.output_mean, scaling.output_range) == (F(15, 2), 300)
    assert nnet.ranges == ((-10, F(1, 2)), (10, F(3, 2)))
    lower, upper = nnet.domain() or ()
    assert lower.tolist() == [-0.55, -5.0]
    assert upper.tolist() == [0.45, 5.0]


def phi(low: str, high: str) -> Property:
    return parse_property(
        f"(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)"
        f"(assert (and (>= X_0 {low}) (<= X_0 {high}) (= X_1 0) (<= Y_0 0)))",
        name="phi",
    )


def test_a_region_beyond_the_header_warns(tmp_path: Path) -> None:
    """The network is not clipped; tools that clip compute something else there."""
    nnet = read_nnet(written(tmp_path, TEXT))
    assert nnet.warnings(phi("-0.5500000001", "0.45")) == ()
    (line,) = nnet.warnings(phi("-0.55", "0.5"))
    assert line.startswith("property 'phi' takes input 0 to [-10, 11] (raw units), beyond the header's range [-10, 10]")
    raw = phi("-10", "11").scaled(nnet.require_scaling())
    assert len(nnet.warnings(raw)) == 2  # X_1 = 0 is 0.5 below its range in raw units
    with pytest.raises(MismatchError):
        nnet.warnings(parse_property("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 0))"))


def test_onnx_export_for_replay(tmp_path: Path) -> None:
    """onnxruntime on the export and NumPy on the file's numbers agree."""
    nnet = read_nnet(written(tmp_path, TEXT))
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    assert np.allclose(run(nnet.onnx_bytes(), x), nnet.evaluate(x), atol=1e-6)
    assert network_from_onnx(nnet.onnx_bytes()).repairable == nnet.network.repairable


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_nine_digits_identify_a_float32(tmp_path: Path, value: float) -> None:
    """Written and read back, a weight is the same; the header is kept to the letter."""
    original, out = written(tmp_path, TEXT), tmp_path / "out.nnet"
    out.unlink(missing_ok=True)
    net = read_nnet(original).network.with_values({"B1": torch.tensor([value])})
    write_nnet(net, original, out)
    text = out.read_text().splitlines()
    assert text[:9] == LINES[:9]
    assert len(text) == len(LINES)
    assert np.float32(text[-1].rstrip(",")) == np.float32(value)


def test_writing(tmp_path: Path) -> None:
    """Read back equal, compressed too; never over the input; never another network's values."""
    original = written(tmp_path, TEXT)
    net = read_network(original)
    changed = net.with_values({"W0": net.value("W0").detach() * 1.1})
    write_network(changed, original, tmp_path / "out.nnet.gz")
    again = read_network(tmp_path / "out.nnet.gz")
    assert all(torch.equal(value, again.value(name)) for name, value in changed.initialisers().items())
    with pytest.raises(OutputError, match="never overwritten"):
        write_network(changed, original, original)
    with pytest.raises(MismatchError, match="layers"):
        write_nnet(network_from_layers([(np.eye(2), np.zeros(2))]), original, tmp_path / "bad.nnet")
    other = network_from_layers([(np.ones((2, 2)), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))])
    with pytest.raises(MismatchError, match="'W0' of shape"):
        write_nnet(other, original, tmp_path / "bad.nnet")
    spoiled = net.with_values({"B1": torch.tensor([float("nan")])})
    with pytest.raises(MismatchError, match="NaN"):
        write_nnet(spoiled, original, tmp_path / "bad.nnet")
    assert not (tmp_path / "bad.nnet").exists()


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (replaced(3, "two,2,1,3,"), "line 3", "'two' is no integer"),
        (replaced(3, "2,2,1,"), "line 3", "4 numbers are expected, not 3"),
        (replaced(3, "999999999,2,1,3,"), "line 3", "no integer from 1 to"),
        (replaced(3, "2000,2,1,3,"), "line 3", "2000 layers are more than"),
        (replaced(4, "2,3,2,"), "line 4", "do not start with 2 and end with 1"),
        (replaced(4, "2,1000000,1,"), "line 17", "the file ends before the 1000000 weight rows"),
        (replaced(4, "2,-3,1,"), "line 4", "'-3' is no integer"),
        (replaced(3, "2.5,2,1,3,"), "line 3", "'2.5' is no integer"),
        (replaced(5, "0,0"), "line 5", "flag: 1 numbers are expected, not 2"),
        ("\n".join([*LINES[:4], "", *LINES[6:16]]), "line 6", "flag: 1 numbers are expected, not 2"),
        (replaced(10, "1.0,inf,"), "line 10", "weights: 'inf' is no finite float32"),
        (replaced(10, "1.0,nan,"), "line 10", "'nan' is no finite"),
        (replaced(10, "1.0,1e39,"), "line 10", "'1e39' is no finite"),
        (replaced(10, "1.0,1_0,"), "line 10", "'1_0' is no finite"),
        (replaced(10, "1.0,"), "line 10", "weights: 2 numbers are expected, not 1"),
        (replaced(13, "0.5,0.5,"), "line 13", "bias: 1 numbers are expected"),
        (TEXT + "1.0,\n", "line 18", "goes on after the last bias"),
        ("\n".join(LINES[:15]) + "\n", "line 15", "the file ends"),
        ("// only\n", "line 1", "the file ends where layer count"),
        ("only words\nand more, of them\n", "line 2", "the file ends where layer count"),
    ],
)  # fmt: skip
def test_errors_name_the_line(tmp_path: Path, text: str, place: str, message: str) -> None:
    """One clear message."""
    with pytest.raises(FormatError) as caught:
        read_nnet(written(tmp_path, text))
    assert message in caught.value.problem
    assert caught.value.place == place


HEADERS = {
    "more values than inputs": (None, None, {6: "-10,0.5,0,0", 7: "10,1.5,0,0", 8: "1,1,0,0,7.5"}, "line 8"),
    "no value for outputs": (True, None, {8: "1.0,1.0", 9: "20.0,0.1"}, "line 8"),
    "range 0": (True, None, {9: "20.0,0.0,300.0"}, "line 9"),
    "NaN among means": (True, None, {8: "1.0,NaN,7.5"}, "line 8"),
    "zeros": (None, None, {3: "2", 5: "0", 6: "0", 7: "0", 8: "0", 9: "0"}, "line 8"),
    "infinite bounds": (None, True, {6: "-Inf,-inf", 7: "Inf,inf"}, ""),
    "minimum above maximum": (None, True, {6: "-10.0,1.6"}, ""),
    "integers with a point": (True, True, {3: "2.0,2.0,1.0,3.0", 4: "2.,3.0,1e0"}, ""),
    "text without slashes": (True, True, {1: "Default header text.", 2: "of a tool, made in May"}, ""),
    "an empty flag": (True, True, {5: ""}, ""),
    "a blank line beside the flag": (True, True, {5: "\n0,"}, ""),
    "a flag of a comma": (True, True, {5: ","}, ""),
    "a byte order mark": (True, True, {1: "\u00ef\u00bb\u00bf3,4"}, ""),
    "Latin-1": (True, True, {1: "// \u00e0 la fran\u00e7aise"}, ""),
}
"""Name: are ranges and scaling known, other lines by their number, and the line that raw units complain of."""


@pytest.mark.parametrize("name", HEADERS)
def test_odd_headers(tmp_path: Path, name: str) -> None:
    """The network is the same; who needs what the header does not hold is told the line; what is written keeps it."""
    ranges, scaling, others, place = HEADERS[name]
    if name == "a byte order mark":
        others = {1: others[1].removesuffix("3,4") + LINES[0]}
    text = "\n".join(others.get(number, line) for number, line in enumerate(LINES, 1)) + "\n"
    path = tmp_path / "odd.nnet"
    path.write_bytes(text.encode("latin-1"))
    plain, odd = read_nnet(written(tmp_path, TEXT)), read_nnet(path)
    assert all(torch.equal(value, odd.network.value(key)) for key, value in plain.network.values().items())
    assert ((odd.ranges is not None) or None, (odd.scaling is not None) or None) == (ranges, scaling)
    assert (odd.domain() is not None) == (bool(ranges) and bool(scaling))
    if not (ranges and scaling):
        assert odd.warnings(phi("-99", "99")) == ()
    if scaling is None:
        with pytest.raises(FormatError, match="raw units need it, --units normalised does not") as caught:
            odd.require_scaling()
        assert caught.value.place == place
    else:
        assert odd.require_scaling() == plain.scaling
    write_nnet(odd.network, path, tmp_path / "out.nnet")
    head = text.partition("\n1.0,-2.0,")[0]
    assert (tmp_path / "out.nnet").read_bytes().startswith(head.encode("latin-1"))
    assert read_nnet(tmp_path / "out.nnet").scaling == odd.scaling


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    """By extension, by content without one; anything else is refused."""
    for name in ("net", "net.nnet", "net.NNET", "net.txt"):
        assert read_network(written(tmp_path, TEXT, name)).n_inputs == 2
    (tmp_path / "net.nnet.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert read_network(tmp_path / "net.nnet.gz").n_inputs == 2
    with pytest.raises(FormatError, match=r"expected \(.onnx or .nnet, also with .gz\), not .csv"):
        read_network(written(tmp_path, "1,2,3", "net.csv"))
    with pytest.raises(FormatError, match="no such file"):
        read_network(tmp_path / "absent")
    (tmp_path / "binary.nnet").write_bytes(b"\xff\xff")
    with pytest.raises(FormatError, match="the file ends where layer count"):
        read_network(tmp_path / "binary.nnet")


@pytest.mark.acasxu
def test_nnet_and_onnx_hold_the_same_weights(acasxu: Path) -> None:
    """The three NNet files and their ONNX twins, weight for weight."""
    for name in ("1_1", "1_9", "2_9"):
        nnet = read_nnet(acasxu / "nnet" / f"ACASXU_experimental_v2a_{name}.nnet")
        onnx = read_onnx(acasxu / "onnx" / f"ACASXU_run2a_{name}_batch_2000.onnx")
        for ours, theirs in zip(nnet.network.chain(), onnx.chain(), strict=True):
            if isinstance(ours, Affine):
                assert isinstance(theirs, Affine)
                assert torch.equal(ours.weight, theirs.weight)
                assert torch.equal(ours.bias, theirs.bias)
        assert nnet.require_scaling().output_range == F("373.94992")
        (line,) = nnet.warnings(read_property(acasxu / "vnnlib" / "prop_6.vnnlib"))
        assert "input 0 to [12000, 62000]" in line
        assert nnet.warnings(read_property(acasxu / "vnnlib" / "prop_8.vnnlib")) == ()
