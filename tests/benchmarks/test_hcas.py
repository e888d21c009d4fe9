"""The tables on HorizontalCAS and VerticalCAS say what was found, and nothing for what was not asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.hcas import common, repair, verify
from tests.report.outcomes import repair_outcome


def rows(*found: tuple[str, str, str]) -> list[dict[str, str]]:
    return [
        {"net": net, "property": prop, "verdict": verdict, "cpu_s": "1.50", "boxes": "3"}
        for net, prop, verdict in found
    ]


def test_the_verification_table_names_those_that_break_a_property() -> None:
    asked = rows(("H0,00", "hcas_1", "unsat"), ("H1,00", "hcas_1", "sat"), ("H2,00", "hcas_1", "timeout"))
    lines = verify.summary(asked).splitlines()
    assert lines[2].startswith("3 of 196 questions")
    assert "1 hold, 1 are violated, 1 undecided" in lines[2]
    (line,) = [line for line in lines if line.startswith("| hcas_1 |")]
    assert line.endswith("| 3 | 1 | H1,00 | H2,00 | 1.5 |")
    (line,) = [line for line in lines if line.startswith("| vcas_7 |")]
    assert line.endswith("| 0 | 0 | - | - | 0.0 |")


def test_a_repair_becomes_a_row_with_every_column() -> None:
    row = repair.row_of(repair_outcome(), 12.34)
    assert set(row) | {"net", "timeout_s"} == set(repair.COLUMNS)
    assert row["cpu_s"] == "12.3"
    assert row["properties"] == len(repair_outcome().properties)
    text = repair.summary([{name: str(value) for name, value in {"net": "H0,00", **row}.items()}], 7)
    assert "1 of the 7 controllers" in text
    assert "| H0,00 |" in text


def test_controllers_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="birdnn fetch hcas --to"):
        list(common.controllers(tmp_path))


def test_controllers_are_found_where_fetch_lays_them(tmp_path: Path) -> None:
    from birdnn.fetch import DATASETS

    for name in DATASETS["hcas"].checksums():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list(common.controllers(tmp_path))
    assert len({controller.path for controller in found}) == len(found) == 49
    assert all(prop.is_file() for controller in found for prop in controller.props)
    assert sum(len(controller.props) for controller in found) == 196
