"""``birdnn localize``: table, JSON, picture, exit status, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from birdnn.formats.onnx import layers_to_onnx
from birdnn.report.schemas import schemas
from tests.cli.conftest import Call, birdnn, box_property

DEMO = Path(__file__).resolve().parent.parent.parent / "birdnn" / "data"


def test_the_result_for_people_and_for_programs(call: Call, net: Path, broken: Path, tmp_path: Path) -> None:
    target, picture = tmp_path / "r.json", tmp_path / "p.svg"
    result = call("localize", "--net", net, "--prop", broken, "--top", 2, "--json", target, "--picture", picture)
    assert result.status == 0, result.err
    assert result.out.startswith("broken: the 2 most responsible of 2 neurons\n")
    assert "random k, 20 draws" in result.out
    assert "\x1b" not in result.out
    report = json.loads(target.read_text())
    assert set(json.loads(schemas()["localize.schema.json"])["required"]) <= set(report)
    assert (report["outcome"], report["form"], report["seed"]) == ("localised", "mean", 0)
    (prop,) = report["properties"]
    assert [entry["rank"] for entry in prop["top"]] == [1, 2]
    assert {entry["neuron"] for entry in prop["top"]} == {0, 1}
    assert prop["found_by"] == "sampling"
    # unsafe where x0 + x1 >= 1.5, an eighth of the square
    assert prop["uniform_negatives"] / prop["samples"] == pytest.approx(1 / 8, rel=0.05)
    assert prop["top"][0]["negative_mean"] == pytest.approx(5 / 6, abs=0.02)
    # fixed to its positive mean of about 0.45, one alone cannot reach 1.5
    assert [check["k"] for check in prop["interventions"]] == [1, 2]
    assert prop["interventions"][0]["top"] == 0.0
    assert picture.read_text().startswith("<?xml")


def test_a_picture_for_several_properties(call: Call, net: Path, broken: Path, holds: Path, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    arguments = ("--prop", broken, "--prop", holds, "--top", 1, "--picture", picture, "--form", "sum")
    result = call("localize", "--net", net, *arguments)
    assert result.status == 0, result.err
    assert "holds: no negative sample" in result.out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_nothing_is_localised_where_nothing_is_violated(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    result = call("localize", "--net", net, "--prop", holds, "--top", 1, "--quiet", "--json", target)
    assert (result.status, result.out) == (0, "nothing_to_localise\n")
    (prop,) = json.loads(target.read_text())["properties"]
    assert "no negative sample of holds found by 100,000 uniform samples and an attack" in prop["note"]
    assert (prop["top"], prop["interventions"], prop["negatives"]) == ([], [], 0)


def test_everything_violates(call: Call, net: Path, tmp_path: Path) -> None:
    prop = tmp_path / "all.vnnlib"
    prop.write_text(box_property(2, "(>= Y_0 -1.0)"))
    result = call("localize", "--net", net, "--prop", prop, "--top", 1)
    assert result.status == 0
    assert "no positive one to compare with" in " ".join(result.out.split())


def test_rare_violations_are_hunted(call: Call, tmp_path: Path) -> None:
    """Sampling sees about one in a million; the attack finds plenty."""
    net, prop, target = tmp_path / "corner.onnx", tmp_path / "corner.vnnlib", tmp_path / "r.json"
    rows = np.vstack([np.ones(4), np.eye(4)]), np.array([-3.85, 0, 0, 0, 0])
    net.write_bytes(layers_to_onnx([rows, (np.array([[1.0, 0, 0, 0, 0]]), np.zeros(1))]))
    prop.write_text(box_property(4, "(>= Y_0 0.05)"))
    result = call("localize", "--net", net, "--prop", prop, "--top", 2, "--json", target)
    assert result.status == 0, result.err
    (found,) = json.loads(target.read_text())["properties"]
    assert found["uniform_negatives"] < 10
    assert found["found_by"] == "sampling and attack"
    assert found["negatives"] > 100
    assert (found["top"][0]["neuron"], found["interventions"][0]["top"]) == (0, 0.0)
    assert "by sampling and attack" in " ".join(result.out.split())


def test_who_asks_for_no_number_is_told_all_neurons_of_a_small_network(
    call: Call, net: Path, broken: Path, tmp_path: Path
) -> None:
    target = tmp_path / "found.json"
    result = call("localize", "--net", net, "--prop", broken, "--json", target)
    assert result.status == 0, result.err
    (found,) = json.loads(target.read_text())["properties"]
    assert len(found["top"]) == 2
    assert "the 2 most responsible of 2 neurons" in " ".join(result.out.split())


def test_a_network_without_hidden_neurons_has_none_that_is_responsible(call: Call, tmp_path: Path) -> None:
    net, prop = tmp_path / "line.onnx", tmp_path / "prop.vnnlib"
    net.write_bytes(layers_to_onnx([(np.ones((1, 2)), np.zeros(1))]))
    prop.write_text(box_property(2, "(>= Y_0 0.5)"))
    result = call("localize", "--net", net, "--prop", prop)
    assert result.status == 4
    assert "no hidden neurons" in result.err


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (("--top", "3"), 4, "2 hidden neurons; give a number from 1 to 2"),
        (("--top", "0"), 2, "at least 1 is expected, not 0"),
        (("--top", "-1"), 2, "at least 1 is expected, not -1"),
        (("--form", "median"), 2, "median"),
        (("--top", "1", "--picture", "x.pdf"), 4, ".svg or .png"),
        (("--top", "1", "--as", "N1,1"), 2, "--suite"),
    ],
)
def test_bad_requests(call: Call, net: Path, broken: Path, more: tuple[str, ...], status: int, words: str) -> None:
    result = call("localize", "--net", net, "--prop", broken, *more, "--quiet")
    assert (result.status, result.out) == (status, "")
    assert words in result.err
    assert "Traceback" not in result.err


def test_without_a_property_there_is_no_question(call: Call, net: Path) -> None:
    assert call("localize", "--net", net).status == 2


@pytest.mark.thorough
def test_the_suite_names_the_properties_and_no_display_is_needed(tmp_path: Path) -> None:
    picture = tmp_path / "demo.png"
    result = birdnn(
        "localize", "--net", DEMO / "demo.onnx", "--suite", "acasxu", "--picture", picture, DISPLAY="", MPLBACKEND=""
    )
    assert result.status == 0, result.err
    assert "prop_8: the 10 most responsible" in result.out
    assert max(map(len, result.out.splitlines())) <= 100
    assert picture.stat().st_size > 10_000
