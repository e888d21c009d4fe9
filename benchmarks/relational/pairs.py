"""Pairs of ACAS Xu networks: ``python -m benchmarks.relational.pairs --seed 0 --noise 0.001``.

A network and a copy of it, whose weights and biases carry noise, or some of whose neurons were removed. On the box of
phi-1 no output is to differ by more than 0.05. That is a query of VNN-LIB 2.0 about two networks (`isomorphic-to`), as
VNN-COMP 2026 asks them. Each is one process of ``birdnn verify`` with all cores; seconds are wall-clock seconds and
count everything. The copies are those that a public script makes with the same seed, where noise is 0.001.

The networks are not part of the project: ``--data``, or ``BIRDNN_ACASXU``, names a folder with ``onnx/*.onnx``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.common import ROOT, Table, provenance, stamp
from birdnn.bounds.compiled.bound import prepare

RESULTS = Path(__file__).resolve().parent / "results"
DATA = Path(os.environ.get("BIRDNN_ACASXU", ROOT / "../shared/acasxu"))
COLUMNS = "kind", "amount", "seed", "number", "net", "verdict", "boxes", "wall_s", "solve_s", "reason"
EPSILON, PAIRS = 0.05, 50
_PHI1 = ((0.6, 0.679857769), (-0.5, 0.5), (-0.5, 0.5), (0.45, 0.5), (-0.5, -0.45))
_OVERTIME_S = 30.0


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=DATA, help="folder with the networks")
    arguments.add_argument("--seed", type=int, default=0)
    either = arguments.add_mutually_exclusive_group(required=True)
    either.add_argument("--noise", type=float, help="standard deviation, on all weights and biases")
    either.add_argument("--pruned", type=float, help="share of the neurons that are removed, those that matter least")
    arguments.add_argument("--timeout", type=float, default=100.0, metavar="S")
    arguments.add_argument("--first", type=int, default=PAIRS, help="so many pairs only")
    options = arguments.parse_args()
    kind, amount = ("noise", options.noise) if options.noise is not None else ("pruned", options.pruned)
    nets = networks(options.data, arguments)
    prepare()  # compiles what is compiled once and kept
    table = Table(RESULTS / "pairs.csv", COLUMNS, ("kind", "amount", "seed", "number"))
    rng = np.random.default_rng(options.seed)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "query.vnnlib").write_text(query(), encoding="utf-8")
        for number in range(options.first):
            net = nets[rng.integers(len(nets))]
            copy = folder / f"{net.stem}_{number}.onnx"
            noisy(net, copy, amount, rng) if kind == "noise" else pruned(net, copy, amount)
            key = {"kind": kind, "amount": f"{amount:g}", "seed": str(options.seed), "number": str(number)}
            if not table.has(**key):
                found = decided({"f": net, "g": copy}, folder, options.timeout)
                table.add({**key, "net": net.stem, **found, **stamp()})
                print(kind, amount, number, net.stem, *found.values(), flush=True)
    text = summary(table.rows)
    (RESULTS / "pairs.md").write_text(text, encoding="utf-8")
    print(text)


def query() -> str:
    """The property, as a query about two networks."""
    text = """(vnnlib-version <2.0>)
