"""Where results lie, and that what an earlier repair left in the folder goes, and nothing else does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from birdnn.errors import FormatError, OutputError
from birdnn.formats import read_network
from birdnn.pipeline.folder import ResultFolder
from birdnn.records import BlockRequest, RepairRequest
from tests.pipeline.subjects import identity
from tests.pipeline.test_repairing import nnet_text


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


# --- names


def test_names_of_results_are_those_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file, kind in (("a/my.net.onnx", "onnx"), ("a/my.net.onnx.gz", "onnx"), ("my.net.NNET", "nnet")):
        found = ResultFolder(RepairRequest(net=Path(file)))
        assert found.path == tmp_path / "my.net.birdnn"
        assert (found.network.name, found.attempt.name) == (f"my.net.repaired.{kind}", f"my.net.attempt.{kind}")
        assert found.certificate.name == "my.net.certificate.json.gz"
        assert found.compared("block weights") == found.path / "my.net.block_weights.onnx"
        assert {path.parent for path in (found.network, found.draft, found.report, found.page)} == {found.path}


def test_of_an_unknown_format_no_result_has_a_name(tmp_path: Path) -> None:
    net = tmp_path / "net.pt"
    net.touch()
    with pytest.raises(FormatError):
        ResultFolder(RepairRequest(net=net, out=tmp_path / "out")).require_usable()
    assert not (tmp_path / "out").exists()


INPUTS = ("props", "keep", "points", "domain", "suite", "data", "test")


@pytest.mark.parametrize("role", INPUTS)
@pytest.mark.parametrize("result", ["report", "page", "certificate", "network", "attempt", "draft"])
def test_no_input_lies_where_a_result_belongs(folder: ResultFolder, role: str, result: str) -> None:
    path = getattr(folder, result)
    path.touch()
    said = {"props": (path,), "keep": (path,), "points": (path,), "suite": str(path)}.get(role, path)
    request = RepairRequest(net=folder.request.net, out=folder.path, **{role: said})
    with pytest.raises(OutputError, match="never overwritten"):
        ResultFolder(request).require_usable()
    folder.require_usable()


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    ResultFolder(RepairRequest(net=tmp_path / "net.onnx", out=tmp_path / "new" / "out")).require_usable()
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


# --- one repair at a time


def test_a_second_repair_is_refused_while_the_first_is_at_work(folder: ResultFolder) -> None:
    with folder.taken():
        with pytest.raises(OutputError, match="another repair is at work there"), folder.taken():
            pytest.fail("two at once")
        assert folder.path.is_dir()
    with folder.taken():
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    taken = ResultFolder(RepairRequest(net=tmp_path / "net.onnx", out=tmp_path / "net.onnx" / "out"))
    with pytest.raises(OutputError, match="cannot be used"), taken.taken():
        pytest.fail("entered")


def test_new_folders_go_where_nothing_was_left_in_them(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    new = ResultFolder(RepairRequest(net=tmp_path / "net.onnx", out=tmp_path / "new" / "out"))

    def interrupted() -> None:
        with new.taken():
            new.draft.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "new").exists()
    with new.taken():
        new.draft.touch()
        new.attempt.touch()
    assert [path.name for path in new.path.iterdir()] == ["net.attempt.onnx"]


def test_an_old_folder_stays_though_it_is_empty(folder: ResultFolder) -> None:
    with folder.taken() as together:
        together.add(folder.report, b"{}")  # and nothing settles it
    assert folder.path.is_dir()
    assert not list(folder.path.iterdir())


@pytest.mark.parametrize("ours", [False, True])
def test_who_cannot_write_leaves_nothing_of_its_own_and_says_what_else_is_there(
    folder: ResultFolder, ours: bool
) -> None:
    for path in (folder.attempt, folder.page):
        path.write_text("earlier")
    os.utime(folder.attempt, (1.0, 1.0))

    def full() -> None:
        with folder.taken():
            if ours:
                folder.attempt.write_text("ours")
            raise OutputError("there", "it is full")

    with pytest.raises(OutputError) as caught:
        full()
    there = {path.name for path in folder.path.iterdir()}
    assert there == ({"report.html"} if ours else {"report.html", "net.attempt.onnx"})
    told = caught.value.problem
    assert told.startswith("it is full; no network, report or certificate of this repair is there")
    assert "as it was: " in told
    assert ("net.attempt.onnx" in told) != ours


# --- what becomes the result


def test_the_very_bytes_that_were_judged_are_handed_out(tmp_path: Path) -> None:
    net = identity(tmp_path, 0.25).net
    for name, repaired in (("yes", True), ("no", False)):
        folder = ResultFolder(RepairRequest(net=tmp_path / "net.onnx", out=tmp_path / name))
        with folder.taken() as together:
            bytes_ = folder.write_draft(net).read_bytes()
            kept = folder.keep_draft()
            assert (kept, folder.draft.exists()) == (folder.attempt, False)
            final = folder.place(together, repaired=repaired)
            assert final == (folder.network if repaired else folder.attempt)
            folder.settle(together)
        assert [path.name for path in folder.path.iterdir()] == [final.name]
        assert final.read_bytes() == bytes_
        assert folder.replaced() == (f"What an earlier repair had left in the folder is gone: {final.name}.",)


def test_an_nnet_file_has_an_onnx_copy_beside_it(tmp_path: Path) -> None:
    net = tmp_path / "net.nnet"
    net.write_text(nnet_text([(np.full((1, 1), 0.5), np.zeros(1))], 1))
    folder = ResultFolder(RepairRequest(net=net, out=tmp_path / "out"))
    with folder.taken() as together:
        folder.write_draft(read_network(net))
        folder.keep_draft()
        folder.place(together, repaired=True)
        folder.settle(together)
    assert {path.name for path in folder.path.iterdir()} == {"net.repaired.nnet", "net.repaired.onnx"}
    assert read_network(folder.path / "net.repaired.onnx").value("W0").tolist() == [[0.5]]


def test_an_attempt_leaves_an_earlier_success_alone_until_there_is_a_result(folder: ResultFolder) -> None:
    fill(folder, "net.repaired.onnx", "net.attempt.onnx", "net.certificate.json.gz", "report.html")
    before = {path.name for path in folder.path.iterdir()}
    folder.draft.write_text("new")
    folder.keep_draft()
    assert {path.name for path in folder.path.iterdir()} == before
    assert folder.attempt.read_text() == "new"
    folder.forget_attempt()
    folder.forget_attempt()
    assert {path.name for path in folder.path.iterdir()} == before - {"net.attempt.onnx"}


def test_a_network_that_is_called_as_a_result_is_not_overwritten(tmp_path: Path) -> None:
    """Looked at again when something is written: a link may have been set meanwhile."""
    (tmp_path / "net.onnx").write_text("mine")
    folder = ResultFolder(RepairRequest(net=tmp_path / "net.onnx", out=tmp_path / "out"))
    folder.path.mkdir()
    folder.attempt.hardlink_to(tmp_path / "net.onnx")
    folder.draft.write_text("new")
    with pytest.raises(OutputError, match="the input is never overwritten"):
        folder.keep_draft()
    with pytest.raises(OutputError, match="never overwritten"):
        settled(folder)
    assert folder.attempt.read_text() == "mine"
