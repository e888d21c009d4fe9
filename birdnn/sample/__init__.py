"""Seeded draws of inputs and what a network answers there."""

from __future__ import annotations

from birdnn.sample.draw import distinct, evaluate, from_boxes, from_property, from_region, uniform

__all__ = ["distinct", "evaluate", "from_boxes", "from_property", "from_region", "uniform"]
