"""``birdnn verify`` and ``falsify``: first line, exit status, JSON, files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Call, birdnn, box_property

FIELDS = {
    "outcome",
    "verdict",
    "wall_s",
    "solve_s",
    "boxes",
    "counterexample",
    "arithmetic",
    "seed",
    "versions",
    "net_sha256",
    "property_sha256",
    "schema_version",
}


def test_a_property_that_holds(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    result = call("verify", "--net", net, "--prop", holds, "--json", target)
    assert (result.status, result.word) == (0, "unsat")
    assert "complete search" in result.out
    report = json.loads(target.read_text())
    assert set(report) >= FIELDS
    assert (report["outcome"], report["verdict"], report["counterexample"]) == ("proved", "unsat", None)
    assert report["properties"][0]["text"] == "the sum stays below three"
    assert report["arithmetic"] == "float64, rounding accounted for; over the reals"


def test_a_property_that_is_violated(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    target, witness = tmp_path / "result.json", tmp_path / "witness.txt"
    result = call("verify", "--net", net, "--prop", broken, "--json", target, "--counterexample", witness)
    assert (result.status, result.word) == (1, "sat")
    found = json.loads(target.read_text())["counterexample"]
    assert found["replayed_by"] == ["onnxruntime"]
    assert sum(found["x"]) >= 1.5
    lines = witness.read_text().splitlines()
    assert lines[0] == f"((X_0 {found['x'][0]!r})"
    assert lines[-1] == f"(Y_0 {found['y'][0]!r}))"


def test_several_properties_answer_with_the_worst(call: Call, net: Path, holds: Path, broken: Path) -> None:
    result = call("verify", "--net", net, "--prop", holds, "--prop", broken)
    assert (result.status, result.word) == (1, "sat")
    assert "proved" in result.out
    assert "violated" in result.out


def test_time_runs_out(call: Call, endless: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    result = call("verify", "--net", endless[0], "--prop", endless[1], "--timeout", 2, "--json", target, "--quiet")
    assert (result.status, result.out, result.err) == (3, "timeout\n", "")
    report = json.loads(target.read_text())
    assert report["properties"][0]["reason"] == "timeout"
    assert report["wall_s"] < 10


def test_falsify_never_proves(call: Call, net: Path, holds: Path, broken: Path, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    # what is touched and not exceeded is left open by bounds
    touched = tmp_path / "touched.vnnlib"
    touched.write_text(box_property(2, "(> Y_0 2.0)"))
    tried = "10 rounds of attack on 1 input region", "bounds, which leave nothing to attack"
    for prop, how in zip((touched, holds), tried, strict=True):
        lost = call("falsify", "--net", net, "--prop", prop, "--json", target)
        assert (lost.status, lost.word) == (3, "unknown")
        (entry,) = json.loads(target.read_text())["properties"]
        assert (entry["reason"], entry["tried"]) == ("not_found", how)
        said = " ".join(lost.out.split())
        assert f"no counterexample found, no proof tried: {how}" in said
    found = call("falsify", "--net", net, "--prop", broken, "--quiet")
    assert (found.status, found.word) == (1, "sat")


def test_a_seed_repeats_a_run(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    points = []
    for name in ("a.json", "b.json"):
        call("verify", "--net", net, "--prop", broken, "--seed", 3, "--json", tmp_path / name)
        points.append(json.loads((tmp_path / name).read_text())["counterexample"])
    assert points[0] == points[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify",),
        ("verify", "--net", "n.onnx"),
        ("nonsense",),
        ("verify", "--net", "n.onnx", "--prop", "p", "--timeout", "-1"),
        ("verify", "--net", "n.onnx", "--prop", "p", "--timeout", "nan"),
        ("verify", "--net", "n.onnx", "--prop", "p", "--units", "feet"),
        ("verify", "--net", "n.onnx", "--prop", "p", "--seed", "-1"),
        ("repair", "--net", "n.onnx"),
        ("repair", "--net", "n.onnx", "--prop", "p", "--as", "N2,9"),
    ],
)
def test_wrong_use_is_status_2(call: Call, arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert (result.status, result.out) == (2, "")
    assert "Traceback" not in result.err


def test_units_without_scaling_are_refused(call: Call, net: Path, holds: Path) -> None:
    result = call("verify", "--net", net, "--prop", holds, "--units", "raw")
    assert result.status == 4
    assert "scaling" in result.err


def test_results_never_overwrite_inputs(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    before, linked = net.read_bytes(), tmp_path / "linked.json"
    linked.hardlink_to(holds)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    other = tmp_path / "other.vnnlib"  # of no concern here, and still somebody's
    for target in (net, holds, linked, fifo, other, tmp_path, tmp_path / "missing" / "result.json"):
        for command, option in (("verify", "--json"), ("falsify", "--json"), ("verify", "--counterexample")):
            result = call(command, "--net", net, "--prop", holds, option, target)
            assert (result.status, result.out) == (4, ""), (command, target)
            assert str(target) in result.err
    assert net.read_bytes() == before
    assert fifo.is_fifo()
    twice = tmp_path / "twice"
    assert call("verify", "--net", net, "--prop", holds, "--json", twice, "--counterexample", twice).status == 4


@pytest.mark.thorough
def test_a_real_process(net: Path, broken: Path) -> None:
    result = birdnn("verify", "--net", net, "--prop", broken)
    assert (result.status, result.word) == (1, "sat")
    assert "\x1b" not in result.err
    assert "replayed by onnxruntime" in result.out


@pytest.mark.acasxu
def test_raw_and_normalised_properties_agree(call: Call, acasxu: Path, tmp_path: Path) -> None:
    """phi-1 on N1,1 from its NNet file, in feet and radians, and the network's replay by two engines."""
    raw = [(55947.691, 60760), (-3.141593, 3.141593), (-3.141593, 3.141593), (1145, 1200), (0, 60)]
    lines = [f"(declare-const X_{i} Real)" for i in range(5)] + [f"(declare-const Y_{i} Real)" for i in range(5)]
    lines += [f"(assert (>= X_{i} {low}))\n(assert (<= X_{i} {high}))" for i, (low, high) in enumerate(raw)]
    (tmp_path / "raw.vnnlib").write_text("\n".join([*lines, "(assert (>= Y_0 1500.0))"]))
    nnet = acasxu / "nnet" / "ACASXU_experimental_v2a_1_1.nnet"
    result = call("verify", "--net", nnet, "--prop", tmp_path / "raw.vnnlib", "--units", "raw", "--timeout", 60)
    assert (result.status, result.word) == (0, "unsat"), result.err


