"""`compare`'s outcome as a page to read: HTML that needs no other file and no network, in the safety report's style."""

from __future__ import annotations

from collections.abc import Mapping

from birdnn.records import Apart, Became, CompareOutcome, Guarantee, Matching
from birdnn.report.comparison_text import at_most, compare_headline, flip_text, found_in, point_text, proved_in
from birdnn.report.pages import Figures, template_environment
from birdnn.report.publish import json_document
from birdnn.report.words import Side

_TAGS: Mapping[Became, Guarantee] = {
    "kept": "proved",
    "gained": "proved",
    "lost": "violated",
    "violated in both": "violated",
    "undecided": "unknown",
}
"""What became of a property -> the word in whose colours it is told."""

_MATCHED: Mapping[Matching, str] = {
    "graph": "Both files hold the same graph; parameters are compared by name.",
    "layers": "The graphs differ and fold to layers of the same form; the folded layers are compared.",
    "none": "The structures differ: no parameter of one corresponds to one of the other.",
}


def compare_page(outcome: CompareOutcome) -> str:
    """One HTML file: style inside, no script; every figure carries the exact value of the JSON."""
    template = template_environment(markdown=False).get_template("compare.html.j2")
    return template.render(
        r=outcome,
        headline=compare_headline(outcome),
        v=Figures(json_document(outcome, headline=compare_headline(outcome))),
        outputs=Side("Y", outcome.outputs),
        TAGS=_TAGS,
        MATCHED=_MATCHED,
        tone=_banner_tone(outcome),
        found_in=lambda place: found_in(outcome, place),
        proved_in=lambda place: proved_in(outcome, place),
        at_most=at_most,
        where=lambda entry: point_text(outcome, entry),
        flip=lambda entry: flip_text(outcome, entry),
        place_of=lambda entry: _place_of_apart(outcome, entry),
        places=list(dict.fromkeys(entry.place for entry in outcome.apart)),
    )


def _banner_tone(outcome: CompareOutcome) -> str:
    # Worse than undecided: an input shows that B breaks what A was proved to keep.
    if outcome.disagreement or outcome.lost:
        return "bad"
    not_well = any(prop.became in ("undecided", "violated in both") for prop in outcome.properties)
    return "warn" if not_well or outcome.regressions or outcome.interrupted or outcome.timed_out else "good"


def _place_of_apart(outcome: CompareOutcome, entry: Apart) -> int:
    # By identity: `index` would compare whole inputs, and take the first of two that are equal.
    return next(place for place, each in enumerate(outcome.apart) if each is entry)
