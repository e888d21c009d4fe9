"""What ``birdnn report`` and ``repair --report`` do. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from birdnn.cli.failures import complain
from birdnn.cli.terminal import print_first_line, show
from birdnn.formats.files import require_folder
from birdnn.formats.together import all_or_none
from birdnn.pipeline.reporting import inputs_of, report_files
from birdnn.reading import reading
from birdnn.records import SafetyReport
from birdnn.report.intoto import intoto_statement
from birdnn.report.pages import html_page, markdown_page
from birdnn.report.publish import dumps
from birdnn.report.sarif import sarif_log
from birdnn.report.tables import add_fact, facts_grid, place_text

NAMES: Mapping[str, str] = {
    "html": "report.html",
    "md": "report.md",
    "json": "report.json",
    "sarif": "report.sarif",
    "intoto": "report.intoto.json",
}


def _indented_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_WRITERS: Mapping[str, Callable[[SafetyReport], str]] = {
    "html": html_page,
    "md": markdown_page,
    "json": dumps,
    "sarif": lambda report: _indented_json(sarif_log(report)),
    "intoto": lambda report: _indented_json(intoto_statement(report)),
}


def record_of(report: SafetyReport) -> Path:
    """The `repair.json` that the report was made from."""
    return Path(next(entry.path for entry in report.files if entry.role == "outcome"))


def render_report(report: SafetyReport, formats: Sequence[str]) -> list[str]:
    """The report in these formats.

    Raises:
        UnreadableError: the `repair.json` is as its schema says, and contradicts itself.
    """
    with reading(record_of(report)):
        return [_WRITERS[name](report) for name in formats]


def make_report(
    result: Path, formats: Sequence[str], out: Path | None, *, author: str | None = None, reviewer: str | None = None
) -> tuple[SafetyReport, list[Path]]:
    """The report, and the files that were written.

    Raises:
        FormatError: `result` is no outcome of a repair.
        OutputError: the folder cannot be written, or an input lies where a report belongs.
    """
    report = report_files(result, author=author, reviewer=reviewer)
    record = record_of(report)
    folder = (out or record.parent).resolve()
    names = [NAMES[name] for name in formats]
    require_folder(folder, names, inputs_of(report))
    # all texts before the first file: a record that contradicts itself must leave none
    texts = render_report(report, formats)
    folder.mkdir(parents=True, exist_ok=True)
    with all_or_none() as files:
        for name, text in zip(names, texts, strict=True):
            files.add(folder / name, text.encode("utf-8"))
    return report, [folder / name for name in names]


def finish_report(report: SafetyReport, files: Sequence[Path], *, quiet: bool) -> int:
    """Say where it is and what it says; 0."""
    for path in files:
        print_first_line(str(path) if quiet else place_text(str(path)))
    for entry in report.files:
        if entry.state != "as recorded":
            complain(f"warning: {entry.role} {entry.path}: {entry.state}; the report says so")
    if not quiet:
        grid = facts_grid()
        add_fact(grid, "verdict", f"{report.summary.headline} {report.summary.explanation}")
        for line in report.summary.first:
            add_fact(grid, "open", line)
        for line in report.added:
            add_fact(grid, "added", line)
        show(lambda width: grid)
    return 0
