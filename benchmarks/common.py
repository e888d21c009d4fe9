"""What all campaigns share: where they are. Tables and who ran them are `birdnn.campaign`'s."""

from __future__ import annotations

from pathlib import Path

from birdnn.campaign import Table, provenance, stamp

__all__ = ["ROOT", "Table", "provenance", "stamp"]

ROOT = Path(__file__).resolve().parents[1]
