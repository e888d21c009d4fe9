"""``birdnn report``: what an assessor files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from birdnn.cli.failures import command
from birdnn.cli.options import TO_READ, Quiet, require_input_files

FORMATS = ("html", "md", "json", "sarif", "intoto")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What the command line says."""

    result: Annotated[
        Path,
        typer.Argument(metavar="RESULT", help="What birdnn repair wrote: its folder, or the repair.json in it."),
        TO_READ,
    ]
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="LIST",
            help="html, md, json, sarif (for code-scanning pages), intoto (a statement to be signed); "
            "several separated by commas.",
        ),
    ] = "html"
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the report. Default: that of repair.json.")
    ] = None
    author: Annotated[
        str | None, typer.Option("--author", metavar="NAME", help="Who hands the report over, as page one says it.")
    ] = None
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", metavar="NAME", help="Who is to judge it, as page one says it.")
    ] = None
    quiet: Quiet = False


def _parse_formats(said: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in said.split(",")))
    for name in names:
        if name not in FORMATS:
            told = f"there is no format {name!r}; known: {', '.join(FORMATS)}"
            raise typer.BadParameter(told, param_hint="--format")
    return names


@command(ReportOptions)
def report(options: ReportOptions) -> int:
    """Make the safety report of a repair, for those who have to judge it.

    It is made from repair.json and the certificate alone: verdicts, counterexamples, the change, what was kept, what
    remains open. Files are compared with the recorded hashes, and the report says which are missing or differ. It
    needs no network and runs nothing again. Inputs are never overwritten.
    """
    formats = _parse_formats(options.formats)
    require_input_files(options)
    from birdnn.cli.reporting import finish_report, make_report

    report = make_report(options.result, formats, options.out, author=options.author, reviewer=options.reviewer)
    return finish_report(*report, quiet=options.quiet)
