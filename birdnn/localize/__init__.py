"""Which hidden neurons behave differently where a property is violated, and whether changing them helps."""

from __future__ import annotations

from birdnn.localize.interventions import check_interventions
from birdnn.localize.responsibility import localize

__all__ = ["check_interventions", "localize"]
