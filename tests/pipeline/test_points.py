"""Point-wise repair: the whole way on small networks, and on the demonstration network."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import FormatError, MismatchError
from birdnn.formats import read_network
from birdnn.formats.suite import Suite
from birdnn.pipeline.load import load_network
from birdnn.pipeline.points import load_points
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.repairing import repair_files
from birdnn.records import CaseFiles, Proved, RepairRequest, Violated
from birdnn.repair.aims import Aim
from birdnn.repair.protocol import Goal
from birdnn.sample import draw_from_property, draw_uniform, evaluate
from birdnn.spec import Property
from birdnn.verify import AttackSettings, SearchSettings, attack, verify
from tests.pipeline.test_repairing import FAST, Case, build

DEMO = Path(__file__).parents[2] / "birdnn" / "data" / "demo.onnx"


def table(path: Path, x: Tensor, wished: Sequence[Sequence[float]], names: Sequence[str] = ("decision",)) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(f"x_{i}" for i in range(x.shape[1])), *names])
        rows.writerows([*map(repr, point), *wish] for point, wish in zip(x.tolist(), wished, strict=True))
    return path


def close(path: Path, count: int, lower: Tensor, upper: Tensor, sign: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs at which two outputs are close: the inputs, and what comes first and second there."""
    net = read_network(path)
    x = draw_uniform(lower, upper, 20_000, torch.Generator().manual_seed(8))
    best = (sign * evaluate(net, x)).topk(2, 1)
    order = (best.values[:, 0] - best.values[:, 1]).argsort()[5 : 20 * count : 20]
    return x[order], best.indices[order, 0], best.indices[order, 1]


def small(folder: Path) -> tuple[Case, Tensor, Path]:
    """A small network and a file of ten points: five get the runner-up, five stay as they are."""
    case = build(folder, "Relu")
    x, first, second = close(case.net, 10, -torch.ones(2).double(), torch.ones(2).double(), 1)
    wanted = torch.where(torch.arange(len(x)) < 5, second, first)
    return case, x, table(folder / "fixes.csv", x, wanted[:, None].tolist())


def decided(out: str | None, x: Tensor) -> Tensor:
    """What someone else says of the file that was written: the greatest output of each point."""
    assert out is not None
    replay = OnnxReplay(Path(out).read_bytes())
    return torch.tensor([int(np.argmax(replay(point.numpy()))) for point in x])


def wishes(path: Path) -> Tensor:
    with path.open(newline="") as file:
        return torch.tensor([int(row["decision"]) for row in csv.DictReader(file)])


@pytest.mark.thorough
def test_points_get_their_decisions_and_neighbours_are_measured(tmp_path: Path) -> None:
    case, x, fixes = small(tmp_path)
    request = case.request(props=(), points=(fixes,), points_radius=0.02)
    outcome = repair_files(request, settings=FAST)
    assert outcome.result == "proved"
    (entry,) = outcome.properties
    assert (entry.name, entry.role, entry.before, entry.after) == ("fixes", "goal", "violated", "proved")
    assert entry.text == "the answer wished for at 10 points"
    assert (decided(str(case.net), x) != wishes(fixes)).sum() == 5
    assert torch.equal(decided(outcome.out, x), wishes(fixes))
    assert outcome.efficacy is not None
    assert (outcome.efficacy.hits, outcome.efficacy.n) == (5, 5)
    assert (outcome.drawdown.properties[0].n, outcome.drawdown.properties[0].share) == (5, 0.0)
    # the proof is about the points: of their neighbours only a count is known
    assert outcome.generalisation is None
    (around,) = outcome.neighbours
    assert (around.points, around.n, around.radius) == (10, 1000, 0.02)
    assert not around.generalisation.by_proof
    assert around.generalisation.n == round((1 - around.before) * around.n)
    assert around.after > around.before
    report = json.loads(Path(str(outcome.report)).read_text())
    assert report["neighbours"][0]["generalisation"]["hits"] == around.generalisation.hits


@pytest.mark.thorough
def test_outputs_up_to_a_tolerance(tmp_path: Path) -> None:
    case = build(tmp_path, "Tanh")
    x = torch.tensor([[0.25, -0.5], [0.5, 0.5], [-0.75, 0.1]])
    y = evaluate(read_network(case.net), x)
    y[0] += 0.05
    fixes = table(tmp_path / "fixes.csv", x, y.tolist(), ["y_0", "y_1", "y_2"])
    request = case.request(props=(), points=(fixes,), points_tolerance=0.01)
    outcome = repair_files(request, settings=FAST)
    assert outcome.result == "proved"
    assert outcome.out is not None
    replay = OnnxReplay(Path(outcome.out).read_bytes())
    for point, wanted in zip(x, y, strict=True):
        assert np.abs(replay(point.numpy()) - wanted.numpy()).max() <= 0.01
    with pytest.raises(MismatchError, match=r"fixes\.csv, line 2: .*--points-tolerance"):
        read_case(CaseFiles.of(replace(request, points_tolerance=None)))


@pytest.mark.thorough
def test_points_beside_a_property(tmp_path: Path) -> None:
    case, x, fixes = small(tmp_path)
    outcome = repair_files(case.request(points=(fixes,)), settings=FAST)
    assert outcome.result == "proved"
    assert [p.name for p in outcome.properties] == ["low", "fixes"]
    assert torch.equal(decided(outcome.out, x), wishes(fixes))
    # the property keeps its own generalisation; points have theirs
    assert outcome.generalisation is not None
    assert outcome.generalisation.by_proof
    assert list(outcome.region_fidelity) == ["low"]


