"""What a repair keeps, where that is measured, and what it is called: a proof alone is no success."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cartpole.train import SCALE, must_push_right, train
from birdnn.boxes import Boxes
from birdnn.errors import FormatError, MismatchError, OutputError
from birdnn.formats import read_network, read_property
from birdnn.formats.inputs import read_inputs
from birdnn.network import Network
from birdnn.pipeline.behaviour import Yardstick
from birdnn.pipeline.case import Case
from birdnn.pipeline.folder import ResultFolder
from birdnn.pipeline.methods import Stage
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.ruling import derived_rule
from birdnn.records import CaseFiles, PropertyRepair, RepairRequest, Tied, Unwatched, Watch
from birdnn.repair import Evidence, Goal, RepairTask, Retrain, RetrainSettings
from birdnn.repair.tie import contested_share
from birdnn.report.headline import result_in_words
from birdnn.sample import draw_uniform, evaluate
from birdnn.spec import Polytope, Property, Row
from tests.bounds.builders import make_property, random_net
from tests.pipeline.test_points import decided, small, table
from tests.pipeline.test_repairing import FAST, build
from tests.repair.tasks import closest

QUICK = replace(FAST, attack=FAST.light_hunt, hunt=FAST.light_hunt, before_boxes=2000)


def polytope(n: int, *rows: tuple[int, int]) -> Polytope:
    """``Y_i <= Y_j`` for each pair (i, j)."""
    made = []
    for i, j in rows:
        coefficients = [Fraction(0)] * n
        coefficients[i], coefficients[j] = Fraction(1), Fraction(-1)
        made.append(Row(tuple(coefficients), Fraction(0)))
    return Polytope(rows=tuple(made), n_outputs=n)


def says(*unsafe: Polytope) -> Property:
    return make_property([0.0], [1.0], *unsafe)


FIRST_IS_LEAST = says(polytope(3, (0, 1), (0, 2)))  # phi-3 of ACAS Xu: COC is not minimal
FIRST_IS_GREATEST = says(polytope(3, (1, 0), (2, 0)))
FIRST_MUST_BE_GREATEST = says(polytope(3, (0, 1)), polytope(3, (0, 2)))  # robustness of a classifier
FIRST_MUST_BE_LEAST = says(polytope(3, (1, 0)), polytope(3, (2, 0)))
A_CHAIN = says(polytope(3, (0, 1), (1, 2)))
ONE_COMPARISON = says(polytope(3, (0, 1)))
THRESHOLD = says(Polytope(rows=(Row((Fraction(1), Fraction(0), Fraction(0)), Fraction(2)),), n_outputs=3))
TWO = says(polytope(2, (1, 0)))


@pytest.mark.parametrize(
    ("props", "rule"),
    [
        ([FIRST_IS_LEAST], "argmin"),
        ([FIRST_IS_GREATEST], "argmax"),
        ([FIRST_MUST_BE_GREATEST], "argmax"),
        ([FIRST_MUST_BE_LEAST], "argmin"),
        ([FIRST_IS_LEAST, FIRST_MUST_BE_LEAST, THRESHOLD], "argmin"),
        ([FIRST_IS_LEAST, FIRST_IS_GREATEST], "none"),
        ([A_CHAIN], "none"),
        ([ONE_COMPARISON], "none"),
        ([THRESHOLD], "none"),
        ([TWO], "argmax"),
        ([], "none"),
    ],
)
def test_the_rule_is_read_from_properties_that_compare_outputs(props: Sequence[Property], rule: str) -> None:
    assert derived_rule(props) == rule


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained cart-pole policy, an unsafe case of it, and the whole domain."""
    folder = tmp_path_factory.mktemp("cartpole")
    (folder / "policy.onnx").write_bytes(train(0))
    wide = (-2.4, -3.0, -0.05, -1.0), (2.4, 3.0, 0.21, 3.0)
    (folder / "right.vnnlib").write_text(must_push_right(*wide))
    (folder / "domain.toml").write_text(f"lower = {[-s for s in SCALE]}\nupper = {list(SCALE)}\n")
    return folder


