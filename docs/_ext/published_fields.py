"""What published fields say of themselves (`birdnn.records.published.Said`), in the docs of their records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_type_hints

from sphinx.application import Sphinx

from birdnn.records.published import Said


def fields_said(record: type) -> Iterator[tuple[str, str]]:
    """Attribute -> what is said about it, for fields and properties; None where JSON says null."""
    hints = get_type_hints(record, include_extras=True)
    for name, member in vars(record).items():
        if isinstance(member, property) and member.fget is not None:
            hints[name] = get_type_hints(member.fget, include_extras=True).get("return")
    for name, hint in hints.items():
        for said in getattr(hint, "__metadata__", ()):
            if isinstance(said, Said) and said.text:
                yield name, re.sub(r"\bnull\b", "None", said.text).replace("Null", "None")


def add_fields(_app: Sphinx, what: str, _name: str, record: Any, _options: Any, lines: list[str]) -> None:
    """Put them into the section on attributes."""
    if what != "class" or not hasattr(record, "__published__"):
        return
    entries = [f"    {name}: {text}" for name, text in fields_said(record)]
    if not entries:
        return
    if "Attributes:" not in lines:
        lines += ["", "Attributes:"]
    place = lines.index("Attributes:") + 1
    lines[place:place] = entries


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", add_fields, priority=400)  # before napoleon reads the section
    return {"parallel_read_safe": True}
