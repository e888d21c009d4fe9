"""Changing a network so that its properties hold and the rest of its behaviour stays."""

from __future__ import annotations

from birdnn.repair.all_layers import AllLayers, AllLayersSettings
from birdnn.repair.finetune import Finetune, FinetuneSettings, top_of
from birdnn.repair.linear import LastLayer, LinearSettings, require_last_layer
from birdnn.repair.protocol import Evidence, Goal, Repairer, RepairTask, Resample, SlopeGoal
from birdnn.repair.ramp import CommonRamp, RampSettings
from birdnn.repair.retrain import Retrain, RetrainSettings
from birdnn.repair.slope_training import SlopeTraining, SlopeTrainingSettings

__all__ = [
    "AllLayers",
    "AllLayersSettings",
    "CommonRamp",
    "Evidence",
    "Finetune",
    "FinetuneSettings",
    "Goal",
    "LastLayer",
    "LinearSettings",
    "RampSettings",
    "RepairTask",
    "Repairer",
    "Resample",
    "Retrain",
    "RetrainSettings",
    "SlopeGoal",
    "SlopeTraining",
    "SlopeTrainingSettings",
    "require_last_layer",
    "top_of",
]