def actions(net: str | Path) -> torch.Tensor:
    """What the policy does over the whole domain."""
    reach = torch.tensor(SCALE).double()
    return evaluate(
        read_network(Path(net)), draw_uniform(-reach, reach, 20_000, torch.Generator().manual_seed(9))
    ).argmax(1)


class AlwaysRight:
    """A method whose candidate pushes right whatever the state: whoever proves it has proved the property."""

    def __init__(self, net: Network) -> None:
        self.net = net

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        return self.net.with_values({"B2": self.net.value("B2").detach() + torch.tensor([0.0, 1e4])})

    def remarks(self) -> tuple[str, ...]:
        return ()

    def ties(self) -> tuple[Tied, ...]:
        return ()

    def negatives(self) -> dict[str, torch.Tensor]:
        return {}


@pytest.mark.thorough
@pytest.mark.parametrize("domain", ["property", "domain.toml", None])
def test_a_constant_controller_is_no_success(
    controller: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domain: str | None
) -> None:
    """The old code called the constant policy repaired and proved, green, with status 0."""

    def stages(request: RepairRequest, plan: Case, task: RepairTask, broken: object, settings: object) -> list[Stage]:
        return [Stage(name="always right", make=lambda: AlwaysRight(task.net), rounds=1)]

    monkeypatch.setattr("birdnn.pipeline.repairing.stages", stages)
    before = actions(controller / "policy.onnx")
    assert 0.3 < float(before.double().mean()) < 0.7
    outcome = repair_files(
        RepairRequest(
            net=controller / "policy.onnx",
            props=(controller / "right.vnnlib",),
            domain=controller / domain if domain and domain != "property" else domain,
            max_mae=1e9,  # values are beside the point
            out=tmp_path / "o",
            samples=100,
        ),
        settings=QUICK,
    )
    assert outcome.result == "proved"
    assert outcome.out is not None
    assert bool((actions(outcome.out) == 1).all())
    report = outcome
    assert (outcome.decision, outcome.rule_by) == ("argmax", "property")
    assert outcome.behaviour_kept == "badly kept"
    assert report.headline.startswith("Proved, but behaviour is badly kept: 1 of 1 property that was asked about")
    assert re.search(r"same decision \(argmax, read from the properties; [0-9.]+ % by argmin\) on", report.headline)
    assert result_in_words(report).tone == "warn"


def test_a_rule_that_is_a_guess_is_not_what_behaviour_is_judged_by(controller: Path, tmp_path: Path) -> None:
    """phi-2 of ACAS Xu speaks for argmax, and the least output decides: all decisions lost were called kept."""
    generator = torch.Generator().manual_seed(0)
    before, after = torch.rand(1000, 3, generator=generator), torch.rand(1000, 3, generator=generator)
    after[torch.arange(1000), before.argmax(1)] = 2.0  # the greatest stays, the least does not
    request = RepairRequest(
        net=controller / "policy.onnx", props=(controller / "right.vnnlib",), out=tmp_path / "o", samples=100
    )
    plan = read_case(CaseFiles.of(request))
    assert plan.rule_by == "property"
    plan = replace(plan, decision="argmax")
    yardstick = Yardstick.of(plan, read_network(controller / "policy.onnx"))
    share, either = yardstick._agreement_by_rules(before, after)
    assert either is not None
    assert (share, either[1]) == (either[0], 1.0)
    assert either[0] < 0.7
    said_by_user = Yardstick.of(replace(plan, rule_by="option"), yardstick.before)
    assert said_by_user._agreement_by_rules(before, after) == (1.0, None)


