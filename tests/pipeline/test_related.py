"""Repairs of queries that relate a network to itself: read, trained, proved on the file, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.errors import MismatchError
from birdnn.formats import read_network
from birdnn.formats.onnx import layers_to_onnx
from birdnn.formats.relation_text import monotone_query, symmetry_query
from birdnn.pipeline.load import load_network
from birdnn.pipeline.related import attack_related, decide_related, related_subject
from birdnn.pipeline.relating import verify_related
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Proved, RepairRequest, Unknown, Unwatched, VerifySettings, Violated
from birdnn.repair import SlopeTrainingSettings
from birdnn.sample import evaluate
from birdnn.verify import SearchSettings
from tests.queries import query, same

FAST = RepairSettings(
    slopes=SlopeTrainingSettings(steps=600, points=100, boxes=48, kept=200, search=10, grows=1.3, rate=5e-3),
    selection_points=5000,
    domain_points=5000,
    region_points=5000,
    held_out_points=5000,
)
CORNER = [(0.0, 1.0), (0.0, 1.0)]


def network(folder: Path, seed: int = 5, *, rising: bool = False, name: str = "net.onnx") -> Path:
    """Of two inputs and three outputs; of non-negative weights all outputs rise with all inputs."""
    rng = np.random.default_rng(seed)
    layers = [
        (rng.normal(size=(n, m)) * 1.5 / np.sqrt(m), rng.normal(size=n) * 0.3) for m, n in pairwise([2, 12, 12, 3])
    ]
    path = folder / name
    path.write_bytes(layers_to_onnx([(np.abs(w), b) if rising else (w, b) for w, b in layers], "Relu"))
    return path


def rises(folder: Path, output: int = 0) -> Path:
    """The output does not fall with the first input, in a corner."""
    path = folder / "rises.vnnlib"
    path.write_text(monotone_query(CORNER, 3, 0, output))
    return path


def request(folder: Path, net: Path, *props: Path, **more: object) -> RepairRequest:
    domain = folder / "domain.toml"
    domain.write_text("lower = [-1.0, -1.0]\nupper = [1.0, 1.0]\n")
    made = RepairRequest(net=net, props=props, domain=domain, decision="argmax", out=folder / "out", samples=2000)
    return replace(made, **more)  # type: ignore[arg-type]


def largest_fall(net: Path, output: int = 0) -> float:
    """On pairs of a fine grid."""
    side = torch.linspace(0, 1, 301)
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    y = evaluate(read_network(net).float(), grid)[:, output].reshape(301, 301)
    return float((y[:-1] - y[1:]).max())


@pytest.mark.thorough
def test_a_network_is_made_monotone_and_the_file_is_proved(tmp_path: Path) -> None:
    net, prop = network(tmp_path), rises(tmp_path, 1)
    assert largest_fall(net, 1) > 1e-3
    outcome = repair_files(request(tmp_path, net, prop), settings=FAST)
    assert outcome.result == "proved"
    assert outcome.out is not None
    (entry,) = outcome.properties
    assert (entry.before, entry.after, entry.regions) == ("violated", "proved", ())
    assert entry.arithmetic.endswith("over the reals")
    assert largest_fall(Path(outcome.out), 1) < 1e-5  # of float32
    # someone else's opinion of the file that was written
    again = verify_related({"f": Path(outcome.out)}, [prop], settings=VerifySettings(timeout_s=60))
    assert isinstance(again.verdicts[0].verdict, Proved)
    # two inputs that differ in the first one only, and what both runs give
    (first, *_) = entry.counterexamples
    assert len(first.x) == 4
    assert first.x[1] == first.x[3]
    assert len(first.y) == 6
    record = json.loads(Path(str(outcome.report)).read_text())
    assert record["outcome"] == "proved"
    assert record["semantics"] == "real"
    assert outcome.fidelity is not None
    assert outcome.fidelity.n > 0


@pytest.mark.thorough
def test_properties_of_one_input_are_kept_beside_a_relation(tmp_path: Path) -> None:
    net, prop = network(tmp_path), rises(tmp_path, 1)
    side = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1))
    most = float(evaluate(read_network(net).float(), side)[:, 0].max()) + 0.3
    low = tmp_path / "low.vnnlib"
    lines = [f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1", "Y_2")]
    lines += [f"(assert (>= X_{i} 0.0))\n(assert (<= X_{i} 1.0))" for i in range(2)]
    low.write_text("\n".join([*lines, f"(assert (>= Y_0 {most:.6f}))"]) + "\n")
    outcome = repair_files(request(tmp_path, net, prop, keep=(low,)), settings=FAST)
    assert outcome.result == "proved"
    assert {(e.name, e.role, e.before, e.after) for e in outcome.properties} == {
        ("rises", "goal", "violated", "proved"),
        ("low", "keep", "proved", "proved"),
    }


def with_idle_neurons(folder: Path) -> Path:
    """The same function, with neurons that are never active."""
    rng, layers = np.random.default_rng(5), []
    for k, (m, n) in enumerate(pairwise([2, 12, 12, 3])):
        weight, bias = rng.normal(size=(n, m)) * 1.5 / np.sqrt(m), rng.normal(size=n) * 0.3
        rows, columns = 8 * (k < 2), 8 * (k > 0)
        layers.append((np.pad(weight, ((0, rows), (0, columns))), np.pad(bias, (0, rows), constant_values=-1.0)))
    path = folder / "idle.onnx"
    path.write_bytes(layers_to_onnx(layers, "Relu"))
    return path


def test_a_ramp_keeps_every_decision_and_is_proved(tmp_path: Path) -> None:
    net, prop = with_idle_neurons(tmp_path), rises(tmp_path, 1)
    # the region is a quarter of the domain, and slopes are steep beside the size of outputs
    outcome = repair_files(request(tmp_path, net, prop, max_mae=1.0), settings=FAST)
    assert [entry.method for entry in outcome.tried] == ["common ramp"]
    assert outcome.result == "proved"
    assert outcome.fidelity is not None
    assert outcome.fidelity.decision_agreement == 1.0
    assert largest_fall(Path(str(outcome.out)), 1) < 1e-5
    assert any(note.startswith("A ramp of height") for note in outcome.notes)


@pytest.mark.thorough
@pytest.mark.parametrize("more", [{"method": "retrain"}, {"prefer": "outputs"}, {"decision": "none"}])
def test_where_outputs_count_no_ramp_is_tried(more: dict[str, object], tmp_path: Path) -> None:
    outcome = repair_files(request(tmp_path, with_idle_neurons(tmp_path), rises(tmp_path, 1), **more), settings=FAST)
    assert {entry.method for entry in outcome.tried} == {"retrain, slopes"}


def test_a_network_that_is_monotone_needs_no_repair(tmp_path: Path) -> None:
    net = network(tmp_path, rising=True)
    outcome = repair_files(request(tmp_path, net, rises(tmp_path)), settings=FAST)
    assert outcome.result == "nothing_to_repair"
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_unlike_the_query_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.vnnlib"
    wrong.write_text(monotone_query([(0.0, 1.0)] * 3, 3, 0, 1))
    with pytest.raises(MismatchError, match=r"network f of the query has 3 inputs, this file 2"):
        repair_files(request(tmp_path, network(tmp_path), wrong))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (query(2, 3, *same(2), "(>= Y_g[0] (+ Y_f[0] 0.1))"), "about two networks, f and g, and repair changes one"),
        (
            query(2, 3, "(<= X_f[0] X_g[0])", "(<= X_f[1] X_g[1])", "(<= X_g[0] 1.0)", "(<= X_g[1] 1.0)",
                  "(< Y_g[0] Y_f[0])", like="equal-to f"),
            "differ in one coordinate",
        ),
        (symmetry_query(CORNER, 3, {0: 1, 1: 0}, {1: 2, 2: 1}, 0.1), "differ in one coordinate"),
    ],
)  # fmt: skip
def test_what_no_slopes_imply_is_refused(text: str, words: str, tmp_path: Path) -> None:
    prop = tmp_path / "q.vnnlib"
    prop.write_text(text)
    with pytest.raises(MismatchError, match=words) as refused:
        repair_files(request(tmp_path, network(tmp_path), prop))
    assert str(prop) in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"semantics": "float32"}, "decided over the reals: leave --semantics out"),
        ({"method": "finetune"}, "leave --method out, or say retrain"),
    ],
)
def test_options_that_do_not_fit_are_refused(more: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=words):
        repair_files(request(tmp_path, network(tmp_path), rises(tmp_path), **more))


def test_what_is_asked_about_runs_or_raw_units_is_refused(tmp_path: Path) -> None:
    """What would be proved is another statement."""
    net, prop = network(tmp_path, rising=True), rises(tmp_path)
    with pytest.raises(MismatchError, match="in network units: leave --units out"):
        repair_files(request(tmp_path, net, prop, units="raw"))
    prop.write_text(prop.read_text().replace("real", "float32"))
    with pytest.raises(MismatchError, match="over float32, and what relates two inputs is decided over the reals"):
        repair_files(request(tmp_path, net, prop))


def test_a_query_that_nothing_can_violate_says_so(tmp_path: Path) -> None:
    prop = rises(tmp_path)
    prop.write_text(f"{prop.read_text()}(assert (>= X_f[0] 2.0))\n")
    with pytest.raises(MismatchError, match="nothing is unsafe, so that there is nothing to repair: "):
        repair_files(request(tmp_path, network(tmp_path), prop))


def test_the_domain_may_be_where_the_query_speaks(tmp_path: Path) -> None:
    asked = replace(request(tmp_path, network(tmp_path, rising=True), rises(tmp_path)), domain="property")
    outcome = repair_files(asked, settings=FAST)
    assert outcome.domain is not None
    assert (outcome.domain.lower, outcome.domain.upper) == ((0.0, 0.0), (1.0, 1.0))
    assert any("rises relates two inputs, so that all proofs speak about the reals" in note for note in outcome.notes)


def test_the_same_query_twice_is_one(tmp_path: Path) -> None:
    prop = rises(tmp_path)
    outcome = repair_files(request(tmp_path, network(tmp_path, rising=True), prop, prop), settings=FAST)
    assert [entry.name for entry in outcome.properties] == ["rises"]


def test_verdicts_on_a_network_are_those_of_the_query(tmp_path: Path) -> None:
    falling, rising = (load_network(network(tmp_path, rising=up, name=f"{up}.onnx")) for up in (False, True))
    subject = related_subject(rises(tmp_path, 1), falling, "goal", "normalised")
    assert subject is not None
    limits, watch = SearchSettings(timeout_s=60, semantics="real"), Unwatched()
    violated = decide_related(subject, falling, limits, watch)
    assert isinstance(violated, Violated)
    assert len(violated.witness.x) == 4
    # of another network with the same subject: posed anew, not decided for the first one again
    assert isinstance(decide_related(subject, rising, limits, watch), Proved)
    assert isinstance(attack_related(subject, falling, limits, watch, 1), Violated)
    assert isinstance(attack_related(subject, rising, limits, watch, 1), Unknown)


def test_an_open_proof_leaves_boxes_of_the_networks_inputs(tmp_path: Path) -> None:
    net = load_network(network(tmp_path, rising=True))
    subject = related_subject(rises(tmp_path), net, "goal", "normalised")
    assert subject is not None
    few = SearchSettings(timeout_s=60, semantics="real", max_boxes=0)
    found = decide_related(subject, net, few, Unwatched())
    assert isinstance(found, Unknown)
    assert found.undecided is not None
    assert found.undecided.lower.shape == (1, 2)


def test_a_property_of_one_input_is_no_relation(tmp_path: Path) -> None:
    prop = tmp_path / "one.vnnlib"
    prop.write_text(
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 0))(assert (>= Y_0 9))"
    )
    assert related_subject(prop, load_network(network(tmp_path)), "goal", "normalised") is None
