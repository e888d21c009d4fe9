"""The main path: from files to answers and back to files. The only place that sees every stage."""

from __future__ import annotations

from birdnn.pipeline.certifying import Stopped
from birdnn.pipeline.checking import CheckOutcome, check_files
from birdnn.pipeline.deciding import falsify_files, verify_files
from birdnn.pipeline.doctoring import examine
from birdnn.pipeline.estimating import estimate_files
from birdnn.pipeline.fetching import fetch_files
from birdnn.pipeline.localising import localize_files
from birdnn.pipeline.localising_blocks import localize_block_files
from birdnn.pipeline.plotting import plot_line, plot_map
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.pipeline.settings import LocalizeSettings, RepairSettings

__all__ = [
    "CheckOutcome",
    "LocalizeSettings",
    "RepairSettings",
    "Stopped",
    "check_files",
    "estimate_files",
    "examine",
    "falsify_files",
    "fetch_files",
    "localize_block_files",
    "localize_files",
    "plot_line",
    "plot_map",
    "repair_blocks",
    "repair_files",
    "verify_files",
]
