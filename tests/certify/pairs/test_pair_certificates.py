"""Proofs about two networks, from the prover to an accepted file; what is spoilt is rejected."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from birdnn.bounds.difference import CompiledDifferenceBound, DifferenceBound
from birdnn.certify.check import Rejected, Settings, check
from birdnn.certify.check.__main__ import main
from birdnn.certify.check.parts import Part
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import FormatError, InputError, MismatchError
from birdnn.pipeline import posing
from birdnn.pipeline.checking import check_files
from birdnn.pipeline.relating import verify_related
from birdnn.records import Proved, VerifyOutcome, VerifySettings, Violated
from tests.certify.cases import sha256
from tests.certify.pairs.cases import drawn, moved, written
from tests.certify.producer import change_column, column, uncolumn, write
from tests.queries import apart, query, same

ARITHMETIC = ("float64", "exact")


@dataclass
class Case:
    """Files, and the content of the certificate."""

    nets: dict[str, Path]
    prop: Path
    path: Path
    data: dict[str, Any]

    @property
    def proof(self) -> dict[str, Any]:
        found: dict[str, Any] = self.data["proofs"][0]
        return found

    @property
    def region(self) -> dict[str, Any]:
        found: dict[str, Any] = self.proof["regions"][0]
        return found

    def edit(self, *keys: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change a column of the region."""
        change_column(self.region, *keys, change=change)

    def again(self) -> None:
        """Take over the hashes of files, so that what they say is what is wrong."""
        for entry in self.data["networks"]:
            entry["sha256"] = sha256(self.nets[entry["name"]])
        self.proof["property"]["sha256"] = sha256(self.prop)

    def check(self, arithmetic: str = "float64") -> Any:
        return check(self.nets, [self.prop], write(self.path, self.data), Settings(arithmetic=arithmetic))  # type: ignore[arg-type]


def decided(folder: Path, nets: dict[str, Path], text: str, **settings: Any) -> VerifyOutcome:
    (folder / "q.vnnlib").write_text(text)
    asked = VerifySettings(timeout_s=30, certificate=folder / "c.json.gz", **settings)
    return verify_related(nets, [folder / "q.vnnlib"], settings=asked)


def made(folder: Path, nets: dict[str, Path], text: str) -> Case:
    """A certificate by the prover, accepted."""
    outcome = decided(folder, nets, text)
    assert outcome.certificate is not None, outcome.notes
    assert outcome.certificate.answer == "accepted", outcome.certificate.detail
    path = folder / "c.json.gz"
    return Case(nets, folder / "q.vnnlib", path, json.loads(gzip.decompress(path.read_bytes())))


def pair(
    folder: Path, seed: int, *, sizes: tuple[int, ...] = (2, 6, 6, 2), noise: float = 0.02, shared: int = 0, **how: Any
) -> dict[str, Path]:
    layers = drawn(seed, sizes)
    return {
        "f": written(folder, "A", layers, **how),
        "g": written(folder, "B", moved(layers, seed, noise, shared), **how),
    }


def furthest(nets: dict[str, Path], n: int = 2) -> float:
    """The largest difference of an output at some inputs."""
    x = np.random.default_rng(0).uniform(-1, 1, (500, n)).astype(np.float32)
    x[:20] = np.sign(x[:20])
    first, second = (OnnxReplay(nets[name].read_bytes()) for name in "fg")
    return max(float(np.abs(second(point) - first(point)).max()) for point in x)


@pytest.mark.parametrize(
    ("seed", "shared", "alpha"), [(0, 0, None), (1, 1, None), (2, 2, None), (3, 0, 0.2), (4, 1, -0.3), (5, 0, 1.5)]
)
def test_proofs_are_accepted(seed: int, shared: int, alpha: float | None, tmp_path: Path) -> None:
    """By both arithmetics, in a few boxes or many, with and without layers that both networks share."""
    how = {} if alpha is None else {"op": "LeakyRelu", "alpha": alpha}
    nets = pair(tmp_path, seed, shared=shared, **how)
    case = made(tmp_path, nets, query(2, 2, *same(2), apart(2, 1.3 * furthest(nets))))
    assert case.data["version"] == 4
    assert case.proof["shared"] == shared
    for arithmetic in ARITHMETIC:
        accepted = case.check(arithmetic)
        assert [answer.verdict for answer in accepted.answers] == ["proved"]
        assert accepted.semantics == "real"


