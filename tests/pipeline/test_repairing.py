"""The whole way on small networks: read, measure, repair, prove the file, write, measure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import MismatchError
from birdnn.formats import read_network, read_property
from birdnn.formats.onnx import layers_to_onnx
from birdnn.network import weights_sha256
from birdnn.pipeline import judging, repairing
from birdnn.pipeline.case import Applicable
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.judging import Answer, Attempt, make_hunter
from birdnn.pipeline.load import load_network
from birdnn.pipeline.measuring import Comparison
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.repairing import _Repair, repair_files
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import (
    CaseFiles,
    Domain,
    Progress,
    Proved,
    RepairRequest,
    Unknown,
    Unwatched,
    Verdict,
    VerifySettings,
)
from birdnn.repair import Retrain, RetrainSettings
from birdnn.sample import draw_uniform, evaluate
from birdnn.verify import AttackSettings

FAST = RepairSettings(
    retrain=RetrainSettings(domain_points=1000, region_points=500),
    output_layer=RetrainSettings(parameters=1, ridges=(1e-4,), domain_points=1000, region_points=500),
    selection_points=5000,
    domain_points=5000,
    region_points=5000,
    held_out_points=5000,
)
DOMAIN = "lower = [-1.0, -1.0]\nupper = [1.0, 1.0]\n"


@dataclass(frozen=True)
class Case:
    """Files of one small case."""

    net: Path
    prop: Path
    domain: Path

    def request(self, **more: object) -> RepairRequest:
        asked = RepairRequest(
            net=self.net,
            props=(self.prop,),
            domain=self.domain,
            decision="argmax",
            out=self.net.parent / "out",
            samples=2000,
        )
        return replace(asked, **more)


def build(folder: Path, activation: str, *, quantile: float = 0.9) -> Case:
    """A random network of two hidden layers; unsafe in a corner: output 0 is above what 90 % of the corner gives."""
    rng = np.random.default_rng(5)
    sizes = [2, 12, 12, 3]
    layers = [(rng.normal(size=(n, m)) * 1.5 / np.sqrt(m), rng.normal(size=n) * 0.3) for m, n in pairwise(sizes)]
    net, prop, domain = folder / "small.onnx", folder / "low.vnnlib", folder / "domain.toml"
    net.write_bytes(layers_to_onnx(layers, activation))
    corner = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0])
    y = evaluate(read_network(net), draw_uniform(*corner, 20_000, torch.Generator().manual_seed(1)))
    bound = float(torch.quantile(y[:, 0], quantile)) if quantile < 1 else float(y[:, 0].max()) + 1.0
    lines = [f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1", "Y_2")]
    lines += [f"(assert (>= X_{i} 0.0))\n(assert (<= X_{i} 1.0))" for i in range(2)]
    prop.write_text("\n".join([*lines, f"(assert (>= Y_0 {bound:.6f}))"]) + "\n")
    domain.write_text(DOMAIN)
    return Case(net, prop, domain)


@pytest.mark.thorough
@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Sigmoid", "LeakyRelu"])
def test_a_small_network_is_repaired_and_the_file_is_proved(tmp_path: Path, activation: str) -> None:
    case = build(tmp_path, activation)
    outcome = repair_files(case.request(), settings=FAST)
    assert outcome.result == "proved"
    assert outcome.out is not None
    (entry,) = outcome.properties
    assert (entry.before, entry.after, entry.role) == ("violated", "proved", "goal")
    # someone else's opinion of the file that was written
    again = verify_files(Path(outcome.out), [case.prop], settings=VerifySettings())
    assert isinstance(again.verdicts[0].verdict, Proved)
    assert outcome.fidelity is not None
    assert outcome.fidelity.decision_agreement is not None
    assert outcome.fidelity.decision_agreement > 0.85
    assert outcome.efficacy is not None
    assert outcome.efficacy.by_proof
    assert outcome.drawdown.properties[0].share == 0
    report = json.loads(Path(str(outcome.report)).read_text())
    assert report["outcome"] == "proved"


@pytest.mark.thorough
def test_the_file_keeps_its_graph_and_onnxruntime_agrees_with_what_was_proved(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    before = hashlib.sha256(case.net.read_bytes()).hexdigest()
    outcome = repair_files(case.request(), settings=FAST)
    assert hashlib.sha256(case.net.read_bytes()).hexdigest() == before
    assert outcome.out is not None
    old, new = onnx.load(case.net), onnx.load(outcome.out)
    for model in (old, new):
        del model.graph.initializer[:]
    assert old == new
    assert outcome.out_sha256 == hashlib.sha256(Path(outcome.out).read_bytes()).hexdigest()
    net, replay = read_network(outcome.out), OnnxReplay(Path(outcome.out).read_bytes())
    prop = read_property(case.prop)
    for x in torch.rand(200, 2, generator=torch.Generator().manual_seed(2)):
        y = replay(x.numpy())
        assert np.allclose(y, evaluate(net, x[None])[0].numpy(), atol=1e-5)
        assert not prop.violated([float(v) for v in x], [float(v) for v in y])


def test_a_counterexample_violates_when_replayed(tmp_path: Path) -> None:
    case = build(tmp_path, "Tanh")
    outcome = repair_files(case.request(), settings=FAST)
    prop, replay = read_property(case.prop), OnnxReplay(case.net.read_bytes())
    witnesses = outcome.properties[0].counterexamples
    assert witnesses
    for witness in witnesses:
        assert prop.violated(witness.x, [float(v) for v in replay(np.array(witness.x, np.float32))])


def test_nothing_to_repair_writes_no_network(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu", quantile=1.0)
    outcome = repair_files(case.request(), settings=FAST)
    assert outcome.result == "nothing_to_repair"
    assert outcome.out is None
    assert not list(tmp_path.rglob("*.repaired.onnx"))


@pytest.mark.thorough
@pytest.mark.parametrize(("word", "result"), [("proved", "nothing_to_repair"), ("unknown", "sampled")])
def test_a_candidate_that_changes_nothing_is_no_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, result: str
) -> None:
    """Nothing is known to violate: no file is called repaired, whether the proof succeeds later or not."""
    case = build(tmp_path, "Relu", quantile=1.0)
    unknown = Answer(verdict=Unknown(reason="timeout", boxes=0), verify_s=0.0)
    monkeypatch.setattr(repairing, "decide", lambda *asked, **more: unknown)
    if word == "unknown":
        decided = judging.decide
        monkeypatch.setattr(
            judging, "decide", lambda *asked, **more: unknown if not more.get("cheap") else decided(*asked, **more)
        )
    outcome = repair_files(case.request(method="finetune"), settings=FAST)
    assert (outcome.result, outcome.out, outcome.change) == (result, None, {})
    assert outcome.properties[0].before == word
    assert not [path for path in tmp_path.rglob("*.onnx") if path != case.net]


def test_without_a_domain_fidelity_is_not_measured(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(domain=None, decision=None), settings=FAST)
    assert outcome.fidelity is None
    assert "give --domain" in outcome.fidelity_note
    assert outcome.decision == "none"


def test_the_domain_may_be_where_the_properties_speak(tmp_path: Path) -> None:
    """The corner [0, 1]^2, and that of what is kept does not count."""
    case = build(tmp_path, "Relu")
    kept, more = tmp_path / "kept.vnnlib", tmp_path / "more.vnnlib"
    kept.write_text(case.prop.read_text().replace("(>= X_0 0.0)", "(>= X_0 -9.0)"))
    more.write_text(case.prop.read_text().replace("(<= X_1 1.0)", "(<= X_1 2.0)"))
    one = read_case(CaseFiles.of(case.request(domain="property", keep=(kept,))))
    assert one.domain == Domain(lower=(0.0, 0.0), upper=(1.0, 1.0), source="the input regions of low")
    two = read_case(CaseFiles.of(case.request(domain="property", props=(case.prop, more))))
    assert two.domain == Domain(lower=(0.0, 0.0), upper=(1.0, 2.0), source="the input regions of low, more")


@pytest.mark.thorough
@pytest.mark.parametrize("pairing", ["input", "output"])
def test_other_pairings_repair_too(tmp_path: Path, pairing: str) -> None:
    outcome = repair_files(build(tmp_path, "Relu").request(pairing=pairing), settings=FAST)
    assert outcome.result == "proved"


@pytest.mark.thorough
def test_a_seed_repeats_the_repair(tmp_path: Path) -> None:
    digests = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        outcome = repair_files(build(folder, "Relu").request(seed=7), settings=FAST)
        assert outcome.out is not None
        digests.append(weights_sha256(read_network(outcome.out)))
    assert digests[0] == digests[1]


@dataclass
class Stopper:
    """A user who stops at the first news of training."""

    asked: bool = False

    def update(self, news: Progress) -> None:
        self.asked = self.asked or news.phase in ("imitating", "solving")

    def stopped(self) -> bool:
        return self.asked


def test_stopping_keeps_the_attempt_on_disk_and_says_so(tmp_path: Path) -> None:
    outcome = repair_files(build(tmp_path, "Relu").request(), watch=Stopper(), settings=FAST)
    assert outcome.interrupted
    assert outcome.result == "sampled" or outcome.result == "violated"
    assert outcome.out is not None
    assert Path(outcome.out).exists()
    assert not list(tmp_path.rglob(".draft*"))


def test_who_stops_the_drawing_did_not_stop_the_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided before is no less decided, and no time limit ended it."""
    watch, right = Stopper(), repairing.repair_pictures
    monkeypatch.setattr(Stopper, "update", lambda self, news: None)

    def drawn(*asked: object) -> object:
        watch.asked = True
        return right(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(repairing, "repair_pictures", drawn)
    outcome = repair_files(build(tmp_path, "Relu").request(), watch=watch, settings=FAST)
    assert (outcome.result, outcome.interrupted, watch.asked) == ("proved", False, True)


@pytest.mark.thorough
@pytest.mark.parametrize("end", [KeyboardInterrupt, MemoryError, MismatchError])
@pytest.mark.parametrize("rounds", [1, 2])
def test_no_draft_stays_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, end: type[BaseException]
) -> None:
    """The best attempt does, where there is one."""
    left = rounds

    def ends(*args: object, **options: object) -> Attempt:
        nonlocal left
        left -= 1
        if not left:
            raise end("planted")
        return Attempt(loaded=args[0])

    monkeypatch.setattr("birdnn.pipeline.candidates.decide_all", ends)
    out = tmp_path / "new" / "out"
    with pytest.raises(end):
        repair_files(build(tmp_path, "Relu").request(out=out), settings=FAST)
    if rounds == 1:
        assert not out.parent.exists()
    else:
        assert [path.name for path in out.iterdir()] == ["small.attempt.onnx"]


