"""The JSON Schema of what each command writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from birdnn.records import (
    BlockLocalizeOutcome,
    CampaignOutcome,
    CheckOutcome,
    CompareOutcome,
    DoctorOutcome,
    EstimateOutcome,
    FetchOutcome,
    LocalizeOutcome,
    PlotOutcome,
    ProgressPicture,
    RepairOutcome,
    SafetyReport,
    VerifyOutcome,
)
from birdnn.report.publish import model_of

PUBLISHED: Mapping[str, type[Any]] = {
    "verify": VerifyOutcome,
    "repair": RepairOutcome,
    "estimate": EstimateOutcome,
    "localize": LocalizeOutcome,
    "localize-blocks": BlockLocalizeOutcome,
    "check": CheckOutcome,
    "plot": PlotOutcome,
    "plot-progress": ProgressPicture,
    "doctor": DoctorOutcome,
    "fetch": FetchOutcome,
    "report": SafetyReport,
    "bench": CampaignOutcome,
    "compare": CompareOutcome,
}


def schemas() -> dict[str, str]:
    """File name -> JSON schema text of what the commands write."""
    return {
        f"{name}.schema.json": json.dumps(model_of(record).model_json_schema(mode="serialization"), indent=2) + "\n"
        for name, record in PUBLISHED.items()
    }
