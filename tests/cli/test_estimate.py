"""``birdnn estimate``: what is printed and written, exit statuses, numbers and files that make no sense."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from birdnn.cli.interrupt import Interrupt
from birdnn.pipeline import estimating
from birdnn.records import EstimateOutcome, RareEvent
from birdnn.report.publish import model_of
from tests.cli.conftest import Call, box_property


def report(call: Call, tmp_path: Path, *arguments: object) -> dict[str, Any]:
    """The JSON that a command writes; checked against the published model."""
    target = tmp_path / "e.json"
    done = call("estimate", *arguments, "--json", target, "--quiet")
    assert done.status == 0, done.err
    model_of(EstimateOutcome).model_validate_json(target.read_text())
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def test_a_violated_property_by_itself(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """Half of the sum's values above 1.5 in the unit square: 1/8."""
    found = report(call, tmp_path, "--net", net, "--prop", broken, "--samples", 20_000, "--seed", 3)
    (entry,) = found["properties"]
    assert (entry["n"], entry["asked"], entry["reached"]) == (20_000, None, None)
    assert entry["interval"]["lower"] < 0.125 < entry["interval"]["upper"]
    assert entry["bound"]["epsilon"] > entry["rate"] == entry["violations"] / 20_000
    assert entry["bound"]["measure"] == found["measure"] == "uniform on the region"
    assert 2 * entry["bound"]["delta"] == found["delta"] == 1e-3
    assert sum(entry["counterexample"]["x"]) >= 1.5
    assert entry["counterexample"]["replayed_by"] == ["onnxruntime"]
    assert entry["splitting"] is None
    assert entry["surrogates"] == []


