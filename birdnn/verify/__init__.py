"""Deciding a property: falsification, then branch and bound with replayed counterexamples."""

from __future__ import annotations

from birdnn.verify.attack import AttackSettings, attack
from birdnn.verify.search import MakeBound, SearchSettings, estimate_boxes, falsify, require_float32, verify

__all__ = [
    "AttackSettings",
    "MakeBound",
    "SearchSettings",
    "attack",
    "estimate_boxes",
    "falsify",
    "require_float32",
    "verify",
]
