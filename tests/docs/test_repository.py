"""What services read from the repository is what the commands take, and is tried where it can be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from birdnn.cli.app import app

ROOT = Path(__file__).resolve().parents[2]


def read(name: str):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def tools(folder: Path) -> str:
    """A path on which `birdnn` is that of this environment."""
    (folder / "bin").mkdir()
    script = folder / "bin" / "birdnn"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m birdnn "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}:{os.environ['PATH']}"


@pytest.mark.thorough
@pytest.mark.parametrize(("prop", "status", "verdict"), [("prop_1", 0, "unsat"), ("prop_8", 1, "sat")])
def test_the_action_stops_what_is_violated(demo: Path, prop: str, status: int, verdict: str) -> None:
    """Its last step, as a runner runs it: the status of the command, the verdict as an output, the certificate."""
    step = read("action.yml")["runs"]["steps"][-1]
    output = demo / "output"
    given = {"NET": "demo.onnx", "PROPS": f"{prop}.vnnlib", "SEMANTICS": "float32", "TIMEOUT": "300"}
    given["CERTIFICATE"] = "c.certificate.json.gz"
    assert set(step["env"]) == set(given)
    env = {**os.environ, **given, "PATH": tools(demo), "PYTHONPATH": str(ROOT), "GITHUB_OUTPUT": str(output)}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=demo, env=env, capture_output=True, check=False)
    assert done.returncode == status, done.stderr
    assert output.read_text().strip() == f"verdict={verdict}"
    assert (demo / "c.certificate.json.gz").is_file()


def test_the_hook_is_a_command_with_its_options() -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    name, command, *options = hook["entry"].split()
    assert name == "birdnn"
    told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert all(option in told for option in options)


def test_the_workflow_runs_what_we_run() -> None:
    steps = read(".github/workflows/ci.yml")["jobs"]["check"]["steps"]
    (run,) = (step["run"] for step in steps if "run" in step)
    assert (ROOT / run).stat().st_mode & 0o111


@pytest.mark.parametrize("file", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda f: f.stem)
def test_templates_can_be_read(file: Path) -> None:
    found = read(str(file.relative_to(ROOT)))
    assert found["name"]
    assert all(part["type"] == "textarea" and part["attributes"]["label"] for part in found["body"])