def test_points_that_are_right_need_no_repair(tmp_path: Path) -> None:
    case, x, _ = small(tmp_path)
    right = table(tmp_path / "right.csv", x, decided(str(case.net), x)[:, None].tolist())
    assert repair_files(case.request(props=(), points=(right,)), settings=FAST).result == "nothing_to_repair"


def test_what_is_asked_must_make_sense(tmp_path: Path) -> None:
    case, x, fixes = small(tmp_path)
    with pytest.raises(MismatchError, match="--decision argmin or --decision argmax"):
        read_case(CaseFiles.of(case.request(props=(), points=(fixes,), decision=None)))
    assert len(read_case(CaseFiles.of(case.request(props=(), points=(fixes, fixes)))).subjects) == 1
    # the same float32, written differently
    with fixes.open("a") as file:
        file.write(f"{x[0, 0].item():.12f},{x[0, 1].item():.12f},{wishes(fixes)[0]}\n")
    (subject,) = read_case(CaseFiles.of(case.request(props=(), points=(fixes,)))).subjects
    assert len(subject.prop.regions) == 10
    with fixes.open("a") as file:
        file.write(
            f"{x[0, 0].item():.12f},{x[0, 1].item():.12f},{3 - wishes(fixes)[0] - decided(str(case.net), x)[0]}\n"
        )
    with pytest.raises(FormatError, match="line 13: asks for another answer than line 2"):
        read_case(CaseFiles.of(case.request(props=(), points=(fixes,))))


def test_raw_units_are_brought_to_the_networks(tmp_path: Path) -> None:
    lines = "x_0,x_1,x_2,x_3,x_4,decision\n19791.091,0,0,650,600,COC\n"
    (tmp_path / "raw.csv").write_text(lines)
    request = RepairRequest(net=DEMO, points=(tmp_path / "raw.csv",), units="raw")
    subject = next(s for s in read_case(CaseFiles.of(request)).asked if s.role == "goal")
    (region,) = subject.prop.regions
    assert region.exact_lower == region.exact_upper == (0, 0, 0, 0, 0)
    # argmin decides: COC has to be below each of the others
    y = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 1.0, 0.5, 1.0], [1.0, 0.5, 2.0, 2.0, 2.0]])
    assert region.margin(y).tolist() == [1.0, 0.0, -0.5]


@pytest.fixture
def demo(tmp_path: Path) -> tuple[Path, Property]:
    """100 points of the demonstration network's domain; the first ten get the runner-up."""
    x, first, second = close(DEMO, 100, *Suite.load("acasxu").domain(), -1)
    wanted = torch.where(torch.arange(len(x)) < 10, second, first)
    path = table(tmp_path / "fixes.csv", x, wanted[:, None].tolist())
    return path, load_points(path, load_network(DEMO), "argmin", None, "normalised")


def test_a_point_is_drawn_once_and_needs_no_hunt(demo: tuple[Path, Property]) -> None:
    _, prop = demo
    xs = draw_from_property(prop, 100_000, torch.Generator().manual_seed(0))
    assert [len(x) for x in xs] == [1] * 100
    net, generator = read_network(DEMO), torch.Generator().manual_seed(0)
    assert torch.equal(attack(net, prop.regions[1], settings=AttackSettings(), generator=generator), xs[1])


def test_hundreds_of_points_are_one_box_each(demo: tuple[Path, Property]) -> None:
    _, prop = demo
    right = replace(prop, regions=prop.regions[10:])
    loaded = load_network(DEMO)
    assert verify(loaded.net, right, settings=SearchSettings(), replays=loaded.replays) == Proved(boxes=90)
    verdict = verify(loaded.net, prop, settings=SearchSettings(), replays=loaded.replays)
    assert isinstance(verdict, Violated)


def test_a_point_learns_its_own_answer_once(demo: tuple[Path, Property]) -> None:
    """Counterexamples are handed to every region of their property; another point has another answer."""
    _, prop = demo
    net, generator = read_network(DEMO).float(), torch.Generator().manual_seed(0)
    goal = Goal(prop=prop, repair=True, violated=True)
    aim = Aim.of(goal, prop.regions[0], net, share=0.02, samples=10, generator=generator)
    for _ in range(3):
        aim.absorb(torch.cat(draw_from_property(prop, 1, generator)), net, generator)
    assert torch.equal(aim.pool, prop.regions[0].lower[None].float())


@pytest.mark.thorough
def test_the_demonstration_network(demo: tuple[Path, Property], tmp_path: Path) -> None:
    path, prop = demo
    request = RepairRequest(net=DEMO, points=(path,), out=tmp_path / "out")
    outcome = repair_files(request, settings=FAST)
    assert outcome.result == "proved"
    assert outcome.tried[0].result == "proved", "seventeen were tried, whose margins no proof about float32 could see"
    assert outcome.efficacy is not None
    assert outcome.efficacy.n == 10
    assert outcome.fidelity is not None
    assert outcome.fidelity.decision_agreement is not None
    assert outcome.fidelity.decision_agreement > 0.98
    replay = OnnxReplay(Path(str(outcome.out)).read_bytes())
    answers = [int(np.argmin(replay(region.lower.float().numpy()))) for region in prop.regions]
    assert answers == wishes(path).tolist()
