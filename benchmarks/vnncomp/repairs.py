"""Repairs of other people's violated instances: ``python -m benchmarks.vnncomp.repairs --peer vibecheck``.

Each instance that is known to be violated, or that `benchmarks.vnncomp.beside` found to be, is repaired twice within a
limit: as its property says, over the reals, as other verifiers read it; and at single inputs that violate it, which are
told to answer as their nearest neighbours that do not. What comes out is judged without us:
onnxruntime runs the repaired file at fresh points of the property's boxes, and another verifier decides the property
on it. See `benchmarks.vnncomp.common` for the folder of instances.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from benchmarks.common import Table, provenance, stamp
from benchmarks.vnncomp.beside import COLUMNS as BESIDE
from benchmarks.vnncomp.common import RESULTS, asked, instances_of, last_line, plain, theirs
from birdnn.campaign.table import Row
from birdnn.formats.onnx import read_onnx
from birdnn.formats.vnnlib import read_property
from birdnn.network import Network
from birdnn.sample import draw_from_property, evaluate
from birdnn.spec import Property
from birdnn.verify import AttackSettings, attack
from birdnn.verify.effort import hunt_effort

COLUMNS = (
    "family", "onnx", "vnnlib", "by", "outcome", "status", "method", "kept", "wall_s", "limit_s", "options", "sampled",
    "violating_before", "violating", "peer", "in_words",
)  # fmt: skip
_SAMPLES, _POINTS, _JUDGED = 20_000, 20, 20_000
_PEER_S = 60.0
_FAR = ("--max-change", "4")
"""Some properties ask for outputs that no layer can make without moving by more than its own size."""


def main() -> None:
    """Run what is missing, then write the summary."""
    options = asked(__doc__, timeout_s=120.0)
    table = Table(RESULTS / "repairs.csv", COLUMNS, ("onnx", "vnnlib", "by"))
    found = Table(RESULTS / "beside.csv", BESIDE, ("onnx", "vnnlib")).rows
    also = {(row["onnx"], row["vnnlib"]) for row in found if "sat" in (row["birdnn"], row["peer"])}
    instances = instances_of(options.data)
    violated = [i for i in instances if i["verdict"] == "sat" or (i["onnx"], i["vnnlib"]) in also]
    for by in ("property", "points"):
        for instance in violated:
            if not table.has(onnx=instance["onnx"], vnnlib=instance["vnnlib"], by=by):
                with TemporaryDirectory() as scratch:
                    case = _Case(options.data, instance, Path(scratch), options.timeout)
                    row = table.add({**case.row(by, options.peer), **stamp()})
                print(*(row[name] for name in ("onnx", "by", "outcome", "wall_s", "violating", "peer")), flush=True)
    name = Path(options.peer).name if options.peer else "nobody"
    text = summary(table.rows, name, options.timeout)
    (RESULTS / "repairs.md").write_text(text, encoding="utf-8")
    print(text)


class _Case:
    """One instance.

    Args:
        data: folder of the instances.
        instance: its row.
        folder: for files that are made.
        limit_s: of the repair.
    """

    def __init__(self, data: Path, instance: Mapping[str, str], folder: Path, limit_s: float) -> None:
        self.instance, self.folder, self.limit_s = instance, folder, limit_s
        self.net, self.prop = (plain(data / instance[name], folder) for name in ("onnx", "vnnlib"))

    def row(self, by: str, peer: str | None) -> dict[str, object]:
        """Repair, and judge what came out."""
        mine = {**{name: self.instance[name] for name in ("family", "onnx", "vnnlib")}, "by": by}
        network, prop = read_onnx(self.net).copy().float(), read_property(self.prop)
        options = ["--semantics", "real", *_FAR] if by == "property" else []
        what = ["--prop", str(self.prop), *options] if by == "property" else self.points(network, prop)
        if not what:
            return {**dict.fromkeys(COLUMNS, ""), **mine, "outcome": "every sample violates: nothing to imitate"}
        out = self.folder / by
        command = [sys.executable, "-m", "birdnn", "repair", "--net", str(self.net), *what, "--out", str(out)]
        done = subprocess.run(
            [*command, "--timeout", f"{self.limit_s:g}", "--quiet"], capture_output=True, text=True, check=False
        )
        record = out / "repair.json"
        report = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        words = last_line(done.stderr).removeprefix("birdnn: ")
        fresh = draw_from_property(prop, _JUDGED, torch.Generator().manual_seed(1))
        after = Path(report["out"]) if report.get("out") else None
        claimed = after is not None and report["outcome"] in ("proved", "sampled")
        other = theirs(peer, after, self.prop, _PEER_S, self.folder) if after and peer and claimed else None
        return {
            **mine,
            "outcome": report.get("outcome", "error"),
            "status": done.returncode,
            "method": report.get("method", ""),
            "kept": words.partition("Kept: ")[2].partition(". ")[0],
            "wall_s": f"{report['wall_s']:.1f}" if report else "",
            "limit_s": f"{self.limit_s:g}",
            "options": " ".join(options),
            "sampled": sum(map(len, fresh)),
            "violating_before": violating(self.net, network, prop, fresh),
            "violating": "" if after is None else violating(after, network, prop, fresh),
            "peer": "" if other is None else other.verdict,
            "in_words": words.partition("Kept: ")[0].strip(),
        }

    def points(self, network: Network, prop: Property) -> list[str]:
        """Options that name violating inputs with the answer of their nearest neighbours that do not violate.

        Empty where every input does.
        """
        generator = torch.Generator().manual_seed(0)
        rows = []
        for region, x in zip(prop.regions, draw_from_property(prop, _SAMPLES, generator), strict=True):
            effort = hunt_effort(network, len(region.unsafe), len(prop.regions), AttackSettings())
            found = attack(network, region, settings=effort, generator=generator, thorough=True)
            x = torch.cat([x.float(), found.float()])
            y = evaluate(network, x)
            margin = region.margin(y)
            good, bad = (margin > 0).nonzero()[:, 0], (margin <= 0).nonzero()[:, 0]
            if not len(good) or not len(bad):
                continue
            bad = bad[torch.randperm(len(bad), generator=generator)[:_POINTS]]
            nearest = good[torch.cdist(x[bad], x[good]).argmin(1)]
            rows += list(zip(x[bad].tolist(), y[nearest].tolist(), strict=True))
        if not rows:
            return []
        decided = all(not row.bound and sum(row.coefficients) == 0 for row in _rows(prop))
        wishes = ["decision"] if decided else [*(f"y_{j}" for j in range(prop.n_outputs)), "tolerance"]
        lines = [",".join([*(f"x_{i}" for i in range(prop.n_inputs)), *wishes])]
        for point, outputs in rows[:_POINTS]:
            wish = [outputs.index(max(outputs))] if decided else [*outputs, 0.05 * max(map(abs, outputs))]
            lines.append(",".join(map(repr, [*point, *wish])))
        path = self.folder / "points.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ["--points", str(path), *(["--decision", "argmax"] if decided else [])]


def _rows(prop: Property) -> list[Any]:
    return [row for region in prop.regions for polytope in region.unsafe for row in polytope.rows]


def violating(file: Path, network: Network, prop: Property, points: Sequence[Tensor]) -> int:
    """How many of the points of each region violate when onnxruntime runs the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
    name, count = session.get_inputs()[0].name, 0
    for region, x in zip(prop.regions, points, strict=True):
        for point in x.float():
            y = session.run(None, {name: point.numpy().reshape(network.input_shape)})[0]
            count += bool(region.margin(torch.from_numpy(y).double().reshape(1, -1)) <= 0)
    return count


def summary(rows: Sequence[Row], peer: str, limit_s: float) -> str:
    """The table in Markdown, below what it says in all."""
    late = sum(float(row["wall_s"] or 0) > float(row["limit_s"] or 0) for row in rows)
    lines = [
        f"# Repairs of other people's violated instances, judged by onnxruntime and {peer}",
        "",
        provenance(f"python -m benchmarks.vnncomp.repairs --peer {peer} --timeout {limit_s:g}"),
        f"{len(rows)} repairs of {len({row['family'] for row in rows})} families; {late} outlasted the limit.",
        f"Violating: of {_JUDGED:,} fresh inputs. Limits, options and commits are those of each row; the CSV has them.",
        "",
        f"| instance | by | outcome | s of | violating before | after | {peer} after | in words | kept |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for row in rows:
        name = f"{row['family']}: {Path(row['vnnlib']).name.removesuffix('.gz').removesuffix('.vnnlib')}"
        row = {**row, "wall_s": f"{row['wall_s']} of {row['limit_s']}" if row["wall_s"] else ""}
        cells = ("by", "outcome", "wall_s", "violating_before", "violating", "peer", "in_words", "kept")
        lines.append(f"| {name} | {' | '.join(row[cell].replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
