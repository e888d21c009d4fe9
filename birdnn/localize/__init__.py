"""Which neurons, or which blocks, are behind what a network gets wrong, and whether changing them helps."""

from __future__ import annotations

from birdnn.localize.blocks import SpectrumSettings, localize_blocks
from birdnn.localize.interventions import check_interventions
from birdnn.localize.responsibility import localize
from birdnn.localize.trial import TrialSettings

__all__ = ["SpectrumSettings", "TrialSettings", "check_interventions", "localize", "localize_blocks"]
