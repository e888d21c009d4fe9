"""The search as a whole against brute force: no wrong verdict, whatever the network, the limits and the engines do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from birdnn.bounds import protocol
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.crown import CrownBound
from birdnn.boxes import Boxes
from birdnn.errors import MismatchError, UnsupportedOpError
from birdnn.formats.onnx import network_from_layers
from birdnn.network import Network
from birdnn.records import Proved, Unknown, Verdict, Violated
from birdnn.spec import Polytope, Property, Region, Row
from birdnn.verify import (
    AttackSettings,
    SearchSettings,
    bounding,
    branching,
    falsify,
    outlook,
    search,
    sifting,
    verify,
    work,
)
from birdnn.verify import effort as work_of
from birdnn.verify.attack import Found
from birdnn.verify.bounding import make_bound
from birdnn.verify.work import Work
from tests.bounds.builders import (
    ACTIVATIONS,
    CPU,
    Layers,
    compiled,
    convolution,
    exact_margin,
    graph_net,
    half_space,
    make_property,
    points_of,
    property_of,
    random_layers,
    random_net,
    random_polytopes,
)
from tests.verify.cases import NO_ATTACK, SHORT_ATTACK, Engine, Impatient, Sleepy, effort, with_replay

SIZES = ((1, 4, 1), (2, 4, 2), (2, 3, 3, 2), (3, 4, 2))
GAPS = (-0.05, -1e-4, 1e-4, 0.05)
"""Exact minimum of the margin in the cases below: violated twice, true twice."""


def shifted(polytope: Polytope, by: float) -> Polytope:
    """The polytope with its margin lowered by `by` everywhere."""
    rows = tuple(Row(row.coefficients, row.bound + Fraction(by), row.strict) for row in polytope.rows)
    return Polytope(rows=rows, n_outputs=polytope.n_outputs)


def brute_force_cases(seed: int) -> tuple[Layers, list[tuple[Property, float]]]:
    """A tiny ReLU network and properties of one or two polytopes, each with its exact minimum."""
    rng = np.random.default_rng(seed)
    sizes = SIZES[seed % len(SIZES)]
    layers = random_layers(seed, sizes)
    # dyadic corners: a degenerate edge elsewhere would hold no float32 point, hence no counterexample
    lower = rng.integers(-256, 128, sizes[0]) / 256
    upper = lower + rng.integers(0, 256, sizes[0]) / 256 * (rng.random(sizes[0]) < 0.9)
    polytopes = random_polytopes(seed, sizes[-1], rows=[(1,), (2,), (2, 3)][seed % 3])
    exact = [exact_margin(layers, lower, upper, polytope) for polytope in polytopes]
    # the first polytope decides, the others are well out of reach, so that both kinds are on the table
    others = [shifted(p, e - 0.5) for p, e in zip(polytopes[1:], exact[1:], strict=True)]
    cases = [(make_property(lower, upper, *others, shifted(polytopes[0], exact[0] - gap)), gap) for gap in GAPS]
    return layers, cases


def check_verdicts(seeds: range) -> None:
    """Proved iff the exact minimum is above zero, violated with a real witness iff it is not."""
    for seed in seeds:
        layers, cases = brute_force_cases(seed)
        net, replay = with_replay(layers)
        for prop, exact in cases:
            attack = SHORT_ATTACK if seed % 2 else NO_ATTACK
            verdict = verify(net, prop, settings=effort(attack=attack, max_boxes=20_000), replays=[replay])
            check_verdict(verdict, prop, exact, layers)


def check_verdict(verdict: Verdict, prop: Property, exact: float, layers: Layers) -> None:
    """One verdict; its witness is evaluated here once more, in float64."""
    assert isinstance(verdict, Proved if exact > 0 else Violated), f"wrong verdict: {verdict}, exact minimum {exact}"
    if isinstance(verdict, Violated):
        x = np.array(verdict.witness.x)
        for weight, bias in layers[:-1]:
            x = np.maximum(weight.astype(float) @ x + bias, 0)
        y = layers[-1][0].astype(float) @ x + layers[-1][1]
        assert np.allclose(y, verdict.witness.y, atol=1e-5)
        assert prop.violated(verdict.witness.x, verdict.witness.y)


# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_verdicts_agree_with_brute_force() -> None:
    """240 properties of 60 networks, all within 0.05 of their boundary, half of them violated."""
    check_verdicts(range(60))


@pytest.mark.slow
def test_many_verdicts_agree_with_brute_force() -> None:
    """4,000 more."""
    check_verdicts(range(1000, 2000))


@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_verdicts_agree_with_a_grid(op: str, alpha: float | None) -> None:
    """One input, any activation: a fine grid knows the minimum to 1e-3."""
    for seed in range(4):
        layers, polytope = random_layers(seed, (1, 5, 4, 2)), random_polytopes(seed, 2, rows=(2,))[0]
        net, replay = with_replay(layers, op, alpha)
        grid = torch.linspace(-1, 1, 20001, dtype=torch.float64)[:, None]
        with torch.no_grad():
            least = float(polytope.margin(net(grid)).amin())
        for gap, expected in ((-2e-3, Violated), (2e-3, Proved)):
            prop = make_property([-1.0], [1.0], shifted(polytope, least - gap))
            verdict = verify(net, prop, settings=effort(max_boxes=20_000), replays=[replay])
            assert isinstance(verdict, expected), f"{verdict} at a gap of {gap}, seed {seed}"


@pytest.mark.parametrize("last", ["residual", "sigmoid"])
def test_graphs_are_decided_by_the_bounds_they_have(last: str) -> None:
    """Those of graphs for a residual network, of chains for one that folds; two of 18 inputs move."""
    net = convolution(3, last)
    lower = [0.25] * 18
    upper = [0.5 if i in (4, 13) else 0.25 for i in range(18)]
    corners = Boxes(*(torch.tensor([side], dtype=torch.float64) for side in (lower, upper)))
    with torch.no_grad():
        values = net(points_of(corners, count=4000)[0])[:, 0]
    assert make_bound(net, effort()).name == {"residual": "graph", "sigmoid": "crown"}[last]
    for gap, expected in ((-1e-3, Violated), (0.02, Proved)):
        prop = make_property(lower, upper, half_space([1.0, 0.0], float(values.amin()) - gap))
        assert isinstance(verify(net, prop, settings=effort(), replays=[Engine(net)]), expected)


@pytest.mark.parametrize(("shift", "strict", "expected"), [
    (0.0, False, Violated), (0.0, True, (Proved, Unknown)), (-(2**-20), True, Violated), (2**-20, False, Proved),
])  # fmt: skip
def test_the_boundary_is_decided_exactly(shift: float, strict: bool, expected) -> None:
    """|x - 1/4| + shift in numbers that every type holds: y <= 0 is violated at one point, y < 0 nowhere.

    To prove the latter takes a bound of exactly zero, which a search may miss; a violation it may not claim.
    """
    layers = [([[1.0], [-1.0]], [-0.25, 0.25]), ([[1.0, 1.0]], [shift])]
    net, replay = with_replay(layers)
    prop = make_property([-1.0], [1.0], half_space([1.0], 0.0, strict=strict))
    verdict = verify(net, prop, settings=effort(), replays=[replay])
    assert isinstance(verdict, expected)
    if isinstance(verdict, Violated) and not strict:
        assert verdict.witness.x == (0.25,)


def test_every_region_counts() -> None:
    """Safe, safe, unsafe: the last one decides, in whatever place."""
    net, replay = with_replay([([[1.0]], [2.0]), ([[1.0]], [-2.0])])  # y = x from -2 on
    unsafe = (half_space([1.0], 0.0),)
    regions = [
        Region(exact_lower=(Fraction(low),), exact_upper=(Fraction(low + 1),), unsafe=unsafe) for low in (1, 3, -1)
    ]
    for order in itertools.permutations(regions):
        for attack in (NO_ATTACK, SHORT_ATTACK):
            verdict = verify(net, property_of(*order), settings=effort(attack=attack), replays=[replay])
            assert isinstance(verdict, Violated)
    assert isinstance(verify(net, property_of(*regions[:2]), settings=effort(), replays=[replay]), Proved)


def test_points_and_empty_unsafe_sets() -> None:
    """Degenerate boxes are decided at once; where nothing is unsafe there is nothing to violate."""
    net, replay = with_replay([([[1.0]], [2.0]), ([[1.0]], [-2.0])])
    for bound, expected in ((0.25, Proved), (0.5, Violated), (0.75, Violated)):
        prop = make_property([0.5], [0.5], half_space([1.0], bound))
        verdict = verify(net, prop, settings=effort(), replays=[replay])
        assert isinstance(verdict, expected)
    region = Region(exact_lower=(Fraction(0),), exact_upper=(Fraction(1),), unsafe=())
    nothing = Property(name="vacuous", regions=(region,), n_inputs=1, n_outputs=1)
    assert isinstance(verify(net, nothing, settings=effort(), replays=[replay]), Proved)
    everything = make_property([0.0], [1.0], Polytope(rows=(), n_outputs=1))
    assert isinstance(verify(net, everything, settings=effort(), replays=[replay]), Violated)


def test_a_box_between_two_float32_numbers_is_undecided_not_endless() -> None:
    """A million and 1/30: unsafe there, but no float32 is near; the box of two float64 numbers cannot be cut."""
    net, replay = with_replay([([[1.0]], [2.0]), ([[1.0]], [-2.0])])
    far = (10**6 + Fraction(1, 30),)
    prop = property_of(Region(exact_lower=far, exact_upper=far, unsafe=(half_space([1.0], 2e6),)))
    verdict = verify(net, prop, settings=effort(max_boxes=1000), replays=[replay])
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "precision"
    assert verdict.boxes == 1


def test_a_constant_network_with_a_degenerate_input_ends() -> None:
    """No input matters, so that any edge may be chosen: not the one that is a point."""
    net = Engine(random_net(0, (2, 3, 1)))
    flat, _ = with_replay([([[0.0, 0.0]], [1.0]), ([[1.0]], [-1.0])])
    prop = make_property([0.5, 0.0], [0.5, 1.0], half_space([1.0], 0.0))
    verdict = verify(flat, prop, settings=effort(smallest_width=2**-8), replays=[Engine(net.net, shift=100.0)])
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "precision"
    assert verdict.boxes == 2**9 - 1


def test_what_does_not_fit_is_refused() -> None:
    """Another number of inputs or outputs; an operator without a rule: an error, never a verdict."""
    net, replay = with_replay(random_layers(0, (2, 3, 2)))
    for prop in (make_property([0.0], [1.0], half_space([1.0, 1.0], -99.0)),
                 make_property([0.0, 0.0], [1.0, 1.0], half_space([1.0], -99.0))):  # fmt: skip
        with pytest.raises(MismatchError):
            verify(net, prop, settings=effort(), replays=[replay])
    nodes = [("Reshape", ["x", "s"], "u", {}), ("BatchNormalization", ["x", "u", "o", "o", "o"], "y", {})]
    odd = graph_net(nodes, {"s": np.array([2]), "o": np.ones(2, np.float32)}, (1, 2))  # a scale of its own input
    prop = make_property([1.0, 1.0], [2.0, 2.0], half_space([1.0, 1.0], -99.0))
    with pytest.raises(UnsupportedOpError):
        verify(odd, prop, settings=effort(), replays=[Engine(odd)])


# --- engines that disagree, bounds that are no numbers ------------------------------------------------------------


def unsafe_half() -> tuple[Network, Property]:
    """y = x0 + x1 / 4, unsafe up to 0.5, on the unit square."""
    net, _ = with_replay([([[1.0, 0.25]], [1.0]), ([[1.0]], [-1.0])])
    return net, make_property([0.0, 0.0], [1.0, 1.0], half_space([1.0], 0.5))


def test_a_replay_that_disagrees_leaves_its_box_open() -> None:
    """Never violated, never proved, and every unsafe point is in some box that is named."""
    net, prop = unsafe_half()
    engine = Engine(net, shift=100.0)
    verdict = verify(net, prop, settings=effort(smallest_width=0.1, attack=SHORT_ATTACK), replays=[engine])
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "precision"
    assert engine.asked > 0
    assert verdict.undecided is not None
    assert verdict.open_boxes == len(verdict.undecided)
    x = torch.rand(5000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unsafe = x[x[:, 0] + x[:, 1] / 4 <= 0.5]
    inside = (unsafe[:, None] >= verdict.undecided.lower) & (unsafe[:, None] <= verdict.undecided.upper)
    assert bool(inside.all(2).any(1).all()), "an unsafe point in no open box"


def test_falsify_never_proves() -> None:
    """Without a counterexample it knows nothing; with one it says so."""
    net, prop = unsafe_half()
    found = falsify(net, prop, settings=effort(attack=SHORT_ATTACK), replays=[Engine(net)])
    assert isinstance(found, Violated)
    lost = falsify(net, prop, settings=effort(attack=SHORT_ATTACK), replays=[Engine(net, 100.0)], rounds=2)
    assert (type(lost), lost.reason, lost.tried) == (Unknown, "not_found", "2 rounds of attack on 1 input region")
    stopped = falsify(
        net, prop, settings=effort(attack=SHORT_ATTACK), replays=[Engine(net, 100.0)], watch=Impatient(0), rounds=10**9
    )
    assert isinstance(stopped, Unknown)
    assert stopped.reason == "interrupted"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bounds_that_are_no_numbers_prove_nothing(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """A method that fails numerically, planes included: unknown, with the whole region still covered."""
    right = CompiledBound.bound

    def broken(self, question, boxes, opened, inherited):
        found = right(self, question, boxes, opened, inherited)
        gone = (torch.full_like(t, value) for t in (found.lower, found.plane, found.plane_minimum, found.inherited))
        lower, plane, minimum, inherited = gone
        return protocol.BoundResult(found.box, found.polytope, lower, plane, minimum, inherited)

    net, replay = with_replay([([[1.0, 0.25]], [1.0]), ([[1.0]], [-1.0])])
    prop = make_property([0.0, 0.0], [1.0, 1.0], half_space([1.0], -5.0))
    assert isinstance(verify(net, prop, settings=effort(), replays=[replay]), Proved)
    for name in ("bound", "at_a_glance"):
        monkeypatch.setattr(CompiledBound, name, broken)
    verdict = verify(net, prop, settings=effort(smallest_width=0.2), replays=[replay])
    assert isinstance(verdict, Unknown)
    assert verdict.undecided is not None
    volume = verdict.undecided.widths().prod(1).sum()
    assert float(volume) == 1.0


def test_a_device_out_of_memory_gets_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that did not fit goes back whole: a box lost there would be proved by nobody."""
    right, asked = search.examine, []

    def small(bound, question, batch):
        asked.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return right(bound, question, batch)

    monkeypatch.setattr(search, "examine", small)
    check_verdicts(range(8))
    assert max(asked) > 1


