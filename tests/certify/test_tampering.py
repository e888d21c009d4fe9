"""A wrong certificate, or the right one for something else, is rejected, and for the reason that is wrong."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from birdnn.certify.check import Rejected, Settings, check, files
from birdnn.errors import FormatError
from tests.certify.cases import network, property_text, sha256
from tests.certify.producer import certificate, change_column, column, uncolumn, write

UNSAFE = "(or (and (>= Y_0 -0.02) (<= Y_1 50)) (and (< Y_1 -0.66) (> Y_0 -50)))"


@dataclass
class Case:
    """The files of an accepted certificate, for a test to spoil."""

    net: Path
    prop: Path
    path: Path
    data: dict[str, Any]

    @property
    def region(self) -> dict[str, Any]:
        return self.data["proofs"][0]["regions"][0]

    def edit(self, *keys: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change a column of the region."""
        change_column(self.region, *keys, change=change)

    def again(self) -> None:
        """Take over the hashes of network and property, so that what they say is what is wrong."""
        self.data["network"]["sha256"] = sha256(self.net)
        self.data["proofs"][0]["property"]["sha256"] = sha256(self.prop)


def make(folder: Path) -> Case:
    """An accepted certificate with cuts, faces, slopes, two polytopes and float32 semantics."""
    net = network(folder / "net.onnx", [2, 8, 8, 2], seed=5)
    prop = folder / "prop.vnnlib"
    prop.write_text(property_text(2, 2, UNSAFE))
    data = certificate(net, [prop], "float32", slopes=0.4)
    assert data is not None
    return Case(net, prop, folder / "it.json.gz", data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make(tmp_path_factory.mktemp("tampering"))


@pytest.fixture
def case(made: Case, tmp_path: Path) -> Case:
    copies = [tmp_path / path.name for path in (made.net, made.prop)]
    for old, new in zip((made.net, made.prop), copies, strict=True):
        new.write_bytes(old.read_bytes())
    return Case(*copies, tmp_path / "it.json.gz", copy.deepcopy(made.data))


def _drop_last(values: np.ndarray) -> np.ndarray:
    return values[:-1]


def _set(index: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[index] = value
        return values

    return change


def _edit(*keys: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], None]:
    return lambda case: case.edit(*keys, change=change)


def _put(value: Any, *keys: str | int) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        place: Any = case.data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return spoil


PROOF = ("proofs", 0)
REGION = (*PROOF, "regions", 0)


def _drop_subtree(case: Case) -> None:
    """The last cut becomes a leaf."""
    axis = uncolumn(case.region["axis"])
    node = np.nonzero(axis != 65535)[0][-1]
    axis[node] = 65535
    case.region["axis"] = column(axis[:-2], "<u2")
    case.edit("cut", change=_drop_last)
    items = case.region["items"]
    counts = uncolumn(items["slopes"])
    keep = uncolumn(items["node"]) < len(axis) - 2
    polytopes = uncolumn(items["polytope"])
    rows = np.array([len(p) for p in case.region["unsafe"]])[polytopes]
    for name, mask in (
        ("neuron", np.repeat(keep, counts)),
        ("slope", np.repeat(keep, counts)),
        ("multiplier", np.repeat(keep, rows)),
        ("node", keep),
        ("polytope", keep),
        ("slopes", keep),
    ):
        case.edit("items", name, change=lambda values, mask=mask: values[mask])


def _drop_item(case: Case) -> None:
    """The item that closes the last leaf."""
    items = case.region["items"]
    count, rows = int(uncolumn(items["slopes"])[-1]), len(case.region["unsafe"][int(uncolumn(items["polytope"])[-1])])
    for name, cut in (
        ("node", 1),
        ("polytope", 1),
        ("slopes", 1),
        ("multiplier", rows),
        ("neuron", count),
        ("slope", count),
    ):
        case.edit("items", name, change=lambda values, cut=cut: values[: len(values) - cut])


def _other_rows(case: Case) -> None:
    """The certificate speaks about a smaller unsafe set."""
    row = case.region["unsafe"][0][0]
    row["bound"] = str(Fraction(row["bound"]) - Fraction(1, 10**9))


def _ulp(case: Case) -> None:
    model = onnx.load(str(case.net))
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[0] = np.nextafter(values.reshape(-1)[0], np.float32(10))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(case.net))


