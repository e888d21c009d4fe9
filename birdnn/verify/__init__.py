"""Deciding a property: falsification, then branch and bound with replayed counterexamples."""

from __future__ import annotations

from birdnn.verify.attack import AttackSettings, attack
from birdnn.verify.bounding import MakeBound
from birdnn.verify.falsifying import falsify
from birdnn.verify.float32 import require_float32, why_not_float32
from birdnn.verify.search import verify
from birdnn.verify.settings import SearchSettings

__all__ = [
    "AttackSettings",
    "MakeBound",
    "SearchSettings",
    "attack",
    "falsify",
    "require_float32",
    "verify",
    "why_not_float32",
]
