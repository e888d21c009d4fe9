"""Marabou (Wu et al. 2024, arXiv:2401.14461), a complete verifier, in a process of its own.

Its arithmetic is float64 with a tolerance of 1e-6: a point that it finds has to be replayed before it means anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from birdnn.crosscheck.engines import require
from birdnn.records.limits import Over, never
from birdnn.spec import Property

ARITHMETIC = "float64 in Marabou, tolerance 1e-6"

_WORKER = Path(__file__).with_name("marabou_worker.py")
_SLICE_S = 5.0
_GRACE_S = 3.0  # it looks at its clock between steps, and the interpreter has to start
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class MarabouAnswer:
    """What came back.

    Attributes:
        answer: ``"crash"``: the process died or said nothing that can be read.
        x: where it is sat, the point, network units.
        detail: one remark.
    """

    answer: Literal["sat", "unsat", "timeout", "unknown", "crash", "interrupted"]
    x: tuple[float, ...] = ()
    detail: str = ""


def ask_marabou(
    model: bytes,
    prop: Property,
    *,
    timeout_s: float,
    slice_s: float = _SLICE_S,
    stopped: Over = never,
    worker: Path = _WORKER,
) -> MarabouAnswer:
    """Can the network reach an unsafe output?

    Args:
        model: ONNX file, unpacked.
        prop: in network units; boxes and right-hand sides as rounded outward, strict rows as closed ones.
        timeout_s: for everything.
        slice_s: after which a box is cut in two.
        stopped: looked at ten times a second.
        worker: the script that asks.

    Raises:
        EngineError: Marabou is not installed.
    """
    require("marabou")
    with TemporaryDirectory(prefix="birdnn-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        question = {"model": str(path), "timeout_s": timeout_s, "slice_s": slice_s, "regions": _regions_as_json(prop)}
        (Path(folder) / "question.json").write_text(json.dumps(question), encoding="utf-8")
        return _run_worker(worker, Path(folder), timeout_s + _GRACE_S, stopped)


def _regions_as_json(prop: Property) -> list[dict[str, Any]]:
    return [
        {
            "lower": region.lower.tolist(),
            "upper": region.upper.tolist(),
            "unsafe": [{"a": polytope.a.tolist(), "b": polytope.b.tolist()} for polytope in region.unsafe],
        }
        for region in prop.regions
    ]


def _run_worker(worker: Path, folder: Path, limit_s: float, stopped: Over) -> MarabouAnswer:
    """The worker's answer; it is killed where it takes longer than `limit_s`."""
    said, noise = folder / "answer.json", folder / "noise.txt"
    until = time.monotonic() + limit_s
    with (folder / "question.json").open() as asked, said.open("w") as out, noise.open("w") as err:
        # -P: the script's folder must not come first on the path, for it holds an onnxruntime.py
        command = [sys.executable, "-P", "-W", "ignore", str(worker)]
        # into files: a pipe that nobody reads fills up, and its writer waits for ever
        process = subprocess.Popen(command, stdin=asked, stdout=out, stderr=err, cwd=folder)
        try:
            while process.poll() is None:
                if stopped():
                    return MarabouAnswer(answer="interrupted")
                if time.monotonic() > until:
                    return MarabouAnswer(answer="timeout", detail="killed: it did not look at its clock")
                time.sleep(_POLL_S)
        finally:
            # harmless where it has ended; after an exception of ours nothing must go on computing
            process.kill()
            process.wait()
    return _read_answer(said, noise, process.returncode)


def _read_answer(said: Path, noise: Path, status: int) -> MarabouAnswer:
    try:
        found = json.loads(said.read_text(encoding="utf-8"))
        detail = f"{found['queries']} queries" + (f", {found['open']} boxes open" if found["open"] else "")
        return MarabouAnswer(answer=found["answer"], x=tuple(found.get("x", ())), detail=detail)
    # whatever cannot be read is a crash: nothing that a dying process says may pass for a proof
    except (OSError, ValueError, KeyError, TypeError):
        words = noise.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f": {words[-1][:200]}" if words else ""
        how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return MarabouAnswer(answer="crash", detail=f"its process {how}{last}")
