"""The campaigns on ACAS Xu: stored tables count as done, and their figures are those of the summaries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.acasxu import repair, verify
from benchmarks.acasxu.common import RESULTS
from birdnn.campaign import REPAIR, VERIFY, campaign_figures, campaign_rows, latest_rows, open_table
from birdnn.campaign.run import rows_of

pytestmark = pytest.mark.acasxu


@pytest.mark.parametrize("warm", [True, False])
def test_the_stored_verification_is_complete(acasxu: Path, tmp_path: Path, warm: bool) -> None:
    campaign = verify.campaign(acasxu, warm=warm)
    copy = shutil.copy(campaign.table, tmp_path)
    rows = rows_of(campaign, open_table(VERIFY, Path(copy)).rows)
    found = campaign_figures("birdnn", VERIFY, campaign_rows(VERIFY, campaign.instances, rows))
    assert (found.n, found.solved, found.wrong, found.known) == (186, 186, (), 186)
    assert found.answers == {"sat": 47, "unsat": 139}


def test_the_stored_repairs_are_complete(acasxu: Path, tmp_path: Path) -> None:
    """The 36 and the suite of N2,9; another method's rows are not taken for these."""
    instances = repair.instances(acasxu / "repair_instances.csv", 600.0)
    table = open_table(REPAIR, Path(shutil.copy(RESULTS / "repair.csv", tmp_path)))
    assert [one.vnnlib for one in instances].count("suite") == 1
    found = latest_rows(REPAIR, instances, table.rows, method="auto")
    assert len(found) == 37
    assert all(row is not None and row["method"] == "auto" for row in found)
    text = repair.summary(instances, table.rows, 1, 1)
    assert "| auto | 36 of 36 |" in text  # and so says docs/results.md
    assert "## finetune:lp" in text
