"""What a command prints and writes at its end. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birdnn.cli.failures import complain, report_interrupted
from birdnn.cli.statuses import UNDECIDED
from birdnn.cli.terminal import print_first_line, show
from birdnn.errors import DisagreementError, OutputError
from birdnn.formats.files import write_bytes
from birdnn.formats.together import all_or_none
from birdnn.records import (
    EstimateOutcome,
    LocalizeOutcome,
    PropertyRepair,
    RepairOutcome,
    VerifyOutcome,
)
from birdnn.report.estimate import estimate_summary, quiet_line
from birdnn.report.localisation import localize_summary
from birdnn.report.publish import write_record
from birdnn.report.text import repair_summary, verify_summary
from birdnn.report.witnesses import counterexample_text, verdict_remark

VERIFY_STATUS = {"unsat": 0, "sat": 1, "unknown": 3, "timeout": 3}
REPAIR_STATUS = {"proved": 0, "nothing_to_repair": 0, "violated": 1, "sampled": 3}


def finish_verify(outcome: VerifyOutcome, *, json: Path | None, counterexample: Path | None, quiet: bool) -> int:
    """Print and write what was found; the exit status.

    Raises:
        DisagreementError: engines, or prover and checker, contradict each other. Everything is on disk by then.
    """
    # before any file: a disk that is full must not cost the verdict
    print_first_line(outcome.verdict)
    with all_or_none() as files:
        if json is not None:
            write_record(outcome, json, files.add)
        if counterexample is not None and outcome.counterexample is not None:
            files.add(counterexample, counterexample_text(outcome.counterexample).encode())
    if counterexample is not None and outcome.counterexample is None and counterexample.exists():
        # left there it would pass for the counterexample of this run
        counterexample.unlink()
        complain(f"removed {counterexample}: it was there before, and this run has no counterexample")
    if quiet:
        for answer in outcome.verdicts:
            for line in filter(None, (*answer.notes, verdict_remark(answer.name, answer.verdict))):
                complain(line)
    else:
        show(lambda width: verify_summary(outcome, width))
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    return report_interrupted() if outcome.interrupted else VERIFY_STATUS[outcome.verdict]


def finish_estimate(outcome: EstimateOutcome, *, json: Path | None, quiet: bool) -> int:
    """Print and write what was estimated; the exit status, which says nothing about violations."""
    if json is not None:
        write_record(outcome, json, write_bytes)
    if quiet:
        print_first_line(quiet_line(outcome))
    else:
        show(lambda width: estimate_summary(outcome, width))
    return report_interrupted() if outcome.interrupted else 0


def finish_repair(outcome: PropertyRepair, *, json: Path | None, quiet: bool, verbose: bool) -> int:
    """Print and write what was done; the exit status.

    Raises:
        DisagreementError: a sample violates what was proved, or engines, or prover and checker, contradict each other.
            Everything is on disk by then.
    """
    if json is not None:
        with result_is_on_disk(outcome):
            write_record(outcome, json, write_bytes)
    status = REPAIR_STATUS[outcome.result]
    if outcome.result == "proved" and (outcome.behaviour_kept != "kept" or outcome.regressions):
        status = UNDECIDED  # proved, and not what was asked for all the same
    if quiet:
        print_first_line(" ".join(part for part in (outcome.result, outcome.out) if part))
        if status != 0 or outcome.disagreement or outcome.interrupted:  # the word alone may sound like a success
            complain(outcome.headline)
    else:
        show(lambda width: repair_summary(outcome, width, verbose=verbose))
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    if outcome.interrupted:
        kept = f"the best attempt so far is {outcome.out}" if outcome.out else "no network was written"
        return report_interrupted(f"; {kept}")
    return status


@contextmanager
def result_is_on_disk(outcome: RepairOutcome) -> Iterator[None]:
    """While entered, an error of writing something more also says that the result itself is on disk."""
    try:
        yield
    except OutputError as error:
        if outcome.report is None:
            raise
        there = f"; the result itself is complete: {Path(outcome.report).parent}"
        raise OutputError(error.path, f"{error.problem}{there}") from None


def finish_localize(outcome: LocalizeOutcome, *, json: Path | None, picture: Path | None, quiet: bool) -> int:
    """Print, draw and write what was found; the exit status."""
    with all_or_none() as files:
        if json is not None:
            write_record(outcome, json, files.add)
        if picture is not None and outcome.answers:
            from birdnn.report.drawing import picture_kind  # Matplotlib takes long to load
            from birdnn.report.pictures import localisation_picture

            files.add(picture, localisation_picture(outcome, picture_kind(picture)))
    if quiet:
        print_first_line(outcome.outcome)
    else:
        show(lambda width: localize_summary(outcome, width))
    return report_interrupted() if outcome.interrupted else 0
