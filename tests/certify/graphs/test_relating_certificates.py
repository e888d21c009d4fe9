"""Certificates of properties whose rows speak about inputs: accepted where true, and never where they are not."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from birdnn.bounds.crown import CrownSettings
from birdnn.certify.check import Rejected, Settings, check, judge
from birdnn.certify.check.graphs import nodes
from birdnn.certify.check.graphs.nodes import Affine, Graph
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import network_from_layers
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved, Verdict
from birdnn.verify import SearchSettings, verify
from birdnn.verify.relating import net_for_property
from tests.certify.graphs.models import Draft, written
from tests.certify.producer import write
from tests.verify.cases import NO_ATTACK

F = Fraction
Case = tuple[Path, Path, dict[str, Any]]


def chained(folder: Path, seed: int) -> Path:
    draw = np.random.default_rng(seed)
    layers = [(draw.normal(size=(n, m)), draw.normal(size=n)) for m, n in itertools.pairwise((3, 6, 5, 2))]
    kind = ("Relu", "Tanh", "Sigmoid")[seed % 3]
    (folder / "net.onnx").write_bytes(to_onnx_bytes(network_from_layers(layers, kind)))
    return folder / "net.onnx"


def residual(folder: Path, seed: int) -> Path:
    draft = Draft(seed, (1, 1, 2, 2))
    draft.put("Conv", ["X", draft.floats(2, 1, 3, 3), draft.floats(2)], (1, 2, 2, 2), pads=[1] * 4)
    first = draft.put("Relu", [draft.last], draft.at)
    draft.put("Conv", [first, draft.floats(2, 2, 1, 1), draft.floats(2)], draft.at)
    draft.put("Relu", [draft.last], draft.at)
    draft.put("Add", [first, draft.last], draft.at)
    draft.flat(2)
    return written(folder / "net.onnx", draft)


def posed(folder: Path, net: Path, seed: int, gap: float) -> Path:
    """``a @ y + c @ x`` stays above a level where ``x_0 + x_1 <= 0.25``, by ``gap`` times its spread on samples."""
    loaded, draw = load_network(net), np.random.default_rng(seed)
    n, m = loaded.net.n_inputs, loaded.net.n_outputs
    a, c = draw.integers(-2, 3, m), draw.integers(1, 4, n) * draw.choice([-1, 1], n)
    x = draw.uniform(-1, 1, (2000, n)).astype(np.float32)
    x = x[x[:, 0] + x[:, 1] <= 0.25]
    with torch.no_grad():
        value = loaded.net(torch.from_numpy(x)).double().numpy() @ a + x @ c
    level = value.min() - gap * (value.max() - value.min())
    terms = [f"(* {k} Y_{j})" for j, k in enumerate(a.tolist())] + [f"(* {k} X_{i})" for i, k in enumerate(c.tolist())]
    lines = [f"(declare-const {name} Real)" for name in (*(f"X_{i}" for i in range(n)), *(f"Y_{j}" for j in range(m)))]
    lines += [f"(assert (<= -1 X_{i} 1))" for i in range(n)]
    lines += ["(assert (<= (+ X_0 X_1) 0.25))", f"(assert (<= (+ {' '.join(terms)}) {level:.9f}))"]
    (folder / "prop.vnnlib").write_text("\n".join(lines))
    return folder / "prop.vnnlib"


def decided(net: Path, prop: Path, out: Path) -> Verdict:
    """The verdict, written where there is one."""
    loaded = load_network(net)
    asked = load_property(prop, loaded, "normalised", deciding=True, relating=True)
    effort = SearchSettings(semantics="real", record=True, attack=NO_ATTACK, max_boxes=4000, batch=16,
                            crown=CrownSettings(steps=6))  # fmt: skip
    verdict = verify(net_for_property(loaded.net, asked, recorded=True), asked, settings=effort, replays=loaded.replays)
    told: dict[str, Any] = {"semantics": "real", "assumptions": {}, "tool": "birdnn"}
    if isinstance(verdict, Proved):
        entry = Certified(prop=asked, verdict=verdict)
        out.write_bytes(certificate_bytes(loaded.path, loaded.net.sha256, [entry], **told))
    return verdict


@pytest.mark.parametrize("make", [chained, residual])
def test_proofs_are_accepted(make: Callable[[Path, int], Path], tmp_path: Path) -> None:
    """In both arithmetics, with several leaves."""
    leaves = 0
    for seed in range(6):
        net = make(tmp_path, seed)
        prop = posed(tmp_path, net, seed, 0.1)
        verdict = decided(net, prop, tmp_path / "c.json")
        if not isinstance(verdict, Proved):
            continue
        how: Any = "exact" if seed % 2 else "float64"
        leaves += check(net, [prop], tmp_path / "c.json", Settings(arithmetic=how)).answers[0].leaves
    assert leaves > 12


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """An accepted proof."""
    folder = tmp_path_factory.mktemp("relating")
    net = chained(folder, 0)
    prop = posed(folder, net, 0, 0.2)
    assert isinstance(decided(net, prop, folder / "c.json"), Proved)
    return net, prop, json.loads((folder / "c.json").read_text())


def row(data: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = data["proofs"][0]["regions"][0]["unsafe"][0][number]
    return found


def _moved(number: int, place: int, by: Fraction) -> Callable[[dict[str, Any]], None]:
    def spoil(data: dict[str, Any]) -> None:
        values = row(data, number)["coefficients"]
        values[place] = str(F(values[place]) + by)

    return spoil


def _shorter(data: dict[str, Any]) -> None:
    for number in (0, 1):
        row(data, number)["coefficients"] = row(data, number)["coefficients"][:2]


def _second_format(data: dict[str, Any]) -> None:
    data["version"] = 2


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another coefficient of an input": (_moved(1, 3, F(1, 10**6)), "is not covered"),
    "another half-space of inputs": (_moved(0, 2, F(1, 10**6)), "is not covered"),
    "rows of outputs alone": (_shorter, "must be a list of 5 numbers"),
    "the second format": (_second_format, "relates inputs, of which version 3 of the format speaks only"),
}


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_certificate_is_rejected(name: str, arithmetic: Any, proved: Case, tmp_path: Path) -> None:
    spoil, reason = SPOILT[name]
    net, prop, data = proved[0], proved[1], copy.deepcopy(proved[2])
    assert check(net, [prop], write(tmp_path / "c.json.gz", data), Settings(arithmetic=arithmetic)).answers
    spoil(data)
    with pytest.raises(Rejected) as caught:
        check(net, [prop], write(tmp_path / "c.json.gz", data), Settings(arithmetic=arithmetic))
    assert reason in caught.value.reason


def without_inputs(graph: Graph, right: Any = nodes.beside_inputs) -> Graph:
    """Planted: zeros in place of the inputs."""
    made: Graph = right(graph)
    last = made.nodes[-1]
    assert isinstance(last, Affine)
    return Graph((*made.nodes[:-1], Affine(last.sources[:1], last.offset)), made.sizes, made.single)


def backwards(graph: Graph, right: Any = nodes.beside_inputs) -> Graph:
    """Planted: the inputs in another order."""
    made: Graph = right(graph)
    n, m, last = graph.n_inputs, graph.n_outputs, made.nodes[-1]
    assert isinstance(last, Affine)
    places = np.concatenate([np.full(m, -1), np.arange(n)[::-1]])
    both = last.sources[0], (0, nodes.selection_map(places, n))
    return Graph((*made.nodes[:-1], Affine(both, last.offset)), made.sizes, made.single)


@pytest.mark.parametrize("bug", [without_inputs, backwards])
def test_a_checker_that_does_not_see_the_inputs(
    bug: Any, proved: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Planted in the checker: what is true of the network is no longer what it proves."""
    monkeypatch.setattr(judge, "beside_inputs", bug)
    with pytest.raises(Rejected):
        check(proved[0], [proved[1]], write(tmp_path / "c.json.gz", proved[2]))


@pytest.mark.thorough
def test_what_is_false_is_never_accepted(tmp_path: Path) -> None:
    """Thresholds that samples reach, in the record of a proof for one that they do not."""
    tried = 0
    for seed in range(20):
        net = (chained if seed % 2 else residual)(tmp_path, seed)
        prop = posed(tmp_path, net, seed, 0.3)
        if not isinstance(decided(net, prop, tmp_path / "c.json"), Proved):
            continue
        data = json.loads((tmp_path / "c.json").read_text())
        false = posed(tmp_path, net, seed, -0.02)
        bound = load_property(false, load_network(net), "normalised", deciding=True, relating=True)
        data["proofs"][0]["property"]["sha256"] = bound.sha256
        for number, stated in enumerate(bound.regions[0].unsafe[0].rows):
            entry = row(data, number)
            entry["coefficients"] = [str(value) for value in stated.normal().coefficients]
            entry["bound"] = str(stated.normal().bound)
        for how in ("float64", "exact"):
            with pytest.raises(Rejected):
                check(net, [false], write(tmp_path / "f.json.gz", data), Settings(arithmetic=how))  # type: ignore[arg-type]
        tried += 1
    assert tried > 10
