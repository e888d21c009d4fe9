"""What the prover leaves behind is what the independent checker proves again, in either arithmetic and semantics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdnn.bounds.crown import CrownSettings
from birdnn.certify.check import Rejected, Settings, check
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.certifying import Decided, certify
from birdnn.pipeline.claims import assumptions
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.load import Loaded, load_network, load_property
from birdnn.records import Proved, Unwatched, VerifySettings, Violated
from birdnn.rounding import Semantics
from birdnn.spec import Property
from birdnn.verify import SearchSettings, recording, verify
from tests.bounds.builders import random_layers
from tests.certify.cases import property_text
from tests.verify.cases import NO_ATTACK

KINDS = [("Relu", None), ("LeakyRelu", 0.1), ("LeakyRelu", 1.5), ("Elu", 0.7), ("Sigmoid", None), ("Tanh", None)]
UNSAFE = {
    "one row": "(>= Y_0 {0})",
    "two rows": "(and (>= Y_0 {0}) (>= Y_1 {1}))",
    "either": "(or (and (>= Y_0 {0})) (and (>= Y_1 {1}) (<= Y_0 0.3)))",
}


def files(
    folder: Path, seed: int, op: str, alpha: float | None, unsafe: str, gap: float, size: tuple[int, float] = (6, 1.5)
) -> tuple[Loaded, Property]:
    """A random network, and a property that holds on samples by about ``gap`` times the spread of the outputs."""
    layers = random_layers(seed, (2, size[0], size[0], 2), size[1])
    net, prop = folder / "net.onnx", folder / "prop.vnnlib"
    net.write_bytes(layers_to_onnx(layers, op, alpha=alpha))
    loaded = load_network(net)
    line = torch.linspace(-0.5, 0.5, 101)
    points = torch.cartesian_prod(line, line)
    y = loaded.net(points).detach()
    levels = (y.amax(0) + gap * (y.amax(0) - y.amin(0))).tolist()
    prop.write_text(property_text(2, 2, UNSAFE[unsafe].format(*(f"{v:.6f}" for v in levels))))
    return loaded, load_property(prop, loaded, "normalised")


def hard(folder: Path) -> tuple[Loaded, Property]:
    """Two rows that exclude each other only together; its proof has cuts, faces and combinations."""
    return files(folder, 1, "Relu", None, "two rows", -0.1, (16, 3.0))


BY_BOXES = CrownSettings()
"""No neuron is split: more cuts, faces and slopes."""


def proved(loaded: Loaded, prop: Property, semantics: Semantics, **how: CrownSettings) -> Proved:
    limits = SearchSettings(semantics=semantics, record=True, attack=NO_ATTACK, max_boxes=20_000, batch=16, **how)
    verdict = verify(loaded.net, prop, settings=limits, replays=loaded.replays)
    assert isinstance(verdict, Proved)
    return verdict


def written(loaded: Loaded, prop: Property, verdict: Proved | Violated, semantics: Semantics, out: Path) -> Path:
    entry = Certified(prop=prop, verdict=verdict)
    told = {"semantics": semantics, "assumptions": assumptions(loaded.net, semantics), "tool": "birdnn"}
    out.write_bytes(certificate_bytes(loaded.path, loaded.net.sha256, [entry], **told))
    return out


@pytest.mark.thorough
@pytest.mark.parametrize("unsafe", UNSAFE)
@pytest.mark.parametrize(("op", "alpha"), KINDS)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), single=st.booleans())
def test_every_proof_is_accepted(op, alpha, unsafe: str, seed: int, single: bool, tmp_path: Path) -> None:
    """Also where faces move, where combinations of rows close a polytope, where several stay open."""
    loaded, prop = files(tmp_path, seed, op, alpha, unsafe, 0.03)
    semantics: Semantics = "float32" if single else "real"
    verdict = proved(loaded, prop, semantics)
    out = written(loaded, prop, verdict, semantics, tmp_path / "c.json")
    found = check(loaded.path, [str(prop.path)], out)
    assert found.answers[0].leaves == sum(proof.leaves for proof in verdict.proofs)


@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize(("op", "alpha"), [("Relu", None), ("Tanh", None)])
def test_and_in_exact_arithmetic(op: str, alpha: float | None, semantics: Semantics, tmp_path: Path) -> None:
    """The same file, without any rounding."""
    loaded, prop = files(tmp_path, 3, op, alpha, "two rows", 0.05)
    out = written(loaded, prop, proved(loaded, prop, semantics), semantics, tmp_path / "c.json")
    assert check(loaded.path, [str(prop.path)], out, Settings(arithmetic="exact")).answers[0].verdict == "proved"


def test_faces_and_combinations_do_occur(tmp_path: Path) -> None:
    """Or the tests above would say nothing about them."""
    loaded, prop = hard(tmp_path)
    (proof,) = proved(loaded, prop, "real", crown=BY_BOXES).proofs
    assert len(proof.face) > 5
    assert bool(((proof.multiplier > 0) & (proof.multiplier < 1)).any())
    assert len(proof.slope) > 5
    assert proof.leaves > 5


def _first_plane(result, item, plane, right=recording._choices_of_planes):
    return right(result, item, plane * 0)


def _no_slopes(result, item, plane, right=recording._choices_of_planes):
    multipliers, slopes, sides = right(result, item, plane)
    return multipliers, torch.full_like(slopes, torch.nan), sides


def _not_all_items(self, work, step, right=recording.Recorder.examined):
    used = step.left.used & (torch.arange(len(step.left.used)) % 7 > 0)[:, None]
    right(self, work, replace(step, left=replace(step.left, used=used)))


def _in_order_of_making(children):
    return np.arange(len(children))


@pytest.mark.parametrize(
    ("where", "name", "bug"),
    [
        (recording, "_choices_of_planes", _first_plane),
        (recording, "_choices_of_planes", _no_slopes),
        (recording.Recorder, "examined", _not_all_items),
        (recording, "_level_by_level", _in_order_of_making),
    ],
)
def test_a_wrong_record_is_rejected(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, bug: Callable, tmp_path: Path
) -> None:
    """Planted: another plane's numbers, forgotten slopes, forgotten items, a tree in another order."""
    loaded, prop = hard(tmp_path)
    whole = proved(loaded, prop, "real", crown=BY_BOXES)
    check(loaded.path, [str(prop.path)], written(loaded, prop, whole, "real", tmp_path / "c"))
    monkeypatch.setattr(where, name, bug)
    out = written(loaded, prop, proved(loaded, prop, "real", crown=BY_BOXES), "real", tmp_path / "c.json")
    with pytest.raises(Rejected):
        check(loaded.path, [str(prop.path)], out)


