"""What ``birdnn bench`` prints and writes at its end. Loads what help must not wait for."""

from __future__ import annotations

import shlex
from pathlib import Path

from birdnn.campaign import provenance
from birdnn.cli.failures import INTERRUPTED, OWN_FAULT, complain
from birdnn.cli.terminal import first_line, show_result
from birdnn.errors import DisagreementError
from birdnn.formats.files import write_bytes
from birdnn.records import CampaignOutcome
from birdnn.report.bench import bench_csv, bench_markdown, bench_report, bench_summary, quiet_line
from birdnn.report.json import write_report

BAD_INPUT = 4


def finish_bench(
    outcome: CampaignOutcome, *, json: Path | None, summary: Path | None, plot: Path | None, quiet: bool
) -> int:
    """Print, draw and write what was found; the exit status.

    Raises:
        DisagreementError: a result contradicts a known verdict or another table. Everything is on disk by then.
    """
    if json is not None:
        write_report(bench_report(outcome), json, write_bytes)
    if summary is not None:
        write_bytes(summary, _summary(outcome, summary).encode())
    if plot is not None:
        write_bytes(plot, drawn(outcome, plot.suffix.lower()[1:]))
    if quiet:
        first_line(quiet_line(outcome))
    else:
        show_result(lambda width: bench_summary(outcome, width))
    contradictions = [*outcome.figures.wrong, *(told for entry in outcome.against for told in entry.contradictions)]
    if contradictions:
        raise DisagreementError(" | ".join(contradictions))
    if outcome.interrupted:
        undone = sum(not row.answer for row in outcome.rows)
        complain(f"interrupted; {undone} of {len(outcome.rows)} instances are left: the same command goes on")
        return INTERRUPTED
    if any(row.answer == "crash" for row in outcome.rows):
        return OWN_FAULT
    return BAD_INPUT if outcome.broken else 0


def _summary(outcome: CampaignOutcome, path: Path) -> str:
    if path.suffix.lower() == ".csv":
        return bench_csv(outcome)
    made_by = provenance(shlex.join(outcome.command), f"Seed {outcome.seed}", outcome.threads)
    return bench_markdown(outcome, f"{Path(outcome.instances).stem}: {outcome.kind}", made_by)


def drawn(outcome: CampaignOutcome, kind: str) -> bytes:
    """The cactus plot of our table and those it is compared with."""
    from birdnn.report.cactus import cactus_picture  # Matplotlib takes long to load

    curves = {outcome.figures.name: outcome.figures.curve}
    curves |= {entry.theirs.name: entry.theirs.curve for entry in outcome.against}
    return cactus_picture(
        curves,
        total=outcome.figures.n,
        limit_s=max(row.timeout_s for row in outcome.rows),
        title=f"{Path(outcome.instances).name}: {outcome.kind}",
        kind=kind,
    )