def _swapped_outputs(case: Case) -> None:
    text = case.prop.read_text()
    head, formula = text[: text.rindex("(assert")], text[text.rindex("(assert") :]
    swapped = formula.replace("Y_0", "Z").replace("Y_1", "Y_0").replace("Z", "Y_1")
    case.prop.write_text(head + swapped)
    case.again()


def _moved_bound(case: Case) -> None:
    case.prop.write_text(case.prop.read_text().replace("-0.02", "-0.0200000001"))
    case.again()


def _larger_box(case: Case) -> None:
    case.prop.write_text(case.prop.read_text().replace("(<= X_0 0.5)", "(<= X_0 0.5000000001)"))
    case.again()


def _other_net(case: Case) -> None:
    """Doubled output weights, under the certificate's hash: the bounds no longer hold."""
    model = onnx.load(str(case.net))
    tensor = next(t for t in model.graph.initializer if t.name == "W2")
    values = numpy_helper.to_array(tensor) * np.float32(2)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(case.net))
    case.again()


def _far_face(case: Case) -> None:
    """The first face, of a node that reaches from -0.5 to 0, moves to the other side."""
    face = int(uncolumn(case.region["faces"]["face"])[0])
    case.edit("faces", "at", change=_set(0, 0.0 if face % 2 == 0 else -0.5))


def _face_without_plane(case: Case) -> None:
    """A face moves at a leaf's parent that has no item: node 0 has none for its polytopes."""
    faces = case.region["faces"]
    nodes = set(uncolumn(faces["node"]).tolist())
    with_items = set(uncolumn(case.region["items"]["node"]).tolist())
    axis = uncolumn(case.region["axis"])
    free = next(n for n in range(len(axis)) if axis[n] != 65535 and n not in with_items and n not in nodes)
    old = [uncolumn(faces[name]) for name in ("node", "face", "at")]
    place = int(np.searchsorted(old[0], free))
    new = [np.insert(old[0], place, free), np.insert(old[1], place, 0), np.insert(old[2], place, 0.0)]
    for name, values in zip(("node", "face", "at"), new, strict=True):
        faces[name] = column(values, faces[name]["dtype"])


def _last_multipliers_zero(case: Case) -> None:
    """Of the last item alone."""
    rows = len(case.region["unsafe"][int(uncolumn(case.region["items"]["polytope"])[-1])])
    case.edit("items", "multiplier", change=lambda v: np.concatenate([v[:-rows], np.zeros(rows, v.dtype)]))


def _own_child(case: Case) -> None:
    """A leaf stands first; the cut behind it would be its own child."""
    case.edit("axis", change=lambda v: np.concatenate([v[v == 65535][:1], v[v != 65535], v[v == 65535][1:]]))


def _one_too_far(*keys: str) -> Callable[[Case], None]:
    """The last node of a column is the one behind the last of the tree."""

    def spoil(case: Case) -> None:
        case.edit(*keys, change=_set(-1, len(uncolumn(case.region["axis"]))))

    return spoil


