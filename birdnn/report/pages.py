"""The safety report as a page to read: HTML that needs no other file and no network, or Markdown. Jinja2 templates.

Every figure that stands in `report.json` is put into the page by `Figures`, under its JSON pointer: the page cannot
say another number than the file, and a test compares them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from birdnn.later import later
from birdnn.printable import readable
from birdnn.records import PropertyRepair, Role, SafetyReport
from birdnn.report.headline import change_words, decided_words, guarantee_now, worst_kept_place
from birdnn.report.publish import json_document
from birdnn.report.risks_blocks import ROLES
from birdnn.report.sections import section_numbers, section_titles
from birdnn.report.standards import DISCLAIMER
from birdnn.report.tables import duration_text, size_text
from birdnn.report.witnesses import HOLDS
from birdnn.report.words import at_least_text, at_most_text, percent, plain_number

if TYPE_CHECKING:
    from birdnn.report import pictures_page
else:
    pictures_page = later("birdnn.report.pictures_page")  # Matplotlib takes long to load

SHOWN = 32
"""Inputs of a box or a counterexample that a page lists; the JSON has all."""
REGIONS = 4
COUNTEREXAMPLES = 3
_BEFORE_AND_AFTER = 2
_LINE = 76
_ASKED: Mapping[Role, str] = {"goal": "to be repaired", "keep": "to be kept", "suite": "from the suite"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")


def _signed_text(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _with_minus(text: str) -> str:
    """A negative number with the sign that the others of its table have; an exponent keeps its own."""
    return f"−{text[1:]}" if text.startswith("-") else text


# "at least" and "at most" round to the safe side, for what a limit is said of; all others round to nearest.
FORMS: dict[str, Callable[[Any], str]] = {
    "percent": percent,
    "count": lambda value: f"{value:,}",
    "small": lambda value: f"{value:.2g}",
    "at least": lambda value: _with_minus(at_least_text(value)),
    "at most": lambda value: _with_minus(at_most_text(value)),
    "number": _signed_text,
    "part": lambda value: f"{value:.3f}",
    "difference": lambda value: f"{value:+.4g}".replace("-", "−"),
    "raw": plain_number,
    "seconds": duration_text,
    "bytes": size_text,
    "text": str,
}
"""How figures are written; the exact value stands beside the written one in the page."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The report's JSON, from which a template takes its figures by pointer: ``v("outcome/fidelity/mae", "small")``."""

    content: dict[str, Any]
    markdown: bool = False

    def at(self, pointer: str) -> Any:
        """The value there.

        Raises:
            KeyError, IndexError: the report has none.
        """
        value: Any = self.content
        for part in pointer.split("/"):
            # RFC 6901, section 4: in this order, or `~01`, which means `~1`, would become a slash.
            part = part.replace("~1", "/").replace("~0", "~")
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value

    def __call__(self, pointer: str, form: str = "text") -> Markup:
        """The value as people read it; in HTML with the exact one beside it. A dash for null."""
        value = self.at(pointer)
        shown = "–" if value is None else FORMS[form](value)
        if self.markdown:
            return Markup(markdown_text(shown))
        # As JSON writes it: tests read it back and hold it against the file.
        exact = json.dumps(value)
        # Markup.format escapes what it puts in: names of strangers are in pointers and values.
        return Markup('<data value="{}" data-pointer="{}">{}</data>').format(exact, "/" + pointer, shown)


