"""Queries about several networks: verdicts against brute force, what is refused, and both front doors."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from birdnn.chain import NotAChain
from birdnn.errors import MismatchError
from birdnn.formats.export import to_onnx_bytes
from birdnn.formats.onnx import network_from_layers
from birdnn.formats.relation_text import monotone_query, steepness_query
from birdnn.network import Network
from birdnn.pipeline import posing
from birdnn.pipeline.posing import JointReplay
from birdnn.pipeline.relating import falsify_related, verify_related
from birdnn.records import Proved, Unknown, VerifyOutcome, VerifySettings, Violated, Witness
from birdnn.verify import SearchSettings
from tests.queries import apart, query, same

Layers = list[tuple[np.ndarray, np.ndarray]]


def layers(seed: int, sizes: Sequence[int]) -> Layers:
    draw = np.random.default_rng(seed)
    return [
        (draw.normal(size=(n, m)).astype(np.float32), draw.normal(size=n).astype(np.float32))
        for m, n in itertools.pairwise(sizes)
    ]


def noisy(made: Layers, seed: int, size: float) -> Layers:
    draw = np.random.default_rng(seed)
    return [
        ((w + draw.normal(0, size, w.shape)).astype(np.float32), (b + draw.normal(0, size, b.shape)).astype(np.float32))
        for w, b in made
    ]


def written(path: Path, net: Network) -> Path:
    path.write_bytes(to_onnx_bytes(net))
    return path


def decided(folder: Path, nets: dict[str, Network], text: str, **settings: object) -> VerifyOutcome:
    files = {name: written(folder / f"{name}.onnx", net) for name, net in nets.items()}
    (folder / "q.vnnlib").write_text(text)
    asked: dict[str, object] = {"timeout_s": 20, **settings}
    return verify_related(files, [folder / "q.vnnlib"], settings=VerifySettings(**asked))  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["Relu", "Tanh", "other layers"])
def test_verdicts_against_a_grid(kind: str, tmp_path: Path) -> None:
    """Thresholds about the largest difference on a grid: none is proved that a point of the grid reaches."""
    proved = violated = 0
    grid = torch.tensor(list(itertools.product(np.linspace(-1, 1, 41), repeat=2)), dtype=torch.float32)
    for seed in range(40):
        draw = np.random.default_rng(seed)
        op = "Tanh" if kind == "Tanh" else "Relu"
        made = layers(seed, (2, 6, 5, 2))
        other = (
            layers(seed + 1, (2, 4, 2)) if kind == "other layers" else noisy(made, seed, 10.0 ** -draw.integers(1, 4))
        )
        nets = {"f": network_from_layers(made, op), "g": network_from_layers(other, op)}
        with torch.no_grad():
            most = float((nets["g"].double()(grid.double()) - nets["f"].double()(grid.double())).abs().max())
        epsilon = most * draw.choice([0.5, 0.9, 1.2, 2.0])
        nets = {name: net.float() for name, net in nets.items()}
        outcome = decided(tmp_path, nets, query(2, 2, *same(2), apart(2, epsilon)))
        verdict = outcome.verdicts[0].verdict
        proved, violated = proved + isinstance(verdict, Proved), violated + isinstance(verdict, Violated)
        assert not (isinstance(verdict, Proved) and most > epsilon * (1 + 1e-6)), seed
        if isinstance(verdict, Violated):
            assert verdict.witness.x[:2] == verdict.witness.x[2:]
            y = np.array(verdict.witness.y)
            assert np.abs(y[2:] - y[:2]).max() >= epsilon
    assert proved > 12
    assert violated > 12


def test_a_difference_that_cannot_be_told_by_parts(tmp_path: Path) -> None:
    """Half of what each network varies by: only who follows the difference proves it at once; planted, nobody."""
    made = layers(3, (3, 12, 12, 2))
    nets = {"f": network_from_layers(made), "g": network_from_layers(noisy(made, 0, 1e-3))}
    text = query(3, 2, *same(3), apart(2, 0.05))
    verdict = decided(tmp_path, nets, text).verdicts[0].verdict
    assert isinstance(verdict, Proved)
    assert verdict.boxes < 500


def test_relations_that_are_no_equalities(tmp_path: Path) -> None:
    """A network at two inputs: monotone in one of them, by construction; the other way round it is violated."""
    made = [(np.abs(w), b) for w, b in layers(1, (2, 5, 1))]
    net = network_from_layers(made)  # which is constant in places
    order = ["(== X_f[1] X_g[1])", "(>= X_g[0] -1.0)", "(<= X_g[0] X_f[0])"]
    text = query(2, 1, *order, "(< (+ Y_f[0] 0.01) Y_g[0])", like="equal-to f")
    outcome = decided(tmp_path, {"f": net}, text)
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    assert not outcome.notes
    near = ["(== X_f[1] X_g[1])", "(<= (- X_g[0] X_f[0]) 0.1)", "(<= (- X_f[0] X_g[0]) 0.1)"]
    outcome = decided(tmp_path, {"f": net}, query(2, 1, *near, "(> (- Y_f[0] Y_g[0]) 90.0)", like="equal-to f"))
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    assert "inputs are related by more than equality" in " ".join(outcome.notes)
    text = query(2, 1, *order, "(> Y_f[0] (+ Y_g[0] 0.01))", like="equal-to f")
    outcome = decided(tmp_path, {"f": net, "g": net}, text)
    verdict = outcome.verdicts[0].verdict
    assert isinstance(verdict, Violated)
    assert len(verdict.witness.x) == 4
    assert verdict.witness.x[2] <= verdict.witness.x[0]
    assert verdict.witness.x[1] == verdict.witness.x[3]
    assert any("inputs are those of f, then those of g" in note for note in outcome.notes)


def test_falsify_never_proves(tmp_path: Path) -> None:
    made = layers(3, (2, 5, 2))
    f, g = (written(tmp_path / f"{name}.onnx", network_from_layers(each))
            for name, each in (("f", made), ("g", noisy(made, 0, 0.1))))  # fmt: skip
    for epsilon, word in ((0.001, "violated"), (5.0, "unknown")):
        (tmp_path / "q.vnnlib").write_text(query(2, 2, *same(2), apart(2, epsilon)))
        outcome = falsify_related({"f": f, "g": g}, [tmp_path / "q.vnnlib"], settings=VerifySettings())
        assert outcome.verdicts[0].outcome == word


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Names, sizes, networks that are said to be equal and are not, options that are about one network."""
    net, wide = network_from_layers(layers(0, (2, 4, 2))), network_from_layers(layers(0, (3, 4, 2)))
    text, twin = query(2, 2, *same(2), apart(2, 1.0)), query(2, 2, *same(2), apart(2, 1.0), like="equal-to f")
    for nets, said, message in (
        ({"f": net}, text, r"is about f, g; say --net g=FILE"),
        ({"f": net, "h": net}, text, r"declares f, g, and no network 'h'"),
        ({"f": net, "g": wide}, text, r"network g of the query has 2 inputs, this file 3"),
        ({"f": net, "g": network_from_layers(layers(1, (2, 4, 2)))}, twin, r"g is equal to f there, and .* are not"),
    ):
        with pytest.raises(MismatchError, match=message):
            decided(tmp_path, nets, said)
    for name, value in (("resume", tmp_path), ("crosscheck", ("marabou",)), ("bound", "auto_lirpa")):
        with pytest.raises(MismatchError, match=f"--{name} is about one network"):
            decided(tmp_path, {"f": net, "g": net}, text, **{name: value})