TAMPERED: dict[str, tuple[Callable[[Case], None], str]] = {
    "leaf missing": (_edit("axis", change=_drop_last), "do not make"),
    "subtree missing": (_drop_subtree, "left open"),
    "item missing": (_drop_item, "left open"),
    "all nodes missing": (_edit("axis", change=lambda v: v[:0]), "do not make"),
    "box shrunk": (_put("0.4999999999", *REGION, "upper", 0), "its box is in no region"),
    "box shrunk from below": (_put("-0.4999999999", *REGION, "lower", 1), "its box is in no region"),
    "box empty": (_put("0.7", *REGION, "lower", 0), "its box is empty"),
    "box grown": (_put("50", *REGION, "upper", 0), "node"),
    "polytope shrunk": (_other_rows, "outputs are in no polytope"),
    "polytope missing": (_put([], *REGION, "unsafe"), "an item of nothing"),
    "strict instead of closed": (_put(True, *REGION, "unsafe", 0, 0, "strict"), "outputs are in no polytope"),
    "strict is no flag": (_put("no", *REGION, "unsafe", 0, 0, "strict"), "true or false"),
    "coefficient swapped": (_put(["0", "1"], *REGION, "unsafe", 0, 0, "coefficients"), "outputs are in no polytope"),
    "coefficients too few": (_put(["1"], *REGION, "unsafe", 0, 0, "coefficients"), "list of 2 numbers"),
    "one coefficient is no number": (_put(["1", "x"], *REGION, "unsafe", 0, 0, "coefficients"), "no exact number"),
    "bound is no number": (_put("nan", *REGION, "unsafe", 0, 0, "bound"), "no exact number"),
    "bound is a float": (_put(0.5, *REGION, "unsafe", 0, 0, "bound"), "no exact number"),
    "face moved too far": (_far_face, "farther than a plane"),
    "face out of its box": (_edit("faces", "at", change=_set(0, 9.0)), "out of its box"),
    "face out of its box below": (_edit("faces", "at", change=_set(0, -9.0)), "out of its box"),
    "face without a plane": (_face_without_plane, "no plane"),
    "face that does not exist": (_edit("faces", "face", change=_set(0, 4)), "face that does not exist"),
    "face of a node that does not exist": (_edit("faces", "node", change=_set(-1, 9999)), "face that does not exist"),
    "face of the node behind the last": (_one_too_far("faces", "node"), "face that does not exist"),
    "faces not sorted": (_edit("faces", "node", change=lambda v: v[::-1]), "faces are not sorted"),
    "face NaN": (_edit("faces", "at", change=_set(0, np.nan)), "at holds NaN"),
    "faces of unequal length": (_edit("faces", "at", change=_drop_last), "faces differ in length"),
    "cut outside": (_edit("cut", change=_set(0, 3.0)), "cut outside"),
    "cut outside below": (_edit("cut", change=_set(0, -3.0)), "cut outside"),
    "cut on the edge": (_edit("cut", change=_set(0, 0.5)), "cut outside"),
    "cut infinite": (_edit("cut", change=_set(0, np.inf)), "cut holds NaN"),
    "cut missing": (_edit("cut", change=_drop_last), "places for"),
    "axis out of range": (_edit("axis", change=_set(0, 2)), "axis is none"),
    "node before its parent": (_edit("axis", change=lambda v: v[::-1]), "before its parent"),
    "node its own child": (_own_child, "before its parent"),
    "slope too steep": (_edit("items", "slope", change=_set(0, 1.01)), "slope outside"),
    "slope negative": (_edit("items", "slope", change=_set(0, -0.01)), "slope outside"),
    "slope NaN": (_edit("items", "slope", change=_set(0, np.nan)), "slope holds NaN"),
    "slope missing": (_edit("items", "slope", change=_drop_last), "slopes are not as many"),
    "slope of no neuron": (_edit("items", "neuron", change=_set(0, 60000)), "neuron that does not exist"),
    "slope of the neuron behind the last": (
        _edit("items", "neuron", change=_set(-1, 16)),
        "neuron that does not exist",
    ),
    "slope of a neuron twice": (_edit("items", "neuron", change=lambda v: v * 0), "neuron has two"),
    "multiplier negative": (_edit("items", "multiplier", change=_set(0, -1.0)), "multiplier is negative"),
    "multiplier NaN": (_edit("items", "multiplier", change=_set(0, np.nan)), "multiplier holds NaN"),
    "multipliers zero": (_edit("items", "multiplier", change=lambda v: v * 0), "all 0"),
    "multipliers of one item zero": (_last_multipliers_zero, "all 0"),
    "multiplier missing": (_edit("items", "multiplier", change=_drop_last), "one for each row"),
    "items not sorted": (_edit("items", "node", change=lambda v: v[::-1]), "items are not sorted"),
    "item of no node": (_edit("items", "node", change=_set(-1, 9999)), "item of nothing"),
    "item of the node behind the last": (_one_too_far("items", "node"), "item of nothing"),
    "item of the polytope behind the last": (_edit("items", "polytope", change=_set(-1, 2)), "item of nothing"),
    "item of no polytope": (_edit("items", "polytope", change=_set(-1, 7)), "item of nothing"),
    "items of unequal length": (_edit("items", "polytope", change=_drop_last), "items differ in length"),
    "column of another type": (_put("<f4", *REGION, "cut", "dtype"), "must have type"),
    "column of a strange type": (_put("|O", *REGION, "cut", "dtype"), "has type '|O'"),
    "column of broken length": (_put("AAAA", *REGION, "cut", "data"), "cannot be decoded"),
    "wrong base64": (_put("A*==", *REGION, "cut", "data"), "cannot be decoded"),
    "column is no text": (_put(7, *REGION, "cut", "data"), "cannot be decoded"),
    "wrong version": (_put(3, "version"), "version 3"),
    "version true": (_put(True, "version"), "version True"),
    "another format": (_put("something", "format"), "does not call itself"),
    "unknown key": (_put(1, "comment"), "must have the keys"),
    "unknown key in a region": (_put(1, *REGION, "comment"), "must have the keys"),
    "unknown verdict": (_put("fine", *PROOF, "verdict"), "neither proved nor violated"),
    "semantics unknown": (_put("float16", "semantics"), "neither real nor float32"),
    "assumption not ours": (_put({"tanh": 1e-9}, "assumptions"), "this checker assumes"),
    "assumptions no numbers": (_put({"tanh": "no"}, "assumptions"), "name an error"),
    "regions missing": (_put([], *PROOF, "regions"), "its box is in no region"),
    "regions no list": (_put({}, *PROOF, "regions"), "must be a list"),
    "proofs missing": (_put([], "proofs"), "0 proofs speak"),
    "proofs no objects": (_put([1], "proofs"), "list of objects"),
    "proof twice": (lambda case: case.data["proofs"].append(case.data["proofs"][0]), "2 proofs speak"),
    "network's weight changed by one ulp": (_ulp, "is for a network with sha256"),
    "another network under the hash": (_other_net, "node"),
    "property changed": (lambda case: case.prop.write_text(case.prop.read_text() + ";"), "0 proofs speak"),
    "property's threshold moved": (_moved_bound, "outputs are in no polytope"),
    "property's box grown": (_larger_box, "its box is in no region"),
    "property's outputs swapped": (_swapped_outputs, "outputs are in no polytope"),
}


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
def test_the_certificate_itself_is_accepted(case: Case, arithmetic: str) -> None:
    """And the tampering below starts from one that has everything in it."""
    accepted = check(case.net, [case.prop], write(case.path, case.data), Settings(arithmetic=arithmetic))
    assert accepted.line() == f"{arithmetic}, all {accepted.answers[0].leaves} leaves"
    assert accepted.answers[0].leaves >= 4
    for name in ("faces", "items"):
        assert all(len(uncolumn(part)) for part in case.region[name].values())


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_rejected(case: Case, name: str) -> None:
    spoil, reason = TAMPERED[name]
    spoil(case)
    with pytest.raises(Rejected) as caught:
        check(case.net, [case.prop], write(case.path, case.data))
    assert reason in caught.value.reason