# --- limits ------------------------------------------------------------------------------------------------------


def endless() -> tuple[Network, Property, Engine]:
    """All unsafe, but no engine agrees: every box stays open."""
    net = random_net(0, (3, 8, 2))
    return net, make_property([-1.0] * 3, [1.0] * 3, half_space([1.0, 0.0], 1e3)), Engine(net, shift=1e6)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"timeout_s": 0.0}, "timeout"), ({"timeout_s": 0.3}, "timeout"), ({"memory_bytes": 100_000}, "memory"),
    ({"max_boxes": 500}, "boxes"), ({"smallest_width": 0.3}, "precision"),
])  # fmt: skip
def test_limits_hold(changes: dict, reason: str) -> None:
    """Each gives unknown with its own reason, soon, and names what is open."""
    net, prop, engine = endless()  # of runs: over the reals it ends, as everything violates there
    started = time.monotonic()
    verdict = verify(net, prop, settings=effort(semantics="float32", **changes), replays=[engine])
    assert time.monotonic() - started < changes.get("timeout_s", 10) + 50
    assert isinstance(verdict, Unknown)
    assert verdict.reason == reason
    if verdict.boxes:
        assert verdict.undecided is not None
        assert verdict.open_boxes >= len(verdict.undecided) > 0


@pytest.mark.parametrize("name", ["timeout_s", "max_boxes", "max_work"])
def test_a_limit_that_is_no_number_is_refused(name: str) -> None:
    """Nothing is beyond it: what is left of it was taken for no time, so that each step was of one box."""
    with pytest.raises(ValueError, match=f"{name} is no number"):
        effort(**{name: float("nan")})


