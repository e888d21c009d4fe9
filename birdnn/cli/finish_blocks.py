"""What ``localize --blocks`` and ``repair --method blocks`` print and write at their end. Loads torch."""

from __future__ import annotations

from pathlib import Path

from birdnn.cli.failures import report_interrupted
from birdnn.cli.finish import REPAIR_STATUS, result_is_on_disk
from birdnn.cli.terminal import print_first_line, show
from birdnn.formats.files import write_bytes
from birdnn.records import BlockLocalizeOutcome, ExampleRepair
from birdnn.report.blocks import block_localize_summary, block_repair_summary
from birdnn.report.publish import write_record


def finish_localize_blocks(
    outcome: BlockLocalizeOutcome, *, json: Path | None, picture: Path | None, quiet: bool
) -> int:
    """Print, draw and write what was found; the exit status."""
    if json is not None:
        write_record(outcome, json, write_bytes)
    ranking = outcome.found.ranking()
    if picture is not None and ranking:
        from birdnn.report.drawing import picture_kind  # Matplotlib takes long to load
        from birdnn.report.pictures_blocks import blocks_picture

        write_bytes(picture, blocks_picture(outcome.found, Path(outcome.net).name).data(picture_kind(picture)))
    if quiet:
        print_first_line(ranking[0].name if ranking else "interrupted")
    else:
        show(lambda width: block_localize_summary(outcome, width))
    if outcome.interrupted:
        return report_interrupted("; some blocks were not tried")
    return 0


def finish_repair_blocks(outcome: ExampleRepair, *, json: Path | None, quiet: bool) -> int:
    """Print and write what was done; the exit status."""
    if json is not None:
        with result_is_on_disk(outcome):
            write_record(outcome, json, write_bytes)
    if quiet:
        print_first_line(" ".join(part for part in (outcome.result, outcome.out) if part))
    else:
        show(lambda width: block_repair_summary(outcome, width))
    if outcome.interrupted:
        kept = f"the best network so far is {outcome.out}" if outcome.out else "no network was written"
        return report_interrupted(f"; {kept}")
    return REPAIR_STATUS[outcome.result]