def test_semantics_swapped(case: Case, tmp_path: Path) -> None:
    """Accepted where the margins carry the errors of single precision, for what the file now says."""
    case.data["semantics"] = "real"
    assert check(case.net, [case.prop], write(case.path, case.data)).semantics == "real"
    net = network(tmp_path / "t.onnx", [2, 3, 2], "Tanh")
    prop = tmp_path / "t.vnnlib"
    prop.write_text(property_text(2, 2, "(>= Y_0 50)"))
    data = certificate(net, [prop], "real")
    assert data is not None
    data["semantics"] = "float32"
    with pytest.raises(Rejected, match="this checker assumes"):
        check(net, [prop], write(case.path, data))


def _raw(content: bytes) -> Callable[[Case], bytes]:
    return lambda case: content


UNREADABLE: dict[str, tuple[Callable[[Case], bytes], str]] = {
    "truncated": (lambda case: gzip.compress(json.dumps(case.data).encode())[:-20], "truncated"),
    "something behind it": (lambda case: gzip.compress(json.dumps(case.data).encode()) + b"x", "follows"),
    "truncated text": (lambda case: json.dumps(case.data).encode()[:-20], "not a certificate"),
    "empty": (_raw(b""), "empty"),
    "empty archive": (_raw(gzip.compress(b"")), "empty"),
    "damaged archive": (_raw(b"\x1f\x8b\x08\x00 this is no archive"), "damaged"),
    "zip bomb": (_raw(gzip.compress(bytes(2 << 20))), "unpacks to more"),
    "too large": (_raw(b"[" * (2 << 20)), "larger than"),
    "deeply nested": (_raw(b"[" * 200_000), "not a certificate"),
    "no JSON": (_raw(b"hello"), "not a certificate"),
    "no UTF-8": (_raw(b"\xff\xfe"), "not a certificate"),
    "NaN": (_raw(b'{"version": NaN}'), "NaN is no number"),
    "key twice": (_raw(b'{"version": 1, "version": 1}'), "twice"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_files_are_bad_input(case: Case, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, reason = UNREADABLE[name]
    monkeypatch.setattr(files, "MAX_BYTES", 1 << 20)
    case.path.write_bytes(make(case))
    with pytest.raises(FormatError, match=reason):
        check(case.net, [case.prop], case.path)


def test_missing_file(case: Case) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        check(case.net, [case.prop], case.path)