@pytest.mark.parametrize("patience", [0, 1, 5, 30])
def test_interruption_is_clean(patience: int) -> None:
    """Whenever the user asks to stop: unknown, interrupted."""
    net, prop, engine = endless()
    settings = effort(semantics="float32")
    verdict = verify(net, prop, settings=settings, replays=[engine], watch=Impatient(patience))
    assert isinstance(verdict, Unknown)
    assert verdict.reason == "interrupted"


def test_a_limit_does_not_hide_a_counterexample() -> None:
    """Falsification comes first, however short the time."""
    net, prop = unsafe_half()
    verdict = verify(net, prop, settings=effort(timeout_s=0.0, attack=SHORT_ATTACK), replays=[Engine(net)])
    assert isinstance(verdict, Violated)


# --- repeatability and news ----------------------------------------------------------------------------------------


def test_the_seed_decides_everything() -> None:
    """Two runs give the same verdict, the same witness and the same number of boxes."""
    for seed in range(6):
        layers, cases = brute_force_cases(seed)
        net, replay = with_replay(layers)
        for prop, _ in cases:
            first, second = (
                verify(net, prop, settings=effort(attack=SHORT_ATTACK, seed=seed), replays=[replay]) for _ in range(2)
            )
            assert first == second


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_the_batch_does_not_decide(batch: int) -> None:
    """Verdicts do not depend on how many boxes travel together."""
    for seed in range(5):
        layers, cases = brute_force_cases(seed)
        net, replay = with_replay(layers)
        for prop, exact in cases:
            verdict = verify(net, prop, settings=effort(batch=batch), replays=[replay])
            check_verdict(verdict, prop, exact, layers)


