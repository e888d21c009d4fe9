"""The whole command's own steps: which bound holds where, what is said where there is none, and contradictions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from birdnn.compare import CompareSettings
from birdnn.compare.comparing import _Comparison, compare_files, tightened_by_whole
from birdnn.compare.pair import read_pair
from birdnn.errors import UnsupportedOpError
from birdnn.pipeline.clock import Clock
from birdnn.records import Apart, CompareRequest, Guarantee, PropertyComparison, ProvedApart, Unwatched
from tests.compare.files import linear, unit_domain

LIGHT = CompareSettings()


def property_file(folder: Path, name: str, low: float, high: float, bound: float = 100.0) -> Path:
    """Between these numbers the output stays below the bound."""
    path = folder / f"{name}.vnnlib"
    path.write_text(
        "(declare-const X_0 Real)(declare-const Y_0 Real)"
        f"(assert (>= X_0 {low}))(assert (<= X_0 {high}))(assert (>= Y_0 {bound}))"
    )
    return path


def comparison(folder: Path, *props: Path, timeout_s: float = math.inf, **asked: object) -> _Comparison:
    """Of ``x`` and ``2 x`` on the unit interval."""
    files = [linear(folder / f"{name}.onnx", [[slope]], [0]) for name, slope in (("a", 1), ("b", 2))]
    said: dict[str, object] = {"samples": 200, "bound_s": 0.2, "domain": unit_domain(folder, 1), **asked}
    request = CompareRequest(before=files[0], after=files[1], props=props, **said)  # type: ignore[arg-type]
    return _Comparison(read_pair(request), Clock(timeout_s=timeout_s, watch=Unwatched()), LIGHT)


def proved(place: str, *upper: float) -> ProvedApart:
    return ProvedApart(place=place, upper=upper, method="m", arithmetic="a", boxes=1, seconds=0.0, complete=True)


def test_what_is_proved_of_the_whole_holds_in_its_part() -> None:
    part = tightened_by_whole(proved("p", 1.0, 5.0, 3.0), proved("domain", 2.0, 4.0, 3.0))
    assert part == proved("p", 1.0, 4.0, 3.0)


def test_only_a_place_inside_the_domain_is_a_part_of_it(tmp_path: Path) -> None:
    made = comparison(
        tmp_path,
        *(property_file(tmp_path, name, *box) for name, box in (("in", (0, 1)), ("low", (-1, 1)), ("high", (0, 2)))),
    )
    assert [made.inside(place) for place in made.places] == [True, True, False, False]


def test_a_region_has_the_domains_bound_where_that_is_the_tighter_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = comparison(tmp_path, property_file(tmp_path, "in", 0, 1), property_file(tmp_path, "out", 0, 2))
    made.look()
    bounds = {"domain": proved("domain", 1.0), "in": proved("in", 7.0), "out": proved("out", 8.0)}
    monkeypatch.setattr(made, "bounded", lambda _, place: bounds[place.name])
    assert [(entry.place, entry.upper) for entry in made.bounds()] == [
        ("domain", (1.0,)),
        ("in", (1.0,)),
        ("out", (8.0,)),
    ]
    # of a domain without a bound nothing is taken
    monkeypatch.setattr(made, "bounded", lambda _, place: None if place.subject is None else bounds[place.name])
    assert [(entry.place, entry.upper) for entry in made.bounds()] == [("in", (7.0,)), ("out", (8.0,))]


def test_why_there_is_no_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = comparison(tmp_path, domain=None)
    assert (list(made.bounds()), made.bound_note) == ([], "no domain and no property says where")
    made = comparison(tmp_path, bound_s=0.0)
    assert (list(made.bounds()), made.bound_note) == ([], "not asked for (--bound 0)")

    def raising(error: Exception) -> _Comparison:
        def fail(*_: object) -> None:
            raise error

        made = comparison(tmp_path)
        made.look()
        monkeypatch.setattr(made, "bounded", fail)
        return made

    made = raising(UnsupportedOpError("", "Det", "n", ("Add",)))
    assert list(made.bounds()) == []
    assert "'Det' is not supported" in made.bound_note
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        made = raising(error)
        assert (list(made.bounds()), made.bound_note) == ([], "memory ran out")
    with pytest.raises(RuntimeError, match="something else"):
        list(raising(RuntimeError("something else")).bounds())


def test_when_time_is_up_there_is_nothing_and_it_is_said(tmp_path: Path) -> None:
    found = comparison(tmp_path, property_file(tmp_path, "p", 0, 1), timeout_s=0.0).outcome()
    assert (found.likeness, found.apart, found.proved_apart) == ((), (), ())
    assert found.bound_note == "the time limit ended before the first bound"
    assert found.timed_out
    assert not found.interrupted
    assert found.structure.changes, "what costs nothing is there"


def test_shares_of_the_time_for_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half for the domain, the rest alike; of what was found more than a little is not chased."""
    given = {}

    def stand_in(bound: object, place: object, enough: torch.Tensor, batch: int, clock: Clock, seconds: float) -> None:
        given[place.name] = (seconds, enough.tolist())  # type: ignore[attr-defined]

    monkeypatch.setattr("birdnn.compare.comparing.proved_apart", stand_in)
    props = [property_file(tmp_path, name, 0, high) for name, high in (("p", 1), ("q", 0.5))]
    made = comparison(tmp_path, *props, bound_s=8.0)
    made.look()
    found = Apart(
        place="domain", x=(1.0,), before=(1.0,), after=(2.0,), size=1.0, output=0, decided=None, replayed_by=()
    )
    made.apart = [found, replace(found, place="p", size=0.5), replace(found, place="p", size=9.0, output=None)]
    for entry in made.samples.values():
        entry.largest = torch.tensor([2.0])
    assert list(made.bounds()) == []
    assert given == {
        "domain": (4.0, [pytest.approx(1.02 + 2e-6)]),
        "p": (2.0, [pytest.approx(0.51 + 2e-6)]),
        "q": (2.0, [pytest.approx(2e-6)]),
    }
    alone = comparison(tmp_path, bound_s=8.0)
    alone.look()
    list(alone.bounds())
    assert given["domain"][0] == 8.0


