"""Other people's instances beside another verifier: ``python -m benchmarks.vnncomp.beside --peer vibecheck``.

Each instance is asked of both in turn, one process each, on one core, with the same limit; who begins changes from one
instance to the next. Seconds are processor time and count everything, interpreter and imports included. The instances
are not part of the project: ``--data``, or ``BIRDNN_VNNCOMP``, names a folder with ``instances.csv``, whose columns
``onnx``, ``vnnlib`` and ``verdict`` name the files and what is known.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import Table, provenance, stamp
from benchmarks.vnncomp.common import RESULTS, Run, asked, instances_of, last_line, plain, run, theirs
from birdnn.campaign.table import Row

COLUMNS = (
    "family", "onnx", "vnnlib", "known", "birdnn", "birdnn_cpu_s", "birdnn_wall_s", "reason",
    "peer", "peer_cpu_s", "peer_wall_s",
)  # fmt: skip
_DECIDED = "sat", "unsat"


def main() -> None:
    """Run what is missing, then write the summary."""
    options = asked(__doc__, timeout_s=60.0)
    table = Table(RESULTS / "beside.csv", COLUMNS, ("onnx", "vnnlib"))
    instances = instances_of(options.data)
    if instances:
        beside(options.data, instances[0], None, 10.0, peer_first=False)  # compiles what is compiled once and kept
    for number, instance in enumerate(instances):
        if not table.has(onnx=instance["onnx"], vnnlib=instance["vnnlib"]):
            row = beside(options.data, instance, options.peer, options.timeout, peer_first=bool(number % 2))
            table.add({**row, **stamp()})
            print(row["onnx"], row["vnnlib"], row["known"], row["birdnn"], row["birdnn_cpu_s"], row["peer"], flush=True)
    text = summary(table.rows, options.peer, options.timeout)
    (RESULTS / "beside.md").write_text(text, encoding="utf-8")
    print(text)


def beside(
    data: Path, instance: Mapping[str, str], peer: str | None, timeout_s: float, *, peer_first: bool
) -> dict[str, object]:
    """A row of the table: the instance asked of both."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        net, prop = (plain(data / instance[name], folder) for name in ("onnx", "vnnlib"))
        runs = {"birdnn": lambda: ours(net, prop, timeout_s, folder)}
        if peer is not None:
            runs["peer"] = lambda: theirs(peer, net, prop, timeout_s, folder)
        order = list(runs)[:: -1 if peer_first else 1]
        done = {name: runs[name]() for name in order}
    mine, other = done["birdnn"], done.get("peer", Run("", 0.0, 0.0, ""))
    return {
        "family": instance["family"],
        "onnx": instance["onnx"],
        "vnnlib": instance["vnnlib"],
        "known": instance["verdict"],
        "birdnn": mine.verdict,
        "birdnn_cpu_s": f"{mine.cpu_s:.1f}",
        "birdnn_wall_s": f"{mine.wall_s:.1f}",
        "reason": mine.reason,
        "peer": other.verdict,
        "peer_cpu_s": f"{other.cpu_s:.1f}",
        "peer_wall_s": f"{other.wall_s:.1f}",
    }


def ours(net: Path, prop: Path, timeout_s: float, folder: Path) -> Run:
    """birdnn, as its command line."""
    command = [sys.executable, "-m", "birdnn", "verify", "--net", str(net), "--prop", str(prop)]
    done, cpu_s, wall_s = run([*command, "--timeout", f"{timeout_s:g}", "--quiet"], timeout_s, folder)
    verdict = done.stdout.strip().partition("\n")[0]
    reason = "" if verdict in _DECIDED else last_line(done.stderr)[:300]
    return Run(verdict or "error", cpu_s, wall_s, reason.replace(str(net), net.name).replace(str(prop), prop.name))


def summary(rows: Sequence[Row], peer: str | None, timeout_s: float) -> str:
    """The table in Markdown, below what it says in all."""
    name = Path(peer).name if peer else "the other"
    words = Counter(row["birdnn"] for row in rows), Counter(row["peer"] for row in rows)
    both = [row for row in rows if row["birdnn"] in _DECIDED and row["peer"] in _DECIDED]
    apart = sum(row["birdnn"] != row["peer"] for row in both)
    known = [row for row in rows if row["known"] in _DECIDED and row["birdnn"] in _DECIDED]
    wrong = sum(row["known"] != row["birdnn"] for row in known)
    found = [row for row in rows if row["peer"] == "sat"]
    also = [row for row in found if row["birdnn"] == "sat"]
    in_time = sum(float(row["birdnn_cpu_s"]) <= float(row["peer_cpu_s"]) for row in also)
    seconds = [sum(float(row[f"{who}_cpu_s"]) for row in both) for who in ("birdnn", "peer")]
    told = (
        f"{len(rows)} instances. birdnn: {_counted(words[0])}. {name}: {_counted(words[1])}. "
        f"Both decide {len(both)} and differ in {apart}; birdnn differs from what is known in {wrong}. "
        f"Of {len(found)} violations that {name} finds, birdnn finds {len(also)}, {in_time} of them in at most its "
        f"processor time. On what both decide: {seconds[0]:.0f} s and {seconds[1]:.0f} s."
    )
    lines = [
        f"# Other people's instances, birdnn beside {name}",
        "",
        provenance(f"python -m benchmarks.vnncomp.beside --peer {name} --timeout {timeout_s:g}", threads=1),
        told,
        "",
        f"| instance | known | birdnn | cpu s | {name} | cpu s | why not |",
        "| --- | --- | --- | ---: | --- | ---: | --- |",
    ]
    for row in rows:
        instance = f"{Path(row['onnx']).stem} {Path(row['vnnlib']).name.removesuffix('.gz').removesuffix('.vnnlib')}"
        cells = row["known"], row["birdnn"], row["birdnn_cpu_s"], row["peer"], row["peer_cpu_s"], row["reason"]
        lines.append(f"| {row['family']}: {instance} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items(), key=lambda pair: -pair[1]))


if __name__ == "__main__":
    main()