def test_watching_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """News and estimates on the way: shares within 0..1, the same boxes, the network as it was."""
    net, replay = with_replay(random_layers(2, (4, 24, 24, 24, 1), scale=2.5))
    prop = make_property([-1.0] * 4, [1.0] * 4, half_space([1.0], -25.0))
    before = {name: value.clone() for name, value in net.initialisers().items()}
    quiet = verify(net, prop, settings=effort(batch=32), replays=[replay])
    monkeypatch.setattr(search, "_NEWS_EVERY_S", 0.0)
    for name, value in (("FIRST_S", 0.0), ("SHARE", float("inf"))):
        monkeypatch.setattr(outlook, name, value)
    watch = Sleepy(10**9)
    watched = verify(net, prop, settings=effort(batch=32), replays=[replay], watch=watch)
    assert quiet == watched
    assert any(news.left_s is not None for news in watch.news)
    for news in watch.news:
        assert 0 <= (news.done or 0) <= 1
        assert 0 <= (news.left_s or 0) < float("inf")
    assert all(torch.equal(value, before[name]) for name, value in net.initialisers().items())


# --- one step ----------------------------------------------------------------------------------------------------


def check_step(seed: int, make: Callable[..., CrownBound] = CrownBound) -> None:
    """What remains of a batch, halved, holds every sampled unsafe point, with its polytope still open."""
    polytopes = random_polytopes(seed, 2)
    net = random_net(seed, (2, 5, 2), *ACTIVATIONS[seed % len(ACTIVATIONS)])
    bound, question = make(net, CPU), protocol.Question.of(polytopes, 2, CPU)
    generator = torch.Generator().manual_seed(seed)
    lower = torch.rand(8, 2, generator=generator, dtype=torch.float64) * 2 - 1
    boxes = Boxes(lower, lower + torch.rand(8, 2, generator=generator, dtype=torch.float64))
    batch = Work(boxes, torch.ones(8, 3, dtype=torch.bool), bound.root(8), torch.zeros(8, dtype=torch.int64))
    step = work.examine(bound, question, batch)
    halves = work.halve(bound, step.remains, step.left.edge)
    parents = torch.cat([step.left.parent] * 2)
    assert len(halves) == len(parents)
    for box, polytope in itertools.product(range(8), range(3)):
        points = boxes[box : box + 1].uniform(300, generator)[0]
        with torch.no_grad():
            unsafe = points[polytopes[polytope].margin(net(points)) <= -1e-9]
        mine = (parents == box) & halves.opened[:, polytope]
        inside = (unsafe[:, None] >= halves.boxes.lower[mine]) & (unsafe[:, None] <= halves.boxes.upper[mine])
        assert bool(inside.all(2).any(1).all()), "an unsafe point was lost"