def test_a_point_beyond_a_proved_bound_is_a_contradiction(tmp_path: Path) -> None:
    """Less the rounding of the evaluation; a change of decision is no difference, and no bound says nothing."""
    made = comparison(tmp_path)
    found = Apart(
        place="domain", x=(1.0,), before=(1.0,), after=(2.0,), size=1.0, output=0, decided=None, replayed_by=("a", "b")
    )
    made.apart = [found]
    assert list(made.beyond((proved("domain", 1.0),))) == []
    assert list(made.beyond((proved("domain", 1.0 - 1e-9),))) == []
    (told,) = made.beyond((proved("domain", 1.0 - 1e-8),))
    assert told.startswith("output 0 differs by 1.0 at [1.0], and it was proved that nowhere in domain")
    assert list(made.beyond((proved("elsewhere", 0.5),))) == []
    made.apart = [replace(found, output=None)]
    assert list(made.beyond((proved("domain", 0.5),))) == []


def answered(name: str, before: Guarantee, after: Guarantee) -> PropertyComparison:
    return PropertyComparison(
        name=name,
        path="",
        sha256="",
        text="",
        role="goal",
        before=before,
        after=after,
        became="undecided",
        before_s=0.0,
        after_s=0.0,
        before_boxes=0,
        after_boxes=0,
        before_arithmetic="",
        after_arithmetic="",
        before_counterexample=None,
        after_counterexample=None,
    )


def test_a_sample_that_violates_what_was_proved_is_a_contradiction(tmp_path: Path) -> None:
    """It is run on the file first; each network's own points, and only what was proved of it."""
    made = comparison(tmp_path, property_file(tmp_path, "p", 0, 1, bound=1.5))
    made.look()
    before, after = made.samples["p"].contradicting
    assert len(before) == 0 < len(after)
    assert list(made.unproved((answered("p", "proved", "violated"),))) == []
    assert list(made.unproved((answered("p", "proved", "unknown"),))) == []
    assert list(made.unproved((answered("other", "proved", "proved"),))) == []
    (told,) = made.unproved((answered("p", "proved", "proved"),))
    assert told.startswith("p is proved for B, and the input [")
    harmless = torch.tensor([[0.25]])
    made.samples["p"].contradicting = (harmless, harmless)
    assert list(made.unproved((answered("p", "proved", "proved"),))) == []


def test_the_limit_counts_since_the_command_began(tmp_path: Path) -> None:
    """What loading has spent is spent."""
    comparison(tmp_path)
    request = CompareRequest(before=tmp_path / "a.onnx", after=tmp_path / "b.onnx", timeout_s=5.0)
    assert compare_files(request, began=-1e9).timed_out
    assert not compare_files(request).timed_out
