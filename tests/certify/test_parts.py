"""A tree in parts: together they are the whole, and no process can make a wrong certificate an accepted one."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from birdnn.certify.check import Rejected, Settings, check, judge
from birdnn.certify.check import parts as shared
from birdnn.certify.check.certificate import LEAF
from birdnn.certify.check.files import File
from birdnn.certify.check.parts import Others, Part, nodes_of_part, process_count
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.deciding import verify_files
from birdnn.records import Proved, VerifySettings
from tests.bounds.builders import random_layers
from tests.cli.conftest import box_property


def random_tree(seed: int, cuts: int) -> np.ndarray:
    """The axes of a tree, level by level, with so many cuts at random places."""
    rng, axis, begin, end = np.random.default_rng(seed), list[int](), 0, 1
    while begin < end:
        cut = rng.random(end - begin) < (0.75 if len(axis) < cuts else 0.0)
        axis += np.where(cut, rng.integers(0, 5, end - begin), LEAF).tolist()
        begin, end = end, end + 2 * int(cut.sum())
    return np.array(axis, dtype=np.uint32)


@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_parts_are_the_whole(of: int) -> None:
    """Every node is in one part at least, with all that is above it; below the level that was dealt in one only."""
    for seed in range(40):
        axis = random_tree(seed, [3, 40, 3000][seed % 3])
        masks = np.array([nodes_of_part(axis, Part(number, of)) for number in range(of)])
        assert masks.any(0).all()
        cuts = np.nonzero(axis != LEAF)[0]
        above = np.concatenate([[0], np.repeat(cuts, 2)])
        assert (masks <= masks[:, above]).all()
        once = masks.sum(0) == 1
        if len(axis) > 3000 and of > 1:
            assert once.mean() > 0.5
            sizes = masks[:, once].sum(1)
            assert sizes.max() < 1.5 * sizes.min()


def make(folder: Path) -> tuple[Path, Path, Path]:
    """A network, a property and a certificate of some hundred nodes, none of which splits a neuron: more slopes."""
    net, prop, out = folder / "net.onnx", folder / "p.vnnlib", folder / "p.certificate.json.gz"
    net.write_bytes(layers_to_onnx(random_layers(6, (3, 24, 24, 2))))
    prop.write_text(box_property(3, "(<= (+ Y_0 (* 0.3 Y_1)) -0.63)", "-1.0", "1.0", n_outputs=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("birdnn.bounds.compiled.bound.splittable", lambda activations: False)
        outcome = verify_files(net, [prop], settings=VerifySettings(semantics="float32", certificate=out))
    assert outcome.certificate is not None
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    return net, prop, out


def make_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be worth three processes."""
    monkeypatch.setattr(shared, "_WORTHWHILE", {"float64": 1, "exact": 1})
    monkeypatch.setattr(shared, "_SUBTREES", 4)  # in this process; the others then check more than they have to
    monkeypatch.setenv("OMP_NUM_THREADS", "3")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Such files, worth three processes."""
    made = make(tmp_path)
    make_worthwhile(monkeypatch)
    return made


def spoilt(certificate: Path, place: int) -> None:
    """Let one plane prove nothing any more: its slopes are the worst there are."""
    data = json.loads(gzip.decompress(certificate.read_bytes()))
    array = data["proofs"][0]["regions"][0]["items"]["slope"]
    values = np.frombuffer(base64.b64decode(array["data"]), array["dtype"]).copy()
    values[place : place + 6] = np.round(1 - values[place : place + 6])
    array["data"] = base64.b64encode(values.tobytes()).decode()
    certificate.write_bytes(gzip.compress(json.dumps(data).encode()))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "settings", [Settings(), Settings(arithmetic="exact"), Settings(sample=40)], ids=["float64", "exact", "sample"]
)
def test_shared_it_is_accepted_and_says_the_same(made: tuple[Path, Path, Path], settings: Settings) -> None:
    net, prop, out = made
    whole = check(net, [prop], out, settings, part=Part())
    assert whole.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert whole.answers[0].leaves > 80
    assert check(net, [prop], out, settings) == whole


@pytest.mark.thorough
def test_whoever_finds_it_a_wrong_leaf_is_rejected(made: tuple[Path, Path, Path]) -> None:
    """Each of the last leaves, whose subtrees belong to this process and to others."""
    net, prop, out = made
    right, finders = out.read_bytes(), set()
    for place in range(-240, -6, 6):
        out.write_bytes(right)
        spoilt(out, place)
        found = []
        for number in range(3):
            try:
                check(net, [prop], out, part=Part(number, 3))
            except Rejected:
                found.append(number)
        if found in ([1], [2]) and tuple(found) not in finders:
            with pytest.raises(Rejected, match="node"):
                check(net, [prop], out)
        finders.add(tuple(found))
    assert {(0,), (1,), (2,)} <= finders  # () where the slopes were good for nothing


@pytest.mark.parametrize("what", ["dies", "lies", "cannot start", "no room", "room for one"])
def test_what_nobody_has_judged_this_process_judges(
    made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A process that does not do its work costs time, and never lets anything pass."""
    net, prop, out = made
    codes = {"dies": "import os; os.abort()", "cannot start": "raise SystemExit(4)"}
    program = [sys.executable, "-c", codes.get(what, "print('accepted: a part of another file')")]
    absent = [str(out / "absent")]  # what the system refuses to run
    commands = {"no room": [absent, absent], "room for one": [program, absent]}.get(what, [program, program])
    asked: list[Part] = []
    right = judge._check_part

    def seen(*files: object) -> object:
        asked.append(files[-1])  # type: ignore[arg-type]
        return right(*files)  # type: ignore[arg-type]

    started = Others.__init__

    def instead(self: Others, *options: object) -> None:
        started(self, *options)  # type: ignore[arg-type]
        assert len(self._commands) == len(commands)
        self._commands = commands

    monkeypatch.setattr(Others, "__init__", instead)
    monkeypatch.setattr(judge, "_check_part", seen)
    assert check(net, [prop], out).answers[0].verdict == "proved"
    assert sorted(asked) == [Part(0, 3), Part(1, 3), Part(2, 3)]
    spoilt(out, -24)
    with pytest.raises(Rejected):
        check(net, [prop], out)


def test_nobody_outlives_who_asked(made: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption in this process ends the others."""
    net, prop, out = made
    started: list[subprocess.Popen[str]] = []
    right = subprocess.Popen

    def noted(*options: object, **more: object) -> subprocess.Popen[str]:
        started.append(right([sys.executable, "-c", "import time; time.sleep(60)"], **more))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(shared.subprocess, "Popen", noted)

    def stop(phase: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(net, [prop], out, Settings(), stop)
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


def test_a_small_one_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    small, large = (File("c", b"x" * size, "") for size in (1000, 2_000_000))
    assert [process_count(small, "float64"), process_count(large, "float64"), process_count(large, "exact")] == [
        1,
        4,
        4,
    ]
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert process_count(large, "float64") >= 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # macOS and Windows have none
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert process_count(large, "float64") == 6
