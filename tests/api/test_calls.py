"""The functions of the package: what they take, what they say, and what they refuse."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import birdnn
from birdnn.api.options import OPTIONS
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import (
    BlockLocalizeRequest,
    BlockRequest,
    EstimateRequest,
    LocalizeRequest,
    RepairRequest,
    VerifySettings,
)
from tests.classifiers import SHAPE, hard, trained

SAFE = birdnn.box_property("safe", lower=[0, 0], upper=[1, 1], unsafe=[([[-1, 0]], [-100])])
"""Output 0 stays below 100."""

ARGUMENTS = {"net", "props", "keep", "points", "out", "measure", "certificate", "command"}
OF_BLOCKS = {"val", "blocks"}
RECORDS = {
    "verify": VerifySettings,
    "estimate": EstimateRequest,
    "localize": LocalizeRequest,
    "localize_blocks": BlockLocalizeRequest,
    "repair": RepairRequest,
}


def module() -> torch.nn.Module:
    """Two inputs, two outputs; output 0 is below output 1 in a corner of the unit square."""
    made = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


@pytest.mark.parametrize("name", RECORDS)
def test_the_options_are_those_of_the_command(name: Any) -> None:
    """An option that the command line has and Python has not would send its users back to the shell."""
    fields = {field.name for field in dataclasses.fields(RECORDS[name])}
    positional = {"data"} if name == "localize_blocks" else set()
    assert set(OPTIONS[name].__annotations__) == fields - ARGUMENTS - OF_BLOCKS - positional


def test_the_options_of_repair_blocks_are_those_of_its_method_and_some_of_repair() -> None:
    fields = {field.name for field in dataclasses.fields(BlockRequest)}
    shared = {"timeout_s", "report", "device", "seed"}
    assert shared < set(OPTIONS["repair"].__annotations__)
    assert set(OPTIONS["repair_blocks"].__annotations__) == fields - OF_BLOCKS - {"data", "test"} | shared


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"timeout": 3}, TypeError, "no option 'timeout'; it has timeout_s"),
        ({"timeout_s": 0}, birdnn.InputError, "timeout_s is 0.0; a positive finite number is expected"),
        ({"timeout_s": "soon"}, birdnn.InputError, "timeout_s is 'soon'"),
        ({"semantics": "float16"}, birdnn.InputError, "'real' or 'float32'"),
        ({"seed": -1}, birdnn.InputError, "seed is -1"),
        ({"crosscheck": ["nobody"]}, birdnn.EngineError, "nobody"),
        ({"crosscheck": "marabou"}, birdnn.InputError, "crosscheck is 'marabou'"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        birdnn.verify(module(), SAFE, **options)


def test_a_module_and_a_property_in_memory() -> None:
    """The verdict is about the module: its witness violates when the module itself is asked."""
    net = module()
    low = birdnn.box_property("low", lower=[0, 0], upper=[1, 1], unsafe=[([[1, -1]], [0])], text="0 above 1")
    outcome = birdnn.verify(net, [SAFE, low], seed=3)
    safe, found = (answer.verdict for answer in outcome.verdicts)
    assert isinstance(safe, birdnn.Proved)
    assert isinstance(found, birdnn.Violated)
    x = torch.tensor([found.witness.x])
    assert low.violated(found.witness.x, net(x)[0].tolist())
    assert (outcome.net, outcome.verdicts[1].path, outcome.verdicts[1].text) == (
        "network.onnx",
        "low.vnnlib",
        "0 above 1",
    )


def test_what_was_changed_since_it_was_read_is_what_is_asked_about(demo: Path) -> None:
    """A verdict about the file, given for the network in memory, would be about another network."""
    net = birdnn.load_network("demo.onnx")
    assert birdnn.verify(net, "prop_1.vnnlib").net == str(demo / "demo.onnx")
    with torch.no_grad():
        net.value(sorted(net.repairable)[0]).add_(0.5)
    outcome = birdnn.verify(net, "prop_1.vnnlib")
    assert outcome.net == "demo.onnx"
    assert outcome.net_sha256 != birdnn.load_network("demo.onnx").sha256
    with pytest.raises(birdnn.MismatchError, match="save_network"):
        birdnn.verify(net, "prop_1.vnnlib", certificate="c.json.gz")
    birdnn.save_network(net, "trained.onnx")
    again = birdnn.load_network("trained.onnx")
    assert again.graph == net.graph
    assert torch.equal(again(torch.ones(1, 5)), net(torch.ones(1, 5)))
    with pytest.raises(birdnn.OutputError, match="never overwritten"):
        birdnn.save_network(net, "demo.onnx")


def test_a_property_changed_since_it_was_read(demo: Path) -> None:
    prop = birdnn.load_property("prop_8.vnnlib")
    (demo / "prop_8.vnnlib").write_text((demo / "prop_1.vnnlib").read_text())
    outcome = birdnn.falsify("demo.onnx", prop)
    assert isinstance(outcome.verdicts[0].verdict, birdnn.Violated)
    assert outcome.verdicts[0].path == "prop_8.vnnlib"


@pytest.mark.thorough
def test_repairing_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the evidence speaks about is in the folder; the module is left alone; its repaired copy is proved."""
    net, low = module(), birdnn.box_property("low", lower=[0, 0], upper=[1, 1], unsafe=[([[1, -1]], [0])])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    out = tmp_path / "out"
    outcome = birdnn.repair(net, low, keep=SAFE, out=out, domain=([-1, -1], [2, 2]), samples=1000)
    assert outcome.result == "proved"
    assert outcome.fidelity is not None
    assert outcome.fidelity.n > 0
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    names = {path.name for path in out.iterdir()}
    assert names == {
        "network.onnx",
        "network.repaired.onnx",
        "network.certificate.json.gz",
        "repair.json",
        "low.vnnlib",
        "safe.vnnlib",
        "domain.toml",
    }
    files = [out / "low.vnnlib", out / "safe.vnnlib"]
    assert birdnn.check(out / "network.repaired.onnx", files, out / "network.certificate.json.gz").accepted
    mended = birdnn.repaired_module(net, str(outcome.out))
    assert mended.state_dict().keys() == before.keys()
    assert not torch.equal(mended[2].bias, net[2].bias)  # type: ignore[index]
    assert isinstance(birdnn.verify(mended, low).verdicts[0].verdict, birdnn.Proved)
    with pytest.raises(birdnn.OutputError, match="says something else"):
        birdnn.repair(mended, low, out=out)


