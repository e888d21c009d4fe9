"""kill -9: no corrupt file, no finished result lost, and the next run cleans up."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from birdnn.campaign.table import Table
from tests.faults.processes import (
    ENVIRONMENT,
    ROOT,
    finished,
    killed,
    repair,
    require_whole,
    result,
    start,
    temporaries,
)

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A repair that nobody disturbed, and its seconds."""
    out, begun = tmp_path_factory.mktemp("fresh") / "out", time.monotonic()
    status, _, err = finished(start(*repair(out)))
    assert status == 0, err
    return out, time.monotonic() - begun


def test_a_repair_killed_at_any_time(fresh: tuple[Path, float], tmp_path: Path) -> None:
    """Twelve times in one folder, each leaving what it leaves to the next."""
    out = tmp_path / "out"
    for i in range(12):
        process = start(*repair(out), "--quiet")
        time.sleep(fresh[1] * (0.3 + 0.7 * i / 12))
        killed(process)
        require_whole(out)
    assert finished(start(*repair(out)))[0] == 0
    require_whole(out)
    assert not temporaries(out)
    assert result(out) == result(fresh[0])


def test_a_repair_killed_before_each_file_operation(fresh: tuple[Path, float], tmp_path: Path) -> None:
    """Beside the result of an earlier repair, which the new one replaces."""
    out = tmp_path / "out"
    assert finished(start(*repair(out)))[0] == 0
    ends = []
    for moment in range(4, 60, 3):
        words = [sys.executable, "-m", "tests.faults.dies", moment, out, *repair(out), "--quiet"]
        done = subprocess.run(list(map(str, words)), cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=False)
        ends.append(done.returncode)
        require_whole(out)
        if done.returncode != -signal.SIGKILL:
            break
    assert ends[-1] == 0, ends
    assert len(ends) > 5, "the moments were not met"
    assert not temporaries(out)
    assert result(out) == result(fresh[0])


WRITER = """
import sys
from pathlib import Path
from birdnn.formats.files import write_bytes
print("begun", flush=True)
write_bytes(sys.argv[1], bytes([int(sys.argv[2])]) * 200_000_000)
print("done", flush=True)
"""


def test_a_large_file_killed_while_it_is_written(tmp_path: Path) -> None:
    """The former content stays until the new one is complete."""
    target, seen_part = tmp_path / "certificate.json", False
    target.write_bytes(b"old")
    for pause in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target), "7"],
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(pause)
        killed(process)
        size = target.stat().st_size
        assert size in (3, 200_000_000)
        assert target.read_bytes()[:3] == (b"old" if size == 3 else b"\7\7\7")
        seen_part = seen_part or bool(temporaries(tmp_path))
        assert len(temporaries(tmp_path)) <= 1, "what an earlier one left was not removed"
    assert seen_part, "no kill met the writing"
    subprocess.run([sys.executable, "-c", WRITER, str(target), "9"], env=ENVIRONMENT, cwd=ROOT, check=True)
    assert target.read_bytes() == b"\t" * 200_000_000
    assert not temporaries(tmp_path)


def test_the_temporary_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "certificate.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(target), str(digit)], env=ENVIRONMENT, cwd=ROOT)
        for digit in range(3)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert len(set(target.read_bytes())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["certificate.json"]


ROWS = """
import sys
from pathlib import Path
from birdnn.campaign.table import Table
table = Table(Path(sys.argv[1]), ("net", "text"), ("net",))
print("begun", flush=True)
for i in range(3000):
    if not table.has(net=str(i)):
        table.add({"net": i, "text": f"x{i}" * 2000, "commit": "abc1234", "date": "2026-01-02"})
        print(i, flush=True)
"""


def test_rows_killed_while_they_are_added(tmp_path: Path) -> None:
    """What was finished is there, once; what was not is done again."""
    path, done = tmp_path / "t.csv", set()
    for pause in (0.0, 0.01, 0.03, 0.1, 0.2, 0.3):
        words = [sys.executable, "-c", ROWS, str(path)]
        process = subprocess.Popen(words, env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[0].split("\n")[:-1]
        assert not done.intersection(said), "done twice"
        done.update(said)
        rows = Table(path, ("net", "text"), ("net",)).rows
        nets = [row["net"] for row in rows]
        assert len(nets) == len(set(nets))
        assert done.issubset(nets)
        done.update(nets)  # on disk, and killed before it was said
        assert all(row["text"] == f"x{row['net']}" * 2000 and row["date"] == "2026-01-02" for row in rows)
    assert 5 < len(done) < 3000
    with path.open(newline="") as file:
        assert len(list(csv.reader(file))) == len(done) + 1


@pytest.mark.parametrize("cut", range(1, 23))
def test_a_row_that_was_cut_anywhere_is_dropped(tmp_path: Path, cut: int) -> None:
    """Within its last field as well, where it has as many fields as it should; and by one who has the table open."""
    path, row = tmp_path / "t.csv", {"commit": "abc1234", "date": "2026-01-02"}
    table = Table(path, ("net",), ("net",))
    table.add({"net": "1", **row})
    whole = path.read_bytes()
    table.add({"net": "2", **row})
    path.write_bytes(path.read_bytes()[:-cut])
    assert path.read_bytes().startswith(whole)
    other = tmp_path / "copy.csv"
    other.write_bytes(path.read_bytes())
    assert [r["net"] for r in Table(other, ("net",), ("net",)).rows] == ["1"]
    table.add({"net": "3", **row})
    assert [r["net"] for r in Table(path, ("net",), ("net",)).rows] == ["1", "3"]
