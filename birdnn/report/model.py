"""What every published model has in common, and models as text.

Writing is left to a callable, so that files appear all at once by the one writer that the package has.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from birdnn.printable import printable

SCHEMA_VERSION: Literal[1] = 1

Writer = Callable[[Path, bytes], object]


def readable(text: str) -> str:
    """`text` as tables, pages and pictures show it: characters that act on who shows them are written out."""
    return printable(text, lines=True)


def _utf8(text: Any) -> Any:
    return text.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(text, str) else text


Readable = Annotated[str, BeforeValidator(_utf8)]
"""Text with what UTF-8 cannot say written out: a file's name may hold any bytes."""


class Model(BaseModel):
    """Frozen, strict about names, and built when first used: a command needs few of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


def dumps(report: BaseModel) -> str:
    """A report as indented JSON text with a final line feed; no NaN or infinity."""
    return json.dumps(report.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_report(report: BaseModel, path: Path, write: Writer) -> None:
    """Write a report through `write`, which puts the whole file in place at once."""
    write(path, dumps(report).encode("utf-8"))
