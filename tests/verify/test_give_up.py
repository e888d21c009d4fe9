"""A search that cannot finish within its limits says so early, and only then."""

from __future__ import annotations

import pytest

from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Proved, Unknown
from birdnn.spec import Property
from birdnn.verify import search, verify
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
