"""A search that cannot finish within its limits says so early, and only then."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch

from birdnn.bounds.crown import CrownBound
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Proved, Unknown
from birdnn.spec import Property
from birdnn.verify import SearchSettings, outlook, search, verify
from birdnn.verify.treesize import boxes_below
from tests.bounds.builders import half_space, make_property, random_layers
from tests.verify.cases import Engine, effort


def restless() -> tuple[Network, Property]:
    """A thousand boxes."""
    layers = random_layers(2, (4, 24, 24, 24, 1), scale=2.5)
    return network_from_layers(layers), make_property([-1] * 4, [1] * 4, half_space([1.0], -22.0))


def test_a_hopeless_search_gives_up_long_before_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_FIRST_PROGNOSIS", 64)
    net, prop = restless()
    whole = verify(net, prop, settings=effort(batch=32), replays=[Engine(net)])
    assert isinstance(whole, Proved)
    assert whole.boxes > 800
    limit = whole.boxes // 8
    early = verify(net, prop, settings=effort(batch=32, max_boxes=limit, give_up=True), replays=[Engine(net)])
    assert isinstance(early, Unknown)
    assert (early.reason, early.boxes < limit) == ("boxes", True)
    late = verify(net, prop, settings=effort(batch=32, max_boxes=limit), replays=[Engine(net)])
    assert late.boxes >= limit


def test_giving_up_needs_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_FIRST_PROGNOSIS", 64)
    net, prop = restless()
    assert isinstance(verify(net, prop, settings=effort(batch=32, give_up=True), replays=[Engine(net)]), Proved)


def test_what_an_estimate_lets_go_on_is_not_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last boxes before a proof are the dearest to throw away."""
    monkeypatch.setattr(search, "_FIRST_PROGNOSIS", 64)
    net, prop = restless()
    whole = verify(net, prop, settings=effort(batch=32), replays=[Engine(net)])

    def told(factor: float) -> Any:
        """The verdict with a limit just below what is needed, where estimates say so many times the truth."""

        def estimated(*_: Any, **__: Any) -> float:
            return factor * whole.boxes

        monkeypatch.setattr(search, "boxes_below", estimated)
        limits = {"batch": 32, "max_boxes": 0.9 * whole.boxes}
        return verify(net, prop, settings=effort(**limits, give_up=True), replays=[Engine(net)])

    assert isinstance(told(1.0), Proved)
    assert isinstance(told(2.0), Unknown)
    monkeypatch.setattr(search, "_HOPELESS", 1.0)  # as it was
    assert isinstance(told(0.5), Unknown)


# --- where a bound takes long, estimates keep to the limits ------------------------------------------------------


class Slow(CrownBound):
    """Each call takes ten seconds, by a clock of its own."""

    calls = 0

    def bound(self, *args: object, **kwargs: object) -> object:
        self.calls += 1
        return super().bound(*args, **kwargs)  # type: ignore[arg-type]


def slowly(monkeypatch: pytest.MonkeyPatch, **limits: float) -> tuple[Slow, int]:
    """The bound after a search that ended without a verdict, and the boxes that it examined."""
    net, prop = restless()
    made = Slow(net, torch.device("cpu"))

    def watched(*args: Any, **options: Any) -> float | None:
        before = made.calls
        found = boxes_below(*args, **options)
        assert made.calls - before <= 1 + before / 4, "an estimate took more than a quarter of the time before"
        return found

    if not limits.get("give_up"):
        monkeypatch.setattr(search, "boxes_below", watched)
    monkeypatch.setattr(search, "time", types.SimpleNamespace(monotonic=lambda: 10.0 * made.calls))
    settings: SearchSettings = effort(batch=1, **limits)
    verdict = verify(net, prop, settings=settings, replays=[Engine(net)], bound=lambda *_: made)
    assert isinstance(verdict, Unknown)
    return made, verdict.boxes


@pytest.mark.parametrize("give_up", [False, True])
def test_no_estimate_once_the_boxes_are_spent(monkeypatch: pytest.MonkeyPatch, give_up: bool) -> None:
    monkeypatch.setattr(search, "_FIRST_PROGNOSIS", 1)
    made, boxes = slowly(monkeypatch, max_boxes=1, give_up=give_up)
    assert (made.calls, boxes) == (2, 1)  # before any attack, and in the search


@pytest.mark.parametrize("give_up", [False, True])
def test_an_estimate_ends_with_the_time(monkeypatch: pytest.MonkeyPatch, give_up: bool) -> None:
    monkeypatch.setattr(search, "_FIRST_PROGNOSIS", 1)
    made, _ = slowly(monkeypatch, timeout_s=75.0, give_up=give_up)
    assert made.calls <= 8


@pytest.mark.thorough
def test_estimates_take_a_small_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, boxes = slowly(monkeypatch, timeout_s=3000.0)
    assert boxes < made.calls <= 1.3 * boxes


def test_when_people_are_told_does_not_change_the_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def noted(*args: object, generator: torch.Generator, **options: object) -> None:
        drawn.append(generator.get_state())
        torch.rand(3, generator=generator)

    monkeypatch.setattr(search, "boxes_below", noted)
    monkeypatch.setattr(outlook, "FIRST_S", 0.0)
    net, prop = restless()
    verify(net, prop, settings=effort(batch=1, max_boxes=9), replays=[Engine(net)])
    assert len(drawn) > 1
    assert all(torch.equal(state, drawn[0]) for state in drawn)
