"""What the functions make of their arguments: files of what has none, and names that outlive these files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import birdnn
from birdnn.api import asking
from birdnn.api.stored import Stored
from birdnn.formats.onnx import network_from_layers
from birdnn.spec import Property
from tests.pipeline.test_relating import written
from tests.queries import apart, query, same
from tests.report.outcomes import PROVED, repair_outcome, verify_outcome

LAYERS = [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
NET = network_from_layers(LAYERS)
"""``relu(x0) + relu(x1)``."""


def below(bound: float, name: str = "below") -> Property:
    """On the unit square the output stays below this."""
    return birdnn.box_property(name, lower=[0, 0], upper=[1, 1], unsafe=[([[-1]], [-bound])])


@pytest.mark.parametrize("call", [birdnn.verify, birdnn.falsify])
def test_nothing_asked(call: Any) -> None:
    with pytest.raises(birdnn.MismatchError, match="nothing is asked: name at least one property"):
        call(NET, [])
    for nets, props in (({"f": NET}, []), ({}, "q.vnnlib")):
        with pytest.raises(birdnn.MismatchError, match="at least one network and one property"):
            call(nets, props)
    with pytest.raises(birdnn.MismatchError, match="given as a file"):
        call({"f": NET}, below(3))


def test_options_are_looked_at_before_files() -> None:
    for call in (birdnn.verify, birdnn.falsify, birdnn.estimate, birdnn.localize):
        with pytest.raises(birdnn.InputError, match="seed is -1"):
            call("missing.onnx", "missing.vnnlib", seed=-1)  # type: ignore[operator]
    with pytest.raises(birdnn.InputError, match="seed is -1"):
        birdnn.repair("missing.onnx", "missing.vnnlib", out="out", seed=-1)


def test_verdicts_stand_in_the_order_of_the_properties() -> None:
    """Of what lives in memory, under names without the folder that is gone."""
    outcome = birdnn.verify(NET, (below(3, "far"), below(1, "near")))
    assert [(answer.path, answer.outcome) for answer in outcome.verdicts] == [
        ("far.vnnlib", "proved"),
        ("near.vnnlib", "violated"),
    ]
    assert outcome.net == "network.onnx"
    found = birdnn.falsify(NET, below(1))
    assert (found.net, found.verdicts[0].path, found.verdicts[0].outcome) == (
        "network.onnx",
        "below.vnnlib",
        "violated",
    )
    assert birdnn.falsify(NET, below(3)).verdicts[0].outcome == "unknown"


def test_networks_in_memory_by_their_names_in_a_query(tmp_path: Path) -> None:
    prop = tmp_path / "q.vnnlib"
    prop.write_text(query(2, 1, *same(2), apart(1, 0.5)))
    file = written(tmp_path / "g.onnx", NET)
    further = network_from_layers([LAYERS[0], (np.ones((1, 2)), np.ones(1))])
    for call in (birdnn.verify, birdnn.falsify):
        outcome = call({"f": further, "g": file}, prop)
        assert outcome.verdicts[0].outcome == "violated"
        assert outcome.verdicts[0].path == str(prop)
        assert "/" not in str(outcome.net).replace(str(file), "")
    with pytest.raises(birdnn.MismatchError, match=r"network\.onnx is none, or was changed"):
        birdnn.verify({"f": further, "g": file}, prop, certificate=tmp_path / "c.json.gz")
    assert not (tmp_path / "c.json.gz").exists()


def test_a_certificate_speaks_about_files(tmp_path: Path) -> None:
    """Of what has none nobody could check it; all that lack one are named."""
    place = tmp_path / "c.json.gz"
    with pytest.raises(birdnn.MismatchError, match=r"network\.onnx, below\.vnnlib is none"):
        birdnn.verify(NET, below(3), certificate=place)
    assert not place.exists()
    net, prop = written(tmp_path / "net.onnx", NET), tmp_path / "below.vnnlib"
    birdnn.save_property(below(3), prop)
    birdnn.verify(birdnn.load_network(net), birdnn.load_property(prop), certificate=str(place))
    assert birdnn.check(net, prop, place).said.startswith("float64")
    assert birdnn.check(net, [str(tmp_path / "bel*.vnnlib")], place, arithmetic="exact").said.startswith("exact")
    birdnn.save_property(below(4), tmp_path / "other.vnnlib")
    assert not birdnn.check(net, tmp_path / "other.vnnlib", place).accepted


@pytest.mark.parametrize("call", [birdnn.verify, birdnn.repair])
def test_engines_that_contradict_each_other_are_an_error(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = replace(verify_outcome(PROVED), disagreement="A says yes, B no")
    for name in ("verify_files", "verify_related"):
        monkeypatch.setattr(asking, name, lambda *_, **__: outcome)
    made = repair_outcome(disagreement="A says yes, B no")
    monkeypatch.setattr(asking, "repair_files", lambda *_, **__: made)
    more = {"out": tmp_path / "out"} if call is birdnn.repair else {}
    with pytest.raises(birdnn.DisagreementError, match="A says yes, B no"):
        call(NET, below(3), **more)
    if not more:
        with pytest.raises(birdnn.DisagreementError, match="A says yes, B no"):
            call({"f": NET}, "q.vnnlib")


def test_no_property_says_how_many_inputs_a_module_takes() -> None:
    with pytest.raises(birdnn.MismatchError, match="input_shape is missing"):
        birdnn.estimate(torch.nn.Linear(2, 1), suite="acasxu", as_name="N1,1")


def test_a_measure_as_an_array_and_as_a_file(tmp_path: Path) -> None:
    """What the outcome names outlives the call, and where a file was named it is that file."""
    x = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.75], [0.25, 0.25]])
    outcome = birdnn.estimate(NET, below(1.5), measure=x)
    (found,) = outcome.properties
    assert (found.n, found.violations, found.path) == (4, 2, "below.vnnlib")
    assert (outcome.net, outcome.request.net, outcome.request.props) == (
        "network.onnx",
        Path("network.onnx"),
        (Path("below.vnnlib"),),
    )
    assert outcome.request.measure == "samples.npz"
    np.savez(tmp_path / "mine.npz", x=x)
    assert birdnn.estimate(NET, below(1.5), measure=tmp_path / "mine.npz").request.measure == str(tmp_path / "mine.npz")
    drawn = birdnn.estimate(NET, below(3), samples=100)
    assert (drawn.request.measure, drawn.properties[0].n) == ("uniform", 100)


def test_neurons_of_what_lives_in_memory() -> None:
    outcome = birdnn.localize(NET, below(1), top=1)
    assert (outcome.net, outcome.request.net, outcome.request.props, outcome.request.top) == (
        "network.onnx",
        Path("network.onnx"),
        (Path("below.vnnlib"),),
        1,
    )
    assert [answer.path for answer in outcome.answers] == ["below.vnnlib"]


def test_all_that_a_repair_is_told_reaches_it_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no file of its own is beside the result, since ``repair.json`` names it; what has one stays there."""
    seen: dict[str, Any] = {}

    def stand_in(request: Any, watch: Any = None) -> Any:
        seen.update(request=request, watch=watch)
        return repair_outcome(request=request)

    monkeypatch.setattr(asking, "repair_files", stand_in)
    out, net = tmp_path / "out", written(tmp_path / "net.onnx", NET)
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text("x0,x1,y0\n0,0,0\n")
    x = np.array([[0.1, 0.2]])
    birdnn.repair(
        net,
        below(1),
        out=str(out),
        keep=[below(3, "kept")],
        points=str(tmp_path / "*.csv"),
        points_radius=0.5,
        domain=([0, 0], [1, 1]),
        data=(x, [0]),
        test=str(tmp_path / "test.npz"),
        decision="argmax",
    )
    request = seen["request"]
    assert (request.net, request.props, request.keep) == (net, (out / "below.vnnlib",), (out / "kept.vnnlib",))
    assert request.points == (tmp_path / "a.csv", tmp_path / "b.csv")
    assert (request.domain, request.data, request.test) == (
        out / "domain.toml",
        out / "data.npz",
        tmp_path / "test.npz",
    )
    assert (request.out, request.points_radius, request.decision) == (out, 0.5, "argmax")
    with np.load(out / "data.npz") as held:
        assert (held["x"].dtype, held["y"].tolist()) == (np.float32, [0])
    birdnn.repair(net, below(1), out=out, domain="property")
    assert (seen["request"].domain, seen["request"].data) == ("property", None)
    birdnn.repair(net, below(1), out=out, domain=tmp_path / "box.toml")
    assert seen["request"].domain == tmp_path / "box.toml"
    birdnn.repair(net, below(1), out=out)
    assert (seen["request"].domain, seen["request"].keep, seen["request"].points) == (None, (), ())


def test_a_string_is_one_name_and_a_pattern_many(tmp_path: Path) -> None:
    for name in ("p2", "p1"):
        birdnn.save_property(below(3), tmp_path / f"{name}.vnnlib")
    given = below(2)
    many = [str(tmp_path / "p?.vnnlib"), given, tmp_path / "p1.vnnlib"]
    assert asking._expand_patterns(many) == (
        *(tmp_path / f"p{i}.vnnlib" for i in (1, 2)),
        given,
        tmp_path / "p1.vnnlib",
    )
    assert asking._expand_patterns("one.vnnlib") == (Path("one.vnnlib"),)
    assert asking._expand_patterns(given) == (given,)
    assert asking._expand_patterns(()) == ()


def test_a_temporary_place_is_gone_afterwards_and_its_files_keep_their_names() -> None:
    with asking.temporary_store() as stored:
        path = stored.property(below(3))
        assert path.exists()
    assert not stored.folder.exists()
    assert asking.shown_path(stored, str(path)) == "below.vnnlib"
    assert asking.shown_path(stored, "/elsewhere/below.vnnlib") == "/elsewhere/below.vnnlib"
    assert isinstance(stored, Stored)
