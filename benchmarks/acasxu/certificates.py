"""Certificates of the proved verification instances: ``python -m benchmarks.acasxu.certificates [--semantics real]``.

Each instance is proved and recorded, written, and checked in float64 and, ``--sample`` leaves of it, in exact
arithmetic, all in one warm process; seconds are of processor time, reading and imports left out.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.acasxu.common import RESULTS, data_folder, short_name
from benchmarks.common import Table, provenance, stamp
from birdnn.certify.check import Rejected, Settings, check
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.formats.files import write_bytes
from birdnn.pipeline.load import load_network, load_property
from birdnn.records import Proved
from birdnn.rounding import Semantics
from birdnn.verify import SearchSettings, verify

COLUMNS = (
    "semantics", "net", "prop", "outcome", "boxes", "leaves", "kilobytes", "prove_s", "write_s", "float64",
    "float64_s", "sampled", "exact", "exact_s",
)  # fmt: skip
KEY = "semantics", "net", "prop"


def main() -> None:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--semantics", choices=("real", "float32"), default="float32")
    arguments.add_argument("--sample", type=int, default=1, help="leaves of each region to check exactly")
    arguments.add_argument("--timeout", type=float, default=116.0, help="seconds for each proof")
    options = arguments.parse_args()
    data = data_folder(options.data)
    table = Table(RESULTS / "certificates.csv", COLUMNS, KEY)
    with (data / "verdicts.csv").open(encoding="utf-8") as file:
        holds = {(row["onnx"], row["vnnlib"]) for row in csv.DictReader(file) if row["verdict"] == "unsat"}
    with (data / "instances.csv").open(encoding="utf-8") as file:
        instances = [(data / onnx, data / prop) for onnx, prop, _ in csv.reader(file)]
    for net, prop in instances:
        key = {"semantics": options.semantics, "net": short_name(net.name), "prop": prop.stem}
        if (net.name, prop.name) in holds and not table.has(**key):
            mark = stamp()
            table.add({**key, **row(net, prop, options.semantics, options.timeout, options.sample), **mark})
    summarise(table)


def row(net: Path, prop_path: Path, semantics: Semantics, timeout_s: float, sample: int) -> dict[str, object]:
    """One instance, from the proof to both checks."""
    loaded = load_network(net)
    prop = load_property(prop_path, loaded, "normalised")
    limits = SearchSettings(timeout_s=timeout_s, semantics=semantics, record=True)
    begun = time.process_time()
    verdict = verify(loaded.net, prop, settings=limits, replays=loaded.replays)
    found: dict[str, object] = dict.fromkeys(COLUMNS[3:], "")
    found |= {"prove_s": f"{time.process_time() - begun:.2f}", "boxes": verdict.boxes}
    if not isinstance(verdict, Proved):
        return found | {"outcome": "not proved"}
    with tempfile.TemporaryDirectory() as scratch:
        out, begun = Path(scratch) / "certificate.json.gz", time.process_time()
        entry = Certified(prop=prop, verdict=verdict)
        data = certificate_bytes(net, loaded.net.sha256, [entry], semantics=semantics, assumptions={}, tool="birdnn")
        write_bytes(out, data)
        found |= {
            "outcome": "proved",
            "leaves": sum(proof.leaves for proof in verdict.proofs),
            "kilobytes": f"{out.stat().st_size / 1000:.1f}",
            "write_s": f"{time.process_time() - begun:.2f}",
        }
        found |= dict(zip(("float64", "float64_s"), _checked(net, prop_path, out, Settings()), strict=True))
        whole = float(str(found["float64_s"]))
        word, seconds = _checked(net, prop_path, out, Settings(sample=sample))
    return found | {"sampled": sample, "exact": word, "exact_s": f"{max(0.0, float(seconds) - whole):.2f}"}


def _checked(net: Path, prop: Path, certificate: Path, settings: Settings) -> tuple[str, str]:
    begun = time.process_time()
    try:
        check(net, [prop], certificate, settings)
        word = "accepted"
    except Rejected as error:
        word = f"rejected: {error.reason}"
    return word, f"{time.process_time() - begun:.2f}"


def summarise(table: Table) -> None:
    """Write ``certificates.md``."""
    lines = ["# ACAS Xu: certificates of the proved instances", ""]
    for semantics in ("real", "float32"):
        rows = [r for r in table.rows if r["semantics"] == semantics]
        proved = [r for r in rows if r["outcome"] == "proved"]
        if not proved:
            continue
        prove, write, check64, exact = (
            [float(r[name]) for r in proved] for name in ("prove_s", "write_s", "float64_s", "exact_s")
        )
        size = [float(r["kilobytes"]) for r in proved]
        lines.append(
            f"- **{semantics}**: {len(proved)} of {len(rows)} proved; accepted in float64: "
            f"{sum(r['float64'] == 'accepted' for r in proved)}, in exact arithmetic ({proved[0]['sampled']} leaf of "
            f"each region): {sum(r['exact'] == 'accepted' for r in proved)}. Seconds in all: proving {sum(prove):.0f}, "
            f"writing {sum(write):.1f}, checking in float64 {sum(check64):.0f} (slowest {max(check64):.1f}), exact "
            f"{sum(exact):.0f}. Certificates: median {median(size):.0f} kB, largest {max(size):.0f} kB, all together "
            f"{sum(size) / 1000:.1f} MB. Boxes in all: {sum(int(r['boxes']) for r in proved):,}."
        )
    lines += [
        "",
        provenance("OMP_NUM_THREADS=1 python -m benchmarks.acasxu.certificates --semantics float32 (and real)"),
    ]
    shown = sorted(table.rows, key=lambda r: -float(r["prove_s"]))[:20]
    lines += ["", "| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    lines += ["| " + " | ".join(r[name] for name in COLUMNS) + " |" for r in shown]
    text = "\n".join(
        [*lines, "", "The twenty that took longest to prove; all rows are in the CSV beside this file.", ""]
    )
    (RESULTS / "certificates.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
