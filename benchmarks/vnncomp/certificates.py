"""Certificates of other people's instances that hold: ``python -m benchmarks.vnncomp.certificates``.

Each instance that birdnn proves over the reals is recorded, written, and checked in float64 by the checker alone, in a
process of its own, and in exact arithmetic for at most twenty seconds. Then the certificate is spoilt in ways
that no checker may accept. Seconds are of processor time; those of checks count interpreter and imports.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import Table, provenance, stamp
from benchmarks.vnncomp.common import RESULTS, asked, instances_of, last_line, plain, run
from birdnn.campaign.table import Row

_EXACT_S = 20.0

COLUMNS = (
    "family", "onnx", "vnnlib", "outcome", "version", "leaves", "kilobytes", "prove_s", "float64", "float64_s",
    "exact", "exact_s", "spoilt", "rejected",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then write the summary."""
    options = asked(__doc__, timeout_s=60.0)
    table = Table(RESULTS / "certificates.csv", COLUMNS, ("onnx", "vnnlib"))
    for instance in instances_of(options.data):
        if instance["verdict"] != "sat" and not table.has(onnx=instance["onnx"], vnnlib=instance["vnnlib"]):
            row = certified(options.data, instance, options.timeout)
            table.add({**row, **stamp()})
            print(*(row[name] for name in COLUMNS[1:]), flush=True)
    text = summary(table.rows, options.timeout)
    (RESULTS / "certificates.md").write_text(text, encoding="utf-8")
    print(text)