def test_decisions_and_mixed_rows(tmp_path: Path) -> None:
    """Polytopes of several rows, whose coefficients do not cancel."""
    first = "(and (<= Y_f[0] -0.2) (>= Y_g[0] (* 0.5 Y_f[0])))"
    rows = f"(or {first} (and (>= (- (* 3.0 Y_f[0]) Y_g[1]) 40.0) (>= Y_f[1] 0.0)))"
    nets = pair(tmp_path, 7, noise=0.01)
    case = made(tmp_path, nets, query(2, 2, *same(2), rows, "(<= Y_f[0] -0.2)"))
    assert max(len(rows) for rows in case.region["unsafe"]) > 1
    for arithmetic in ARITHMETIC:
        case.check(arithmetic)
    multipliers = uncolumn(case.region["items"]["multiplier"])
    sizes = np.array([3 * len(case.region["unsafe"][p]) for p in uncolumn(case.region["items"]["polytope"])])
    assert len(multipliers) == sizes.sum()


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("cancels", [True, False])
def test_both_engines_record(compiled: bool, cancels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polytopes of one row and of two, in two forms where all rows cancel, else in three."""

    def bound(before: Any, after: Any, device: Any, settings: Any, record: bool) -> Any:
        if compiled:
            return CompiledDifferenceBound(before, after, settings, always=True, record=record)
        return DifferenceBound(before, after, device, settings, record)

    monkeypatch.setattr(posing, "difference_bound", bound)
    nets = pair(tmp_path, 12, sizes=(2, 8, 8, 2), noise=0.02)
    most, times = furthest(nets), "1.0" if cancels else "0.984375"
    first = f"(>= (- (* {times} Y_g[0]) Y_f[0]) {1.2 * most + (0.0 if cancels else 0.05):.6f})"
    second = f"(and (<= (- Y_g[0] Y_f[0]) -{1.2 * most:.6f}) (>= Y_f[1] Y_g[1]))"
    case = made(tmp_path, nets, query(2, 2, *same(2), f"(or {first} {second})"))
    assert sorted(len(rows) for rows in case.region["unsafe"]) == [1, 2]
    for arithmetic in ARITHMETIC:
        case.check(arithmetic)
    known = {len(rows): place for place, rows in enumerate(case.region["unsafe"])}
    assert len(uncolumn(case.region["cut"])) > 0
    polytopes, multipliers = (uncolumn(case.region["items"][name]) for name in ("polytope", "multiplier"))
    assert len(multipliers) == 3 * (polytopes == known[1]).sum() + 6 * (polytopes == known[2]).sum()


def test_one_network_whose_inputs_change_places(tmp_path: Path) -> None:
    """A network that is nearly symmetric: ``equal-to``, one file."""
    layers = drawn(3, (2, 6, 2))
    weight = layers[0][0]
    weight[:, 1] = weight[:, 0] + 0.01
    nets = {"f": written(tmp_path, "A", layers)}
    text = query(2, 2, "(== X_f[0] X_g[1])", "(== X_f[1] X_g[0])", apart(2, 0.2), like="equal-to f")
    case = made(tmp_path, nets, text)
    assert [entry["name"] for entry in case.data["networks"]] == ["f"]
    for arithmetic in ARITHMETIC:
        case.check(arithmetic)
    both = {**nets, "g": nets["f"]}
    with pytest.raises(Rejected, match="is for networks"):
        check(both, [case.prop], case.path)
    other = made(tmp_path, both, text)
    other.check()
    other.nets = {**both, "g": written(tmp_path, "B", moved(layers, 0, 1e-3))}
    other.again()
    with pytest.raises(MismatchError, match="g is equal to f there, and the files are not"):
        other.check()


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("pairs")
    return made(
        folder, pair(folder, 11, sizes=(2, 8, 8, 2), noise=0.03, shared=1), query(2, 2, *same(2), apart(2, 0.25))
    )


@pytest.fixture
def case(proof: Case, tmp_path: Path) -> Case:
    nets = {name: tmp_path / path.name for name, path in proof.nets.items()}
    for name, path in nets.items():
        path.write_bytes(proof.nets[name].read_bytes())
    prop = tmp_path / "q.vnnlib"
    prop.write_bytes(proof.prop.read_bytes())
    return Case(nets, prop, tmp_path / "c.json.gz", copy.deepcopy(proof.data))


def test_the_proof_has_everything_in_it(case: Case) -> None:
    """What is spoilt below starts from cuts, faces, slopes, and multipliers of several forms."""
    case.check()
    case.check("exact")
    for name in ("faces", "items"):
        assert all(len(uncolumn(part)) for part in case.region[name].values())
    assert len(uncolumn(case.region["cut"])) > 3
    assert (uncolumn(case.region["items"]["multiplier"]).reshape(-1, 3) > 0).any(0)[:2].all()


def _put(value: Any, *keys: str | int) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        place: Any = case.data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return spoil


def _edit(*keys: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Case], None]:
    return lambda case: case.edit(*keys, change=change)


def _prop(old: str, new: str) -> Callable[[Case], None]:
    def spoil(case: Case) -> None:
        text = case.prop.read_text()
        assert old in text
        case.prop.write_text(text.replace(old, new))
        case.again()

    return spoil


def _weights(
    name: str, layer: int, change: Callable[[np.ndarray], np.ndarray], *, again: bool
) -> Callable[[Case], None]:
    """Other weights in a network's file, with its hash in the certificate or without."""

    def spoil(case: Case) -> None:
        model = onnx.load(str(case.nets[name]))
        tensor = next(t for t in model.graph.initializer if t.name == f"W{layer}")
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))
        onnx.save(model, str(case.nets[name]))
        if again:
            case.again()

    return spoil


