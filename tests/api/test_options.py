"""What a call may be told: names, types, ranges, and what counts beside what; no network is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import birdnn
from birdnn.api.options import Kind, checked_options, require_each_counts, require_in_range


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("verify", {"timeout": 3}, r"verify\(\) has no option 'timeout'; it has timeout_s, memory_gib"),
        ("falsify", {"semantics": "real"}, r"falsify\(\) has no option 'semantics'"),
        ("localize_blocks", {"epochs": 3}, r"localize_blocks\(\) has no option 'epochs'"),
    ],
)
def test_an_option_that_there_is_not(kind: Kind, options: dict[str, Any], told: str) -> None:
    """pydantic would pass over it."""
    with pytest.raises(TypeError, match=told):
        checked_options(kind, options)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("verify", {"timeout_s": "soon"}, "timeout_s is 'soon'; input should be a valid number"),
        ("verify", {"timeout_s": 0}, r"timeout_s is 0\.0; a positive finite number is expected"),
        ("verify", {"timeout_s": float("nan")}, "timeout_s is nan; a positive finite number is expected"),
        ("verify", {"semantics": "float16"}, "semantics is 'float16'; input should be 'real' or 'float32'"),
        ("verify", {"crosscheck": "marabou"}, "crosscheck is 'marabou'; input should be a valid"),
        ("verify", {"seed": 1.5}, r"seed is 1\.5; input should be a valid integer"),
        ("estimate", {"samples": 0}, "samples is 0; a whole number of at least 1 is expected"),
        ("repair", {"samples": -1}, "samples is -1; a whole number of at least 0 is expected"),
        ("repair", {"domain": ([0],)}, r"domain is \(\[0\],\)"),
        ("localize_blocks", {"chosen": {"a": "b"}}, "chosen is {'a': 'b'}"),
        ("estimate", {"as_name": "N1,1"}, "as_name names a network of a suite: say which with suite$"),
        ("repair", {"points_radius": 0.1}, "points_radius is an option of points$"),
        (
            "repair",
            {"alpha": 0.0, "method": "finetune"},
            "alpha is an option of method='finetune' with",
        ),
    ],
)
def test_a_value_that_an_option_does_not_take(kind: Kind, options: dict[str, Any], told: str) -> None:
    with pytest.raises(birdnn.InputError, match=rf"^{kind}\(\): {told}"):
        checked_options(kind, options)


def test_options_become_what_records_hold() -> None:
    said: dict[str, Any] = {"crosscheck": ["onnxruntime"], "resume": "kept", "timeout_s": 2, "seed": 3}
    found = checked_options("verify", said)
    assert found == {"crosscheck": ("onnxruntime",), "resume": Path("kept"), "timeout_s": 2.0, "seed": 3}
    assert isinstance(found["timeout_s"], float)
    assert said["crosscheck"] == ["onnxruntime"], "what the caller has is the caller's"
    assert checked_options("verify", {}) == {}
    assert checked_options("verify", {"resume": None, "timeout_s": None}) == {"resume": None, "timeout_s": None}


def test_arguments_beside_the_options_are_asked_but_not_given_back() -> None:
    assert checked_options("repair", {"points_radius": 0.1}, points=(Path("p.csv"),)) == {"points_radius": 0.1}
    with pytest.raises(birdnn.InputError, match="points_radius is an option of points"):
        checked_options("repair", {"points_radius": 0.1}, points=())


def test_what_is_not_said_is_neither_out_of_range_nor_without_effect() -> None:
    require_in_range("check", {"sample": None, "seed": 0})
    require_each_counts("estimate", {"as_name": None})
    with pytest.raises(birdnn.InputError, match=r"check\(\): seed is -1; a whole number from 0"):
        require_in_range("check", {"sample": 1, "seed": -1})
    with pytest.raises(birdnn.InputError, match=r"estimate\(\): as_name names a network of a suite"):
        require_each_counts("estimate", {"as_name": ""})
