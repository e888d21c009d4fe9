"""What ``birdnn plot`` prints and writes at its end. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from birdnn.cli.failures import complain
from birdnn.cli.options import command_line
from birdnn.cli.statuses import INTERRUPTED
from birdnn.cli.terminal import first_line, show_result
from birdnn.formats.files import require_writable
from birdnn.formats.together import all_or_none
from birdnn.pipeline.reporting import read_outcome, record_at
from birdnn.reading import reading
from birdnn.records import PlotOutcome
from birdnn.report.drawing import Drawing, Kind
from birdnn.report.maps import plot_report
from birdnn.report.model import write_report
from birdnn.report.pictures_lines import margin_line
from birdnn.report.pictures_maps import advisory_map
from birdnn.report.pictures_repair import change, progress
from birdnn.report.plots import drawn_summary, plot_summary
from birdnn.report.schema_plot import ProgressReport


def finish_plot(outcome: PlotOutcome, *, out: Path, json: Path | None, quiet: bool) -> int:
    """Draw and write a map or a line, and say what is to be seen; the exit status.

    Where the user stopped it nothing is written: half a picture would look like a whole one.
    """
    if outcome.interrupted:
        complain("interrupted; no picture was written")
        return INTERRUPTED
    report = plot_report(outcome, out)
    if report.map is not None:
        drawing = advisory_map(report.map)
    elif report.line is not None:
        drawing = margin_line(report.line)
    _write(drawing, out, report, json)
    if quiet:
        first_line(str(out))
    else:
        show_result(lambda width: plot_summary(report, drawing))
    return 0


def finish_of_repair(
    result: Path, picture: Literal["progress", "change"], out: Path, json: Path | None, *, quiet: bool
) -> int:
    """Draw what `repair.json` tells; 0.

    Raises:
        FormatError: there is none, or it is damaged.
    """
    path = record_at(result)
    require_writable((out, json), (path,))
    report, digest = read_outcome(path)
    with reading(path):  # as its schema says, and perhaps a contradiction in itself
        drawing = (progress if picture == "progress" else change)(report)
    told = None
    if json is not None:
        told = ProgressReport(
            command=shlex.join(command_line()),
            picture=picture,
            out=str(out.resolve()),
            report=str(path),
            report_sha256=digest,
            tried=report.tried,
            change=report.change,
            stopped=report.stopped,
            wall_s=report.wall_s,
        )
    _write(drawing, out, told, json)
    if quiet:
        first_line(str(out))
    else:
        show_result(lambda width: drawn_summary(out, drawing))
    return 0


def _write(drawing: Drawing, out: Path, report: BaseModel | None, json: Path | None) -> None:
    kind: Kind = "png" if out.suffix.lower() == ".png" else "svg"
    with all_or_none() as files:
        files.add(out, drawing.data(kind))
        if json is not None and report is not None:
            write_report(report, json, files.add)
