"""From a proof on a graph to an accepted certificate, and what spoils one."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from birdnn.bounds.crown import CrownSettings
from birdnn.certify.check import Rejected, Settings, check
from birdnn.certify.check.__main__ import main
from birdnn.certify.check.graphs import floats
from birdnn.certify.read import boxes_on_plane, read_proof
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.errors import FormatError
from birdnn.pipeline.claims import assumptions
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved, Violated
from birdnn.verify import SearchSettings, recording, search, verify
from tests.certify.cases import sha256
from tests.certify.graphs.models import Draft, activate, conv, drawn, pooled, run, written
from tests.certify.producer import about, certificate, column, head, uncolumn, write
from tests.verify.cases import NO_ATTACK

FEW = 2
"""Inputs that vary, at most, where a box is cut and no neuron is split, in these tests."""


def text(draft: Draft, level: float, vary: int, width: float) -> str:
    """The first output reaches a level, where so many inputs vary about zero and the others are fixed at 0.25."""
    n = int(np.prod(draft.shape))
    lines = [f"(declare-const X_{i} Real)" for i in range(n)] + [f"(declare-const Y_{i} Real)" for i in range(2)]
    for i in range(n):
        low, high = (-width, width) if i < vary else (0.25, 0.25)
        lines += [f"(assert (>= X_{i} {low}))", f"(assert (<= X_{i} {high}))"]
    return "\n".join([*lines, f"(assert (>= Y_0 {level:.9f}))", ""])


def posed(folder: Path, draft: Draft, vary: int, gap: float = 0.02, width: float = 0.5) -> tuple[Path, Path]:
    """A network and a property that holds on samples, by ``gap`` times the spread of the output."""
    net, prop = written(folder / "net.onnx", draft), folder / "prop.vnnlib"
    draw = np.random.default_rng(0)
    x = np.full((400, int(np.prod(draft.shape))), 0.25)
    x[:, :vary] = draw.choice([-1, 1, 0.5], (400, min(vary, x.shape[1]))) * draw.random((400, 1)) ** 0.2 * width
    y = run(draft.bytes(), x)[:, 0]
    prop.write_text(text(draft, float(y.max() + gap * (y.max() - y.min() + 1e-3)), vary, width))
    return net, prop


def solved(net: Path, prop: Path, out: Path, most: int = 3000) -> Proved | None:
    """Proved, and written; None where the search decides otherwise."""
    loaded = load_network(net)
    asked = load_property(prop, loaded, "normalised")
    effort = SearchSettings(semantics="real", record=True, attack=NO_ATTACK, max_boxes=most, batch=8,
                            crown=CrownSettings(steps=6))  # fmt: skip
    verdict = verify(loaded.net, asked, settings=effort, replays=loaded.replays)
    if not isinstance(verdict, Proved):
        return None
    told: dict[str, Any] = {"semantics": "real", "assumptions": assumptions(loaded.net, "real"), "tool": "birdnn"}
    entry = Certified(prop=asked, verdict=verdict)
    out.write_bytes(certificate_bytes(loaded.path, loaded.net.sha256, [entry], chain=False, **told))
    return verdict


@pytest.fixture
def by_neurons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boxes are divided by the signs of neurons as soon as a few inputs vary."""
    monkeypatch.setattr("birdnn.bounds.batch.FEW_INPUTS", FEW)
    monkeypatch.setattr(search, "_MANY_INPUTS", FEW)


def convolutional(seed: int) -> Draft:
    """Convolutions and a residual join, large enough for a search."""
    draft = Draft(seed, (1, 1, 4, 4))
    draft.put("Conv", ["X", draft.floats(2, 1, 3, 3), draft.floats(2)], (1, 2, 4, 4), pads=[1] * 4)
    first = draft.put("Relu", [draft.last], draft.at)
    draft.put("Conv", [first, draft.floats(2, 2, 1, 1), draft.floats(2)], draft.at)
    second = draft.put("Relu", [draft.last], draft.at)
    draft.put("Add", [first, second], draft.at)
    draft.put("AveragePool", [draft.last], (1, 2, 2, 2), kernel_shape=[2, 2], strides=[2, 2])
    draft.flat(2)
    return draft


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
def test_proofs_by_edges_are_accepted(arithmetic: Any, tmp_path: Path) -> None:
    net, prop = posed(tmp_path, convolutional(3), FEW, width=1.5)
    verdict = solved(net, prop, tmp_path / "c.json")
    assert verdict is not None
    (proof,) = verdict.proofs
    assert proof.leaves > 3
    assert len(proof.slope)
    assert check(net, [prop], tmp_path / "c.json", Settings(arithmetic=arithmetic)).answers[0].leaves == proof.leaves


