"""Figures that were computed by hand, and tables of other tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from birdnn.campaign import REPAIR, VERIFY, campaign_figures, read_results, side_by_side
from birdnn.campaign.figures import Result, broken_instances, kept_figures, match_name
from birdnn.errors import FormatError
from birdnn.records import CampaignRow


def row(name: str, answer: str, seconds: float | None, expected: str = "", **fields: str) -> CampaignRow:
    return CampaignRow(
        name=name, answer=answer, seconds=seconds, timeout_s=100.0, expected=expected, note="why", fields=fields
    )


ROWS = [
    row("a p", "unsat", 1.0, "unsat"),
    row("b p", "sat", 3.0),
    row("c p", "unsat", 2.0, "sat"),
    row("d p", "timeout", 100.5),
    row("e p", "crash", 0.5, "sat"),
    row("f p", "", None),
]


def test_an_answer_against_the_known_verdict_is_not_solved() -> None:
    found = campaign_figures("x", VERIFY, ROWS)
    assert (found.n, found.solved, found.known) == (6, 2, 3)
    assert found.wrong == ("c p: unsat, known sat",)
    assert found.answers == {"crash": 1, "sat": 1, "timeout": 1, "unsat": 2}
    assert found.par2_s == pytest.approx((1 + 3 + 4 * 200) / 6)
    assert found.total_s == pytest.approx(107)
    assert (found.median_s, found.slowest_s, found.slowest) == (2.0, 3.0, "b p")
    assert found.curve == (1.0, 3.0)
    assert broken_instances(ROWS) == ("e p: crash, why",)


def test_nothing_solved() -> None:
    found = campaign_figures("x", VERIFY, ROWS[3:])
    assert (found.median_s, found.slowest_s, found.slowest, found.curve) == (None, None, "", ())


def test_repairs_are_solved_by_proof_or_where_there_is_nothing_to_do() -> None:
    rows = [row(word, word, 1.0) for word in ("proved", "nothing_to_repair", "sampled", "violated", "timeout")]
    assert campaign_figures("x", REPAIR, rows).solved == 2


def test_a_proof_that_wrecked_the_network_solves_nothing() -> None:
    """Rows of the first version do not say what was kept."""
    rows = [row(kept, "proved", 1.0, kept=kept) for kept in ("kept", "badly kept", "not measured", "")]
    assert campaign_figures("x", REPAIR, [*rows, row("old", "proved", 1.0)]).solved == 3


def test_a_proof_that_loses_another_solves_nothing() -> None:
    """Its command ends in status 3."""
    rows = [row(lost, "proved", 1.0, kept="kept", regressions=lost) for lost in ("", "prop_1 prop_3")]
    assert campaign_figures("x", REPAIR, rows).solved == 1


def test_what_was_kept_is_of_the_proved_alone() -> None:
    fields = {"region_agreement": "nan", "mae": "0.1", "drawdown": "", "checked": "accepted"}
    rows = [
        row("a", "proved", 1.0, agreement="0.9", **fields),
        row("b", "proved", 1.0, agreement="1.0", **{**fields, "drawdown": "0.25"}),
        row("c", "violated", 1.0, agreement="0.1", **fields),
    ]
    assert kept_figures(rows) == (
        "decision agreement over the domain: mean 95.000%, least 90.000%",
        "mean absolute difference: mean 0.1, largest 0.1",
        "worst drawdown: 0.25",
        "certificates: 2 accepted",
    )


def test_side_by_side() -> None:
    theirs = {
        match_name("a", "p"): Result("holds", 4.0),
        match_name("b", "p"): Result("holds", 1.0),
        match_name("d", "p"): Result("violated", 9.0),
        match_name("z", "p"): Result("unsat", 1.0),
    }
    found = side_by_side(VERIFY, ROWS, "them", theirs)
    assert found.missing == 3  # c, e, f
    assert (found.ours.solved, found.theirs.solved, found.ours.n) == (2, 3, 3)
    assert (found.both, found.faster) == (2, 1)
    assert found.ratio == pytest.approx((4 / 1 * 1 / 3) ** 0.5)
    assert (found.only_ours, found.only_theirs) == ((), ("d p",))
    assert found.contradictions == ("b p: birdnn sat, them unsat",)


@pytest.mark.parametrize(
    "text",
    [
        "onnx,vnnlib,verdict,seconds,more\nx/a_1.onnx,y/p.vnnlib,unsat,1.5,z\n",
        "network,property,result,runtime\na_1,p,holds,1.5\n",
        "instance,status,time\na_1-p,verified,1.5\n",
        "instance,answer,time_s\nonnx/a_1.onnx vnnlib/p.vnnlib.gz,Unsat,1.5\n",
        "acasxu,./benchmarks/acasxu/onnx/a_1.onnx,./benchmarks/acasxu/vnnlib/p.vnnlib,0.02,unsat,1.5\n",
        "acasxu,\"[('f', './onnx/a_1.onnx')]\",./vnnlib/p.vnnlib,0.02,unsat,1.5\n",
    ],
)
def test_tables_of_other_tools(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    ((names, result),) = read_results(tmp_path / "r.csv").items()
    assert names == match_name("a_1 p") == ("a", "1", "p")
    assert result.seconds == 1.5
    entry = side_by_side(VERIFY, [row("a_1 p", "unsat", 3.0)], "them", {names: result})
    assert (entry.both, entry.missing, entry.ratio) == (1, 0, 0.5)


def test_queries_about_two_networks_are_matched_by_both(tmp_path: Path) -> None:
    """Whatever names the query has for them."""
    listed = "\"[('left', './onnx/a_1.onnx'), ('right', './onnx/b.onnx')]\""
    (tmp_path / "r.csv").write_text(f"relations,{listed},./vnnlib/q.vnnlib,0.02,unsat,1.5\n")
    theirs = read_results(tmp_path / "r.csv")
    entry = side_by_side(VERIFY, [row("a_1+b q", "unsat", 3.0)], "them", theirs)
    assert (entry.both, entry.missing) == (1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onnx,vnnlib,seconds\na,p,1\n", "line 1: no column verdict or .*; there are onnx, vnnlib, seconds"),
        ("onnx,verdict,seconds\na,sat,1\n", "line 1: no column vnnlib or"),
        ("onnx,vnnlib,verdict\na,p,sat\n", "line 1: no column seconds or"),
        ("a,p,sat\n", "no column"),
    ],
)
def test_a_table_that_lacks_a_column(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(FormatError, match=f"r.csv, .*{message}"):
        read_results(tmp_path / "r.csv")


def test_instances_that_only_folders_tell_apart_are_compared_with_nobody(tmp_path: Path) -> None:
    """Names are matched without folders: an answer to another property would read as a contradiction."""
    (tmp_path / "r.csv").write_text("onnx,vnnlib,verdict,seconds\na,x/p,sat,1\na,y/p,unsat,1\na,q,unsat,1\n")
    theirs = read_results(tmp_path / "r.csv")
    assert set(theirs) == {match_name("a q")}
    (tmp_path / "s.csv").write_text("onnx,vnnlib,verdict,seconds\na,p,sat,1\n")
    mine = [row("a x/p", "unsat", 1.0), row("a y/p", "sat", 1.0)]
    assert not side_by_side(VERIFY, mine, "them", read_results(tmp_path / "s.csv")).contradictions
