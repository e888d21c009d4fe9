"""A search that goes on where it was ends as one that was never interrupted: same boxes, same verdict, same proof."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.errors import InputError
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx
from birdnn.network import Network
from birdnn.pipeline.keeping import EVERY_S, FolderKeeper
from birdnn.records import Proved, RegionProof, Unknown, Verdict, Violated
from birdnn.spec import Property, Region
from birdnn.verify import verify
from birdnn.verify.bounding import make_bound
from birdnn.verify.frontier import Frontier, pack_frontier, search_name, unpack_frontier
from tests.bounds.builders import half_space, make_property, random_layers
from tests.verify.cases import SHORT_ATTACK, Engine, Impatient, effort


def case(margin: float = 0.02) -> tuple[Network, Property]:
    """A network as from a file, and a property of two regions, each of some hundred boxes."""
    net = network_from_onnx(layers_to_onnx(random_layers(6, (3, 24, 24, 2))), digest="as from a file")
    points = 2 * torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        bound = float((net(points) @ torch.tensor([1.0, 0.3])).min()) - margin
    one = make_property([-1.0] * 3, [1.0] * 3, half_space([1.0, 0.3], bound), half_space([1.0, 0.3], bound - 0.1))
    return net, replace(one, regions=(one.regions[0], one.regions[0]))


class Kept:
    """A keeper in memory that wants every frontier, or only those that a limit leaves."""

    def __init__(self, always: bool = True) -> None:
        self.always, self.data, self.written = always, dict[str, bytes](), 0

    def read(self, name: str, regions: Sequence[Region]) -> Frontier | None:
        return unpack_frontier(name, self.data[name], regions) if name in self.data else None

    def due(self) -> bool:
        return self.always

    def write(self, name: str, frontier: Frontier) -> None:
        self.data[name], self.written = pack_frontier(name, frontier), self.written + 1

    def done(self, name: str) -> None:
        self.data.pop(name, None)


def asked(net: Network, prop: Property, keeper: Kept | FolderKeeper | None, **changes: object) -> Verdict:
    watch = changes.pop("watch", None)
    settings = effort(**{"record": True, "batch": 4, "attack": SHORT_ATTACK, **changes})
    return verify(net, prop, settings=settings, replays=[Engine(net)], keeper=keeper, watch=watch)  # type: ignore[arg-type]


def same(one: Verdict, other: Verdict) -> None:
    assert isinstance(one, Proved)
    assert isinstance(other, Proved)
    assert one.boxes == other.boxes
    assert len(one.proofs) == len(other.proofs) == 2
    for mine, theirs in zip(one.proofs, other.proofs, strict=True):
        for field in fields(RegionProof):
            a, b = getattr(mine, field.name), getattr(theirs, field.name)
            assert (a is None and b is None) or np.array_equal(a, b, equal_nan=True), field.name


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_interrupted_again_and_again_it_ends_the_same(semantics: str) -> None:
    """After each few batches somebody stops it; the proof, both regions of it, is that of one go."""
    net, prop = case()
    whole = asked(net, prop, None, semantics=semantics)
    assert whole.boxes > 250
    keeper, runs = Kept(always=False), 0
    while True:
        verdict = asked(net, prop, keeper, semantics=semantics, watch=Impatient(25))
        runs += 1
        if not isinstance(verdict, Unknown):
            break
        assert verdict.reason == "interrupted"
        assert len(keeper.data) == 1
    assert runs > 5
    same(verdict, whole)
    assert not keeper.data  # what is answered needs no frontier


@pytest.mark.thorough
def test_any_frontier_will_do() -> None:
    """Each one that was ever written, as if the process had been killed right after it."""
    net, prop = case()
    all_written: list[bytes] = []

    class All(Kept):
        def write(self, name: str, frontier: Frontier) -> None:
            super().write(name, frontier)
            all_written.append(self.data[name])
            self.name = name

    keeper = All()
    whole = asked(net, prop, keeper)
    assert len(all_written) > 40
    for data in all_written[::7]:
        again = Kept(always=False)
        again.data[keeper.name] = data
        same(asked(net, prop, again), whole)


def test_a_limit_is_where_the_next_run_begins() -> None:
    net, prop = case()
    keeper = Kept(always=False)
    first = asked(net, prop, keeper, max_boxes=260)
    assert isinstance(first, Unknown)
    assert first.reason == "boxes"
    begun: list[int] = []

    class Once(Kept):
        def due(self) -> bool:
            begun.append(1)
            return False

    later = Once()
    later.data = keeper.data
    whole = asked(net, prop, None)
    same(asked(net, prop, later), whole)
    assert len(begun) < whole.boxes / 4  # batches of the second run only


def test_a_violation_is_found_after_it_as_well() -> None:
    net, prop = case(margin=-0.02)
    keeper = Kept(always=False)
    silent = effort(batch=4)
    for _ in range(200):
        found = verify(net, prop, settings=silent, replays=[Engine(net)], keeper=keeper, watch=Impatient(12))
        if not isinstance(found, Unknown):
            break
    assert isinstance(found, Violated)
    assert not keeper.data


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"semantics": "float32"}, {"record": False}, {"batch": 2}], ids=lambda c: next(iter(c))
)
def test_another_question_begins_anew(changes: dict[str, object]) -> None:
    net, prop = case()
    keeper = Kept(always=False)
    asked(net, prop, keeper, max_boxes=100)
    (name,) = keeper.data
    asked(net, prop, keeper, max_boxes=100, **changes)
    assert len(keeper.data) == 2
    stranger = Kept(always=False)
    (other,) = set(keeper.data) - {name}
    stranger.data[name] = keeper.data[other]
    with pytest.raises(ValueError, match="another network, property or setting"):
        asked(net, prop, stranger, max_boxes=100)


def test_in_a_folder(tmp_path: Path) -> None:
    """Every minute a file; one that is damaged, or cannot be written, is told."""
    net, prop = case()
    now = [0.0]
    keeper = FolderKeeper(tmp_path / "kept", now=lambda: now[0])
    assert not keeper.due()
    now[0] = EVERY_S
    assert keeper.due()
    asked(net, prop, keeper, max_boxes=100)
    (file,) = (tmp_path / "kept").iterdir()
    assert not keeper.due()
    data = file.read_bytes()
    for broken in (data[: len(data) // 2], b"nothing", data[:-2000] + b"x" * 2000):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=file.name):
            asked(net, prop, keeper)
    file.write_bytes(data)
    same(asked(net, prop, keeper), asked(net, prop, None))
    assert not list((tmp_path / "kept").iterdir())
    (tmp_path / "taken").write_text("a file")
    lost = FolderKeeper(tmp_path / "taken" / "below")
    asked(net, prop, lost, max_boxes=100)
    assert "could not be kept" in lost.failure


def test_what_does_not_fit_into_memory_is_not_kept_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frontier takes as much memory again as the search has."""

    def full(name: str, frontier: Frontier) -> bytes:
        raise MemoryError

    net, prop = case()
    now = itertools.count(0.0, EVERY_S)
    keeper = FolderKeeper(tmp_path / "kept", now=lambda: next(now))
    monkeypatch.setattr("birdnn.pipeline.keeping.pack_frontier", full)
    same(asked(net, prop, keeper), asked(net, prop, None))
    assert keeper.failure.endswith("memory ran out")


def test_what_has_no_file_is_not_kept() -> None:
    """A network in memory has no name to find it by."""
    _net, prop = case()
    keeper = Kept()
    nameless = network_from_onnx(layers_to_onnx(random_layers(6, (3, 24, 24, 2))))
    asked(nameless, prop, keeper, max_boxes=100)
    assert not keeper.data


def test_other_weights_are_another_search() -> None:
    """The file's digest does not see numbers that lie beside it: what is closed for some is open for others."""
    net, prop = case()
    bound = make_bound(net, effort())
    name = search_name(net, prop, effort(), type(bound).__name__)
    moved = network_from_onnx(layers_to_onnx(random_layers(7, (3, 24, 24, 2))), digest="as from a file")
    assert moved.sha256 == net.sha256
    assert name != search_name(moved, prop, effort(), type(bound).__name__)
