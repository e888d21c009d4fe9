"""After a proof fresh samples: they agree with a true one and contradict a false one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import birdnn
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import MismatchError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline import judging, repairing
from birdnn.pipeline.clock import Deadline
from birdnn.pipeline.fresh_samples import DELTA, FreshSamples, sample_afresh
from birdnn.pipeline.load import Loaded, load_network, load_property
from birdnn.pipeline.measuring import Comparison
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.reporting import report_files
from birdnn.records import Progress, Proved, RepairRequest, Unknown, Unwatched
from birdnn.repair import Retrain
from birdnn.report.pages import html_page
from birdnn.sample.pac import upper_limit
from birdnn.spec import Property
from birdnn.verify import verify
from tests.cli.conftest import Call, box_property, call  # noqa: F401 - a fixture
from tests.pipeline.test_repairing import FAST, build

SUM = [(np.array([[1.0, 1.0]]), np.array([0.0]))]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """``x0 + x1``."""
    path = tmp_path / "sum.onnx"
    path.write_bytes(layers_to_onnx(SUM))
    return load_network(path)


def stated(loaded: Loaded, name: str, limit: float) -> Property:
    """Over the unit square the sum stays below a limit."""
    path = loaded.path.parent / f"{name}.vnnlib"
    path.write_text(box_property(2, f"(>= Y_0 {limit})"))
    return load_property(path, loaded, "normalised")


def leg(loaded: Loaded, *props: Property, samples: int = 5000, looks: int = 10**9) -> FreshSamples:
    looked = iter(range(looks))
    deadline = Deadline(until=float("inf"), stopped=lambda: next(looked, None) is None)
    return sample_afresh(loaded, props, samples=samples, seed=0, watch=Unwatched(), deadline=deadline)


def test_it_agrees_with_a_true_proof(loaded: Loaded) -> None:
    found = leg(loaded, stated(loaded, "a", 2.5), stated(loaded, "b", 3.5))
    assert not found.contradicted
    for bound in found.bounds.values():
        assert (bound.n, bound.violations, bound.delta) == (5000, 0, DELTA / 2)
        assert bound.epsilon == upper_limit(0, 5000, DELTA / 2)
        assert bound.measure == "uniform on the region"


def test_one_violation_in_a_thousand_contradicts(loaded: Loaded) -> None:
    prop = stated(loaded, "a", 2 - 0.002**0.5)
    found = leg(loaded, prop)
    assert found.bounds["a"].violations < 20
    witness = found.contradicted["a"]
    assert prop.violated(witness.x, witness.y)


def test_what_no_engine_confirms_contradicts_nothing_and_is_counted(loaded: Loaded) -> None:
    harmless = OnnxReplay(layers_to_onnx([(np.zeros((1, 2)), np.zeros(1))]))
    found = leg(replace(loaded, replays=(harmless,)), stated(loaded, "a", 1.5))
    assert not found.contradicted
    assert found.bounds["a"].violations > 100


def test_it_ends_when_time_is_up_and_says_how_far_it_came(loaded: Loaded) -> None:
    found = leg(loaded, stated(loaded, "a", 2.5), stated(loaded, "b", 3.5), looks=1)
    assert list(found.bounds) == ["a"]
    assert 0 < found.bounds["a"].n < 5000


def test_a_repair_states_what_it_sampled(tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(samples=3000), settings=FAST)
    assert outcome.result == "proved"
    (entry,) = json.loads(Path(str(outcome.report)).read_text())["properties"]
    assert entry["after"] == "proved"
    assert (entry["sampled"]["n"], entry["sampled"]["violations"], entry["sampled"]["delta"]) == (3000, 0, DELTA)


class Liar:
    """A prover that is honest for so many questions, then says yes to everything."""

    def __init__(self, honest: int) -> None:
        self.honest = honest

    def __call__(self, *args: object, **options: object) -> object:
        self.honest -= 1
        return verify(*args, **options) if self.honest >= 0 else Proved(boxes=7)


@pytest.mark.thorough
@pytest.mark.parametrize("honest", [0, 1], ids=["nothing to repair", "repaired"])
def test_samples_alone_overrule_a_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: int) -> None:
    """Planted bugs: a repair that changes nothing, a prover that believes in it, and metrics that do not look."""
    monkeypatch.setattr(judging, "falsify", lambda *args, **options: Unknown(reason="boxes", boxes=0))
    monkeypatch.setattr(Retrain, "propose", lambda self, *args, **options: self.task.net)
    monkeypatch.setattr(Comparison, "_counterexample", lambda self, *args: None)
    case = build(tmp_path, "Relu")
    outcomes = []
    for samples in (2000, 0):
        monkeypatch.setattr(judging, "verify", Liar(honest))
        outcomes.append(repair_files(case.request(samples=samples, out=tmp_path / str(samples)), settings=FAST))
    seeing, blind = outcomes
    (entry,) = seeing.properties
    assert (seeing.result, entry.after) == ("violated", "violated")
    assert "low was proved (7 boxes" in seeing.disagreement
    assert entry.sampled is not None
    assert entry.sampled.violations > 0
    assert entry.counterexamples
    assert blind.result == ("proved" if honest else "nothing_to_repair")
    if honest:
        assert json.loads(Path(str(seeing.report)).read_text())["disagreement"] == seeing.disagreement


DEMO = Path(birdnn.__file__).parent / "data"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("samples", "drawn"),
    [(None, {"prop_2"}), (3000, {"prop_2", "prop_1", "prop_3", "prop_4"})],
    ids=["by default", "asked for"],
)
def test_what_nobody_asked_about_is_sampled_only_where_a_number_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: int | None, drawn: set[str]
) -> None:
    """Ten million points of each applicable property were most of the time of `--report`."""
    monkeypatch.setattr(repairing, "SAMPLES", 1000)
    request = RepairRequest(
        net=DEMO / "demo.onnx",
        props=(DEMO / "properties" / "prop_2.vnnlib",),
        method="finetune",
        out=tmp_path / "out",
        samples=samples,
        report=True,
    )
    heard: list[str] = []

    class Hearing(Unwatched):
        def update(self, progress: Progress) -> None:
            heard.append(progress.phase)

    outcome = repair_files(request, settings=FAST, watch=Hearing())
    assert outcome.result == "proved"
    report = json.loads(Path(str(outcome.report)).read_text())
    found = {p["name"]: p["sampled"]["n"] for p in (*report["properties"], *report["watched"]) if p["sampled"]}
    proved = {name for name in drawn if name in found}
    assert proved == set(found)
    assert drawn - proved <= {w["name"] for w in report["watched"] if w["after"] != "proved"}
    assert set(found.values()) == {1000 if samples is None else samples}
    assert len(found) > 1 or samples is None
    said = {phase.split(" after")[0] for phase in heard if phase.startswith("sampling")}
    assert said == {f"sampling {name}" for name in found}
    html = html_page(report_files(tmp_path / "out"))
    table = html[html.index('id="t-pac"') :] if 'id="t-pac"' in html else html[html.index("t-pac") :]
    table = table[: table.index("</table>")]
    assert all(f">{name}<" in table for name in found)


def test_the_command_line_and_python_draw_the_same_number(
    call: Call,  # noqa: F811 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests: list[RepairRequest] = []

    def caught(request: RepairRequest, **options: object) -> None:
        requests.append(request)
        raise MismatchError("caught")

    monkeypatch.setattr("birdnn.pipeline.repairing.repair_files", caught)
    monkeypatch.setattr("birdnn.api.asking.repair_files", caught)
    asked = ["repair", "--net", DEMO / "demo.onnx", "--prop", DEMO / "properties" / "prop_2.vnnlib"]
    for more in ([], ["--report"], ["--samples", 7]):
        call(*asked, *more)
    for options in ({}, {"report": True}, {"samples": 7}):
        with pytest.raises(MismatchError):
            birdnn.repair(DEMO / "demo.onnx", DEMO / "properties" / "prop_2.vnnlib", out="nowhere", **options)
    drawn = [request.samples for request in requests]
    assert drawn[:3] == drawn[3:] == [None, None, 7]