def _ulp(values: np.ndarray) -> np.ndarray:
    values.reshape(-1)[0] = np.nextafter(values.reshape(-1)[0], np.float32(10))
    return values


def _exchanged(case: Case) -> None:
    """f's file for g, and the other way round."""
    case.nets = {"f": case.nets["g"], "g": case.nets["f"]}


def _renamed(case: Case) -> None:
    case.nets = {"f": case.nets["f"], "h": case.nets["g"]}


def _slope_of_a_difference(case: Case) -> None:
    """A neuron of the third block gets a slope: 8 neurons are shared, of 24 the last 8 are differences."""
    items = case.region["items"]
    first = int(uncolumn(items["slopes"])[0])
    case.edit("items", "slopes", change=lambda v: np.concatenate([[v[0] + 1], v[1:]]).astype(v.dtype))
    case.edit("items", "neuron", change=lambda v: np.insert(v, first, 8 + 16))
    case.edit("items", "slope", change=lambda v: np.insert(v, first, 0.5))


REGION = ("proofs", 0, "regions", 0)
SPOILT: dict[str, tuple[Callable[[Case], None], str]] = {
    "a network's weight changed by one ulp": (_weights("g", 2, _ulp, again=False), "is for a network g with sha256"),
    "another network under the hash": (_weights("g", 2, lambda w: w * 2, again=True), "node"),
    "the shared layer is none any more": (_weights("g", 0, _ulp, again=True), "are not the same in both networks"),
    "f and g exchanged": (_exchanged, "is for a network f with sha256"),
    "another name": (_renamed, "is for networks ['f', 'g'], not ['f', 'h']"),
    "the query changed": (lambda case: case.prop.write_text(case.prop.read_text() + ";"), "0 proofs speak"),
    "its threshold lowered": (_prop("0.250000000", "0.249999999"), "outputs are in no polytope"),
    "its box grown": (_prop("(<= X_f[0] 1.0)", "(<= X_f[0] 1.000001)"), "its box is in no region"),
    "box shrunk": (_put("0.999999", *REGION, "upper", 0), "its box is in no region"),
    "box grown": (_put("50", *REGION, "upper", 0), "node"),
    "threshold lowered with its query": (
        lambda case: (_prop("0.250000000", "0.010000000")(case), _rows(case, "1/100"))[0],
        "node",
    ),
    "polytope missing": (lambda case: case.region["unsafe"].pop(), "an item of nothing"),
    "coefficient of f changed": (
        lambda case: case.region["unsafe"][0][0]["coefficients"].__setitem__(0, "0.99"),
        "outputs are in no polytope",
    ),
    "networks missing": (_put([], "networks"), "networks must be a list"),
    "a network without a name": (_put("", "networks", 0, "name"), "has no name"),
    "a network twice": (_put("f", "networks", 1, "name"), "two have the same one"),
    "one network": (lambda case: case.data.update(network=case.data.pop("networks")[0]), "must have the keys"),
    "another version": (_put(3, "version"), "must have the keys"),
    "semantics float32": (_put("float32", "semantics"), "true of the reals"),
    "assumptions": (_put({"tanh": 5e-7}, "assumptions"), "assumes nothing"),
    "shared missing": (lambda case: case.proof.pop("shared"), "must have the keys"),
    "shared is no number": (_put("1", "proofs", 0, "shared"), "must be a number of layers"),
    "shared is a flag": (_put(True, "proofs", 0, "shared"), "must be a number of layers"),
    "shared too many": (_put(2, "proofs", 0, "shared"), "are not the same in both networks"),
    "shared is negative": (_put(-1, "proofs", 0, "shared"), "are not the same in both networks"),
    "shared too few": (_put(0, "proofs", 0, "shared"), ""),
    "intervals": (_put([], *REGION, "intervals"), "must have the keys"),
    "beta": (lambda case: case.region["items"].update(beta=column([], "<f4")), "must have the keys"),
    "a neuron is split": (_edit("axis", change=lambda v: np.where(v == 0, 2, v)), "axis is none of the inputs"),
    "a column of another type": (
        lambda case: case.region.update(axis=column(uncolumn(case.region["axis"]) % 65536, "<u2")),
        "must have type <u4",
    ),
    "a leaf missing": (_edit("axis", change=lambda v: v[:-1]), "do not make"),
    "multipliers of one form": (_edit("items", "multiplier", change=lambda v: v[: len(v) // 3]), "one for each row"),
    "multipliers negative": (_edit("items", "multiplier", change=lambda v: -v), "a multiplier is negative"),
    "multipliers of another form": (
        _edit(
            "items",
            "multiplier",
            change=lambda v: np.ascontiguousarray(np.roll(v.reshape(-1, 3), 1, axis=1)).reshape(-1),
        ),
        "node",
    ),
    "slope of a difference": (_slope_of_a_difference, "outside of the range"),
    "slope too steep": (_edit("items", "slope", change=lambda v: v + 1), "outside of the range"),
    "items missing": (
        lambda case: [case.edit("items", name, change=lambda v: v[:0]) for name in case.region["items"]][:0],
        "has no plane",
    ),
    "a face too far": (_edit("faces", "at", change=lambda v: -v), "face"),
}


def _rows(case: Case, bound: str) -> None:
    """Another threshold in all rows."""
    for rows in case.region["unsafe"]:
        for row in rows:
            row["bound"] = f"-{bound}" if row["bound"].startswith("-") else bound


@pytest.mark.parametrize("name", SPOILT)
def test_tampering_is_rejected(case: Case, name: str) -> None:
    spoil, reason = SPOILT[name]
    spoil(case)
    with pytest.raises(Rejected) as caught:
        case.check()
    assert reason in caught.value.reason


def test_a_wrong_proof_is_rejected_by_exact_arithmetic_too(case: Case) -> None:
    _weights("g", 2, lambda w: w * 2, again=True)(case)
    with pytest.raises(Rejected, match="node"):
        case.check("exact")


def test_certificates_of_one_network_and_of_two_are_told_apart(case: Case, tmp_path: Path) -> None:
    write(case.path, case.data)
    with pytest.raises(Rejected, match=r"for networks \['f', 'g'\]: name the file of each"):
        check(case.nets["f"], [case.prop], case.path)
    one = {
        "format": "birdnn certificate",
        "version": 1,
        "tool": "t",
        "network": {"file": "A", "sha256": sha256(case.nets["f"])},
    }
    write(case.path, {**one, "semantics": "real", "assumptions": {}, "proofs": []})
    with pytest.raises(Rejected, match="for one network"):
        check(case.nets, [case.prop], case.path)


def test_files_that_do_not_fit(case: Case, tmp_path: Path) -> None:
    """Sizes that the query does not speak about; a network that it does not know, or does not find."""
    write(case.path, case.data)
    wide = written(tmp_path, "wide", drawn(0, (3, 4, 2)))
    case.nets["g"] = wide
    case.again()
    with pytest.raises(MismatchError, match="speaks about 2 inputs and 2 outputs of g; its file has 3 and 2"):
        case.check()
    case.nets = {"f": case.nets["f"]}
    case.data["networks"].pop()
    with pytest.raises(MismatchError, match="a network 'g': name its file too"):
        case.check()
    case.nets["h"] = wide
    case.data["networks"].append({"name": "h", "file": "h", "sha256": sha256(wide)})
    with pytest.raises(MismatchError, match="no network 'h'"):
        case.check()


def test_counterexamples(tmp_path: Path) -> None:
    """Exact on both files, and run; one that is none, or whose inputs differ, is rejected."""
    nets = pair(tmp_path, 5, noise=0.3)
    outcome = decided(tmp_path, nets, query(2, 2, *same(2), apart(2, 0.05)))
    assert isinstance(outcome.verdicts[0].verdict, Violated)
    assert outcome.certificate is not None
    assert outcome.certificate.checked == "accepted: 1 violated, exact"
    case = Case(
        nets,
        tmp_path / "q.vnnlib",
        tmp_path / "c.json.gz",
        json.loads(gzip.decompress((tmp_path / "c.json.gz").read_bytes())),
    )
    assert case.proof["exactly"]
    found = check_files(nets, [case.prop], case.path, settings=Settings())
    assert (found.accepted, found.said) == (True, "1 violated, exact, onnxruntime")
    assert found.networks == {name: str(path) for name, path in nets.items()}
    assert len(case.proof["input"]) == 4
    x = list(case.proof["input"])
    case.proof["input"] = [*x[:3], "0.5" if x[3] != "0.5" else "0.25"]
    with pytest.raises(Rejected, match="inputs differ that the query says are equal"):
        case.check()
    case.proof["input"] = ["2", x[1], "2", x[3]]
    with pytest.raises(Rejected, match="lies in none of the property's boxes"):
        case.check()
    case.proof["input"] = x[:2]
    with pytest.raises(Rejected, match="must be a list of 4 numbers"):
        case.check()
    case.proof["input"] = x
    case.nets = {"f": nets["f"], "g": nets["f"]}
    case.again()
    with pytest.raises(Rejected, match="does not violate the property in exact arithmetic"):
        case.check()
    case.proof["exactly"] = False
    write(case.path, case.data)
    found = check_files(case.nets, [case.prop], case.path, settings=Settings())
    assert (found.accepted, found.said) == (
        False,
        "proof of q.vnnlib: the input does not violate the property when onnxruntime runs it",
    )


def test_counterexamples_of_smooth_networks(tmp_path: Path) -> None:
    """Balls of one network beside fractions of another."""
    layers = drawn(2, (1, 3, 1))
    nets = {"f": written(tmp_path, "A", layers), "g": written(tmp_path, "B", layers, "Tanh")}
    outcome = decided(tmp_path, nets, query(1, 1, *same(1), apart(1, 0.01)))
    assert isinstance(outcome.verdicts[0].verdict, Violated)
    assert outcome.certificate is not None
    assert outcome.certificate.answer == "accepted"


def test_what_has_no_certificate_is_said(tmp_path: Path) -> None:
    """Why, in a sentence, and no file is left."""
    smooth, relus = drawn(2, (1, 3, 1)), drawn(3, (1, 4, 1))
    tanh = {"f": written(tmp_path, "A", smooth, "Tanh"), "g": written(tmp_path, "B", moved(smooth, 0, 1e-3), "Tanh")}
    unequal = {"f": written(tmp_path, "C", smooth), "g": written(tmp_path, "D", relus)}
    far, order = apart(1, 20.0), ["(>= X_g[0] -1.0)", "(<= X_g[0] X_f[0])"]
    for nets, text, told, settings in (
        (tanh, query(1, 1, *same(1), far), "behind ReLU and LeakyReLU only, not tanh", {}),
        (unequal, query(1, 1, *same(1), far), "proved by each network by itself", {}),
        ({"f": unequal["f"]}, query(1, 1, *order, far, like="equal-to f"), "proved by slopes, or", {}),
        (tanh, query(1, 1, *same(1), far), "about executions there is none", {"semantics": "float32"}),
        (unequal, query(1, 1, *same(1), "(>= Y_f[0] (+ Y_f[0] 1.0))"), "no property that is vacuous", {}),
    ):
        outcome = decided(tmp_path, nets, text, **settings)
        assert isinstance(outcome.verdicts[0].verdict, Proved)
        assert outcome.certificate is None
        said = [note for note in outcome.notes if note.startswith("No certificate speaks about q: ")]
        assert len(said) == 1
        assert told in said[0]
        assert not (tmp_path / "c.json.gz").exists()


def test_counterexamples_of_related_inputs(tmp_path: Path) -> None:
    """A network at two inputs, of which one bounds the other: checked exactly, with all comparisons; never proved."""
    layers = drawn(2, (2, 4, 1))
    nets = {"f": written(tmp_path, "A", layers)}
    order = ["(== X_f[1] X_g[1])", "(<= X_g[0] X_f[0])", "(<= -1.0 X_g[0])"]
    text = query(2, 1, *order, "(>= (- Y_f[0] Y_g[0]) -0.001)", "(< X_g[0] X_f[0])", like="equal-to f")
    outcome = decided(tmp_path, nets, text)
    assert isinstance(outcome.verdicts[0].verdict, Violated)
    assert outcome.certificate is not None
    assert outcome.certificate.checked == "accepted: 1 violated, exact"
    data = json.loads(gzip.decompress((tmp_path / "c.json.gz").read_bytes()))
    case = Case(nets, tmp_path / "q.vnnlib", tmp_path / "c.json.gz", data)
    found = check_files(nets, [case.prop], case.path, settings=Settings())
    assert (found.accepted, found.said) == (True, "1 violated, exact, onnxruntime")
    x = list(case.proof["input"])
    assert (x[0], x[1]) != (x[2], x[3])
    case.proof["input"] = [x[0], x[1], x[0], x[1]]
    with pytest.raises(Rejected, match="does not violate the property in exact arithmetic"):
        case.check()
    case.data["proofs"] = [{"property": case.proof["property"], "verdict": "proved", "shared": 0, "regions": []}]
    with pytest.raises(FormatError, match="does not read proofs of queries that relate inputs by more than equality"):
        case.check()


def test_a_rejected_proof_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker is believed, and the outcome says that they disagree."""
    from birdnn.pipeline import certifying

    def reject(*_: Any, **__: Any) -> None:
        raise Rejected("planted")

    monkeypatch.setattr(certifying, "check", reject)
    outcome = decided(tmp_path, pair(tmp_path, 0), query(2, 2, *same(2), apart(2, 0.15)))
    assert outcome.verdicts[0].outcome == "unknown"
    assert "planted" in outcome.disagreement


def test_the_checker_alone(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m birdnn.certify.check``: NAME=FILE for each network, the present form for one."""
    write(case.path, case.data)
    nets = [f"--net={name}={path}" for name, path in case.nets.items()]
    rest = ["--prop", str(case.prop), str(case.path)]
    assert main([*nets, *rest, "--sample", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("accepted: float64, all ")
    assert "over the real numbers" in said
    assert main([f"--net={case.nets['f']}", *rest]) == 1
    assert "name the file of each" in capsys.readouterr().out
    assert main([nets[0].replace("f=", "g="), nets[1].replace("g=", "f="), *rest]) == 1
    for wrong in (
        [nets[0], nets[0]],
        [str(nets[0]).replace("f=", ""), nets[1]],
        [*nets, "--before", str(case.nets["f"])],
    ):
        with pytest.raises(SystemExit):
            main([*wrong, *rest])
        assert "give one --net FILE" in capsys.readouterr().err


def test_parts_together_are_the_whole(case: Case) -> None:
    """A part is accepted alone; and what is wrong in one of them is found by one of them."""
    write(case.path, case.data)
    for number in range(2):
        check(case.nets, [case.prop], case.path, part=Part(number, 2))
    _weights("g", 2, lambda w: w * 2, again=True)(case)
    write(case.path, case.data)

    def wrong(number: int) -> bool:
        try:
            check(case.nets, [case.prop], case.path, part=Part(number, 2))
        except Rejected:
            return True
        return False

    assert any(wrong(number) for number in range(2))


def test_processes_share_a_large_certificate(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their command lines name both files."""
    from birdnn.certify.check import judge

    monkeypatch.setattr(judge, "process_count", lambda *_: 2)
    leaves = case.check().answers[0].leaves
    assert leaves > 3
    _weights("g", 2, lambda w: w * 2, again=True)(case)
    with pytest.raises(Rejected, match="node"):
        case.check()


def test_networks_that_the_checker_does_not_read_are_not_checked(case: Case) -> None:
    """Bad input, and neither accepted nor rejected."""
    case.prop.write_text(case.prop.read_text() + "(assert (not (<= Y_f[0] 9.0)))")
    case.again()
    with pytest.raises(InputError) as caught:
        case.check()
    assert isinstance(caught.value, FormatError)
