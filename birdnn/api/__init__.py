"""birdnn from Python: the commands as functions, on files or on what lives in memory.

What is said here about networks and properties is said about files, as on the command line; what lives in memory
becomes one first. Numbers are in the network's own units unless said otherwise.
"""

from __future__ import annotations

from birdnn.api import notebook
from birdnn.api.asking import check, estimate, falsify, localize, repair, verify
from birdnn.api.by_examples import localize_blocks, repair_blocks
from birdnn.api.loading import box_property, load_network, load_property, repaired_module, save_network, save_property
from birdnn.api.rules import rule

__all__ = [
    "box_property",
    "check",
    "estimate",
    "falsify",
    "load_network",
    "load_property",
    "localize",
    "localize_blocks",
    "repair",
    "repair_blocks",
    "repaired_module",
    "rule",
    "save_network",
    "save_property",
    "verify",
]

notebook.install()
