"""Seeded draws of inputs and what a network answers there."""

from __future__ import annotations

from birdnn.sample.draw import (
    distinct_rows,
    draw_from_boxes,
    draw_from_property,
    draw_from_region,
    draw_uniform,
    evaluate,
)

__all__ = ["distinct_rows", "draw_from_boxes", "draw_from_property", "draw_from_region", "draw_uniform", "evaluate"]
