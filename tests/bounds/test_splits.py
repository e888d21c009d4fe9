"""Boxes closed by splitting neurons: no number above what a network attains, and trees that are whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.bounds.compiled import bound as loops
from birdnn.bounds.compiled import splits, state, trees
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.compiled.trees import items_to_split, postpone_trees, splittable, undecided_neurons
from birdnn.bounds.crown import CrownSettings, SplitSettings
from birdnn.bounds.protocol import BoundResult
from birdnn.boxes import Boxes
from birdnn.certify.check import Rejected, Settings, check
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.chain import Activation
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats.onnx import layers_to_onnx, network_from_layers, read_onnx
from birdnn.formats.vnnlib import read_property
from birdnn.network import Network
from birdnn.records import Proved
from birdnn.spec import Polytope, Property
from birdnn.verify import SearchSettings, verify
from tests.bounds.builders import (
    CPU,
    all_open,
    compiled,
    exact_margin,
    half_space,
    outputs_at,
    points_of,
    question_of,
    random_boxes,
    random_layers,
    random_net,
    random_polytopes,
)
from tests.bounds.test_crown import SEEDS, check_bound
from tests.certify.cases import property_text

SPLITS = SplitSettings()
HARD = CrownSettings(steps=0, splits=SPLITS)
"""No step before neurons are split: there is more for them to do."""

LINES = (("Relu", None), ("LeakyRelu", 0.1), ("LeakyRelu", 0.9))


@pytest.fixture(autouse=True)
def however_few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All items are tried: networks of tests have few neurons."""
    if "items" not in request.function.__name__:
        monkeypatch.setattr(trees, "_FEWEST", 0)


def trees_of(net: Network, boxes: Any, polytopes: Any, effort: CrownSettings = HARD) -> BoundResult:
    bound = compiled(net, CPU, effort, "float32", True)
    return bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(len(boxes)))


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize(("op", "alpha"), LINES)
@settings(max_examples=25)
@given(
    seed=SEEDS,
    hidden=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    width=st.sampled_from([1e-9, 1e-3, 0.3, 2.0, 20.0, 1e6]),
    scale=st.sampled_from([1e-5, 0.3, 1.5, 6.0]),
)
def test_no_point_beats_its_bound(op, alpha, seed, hidden, width, scale, semantics) -> None:
    net = random_net(seed, (2, *hidden, 2), op, alpha, scale)

    def make(*how: Any) -> CompiledBound:
        return compiled(*how, semantics)

    for rows in (1, 2, 3):
        check_bound(net, random_boxes(seed, 8, 2, width), random_polytopes(seed, 2, (rows,)), HARD, make)


@pytest.mark.thorough
@settings(max_examples=40)
@given(seed=SEEDS, power=st.sampled_from([-40, -12, 0, 12, 40]), share=st.sampled_from([-0.05, 1e-9, 1e-3, 0.2]))
def test_against_exact_minima(seed: int, power: int, share: float) -> None:
    """Close to the truth, which linear programs over all patterns of signs tell: whatever the size of the numbers."""
    layers = random_layers(seed, (2, 5, 4, 2))
    layers[0] = (layers[0][0] * np.float32(2.0**power), layers[0][1] * np.float32(2.0**power))
    layers[-1] = (layers[-1][0] * np.float32(2.0**-power), layers[-1][1])
    net, boxes = network_from_layers(layers, "Relu", alpha=None), random_boxes(seed, 2, 2, 1.5)
    for i in range(len(boxes)):
        lower, upper = boxes.lower[i].tolist(), boxes.upper[i].tolist()
        truth = exact_margin(layers, lower, upper, half_space([1.0, -1.0], 0.0))
        polytope = half_space([1.0, -1.0], truth - share * max(1.0, abs(truth)))
        found = trees_of(net, boxes[i : i + 1], (polytope,))
        assert found.lower[0] <= share * max(1.0, abs(truth)) + 1e-9