@pytest.mark.parametrize("told", ["read from the property", "said", "not known"])
def test_outputs_that_compete_are_never_tied(controller: Path, told: str) -> None:
    """Without a decision rule nothing counted as lost, and the two actions of the policy were tied to each other."""
    net, prop = read_network(controller / "policy.onnx"), read_property(controller / "right.vnnlib")
    reach = torch.tensor(SCALE).double()
    task = RepairTask(
        net=net,
        goals=(Goal(prop=prop, repair=True, violated=True),),
        domain=(-reach, reach),
        decision="none" if told == "not known" else "argmax",
        rule_told=told == "said",
        resample=closest,
    )
    # at any price
    settings = RetrainSettings(
        ties=True, tied_outputs=1e9, domain_points=500, region_points=500, steps=1, tied_in_regions=1.0
    )
    repair = Retrain(task, settings)
    region = prop.regions[0]
    undecided = Evidence(undecided={prop.name: Boxes(region.lower[None], region.upper[None])})
    repair.propose(undecided, timeout_s=20, watch=Unwatched())
    assert not repair.tied
    assert task.may_tie == (told != "not known")


def test_a_contest_is_counted_on_both_sides() -> None:
    y = torch.tensor([[3.0, 2.0, 0.0]] * 6 + [[2.0, 3.0, 0.0]] * 3 + [[1.0, 0.0, 2.0]])
    assert contested_share(y, (0, 1), "argmax") == pytest.approx(0.3)
    assert contested_share(y, (0, 2), "argmax") == 0  # 2 comes first once, and 0 never first with 2 second
    assert contested_share(y, (0, 1, 2), "argmax") == pytest.approx(0.3)
    assert contested_share(y, (0,), "argmax") == pytest.approx(0.4)
    assert contested_share(y, (0, 1), "argmin") == 0
    assert contested_share(y, (0, 1), "none") == 0


def test_points_that_must_change_decide_nothing(tmp_path: Path) -> None:
    """read-17: only wrong points, no domain. Each candidate was compared on these: "0 % same decision"."""
    case, x, fixes = small(tmp_path)
    first = decided(str(case.net), x)
    wrong = table(tmp_path / "wrong.csv", x[:2], [[int(1 - min(1, c))] for c in first[:2].tolist()])
    outcome = repair_files(case.request(props=(), points=(wrong,), domain=None), settings=FAST)
    assert outcome.result == "proved"
    assert all(entry.kept.n > 1000 for entry in outcome.tried)
    assert all((entry.kept.decision_agreement or 0) > 0.05 for entry in outcome.tried)
    places = [entry.ground for entry in outcome.behaviour]
    assert places[0] == "surroundings"
    assert outcome.behaviour[0].where.startswith("surroundings of the 2 points of wrong")
    assert fixes.exists()


def test_without_a_domain_the_regions_are_measured_and_named(tmp_path: Path) -> None:
    outcome = repair_files(build(tmp_path, "Relu").request(domain=None), settings=FAST)
    assert [entry.ground for entry in outcome.behaviour] == ["regions", "beyond"]
    assert "the hull of the regions of low" in outcome.headline or outcome.behaviour_kept != "kept"


def labelled(folder: Path, net: Path, name: str, count: int = 500) -> Path:
    x = torch.rand(count, 2, generator=torch.Generator().manual_seed(len(name))) * 2 - 1
    y = evaluate(read_network(net), x).argmax(1)
    y[:50] = (y[:50] + 1) % 3  # what the network gets wrong
    np.savez(folder / f"{name}.npz", x=x.numpy(), y=y.numpy())
    return folder / f"{name}.npz"


def test_data_decide_and_test_examples_are_only_reported(tmp_path: Path) -> None:
    case, _, fixes = small(tmp_path)
    data, test = labelled(tmp_path, case.net, "data"), labelled(tmp_path, case.net, "testing", 400)
    outcome = repair_files(case.request(props=(), points=(fixes,), domain=None, data=data, test=test), settings=FAST)
    assert [entry.ground for entry in outcome.behaviour] == ["data", "test"]
    first, last = outcome.behaviour
    assert (first.labelled, first.right_before, first.n) == (500, 450, 450)  # the wrong ones need not be kept
    assert (last.labelled, last.right_before) == (400, 350)
    net = read_network(Path(str(outcome.out)))
    held = np.load(test)
    right = int((evaluate(net, torch.from_numpy(held["x"])).argmax(1) == torch.from_numpy(held["y"])).sum())
    assert last.right_after == right
    assert {entry.kept.n for entry in outcome.tried} == {450}
    with pytest.raises(MismatchError, match="which output decides"):
        read_case(CaseFiles.of(case.request(data=data, decision="none")))