def test_layers_that_do_not_correspond_are_told(tmp_path: Path) -> None:
    nets = {"f": network_from_layers(layers(0, (2, 4, 1))), "g": network_from_layers(layers(1, (2, 3, 3, 1)))}
    outcome = decided(tmp_path, nets, query(2, 1, *same(2), apart(1, 50.0)))
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    assert any("the layers do not correspond: 2 affine layers in A, 3 in B" in note for note in outcome.notes)


@pytest.mark.thorough
def test_monotone_networks_are_proved_by_their_slopes(tmp_path: Path) -> None:
    """Strictly: both runs agree where the inputs do. Falling as well, and as steep as it is and no steeper."""
    draw = np.random.default_rng(5)
    made = [(np.abs(w), b) for w, b in layers(5, (3, 10, 10, 2))]
    for op, alpha, sign in (("LeakyRelu", 0.1, 1), ("Tanh", None, -1)):
        each = [(sign * made[0][0], made[0][1]), *made[1:]]
        net, box = network_from_layers(each, op, alpha=alpha), [(-1.0, 1.0)] * 3
        rising, falling = (monotone_query(box, 2, 1, 0, rising=rises) for rises in (True, False))
        for text, holds in ((rising, sign > 0), (falling, sign < 0)):
            verdict = decided(tmp_path, {"f": net}, text).verdicts[0].verdict
            assert isinstance(verdict, Proved if holds else Violated), (op, text)
        x = torch.tensor(draw.uniform(-1, 1, (4000, 3)))
        x.requires_grad_(True)
        (slopes,) = torch.autograd.grad(net.double()(x)[:, 0].sum(), x)
        most = float(slopes[:, 1].abs().max())
        for factor, holds in ((1.5, True), (0.9, False)):
            text = steepness_query(box, 2, 1, 0, most * factor)
            verdict = decided(tmp_path, {"f": net.float()}, text).verdicts[0].verdict
            assert isinstance(verdict, Proved if holds else Violated), (op, factor)