def nearly_reached(seed: int, share: float = 0.02) -> tuple[Network, Boxes, Polytope]:
    """A network, a box, and a half-space that the network's sampled outputs miss by so much."""
    net, box = random_net(seed, (2, 7, 7, 2), "Relu", None, 2.0), random_boxes(3 * seed + 1, 2, 2, 1.5)[1:]
    y = outputs_at(net, points_of(box))[0]
    return net, box, half_space([1.0, -1.0], float((y[:, 0] - y[:, 1]).min()) - share)


def test_trees_are_whole() -> None:
    """Every node has both sides, no neuron is split twice on a way down, and each leaf has its multipliers."""
    depths = []
    for seed in range(60):
        net, box, polytope = nearly_reached(seed)
        made = trees_of(net, box, (polytope,)).splits
        if made is None:
            continue
        entries = iter(made.neuron.tolist())
        for size in made.size.tolist():
            found = _walked(entries, ())
            assert len(found) == (size + 1) // 2
            depths += [len(way) for way in found]
        assert next(entries, None) is None
        assert len(made.multipliers) == len(made.slopes) == len(made.beta) == int((made.size + 1).sum()) // 2
        assert (made.multipliers.sum(1) == 1).all()
    assert max(depths) >= 2


def _walked(entries: Any, way: tuple[int, ...]) -> list[tuple[int, ...]]:
    neuron = next(entries)
    if neuron < 0:
        return [way]
    assert neuron not in way
    return _walked(entries, (*way, neuron)) + _walked(entries, (*way, neuron))


# --- planted bugs --------------------------------------------------------------------------------------------------


def _other_side(right: Callable[..., None]) -> Callable[..., None]:
    def wrong(net: Any, leaf: Any, u: int, s: Any, t: Any) -> None:
        t.node[state.SIDE, u] *= -1
        right(net, leaf, u, s, t)
        t.node[state.SIDE, u] *= -1

    return wrong


def _not_there(right: Callable[..., Any]) -> Callable[..., Any]:
    """A neuron counts as positive that was not split."""

    def wrong(inputs: int, used: int, *rest: Any) -> Any:
        found, t = right(inputs, used, *rest), rest[-1]
        for u in range(used):
            if u != found[0] and t.node[state.SIDE, u] == 0:
                t.node[state.SIDE, u] = 1.0
                break
        return found

    return wrong


BUGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "the line of the other side": ("_take_side", _other_side),
    "a split that is not in the tree": ("choose_neuron", _not_there),
    "a minimum at the wrong end": ("least", lambda right: lambda n, row, c, s: right(n, -row, c, s)),
    "an unsound model is believed": ("_leaf_bound", lambda right: lambda *a: right(*a) + 0.5),
}


