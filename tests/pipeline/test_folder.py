"""What an earlier repair left in the folder goes, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from birdnn.errors import OutputError
from birdnn.pipeline.folder import ResultFolder
from birdnn.records import BlockRequest, RepairRequest


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "out").mkdir()
    return ResultFolder(RepairRequest(net=tmp_path / "net.onnx", out=tmp_path / "out"))


def fill(folder: ResultFolder, *names: str, told: tuple[str, ...] = ()) -> None:
    for name in names:
        (folder.path / name).write_text("earlier")
    # elsewhere: the folder may have been moved since
    methods = [{"name": name, "out": f"/earlier/out/{name}"} for name in told] + [{"name": "layer", "out": None}]
    folder.report.write_text(json.dumps({"blocks": {"methods": methods}}))


def settled(folder: ResultFolder) -> set[str]:
    with folder.taken() as together:
        together.add(folder.report, b"{}")
        folder.settle(together)
    return {path.name for path in folder.path.iterdir()}


def test_compared_networks_go_where_the_earlier_report_tells_of_them(folder: ResultFolder) -> None:
    mine = ("net.layer.onnx", "other.network.onnx", "thesis.onnx")
    told = ("net.block_weights.onnx", "net.network_longer.onnx", "other.network.onnx", "thesis.onnx")
    fill(folder, *mine, "net.block_weights.onnx", "net.network_longer.onnx", told=told)
    (note,) = folder.replaced()
    assert "net.block_weights.onnx" in note
    assert settled(folder) == {"repair.json", *mine}


def test_an_attempt_takes_the_place_of_an_earlier_one_and_of_what_speaks_of_it(folder: ResultFolder) -> None:
    fill(folder, "net.attempt.onnx", "net.layer.onnx", "net.imitation.onnx", told=("net.imitation.onnx",))
    folder.draft.write_text("new")
    folder.keep_draft()
    assert {path.name for path in folder.path.iterdir()} == {"net.attempt.onnx", "net.layer.onnx"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"blocks": null}', '{"blocks": {"methods": [{}]}}', "[" * 100_000])
def test_a_file_that_is_no_report_tells_of_nothing(folder: ResultFolder, text: str) -> None:
    fill(folder, "net.layer.onnx", told=("net.layer.onnx",))
    folder.report.write_text(text)
    assert settled(folder) == {"repair.json", "net.layer.onnx"}


def test_an_earlier_network_of_the_other_format_goes(folder: ResultFolder) -> None:
    """Of NAME.nnet, of which NAME.onnx may be a copy: both have the same folder."""
    fill(folder, "net.repaired.nnet", "net.repaired.onnx", "net.attempt.nnet")
    assert settled(folder) == {"repair.json"}


@pytest.mark.parametrize("role", ["data", "val", "test"])
def test_examples_are_never_overwritten(folder: ResultFolder, tmp_path: Path, role: str) -> None:
    files = {name: tmp_path / f"{name}.npz" for name in ("data", "val", "test")}
    files[role].touch()
    folder.page.hardlink_to(files[role])
    with pytest.raises(OutputError, match="never overwritten"):
        ResultFolder(
            RepairRequest(net=folder.request.net, out=folder.path, blocks=BlockRequest(**files))
        ).require_usable()


def test_places_of_compared_networks_are_looked_at_before_any_work(folder: ResultFolder, tmp_path: Path) -> None:
    (folder.path / "net.layer.onnx").mkdir()
    data = tmp_path / "data.npz"
    for compare in (False, True):
        blocks = BlockRequest(data=data, val=data, compare=compare)
        asked = ResultFolder(RepairRequest(net=folder.request.net, out=folder.path, blocks=blocks))
        if not compare:
            asked.require_usable()
            continue
        with pytest.raises(OutputError, match="no regular file"):
            asked.require_usable()
