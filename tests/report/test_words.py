"""Numbers in words: a bound is never said to be better than it is, and every word of a record has its own."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

import birdnn.records
import birdnn.report
from birdnn.records import CheckAnswer, FileState, Guarantee, TriedResult, Weight
from birdnn.report.text import percent
from birdnn.report.words import at_least_text, at_most_text, confidence_text


def test_a_printed_bound_is_never_better_than_the_one_computed() -> None:
    for value in map(float, np.random.default_rng(0).random(2000) ** 20):
        assert value * 0.98 <= float(at_least_text(value)) <= value <= float(at_most_text(value)) <= value * 1.02
        assert at_most_text(-value) == f"-{at_least_text(value)}"
    assert (at_least_text(0.1239999), at_most_text(0.1234999)) == ("0.123", "0.124")
    assert [at_most_text(value) for value in (0.0, 0.001, 0.1, 1.0, math.inf)] == ["0", "0.001", "0.1", "1", "inf"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.99999, "99.999 %"),
        (0.5, "50.00 %"),
        (1e-7, "0.00001 %"),
        (0.9987, "99.87 %"),
        (1 - 1e-12, "99.9999999999 %"),
        (math.nextafter(1, 0), "99.99999999999999 %"),
        (1e-12, "1e-10 %"),
        (5e-324, "5e-322 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (0.05, "95.00 %"),
        (0.001, "99.90 %"),
        (0.05 / 7, "99.285 %"),
        (1e-6, "99.9999 %"),
        (1e-12, "1 - 1e-12"),
        (1e-17, "1 - 1e-17"),  # 1 - 1e-17 is 1 in floating point
    ],
)
def test_no_confidence_is_said_to_be_more_than_it_is(delta: float, text: str) -> None:
    assert confidence_text(delta) == text


def values(hint: Any) -> set[Any]:
    """Of a Literal, and of Literals inside of it."""
    return set(get_args(hint))


def tables() -> Iterator[tuple[str, set[Any], list[Any]]]:
    """Each table of report and records that is keyed by, or lists, the words of a record: name, all words, its own."""
    for package in (birdnn.records, birdnn.report):
        for entry in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(entry.name)
            for name, hint in get_type_hints(module).items():
                of = get_args(hint)
                if get_origin(hint) in (Mapping, Sequence, dict, tuple) and get_origin(of[0]) is Literal:
                    yield f"{entry.name}.{name}", values(of[0]), list(getattr(module, name))


TABLES = {name: (words, own) for name, words, own in tables()}


@pytest.mark.parametrize("name", TABLES)
def test_no_word_of_a_record_is_missing_in_a_table(name: str) -> None:
    """`birdnn plot progress` and the page ended in a KeyError where a candidate was "too far"."""
    words, own = TABLES[name]
    assert sorted(own) == sorted(words)


def test_tables_are_found() -> None:
    known = "pictures_repair._MARKS", "comparison_text._BECAME", "text.STYLES", "witnesses.REASONS", "sarif._KINDS"
    assert {f"birdnn.report.{name}" for name in known} <= set(TABLES)


def test_every_word_in_a_box_has_a_colour() -> None:
    style = (Path(birdnn.report.__path__[0]) / "templates" / "report.css").read_text()
    coloured = set(re.findall(r"\.tag\.([\w-]+)", style))
    for hint in (TriedResult, Guarantee, CheckAnswer, FileState, Weight):
        assert {word.replace(" ", "-") for word in values(hint)} <= coloured