def test_the_same_proof_gives_the_same_bytes(tmp_path: Path) -> None:
    """A seed repeats a run, its certificate included."""
    loaded, prop = hard(tmp_path)
    found = [written(loaded, prop, proved(loaded, prop, "real"), "real", tmp_path / n).read_bytes() for n in "ab"]
    assert found[0] == found[1]


def test_a_search_that_keeps_nothing_leaves_no_certificate(tmp_path: Path) -> None:
    """No proof without its trees is written."""
    loaded, prop = files(tmp_path, 5, "Relu", None, "one row", 0.1)
    verdict = replace(proved(loaded, prop, "real"), proofs=())
    with pytest.raises(ValueError, match="was not recorded"):
        written(loaded, prop, verdict, "real", tmp_path / "c.json")
    told = {"semantics": "real", "watch": Unwatched()}
    assert certify(loaded, [Decided(prop=prop, path="", verdict=verdict)], tmp_path / "c.json", **told) is None
    assert not (tmp_path / "c.json").exists()


def test_verify_writes_and_checks_it(tmp_path: Path) -> None:
    """A proof and a counterexample, each in its own file; what the checker says is in the outcome."""
    for gap, word in ((0.05, "accepted: float64, all"), (-0.3, "accepted: 1 violated")):
        loaded, prop = files(tmp_path, 5, "Relu", None, "one row", gap)
        out = tmp_path / "c.certificate.json.gz"
        told = VerifySettings(certificate=out)
        outcome = verify_files(loaded.path, [Path(str(prop.path))], settings=told)
        assert outcome.certificate is not None
        assert outcome.certificate.checked.startswith(word)
        assert outcome.certificate.size == out.stat().st_size
        assert check(loaded.path, [str(prop.path)], out).line() in outcome.certificate.checked


def test_an_ended_check_says_so(tmp_path: Path) -> None:
    """The certificate is there, and nobody says that it was accepted."""
    loaded, prop = files(tmp_path, 5, "Relu", None, "one row", 0.05)
    decided = [Decided(prop=prop, path=str(prop.path), verdict=proved(loaded, prop, "real"))]
    out = tmp_path / "c.json"
    told = {"semantics": "real", "watch": Unwatched(), "over": out.exists}  # over as soon as the file is there
    found = certify(loaded, decided, out, **told)
    assert found is not None
    assert found.checked == "not checked: the time limit"