def test_a_seed_repeats_a_run(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    arguments = ("--net", net, "--prop", broken, "--samples", 5000)
    counts = [
        report(call, tmp_path, *arguments, "--seed", seed)["properties"][0]["violations"] for seed in (1, 1, 2, 3)
    ]
    assert counts[0] == counts[1]
    assert len(set(counts)) > 1


def test_epsilon_says_how_many_and_delta_is_shared(
    call: Call, net: Path, holds: Path, broken: Path, tmp_path: Path
) -> None:
    """Two properties, three attempts: a sixth of delta each, half of that above; ln(1200) / 0.01 draws."""
    arguments = ("--net", net, "--prop", holds, "--prop", broken, "--epsilon", 0.01, "--delta", 0.01, "--attempts", 3)
    first, second = report(call, tmp_path, *arguments)["properties"]
    assert first["bound"]["delta"] == pytest.approx(0.01 / 12)
    assert (first["n"], first["violations"], first["reached"]) == (706, 0, True)
    assert first["bound"]["epsilon"] <= 0.01
    assert second["reached"] is False


@pytest.mark.parametrize("prop", ["holds", "broken"])
def test_anytime_stops_when_it_knows(call: Call, net: Path, prop: str, tmp_path: Path, request: Any) -> None:
    file = request.getfixturevalue(prop)
    arguments = ("--net", net, "--prop", file, "--anytime", "--epsilon", 0.01)
    (entry,) = report(call, tmp_path, *arguments)["properties"]
    assert entry["bound"]["anytime"]
    if prop == "holds":
        assert entry["reached"]
        assert 756 < entry["n"] <= 841  # between ln 2000 and ln 4000 over 0.01, and at most a look more
    else:
        assert not entry["reached"]
        assert entry["n"] < 687


@pytest.mark.thorough
def test_the_text_names_the_measure_at_every_statement(call: Call, net: Path, holds: Path, broken: Path) -> None:
    done = call("estimate", "--net", net, "--prop", holds, "--prop", broken, "--samples", 3000, "--splitting")
    assert done.status == 0
    text = " ".join(done.out.split())
    assert text.count("(uniform on the region)") == 4
    assert "holds at most 0.00277 of the measure (uniform on the region) violates it, confidence 99.975 %" in text
    assert "99.95 % interval" in text
    assert "no violation found in 10 repetitions (uniform on the region); that bounds nothing" in text
    pattern = r"about 0\.1\d of the measure \(.*?\) violates it, give or take a factor of 1\.\d\d \(10 repetitions\)"
    assert re.search(pattern + "; an estimate, no bound", text)
    assert "float32 inference by torch" in text
    assert "replayed by onnxruntime" in text
    assert "safe" not in text.lower()


@pytest.mark.thorough
def test_what_splitting_does_not_meet_an_attack_finds(
    call: Call, net: Path, broken: Path, holds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repetition climbs where it began; a part of the region that is far from there is never seen."""
    split = estimating.violation_probability

    def blind(*args: Any, **options: Any) -> tuple[RareEvent, torch.Tensor]:
        event, points = split(*args, **options)
        return replace(event, estimate=0.0, repetitions=(0.0,) * 10), points[:0]

    monkeypatch.setattr(estimating, "violation_probability", blind)
    for prop, found in ((broken, True), (holds, False)):
        done = call("estimate", "--net", net, "--prop", prop, "--samples", 1, "--splitting")
        text = " ".join((done.out + done.err).split())
        assert ("no repetition of splitting met the violation" in text) == found
        assert ("found by an attack, replayed by onnxruntime" in text) <= found


def test_samples_of_a_file_are_used_once(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """300 of 400 lie inside; the bound is the one for 300."""
    x = np.column_stack([np.linspace(0, 0.7, 400), np.linspace(0.001, 1.333, 400)])
    (tmp_path / "x.csv").write_text("\n".join(f"{a},{b}" for a, b in x))
    arguments = ("--net", net, "--prop", broken, "--measure", tmp_path / "x.csv")
    found = report(call, tmp_path, *arguments, "--epsilon", 0.001)
    (entry,) = found["properties"]
    inside = x[(x <= 1).all(1)]
    assert (entry["n"], entry["violations"]) == (len(inside), int((inside.sum(1) >= 1.5).sum()))
    assert entry["reached"] is False
    assert found["measure"] == "the samples of x.csv that lie in the region"
    (fewer,) = report(call, tmp_path, *arguments, "--samples", 100)["properties"]
    assert fewer["n"] == 100


def test_marginals_scenario_and_splitting(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    """With x0 between 0.9 and 1 the sum exceeds 1.5 for x1 above 1.5 - x0: 0.45 of the cases."""
    (tmp_path / "m.toml").write_text(
        'name = "east"\n[[inputs]]\ndistribution = "uniform"\nlower = 0.9\nupper = 3.0\n'
        '[[inputs]]\ndistribution = "uniform"\nlower = -1.0\nupper = 1.0\n'
    )
    arguments = ("--net", net, "--prop", broken, "--measure", tmp_path / "m.toml", "--samples", 4000, "--epsilon", 0.1)
    (entry,) = report(call, tmp_path, *arguments, "--splitting", "--scenario")["properties"]
    assert entry["rate"] == pytest.approx(0.45, abs=0.04)
    assert entry["splitting"]["estimate"] == pytest.approx(0.45, abs=0.01)
    (surrogate,) = entry["surrogates"]
    assert surrogate["coefficients"] == pytest.approx([-1, -1], abs=1e-5)
    assert surrogate["lowest"] == pytest.approx(-0.5, abs=1e-4)
    assert surrogate["delta"] == pytest.approx(1e-3 / 2)
    assert surrogate["epsilon"] == 0.1


def test_too_few_samples_for_a_surrogate(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0.5,0.5\n0.1,0.2\n")
    arguments = ("estimate", "--net", net, "--prop", broken, "--measure", tmp_path / "x.csv", "--scenario")
    done = call(*arguments, "--quiet")
    assert (done.status, done.out) == (4, "")
    assert re.search(r"2 samples .* state nothing; give \d+ for epsilon 0.5", done.err)


BAD = {
    "no CUDA": (("--device", "cuda"), "give --device cpu"),
    "no measure": (("--measure", "none.csv"), "none.csv: no such file"),
    "outside": (("--measure", "outside.csv"), "none of the 2 samples lies inside the input region of broken; give"),
    "wide": (("--measure", "wide.csv"), "wide.csv, line 1: 3 values; give 2"),
    "NaN": (("--measure", "nan.csv"), "nan.csv, line 2: 'nan' is no finite number"),
    "empty": (("--measure", "empty.csv"), "empty.csv, byte 0: the file is empty"),
    "splitting of samples": (("--measure", "fine.csv", "--splitting"), "give independent marginals (.toml)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(
    call: Call, net: Path, broken: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, piece = BAD[case]
    if case == "no CUDA":
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    files = {"outside": "5,5\n6,6\n", "wide": "1,2,3\n", "nan": "0,0\n0,nan\n", "empty": "", "fine": "0.5,0.5\n"}
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    done = call("estimate", "--net", net, "--prop", broken, "--json", tmp_path / "e.json", "--quiet", *arguments)
    assert (done.status, done.out) == (4, ""), done.err
    assert piece in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "e.json").exists()


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--epsilon", "0", "a number greater than 0 and less than 1"),
        ("--epsilon", "1.5", "a number greater than 0 and less than 1"),
        ("--epsilon", "nan", "a number greater than 0 and less than 1"),
        ("--delta", "1", "a number greater than 0 and less than 1"),
        ("--delta", "-1", "a number greater than 0 and less than 1"),
        ("--samples", "0", "a whole number of at least 1"),
        ("--attempts", "0", "a whole number of at least 1"),
    ],
)
def test_numbers_without_meaning(call: Call, net: Path, broken: Path, option: str, value: str, expected: str) -> None:
    done = call("estimate", "--net", net, "--prop", broken, option, value)
    assert (done.status, done.out) == (2, "")
    assert f"Invalid value for {option}: {expected} is expected" in " ".join(done.err.replace("│", " ").split())


def test_wrong_use(call: Call, net: Path, broken: Path) -> None:
    assert call("estimate", "--net", net).status == 2
    assert call("estimate", "--net", net, "--prop", broken, "--as", "N2,9").status == 2


def test_a_property_that_mentions_no_output_of_the_network(call: Call, net: Path, tmp_path: Path) -> None:
    (tmp_path / "p.vnnlib").write_text(box_property(3, "(>= Y_0 3.0)"))
    done = call("estimate", "--net", net, "--prop", tmp_path / "p.vnnlib", "--quiet")
    assert (done.status, done.out) == (4, "")


def test_interrupted(call: Call, net: Path, holds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was drawn stays a statement: a fixed number shows no count on the way."""
    monkeypatch.setattr(Interrupt, "stopped", lambda self: True)
    target = tmp_path / "e.json"
    done = call("estimate", "--net", net, "--prop", holds, "--json", target)
    assert done.status == 130
    assert "interrupted" in done.err
    found = json.loads(target.read_text())
    assert found["interrupted"]
    assert found["properties"] == []
    assert found["notes"] == ["Not sampled, because interrupted: holds."]


def test_a_measure_in_raw_units_needs_the_scaling(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0.5,0.5\n")
    arguments = ("--measure", tmp_path / "x.csv", "--measure-units", "raw", "--quiet")
    done = call("estimate", "--net", net, "--prop", broken, *arguments)
    assert (done.status, done.out) == (4, "")
    assert "raw units need the network's scaling" in done.err


@pytest.mark.acasxu
def test_raw_encounters_reach_a_normalised_property(call: Call, acasxu: Path, properties: Path, tmp_path: Path) -> None:
    """phi-8 speaks of intruders behind on the left: the first sample lies there, in feet and radians."""
    (tmp_path / "x.csv").write_text("rho,theta,psi,v_own,v_int\n10000,-3.0,0,700,700\n10000,0,0,700,700\n")
    net = acasxu / "onnx" / "ACASXU_run2a_2_9_batch_2000.onnx"
    arguments = ("--measure", tmp_path / "x.csv", "--measure-units", "raw")
    found = report(call, tmp_path, "--net", net, "--prop", properties / "prop_8.vnnlib", *arguments)
    assert found["properties"][0]["n"] == 1


@pytest.mark.thorough
@pytest.mark.acasxu
def test_splitting_sees_what_counting_does_not(call: Call, acasxu: Path, properties: Path, tmp_path: Path) -> None:
    """N1,9 with phi-7: 3.9e-7 by counting where the violations lie (benchmarks/acasxu/results/estimate.md)."""
    net = acasxu / "onnx" / "ACASXU_run2a_1_9_batch_2000.onnx"
    arguments = ("--net", net, "--prop", properties / "prop_7.vnnlib", "--samples", 100_000, "--splitting")
    (entry,) = report(call, tmp_path, *arguments)["properties"]
    assert entry["violations"] == 0
    assert 1e-7 < entry["splitting"]["estimate"] < 1.5e-6
    assert entry["counterexample"] is not None
