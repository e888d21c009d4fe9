"""Runs the terminal sessions that the documentation shows, and writes what they print into its pages.

    python -m tools.run_sessions [--write] [PAGE ...]

A session is every ``console`` block of a page, one after the other, in an empty folder: commands after ``$``, and below
each what it prints. Commands of birdnn run in this process; `echo $?` is the status of the one before; `cd` changes the
folder. Without ``--write`` differences are shown, numbers and widths apart. Exit status: 0 alike, 1 different.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

DOCS = Path(__file__).resolve().parent.parent / "docs"
COLUMNS = "80"
_BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.M | re.S)
_UNSHOWN = re.compile(r"^\[ *[\d.]+ s\] .*\n| +$", re.M)  # progress, which a terminal replaces; room for columns
HOME = "/home/you"
_MACHINE = re.compile(r"^\$ birdnn doctor", re.M)  # says what this machine has


@dataclass(frozen=True, slots=True)
class Step:
    """A command, what the page says that it prints, and what it printed."""

    command: str
    shown: str
    printed: str

    @property
    def alike(self) -> bool:
        """Do both say the same, numbers and widths apart? A status has to be the same number."""
        if self.command == "echo $?":
            return self.shown == self.printed
        return _words(self.shown) == _words(self.printed)


def pages() -> list[Path]:
    """The pages that show a session."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _BLOCK.search(page.read_text(encoding="utf-8"))]


def run(page: Path, folder: Path) -> list[Step]:
    """The session of a page, run in a folder."""
    done, status = [], 0
    with contextlib.chdir(folder):
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if _MACHINE.search(block):
                continue
            for command, shown in _steps(block):
                status, printed = (status, f"{status}\n") if command == "echo $?" else _run(command)
                done.append(Step(command, shown, _UNSHOWN.sub("", printed).replace(str(folder.resolve()), HOME)))
    return done


def rewritten(text: str, steps: Sequence[Step]) -> str:
    """A page with what its session printed."""
    left = iter(steps)

    def block(match: re.Match[str]) -> str:
        if _MACHINE.search(match[0]):
            return match[0]
        return "".join(f"$ {step.command}\n{step.printed}" for _, step in zip(_steps(match[0]), left, strict=False))

    return _BLOCK.sub(block, text)


def _steps(block: str) -> Iterator[tuple[str, str]]:
    for step in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, shown = step.partition("\n")
        yield command, shown


def _run(command: str) -> tuple[int, str]:
    words = shlex.split(command)
    if words[0] == "cd":
        os.chdir(words[1])
        return 0, ""
    if words[0] == "birdnn":
        from birdnn.cli.app import app

        before, sys.argv = sys.argv, words  # the record of a command is what was typed
        try:
            result = CliRunner(env={"COLUMNS": COLUMNS}).invoke(app, words[1:], prog_name="birdnn")
        finally:
            sys.argv = before
        return result.exit_code, result.output
    if words[:3] == ["python", "-m", "birdnn.certify.check"]:
        from birdnn.certify.check.__main__ import main

        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = main(words[3:])
        return status, out.getvalue()
    raise ValueError(f"a session may hold cd, echo $?, birdnn and its checker, not {command!r}")


def _words(text: str) -> str:
    """Without what differs from run to run: numbers, widths, lines of tables."""
    for shape, word in ((r"[─━]+", "─"), (r"\b[0-9a-f]{64}\b", "HASH"), (r"\d[\d.,:]*(e-?\d+)?", "#")):
        text = re.sub(shape, word, text)
    return "".join(text.split())  # a long folder breaks lines elsewhere


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the sessions of the documentation.")
    parser.add_argument("pages", type=Path, nargs="*", metavar="PAGE")
    parser.add_argument("--write", action="store_true", help="write what is printed into the pages")
    given = parser.parse_args(argv)
    different = 0
    for page in given.pages or pages():
        with tempfile.TemporaryDirectory() as folder:
            steps = run(page.resolve(), Path(folder))
        if given.write:
            page.write_text(rewritten(page.read_text(encoding="utf-8"), steps), encoding="utf-8")
        for step in steps:
            if not (given.write or step.alike):
                different += 1
                print(f"{page.name}: $ {step.command}\n{step.printed}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