def test_a_repair_that_cannot_begin_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(birdnn.InputError, match=r"no\.csv"):
        birdnn.repair(module(), SAFE, points="no.csv", out=tmp_path / "deep" / "out", decision="argmax")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_nor_does_one_that_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """By the user or by a defect."""

    def broken_off(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("birdnn.api.asking.repair_files", broken_off)
    with pytest.raises(error):
        birdnn.repair(module(), SAFE, out=tmp_path / "deep" / "out", decision="argmax")
    assert not list(tmp_path.iterdir())


def test_two_properties_of_one_name_are_both_asked() -> None:
    other = birdnn.box_property("safe", lower=[0, 0], upper=[1, 1], unsafe=[([[-1, 0]], [-99])])
    outcome = birdnn.verify(module(), [SAFE, other, SAFE])
    assert [answer.name for answer in outcome.verdicts] == ["safe", "safe (2)", "safe"]
    assert outcome.verdicts[0].sha256 == outcome.verdicts[2].sha256 != outcome.verdicts[1].sha256


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_is_none_for_a_file(name: str) -> None:
    with pytest.raises(birdnn.SpecError, match="no name"):
        birdnn.verify(module(), birdnn.box_property(name, lower=[0, 0], upper=[1, 1], unsafe=[([[1, 0]], [0])]))


def test_a_measure_in_memory(demo: Path) -> None:
    prop = birdnn.load_property("prop_1.vnnlib")
    box = prop.regions[0]
    x = np.random.default_rng(0).uniform(box.lower.numpy(), box.upper.numpy(), size=(500, 5))
    outcome = birdnn.estimate("demo.onnx", prop, measure=x)
    assert outcome.properties[0].n == 500
    assert "samples.npz" in outcome.measure
    assert outcome.request.measure == "samples.npz"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lower": [2, 0]}, "lower bound 2 above upper bound 1"),
        ({"lower": [float("nan"), 0]}, "no finite number"),
        ({"lower": [0]}, "different lengths"),
        ({"lower": [[0, 0]]}, "1 dimension"),
        ({"unsafe": []}, "nothing is unsafe"),
        ({"unsafe": [([1, 2], [0])]}, "2 dimension"),
        ({"unsafe": [([[1, 2]], [0, 1])]}, "1 rows and 2 bounds"),
        ({"unsafe": [([["x", 2]], [0])]}, "'x' is no number that we read"),
    ],
)
def test_a_box_that_makes_no_sense(changes: dict[str, Any], told: str) -> None:
    said: dict[str, Any] = {"lower": [0, 0], "upper": [1, 1], "unsafe": [([[1, -1]], [0])], **changes}
    with pytest.raises(birdnn.SpecError, match=told):
        birdnn.box_property("p", **said)