@pytest.mark.parametrize("make", [CrownBound, compiled], ids=["torch", "loops"])
def test_a_step_loses_no_unsafe_point(make: Callable[..., CrownBound]) -> None:
    """Clipping, the hull over polytopes, and halving together."""
    for seed in range(60):
        check_step(seed, make)


def _intersection(bound, question, batch, right=work.examine):
    """The clipped boxes of several polytopes intersected instead of joined."""
    result = bound.bound(question, batch.boxes, batch.opened, batch.inherited)
    step = right(bound, question, batch)
    lower, upper = step.remains.boxes.lower.clone(), step.remains.boxes.upper.clone()
    for row, parent in enumerate(step.left.parent.tolist()):
        items = (result.box == parent) & ~question.excluded(result.lower, result.polytope)
        clipped = batch.boxes[result.box[items]].clip(result.plane[items], result.plane_minimum[items])
        clipped = clipped[~clipped.empty()]
        lower[row], upper[row] = clipped.lower.amax(0), clipped.upper.amin(0)
    return replace(step, remains=replace(step.remains, boxes=Boxes(lower, upper)))


def _one_side(bound, batch, edge, right=work.halve):
    halves = right(bound, batch, edge)
    return replace(halves, boxes=Boxes.concatenate([halves.boxes[: len(batch)]] * 2))


