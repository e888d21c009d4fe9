"""No room: a message, status 4, nothing half written, inputs as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from birdnn.campaign.table import Table
from tests.faults.processes import DEMO, ENVIRONMENT, PROPERTIES, ROOT, finished, repair, start, temporaries

pytestmark = pytest.mark.faults

ROW = {"net": "1", "text": "x" * 3000, "commit": "abc1234", "date": "2026-01-02"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here (that needs root); the limit on file sizes is tested anyway")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path, left: int) -> Path:
    """Leave `left` bytes, a multiple of the page size."""
    room = os.statvfs(place)
    filler = place / "filler"
    filler.write_bytes(b"x" * (room.f_bavail * room.f_bsize - left))
    return filler


def test_no_room_for_the_network(disk: Path) -> None:
    fill(disk, 0)
    before = DEMO.read_bytes()
    status, _, err = finished(start(*repair(disk / "out")))
    assert (status, "Traceback" in err) == (4, False)
    assert "No space left on device" in err
    assert [path.name for path in disk.iterdir()] == ["filler"]
    assert DEMO.read_bytes() == before


ROOMS = [
    (12_288, "demo.certificate.json.gz"),  # the network takes 8.9 kB
    (32_768, "repair.json"),
]


@pytest.mark.parametrize(("room", "failing"), ROOMS)
def test_room_for_the_network_and_not_for_the_rest(disk: Path, room: int, failing: str) -> None:
    """A network without the report that says what it is helps nobody: all or none, and it says which."""
    fill(disk, room)
    status, _, err = finished(start(*repair(disk / "out")))
    assert status == 4
    assert f"{failing}: cannot be written: No space left on device" in err
    assert "no network, report or certificate of this repair is there" in err
    assert [path.name for path in disk.iterdir()] == ["filler"]


@pytest.mark.parametrize(("room", "failing"), ROOMS)
def test_what_an_earlier_repair_left_stays_whole(tmp_path: Path, disk: Path, room: int, failing: str) -> None:
    """The new one finds no room, or a little."""
    assert finished(start(*repair(tmp_path / "out")))[0] == 0
    subprocess.run(["mount", "-o", "remount,size=256k", str(disk)], check=True)
    shutil.copytree(tmp_path / "out", disk / "out")
    before = {path.name: path.read_bytes() for path in (disk / "out").iterdir()}
    fill(disk, room)
    status, _, err = finished(start(*repair(disk / "out"), "--seed", 1))
    assert status == 4
    assert f"{failing}: cannot be written: No space left on device" in err
    assert "what an earlier one left is as it was: demo.repaired.onnx" in err
    assert {path.name: path.read_bytes() for path in (disk / "out").iterdir()} == before


def test_no_room_for_the_json(disk: Path) -> None:
    target = disk / "result.json"
    target.write_text("old\n")
    fill(disk, 0)
    status, out, err = finished(
        start("verify", "--net", DEMO, "--prop", PROPERTIES / "prop_2.vnnlib", "--json", target)
    )
    assert (status, out.split("\n")[0]) == (4, "sat")
    assert f"{target}: cannot be written: No space left on device" in err
    assert target.read_text() == "old\n"
    assert not temporaries(disk)


def test_no_room_for_a_row(disk: Path) -> None:
    """What was there is, nothing half is, and once there is room it goes on."""
    path = disk / "t.csv"
    table = Table(path, ("net", "text"), ("net",))
    table.add(ROW)
    before, filler = path.read_bytes(), fill(disk, 0)
    table.add({**ROW, "net": "2", "text": "x"})  # what is left of the file's last page takes it
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space left"):
        table.add({**ROW, "net": "3"})
    assert path.read_bytes() == before
    assert Table(path, ("net", "text"), ("net",)).rows == table.rows
    filler.unlink()
    table.add({**ROW, "net": "last"})
    assert Table(path, ("net", "text"), ("net",)).rows == table.rows


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.argv = ["birdnn", *sys.argv[1:]]
runpy.run_module("birdnn", run_name="__main__")
"""


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """Works everywhere: the kernel ends writing after 4 KiB."""
    words = [sys.executable, "-c", LIMITED, *repair(tmp_path / "out")]
    done = subprocess.run(list(map(str, words)), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (4, False), done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert not list(tmp_path.iterdir())


def test_standard_output_that_is_full() -> None:
    with Path("/dev/full").open("w") as full:
        process = start("verify", "--net", DEMO, "--prop", PROPERTIES / "prop_2.vnnlib", stdout=full)
        status, _, err = finished(process)
    assert (status, "Traceback" in err, "internal" in err) == (4, False, False)
    assert "standard output: cannot be written: No space left on device" in err
