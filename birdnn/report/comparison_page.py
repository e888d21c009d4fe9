"""`compare`'s outcome as a page to read: HTML that needs no other file and no network, in the safety report's style."""

from __future__ import annotations

from birdnn.report.comparison_text import at_most, flip_text, found_in, point_text, proved_in
from birdnn.report.pages import Figures, environment
from birdnn.report.schema_comparison import ApartModel, CompareReport
from birdnn.report.words import Side


def compare_page(report: CompareReport) -> str:
    """One HTML file: style inside, no script; every figure carries the exact value of the JSON."""
    template = environment(markdown=False).get_template("compare.html.j2")
    return template.render(
        r=report,
        v=Figures(report.model_dump(mode="json")),
        outputs=Side("Y", report.outputs),
        tone=_tone(report),
        found_in=lambda place: found_in(report, place),
        proved_in=lambda place: proved_in(report, place),
        at_most=at_most,
        where=lambda entry: point_text(report, entry),
        flip=lambda entry: flip_text(report, entry),
        place_of=lambda entry: _index(report, entry),
        places=list(dict.fromkeys(entry.place for entry in report.apart)),
    )


def _tone(report: CompareReport) -> str:
    if report.disagreement or report.lost:
        return "bad"
    not_well = any(prop.became in ("undecided", "violated in both") for prop in report.properties)
    return "warn" if not_well or report.regressions or report.interrupted or report.timed_out else "good"


def _index(report: CompareReport, entry: ApartModel) -> int:
    return next(place for place, each in enumerate(report.apart) if each is entry)
