"""What ``birdnn compare`` prints and writes. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

from pathlib import Path

from birdnn.cli.failures import complain
from birdnn.cli.statuses import INTERRUPTED
from birdnn.cli.terminal import print_first_line, show
from birdnn.errors import DisagreementError
from birdnn.formats.together import all_or_none
from birdnn.records import CompareOutcome
from birdnn.report.comparison_page import compare_page
from birdnn.report.comparison_text import compare_headline, compare_summary
from birdnn.report.publish import write_record


def finish_compare(outcome: CompareOutcome, *, json: Path | None, html: Path | None, quiet: bool) -> int:
    """Print and write what was found; the exit status, which says nothing about differences.

    Raises:
        DisagreementError: what was found contradicts what was proved. Everything is printed and on disk by then.
    """
    with all_or_none() as files:
        if json is not None:
            write_record(outcome, json, files.add, headline=compare_headline(outcome))
        if html is not None:
            files.add(html, compare_page(outcome).encode("utf-8"))
    if quiet:
        print_first_line(compare_headline(outcome))
    else:
        show(lambda width: compare_summary(outcome, width))
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    if outcome.interrupted:
        complain("interrupted; what is missing was not measured")
        return INTERRUPTED
    return 0
