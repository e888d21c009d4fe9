"""Statements that relate two networks: `query` (VNN-LIB 2.0), `chain`, `lines`, `walk`, `floats`, `exact`,
`engines`."""

from __future__ import annotations

FORMS = 3
"""In which a row on the outputs of two networks is asked for; an item has multipliers for each. See
`chain.rows_in_forms`."""