def pointed(name: str) -> str:
    """A name as one part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def markdown_text(value: object) -> str:
    """Text that Markdown shows as it is."""
    # A line feed would end the row of a table, and could begin a heading of a stranger's.
    return _MARKDOWN.sub(r"\\\1", readable(str(value))).replace("\n", " ")


def _finalise(value: object) -> object:
    return value if isinstance(value, Markup) else markdown_text(value)


def _code(text: str) -> Markup:
    """A fenced block that its content cannot end."""
    # CommonMark: a fence ends at a run of at least as many backticks.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}sh\n{text}\n{fence}")


def _wrapped(command: str) -> str:
    """A long command, broken between its options."""
    # A line feed is inside of a quoted script, which would not survive being taken apart.
    if len(command) <= _LINE or "\n" in command:
        return command
    # Words are quoted again, for `split` took their quotes away.
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        parts = [*parts, word] if word.startswith("--") or not parts else [*parts[:-1], f"{parts[-1]} {word}"]
    lines = [""]
    for part in parts:  # as many options on a line as fit, each with its value
        if lines[-1] and len(lines[-1]) + len(part) >= _LINE:
            lines.append("")
        lines[-1] += f" {part}" if lines[-1] else part
    return " \\\n  ".join(lines)


_HEADING = re.compile(r'<th scope="col"[^>]*>(.*?)</th>')
_CELL = re.compile(r"<(th|td)\b([^>]*)>")


def _labelled(table: Markup) -> Markup:
    """The rows of a table with the column's name at every cell: a phone shows a wide row as lines of name and value."""
    names = [re.sub(r"<[^>]*>", "", name) for name in _HEADING.findall(table)]
    column = 0

    def cell(found: re.Match[str]) -> str:
        nonlocal column
        span = re.search(r'colspan="(\d+)"', found[2])
        name, column = names[column] if column < len(names) else "", column + (int(span[1]) if span else 1)
        return f'<{found[1]} data-label="{name}"{found[2]}>'

    # as plain text: what is added to Markup is escaped
    head, between, rows = str(table).partition("</thead>")
    done = []
    for row in rows.split("<tr"):
        column = 0
        done.append(_CELL.sub(cell, row))
    # made of what was escaped before, and of nothing else
    return Markup(head + between + "<tr".join(done))


def template_environment(*, markdown: bool) -> Environment:
    """What renders the package's templates."""
    made = Environment(
        loader=PackageLoader("birdnn.report"),
        # In Markdown `finalize` does it: what autoescape writes is HTML, and shows there.
        autoescape=not markdown,
        # A name that is misspelt in a template is an error, not an empty cell of a safety report.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalise if markdown else None,
    )
    made.filters |= {"pointed": pointed, "code": _code, "wrapped": _wrapped, "labelled": _labelled}
    made.globals |= {
        "SHOWN": SHOWN,
        "REGIONS": REGIONS,
        "COUNTEREXAMPLES": COUNTEREXAMPLES,
        "HOLDS": HOLDS,
        "ASKED": _ASKED,
        "DISCLAIMER": DISCLAIMER,
    }
    return made


def _rendered_page(report: SafetyReport, extension: str, **more: Any) -> str:
    """The page in the template of the outcome's kind: what the JSON has, and what is told of it."""
    outcome, content, markdown = report.outcome, json_document(report), extension == "md"
    if isinstance(outcome, PropertyRepair):
        kind, told = "properties", _properties_context(outcome)
    else:
        kind, told = "examples", {"ROLES": ROLES}
    told |= {
        "r": content,
        "o": content["outcome"],
        "titles": section_titles(outcome),
        "numbers": section_numbers(outcome),
        **more,
    }
    template = template_environment(markdown=markdown).get_template(f"report_{kind}.{extension}.j2")
    return template.render(told, v=Figures(content, markdown=markdown))


def _properties_context(outcome: PropertyRepair) -> dict[str, Any]:
    """What a repair by properties keeps, and which map stands on the first page."""
    kept = outcome.preservation
    return {
        "told": outcome.behaviour.index(worst_kept_place(outcome)) if outcome.behaviour else None,
        "change": "" if kept is None else change_words(kept, outcome),
        "surely": "" if kept is None else decided_words(kept),
        "front": _front_map(outcome),
        "watched_now": [guarantee_now(entry, outcome) for entry in outcome.watched],
    }


def _front_map(outcome: PropertyRepair) -> int | None:
    """Of the maps that come close to violations the one that shows most of them, before and after."""
    shown = [(place, drawn) for place, drawn in enumerate(outcome.maps) if len(drawn.panels) == _BEFORE_AND_AFTER]
    return max(shown, key=lambda entry: entry[1].panels[0].unsafe_share, default=(None, None))[0]


def html_page(report: SafetyReport) -> str:
    """One HTML file: style and pictures inside, no script, no network."""
    # Not escaped: `Drawing` made them, and escaped the names that it put in.
    pictures = {name: Markup(svg) for name, svg in pictures_page.pictures(report.outcome).items()}
    return _rendered_page(report, "html", pictures=pictures)


def markdown_page(report: SafetyReport) -> str:
    """The same as Markdown, without pictures."""
    # Blocks that have nothing to say leave their empty lines.
    return re.sub(r"\n{3,}", "\n\n", _rendered_page(report, "md")).strip() + "\n"