def test_numbers_are_exact() -> None:
    """0.1 as a float is not a tenth; as a string it is."""
    prop = birdnn.box_property("p", lower=["0.1", Fraction(1, 3)], upper=[0.1, 2], unsafe=[([[1]], [Decimal("-0.3")])])
    region = prop.regions[0]
    assert region.exact_lower == (Fraction(1, 10), Fraction(1, 3))
    assert region.exact_upper == (Fraction(0.1), Fraction(2))
    assert region.unsafe[0].rows[0].bound == Fraction(-3, 10)


def test_the_effort_of_a_repair_is_no_public_option() -> None:
    """`RepairSettings` is the house's own business: none of it is an option by accident."""
    effort = {field.name for field in dataclasses.fields(RepairSettings)}
    assert not effort & set(OPTIONS["repair"].__annotations__)


@pytest.mark.usefixtures("short_trials")
def test_blocks_are_ranked_and_repaired(tmp_path: Path) -> None:
    """Examples in memory, a network read before; what is written reads the validation examples better."""
    (tmp_path / "net.onnx").write_bytes(trained())
    net = birdnn.load_network(tmp_path / "net.onnx")
    learn, check, test = (hard(80, seed) for seed in (1, 2, 3))
    arrays = [(some.x.reshape(-1, *SHAPE).double().numpy(), some.y.numpy()) for some in (learn, check, test)]
    found = birdnn.localize_blocks(net, arrays[0], radius=0.0, examples=40)
    assert [block.name for block in found.found.blocks] == ["stem", "layer1", "layer2", "head"]
    assert (found.examples.path, found.request.data) == ("data.npz", Path("data.npz"))
    outcome = birdnn.repair_blocks(net, *arrays[:2], test=arrays[2], out=tmp_path / "out", block="layer1", epochs=3)
    assert outcome.out is not None
    assert outcome.blocks.block == "layer1"
    after = birdnn.load_network(outcome.out)
    right = int((after.float()(check.x).argmax(1) == check.y).sum())
    assert right == outcome.blocks.methods[0].accuracy["validation"].right > outcome.blocks.before["validation"].right
    with pytest.raises(birdnn.InputError, match="epochs is 0"):
        birdnn.repair_blocks(net, *arrays[:2], out=tmp_path / "out", epochs=0)
    with pytest.raises(birdnn.MismatchError, match="no convolution"):
        birdnn.localize_blocks(Path("birdnn/data/demo.onnx"), arrays[0])


def test_a_pattern_names_the_properties_that_match(tmp_path: Path) -> None:
    for name in ("b", "a"):
        birdnn.save_property(SAFE, tmp_path / f"{name}.vnnlib")
    outcome = birdnn.verify(module(), str(tmp_path / "*.vnnlib"))
    assert [verdict.name for verdict in outcome.verdicts] == ["a", "b"]
    with pytest.raises(birdnn.InputError, match="no file matches this pattern"):
        birdnn.verify(module(), tmp_path / "c*.vnnlib")
