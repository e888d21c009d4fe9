"""Which files a pattern names."""

from __future__ import annotations

from pathlib import Path

import pytest

from birdnn.errors import FormatError
from birdnn.patterns import matching_files


def test_files_that_match_come_sorted_in_place_of_their_pattern(tmp_path: Path) -> None:
    names = ["b.vnnlib", "a.vnnlib", "c.txt", "odd[1].vnnlib"]
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / "d.vnnlib").mkdir()
    last = tmp_path / "c.txt"
    found = matching_files([last, tmp_path / "[ab].vnnlib", tmp_path / "*.vnnlib"])
    assert [path.name for path in found] == ["c.txt", "a.vnnlib", "b.vnnlib", "a.vnnlib", "b.vnnlib", "odd[1].vnnlib"]
    assert matching_files([tmp_path / "odd[1].vnnlib"]) == [tmp_path / "odd[1].vnnlib"]  # a file is what it is called


def test_what_is_no_pattern_is_passed_on(tmp_path: Path) -> None:
    assert matching_files([tmp_path / "missing.vnnlib"]) == [tmp_path / "missing.vnnlib"]
    assert matching_files([]) == []


def test_folders_are_searched_where_the_pattern_says_so(tmp_path: Path) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    (inner / "a.vnnlib").write_text("")
    assert matching_files([tmp_path / "**" / "*.vnnlib"]) == [inner / "a.vnnlib"]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\*.vnnlib: no file matches this pattern"):
        matching_files([tmp_path / "none*.vnnlib"])