(declare-network f (declare-input X_f real [5]) (declare-output Y_f real [5]))
(declare-network g (isomorphic-to f) (declare-input X_g real [5]) (declare-output Y_g real [5]))
"""
    for i, (low, high) in enumerate(_PHI1):
        text += f"(assert (>= X_f[{i}] {low!r}))\n(assert (<= X_f[{i}] {high!r}))\n(assert (== X_f[{i}] X_g[{i}]))\n"
    far = (f"(>= Y_g[{j}] (+ Y_f[{j}] {EPSILON})) (<= Y_g[{j}] (- Y_f[{j}] {EPSILON}))" for j in range(5))
    return text + f"(assert (or {' '.join(far)}))\n"


def noisy(source: Path, target: Path, size: float, rng: np.random.Generator) -> None:
    """A copy whose weights and biases carry noise of this standard deviation."""
    model = onnx.load(str(source))
    for initialiser in model.graph.initializer:
        value = numpy_helper.to_array(initialiser)
        if value.dtype == np.float32 and value.ndim and "AvgImg" not in initialiser.name:
            moved = value + rng.normal(0, size, value.shape).astype(np.float32)
            initialiser.CopyFrom(numpy_helper.from_array(moved, initialiser.name))
    onnx.save(model, str(target))


def pruned(source: Path, target: Path, share: float) -> None:
    """A copy without some of its neurons: of each hidden layer those whose weights in and out multiply to least.

    Their weights and biases are zero, so that layers keep their sizes.
    """
    model = onnx.load(str(source))
    values = {each.name: numpy_helper.to_array(each).copy() for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    weights = [next(name for name in node.input if name in values) for node in products]
    biases = [next(name for name in node.input if name in values) for node in sums]
    for first, bias, second in zip(weights, biases, weights[1:], strict=False):
        into, out = values[first], values[second]  # (in, out): a column for each neuron, then a row
        size = np.abs(into).sum(0) * np.abs(out).sum(1)
        gone = np.argsort(size)[: round(share * len(size))]
        into[:, gone], out[gone] = 0, 0
        values[bias].reshape(-1)[gone] = 0
    for initialiser in model.graph.initializer:
        initialiser.CopyFrom(numpy_helper.from_array(values[initialiser.name], initialiser.name))
    onnx.save(model, str(target))


def networks(data: Path, arguments: argparse.ArgumentParser) -> list[Path]:
    """The files of the networks in a folder; none is an error of the command line."""
    nets = sorted((data / "onnx").glob("*.onnx"))
    if not nets:
        arguments.error(f"no networks in {data / 'onnx'}: give --data DIR, or set BIRDNN_ACASXU")
    return nets


def decided(nets: Mapping[str, Path], folder: Path, timeout_s: float) -> dict[str, str]:
    """What ``birdnn verify`` says of the query in a folder."""
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    said = (part for name, path in nets.items() for part in ("--net", f"{name}={path}"))
    command = [sys.executable, "-m", "birdnn", "verify", *said]
    command += ["--prop", str(folder / "query.vnnlib"), "--timeout", f"{timeout_s:g}", "--json", str(out), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s + _OVERTIME_S
        )
        reason = done.stderr.strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        reason = "outlasted its limit"
    wall_s = time.monotonic() - began
    if not out.exists():
        return {"verdict": "error", "boxes": "", "wall_s": f"{wall_s:.1f}", "solve_s": "", "reason": reason[:200]}
    (said,) = json.loads(out.read_text(encoding="utf-8"))["properties"]
    return {
        "verdict": said["verdict"],
        "boxes": str(said["boxes"]),
        "wall_s": f"{wall_s:.1f}",
        "solve_s": f"{said['solve_s']:.1f}",
        "reason": said["reason"] or "",
    }


def summary(rows: Sequence[Mapping[str, str]]) -> str:
    """A table with a line for each kind, amount and seed."""
    lines = [
        "# Pairs of networks: does an output differ by more than 0.05 on the box of phi-1?",
        "",
        provenance("python -m benchmarks.relational.pairs --seed S --noise N (or --pruned P)", "Seeds as listed"),
        "| copy | seed | pairs | decided | unsat | sat | median s | most s | sum s | median boxes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, amount, seed in dict.fromkeys((row["kind"], row["amount"], row["seed"]) for row in rows):
        mine = [row for row in rows if (row["kind"], row["amount"], row["seed"]) == (kind, amount, seed)]
        words = Counter(row["verdict"] for row in mine)
        seconds = [float(row["wall_s"]) for row in mine]
        boxes = [int(row["boxes"]) for row in mine if row["boxes"]]
        told = f"{kind} of {amount}" if kind == "noise" else f"{100 * float(amount):g} % of the neurons removed"
        lines.append(
            f"| {told} | {seed} | {len(mine)} | {words['sat'] + words['unsat']} | {words['unsat']} | {words['sat']} "
            f"| {statistics.median(seconds):.1f} | {max(seconds):.1f} | {sum(seconds):.0f} "
            f"| {statistics.median(boxes) if boxes else 0:.0f} |"
        )
    undecided = [row for row in rows if row["verdict"] not in ("sat", "unsat")]
    if undecided:
        lines += ["", "Not decided:", ""]
        lines += [
            f"- {row['kind']} {row['amount']}, seed {row['seed']}, pair {row['number']} ({row['net']}): "
            f"{row['verdict']} after {row['wall_s']} s, {row['boxes']} boxes {row['reason']}"
            for row in undecided
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
