"""What ``doctor`` and ``fetch`` print and write at their end. Import it inside a command, see `birdnn.cli.finish`."""

from __future__ import annotations

from pathlib import Path

from birdnn.cli.failures import report_interrupted
from birdnn.cli.terminal import print_first_line, show
from birdnn.formats.files import write_bytes
from birdnn.records import DoctorOutcome, FetchOutcome
from birdnn.report.doctored import doctor_summary
from birdnn.report.fetched import fetch_summary
from birdnn.report.publish import write_record


def finish_doctor(outcome: DoctorOutcome, *, json: Path | None, quiet: bool) -> int:
    """Print and write what is there; 0."""
    if json is not None:
        write_record(outcome, json, write_bytes)
    if quiet:
        print_first_line(", ".join(state.name for state in outcome.states if state.usable is not False))
    else:
        show(lambda width: doctor_summary(outcome, width))
    return 0


def finish_fetch(outcome: FetchOutcome, *, json: Path | None, quiet: bool) -> int:
    """Print and write what is there now; the exit status."""
    if json is not None:
        write_record(outcome, json, write_bytes)
    if quiet:
        print_first_line(outcome.to)
    else:
        show(lambda width: fetch_summary(outcome))
    return report_interrupted("; what is missing comes with the same command") if outcome.interrupted else 0
