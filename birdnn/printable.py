"""Text from strangers, for places where characters act: terminals, and spreadsheets.

A node, an initialiser, a file may be called anything, also by an escape sequence that moves the cursor over what was
printed before, or by a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

_ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, marks that change the direction of writing, and what UTF-8 cannot say; not the line feed."""

# also behind apostrophes: a text that begins with one gets another, or `cell_text` would take away its own
_FORMULA = re.compile("'*[=+\\-@\t\r\n]")
# may begin with a sign, and is no formula all the same
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)")


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with every character that acts on a terminal written out: ``\\x1b``; line feeds stay where `lines`."""
    shown = _ACTS.sub(_written_out, text)
    return shown if lines else shown.replace("\n", "\\n")


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: "\\t", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def counted(count: int, what: str, several: str = "") -> str:
    """How many of something there are: ``"1 input"``, ``"3,072 inputs"``; `several` where its plural is another."""
    return f"{count:,} {what if count == 1 else several or f'{what}s'}"


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, in which no cell is a formula to a spreadsheet: one that would be begins with an apostrophe.

    Numbers stay numbers; None is an empty cell. `cell_text` undoes it.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_harmless_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _harmless_cell(value: object) -> object:
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def cell_text(cell: str) -> str:
    """A cell of such CSV as the text that it was made of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def readable(text: str) -> str:
    """`text` as tables, pages and pictures show it: characters that act on who shows them are written out."""
    return printable(text, lines=True)
