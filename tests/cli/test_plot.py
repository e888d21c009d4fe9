"""``birdnn plot``: pictures, JSON, exit status, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from birdnn.report.publish import dumps
from birdnn.report.schemas import schemas
from tests.cli.conftest import Call
from tests.report.block_outcomes import block_outcome
from tests.report.outcomes import repair_outcome
from tests.report.test_pictures_repair import TRIED


def required(name: str) -> set[str]:
    return set(json.loads(schemas()[f"{name}.schema.json"])["required"])


def test_a_map_for_people_and_for_programs(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    out, target = tmp_path / "m.svg", tmp_path / "m.json"
    arguments = ("plot", "map", "--net", net, "--after", net, "--prop", broken, "--cells", 20)
    result = call(*arguments, "--out", out, "--json", target)
    assert result.status == 0, result.err
    assert result.out.startswith("broken: violations over x_0 and x_1\n")
    assert "of 400 cells in broken's region violate" in " ".join(result.out.split())
    assert "\x1b" not in result.out
    *told, place = result.out.splitlines()
    assert max(map(len, told)) <= 100
    assert place == f"{'picture':<18}{out}"  # whole, however long it is
    first = out.read_bytes()
    assert first.startswith(b"<?xml")
    report = json.loads(target.read_text())
    assert required("plot") <= set(report)
    assert (report["picture"], report["line"], len(report["map"]["panels"])) == ("map", None, 2)
    assert call(*arguments, "--out", out).status == 0
    assert out.read_bytes() == first


def test_a_line_as_png_in_one_line(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    out, target = tmp_path / "l.png", tmp_path / "l.json"
    arguments = ("--from", "0,0", "--to", "1,1", "--out", out, "--json", target, "--quiet")
    result = call("plot", "line", "--net", net, "--prop", broken, *arguments)
    assert (result.status, result.out) == (0, f"{out}\n")
    assert out.read_bytes().startswith(b"\x89PNG")
    report = json.loads(target.read_text())
    assert report["line"]["shown_end"] == [1.0, 1.0]


def test_responsibility_is_what_localize_draws(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "1.svg", tmp_path / "2.svg"
    first = call("localize", "--net", net, "--prop", broken, "--top", 1, "--picture", one, "--quiet")
    second = call("plot", "responsibility", "--net", net, "--prop", broken, "--top", 1, "--out", other, "--quiet")
    assert (first.status, second.status, second.out) == (0, 0, "localised\n")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("picture", ["progress", "change"])
def test_a_repair_is_drawn_from_its_report(call: Call, picture: str, tmp_path: Path) -> None:
    folder, out, target = tmp_path / "net.birdnn", tmp_path / "p.svg", tmp_path / "p.json"
    folder.mkdir()
    (folder / "repair.json").write_text(dumps(repair_outcome(tried=TRIED)))
    result = call("plot", picture, folder, "--out", out, "--json", target)
    assert result.status == 0, result.err
    assert result.out.splitlines()[-1] == f"{'picture':<18}{out}"  # whole, however long it is
    assert out.read_text().startswith("<?xml")
    report = json.loads(target.read_text())
    assert required("plot-progress") <= set(report)
    assert [entry["boxes"] for entry in report["tried"]] == [1234, 0, 5678]


def test_a_repair_by_blocks_has_no_course(call: Call, tmp_path: Path) -> None:
    """No property decides its candidates; what it changed is drawn."""
    (tmp_path / "repair.json").write_text(dumps(block_outcome(change=repair_outcome().change)))
    refused = call("plot", "progress", tmp_path, "--out", tmp_path / "x.svg")
    assert (refused.status, "birdnn plot change" in refused.err) == (4, True)
    assert call("plot", "change", tmp_path, "--out", tmp_path / "x.svg").status == 0


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("--out", "x.pdf"), 4, ".svg or .png"),
        (("--out", "nowhere/x.svg"), 4, "no folder"),
        (("--x-range", "1"), 2, "two numbers"),
        (("--x-range", "2,1"), 2, "two numbers"),
        (("--y-range", "a,b"), 2, "separated by commas"),
        (("--as", "N1,1"), 2, "--suite"),
        (("--cells", "1"), 2, "a whole number from 2 to 2000"),
        (("--prove", "-1"), 2, "positive"),
        (("--prove", "1", "--certificate", "c.json"), 2, "--certificate those of a file"),
        (("--view", "moon"), 2, "moon"),
        (("--x", "height"), 4, "no such input"),
        (("--certificate", "missing.json.gz"), 4, "missing.json.gz"),
        (("--suite", "acasxu"), 4, "does not know this network"),
        (("--after", "missing.onnx"), 4, "no such file"),
    ],
)
def test_bad_requests(
    call: Call, net: Path, broken: Path, tmp_path: Path, more: tuple[str, ...], status: int, words: str
) -> None:
    out = tmp_path / "x.svg"
    result = call("plot", "map", "--net", net, "--prop", broken, "--out", out, *more, "--quiet")
    assert (result.status, result.out) == (status, "")
    assert words in " ".join(result.err.replace("│", " ").split())
    assert "Traceback" not in result.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--from", "0,0"), "two ends"),
        (("--from", "0,0", "--to", "1,1", "--along", "0"), "the whole line"),
        (("--x-range", "0,1"), "--along"),
    ],
)
def test_lines_that_contradict_themselves(
    call: Call, net: Path, broken: Path, tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    result = call("plot", "line", "--net", net, "--prop", broken, "--out", tmp_path / "x.svg", *more)
    assert result.status == 2
    assert words in result.err


def test_inputs_are_never_overwritten(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    before = broken.read_bytes()
    link = tmp_path / "p.svg"
    link.symlink_to(broken)
    result = call("plot", "map", "--net", net, "--prop", broken, "--out", link)
    assert result.status == 4
    assert "never overwritten" in result.err
    report = tmp_path / "repair.json"
    report.write_text(dumps(repair_outcome()))
    kept = report.read_bytes()
    result = call("plot", "progress", tmp_path, "--out", tmp_path / "x.svg", "--json", report)
    assert result.status == 4
    assert (broken.read_bytes(), report.read_bytes()) == (before, kept)


def test_a_report_that_is_none_is_refused(call: Call, tmp_path: Path) -> None:
    for name, content in (("cut.json", '{"tool": "birdnn"'), ("other.json", '{"tool": "hammer"}'), ("empty.json", "")):
        (tmp_path / name).write_text(content)
        result = call("plot", "progress", tmp_path / name, "--out", tmp_path / "x.svg")
        assert (result.status, result.out) == (4, "")
        assert name in result.err
    assert call("plot", "progress", tmp_path / "missing", "--out", tmp_path / "x.svg").status == 4
    assert not (tmp_path / "x.svg").exists()


def test_the_group_explains_itself(call: Call) -> None:
    result = call("plot", "--help")
    assert result.status == 0
    assert all(word in result.out for word in ("map", "line", "responsibility", "progress", "change"))
