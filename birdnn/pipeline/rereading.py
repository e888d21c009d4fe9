"""What suites and networks still say of a result whose record does not. Reads networks: load it where it is needed."""

from __future__ import annotations

from pathlib import Path

from birdnn.errors import BirdnnError
from birdnn.formats import read_network
from birdnn.formats.differences import graph_change
from birdnn.formats.suite import BUNDLED, Suite
from birdnn.metrics import initialiser_changes
from birdnn.pipeline.describing import suite_quantities
from birdnn.records import GraphChange, InitialiserChange, ScaledQuantity


def installed_quantities(suite: str) -> tuple[tuple[ScaledQuantity, ...], tuple[ScaledQuantity, ...]] | None:
    """What the inputs and the outputs mean by a suite that is installed; None where there is none of that name."""
    # bundled ones alone: a name in a record must not become a path that is read
    return suite_quantities(Suite.load(suite)) if suite in BUNDLED else None


def changed_initialisers(before: Path, after: Path) -> dict[str, InitialiserChange]:
    """How the initialisers of two networks differ; nothing where that cannot be told."""
    try:
        return initialiser_changes(read_network(before).initialisers(), read_network(after).initialisers())
    # KeyError: the networks have other initialisers, so that no change of values can be told
    except (BirdnnError, KeyError):
        return {}


def graph_changed(before: Path, after: Path) -> GraphChange | None:
    """How the graphs of two networks differ; None where that cannot be told."""
    try:
        return graph_change(before, after)
    except BirdnnError:
        return None