@pytest.mark.usefixtures("by_neurons")
@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
def test_proofs_by_neurons_are_accepted(arithmetic: Any, tmp_path: Path) -> None:
    net, prop = posed(tmp_path, convolutional(2), 10, gap=0.2)
    verdict = solved(net, prop, tmp_path / "c.json")
    assert verdict is not None
    (proof,) = verdict.proofs
    assert proof.leaves > 3
    assert (proof.axis[0] >= 16).all()
    assert len(proof.beta) > proof.leaves
    assert check(net, [prop], tmp_path / "c.json", Settings(arithmetic=arithmetic)).answers[0].leaves == proof.leaves


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["edges", "neurons"])
def test_random_proofs_are_accepted(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Of every operator; in float64 all, in exact arithmetic every fourth."""
    if kind == "neurons":
        request.getfixturevalue("by_neurons")
    known = 0
    for seed in range(160):
        draft = pooled(seed) if seed % 8 == 0 else drawn(seed)
        net, prop = posed(tmp_path, draft, FEW if kind == "edges" else 6, gap=0.1)
        verdict = solved(net, prop, tmp_path / "c.json", most=300)
        if verdict is None or not verdict.proofs:
            continue
        known += verdict.proofs[0].leaves > 1
        how = "exact" if seed % 4 == 0 else "float64"
        assert check(net, [prop], tmp_path / "c.json", Settings(arithmetic=how)).answers[0].verdict == "proved", seed
    assert known > 20


def test_a_naive_producer_is_accepted(tmp_path: Path) -> None:
    """Faces, neurons split anywhere, slopes and multipliers at random, of activations of every kind."""
    accepted = 0
    for seed in range(12):
        draft = Draft(seed, (1, 1, 3, 3))
        conv(draft)
        activate(draft)
        draft.flat(2)
        net, prop = posed(tmp_path, draft, FEW, gap=0.15, width=1.0)
        data = certificate(net, [prop], graph=True, most=200, neurons=0.3, seed=seed)
        if data is not None:
            out = write(tmp_path / "c.json.gz", data)
            how: Any = "exact" if seed % 3 == 0 else "float64"
            accepted += check(net, [prop], out, Settings(arithmetic=how)).answers[0].leaves > 1
    assert accepted > 4


def test_a_counterexample_of_a_graph(tmp_path: Path) -> None:
    net, prop = posed(tmp_path, convolutional(1), FEW, gap=-0.3)
    loaded = load_network(net)
    asked = load_property(prop, loaded, "normalised")
    verdict = verify(loaded.net, asked, settings=SearchSettings(semantics="real"), replays=loaded.replays)
    assert isinstance(verdict, Violated)
    told: dict[str, Any] = {"semantics": "real", "assumptions": {}, "tool": "birdnn"}
    data = certificate_bytes(net, sha256(net), [Certified(prop=asked, verdict=verdict)], chain=False, **told)
    (tmp_path / "c.json").write_bytes(data)
    (answer,) = check(net, [prop], tmp_path / "c.json").answers
    assert answer.verdict == "violated"
    assert answer.exactly


def test_a_stored_tree_is_read(tmp_path: Path) -> None:
    net, prop = posed(tmp_path, convolutional(3), FEW, width=1.5)
    verdict = solved(net, prop, tmp_path / "c.json")
    assert verdict is not None
    stored = read_proof(tmp_path / "c.json", load_property(prop, load_network(net), "normalised"))
    assert stored.regions[0].proof.leaves == verdict.proofs[0].leaves
    assert len(boxes_on_plane(stored.regions[0], np.full(16, 0.25), (0, 1))) >= stored.regions[0].proof.leaves


@pytest.mark.parametrize(
    ("missing", "package", "arithmetic"), [("scipy", "scipy", "float64"), ("flint", "python-flint", "exact")]
)
def test_what_is_missing_is_named(
    missing: str, package: str, arithmetic: str, made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """NumPy and onnx are enough for chains in float64."""
    for name in [name for name in sys.modules if name.startswith("birdnn.certify.check.graphs.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [missing, *(name for name in sys.modules if name.startswith(f"{missing}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "birdnn.certify.check.exact", raising=False)
    out = write(tmp_path / "c.json.gz", made[2])
    asked = ["--net", str(made[0]), "--prop", str(made[1]), "--arithmetic", arithmetic, str(out)]
    assert main(asked) == 5
    assert f"this needs {package}: pip install {package}" in capsys.readouterr().err


Spoil = Callable[[dict[str, Any], Path], None]


def _column(*keys: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(data: dict[str, Any], net: Path) -> None:
        del net
        place = data["proofs"][0]["regions"][0]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = column(change(uncolumn(place[keys[-1]])), place[keys[-1]]["dtype"])

    return spoil


def _put(value: Any, *keys: Any) -> Spoil:
    def spoil(data: dict[str, Any], net: Path) -> None:
        del net
        place: Any = data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return spoil


def _at(index: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[index] = value
        return values

    return change


def _narrow(data: dict[str, Any], net: Path) -> None:
    del net
    axis = uncolumn(data["proofs"][0]["regions"][0]["axis"])
    data["proofs"][0]["regions"][0]["axis"] = column(np.minimum(axis, 65535), "<u2")


def _constants(change: Callable[[str, np.ndarray], np.ndarray]) -> Spoil:
    """Another network, under the certificate's hash."""

    def spoil(data: dict[str, Any], net: Path) -> None:
        model = onnx.load(str(net))
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(change(tensor.name, values).astype(values.dtype), tensor.name))
        onnx.save(model, str(net))
        data["network"]["sha256"] = sha256(net)

    return spoil


