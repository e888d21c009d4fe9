"""Who made a row: the code's state, the day, the machine, the versions."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from birdnn.pipeline.facts import machine, versions

SOURCE = Path(__file__).resolve().parents[2]
"""The folder that holds the package: a working copy, where it has ``.git``."""

_TAKING_PART = "python", "torch", "onnx", "onnxruntime", "numpy", "scipy"


def stamp() -> dict[str, str]:
    """What the code is at this moment: short hash with ``+dirty`` where files differ, results left out; and the day.

    The hash is empty where the package does not lie in its own working copy.
    """
    # only of a working copy that is ours: a repository around site-packages would name its own commit
    commit = _git_output("rev-parse", "--short", "HEAD") if (SOURCE / ".git").exists() else ""
    dirty = commit and _git_output("status", "--porcelain", "--", ".", ":(exclude)benchmarks/*/results/*")
    return {"commit": f"{commit}+dirty" if dirty else commit, "date": datetime.now(UTC).date().isoformat()}


def _git_output(*words: str) -> str:
    """What git says about the working copy; nothing where there is no git."""
    try:
        done = subprocess.run(["git", *words], cwd=SOURCE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def software_versions() -> str:
    """Versions of what takes part, on one line."""
    return " ".join(f"{name}={version}" for name, version in versions().items() if name in _TAKING_PART)


def birdnn_version() -> str:
    """Ours, as rows name it."""
    return versions()["birdnn"]


def provenance(command: str, seeds: str = "Seed 0", threads: int | None = None, *, resumable: bool = True) -> str:
    """Machine, versions, seeds and command, as Markdown; `threads` of each process where not the environment's."""
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    here = machine()
    variable = os.environ.get("OMP_NUM_THREADS", "default") if threads is None else threads
    return (
        f"Machine: {here.cpu}, {here.cores} cores; OMP_NUM_THREADS={variable}; {listed}. {seeds}.\n\n"
        f"Command: `{command}`{' (resumable: rows that are in the CSV are kept)' * resumable}.\n"
    )
