"""A page for each command, made from its help while building: it says what the installed command does."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from sphinx.application import Sphinx

from birdnn.cli.app import HELP

FOLDER = "commands"
_ASK = (sys.executable, "-m", "typer", "birdnn.cli.app", "utils", "docs", "--name", "birdnn")
_SPANS = (
    (r'<span style="font-weight: bold">(.*?)</span>', r"**\1**"),
    (r'<span style="color[^"]*">(.*?)</span>', r"`\1`"),
)
_MARKS = ((r"\[bold\](.*?)\[/\]", r"**\1**"), (r"\[cyan\](.*?)\[/\]", r"`\1`"))


def pages() -> Mapping[str, str]:
    """Name of the page -> its text; typer writes those of the commands."""
    told = subprocess.run(_ASK, capture_output=True, text=True, check=True).stdout
    found = {
        name: _page(name, text) for name, text in re.findall(r"^## `birdnn (\w+)`\n(.*?)(?=^## |\Z)", told, re.M | re.S)
    }
    return {**found, "index": overview(list(found))}


def overview(names: list[str]) -> str:
    """What ``birdnn --help`` says, and a list of the pages."""
    lines = ["# Commands", ""]
    for paragraph in HELP.strip("\n").split("\n\n"):
        if heading := re.fullmatch(r"\[bold\](.*?)\[/\]", paragraph):
            lines += [f"## {heading[1]}", ""]
        elif rows := re.findall(r"^\s*(\d+)  (.*)", paragraph, re.M):
            lines += ["| status | meaning |", "| --- | --- |", *(f"| {status} | {text} |" for status, text in rows), ""]
        else:
            lines += [*_with_commands(paragraph), ""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *names, "```", ""])


def _with_commands(paragraph: str) -> Iterator[str]:
    """Lines that are a command alone become one block of code."""
    commands = []
    for line in paragraph.splitlines():
        if command := re.fullmatch(r"\[cyan\](.*?)\[/\]", line):
            commands.append(command[1])
        else:
            yield _replaced(line, _MARKS)
    if commands:
        yield from ("", "```sh", *commands, "```")


def _page(name: str, text: str) -> str:
    text = html.unescape(_replaced(text, _SPANS))
    text = text.replace("**Usage**:\n", "").replace("```console\n$ ", "```text\n")
    text = re.sub(r"^\*\*(Arguments|Options)\*\*:$", r"## \1", text, flags=re.M)
    text = re.sub(r"(?<![`\w-])--[a-z][a-z-]+(?: [A-Z]+\b)?(?![^`\n]*`)", r"`\g<0>`", text)
    text = re.sub(r"^\* `(.*?)`: (.*)$", _entry, text, flags=re.M)
    return f"# birdnn {name}\n{text}"


def _entry(match: re.Match[str]) -> str:
    """An option as a term with its description; brackets hold what is required or assumed."""
    text = re.sub(r"\s*\[([^\[]*)\]$", r" *(\1)*", match[2])
    return f"`{match[1]}`\n: {text}\n"


def _replaced(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for mark, ours in rules:
        text = re.sub(mark, ours, text)
    return text


def write(app: Sphinx) -> None:
    """Write the pages where they differ from what is there."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.stem not in made:
            old.unlink()
    for name, text in made.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