def _smaller_set(data: dict[str, Any], net: Path) -> None:
    del net
    row = data["proofs"][0]["regions"][0]["unsafe"][0][0]
    row["bound"] = str(Fraction(row["bound"]) - Fraction(1, 10**9))


REGION = ("proofs", 0, "regions", 0)
SPOILT: dict[str, tuple[Spoil, str]] = {
    "intervals that are no list": (_put(3, *REGION, "intervals"), "must be a list of numbers of activations"),
    "intervals of nothing": (_put([2], *REGION, "intervals"), "must be a list of numbers of activations"),
    "intervals that are no numbers": (_put([True], *REGION, "intervals"), "must be a list of numbers"),
    "intervals twice": (_put([0, 0], *REGION, "intervals"), "are not sorted, or one stands there twice"),
    "intervals backwards": (_put([1, 0], *REGION, "intervals"), "are not sorted"),
    "intervals that do not do": (_put([0, 1], *REGION, "intervals"), "node 2: "),
    "a neuron that is none": (_column("axis", change=_at(0, 16 + 64)), "none of the inputs, nor a neuron"),
    "narrow columns": (_narrow, "column axis must have type <u4"),
    "another neuron": (_column("axis", change=lambda a: np.where(a == a[0], 16 + (a - 15) % 32, a)), ""),
    "another place": (_column("cut", change=_at(0, 0.75)), ""),
    "no multipliers of sides": (_column("items", "beta", change=lambda b: b * 0), ""),
    "multipliers of sides in another order": (_column("items", "beta", change=lambda b: b[::-1]), ""),
    "a negative multiplier of a side": (_column("items", "beta", change=_at(0, -1.0)), "of a side is negative"),
    "one multiplier too few": (_column("items", "beta", change=lambda b: b[1:]), "not one for each neuron"),
    "slopes out of range": (_column("items", "slope", change=_at(0, 1.5)), "outside of the range"),
    "a leaf that is a cut": (_column("axis", change=_at(-1, 16)), "cuts do not make"),
    "semantics float32": (_put("float32", "semantics"), "is true of the reals, not of float32"),
    "the first format": (_put(1, "version"), "does not read operator 'Conv'"),
    "a smaller unsafe set": (_smaller_set, "is not covered"),
    "other weights": (_constants(lambda name, w: 2 * w if w.ndim == 2 else w), ""),
    "other filters": (_constants(lambda name, w: w[..., ::-1, :] if w.ndim == 4 else w), ""),
    "other biases": (_constants(lambda name, w: w + 1 if w.shape == (2,) else w), ""),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """An accepted proof by neurons."""
    folder = tmp_path_factory.mktemp("graph")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("birdnn.bounds.batch.FEW_INPUTS", FEW)
        patch.setattr(search, "_MANY_INPUTS", FEW)
        net, prop = posed(folder, convolutional(2), 10, gap=0.2)
        verdict = solved(net, prop, folder / "c.json")
    assert verdict is not None
    return net, prop, json.loads((folder / "c.json").read_text())


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_certificate_is_rejected(name: str, arithmetic: Any, made: Any, tmp_path: Path) -> None:
    spoil, reason = SPOILT[name]
    net, prop, data = tmp_path / "net.onnx", made[1], copy.deepcopy(made[2])
    net.write_bytes(made[0].read_bytes())
    spoil(data, net)
    with pytest.raises((Rejected, FormatError)) as caught:
        check(net, [prop], write(tmp_path / "c.json.gz", data), Settings(arithmetic=arithmetic))
    assert reason in str(getattr(caught.value, "reason", caught.value))


def _no_sides(choices: Any, item: Any, plane: Any, right: Any = recording._choices_of_planes) -> Any:
    multipliers, slopes, sides = right(choices, item, plane)
    return multipliers, slopes, sides * 0


def _one_further(self: Any, parents: Any, halves: Any, edge: Any, right: Any = recording.Recorder.cut) -> Any:
    """The other half stands for what is known of this one."""
    numbers = right(self, parents, halves, edge)
    return numbers.reshape(2, -1).flip(0).reshape(-1)


@pytest.mark.usefixtures("by_neurons")
@pytest.mark.parametrize(
    ("where", "name", "bug"),
    [
        (recording, "_choices_of_planes", _no_sides),
        (recording, "_order_from_root", lambda axes, inputs, node, sides, split: np.arange(len(split))[::-1]),
        (recording.Recorder, "cut", _one_further),
    ],
)
def test_a_wrong_record_is_rejected(
    where: Any, name: str, bug: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Planted: forgotten sides, sides in another order, halves mixed up."""
    monkeypatch.setattr(where, name, bug)
    net, prop = posed(tmp_path, convolutional(2), 10, gap=0.2)
    assert solved(net, prop, tmp_path / "c.json") is not None
    with pytest.raises(Rejected):
        check(net, [prop], tmp_path / "c.json")


def claimed(folder: Path, draft: Draft, upper: str, level: str) -> dict[str, str]:
    """What each arithmetic says of one leaf: where the input lies between 0 and ``upper``, Y_0 is below a level."""
    net, prop = written(folder / "net.onnx", draft), folder / "prop.vnnlib"
    lines = ["(declare-const X_0 Real)", "(declare-const Y_0 Real)", "(assert (>= X_0 0))"]
    prop.write_text("\n".join([*lines, f"(assert (<= X_0 {upper}))", f"(assert (>= Y_0 {level}))", ""]))
    none: dict[str, Any] = {"node": column([], "<u4")}
    region = {
        "lower": ["0"], "upper": [upper], "intervals": [],
        "unsafe": [[{"coefficients": ["-1"], "bound": f"-{level}", "strict": False}]],
        "axis": column([2**32 - 1], "<u4"), "cut": column([], "<f8"),
        "faces": {**none, "face": column([], "<u4"), "at": column([], "<f8")},
        "items": {
            "node": column([0], "<u4"), "polytope": column([0], "<u2"), "multiplier": column([1], "<f4"),
            "slopes": column([0], "<u4"), "neuron": column([], "<u4"), "slope": column([], "<f4"),
            "beta": column([], "<f4"),
        },
    }  # fmt: skip
    data = head(net, "real", [{"property": about(prop), "verdict": "proved", "regions": [region]}], 3)
    out, said = write(folder / "c.json.gz", data), {}
    for arithmetic in ("float64", "exact"):
        try:
            check(net, [prop], out, Settings(arithmetic=arithmetic))  # type: ignore[arg-type]
            said[arithmetic] = "accepted"
        except Rejected:
            said[arithmetic] = "rejected"
    return said


def climbing() -> Draft:
    """The least number of float64, multiplied up to a half in single precision, a half taken off."""
    draft = Draft(0, (1, 1))
    weight = draft.constant(np.array([[2.0**127]], np.float32))
    for alpha in (*[2.0**127] * 4, 2.0 ** (1074 - 127 - 4 * 254)):
        draft.put("Gemm", [draft.last, weight], (1, 1), alpha=alpha)
    draft.put("Sub", [draft.last, draft.constant(np.array([0.5], np.float32))], (1, 1))
    draft.put("Relu", [draft.last], (1, 1))
    return draft


def test_the_least_numbers_are_not_lost(tmp_path: Path) -> None:
    """Halves of them are zero, and weights of any size meet these. A review had the false claim accepted."""
    both = ("float64", "exact")
    assert claimed(tmp_path, climbing(), "4.9e-324", "0.6")["exact"] == "accepted"
    assert claimed(tmp_path, climbing(), "4.9e-324", "0.25") == dict.fromkeys(both, "rejected")


def _halves_unpaid(self: Any, k: int) -> None:
    """What underflows in the middle of an interval is not paid, nor are inputs of any size taken for infinite."""
    node = self.engine.straight[k]
    reach, middle = np.abs(node.offset)[:, None], node.offset[:, None]
    radius = np.zeros_like(middle)
    for source, matrix, size, _ in node.sources:
        low, up = self.low[source].T, self.up[source].T
        middle, radius = middle + matrix @ (low / 2 + up / 2), radius + size @ (up / 2 - low / 2)
        reach = reach + size @ np.maximum(np.abs(low), np.abs(up))
    slack = np.where(reach <= floats.HUGE, self.engine.gamma * floats.MORE * reach + floats.TINY, np.inf)
    self.slack[k] = slack.T
    self._append_interval((middle - radius - slack).T, (middle + radius + slack).T)


def test_planted_lost_numbers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floats.GraphFloatPass, "affine", _halves_unpaid)
    assert claimed(tmp_path, climbing(), "4.9e-324", "0.25")["float64"] == "accepted"
