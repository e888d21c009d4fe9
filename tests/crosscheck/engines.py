"""Marks of tests that need an engine that others wrote."""

from __future__ import annotations

import pytest

from birdnn.crosscheck.engines import engine_named, version_of


def needs(name: str) -> pytest.MarkDecorator:
    """Skips where the engine is not installed, and says how to get it."""
    engine = engine_named(name)
    missing = version_of(engine) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed: {engine.install}")
