"""Campaigns: many instances, each verified or repaired in a process of its own, into a table that survives anything."""

from __future__ import annotations

from birdnn.campaign.figures import (
    broken_instances,
    campaign_figures,
    campaign_rows,
    kept_figures,
    read_results,
    side_by_side,
)
from birdnn.campaign.instances import Instance, read_instances, read_known
from birdnn.campaign.kinds import REPAIR, VERIFY, Kind
from birdnn.campaign.made_by import provenance, stamp
from birdnn.campaign.outcome import campaign_files
from birdnn.campaign.run import Campaign, latest_rows, open_table, run_campaign
from birdnn.campaign.table import Table

__all__ = [
    "REPAIR",
    "VERIFY",
    "Campaign",
    "Instance",
    "Kind",
    "Table",
    "broken_instances",
    "campaign_figures",
    "campaign_files",
    "campaign_rows",
    "kept_figures",
    "latest_rows",
    "open_table",
    "provenance",
    "read_instances",
    "read_known",
    "read_results",
    "run_campaign",
    "side_by_side",
    "stamp",
]
