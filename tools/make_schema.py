"""Writes docs/schema/*.json: the published shape of what the commands write with --json."""

from __future__ import annotations

import sys
from pathlib import Path

from birdnn.report.schemas import schemas

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schema"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
