"""The page about operators says what the code does."""

from __future__ import annotations

from tests.formats.test_onnx_operators import CASES
from tools.make_operators import PAGE, page


def test_the_table_is_true() -> None:
    """It is made anew by ``python -m tools.make_operators``."""
    assert PAGE.read_text(encoding="utf-8") == page(CASES.values())
