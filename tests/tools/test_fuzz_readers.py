"""The fuzz harness, with few files of every kind: all end in words about the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from birdnn.errors import FormatError
from tools.fuzz_readers import Kind, furnish, kinds, run
from tools.mutations import change_text

FILES = 60
CHEAP = tuple(name for name in kinds(Path(os.devnull), ()) if name not in ("outcome", "certificate"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With what external data may name."""
    furnish(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")  # as for a user: what NumPy wonders about is no error
@pytest.mark.parametrize("name", CHEAP)
def test_nothing_escapes(folder: Path, name: str) -> None:
    tally = run(kinds(folder, ())[name], FILES, seed=7, folder=folder, keep=None)
    assert not tally.bad(), (tally.counts, tally.escaped)
    assert not tally.unforeseen, "a reader has no words of its own for this"
    assert tally.counts["read"] + tally.counts["refused"] == FILES


def test_what_escapes_is_seen(folder: Path) -> None:
    """A planted defect is found, and told from errors about the input."""

    def use(path: Path) -> None:
        if len(path.read_bytes()) % 2:
            raise KeyError("planted")
        raise FormatError(str(path), "", "as it should")

    kind = Kind(name="a.txt", use=use, seeds=[b"a = [1, 2]"], change=change_text)
    tally = run(kind, 40, seed=0, folder=folder, keep=folder)
    assert tally.bad()
    assert tally.counts["escaped"] + tally.counts["refused"] == 40
    assert 0 < tally.counts["escaped"] == sum(tally.escaped.values()) == len(list(folder.glob("escaped-*")))