def net_of_two() -> Network:
    return random_net(0, (2, 4, 3))


def test_inputs_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("x_1,x_0,decision,more\n0.5,0.25,2,?\n\n1,2,COC,?\n")
    found = read_inputs(path, net_of_two(), ["COC", "WL", "WR"])
    assert found.x.tolist() == [[0.25, 0.5], [2.0, 1.0]]
    assert found.y is not None
    assert found.y.tolist() == [2, 0]
    path.write_text("x_0,x_1\n0.5,0.25\n")
    assert read_inputs(path, net_of_two()).y is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x_0\n1\n", "column 'x_1'"),
        ("x_0,x_1\n1\n", "line 2"),
        ("x_0,x_1\n1,a\n", "'a'; a decimal"),
        ("x_0,x_1\n1,nan\n", "'nan'; a decimal"),
        ("x_0,x_1\n1,1_0\n", "'1_0'; a decimal"),
        ("x_0,x_1\n1,1e-999999999\n", "a decimal"),
        ("x_0,x_1\n1,1e39\n", "what float32 cannot hold"),
        ("x_0,x_1\n1,1e399\n", "what float32 cannot hold"),
        ("x_0,x_1,decision\n1,1,7\n", "output 7"),
        ("x_0,x_1,decision\n1,1,x\n", "decision 'x'"),
        ("x_0,x_1\n", "no input"),
    ],
)
def test_bad_inputs_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=told):
        read_inputs(path, net_of_two())


def test_bad_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    path.write_bytes(b"PK no archive")
    with pytest.raises(FormatError, match=r"no \.npz file"):
        read_inputs(path, net_of_two())
    for arrays, told in (
        ({"a": np.zeros((3, 2))}, "no array x"),
        ({"x": np.zeros((3, 2), int)}, "floats"),
        ({"x": np.zeros((3, 5))}, r"takes \(n, 2\)"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "3 indices"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(FormatError, match=told):
            read_inputs(path, net_of_two())


@pytest.mark.thorough
def test_the_change_is_held_and_told(tmp_path: Path) -> None:
    """A digits network had weights changed by up to 2.8e4."""

    def moved(outcome: PropertyRepair) -> float:
        assert outcome.out is not None
        before, after = (read_network(Path(path)).initialisers() for path in (outcome.net, outcome.out))
        last = list(before)[-2:]
        size = sum(float(before[n].detach().double().square().sum()) for n in last) ** 0.5
        return sum(float((after[n] - before[n]).detach().double().square().sum()) for n in last) ** 0.5 / size

    case = build(tmp_path, "Relu")
    free = repair_files(case.request(method="retrain", max_change=100.0), settings=FAST)
    share = moved(free)
    held = repair_files(
        case.request(method="retrain", max_change=share / 4, out=tmp_path / "held"), settings=replace(FAST, rounds=1)
    )
    assert moved(held) <= share / 4 * 1.001
    assert any("The change was held" in note for note in held.notes)
    assert not any("The change was held" in note for note in free.notes)


@pytest.mark.parametrize("role", ["data", "test", "points"])
def test_what_is_read_is_never_overwritten(tmp_path: Path, role: str) -> None:
    """By another name of the file, as no result is called so."""
    case = build(tmp_path, "Relu")
    mine, folder = tmp_path / "mine.csv", tmp_path / "out"
    mine.write_text("x_0,x_1\n0.5,0.5\n")
    folder.mkdir()
    (folder / "report.html").hardlink_to(mine)
    asked = case.request(out=folder, **{role: (mine,) if role == "points" else mine})
    with pytest.raises(OutputError):
        ResultFolder(asked).require_usable()
