"""``localize --blocks`` and ``repair --method blocks``: results, exit status, interruption, bad input."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from birdnn.blocks import partition
from birdnn.cli.began import BEGAN
from birdnn.errors import MismatchError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline import repairing_blocks
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.folder import ResultFolder
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import COMPARED, BlockRequest, Progress, RepairRequest
from birdnn.repair.blocks import BlockSettings
from birdnn.report.schemas import schemas
from tests.classifiers import classifier, hard, quarters, stored, trained
from tests.cli.conftest import Call, Result
from tests.report.pages import Seen

pytestmark = pytest.mark.usefixtures("short_trials")

FILES = {"repair": 11, "val": 12, "test": 13}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("blocks")
    (made / "net.onnx").write_bytes(trained())
    for name, seed in FILES.items():
        bad, good = hard(80, seed), quarters(40, seed)
        stored(made / f"{name}.npz", torch.cat([bad.x, good.x]), torch.cat([bad.y, good.y]))
    return made


def test_blocks_are_ranked(call: Call, folder: Path, tmp_path: Path) -> None:
    target, picture = tmp_path / "r.json", tmp_path / "p.svg"
    arguments = ("--blocks", "--data", folder / "repair.npz", "--json", target, "--picture", picture)
    result = call("localize", "--net", folder / "net.onnx", *arguments)
    assert result.status == 0, result.err
    assert result.out.startswith("The most suspicious of 3 blocks is ")
    assert max(map(len, result.out.splitlines())) <= 100
    report = json.loads(target.read_text())
    assert set(json.loads(schemas()["localize-blocks.schema.json"])["required"]) <= set(report)
    blocks = report["localisation"]["blocks"]
    assert [block["name"] for block in blocks] == ["stem", "layer1", "layer2", "head"]
    assert sorted(block["rank"] for block in blocks[:3]) == [1, 2, 3]
    assert blocks[3]["rank"] is None
    assert blocks[3]["suspiciousness"] is None
    assert report["localisation"]["near_failing"] > 0
    assert picture.read_text().startswith("<?xml")


@pytest.mark.thorough
def test_a_block_is_repaired(call: Call, folder: Path, tmp_path: Path) -> None:
    files = [part for name in FILES for part in ({"repair": "--data"}.get(name, f"--{name}"), folder / f"{name}.npz")]
    more = ("--compare", "--epochs", 6, "--repair-block", "layer1", "--report", "--out", tmp_path / "out")
    result = call("repair", "--net", folder / "net.onnx", "--method", "blocks", *files, *more)
    assert result.status == 3, result.err
    assert "Block layer1 repaired, as far as the examples see" in result.out
    report = json.loads((tmp_path / "out" / "repair.json").read_text())
    told = report["blocks"]
    assert (report["outcome"], report["method"], told["block"]) == ("sampled", "blocks", "layer1")
    assert report["semantics"] is None
    assert [m["name"] for m in told["methods"]] == [
        "blocks",
        "block weights",
        "layer",
        "network",
        "network longer",
        "imitation",
    ]
    ours = told["methods"][0]["accuracy"]
    assert ours["validation"]["right"] > told["before"]["validation"]["right"]
    assert report["efficacy"]["hits"] == ours["repair"]["repaired"] > 0
    # the file as written, run by others, does what is told
    session = onnxruntime.InferenceSession(report["out"])
    with np.load(folder / "test.npz") as test:
        y = session.run(None, {"X": test["x"]})[0].argmax(1)
        assert int((y == test["y"]).sum()) == ours["test"]["right"]
    # and everything outside the block is what it was
    before, after = onnx.load(folder / "net.onnx"), onnx.load(report["out"])
    inside = {node.output for block in partition(classifier()) if block.name == "layer1" for node in block.nodes}
    old = {n.output[0]: n.SerializeToString() for n in before.graph.node if n.output[0] not in inside}
    assert {n.output[0]: n.SerializeToString() for n in after.graph.node if n.output[0] in old} == old
    weights = {t.name: t.SerializeToString() for t in after.graph.initializer}
    mine = {name for node in classifier().nodes if node.output in inside for name in node.inputs}
    assert all(weights[t.name] == t.SerializeToString() for t in before.graph.initializer if t.name not in mine)
    _same_is_told(told, before, after, tmp_path / "out" / "report.html")


def _same_is_told(told: dict[str, Any], before: onnx.ModelProto, after: onnx.ModelProto, page: Path) -> None:
    """`repair.json` and the page name what differs between the files, and nothing else."""
    graph = told["graph"]
    old, new = ({t.name: t.SerializeToString() for t in model.graph.initializer} for model in (before, after))
    named = {*graph["initialisers_gone"], *graph["initialisers_changed"]}
    assert named == {name for name, value in old.items() if new.get(name) != value}
    assert (graph["initialisers_kept"], graph["rest_kept"]) == (len(old) - len(named), True)
    inside = {node.name for block in partition(classifier()) if block.name == told["block"] for node in block.nodes}
    assert {node["name"] for node in graph["nodes_gone"]} <= inside
    text = Seen.of(page.read_text()).text
    assert f"The same in both: {graph['nodes_kept']:,} nodes" in text
    assert "same values as the original" not in text


class _Stopping:
    """Stops the command when a phase comes that begins with these words."""

    def __init__(self, words: str) -> None:
        self.words, self.now = words, False

    def update(self, progress: Progress) -> None:
        self.now = self.now or progress.phase.startswith(self.words)

    def stopped(self) -> bool:
        return self.now


def _asked(folder: Path, out: Path, **more: object) -> RepairRequest:
    blocks = BlockRequest(data=folder / "repair.npz", val=folder / "val.npz", epochs=4, **more)  # type: ignore[arg-type]
    return RepairRequest(net=folder / "net.onnx", method="blocks", blocks=blocks, out=out, decision="argmax")


def test_the_best_so_far_survives_an_interruption(folder: Path, tmp_path: Path) -> None:
    outcome = repair_blocks(
        _asked(folder, tmp_path / "out", block="layer1", compare=True), watch=_Stopping("training layer")
    )
    assert outcome.interrupted
    assert outcome.out is not None
    assert Path(outcome.out).exists()
    assert json.loads((tmp_path / "out" / "repair.json").read_text())["interrupted"]
    early = repair_blocks(_asked(folder, tmp_path / "early"), watch=_Stopping("judging"))
    assert early.interrupted
    assert early.out is None
    assert not (tmp_path / "early").exists()


@pytest.mark.thorough
def test_weights_that_another_block_reads_stay(folder: Path, tmp_path: Path) -> None:
    """Exporters leave one tensor of two equal ones; what lies before the block would not be what training saw."""
    model = onnx.load(folder / "net.onnx")
    shared = next(node for node in model.graph.node if node.name.startswith("/stem/conv")).input[2]
    next(node for node in model.graph.node if node.name.startswith("/layer1/conv1")).input[2] = shared
    net = tmp_path / "shared.onnx"
    onnx.save(model, net)
    asked = replace(_asked(folder, tmp_path / "out", block="layer1", compare=True), net=net)
    outcome = repair_blocks(asked)
    for method in outcome.blocks.methods[:3]:  # in all others every weight is free
        assert method.out is not None
        after = {tensor.name: tensor.SerializeToString() for tensor in onnx.load(method.out).graph.initializer}
        before = {tensor.name: tensor.SerializeToString() for tensor in model.graph.initializer}
        changed = {name for name in before if after.get(name) != before[name]}
        assert changed, method.name
        assert changed <= {"layer1.conv1.weight", "layer1.conv2.weight", "layer1.conv2.bias"}, method.name


@pytest.mark.thorough
def test_networks_that_were_compared_have_a_report_and_go_with_it(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = repair_blocks(_asked(folder, out, block="layer1", compare=True))
    assert {method.name for method in outcome.blocks.methods} == {"blocks", *COMPARED}
    assert {path.name for path in out.glob("net.*")} >= {
        ResultFolder(outcome.request).compared(n).name for n in COMPARED
    }
    (out / "net.mine.onnx").write_bytes(b"mine")
    again = repair_blocks(_asked(folder, out, block="layer1"))
    assert {path.name for path in out.iterdir()} == {"net.mine.onnx", "repair.json", Path(str(again.out)).name}
    assert any("net.network_longer.onnx" in note for note in again.notes)


def test_a_search_of_no_epochs_repairs_nothing(folder: Path, tmp_path: Path) -> None:
    outcome = repair_blocks(_asked(folder, tmp_path / "out"), watch=_Stopping("training searching"))
    assert (outcome.result, outcome.out) == ("violated", None)
    assert BlockSettings().search_epochs > 0


def test_blocks_that_cannot_be_repaired(folder: Path, tmp_path: Path) -> None:
    for name, words in (("head", "no convolution that may be replaced"), ("nowhere", "no such block")):
        with pytest.raises(MismatchError, match=words):
            repair_blocks(_asked(folder, tmp_path / "out", block=name))


def _images(n: int = 2, **changed: object) -> dict[str, object]:
    return {"x": np.zeros((n, 1, 8, 8), np.float32), "y": np.arange(n), **changed}


ARRAYS = {
    "shape": (
        _images(x=np.zeros((2, 1, 9, 9), np.float32)),
        "x: its shape is (2, 1, 9, 9); the network takes images of",
    ),
    "label": (_images(y=np.array([0, 12])), "y, example 1: class 12; the network has classes 0 to 9"),
    "negative label": (_images(y=np.array([-1, 0])), "y, example 0: class -1; the network has classes 0 to 9"),
    "nan": (_images(x=np.full((2, 1, 8, 8), np.nan, np.float32)), "x, example 0: holds NaN or infinity"),
    "pickled": (_images(y=np.array([{}, {}])), "holds Python objects, which are never loaded"),
    "none": (_images(0), "x: holds no example"),
}
CASES = [*ARRAYS, "dense", "passing", "failing", "cut short", "a folder", "absent"]


def _bad(folder: Path, path: Path, case: str) -> tuple[str, Path]:
    """What the message says, and the network; the examples are put where `path` says."""
    net = folder / "net.onnx"
    if case in ARRAYS:
        arrays, words = ARRAYS[case]
        np.savez(path, **arrays)  # type: ignore[arg-type]
        return words, net
    if case == "dense":
        net = path.with_name("dense.onnx")
        net.write_bytes(layers_to_onnx([(np.eye(4), np.zeros(4)), (np.eye(4), np.zeros(4))]))
        np.savez(path, x=np.zeros((2, 4), np.float32), y=np.zeros(2, int))
        return "it has no convolution, so there is no block to repair", net
    if case in ("passing", "failing"):
        images = quarters(20, 1)
        decided = classifier()(images.x).argmax(1).detach()
        stored(path, images.x, decided if case == "passing" else (decided + 1) % 4)
        return "too few failing examples" if case == "passing" else "gets all 20 examples wrong", net
    if case == "cut short":
        whole = (folder / "repair.npz").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        return "no .npz file, or one cut short", net
    if case == "a folder":
        path.mkdir()
        return "bad.npz: not a regular file", net
    return "bad.npz: no such file", net


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", ["localize", "repair"])
def test_bad_input(call: Call, folder: Path, tmp_path: Path, case: str, command: str) -> None:
    data = tmp_path / "bad.npz"
    words, net = _bad(folder, data, case)
    more = ("--blocks",) if command == "localize" else ("--method", "blocks", "--val", data, "--out", tmp_path / "out")
    _refused(call(command, "--net", net, "--data", data, *more, "--quiet"), words)
    assert not (tmp_path / "out").exists()


def _refused(result: Result, words: str) -> None:
    """Bad input: one sentence, no traceback."""
    assert (result.status, result.out) == (4, "")
    (told,) = [line for line in result.err.splitlines() if line.startswith("birdnn: ")]
    assert words in told
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (["mine"], "--block mine: expected is NAME=FIRST..LAST"),
        (["mine=a.."], "--block mine=a..: expected is NAME=FIRST..LAST"),
        (["mine=/stem/conv/Conv..nowhere"], "block 'mine': the network has no node 'nowhere'; it has /stem/conv/Conv,"),
        (["one=/stem/conv/Conv../layer1/add/Add", "two=/layer1/conv1/Conv"], "blocks 'one' and 'two' overlap"),
        (["one=/stem/conv/Conv", "one=/layer1/add/Add"], "block 'one' is named twice"),
        (["all=/stem/conv/Conv../head/fc/Gemm"], "all its weights are in one block"),
        (["nowhere.toml"], "nowhere.toml: no such file"),
    ],
)
def test_blocks_by_hand_that_cannot_be(call: Call, folder: Path, blocks: list[str], words: str) -> None:
    said = [part for text in blocks for part in ("--block", text)]
    _refused(call("localize", "--net", folder / "net.onnx", "--blocks", "--data", folder / "repair.npz", *said), words)


def test_a_block_by_hand_and_no_neighbours(call: Call, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    mine = ("--block", "mine=/layer1/conv1/Conv../layer2/conv1/Conv", "--radius", 0, "--json", target)
    result = call("localize", "--net", folder / "net.onnx", "--blocks", "--data", folder / "repair.npz", *mine)
    assert result.status == 0, result.err
    found = json.loads(target.read_text())["localisation"]
    assert [(block["name"], block["by"]) for block in found["blocks"]][1] == ("mine", "user")
    assert "/layer2/add/Add" in found["blocks"][1]["nodes"], "a join is not broken"
    assert (found["radius"], found["near_failing"], found["near_passing"]) == (0, 0, 0)
    assert "neighbours" not in result.out


def test_results_never_take_the_place_of_examples(call: Call, folder: Path, tmp_path: Path) -> None:
    data, before = folder / "repair.npz", (folder / "repair.npz").read_bytes()
    network = ("--net", folder / "net.onnx", "--data", data)
    _refused(call("localize", *network, "--blocks", "--json", data), "is never overwritten")
    _refused(call("localize", *network, "--blocks", "--json", tmp_path / "other.npz"), "a .npz file")
    by_blocks = ("repair", *network, "--method", "blocks", "--val", folder / "val.npz")
    _refused(call(*by_blocks, "--json", folder / "val.npz"), "is never overwritten")
    _refused(call(*by_blocks, "--out", data), "exists and is no folder")
    assert data.read_bytes() == before


def test_a_file_has_one_role(call: Call, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.npz").write_bytes((folder / "repair.npz").read_bytes())
    by_blocks = ("repair", "--net", folder / "net.onnx", "--method", "blocks", "--data", folder / "repair.npz")
    by_blocks = (*by_blocks, "--out", tmp_path / "out", "--val")
    _refused(call(*by_blocks, tmp_path / "copy.npz"), "has the same examples as --data")
    test = ("--test", tmp_path / "copy.npz")
    _refused(call(*by_blocks, folder / "val.npz", *test), "has the same examples as --data")
    _refused(call(*by_blocks, folder / "val.npz", "--repair-block", "nowhere"), "no such block; it has stem, layer1")
    assert not (tmp_path / "out").exists()


def test_a_time_limit(call: Call, folder: Path, tmp_path: Path) -> None:
    files = ("--data", folder / "repair.npz", "--val", folder / "val.npz", "--out", tmp_path / "out")
    more = ("--timeout", 0.001, "--json", tmp_path / "r.json")
    result = call("repair", "--net", folder / "net.onnx", "--method", "blocks", *files, *more)
    assert result.status == 1, result.err
    assert result.out.startswith("No repair found: so far no candidate does better on the validation examples.")
    assert "The time limit ended it." in " ".join(result.out.split())
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["timed_out"], report["interrupted"], report["out"]) == (True, False, None)
    assert report["blocks"]["localisation"]["blocks"][0]["rank"] is None
    assert report["blocks"]["graph"] is None
    assert not (tmp_path / "out").exists()
    # with --report, what there is to say is written although there is no network
    result = call("repair", "--net", folder / "net.onnx", "--method", "blocks", *files, *more[:2], "--report")
    assert result.status == 1, result.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["repair.json", "report.html"]
    page = Seen.of((tmp_path / "out" / "report.html").read_text()).text
    assert "Not repaired" in page
    assert "None of them was judged" in page


def test_loading_counts_and_the_page_has_its_time(
    call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = []

    def seen(**said: Any) -> Clock:
        clocks.append(Clock(**said))
        return clocks[-1]

    monkeypatch.setattr(repairing_blocks, "Clock", seen)
    files = ("--data", folder / "repair.npz", "--val", folder / "val.npz", "--out", tmp_path / "out")
    before = BEGAN.set(time.monotonic() - 100.0)
    try:
        result = call("repair", "--net", folder / "net.onnx", "--method", "blocks", *files, "--timeout", 90, "--report")
    finally:
        BEGAN.reset(before)
    assert "The time limit ended it." in " ".join(result.out.split()), result.err
    asked = replace(_asked(folder, tmp_path / "out"), timeout_s=90.0)
    for request in (asked, replace(asked, report=True)):
        repair_blocks(request, watch=_Stopping("judging"), began=time.monotonic() - 30.0)
    late, alone, paged = (clock.timeout_s for clock in clocks)
    assert late == 0.0
    assert 59.0 < alone <= 60.0
    assert paged == pytest.approx(alone - RepairSettings().page_of(alone), abs=1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("localize", "--blocks"), "--data"),
        (("localize", "--blocks", "--data", "x.npz", "--prop", "p.vnnlib"), "examples"),
        (("localize", "--data", "x.npz", "--prop", "p.vnnlib"), "--blocks"),
        (("repair", "--method", "blocks", "--data", "x.npz"), "--val"),
        (("repair", "--method", "blocks", "--data", "x.npz", "--val", "y.npz", "--prop", "p"), "examples"),
        (("repair", "--prop", "p.vnnlib", "--compare"), "--method blocks"),
        (("repair", "--prop", "p.vnnlib", "--radius", "0"), "--method blocks"),
        (("localize", "--prop", "p.vnnlib", "--radius", "0"), "--blocks"),
        (("localize", "--blocks", "--data", "x.npz", "--radius", "inf"), "finite number"),
        (("localize", "--blocks", "--data", "x.npz", "--radius", "-1"), "finite number"),
        (("repair", "--method", "blocks", "--val", "x.npz"), "--data"),
        (("repair", "--method", "blocks", "--data", "x.npz", "--val", "y.npz", "--resume", "kept"), "--resume"),
    ],
)
def test_wrong_use(call: Call, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    result = call(*arguments, "--net", folder / "net.onnx")
    assert result.status == 2
    assert words in result.err