def test_the_time_limit_holds(tmp_path: Path) -> None:
    outcome = repair_files(build(tmp_path, "Relu").request(timeout_s=0.1), settings=FAST)
    assert outcome.wall_s < 10
    assert outcome.timed_out
    assert outcome.result != "proved"


def test_the_time_limit_ends_a_hunt(tmp_path: Path) -> None:
    """One attack of this effort takes minutes."""
    endless = replace(FAST, hunt=AttackSettings(evaluations=10**9), light_hunt=AttackSettings(evaluations=10**8))
    outcome = repair_files(build(tmp_path, "Relu").request(timeout_s=2.0), settings=endless)
    assert outcome.timed_out
    assert outcome.wall_s < 15


def test_an_attempt_without_answers_is_not_proved(tmp_path: Path) -> None:
    attempt = Attempt(loaded=load_network(build(tmp_path, "Relu").net))
    # not looked at counts as badly as violated: otherwise an unexamined candidate would beat a refuted one
    assert attempt.rank(["low"]) == (False, -1, 0)
    assert attempt.guarantee("low") == "unknown"


@pytest.mark.thorough
def test_one_property_that_cannot_be_repaired_does_not_cost_the_others(tmp_path: Path) -> None:
    """Planted: whatever output 0 is, it is unsafe near (-0.9, -0.9)."""
    case = build(tmp_path, "Relu")
    hopeless = tmp_path / "hopeless.vnnlib"
    lines = [f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1", "Y_2")]
    lines += [f"(assert (>= X_{i} -0.91))\n(assert (<= X_{i} -0.9))" for i in range(2)]
    hopeless.write_text("\n".join([*lines, "(assert (or (>= Y_0 0.0) (<= Y_0 0.0)))"]) + "\n")
    retrain = replace(FAST.retrain, constraints=20, steps=3, ridges=(0.3,))  # what contradicts itself is slow to solve
    small = AttackSettings(evaluations=1000)
    brief = replace(FAST, rounds=3, retrain=retrain, hunt=small, light_hunt=small, slice_boxes=20_000)
    after = {}
    for as_many in (False, True):
        asked = {"props": (hopeless, case.prop), "as_many": as_many, "method": "retrain"}
        request = case.request(**asked, out=tmp_path / str(as_many))
        outcome = repair_files(request, settings=brief)
        assert outcome.result == "violated"
        after[as_many] = {entry.name: entry.after for entry in outcome.properties}
    assert after[False]["low"] != "proved", "nothing to show"
    assert after[True] == {"hopeless": "violated", "low": "proved"}
    assert "Of 2 properties 0 were proved before and 1 are now." in outcome.notes
    assert outcome.out is not None
    assert outcome.out.endswith(".repaired.onnx")
    assert outcome.headline.startswith("Partly repaired: 1 of 2 properties")


@pytest.mark.parametrize(("other", "repaired"), [("violated", True), ("unknown", False), ("proved", False)])
def test_of_as_many_as_possible_none_may_be_newly_violated(tmp_path: Path, other: str, repaired: bool) -> None:
    case = build(tmp_path, "Relu")
    command = _Repair(case.request(as_many=True, out=tmp_path / "o"), Unwatched(), FAST, None)
    command._decide_original()
    violated, undecided = command.before["low"], Unknown(reason="timeout", boxes=0)
    first = command.case.subjects[0]
    command.case = replace(command.case, subjects=(first, replace(first, prop=replace(first.prop, name="other"))))
    words = {"violated": violated.verdict, "unknown": undecided, "proved": Proved(boxes=1)}
    command.before["other"] = Answer(verdict=words[other], verify_s=0.0)
    won = Answer(verdict=Proved(boxes=1), verify_s=0.0)
    best = Attempt(loaded=command.case.loaded, answers={"low": won, "other": violated})
    assert command._may_be_called_repaired("violated", best) == repaired


def test_by_count_what_is_kept_comes_before_what_is_won(tmp_path: Path) -> None:
    loaded = load_network(build(tmp_path, "Relu").net)

    def attempt(*proved: str) -> Attempt:
        answer = Answer(verdict=Proved(boxes=1), verify_s=0.0)
        return Attempt(loaded=loaded, answers=dict.fromkeys(proved, answer))

    names, kept = ["kept", "one", "two"], ["kept"]
    attempts = [attempt(), attempt("one"), attempt("one", "two"), attempt("kept"), attempt("kept", "two")]
    ranks = [one.rank_by_count(names, kept) for one in [*attempts, attempt(*names)]]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
    assert [rank[0] for rank in ranks] == [False] * 5 + [True]


@pytest.mark.parametrize("source", ["region", "held out", "repair set"])
def test_every_sample_may_contradict_a_proof(tmp_path: Path, source: str) -> None:
    """Planted bug: a prover that says yes to everything. Uniform points meet a common violation, not a rare one."""
    case = build(tmp_path, "Relu", quantile=0.9 if source == "region" else 0.99999)
    plan = read_case(CaseFiles.of(case.request()))
    net, prop = plan.loaded.net, plan.subjects[0].prop
    hunt = make_hunter(FAST, lambda: False)
    liar = Comparison(
        before=net, after=net, case=plan, settings=FAST, seed=0, resample=hunt, replays=plan.loaded.replays
    )
    repaired = {}
    if source == "repair set":
        hard = hunt(net, prop.regions[0], torch.Generator().manual_seed(3), False)
        repaired["low"] = hard[prop.regions[0].margin(evaluate(net, hard)) <= 0]
    violated = frozenset({"low"} if source == "held out" else ())
    found = liar.measure(repaired, frozenset({"low"}), violated).contradicted
    assert set(found) == {"low"}
    assert prop.violated(found["low"].x, found["low"].y)
    assert not liar.measure({}, frozenset(), violated).contradicted
    if source != "region":
        assert not liar.measure({}, frozenset({"low"}), frozenset()).contradicted


def test_a_point_that_no_engine_confirms_contradicts_nothing(tmp_path: Path) -> None:
    """torch in float32 is no witness."""
    plan = read_case(CaseFiles.of(build(tmp_path, "Relu").request()))
    net = plan.loaded.net
    harmless = OnnxReplay(layers_to_onnx([(np.zeros((3, 2)), np.full(3, -1e9))]))
    comparison = Comparison(
        before=net,
        after=net,
        case=plan,
        settings=FAST,
        seed=0,
        resample=make_hunter(FAST, lambda: False),
        replays=(harmless,),
    )
    assert not comparison.measure({}, frozenset({"low"}), frozenset({"low"})).contradicted


def test_a_contradicted_proof_is_on_disk_and_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bugs: a repair that changes nothing, and a prover that believes in it."""
    honest, asked = judging.verify, []

    def liar(*args: object, **options: object) -> Verdict:
        asked.append(args)
        return honest(*args, **options) if len(asked) == 1 else Proved(boxes=7)

    monkeypatch.setattr(judging, "verify", liar)
    monkeypatch.setattr(judging, "falsify", lambda *args, **options: Unknown(reason="boxes", boxes=0))
    monkeypatch.setattr(Retrain, "propose", lambda self, *args, **options: self.task.net)
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(), settings=FAST)
    assert outcome.result == "violated"
    (entry,) = outcome.properties
    assert entry.after == "violated"
    assert entry.remaining is not None
    assert read_property(case.prop).violated(entry.remaining.x, entry.remaining.y)
    assert "low was proved (7 boxes" in outcome.disagreement
    report = json.loads(Path(str(outcome.report)).read_text())
    assert (report["outcome"], report["disagreement"]) == ("violated", outcome.disagreement)
    assert str(list(entry.remaining.y)) in report["disagreement"]


def nnet_text(layers: list[tuple[np.ndarray, np.ndarray]], inputs: int) -> str:
    """An NNet file of unit scaling; inputs between -1 and 1."""
    sizes = [inputs, *(len(bias) for _, bias in layers)]
    rows = [
        f"{len(layers)},{sizes[0]},{sizes[-1]},{max(sizes)},",
        ",".join(map(str, sizes)) + ",",
        "0,",
        "-1.0," * inputs,
        "1.0," * inputs,
        "0.0," * (inputs + 1),
        "1.0," * (inputs + 1),
    ]
    for weight, bias in layers:
        rows += [",".join(f"{v:.8e}" for v in row) + "," for row in weight]
        rows += [f"{v:.8e}," for v in bias]
    return "// small\n" + "\n".join(rows) + "\n"


def test_an_nnet_file_stays_one_and_brings_its_domain(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    values = read_network(case.net).chain()[::2]
    net = tmp_path / "small.nnet"
    net.write_text(nnet_text([(v.weight.numpy(), v.bias.numpy()) for v in values], 2))
    outcome = repair_files(case.request(net=net, domain=None), settings=FAST)
    assert outcome.result == "proved"
    assert outcome.out is not None
    assert outcome.out.endswith("small.repaired.nnet")
    assert outcome.certificate is None
    assert any("No certificate: the checker reads ONNX" in note for note in outcome.notes)
    assert outcome.domain is not None
    assert outcome.domain.lower == (-1.0, -1.0)
    export = Path(outcome.out).with_suffix(".onnx")
    x = torch.rand(50, 2)
    assert torch.allclose(evaluate(read_network(outcome.out), x), evaluate(read_network(export), x), atol=1e-6)
    again = verify_files(export, [case.prop], settings=VerifySettings())
    assert isinstance(again.verdicts[0].verdict, Proved)


def test_a_property_that_only_shares_a_name_does_not_hide_that_of_the_suite(tmp_path: Path) -> None:
    """The demo violates phi-2; a harmless file called prop_2 must not make that invisible."""
    data = Path(__file__).parents[2] / "birdnn" / "data"
    twin = tmp_path / "prop_2.vnnlib"
    twin.write_text((data / "properties" / "prop_3.vnnlib").read_text())
    request = RepairRequest(net=data / "demo.onnx", props=(twin,), suite="acasxu", out=tmp_path / "out")
    names = {subject.prop.name: subject.role for subject in read_case(CaseFiles.of(request)).asked}
    assert names["prop_2"] == "goal"
    assert names["prop_2 of suite acasxu"] == "suite"
    real = replace(request, props=(data / "properties" / "prop_2.vnnlib",))
    assert [s.prop.name for s in read_case(CaseFiles.of(real)).subjects].count("prop_2") == 1
    assert "prop_2 of suite acasxu" not in {s.prop.name for s in read_case(CaseFiles.of(real)).subjects}


def test_what_nobody_asked_about_is_looked_at_on_the_result(tmp_path: Path) -> None:
    """What was violated before was called "still violated", and what was undecided undecided, without a look."""
    case = build(tmp_path, "Relu")
    repaired = repair_files(case.request(), settings=FAST)
    assert repaired.result == "proved"
    command = _Repair(case.request(out=tmp_path / "o"), Unwatched(), FAST, None)
    command._decide_original()
    besides = (Applicable(prop=s.prop, path=s.path, text=s.text) for s in command.case.subjects)
    command.case = replace(command.case, subjects=tuple(besides))
    original, result = load_network(case.net), load_network(Path(str(repaired.out)))
    undecided = Answer(verdict=Unknown(reason="timeout", boxes=0), verify_s=0.0)
    violated = command.before["low"]
    for before, net, after in (
        (violated, original, "violated"),
        (violated, result, "unknown"),
        (undecided, original, "violated"),
    ):
        command.before["low"] = before
        best = Attempt(loaded=net)
        command._look_at_applicable(best)
        assert best.answers["low"].guarantee == after
