"""A campaign that is killed or interrupted: nothing lost, nothing counted twice, no process left behind."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.processes import DEMO, PROPERTIES, finished, killed, start

pytestmark = pytest.mark.faults

N = 6


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    """The demonstration network under six names, and a property that it violates."""
    for i in range(N):
        shutil.copy(DEMO, tmp_path / f"n{i}.onnx")
    path = tmp_path / "instances.csv"
    path.write_text("".join(f"n{i}.onnx,{PROPERTIES / 'prop_2.vnnlib'},60\n" for i in range(N)))
    return path


def campaign(instances: Path, *more: object, **options: object) -> subprocess.Popen[str]:
    """The command, its table beside the instances."""
    return start("bench", instances, "--out", instances.with_name("t.csv"), *more, **options)


def rows(instances: Path) -> list[str]:
    table = instances.with_name("t.csv")
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return [row["onnx"] for row in csv.DictReader(file)]


def wait_for_rows(process: subprocess.Popen[str], instances: Path, count: int) -> None:
    while process.poll() is None and len(rows(instances)) < count:
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be disturbed"


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its workers, once there are some."""
    for _ in range(3000):
        if found := psutil.Process(process.pid).children(recursive=True):
            return found
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def require_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("more", [(), ("--warm",), ("--jobs", 2)], ids=["cold", "warm", "jobs"])
def test_ctrl_c(instances: Path, more: tuple[object, ...]) -> None:
    process = campaign(instances, *more, stderr=subprocess.PIPE)
    wait_for_rows(process, instances, 2)
    workers = children(process)
    process.send_signal(signal.SIGINT)
    status, _, err = finished(process)
    assert status == 130, err
    assert "instances are left: the same command goes on" in err
    assert "Traceback" not in err
    require_gone(workers)
    before = rows(instances)
    assert 2 <= len(before) < N
    assert finished(campaign(instances, *more))[0] == 0
    assert rows(instances)[: len(before)] == before
    assert sorted(rows(instances)) == [f"n{i}.onnx" for i in range(N)]


@pytest.mark.parametrize("more", [(), ("--warm",)], ids=["cold", "warm"])
def test_kill_9(instances: Path, more: tuple[object, ...]) -> None:
    """Again and again, at other moments; workers do not outlive the campaign."""
    for count in (0, 1, 3):
        process = campaign(instances, *more)
        wait_for_rows(process, instances, count)
        workers = children(process)
        killed(process)
        require_gone(workers)
        assert len(rows(instances)) == len(set(rows(instances)))
    assert finished(campaign(instances, *more))[0] == 0
    assert sorted(rows(instances)) == [f"n{i}.onnx" for i in range(N)]


def test_ctrl_c_twice(instances: Path) -> None:
    process = campaign(instances)
    workers = children(process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    status, _, err = finished(process)
    assert status == 130, err
    assert "Traceback" not in err
    require_gone(workers)


def test_a_second_campaign_into_the_same_table(instances: Path) -> None:
    process = campaign(instances)
    wait_for_rows(process, instances, 1)
    status, _, err = finished(campaign(instances))
    assert (status, "another campaign is writing to it" in err) == (4, True)
    assert finished(process)[0] == 0
    assert len(rows(instances)) == N
