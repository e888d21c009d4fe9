"""Changing a network so that its properties hold and the rest of its behaviour stays."""

from __future__ import annotations

from birdnn.repair.protocol import Evidence, Goal, Repairer, RepairTask, Resample
from birdnn.repair.retrain import Retrain, RetrainSettings

__all__ = ["Evidence", "Goal", "RepairTask", "Repairer", "Resample", "Retrain", "RetrainSettings"]