def test_a_network_that_is_constant_in_places_is_monotone_with_a_tolerance(tmp_path: Path) -> None:
    made = [(np.abs(w), b - 1) for w, b in layers(5, (2, 8, 8, 1))]
    net = network_from_layers(made)
    text = monotone_query([(-1.0, 1.0)] * 2, 1, 0, 0, tolerance=1e-6)
    assert isinstance(decided(tmp_path, {"f": net}, text).verdicts[0].verdict, Proved)


@pytest.mark.thorough
def test_monotone_verdicts_against_a_grid(tmp_path: Path) -> None:
    """Of random networks: none is proved whose output falls between two points of a grid."""
    steps = torch.linspace(-1, 1, 201, dtype=torch.float64)
    proved = violated = 0
    for seed in range(30):
        draw = np.random.default_rng(seed)
        made = layers(seed, (2, 4, 3, 1))
        made = [(np.where(draw.random(w.shape) < 0.9, np.abs(w), w).astype(np.float32), b) for w, b in made]
        net, low = (
            network_from_layers(made, ("Relu", "Tanh", "LeakyRelu")[seed % 3], alpha=0.1 if seed % 3 == 2 else None),
            [],
        )
        for other in np.linspace(-1, 1, 21):
            with torch.no_grad():
                y = net.double()(torch.stack([steps, torch.full_like(steps, other)], 1))[:, 0]
            low.append(float(y.diff().min()))
        text = monotone_query([(-1.0, 1.0)] * 2, 1, 0, 0)
        verdict = decided(tmp_path, {"f": net.float()}, text, timeout_s=2).verdicts[0].verdict
        proved, violated = proved + isinstance(verdict, Proved), violated + isinstance(verdict, Violated)
        assert not (isinstance(verdict, Proved) and min(low) < -1e-12), seed
    assert proved > 4
    assert violated > 4


def test_constants_count_when_networks_are_compared(tmp_path: Path) -> None:
    """Two files that differ in a constant alone are two networks: what is true of one run says nothing of the other."""
    made = [(np.abs(w), b) for w, b in layers(5, (2, 6, 1))]
    first = network_from_layers(made, "LeakyRelu", alpha=0.1)
    values = dict(first.values())
    name = next(iter(values))
    constants = {name: values[name]}
    others = {key: value for key, value in values.items() if key != name}
    nets = {"f": Network(first.graph, others, constants), "g": Network(first.graph, others, {name: -values[name]})}
    assert not posing._is_same_network(nets["f"], nets["g"])
    assert posing._is_same_network(nets["f"], Network(first.graph, others, constants))


def test_executions_do_not_relate_inputs(tmp_path: Path) -> None:
    small = network_from_layers(layers(0, (2, 3, 1)))
    with pytest.raises(MismatchError, match="relates inputs by more than equality"):
        decided(tmp_path, {"f": small}, monotone_query([(-1.0, 1.0)] * 2, 1, 0, 0), semantics="float32")


def test_weights_beyond_bounds_of_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot follow the difference, or the slope, leaves it to the bounds of each network."""

    def refuse(*_: object) -> None:
        raise NotAChain("too much")

    for name in ("difference_bound", "slope_bound"):
        monkeypatch.setattr(posing, name, refuse)
    net = network_from_layers([(np.abs(w), b) for w, b in layers(1, (2, 5, 1))])
    text = monotone_query([(-1.0, 1.0)] * 2, 1, 0, 0, tolerance=1.0)
    for nets, asked in (({"f": net, "g": net}, query(2, 1, *same(2), apart(1, 50.0))), ({"f": net}, text)):
        assert isinstance(decided(tmp_path, nets, asked).verdicts[0].verdict, Proved)


def test_a_run_that_violates_by_rounding_refutes_no_slope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands beside the proof over the reals; and a proof by slopes that is given up leaves the rest of the time."""
    net = network_from_layers([(np.abs(w), b) for w, b in layers(5, (2, 6, 1))], "LeakyRelu", alpha=0.1)
    text = monotone_query([(-1.0, 1.0)] * 2, 1, 0, 0, tolerance=1e-6)
    met = Witness(x=(0.5, 0.0, 0.25), y=(1.0, 1.0), replayed_by=("onnxruntime",), exactly=False)
    with monkeypatch.context() as patch:
        patch.setattr(posing, "falsify", lambda *_, **__: Violated(witness=met, boxes=0))
        verdict = decided(tmp_path, {"f": net}, text).verdicts[0].verdict
    assert isinstance(verdict, Proved)
    assert verdict.executed is not None
    assert len(verdict.executed.x) == 4
    monkeypatch.setattr(posing, "cover_region", lambda *_, **__: Unknown(reason="timeout", boxes=7))
    outcome = decided(tmp_path, {"f": net}, monotone_query([(-1.0, 1.0)] * 2, 1, 0, 0, tolerance=50.0))
    assert isinstance(outcome.verdicts[0].verdict, Proved)


