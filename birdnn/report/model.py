"""What every published model has in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from birdnn.printable import printable

SCHEMA_VERSION: Literal[1] = 1


def readable(text: str) -> str:
    """`text` as tables, pages and pictures show it: characters that act on who shows them are written out."""
    return printable(text, lines=True)


def _utf8(text: Any) -> Any:
    return text.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(text, str) else text


Readable = Annotated[str, BeforeValidator(_utf8)]
"""Text with what UTF-8 cannot say written out: a file's name may hold any bytes."""


class Model(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
