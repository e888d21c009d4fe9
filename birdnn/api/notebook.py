"""Results as notebooks show them: a table of verdicts, and a picture where there is one.

Jupyter asks an object for ``_repr_html_``. The records know nothing of HTML; `install` teaches it to those that the
functions of `birdnn.api` return.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from birdnn.printable import readable
from birdnn.records import PropertyRepair, PropertyVerdict, VerifyOutcome

_COLOURS = {"proved": "#1a7f37", "violated": "#cf222e", "unknown": "#9a6700"}
_SHOWN = 8
"""Inputs of a counterexample; the record has all."""


def install() -> None:
    """Have notebooks show results as tables."""
    VerifyOutcome._repr_html_ = verify_html  # type: ignore[attr-defined]
    PropertyRepair._repr_html_ = repair_html  # type: ignore[attr-defined]


def verify_html(outcome: VerifyOutcome) -> str:
    """A row for each property: its verdict, what that rests on, and how long it took."""
    rows = [
        (
            _escaped_text(answer.name),
            _coloured_word(answer.outcome),
            _reason_text(answer),
            f"{answer.boxes:,}",
            f"{answer.solve_s:.2g} s",
        )
        for answer in outcome.verdicts
    ]
    table = _html_table(("property", "verdict", "", "boxes", "time"), rows)
    return f"{table}{_warning_paragraph(outcome.disagreement)}"


def repair_html(outcome: PropertyRepair) -> str:
    """A row for each property, what is kept, where the network is; and the first map of what changed."""
    rows = [
        (
            _escaped_text(prop.name),
            _coloured_word(prop.before),
            _coloured_word(prop.after),
            f"{prop.boxes:,}",
            f"{prop.verify_s:.2g} s",
        )
        for prop in outcome.properties
    ]
    table = _html_table(("property", "before", "after", "boxes", "time"), rows)
    word = ", ".join(filter(None, [outcome.result.replace("_", " "), outcome.reservation()]))
    lines = [word + (f": {Path(outcome.out).name}" if outcome.out else "")]
    if outcome.fidelity is not None and outcome.fidelity.decision_agreement is not None:
        share = f"{100 * outcome.fidelity.decision_agreement:.4g} %"
        lines.append(f"{share} of the domain is decided as before, mean difference {outcome.fidelity.mae:.2g}")
    said = "".join(f"<p>{_escaped_text(line)}</p>" for line in lines)
    return f"{table}{said}{_map_picture(outcome)}{_warning_paragraph(outcome.disagreement)}"


def _map_picture(outcome: PropertyRepair) -> str:
    """What is decided around a counterexample, before and after; empty where nothing was drawn."""
    if not outcome.maps:
        return ""
    from birdnn.report.pictures_maps import advisory_map_svg  # Matplotlib takes long to load

    return advisory_map_svg(outcome.maps[0])


def _reason_text(answer: PropertyVerdict) -> str:
    found = answer.counterexample
    if found is None:
        return _escaped_text(answer.reason or "")
    more = f", ... ({len(found.x)} inputs)" if len(found.x) > _SHOWN else ""
    return _escaped_text(f"at {', '.join(f'{value:.6g}' for value in found.x[:_SHOWN])}{more}")


def _html_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _coloured_word(word: str) -> str:
    return f'<strong style="color:{_COLOURS.get(word, "inherit")}">{_escaped_text(word)}</strong>'


def _warning_paragraph(text: str) -> str:
    return f'<p style="color:{_COLOURS["violated"]}">{_escaped_text(text)}</p>' if text else ""


def _escaped_text(text: str) -> str:
    # names in files are strangers' text: neither markup nor characters that act
    return escape(readable(text))