def test_slopes_of_all_regions_have_half_of_the_time_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    def covered(*_: object, settings: SearchSettings, **__: object) -> Proved:
        limits.append(settings.timeout_s)
        time.sleep(0.4)
        return Proved(boxes=1, arithmetic="")

    monkeypatch.setattr(posing, "cover_region", covered)
    net = network_from_layers([(np.abs(w), b) for w, b in layers(5, (2, 6, 1))], "LeakyRelu", alpha=0.1)
    order = ["(== X_f[1] X_g[1])", "(>= X_g[0] -1.0)", "(<= X_g[0] X_f[0])", "(or (<= X_f[1] -0.5) (>= X_f[1] 0.5))"]
    text = query(2, 1, *order, "(< Y_f[0] Y_g[0])", like="equal-to f")
    assert isinstance(decided(tmp_path, {"f": net}, text, timeout_s=1000).verdicts[0].verdict, Proved)
    first, second = limits
    assert 400.0 < first < 500.0, "a hundred seconds for a busy machine"
    assert second <= first - 0.4


def test_a_memory_limit_is_no_machine_without_memory(tmp_path: Path) -> None:
    """By difference and by slopes: it said that the machine has too little, where the user's own limit was reached."""
    made = layers(3, (3, 12, 12, 2))
    nets = {"f": network_from_layers(made, "Tanh"), "g": network_from_layers(layers(4, (3, 12, 12, 2)), "Tanh")}
    outcome = decided(tmp_path, nets, query(3, 2, *same(3), apart(2, 13.0)), memory_gib=1e-6)
    verdict = outcome.verdicts[0].verdict
    assert isinstance(verdict, Unknown)
    assert (verdict.reason, verdict.open_boxes > 0) == ("memory", True)
    assert "memory ran out" not in " ".join(outcome.notes)


def test_numbers_beside_the_file_make_another_network(tmp_path: Path) -> None:
    """Both files hold the same bytes, and read other weights: one proved monotone must not vouch for the other."""
    made = [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
    files = {}
    for name, weight in (("f", 1.0), ("g", 5.0)):
        folder = tmp_path / name
        folder.mkdir()
        model = onnx.load_model_from_string(to_onnx_bytes(network_from_layers(made)))
        tensor = next(t for t in model.graph.initializer if tuple(t.dims) in ((1, 2), (2, 1)))
        (folder / "w.bin").write_bytes(np.full(2, weight, np.float32).tobytes())
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "8")):
            tensor.external_data.add(key=key, value=value)
        files[name] = folder / "net.onnx"
        files[name].write_bytes(model.SerializeToString())
    assert files["f"].read_bytes() == files["g"].read_bytes()
    text = monotone_query([(0.0, 1.0), (0.0, 1.0)], 1, 0, 0, tolerance=0.1)
    path = tmp_path / "q.vnnlib"
    path.write_text(text)
    with pytest.raises(MismatchError, match="g is equal to f there, and the two files are not"):
        verify_related(files, [path], settings=VerifySettings(timeout_s=20))
    path.write_text(text.replace("(equal-to f)", "(isomorphic-to f)"))
    verdict = verify_related(files, [path], settings=VerifySettings(timeout_s=20)).verdicts[0].verdict
    assert isinstance(verdict, Violated)