def certified(data: Path, instance: Mapping[str, str], timeout_s: float) -> dict[str, object]:
    """A row of the table: proved, written, checked, spoilt."""
    found: dict[str, object] = {name: instance[name] for name in ("family", "onnx", "vnnlib")}
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        net, prop = (plain(data / instance[name], folder) for name in ("onnx", "vnnlib"))
        out = folder / "it.certificate.json.gz"
        command = [sys.executable, "-m", "birdnn", "verify", "--net", str(net), "--prop", str(prop)]
        command += ["--semantics", "real", "--timeout", f"{timeout_s:g}", "--certificate", str(out), "--quiet"]
        done, cpu_s, _ = run(command, 3 * timeout_s, folder)
        found |= {"outcome": done.stdout.strip().partition("\n")[0] or "error", "prove_s": f"{cpu_s:.1f}"}
        if found["outcome"] != "unsat" or not out.exists():
            return {**dict.fromkeys(COLUMNS, ""), **found}
        content = json.loads(gzip.decompress(out.read_bytes()))
        regions = content["proofs"][0]["regions"]
        found |= {
            "version": content["version"],
            "leaves": sum((len(_values(region["axis"])) + 1) // 2 for region in regions),
            "kilobytes": f"{out.stat().st_size / 1000:.1f}",
        }
        for arithmetic, limit in (("float64", 10 * timeout_s), ("exact", _EXACT_S)):
            answer, cpu_s = checked(net, prop, out, arithmetic, limit, folder)
            found |= {arithmetic: answer, f"{arithmetic}_s": f"{cpu_s:.1f}"}
        answers = []
        for spoil in SPOILT:
            data_of = copy.deepcopy(content)
            spoil(data_of)
            spoilt = folder / "spoilt.json.gz"
            spoilt.write_bytes(gzip.compress(json.dumps(data_of).encode(), 1))
            answers.append(checked(net, prop, spoilt, "float64", 10 * timeout_s, folder)[0])
        return found | {"spoilt": len(answers), "rejected": answers.count("rejected")}


def checked(net: Path, prop: Path, out: Path, arithmetic: str, limit_s: float, folder: Path) -> tuple[str, float]:
    """What the checker alone says, and its processor seconds."""
    command = [sys.executable, "-m", "birdnn.certify.check", "--net", str(net), "--prop", str(prop)]
    done, cpu_s, _ = run([*command, "--arithmetic", arithmetic, str(out)], limit_s - 60.0, folder)
    if done.returncode == 124:
        return "too long", cpu_s
    return done.stdout.partition(":")[0] or last_line(done.stderr)[-120:], cpu_s


def _values(column: Mapping[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(column["data"]), dtype=column["dtype"]).copy()


def _put(column: dict[str, str], values: np.ndarray) -> None:
    column["data"] = base64.b64encode(values.astype(column["dtype"]).tobytes()).decode()


def _region(content: dict[str, Any]) -> dict[str, Any]:
    region: dict[str, Any] = content["proofs"][0]["regions"][-1]
    return region


def _without_last_item(content: dict[str, Any]) -> None:
    """The last leaf is closed by nothing."""
    region = _region(content)
    items = region["items"]
    rows = len(region["unsafe"][_values(items["polytope"])[-1]])
    slopes, node = int(_values(items["slopes"])[-1]), int(_values(items["node"])[-1])
    inputs, axis, sides = len(region["lower"]), _values(region["axis"]).astype(np.int64), 0
    cuts = np.nonzero(axis != np.iinfo(region["axis"]["dtype"]).max)[0]
    while node:
        node = int(cuts[(node - 1) // 2])
        sides += int(axis[node] >= inputs)
    lost = {"node": 1, "polytope": 1, "slopes": 1, "multiplier": rows, "neuron": slopes, "slope": slopes, "beta": sides}
    for name, count in lost.items():
        if name in items:
            values = _values(items[name])
            _put(items[name], values[: len(values) - count])


def _smaller_box(content: dict[str, Any]) -> None:
    region = _region(content)
    region["lower"] = list(region["upper"])


def _smaller_set(content: dict[str, Any]) -> None:
    for rows in _region(content)["unsafe"]:
        rows[0]["bound"] = f"-{10**6}"


def _negative_multiplier(content: dict[str, Any]) -> None:
    column = _region(content)["items"]["multiplier"]
    _put(column, -_values(column))


def _lost_entry(content: dict[str, Any]) -> None:
    column = _region(content)["axis"]
    _put(column, _values(column)[:-1])


def _other_network(content: dict[str, Any]) -> None:
    content["network"]["sha256"] = "0" * 64


def _other_property(content: dict[str, Any]) -> None:
    content["proofs"][0]["property"]["sha256"] = "0" * 64


def _no_region(content: dict[str, Any]) -> None:
    content["proofs"][0]["regions"] = []


SPOILT: Sequence[Callable[[dict[str, Any]], None]] = (
    _without_last_item, _smaller_box, _smaller_set, _negative_multiplier, _lost_entry, _other_network,
    _other_property, _no_region,
)  # fmt: skip


def summary(rows: Sequence[Row], timeout_s: float) -> str:
    """The table in Markdown, below what it says in all."""
    proved = [row for row in rows if row["outcome"] == "unsat"]
    written = [row for row in proved if row["version"]]
    accepted = sum(row["float64"] == "accepted" for row in written)
    exact = sum(row["exact"] == "accepted" for row in written)
    long = sum(row["exact"] == "too long" for row in written)
    spoilt, rejected = (sum(int(row[name]) for row in written) for name in ("spoilt", "rejected"))
    told = (
        f"{len(rows)} instances that are not known to be violated: {len(proved)} proved, {len(written)} with a "
        f"certificate, {accepted} of these accepted in float64, {exact} in exact arithmetic as well ({long} take "
        f"longer than {_EXACT_S:g} s there). Of {spoilt} spoilt certificates {rejected} are rejected."
    )
    lines = [
        "# Certificates of other people's instances",
        "",
        provenance(f"python -m benchmarks.vnncomp.certificates --timeout {timeout_s:g}", threads=1),
        told,
        "",
        "| instance | outcome | version | leaves | kB | prove, s | float64 | s | exact | s | spoilt, rejected |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | ---: | --- | ---: | --- |",
    ]
    for row in rows:
        instance = f"{Path(row['onnx']).stem} {Path(row['vnnlib']).name.removesuffix('.gz').removesuffix('.vnnlib')}"
        names = "outcome", "version", "leaves", "kilobytes", "prove_s", "float64", "float64_s", "exact", "exact_s"
        cells = [*(row[name] for name in names), f"{row['rejected']} of {row['spoilt']}" if row["spoilt"] else ""]
        lines.append(f"| {row['family']}: {instance} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
