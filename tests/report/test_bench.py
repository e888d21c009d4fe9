"""A campaign for people: what is told, what is left out, and tables that no name can break."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from birdnn.campaign import VERIFY, campaign_figures, side_by_side
from birdnn.campaign.figures import Result, match_name
from birdnn.records import CONTRADICTION, CampaignOutcome, CampaignRow
from birdnn.report.bench import (
    SHOWN,
    bench_csv,
    bench_markdown,
    bench_summary,
    figures_markdown,
    quiet_line,
    rows_markdown,
)
from tests.records.test_campaigns import campaign


def row(name: str, answer: str, seconds: float | None = 1.0, **changes: Any) -> CampaignRow:
    made = CampaignRow(name=name, answer=answer, seconds=seconds, timeout_s=9.0, expected="", note="", fields={})
    return replace(made, **changes)


def shown(outcome: CampaignOutcome) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(bench_summary(outcome))
    return " ".join(stream.getvalue().split())


def test_zeros_of_what_may_go_wrong_are_not_told() -> None:
    assert quiet_line(campaign(row("a", "unsat"))) == "1 of 1 solved"
    rows = row("a", "unsat"), row("b", "sat", expected="unsat"), row("c", "", None), row("d", "crash")
    assert quiet_line(campaign(*rows, broken=("d: crash, x",))) == (
        "1 of 4 solved, 1 against the known verdict, 1 without a result, 1 not run"
    )


@pytest.mark.parametrize(
    ("seconds", "cell"), [(0.004, "0.00"), (1.5, "1.50"), (99.99, "99.99"), (100.0, "100"), (12345.6, "12,346")]
)
def test_seconds_of_a_figure(seconds: float, cell: str) -> None:
    (line,) = rows_markdown([row("a", "unsat", seconds)])[2:]
    assert line == f"| a | unsat | {cell} |"


def test_what_was_not_measured_is_a_dash() -> None:
    line = figures_markdown([campaign_figures("x", VERIFY, [row("a", "timeout", 9.0)])])[2]
    assert line == "| x | 0 of 1 | - | 18.00 | - | - | 9.00 |"


def test_rows_stand_longest_first_with_the_columns_that_any_fills() -> None:
    """Tables of earlier campaigns lack columns of later ones."""
    rows = [
        row("quick", "unsat", 0.5, fields={"boxes": "3", "expected": ""}),
        row("not run", "", None),
        row("slow", "sat", 7.0, fields={"boxes": ""}),
    ]
    assert rows_markdown(rows, str.upper) == [
        "| instance | answer | seconds | boxes |",
        "| --- | --- | --- | --- |",
        "| SLOW | sat | 7.00 |  |",
        "| QUICK | unsat | 0.50 | 3 |",
        "| NOT RUN |  | - |  |",
    ]


def test_no_name_ends_a_cell_or_is_a_link() -> None:
    (line,) = rows_markdown([row("a|b<c>[d]`e`\\f_g\nh", "unsat")])[2:]
    assert line == "| a\\|b\\<c>\\[d]\\`e\\`\\\\f_g h | unsat | 1.00 |"


def compared(*ours: CampaignRow, **theirs: Result) -> CampaignOutcome:
    found = {match_name(name): result for name, result in theirs.items()}
    return campaign(*ours, against=(side_by_side(VERIFY, ours, "them", found),))


OURS = row("a", "unsat", 1.0), row("b", "sat", 2.0), row("c", "unsat", 4.0)


def test_ours_stands_once_more_where_the_other_table_lacks_some() -> None:
    """Sums over different instances cannot be compared."""
    theirs = {"a": Result("unsat", 2.0), "b": Result("sat", 8.0), "c": Result("timeout", 9.0)}
    whole, part = compared(*OURS, **theirs), compared(*OURS, a=theirs["a"])
    for outcome, names in ((whole, ["birdnn", "them"]), (part, ["birdnn", "birdnn", "them"])):
        read = list(csv.DictReader(io.StringIO(bench_csv(outcome))))
        assert [line["name"] for line in read] == names
    assert [line["n"] for line in csv.DictReader(io.StringIO(bench_csv(part)))] == ["3", "1", "1"]


def test_two_tables_are_told_beside_each_other() -> None:
    told = shown(compared(*OURS, a=Result("unsat", 2.0), b=Result("sat", 16.0), c=Result("timeout", 9.0)))
    assert "2 solved by both, faster on 2, its time is 4 times ours (geometric mean)" in told
    assert "solved by us alone: c" in told
    assert "by them alone" not in told
    assert "it lacks" not in told
    less = shown(compared(row("a", "timeout", 9.0), row("b", "unsat"), a=Result("unsat", 2.0)))
    assert "0 solved by both, faster on 0; it lacks 1 of our instances" in less
    assert "by them alone: a" in less


def test_contradictions_are_told_with_their_notes() -> None:
    outcome = compared(row("a", "unsat"), row("b", CONTRADICTION, note="A against B"), a=Result("sat", 2.0))
    told = shown(outcome)
    assert "b: A against B" in told
    assert "a: birdnn unsat, them sat" in told
    assert "- contradictory: b: A against B" in bench_markdown(outcome, "T", "by me")


def test_of_many_names_the_first_are_told_and_the_rest_counted() -> None:
    broken = tuple(f"i{place}: crash" for place in range(SHOWN + 2))
    told = shown(campaign(row("a", "unsat"), broken=broken))
    assert f"i{SHOWN - 1}: crash and 2 more" in told
    assert f"i{SHOWN}: crash" not in told
    assert "more" not in shown(campaign(row("a", "unsat"), broken=broken[:SHOWN]))


def test_figures_in_csv_are_numbers() -> None:
    (line,) = csv.DictReader(io.StringIO(bench_csv(campaign(row("a", "sat", 0.25, expected="unsat")))))
    assert (line["wrong"], line["known"], line["par2_s"], line["median_s"]) == ("1", "1", "18.000", "")