def test_files_of_a_query_are_run_each_by_itself() -> None:
    """At the variables that each of them reads, in its own order; engines are named once."""

    class Sum:
        name = "engine"

        def __call__(self, x: np.ndarray) -> np.ndarray:
            return np.array([[x[0], 10 * x[1]]])

    class Other(Sum):
        name = "other"

    both = JointReplay(((Sum(), (0, 2)), (Sum(), (2, 1))))
    assert both.name == "engine"
    assert both(np.array([1, 2, 3], np.float32)).tolist() == [1, 30, 3, 20]
    assert JointReplay(((Sum(), (0, 1)), (Other(), (0, 1)))).name == "engine and other"


def test_inputs_of_a_counterexample_are_those_of_each_network(tmp_path: Path) -> None:
    """Variables that both read stand twice, one network's inputs behind the other's; so do outputs."""
    one, two = (network_from_layers([(w * np.eye(2), np.zeros(2))]) for w in (1.0, 2.0))
    crossed = ["(== X_f[0] X_g[1])", "(== X_f[1] X_g[0])"]
    outcome = decided(tmp_path, {"f": one, "g": two}, query(2, 2, *crossed, "(>= Y_g[0] 1.5)"))
    (answer,) = outcome.verdicts
    assert isinstance(answer.verdict, Violated)
    x, y = answer.verdict.witness.x, answer.verdict.witness.y
    assert (x[2], x[3]) == (x[1], x[0])
    assert y == (x[0], x[1], 2 * x[2], 2 * x[3])
    assert any("inputs are those of f, then those of g, and so are outputs" in note for note in outcome.notes)
    assert [(file.name, Path(file.path).name) for file in outcome.networks] == [("f", "f.onnx"), ("g", "g.onnx")]
    assert outcome.settings.semantics == "real"


@pytest.mark.parametrize(
    ("assertions", "settings", "told"),
    [
        (["(>= Y_f[0] 50.0)"], {"semantics": "float32"}, "executions are bounded each by itself"),
        (["(>= (* 0.1 Y_f[0]) (+ Y_g[0] 50.0))"], {}, "it has coefficients that float64 does not hold"),
        (["(>= (+ Y_f[0] X_f[0]) 50.0)"], {}, "inputs are related by more than equality"),
        (["(>= Y_f[0] (+ Y_g[0] 50.0))"], {}, ""),
    ],
)
def test_how_outputs_are_bounded_is_told(
    tmp_path: Path, assertions: list[str], settings: dict[str, object], told: str
) -> None:
    """Where that is not by their difference; not where nothing is to be proved."""
    net, text = network_from_layers(layers(1, (2, 4, 1))), query(2, 1, *same(2), *assertions)
    outcome = decided(tmp_path, {"f": net, "g": net}, text, **settings)
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    said = [note for note in outcome.notes if note.startswith("q: ")]
    assert (len(said), told in "".join(said)) == (bool(told), True)
    files = {name: tmp_path / f"{name}.onnx" for name in "fg"}
    asked = VerifySettings(timeout_s=1.0, **settings)  # type: ignore[arg-type]
    sought = falsify_related(files, [tmp_path / "q.vnnlib"], settings=asked)
    assert not [note for note in sought.notes if note.startswith("q: ")]


def test_questions_about_networks_without_time_are_not_begun(tmp_path: Path) -> None:
    net = network_from_layers(layers(1, (2, 4, 1)))
    outcome = decided(tmp_path, {"f": net, "g": net}, query(2, 1, *same(2), apart(1, 1e-9)), timeout_s=0)
    verdict = outcome.verdicts[0].verdict
    assert isinstance(verdict, Unknown)
    assert (verdict.reason, verdict.boxes) == ("timeout", 0)


def test_what_leaves_no_certificate_says_why(tmp_path: Path) -> None:
    """And the verdict stands; nothing is written."""
    net, out = network_from_layers(layers(1, (2, 4, 1))), tmp_path / "c.certificate.json.gz"
    for assertions, settings, why in (
        (["(>= Y_f[0] 50.0)"], {"semantics": "float32"}, "of queries about executions there is none"),
        (["(>= X_f[0] 5.0)", "(>= Y_f[0] 50.0)"], {}, "the checker takes no property that is vacuous"),
        (["(>= (* 0.1 Y_f[0]) (+ Y_g[0] 50.0))"], {}, "it was proved by each network by itself"),
    ):
        text = query(2, 1, *same(2), *assertions)
        outcome = decided(tmp_path, {"f": net, "g": net}, text, certificate=out, **settings)
        assert outcome.verdicts[0].proved
        assert any(f"No certificate speaks about q: {why}" in note for note in outcome.notes), outcome.notes
        assert (outcome.certificate, out.exists()) == (None, False)
