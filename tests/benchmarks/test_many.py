"""The benchmark of robustness repairs reads its figures from what `repair` writes."""

from __future__ import annotations

from benchmarks.digits.many import COLUMNS, EPS, NETWORKS, figures, summary

RECORD = {
    "properties": [
        {"before": "violated", "after": "proved"},
        {"before": "proved", "after": "proved"},
        {"before": "unknown", "after": "violated"},
    ],
    "behaviour": [
        {"ground": "data", "labelled": 9, "right_before": 9, "right_after": 1},
        {"ground": "test", "labelled": 5, "right_before": 4, "right_after": 5},
    ],
    "tried": [
        {"method": "one", "result": "violated"},
        {"method": "one", "result": "unknown"},
        {"method": "two", "result": "passed over"},
    ],
    "outcome": "violated",
    "behaviour_kept": "kept",
    "timeout_s": 60.0,
}


def test_counts_are_those_of_the_record() -> None:
    found = figures(RECORD)
    assert [found[f"{word}_after"] for word in ("proved", "violated", "unknown")] == [2, 1, 0]
    assert [found[f"{word}_before"] for word in ("proved", "violated", "unknown")] == [1, 1, 1]
    assert (found["test_images"], found["right_before"], found["right_after"]) == (5, 4, 5)
    assert found["method"] == "one x 2"


def test_the_table_has_a_line_for_each_network() -> None:
    more = {"network": "residual", "eps": "0.03", "status": "1", "wall_s": "50", "commit": "abc", "date": "today"}
    row = {name: str(value) for name, value in {**figures(RECORD), **more}.items()}
    assert set(row) >= set(COLUMNS)
    text = summary([row])
    assert "| residual | 0.03 | 3 | 1 / 1 / 1 | 2 / 1 / 0 | 4 of 5 | 5 of 5 | 1 | 50 | one x 2 |" in text


def test_each_network_has_its_radius() -> None:
    assert set(NETWORKS) == set(EPS)
