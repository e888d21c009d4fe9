"""The released set: ``python -m benchmarks.acasxu.release --out DIR [--check]``.

Makes, from the 45 public networks, the set in which every network satisfies every property that applies to it, with a
certificate of each, and checks it from scratch by the light checker. Networks that are in the set already stay, so that
a run that was interrupted goes on; ``--check`` only checks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.acasxu.common import RESULTS, data_folder
from benchmarks.acasxu.release import checking, making, telling
from benchmarks.common import provenance
from birdnn.formats.files import write_bytes
from birdnn.pipeline.facts import machine

COMMAND = "python -m benchmarks.acasxu.release --out DIR"


def main() -> int:
    """The exit status: 0 where every network is in the set and accepted."""
    arguments = argparse.ArgumentParser(prog=COMMAND.partition(" --")[0], description=__doc__)
    arguments.add_argument("--data", type=Path, help="the ACAS Xu folder; default: BIRDNN_ACASXU")
    arguments.add_argument("--out", type=Path, required=True, help="the folder of the set")
    arguments.add_argument("--timeout", type=float, default=600.0, help="seconds for each command")
    arguments.add_argument("--only", nargs="+", metavar="NAME", help="these networks only, e.g. N2,9; no table is kept")
    arguments.add_argument("--check", action="store_true", help="make nothing, check what is there")
    options = arguments.parse_args()
    data = data_folder(options.data)
    missing = [] if options.check else make(data, options.out, options.timeout, options.only)
    entries = json.loads((options.out / checking.MANIFEST).read_text(encoding="utf-8"))["networks"]
    damaged = checking.damaged(options.out)
    for name in damaged:
        print(f"{name} is not what {checking.SUMS} says", file=sys.stderr)
    checked = []
    for one in checking.check(options.out, data / "onnx"):
        checked.append(one)
        print(f"{one.name}: {'accepted' if one.accepted else f'rejected: {one.told}'}, {one.seconds:.1f} s", flush=True)
    print("\n".join(telling.facts(entries, checked)))
    if not options.check:
        finish(options.out, entries, checked)
        if not options.only and not missing:
            made_by = provenance(COMMAND, threads=machine().cores)
            commits = sorted({entry["made"]["commit"] for entry in entries})
            text = telling.table(entries, checked, f"Made by commit {', '.join(commits)}. {made_by}")
            (RESULTS / "release.md").write_text(text, encoding="utf-8")
    return 0 if not missing and not damaged and all(one.accepted for one in checked) else 1


def make(data: Path, out: Path, timeout_s: float, only: Sequence[str] | None) -> list[str]:
    """Add the networks that are not in the set; the names of those that could not be made."""
    manifest = out / checking.MANIFEST
    entries = json.loads(manifest.read_text(encoding="utf-8"))["networks"] if manifest.is_file() else []
    there, missing = {entry["name"] for entry in entries}, []
    for member in making.members(data):
        if member.name in there or (only and member.name not in only):
            continue
        try:
            entry = making.make(member, out, timeout_s)
        except making.NotMade as error:
            missing.append(member.name)
            print(error, file=sys.stderr, flush=True)
            continue
        entries = sorted([*entries, entry], key=lambda one: str(one["name"]))
        write_bytes(manifest, (json.dumps({"set": "acasxu", "networks": entries}, indent=1) + "\n").encode())
        print(f"{member.name}: {telling.line(entry)}", flush=True)
        write_sums(out, entries)
    return missing


def finish(out: Path, entries: Sequence[telling.Entry], checked: Sequence[checking.Checked]) -> None:
    """The page, and the hashes of everything."""
    made_by = provenance(COMMAND, threads=machine().cores)
    write_bytes(out / "index.html", telling.page(entries, checked, made_by).encode())
    write_sums(out, entries)


def write_sums(out: Path, entries: Sequence[telling.Entry]) -> None:
    """The script that checks the set, and the hash of every file."""
    script = out / checking.SCRIPT
    write_bytes(script, checking.script(entries).encode())
    script.chmod(0o755)
    write_bytes(out / checking.SUMS, checking.sums(out).encode())


if __name__ == "__main__":
    sys.exit(main())
