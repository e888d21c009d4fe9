"""Real processes of birdnn, and what must be true of a folder that one of them was killed in."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "birdnn" / "data" / "demo.onnx"
PROPERTIES = ROOT / "birdnn" / "data" / "properties"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.part|\.draft\..+|\.probe\..+")
CHANGING = "wall_s", "repair_s", "verify_s", "sample_s", "check_s", "write_s", "seconds"
CHANGING += "out", "report", "file", "net", "command", "parameters"


def repair(out: Path) -> list[object]:
    """Arguments of a short repair of the embedded network, whose every candidate is written."""
    chosen = ["--method", "finetune", "--domain", "property", "--decision", "argmin", "--samples", 2000]
    return ["repair", "--net", DEMO, "--prop", PROPERTIES / "prop_2.vnnlib", *chosen, "--out", out]


def start(*arguments: object, **more: object) -> subprocess.Popen[str]:
    """``birdnn`` in a process of its own, both streams piped."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT, **more}
    return subprocess.Popen([sys.executable, "-m", "birdnn", *map(str, arguments)], text=True, **options)


def finished(process: subprocess.Popen[str], timeout: float = 120.0) -> tuple[int, str, str]:
    """Exit status and streams; nothing of it survives a failure."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, out, err


def killed(process: subprocess.Popen[str]) -> None:
    """End it as the kernel would for want of memory."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read what it says until a line matches; of phases that last less than a second some are not said."""
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if re.search(words, line):
            return
    raise AssertionError(f"ended without saying {words!r}: {''.join(heard)}")


def seconds_to_end(process: subprocess.Popen[str]) -> tuple[float, str, str]:
    """How long it still took, and its streams."""
    begun = time.monotonic()
    _, out, err = finished(process)
    return time.monotonic() - begun, out, err


def temporaries(folder: Path) -> list[Path]:
    """What is recognisably unfinished."""
    return sorted(path for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)) if folder.exists() else []


def require_whole(folder: Path) -> None:
    """Every file is readable or recognisably temporary, and a report speaks of the network beside it."""
    if not folder.exists():
        return
    for path in set(folder.iterdir()) - set(temporaries(folder)):
        if path.suffix == ".onnx":
            onnx.checker.check_model(onnx.load(path), full_check=True)
        elif path.suffix == ".json":
            report = json.loads(path.read_text())
            assert report["out_sha256"] == hashlib.sha256(Path(report["out"]).read_bytes()).hexdigest()
        elif path.name.endswith(".certificate.json.gz"):
            assert json.loads(gzip.decompress(path.read_bytes()))["proofs"]
        else:
            raise AssertionError(f"neither a result nor temporary: {path}")


def result(folder: Path) -> tuple[dict[str, bytes], object]:
    """Names and bytes of the networks, and the report without times and places."""
    report = json.loads((folder / "repair.json").read_text())
    return {path.name: path.read_bytes() for path in folder.glob("*.onnx")}, _settled(report)


def _settled(value: object) -> object:
    if isinstance(value, dict):
        return {key: _settled(part) for key, part in value.items() if key not in CHANGING}
    return [_settled(part) for part in value] if isinstance(value, list) else value