@pytest.mark.thorough
def test_a_proof_goes_on_where_a_limit_ended_it(call: Call, endless: tuple[Path, Path], tmp_path: Path) -> None:
    """The folder holds a file for the question; of another network, or damaged, it is status 4 and left alone."""
    net, prop = endless
    kept = tmp_path / "kept"
    for seen in (1, 1):
        done = call("verify", "--net", net, "--prop", prop, "--timeout", "4", "--resume", kept)
        assert (done.status, done.word) == (3, "timeout"), done.err
        assert len(list(kept.iterdir())) == seen
    (file,) = kept.iterdir()
    data = file.read_bytes()
    file.write_bytes(data[:1000])
    done = call("verify", "--net", net, "--prop", prop, "--timeout", "4", "--resume", kept)
    assert (done.status, done.out) == (4, "")
    assert file.name in done.err
    assert file.read_bytes() == data[:1000]
    (tmp_path / "taken").write_text("a file")
    done = call("verify", "--net", net, "--prop", prop, "--resume", tmp_path / "taken")
    assert (done.status, done.out) == (4, "")
    assert "taken: exists and is no folder" in done.err


def test_a_counterexample_of_an_earlier_run_is_none_of_this_one(
    call: Call, net: Path, holds: Path, broken: Path, tmp_path: Path
) -> None:
    """A script that collects the file would take another instance's witness."""
    witness = tmp_path / "w.counterexample"
    assert call("verify", "--net", net, "--prop", broken, "--counterexample", witness).status == 1
    assert witness.exists()
    done = call("verify", "--net", net, "--prop", holds, "--counterexample", witness)
    assert done.status == 0
    assert not witness.exists()
    assert "this run has no counterexample" in done.err


def test_a_pattern_names_the_properties_that_match(call: Call, net: Path, holds: Path, broken: Path) -> None:
    result = call("verify", "--net", net, "--prop", holds.parent / "*.vnnlib")
    assert (result.status, result.word) == (1, "sat")
    assert result.out.index("broken") < result.out.index("holds")


def test_a_pattern_that_matches_nothing_is_bad_input(call: Call, net: Path, tmp_path: Path) -> None:
    result = call("verify", "--net", net, "--prop", tmp_path / "no*.vnnlib")
    assert result.status == 4
    assert "no*.vnnlib: no file matches this pattern" in result.err
