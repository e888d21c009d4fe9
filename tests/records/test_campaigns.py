"""What a campaign comes to: a contradiction is news also of one that is not over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from birdnn.campaign import VERIFY, campaign_figures
from birdnn.records import CONTRADICTION, CampaignOutcome, CampaignRow, SideBySide
from tests.report.outcomes import MACHINE, VERSIONS


def row(name: str, answer: str, expected: str = "") -> CampaignRow:
    return CampaignRow(name=name, answer=answer, seconds=1.0, timeout_s=9.0, expected=expected, note="", fields={})


def campaign(*rows: CampaignRow, **changes: Any) -> CampaignOutcome:
    figures = campaign_figures("birdnn", VERIFY, rows)
    made = CampaignOutcome(
        kind="verify",
        command=(),
        instances="/i.csv",
        table="/t.csv",
        rows=rows,
        figures=figures,
        kept_figures=(),
        against=(),
        broken=(),
        ran=len(rows),
        kept=0,
        jobs=1,
        threads=1,
        memory_gib=None,
        measure="cold",
        options="",
        seed=0,
        interrupted=False,
        wall_s=1.0,
        notes=(),
        versions=VERSIONS,
        machine=MACHINE,
    )
    return replace(made, **changes)


def beside(*contradictions: str) -> SideBySide:
    figures = campaign_figures("x", VERIFY, ())
    return SideBySide(
        ours=figures,
        theirs=figures,
        missing=0,
        both=0,
        only_ours=(),
        only_theirs=(),
        faster=0,
        ratio=None,
        contradictions=contradictions,
    )


SOLVED, WRONG, OPEN = row("a", "unsat", "unsat"), row("b", "sat", "unsat"), row("c", "")


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (campaign(SOLVED, row("t", "timeout")), "complete"),
        (campaign(SOLVED, OPEN), "incomplete"),
        (campaign(SOLVED, broken=("a: crash",)), "incomplete"),
        (campaign(OPEN, WRONG), "contradicted"),
        (campaign(OPEN, row("d", CONTRADICTION)), "contradicted"),
        (campaign(SOLVED, against=(beside(), beside())), "complete"),
        (campaign(OPEN, against=(beside(), beside("a: birdnn sat, x unsat"))), "contradicted"),
        (campaign(), "complete"),
    ],
)
def test_the_result_is_the_weightiest_of_what_was_found(found: CampaignOutcome, result: str) -> None:
    assert found.result == result
