"""Every option that takes a file, given what is no file of its kind: status 4 or 2, at once, nothing overwritten."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from tests.cli.conftest import Call

SECONDS = 60
NOISE = np.random.default_rng(5).bytes(3000)

COMMANDS: dict[str, str] = {
    "verify net": "verify --net {odd} --prop {prop}",
    "verify prop": "verify --net {net} --prop {odd}",
    "falsify prop": "falsify --net {net} --prop {odd}",
    "estimate net": "estimate --net {odd} --prop {prop} --samples 10",
    "estimate measure": "estimate --net {net} --prop {prop} --samples 10 --measure {odd}",
    "localize net": "localize --net {odd} --prop {prop}",
    "localize data": "localize --net {net} --blocks --data {odd}",
    "repair net": "repair --net {odd} --prop {prop} --out {out}",
    "repair keep": "repair --net {net} --prop {prop} --keep {odd} --out {out}",
    "repair points": "repair --net {net} --points {odd} --decision argmax --out {out}",
    "repair suite": "repair --net {net} --suite {odd} --out {out}",
    "repair domain": "repair --net {net} --prop {prop} --domain {odd} --decision none --out {out}",
    "repair data": "repair --net {net} --method blocks --data {odd} --out {out}",
    "repair blocks": "repair --net {net} --method blocks --data {net} --block {odd} --out {out}",
    "compare first": "compare {odd} {net}",
    "compare second": "compare {net} {odd}",
    "compare keep": "compare {net} {net} --keep {odd}",
    "report": "report {odd}",
    "plot map": "plot map --net {odd} --prop {prop} --out {picture}",
    "plot certificate": "plot map --net {net} --prop {prop} --certificate {odd} --out {picture}",
    "plot progress": "plot progress {odd} --out {picture}",
    "check net": "check --net {odd} --prop {prop} {net}",
    "check certificate": "check --net {net} --prop {prop} {odd}",
    "bench instances": "bench {odd} --out {table}",
    "bench verdicts": "bench {instances} --verdicts {odd} --out {table}",
    "bench against": "bench {instances} --against {odd} --out {table}",
    "bench out": "bench {instances} --out {odd}",
}
ENDINGS = {
    "net": ".onnx", "first": ".onnx", "second": ".onnx", "prop": ".vnnlib", "keep": ".vnnlib", "suite": ".toml",
    "domain": ".toml", "blocks": ".toml", "points": ".csv", "measure": ".csv", "data": ".npz", "report": ".json",
}  # fmt: skip


@contextmanager
def soon() -> Iterator[None]:
    """A command that waits for ever fails, rather than the whole run of tests."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not back after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def oddities(folder: Path, ending: str) -> Iterator[Path]:
    """Things that are no file of any kind we read."""
    made = {name: folder / f"{name}{ending}" for name in ("folder", "pipe", "empty", "junk", "loop", "zeros")}
    made["folder"].mkdir()
    os.mkfifo(made["pipe"])
    made["empty"].write_bytes(b"")
    made["junk"].write_bytes(NOISE)
    made["loop"].symlink_to(made["loop"])
    made["zeros"].symlink_to("/dev/zero")
    yield from made.values()
    yield folder / f"{'long' * 100}{ending}"
    yield folder / f"none\x1b[31m{ending}"


@pytest.mark.parametrize("case", COMMANDS)
def test_what_is_no_file_of_its_kind(call: Call, net: Path, broken: Path, tmp_path: Path, case: str) -> None:
    instances = tmp_path / "instances.csv"
    instances.write_text(f"{net},{broken},5\n")
    ending = ENDINGS.get(case.split()[-1], ".csv")
    places = {name: tmp_path / name for name in ("out", "table.csv", "picture.svg")}
    names = {
        "net": net, "prop": broken, "instances": instances, "out": places["out"], "table": places["table.csv"],
        "picture": places["picture.svg"],
    }  # fmt: skip
    contents = net.read_bytes(), broken.read_bytes()
    odd_ones = tmp_path / "odd"
    odd_ones.mkdir()
    for odd in oddities(odd_ones, ending):
        if case == "bench out" and (odd.name.startswith("none") or odd.name.startswith("empty")):
            continue  # a table to begin
        before = sorted(tmp_path.iterdir())
        with soon():
            result = call(*(word.format(odd=odd, **names) for word in COMMANDS[case].split()))
        assert result.status in (2, 4), (odd.name, result.status, result.out, result.err)
        assert "\x1b" not in result.out + result.err, (odd.name, result.err)
        assert "Traceback" not in result.err
        assert sorted(tmp_path.iterdir()) == before, odd.name
        assert (net.read_bytes(), broken.read_bytes()) == contents
