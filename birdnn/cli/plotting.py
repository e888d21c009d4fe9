"""What ``birdnn plot`` prints and writes at its end. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from birdnn.cli.failures import complain
from birdnn.cli.options import command_line
from birdnn.cli.statuses import INTERRUPTED
from birdnn.cli.terminal import print_first_line, show
from birdnn.errors import FormatError
from birdnn.formats.files import require_writable
from birdnn.formats.together import all_or_none
from birdnn.pipeline.reporting import read_outcome, record_at
from birdnn.reading import reading
from birdnn.records import AdvisoryMap, PlotOutcome, ProgressPicture, PropertyRepair
from birdnn.report.drawing import Drawing, picture_kind
from birdnn.report.pictures_lines import margin_line
from birdnn.report.pictures_maps import advisory_map
from birdnn.report.pictures_repair import change_picture, progress_picture
from birdnn.report.plots import drawn_summary, plot_summary
from birdnn.report.publish import write_record


def finish_plot(outcome: PlotOutcome, *, out: Path, json: Path | None, quiet: bool) -> int:
    """Draw and write a map or a line, and say what is to be seen; the exit status.

    Where the user stopped it nothing is written: half a picture would look like a whole one.
    """
    if outcome.interrupted:
        complain("interrupted; no picture was written")
        return INTERRUPTED
    drawn = outcome.drawn
    drawing = advisory_map(drawn) if isinstance(drawn, AdvisoryMap) else margin_line(drawn)
    _write_picture(drawing, out, json, outcome, out=str(out.resolve()))
    if quiet:
        print_first_line(str(out))
    else:
        show(lambda width: plot_summary(outcome, out, drawing))
    return 0


def finish_repair_picture(
    result: Path, picture: Literal["progress", "change"], out: Path, json: Path | None, *, quiet: bool
) -> int:
    """Draw what `repair.json` tells; 0.

    Raises:
        FormatError: there is none, it is damaged, or has no such picture.
    """
    path = record_at(result)
    require_writable((out, json), (path,))
    repair, digest = read_outcome(path)
    course = repair if isinstance(repair, PropertyRepair) else None
    if picture == "progress" and course is None:
        raise FormatError(str(path), "", "a repair by blocks, of which birdnn plot change draws what there is")
    with reading(path):  # as its schema says, and perhaps a contradiction in itself
        drawing = change_picture(repair) if picture == "change" or course is None else progress_picture(course)
    told = ProgressPicture(
        command=command_line(),
        picture=picture,
        out=str(out.resolve()),
        report=str(path),
        report_sha256=digest,
        tried=() if course is None else course.tried,
        change=repair.change,
        stopped="" if course is None else course.stopped,
        wall_s=repair.wall_s,
    )
    _write_picture(drawing, out, json, told)
    if quiet:
        print_first_line(str(out))
    else:
        show(lambda width: drawn_summary(out, drawing))
    return 0


def _write_picture(drawing: Drawing, place: Path, json: Path | None, record: object, **told: object) -> None:
    """The picture, and what it was drawn from."""
    with all_or_none() as files:
        files.add(place, drawing.data(picture_kind(place)))
        if json is not None:
            write_record(record, json, files.add, **told)
