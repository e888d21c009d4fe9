"""A list of the published schemas, with what each describes."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

FOLDER = Path(__file__).resolve().parents[1] / "schema"


class Schemas(Directive):
    """``{schemas}``: one entry for each file, in order of name; Sphinx copies them to the root of the pages."""

    def run(self) -> list[nodes.Node]:
        """The list."""
        entries = nodes.bullet_list()
        for file in sorted(FOLDER.glob("*.schema.json")):
            about = json.loads(file.read_text(encoding="utf-8")).get("description", "").split("\n\n")[0]
            link = nodes.reference("", "", nodes.literal(text=file.name), refuri=file.name)
            told = nodes.paragraph("", "", link, nodes.Text(f": {about}" if about else ""))
            entries += nodes.list_item("", told)
        return [entries]


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it."""
    app.add_directive("schemas", Schemas)
    return {"parallel_read_safe": True}
