"""What the pages show is what happens: snippets of Python, sessions of a terminal, the workflow, names of commands."""

from __future__ import annotations

import ast
import doctest
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import birdnn
from birdnn.cli.app import HELP
from tools import run_sessions

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "commands")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
OPTION = re.compile(r"--[a-z][a-z-]+")
COMMANDS = {"birdnn": [sys.executable, "-m", "birdnn"], "python": [sys.executable]}


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced blocks of a kind, in order."""
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == kind]


def holding(kind: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, kind)]


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """A script with `birdnn` and `python` of this environment, as a user's terminal has them."""
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    for name, command in COMMANDS.items():
        (tools / name).write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
        (tools / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.thorough
@pytest.mark.parametrize("page", holding("pycon"), ids=lambda page: page.stem)
def test_python(page: Path, demo: Path) -> None:
    """All snippets of a page are one session."""
    session = "\n".join(blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert found.attempted
    assert not found.failed


@pytest.mark.thorough
def test_the_notebook(demo: Path) -> None:
    """Its cells run, and what they end with shows itself."""
    cells = json.loads((ROOT / "docs" / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    scope: dict[str, object] = {}
    shown = []
    for cell in cells:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop()
            assert isinstance(last, ast.Expr)
            exec(compile(tree, "cell", "exec"), scope)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), scope))
    assert shown[0] == birdnn.__version__
    for result, words in ((shown[1], ("prop_1", "proved", "violated")), (shown[2], ("prop_8", "<svg"))):
        page = result._repr_html_()  # type: ignore[attr-defined]
        assert all(word in page for word in words)
    assert shown[3] is True


@pytest.mark.slow
@pytest.mark.parametrize("page", run_sessions.pages(), ids=lambda page: page.stem)
def test_sessions(page: Path, tmp_path: Path) -> None:
    """Each command prints what the page says that it prints, and ends with that status."""
    for step in run_sessions.run(page, tmp_path):
        assert step.alike, f"$ {step.command}\n{step.printed}"


@pytest.mark.slow
def test_the_workflow(tmp_path: Path) -> None:
    """Its lines stop at the violated network, and leave what they promise."""
    safety = tmp_path / "safety"
    safety.mkdir()
    data = ROOT / "birdnn" / "data"
    for file in (data / "demo.onnx", data / "properties" / "prop_2.vnnlib", data / "properties" / "prop_8.vnnlib"):
        shutil.copy(file, safety)
    workflow = yaml.safe_load((ROOT / "docs" / "examples" / "verify-network.yml").read_text(encoding="utf-8"))
    steps = {step.get("name"): step for step in workflow["jobs"]["prove"]["steps"]}
    proved = shell(tmp_path, steps["Prove"]["run"])
    assert proved.returncode == 1, proved.stderr
    assert steps["Propose a repair"]["if"] == "failure()"
    proposed = shell(tmp_path, f"set -e\n{steps['Propose a repair']['run']}")
    assert proposed.returncode == 0, proposed.stderr
    for name in ("proof.certificate.json.gz", "verdict.json", "proposal/report.sarif", "proposal/report.html"):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page that names an option which no command has sends its readers into an error."""
    from typer.main import get_command

    from birdnn.certify.check import __main__ as checker
    from birdnn.cli import vnnlib
    from birdnn.cli.app import app

    known = {"--index-url", "--no-deps", "--fail-on-warning", "--help", "--head", "--address"}  # of pip, Sphinx and Ray
    known |= {"--beside", "--peer", "--first", "--noise"}  # of benchmarks
    commands = [get_command(app)]
    for command in commands:  # which grows by sub-commands
        known |= {name for parameter in command.params for name in parameter.opts}
        commands += getattr(command, "commands", {}).values()
    with pytest.raises(SystemExit):
        vnnlib.run(["verify", "--help"])  # the other command, birdnn-vnnlib
    with pytest.raises(SystemExit):
        checker.main(["--help"])  # the third, birdnn-check
    known |= set(re.findall(OPTION, capsys.readouterr().out))
    text = page.read_text(encoding="utf-8")
    named = {word for line in re.findall(r"`[^`]+`|^.*birdnn .*$", text, re.M) for word in re.findall(OPTION, line)}
    assert named <= known


def test_the_help_is_one_that_the_pages_understand() -> None:
    """Sections of the help become sections of a page."""
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    try:
        from command_pages import overview  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    page = overview(["verify"])
    for heading in re.findall(r"^\[bold\](.*?)\[/\]$", HELP, re.M):
        assert f"## {heading}" in page
    assert "[cyan]" not in page
    assert "| 0 | " in page
    assert "| 130 | " in page


def test_the_checker_is_as_long_as_the_assessor_is_told() -> None:
    """Who plans to read it counts on that; the parts for graphs and for pairs of networks stand in folders."""
    page = (ROOT / "docs" / "examples" / "assessor.md").read_text(encoding="utf-8")
    told = re.search(r"its ([\d,]+) lines can be\s+read \(([\d,]+) of them", page)
    assert told is not None
    checker = ROOT / "birdnn" / "certify" / "check"
    for said, files in zip(told.groups(), (checker.rglob("*.py"), checker.glob("*.py")), strict=True):
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        assert abs(lines - int(said.replace(",", ""))) <= 0.05 * lines
