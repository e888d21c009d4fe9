"""Seeded draws of inputs and what a network answers there."""

from __future__ import annotations

from birdnn.sample.draw import characterise, distinct, evaluate, from_boxes, from_property, from_region, uniform

__all__ = ["characterise", "distinct", "evaluate", "from_boxes", "from_property", "from_region", "uniform"]
