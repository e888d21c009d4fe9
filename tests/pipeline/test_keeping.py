"""When what a search has reached is written, and where; `tests/verify/test_frontier.py` has whole searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch

from birdnn.errors import FormatError, OutputError
from birdnn.pipeline import keeping
from birdnn.pipeline.keeping import EVERY_S, FolderKeeper, keeper_in
from birdnn.verify.frontier import Frontier
from tests.bounds.builders import half_space, make_property
from tests.pipeline.test_limits import Ticking

REGIONS = make_property([0.0], [1.0], half_space([1.0], 0.0)).regions

FRONTIER = Frontier(
    place=0, boxes=7, boxes_before=3, batch=4, attacks=1, enough_boxes=inf, next_prognosis=9, stack=[], rounds=[],
    gave_up=[], proofs=[], recorder=None, drawn=torch.arange(3, dtype=torch.uint8), executed=None, over_reals=(),
)  # fmt: skip


def test_what_was_kept_is_read_until_it_is_done(tmp_path: Path) -> None:
    """In a folder that is made when it is needed, a file for each question."""
    keeper = FolderKeeper(tmp_path / "kept" / "here")
    assert keeper.read("one", REGIONS) is None
    keeper.done("one")
    assert not (tmp_path / "kept").exists()
    keeper.write("one", FRONTIER)
    keeper.write("two", replace(FRONTIER, boxes=8))
    keeper.write("one", replace(FRONTIER, boxes=9))
    found = {name: FolderKeeper(keeper.folder).read(name, REGIONS) for name in ("one", "two")}
    assert [each.boxes for each in found.values() if each is not None] == [9, 8]
    keeper.done("one")
    assert keeper.read("one", REGIONS) is None
    assert keeper.read("two", REGIONS) is not None
    assert keeper.failure == ""


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: b"", lambda data: b"{}"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    keeper = FolderKeeper(tmp_path)
    keeper.write("one", FRONTIER)
    (file,) = tmp_path.iterdir()
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(FormatError, match="one"):
        keeper.read("one", REGIONS)


def test_a_file_of_another_question_is_not_gone_on_from(tmp_path: Path) -> None:
    keeper = FolderKeeper(tmp_path)
    keeper.write("one", FRONTIER)
    (file,) = tmp_path.iterdir()
    file.rename(file.with_name(file.name.replace("one", "two")))
    with pytest.raises(FormatError, match="written for another network"):
        keeper.read("two", REGIONS)


def test_a_minute_lies_between_two_files(tmp_path: Path) -> None:
    now = Ticking(0.0, seconds=100.0)
    keeper = FolderKeeper(tmp_path, now)
    assert not keeper.due()
    now.seconds = 100.0 + EVERY_S - 0.5
    assert not keeper.due()
    now.seconds = 100.0 + EVERY_S
    assert keeper.due()
    keeper.write("one", FRONTIER)
    assert not keeper.due()
    now.seconds += EVERY_S
    assert keeper.due()


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path) -> None:
    """A file of thirty seconds is followed by ten minutes without one."""
    now = Ticking(30.0, seconds=100.0)
    keeper = FolderKeeper(tmp_path, now)
    keeper.write("one", FRONTIER)
    now.tick, ended = 0.0, now.seconds
    now.seconds = ended + 599.0
    assert not keeper.due()
    now.seconds = ended + 600.0
    assert keeper.due()


def test_a_file_that_cannot_be_written_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it tried again at once; the one before it stays."""
    now = Ticking(0.0, seconds=100.0)
    keeper = FolderKeeper(tmp_path, now)
    keeper.write("one", FRONTIER)

    def full(name: str, frontier: Frontier) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "pack_frontier", full)
        now.seconds += EVERY_S
        keeper.write("one", replace(FRONTIER, boxes=99))
    assert keeper.failure == "what the search reached could not be kept: memory ran out"
    assert not keeper.due()
    found = keeper.read("one", REGIONS)
    assert found is not None
    assert found.boxes == 7
    (tmp_path / "file").write_text("")
    lost = FolderKeeper(tmp_path / "file" / "below")
    lost.write("one", FRONTIER)
    assert lost.failure.startswith("what the search reached could not be kept: ")
    assert "file" in lost.failure


def test_nobody_keeps_where_no_folder_is_named(tmp_path: Path) -> None:
    assert keeper_in(None, ()) is None
    found = keeper_in(tmp_path / "new", ())
    assert found is not None
    assert found.folder == tmp_path / "new"
    assert not found.folder.exists()
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="exists and is no folder"):
        keeper_in(tmp_path / "taken", ())