def _closed_too_early(bound, question, batch, right=work.examine):
    step = right(bound, question, batch)
    opened = step.remains.opened.clone()
    opened[:, 0] = False
    return replace(step, remains=replace(step.remains, opened=opened))


@pytest.mark.parametrize(("place", "bug"), [
    ("examine", _intersection), ("examine", _closed_too_early), ("halve", _one_side),
])  # fmt: skip
def test_a_planted_bug_of_a_step_is_seen(monkeypatch: pytest.MonkeyPatch, place: str, bug) -> None:
    """A check that cannot fail checks nothing."""
    monkeypatch.setattr(work, place, bug)
    with pytest.raises(AssertionError, match="was lost"):
        [check_step(seed) for seed in range(60)]


SEARCH_BUGS = {
    "a bound just below zero taken for a proof": (
        protocol.Question, "excluded", lambda self, lower, polytope: lower > -0.01
    ),
    "clipping too much": (
        Boxes, "cuts", lambda self, plane, minimum, right=Boxes.cuts: right(self, plane, 0.5 * minimum)
    ),
    "second halves lost": (
        branching, "halve", lambda bound, batch, edge, right=work.halve: right(bound, batch, edge)[: len(batch)]
    ),
    "boxes beyond a batch lost": (
        search, "take_batch", lambda stack, wanted: [stack.pop()[:1], stack.clear()][0]
    ),
    "regions taken for closed that are open": (
        sifting, "sift_by_bounds", lambda bound, suspects, together, stopped: []
    ),
}  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("bug", SEARCH_BUGS)
def test_a_planted_bug_of_the_search_is_seen(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """Each would turn some "violated" into "proved", by the reference, where all of a step can be replaced."""
    monkeypatch.setattr(bounding, "available", lambda: False)
    monkeypatch.setattr(*SEARCH_BUGS[bug])
    with pytest.raises(AssertionError, match="wrong verdict: Proved"):
        check_verdicts(range(0, 60, 2))  # those without an attack


def noted_attacks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Evaluations, regions and polytopes of each attack but the first glance; none finds anything."""
    asked: list[tuple[int, int, int]] = []

    def noted(net: Network, regions: Sequence[Region], *, settings: AttackSettings, **options: object) -> list[Found]:
        asked.append((settings.evaluations, len(regions), sum(len(region.unsafe) for region in regions)))
        return [Found(region.lower[None].float(), torch.ones(1, dtype=torch.float64)) for region in regions]

    monkeypatch.setattr(search.Search, "_at_a_glance", lambda self: None)
    monkeypatch.setattr(search, "attack_all", noted)
    return asked


def test_what_bounds_exclude_at_once_is_not_attacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Easy instances took as long as their attack."""
    asked = noted_attacks(monkeypatch)
    net = random_net(0, (2, 4, 1))
    far, near = (make_property([-1.0] * 2, [1.0] * 2, half_space([1.0], bound)) for bound in (-1e3, -0.2))
    for prop, attacks in ((far, 0), (near, 1)):
        for semantics in ("real", "float32"):
            asked.clear()
            verify(net, prop, settings=effort(semantics=semantics), replays=[Engine(net)])
            assert len(asked) == attacks, (attacks, semantics)


def test_what_a_glance_meets_needs_no_bounds() -> None:
    """A violation at the middle of a box is told before anything is loaded for bounds."""
    net, replay = with_replay([([[1.0]], [2.0]), ([[1.0]], [-2.0])])
    prop = make_property([-1.0], [1.0], half_space([1.0], 0.0))

    def none(net: Network, settings: SearchSettings) -> protocol.MarginBound:
        raise AssertionError("bounds were asked for")

    assert isinstance(verify(net, prop, settings=effort(), replays=[replay], bound=none), Violated)


def test_what_no_run_reaches_is_more_than_what_the_reals_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the reals a bound of a hair excludes it; a run may reach it, and that is looked for."""
    asked = noted_attacks(monkeypatch)
    net = network_from_layers([(np.float32([[1.0, 1.0]]), np.float32([0.0]))])
    hair = make_property([0.0] * 2, [1.0] * 2, half_space([1.0], -1e-12))
    verdict = verify(net, hair, settings=effort(semantics="real"), replays=[Engine(net)])
    assert isinstance(verdict, Proved)
    assert verdict.boxes == 1
    assert asked


def test_a_region_is_attacked_harder_as_the_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A little at first; more once bounds have cost as much, on what is still open only."""
    asked = noted_attacks(monkeypatch)
    net = random_net(3, (2, 8, 8, 1))
    with torch.no_grad():
        least = float(net(2 * torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0)) - 1).min())
    far, near = (half_space([1.0], least - apart) for apart in (3.0, 0.004))
    prop = make_property([-1.0] * 2, [1.0] * 2, far, near)
    whole = AttackSettings(evaluations=16)
    monkeypatch.setattr(work_of, "_LEAST", 1e-9)  # so that an attack costs what the network says, not its calls
    verdict = verify(net, prop, settings=effort(attack=whole, batch=2), replays=[Engine(net)])
    assert isinstance(verdict, Proved)
    assert verdict.boxes > 16
    assert asked == [(1, 1, 1), (8, 1, 1), (16, 1, 1)]
    few = len(asked)
    verdict = verify(net, prop, settings=effort(attack=whole, batch=2, max_boxes=4), replays=[Engine(net)])
    assert isinstance(verdict, Unknown)
    assert asked[few:][0] == (1, 1, 1)
    assert asked[-1] == (16, 1, 1)  # before the search is given up
