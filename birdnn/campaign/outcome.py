"""A campaign from its files to its outcome."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from birdnn.campaign.figures import (
    broken_instances,
    campaign_figures,
    campaign_rows,
    kept_figures,
    read_results,
    side_by_side,
)
from birdnn.campaign.kinds import REPAIR
from birdnn.campaign.run import Campaign, run_campaign
from birdnn.machines import cluster_at
from birdnn.pipeline.facts import machine, versions
from birdnn.records import CampaignOutcome, Unwatched, Watch


def campaign_files(
    campaign: Campaign,
    *,
    source: Path,
    against: Sequence[Path] = (),
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    watch: Watch | None = None,
) -> CampaignOutcome:
    """Run what is missing, and sum up.

    Args:
        campaign: what is to be done.
        source: the file of the instances.
        against: tables to compare with; read before anything is run.
        command: as typed, for the record.
        notes: for people, besides.
        watch: who follows it.

    Raises:
        InputError, OutputError: a file is unusable, or no cluster answers where one was to.
    """
    began, watch = time.monotonic(), watch or Unwatched()
    others = {path: read_results(path) for path in against}
    with nullcontext() if campaign.ray is None else cluster_at(campaign.ray) as cluster:
        # only a cluster that answers says how many processors it has
        if not campaign.jobs:
            campaign = replace(campaign, jobs=max(1, cluster.cpus() // campaign.threads if cluster else 1))
        rows, ran = run_campaign(campaign, watch, cluster)
    found = campaign_rows(campaign.kind, campaign.instances, rows)
    names = _table_names(others)
    return CampaignOutcome(
        kind=campaign.kind.name,
        command=command,
        instances=str(source),
        table=str(campaign.table),
        rows=tuple(found),
        figures=campaign_figures("birdnn", campaign.kind, found),
        kept_figures=kept_figures(found) if campaign.kind is REPAIR else (),
        against=tuple(side_by_side(campaign.kind, found, names[path], theirs) for path, theirs in others.items()),
        broken=broken_instances(found),
        ran=ran,
        kept=sum(row is not None for row in rows) - ran,
        jobs=campaign.jobs,
        threads=campaign.threads,
        memory_gib=campaign.memory_gib,
        measure=campaign.variant.get("measure", ""),
        options=shlex.join(campaign.said),
        seed=campaign.seed,
        interrupted=watch.stopped(),
        wall_s=time.monotonic() - began,
        notes=notes,
        versions=versions(),
        machine=machine(),
    )


def _table_names(paths: Mapping[Path, object]) -> dict[Path, str]:
    """What other tables are called: their stems, with the folder before where two are alike."""
    stems = [path.stem for path in paths]
    return {
        path: path.stem if stems.count(path.stem) == 1 else f"{path.resolve().parent.name}/{path.stem}"
        for path in paths
    }
