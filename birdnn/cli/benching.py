"""What ``birdnn bench`` does. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import shlex
from pathlib import Path

from birdnn.campaign import Instance, provenance, read_instances, read_known
from birdnn.cli.failures import complain
from birdnn.cli.statuses import INTERRUPTED, OWN_FAULT, UNUSABLE
from birdnn.cli.terminal import print_first_line, show
from birdnn.errors import DisagreementError
from birdnn.formats.together import all_or_none
from birdnn.records import CONTRADICTION, CampaignOutcome
from birdnn.report.bench import bench_csv, bench_markdown, bench_summary, quiet_line
from birdnn.report.publish import write_record


def read_asked_instances(
    source: Path, verdicts: Path | None, *, timeout_s: float | None, repair: bool
) -> tuple[tuple[Instance, ...], tuple[str, ...]]:
    """What is to be done, and what to say about it."""
    known = None if verdicts is None else read_known(verdicts)
    instances = tuple(read_instances(source, timeout_s=timeout_s, repair=repair, known=known))
    unknown = sum(not one.expected for one in instances)
    if known is None or not unknown:
        return instances, ()
    return instances, (f"{unknown} of {len(instances)} instances have no known verdict.",)


def finish_bench(
    outcome: CampaignOutcome, *, json: Path | None, summary: Path | None, plot: Path | None, quiet: bool
) -> int:
    """Print, draw and write what was found; the exit status.

    Raises:
        DisagreementError: a result contradicts a known verdict or another table, or engines, or prover and checker,
            contradict each other on an instance. Everything is on disk by then.
    """
    with all_or_none() as files:
        if json is not None:
            write_record(outcome, json, files.add)
        if summary is not None:
            files.add(summary, _summary_text(outcome, summary).encode())
        if plot is not None:
            files.add(plot, draw_cactus(outcome, plot))
    if quiet:
        print_first_line(quiet_line(outcome))
    else:
        show(lambda _: bench_summary(outcome))
    # the worst first: two answers of which one is wrong, then an interruption, our own faults, unusable files
    within = [f"{row.name}: {row.note}" for row in outcome.rows if row.answer == CONTRADICTION]
    contradictions = [
        *within,
        *outcome.figures.wrong,
        *(told for entry in outcome.against for told in entry.contradictions),
    ]
    if contradictions:
        raise DisagreementError(" | ".join(contradictions))
    if outcome.interrupted:
        undone = sum(not row.answer for row in outcome.rows)
        complain(f"interrupted; {undone} of {len(outcome.rows)} instances are left: the same command goes on")
        return INTERRUPTED
    if any(row.answer == "crash" for row in outcome.rows):
        return OWN_FAULT
    return UNUSABLE if outcome.broken else 0


def _summary_text(outcome: CampaignOutcome, path: Path) -> str:
    if path.suffix.lower() == ".csv":
        return bench_csv(outcome)
    made_by = provenance(shlex.join(outcome.command), f"Seed {outcome.seed}", outcome.threads)
    return bench_markdown(outcome, f"{Path(outcome.instances).stem}: {outcome.kind}", made_by)


def draw_cactus(outcome: CampaignOutcome, place: Path) -> bytes:
    """The cactus plot of our table and those it is compared with, as the file there is to hold it."""
    from birdnn.report.cactus import cactus_picture  # Matplotlib takes long to load
    from birdnn.report.drawing import picture_kind

    curves = {outcome.figures.name: outcome.figures.curve}
    curves |= {entry.theirs.name: entry.theirs.curve for entry in outcome.against}
    return cactus_picture(
        curves,
        total=outcome.figures.n,
        limit_s=max(row.timeout_s for row in outcome.rows),
        title=f"{Path(outcome.instances).name}: {outcome.kind}",
        kind=picture_kind(place),
    )