def standard_check(seeds: range) -> None:
    with np.errstate(all="ignore"):
        for seed in seeds:
            net, box, polytope = nearly_reached(seed)
            check_bound(net, box, (polytope,), HARD, compiled)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(plain: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """A check that cannot fail checks nothing."""
    standard_check(range(6))
    name, wrong = BUGS[bug]
    monkeypatch.setattr(plain["splits"], name, wrong(getattr(plain["splits"], name)))
    with pytest.raises(AssertionError, match="above a reachable margin"):
        standard_check(range(120))


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_what_a_multiplier_takes_by_hand(plain: dict[str, ModuleType], side: float) -> None:
    """``beta * side * z`` of its own neuron, and what an execution may lie away from the ``z`` that a row meets."""
    bound = CompiledBound(random_net(0, (2, 3, 2)))
    room, tree = state.scratch_room(bound._net, 1), state.tree_room(bound._net, 1, 2)
    found = []
    for beta, slack in ((0.0, 0.0), (2.0, 0.0), (2.0, 0.25)):
        room.neuron[:], room.constant[:], room.rows[:] = 0.0, 1.0, 0.5
        room.slack[:] = slack
        tree.which[0], tree.node[state.SIDE, 0], tree.node[state.BETA, 0] = 1, side, beta
        plain["splits"]._push_back(bound._net, 1, room, tree)
        found.append((room.constant[0], room.rows[0, 0, :2].copy()))
    bias, weight = (x.numpy()[1] for x in (bound._layer[0].bias, bound._layer[0].weight))
    assert found[0][0] == 1.0
    assert found[1][0] == pytest.approx(1.0 - side * 2 * bias, rel=1e-12)
    assert found[2][0] == pytest.approx(found[1][0] - 2 * 0.25, rel=1e-12)
    assert found[1][1] == pytest.approx(-side * 2 * weight, rel=1e-12)


@given(beta=st.floats(allow_nan=True) | st.floats(0, 1e3))
def test_a_multiplier_that_is_kept_is_a_short_number_and_not_negative(beta: float) -> None:
    kept = splits._round_beta(beta)
    assert kept >= 0
    assert float(np.float32(kept)) == kept
    if 2.0**-100 < beta < 2.0**100:
        assert abs(kept - beta) <= 2.0**-8 * beta


# --- which boxes ---------------------------------------------------------------------------------------------------


def test_which_networks_and_items() -> None:
    assert splittable([Activation("relu", 0.0), Activation("leaky_relu", 0.5)])
    for kind, alpha in (("leaky_relu", 1.5), ("leaky_relu", -0.5), ("tanh", 0.0), ("elu", 1.0)):
        assert not splittable([Activation("relu", 0.0), Activation(kind, alpha)])
    assert not splittable([])
    found, left = three_boxes()
    box, most = np.array([0, 0, 1, 2]), np.full(3, 40.0)
    assert items_to_split(found, left, box, undecided_neurons(found), most).tolist() == [0, 2], (
        "one of four neurons is soon proved by itself"
    )
    assert items_to_split(found, left, box, undecided_neurons(found), most - 21).tolist() == []
    left.closed[1], left.opened[0, 1] = False, True
    assert items_to_split(found, left, box, undecided_neurons(found), most).tolist() == [2], (
        "two are left of the first box"
    )
    found.lower[2] = -np.inf
    assert items_to_split(found, left, box, undecided_neurons(found), most).tolist() == []


def test_items_whose_tree_was_given_up_are_put_off() -> None:
    """Until fewer neurons are undecided; a box is not tried again for nothing."""
    found, left = three_boxes()
    box, most = np.array([0, 0, 1, 2]), np.full(3, 40.0)
    tried = state.closed_room(np.array([0, 1]), np.array([0, 2]), 1, 40, 61)
    tried.size[:] = 0, 3
    postpone_trees(tried, undecided_neurons(found), most)
    assert most.tolist() == [pytest.approx(17), 40, 40]
    assert items_to_split(found, left, box, undecided_neurons(found), most).tolist() == [2]
    found.known[0, 24:27] = 0.5
    assert items_to_split(found, left, box, undecided_neurons(found), most).tolist() == [2]
    found.known[0, :3] = 0.1
    assert items_to_split(found, left, box, undecided_neurons(found), most).tolist() == [0, 2]


def three_boxes() -> tuple[state.Found, state.Left]:
    """Boxes with 2, 1 and 1 items and with 20, 20 and 4 undecided neurons; the second item is closed."""
    known = np.concatenate([np.full((3, 20), -1.0), np.ones((3, 20))], 1)
    known[2, 24:] = -0.5
    plane, lower = np.ones((4, 1, 1)), np.array([-1.0, 2.0, -3.0, -3.0])
    found = state.Found(known, lower, plane, plane[:, 0], plane[:, 0], np.ones((4, 20), np.float32))
    left = state.Left(
        lower=np.zeros((3, 1)), upper=np.full((3, 1), 2.0), opened=np.array([[True, False]] * 3), closed=lower > 0,
        used=np.array([[False], [True], [True], [True]]), score=np.ones(3), edge=np.zeros(3, int),
        suspicious=np.ones(3, bool),
    )  # fmt: skip
    return found, left


def check_left(seeds: range) -> int:
    """Of boxes, those whose item is proved are closed, and of all others the same is left as without trees.

    Returns:
        How many trees there were.
    """
    trees_there = 0
    for seed in seeds:
        net, middle, polytope = nearly_reached(seed)
        boxes, polytopes = Boxes(middle.lower.repeat(6, 1), middle.upper.repeat(6, 1)), (polytope, polytope)
        boxes.upper[:] = boxes.lower + boxes.widths() * torch.linspace(0.1, 1.0, 6)[:, None]
        question, opened = question_of(polytopes), all_open(boxes, polytopes)
        opened[:, 1] = torch.arange(6) % 3 == 0  # two items on some boxes
        found = []
        for how in (SPLITS, None):
            bound = compiled(net, CPU, CrownSettings(steps=1, splits=how), "float32", True)
            found.append(bound.bound(question, boxes, opened, bound.root(6)))
        result, other = found
        assert result.left is not None
        assert other.left is not None
        assert torch.equal(result.left.closed, question.excluded(result.lower, result.polytope))
        still = torch.zeros_like(opened)
        still[result.box[~result.left.closed], result.polytope[~result.left.closed]] = True
        parent = still.any(1).nonzero()[:, 0]
        assert torch.equal(result.left.parent, parent)
        assert torch.equal(result.left.opened, still[parent])
        same = torch.isin(other.left.parent, parent)
        assert torch.equal(result.left.boxes.lower, other.left.boxes.lower[same])
        assert torch.equal(result.left.boxes.upper, other.left.boxes.upper[same])
        split = torch.empty(0, dtype=torch.int64) if result.splits is None else result.splits.item
        assert result.left.used is not None
        assert not result.left.used[split].any(), "a plane that closed nothing is kept"
        kept = torch.isin(torch.arange(len(result.lower)), split, invert=True)
        assert torch.equal(result.left.used[kept], other.left.used[kept])
        assert torch.equal(result.lower[kept], other.lower[kept])
        trees_there += len(split)
    return trees_there


def _every_tree(left: state.Left, tried: state.Closed) -> None:
    """What was tried counts as proved."""
    trees.leave_out(left, tried._replace(size=np.ones_like(tried.size)))


def _no_tree(left: state.Left, tried: state.Closed) -> None:
    left.closed[tried.item[tried.size > 0]] = True


def test_what_is_left_beside_trees() -> None:
    assert check_left(range(40)) > 5


@pytest.mark.parametrize("wrong", [_every_tree, _no_tree])
def test_a_planted_bug_in_what_is_left_is_seen(wrong: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that was given up counts as a proof, or the box of one that was found stays open."""
    monkeypatch.setattr(loops, "leave_out", wrong)
    with pytest.raises(AssertionError):
        check_left(range(40))


def test_threads_change_nothing() -> None:
    """Nor does the size of a batch: the same trees."""
    net, box, polytope = nearly_reached(7)
    middle, half = box.centres(), box.widths() / 2
    shift = 0.1 * torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    boxes, found, polytopes = Boxes(middle + shift - half, middle + shift + half), [], (polytope,)
    for threads in (1, 2, 8):
        bound = CompiledBound(net, HARD, "real", True, threads, always=True)
        result = bound.bound(question_of(polytopes), boxes, all_open(boxes, polytopes), bound.root(len(boxes)))
        assert result.splits is not None
        found.append((result.lower, result.splits.item, result.splits.neuron, result.splits.slopes))
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert torch.equal(mine.nan_to_num(nan=9), theirs.nan_to_num(nan=9))
    assert len(found[0][1]) > 5


def nearly_violated(folder: Path, op: str) -> tuple[Network, Property, Path, Path]:
    """A network and a property that its samples miss by little, with their files."""
    path, prop = folder / "net.onnx", folder / "p.vnnlib"
    path.write_bytes(
        layers_to_onnx(random_layers(4, (3, 10, 10, 2), 2.0), op, alpha=0.1 if op == "LeakyRelu" else None)
    )
    net = read_onnx(path)
    x = torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    with torch.no_grad():
        top = float(net(x)[:, 0].max())
    prop.write_text(property_text(3, 2, f"(and (>= Y_0 {top + 0.05!r}) (<= Y_1 1000.0))"))
    return net, read_property(prop), path, prop


def recorded(net: Network, prop: Property, path: Path, semantics: Any, splits: SplitSettings | None) -> bytes:
    """The certificate of a proof."""
    effort = SearchSettings(semantics=semantics, record=True, crown=CrownSettings(steps=1, splits=splits))

    def make(net: Network, limits: SearchSettings) -> CompiledBound:
        return CompiledBound(net, limits.crown, limits.semantics, limits.record, always=True)

    verdict = verify(net, prop, settings=effort, replays=[OnnxReplay(path.read_bytes())], bound=make)
    assert isinstance(verdict, Proved)
    entry = Certified(prop=prop, verdict=verdict)
    return certificate_bytes(path, net.sha256, [entry], semantics=semantics, assumptions={}, tool="tests")


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize("op", ["Relu", "LeakyRelu"])
def test_the_checker_accepts_what_was_recorded(op: str, semantics: Any, tmp_path: Path) -> None:
    """Trees of neurons below boxes, in both arithmetics; without them the file is of the first version."""
    net, made, path, prop = nearly_violated(tmp_path, op)
    for how, version in ((SPLITS, 2), (None, 1)):
        data = recorded(net, made, path, semantics, how)
        assert f'"version": {version},'.encode() in data
        (tmp_path / "c.json").write_bytes(data)
        for arithmetic in ("float64", "exact"):
            check(path, [prop], tmp_path / "c.json", Settings(arithmetic=arithmetic))  # type: ignore[arg-type]


def _swapped(splits: Any) -> Any:
    return replace(splits, neuron=torch.where(splits.neuron >= 0, (splits.neuron + 1) % 20, splits.neuron))


def test_boxes_that_are_leaves_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where trees have no node that splits, the record has their leaves' own slopes, and the first version will do."""
    net, made, path, prop = nearly_violated(tmp_path, "Relu")
    sizes = []

    def told(*how: Any) -> Any:
        found = loops_as_splits(*how)
        sizes.extend([] if found is None else found.size.tolist())
        return found

    loops_as_splits = loops.as_splits
    monkeypatch.setattr(loops, "as_splits", told)
    data = recorded(net, made, path, "float32", replace(SPLITS, nodes=1))
    assert sizes
    assert set(sizes) == {1}
    assert b'"version": 1,' in data
    (tmp_path / "c.json").write_bytes(data)
    for arithmetic in ("float64", "exact"):
        check(path, [prop], tmp_path / "c.json", Settings(arithmetic=arithmetic))  # type: ignore[arg-type]


WRONG_RECORDS: dict[str, Callable[[Any], Any]] = {
    "another neuron": _swapped,
    "leaves in another order": lambda s: replace(s, slopes=s.slopes.flip(0), beta=s.beta.flip(0)),
    "no slopes": lambda s: replace(s, slopes=torch.full_like(s.slopes, torch.nan)),
    "a side is missing": lambda s: replace(s, neuron=torch.full_like(s.neuron[: len(s.item)], -1), size=s.size * 0 + 1,
                                           slopes=s.slopes[: len(s.item)], beta=s.beta[: len(s.item)],
                                           multipliers=s.multipliers[: len(s.item)]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_RECORDS)
def test_a_wrong_record_is_rejected(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in what the search is told of its trees."""
    net, made, path, prop = nearly_violated(tmp_path, "Relu")
    right = loops.as_splits
    for name, spoil in ((None, lambda s: s), (wrong, WRONG_RECORDS[wrong])):

        def told(*how: Any, spoil: Any = spoil) -> Any:
            found = right(*how)
            return None if found is None else spoil(found)

        monkeypatch.setattr(loops, "as_splits", told)
        data = recorded(net, made, path, "real", SPLITS)
        (tmp_path / "c.json").write_bytes(data)
        if name is None:
            check(path, [prop], tmp_path / "c.json")
        else:
            with pytest.raises(Rejected):
                check(path, [prop], tmp_path / "c.json")
