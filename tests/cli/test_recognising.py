"""A suite's properties are recognised by what they say, in every command; names may lie, and never hide one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import birdnn
from birdnn.formats.suite import Suite
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.recognising import named_apart
from birdnn.records import CaseFiles, RepairRequest
from birdnn.spec import Property
from tests.cli.conftest import Call, box_property

DATA = Path(birdnn.__file__).parent / "data"
DEMO, PROPERTIES = DATA / "demo.onnx", DATA / "properties"


def text(name: str) -> str:
    return (PROPERTIES / f"{name}.vnnlib").read_text()


def rewritten(name: str) -> str:
    """The same statement: without comments, assertions in reverse order, one of them twice."""
    lines = [line for line in text(name).splitlines() if line.strip() and not line.lstrip().startswith(";")]
    whole = "\n".join(lines)
    parts, depth, begun = [], 0, 0
    for place, letter in enumerate(whole):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "(" and depth == 1:
            begun = place
        if letter == ")" and depth == 0:
            parts.append(whole[begun : place + 1])
    declared = [part for part in parts if "declare" in part]
    stated = [part for part in parts if "assert" in part]
    return "\n".join([*declared, *reversed(stated), stated[0]]) + "\n"


def put(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.vnnlib"
    path.write_text(content)
    return path


@pytest.fixture
def liar(tmp_path: Path) -> Path:
    """``prop_8`` by its name, prop_1 by what it says."""
    return put(tmp_path, "prop_8", text("prop_1"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """What the suite calls prop_8, under another name and written in another way."""
    return put(tmp_path, "mine", rewritten("prop_8"))


def asked_besides(notes: str) -> set[str]:
    found = re.search(r"apply to it and (?:were not asked|were watched, not repaired): ([^.;]*)[.;]", notes)
    return set() if found is None else set(found[1].split(", "))


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["verify", "falsify"])
def test_a_name_does_not_hide_a_property(call: Call, liar: Path, tmp_path: Path, command: str) -> None:
    """The demo violates prop_8: whoever names a file so must still hear that it was not asked."""
    target = tmp_path / "found.json"
    call(command, "--net", DEMO, "--prop", liar, "--timeout", 20, "--json", target)
    notes = " ".join(json.loads(target.read_text())["notes"])
    besides = asked_besides(notes)
    assert "prop_8" in besides
    assert "prop_1" not in besides
    assert "prop_8 says what suite acasxu calls prop_1, not what it calls prop_8" in notes


def test_another_name_does_not_make_it_unasked(call: Call, other: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    call("verify", "--net", DEMO, "--prop", other, "--timeout", 20, "--json", target)
    notes = " ".join(json.loads(target.read_text())["notes"])
    assert "prop_8" not in asked_besides(notes)
    assert "mine says what suite acasxu calls prop_8." in notes


@pytest.mark.parametrize("command", ["estimate", "localize"])
def test_commands_that_only_ask_say_the_same(call: Call, liar: Path, tmp_path: Path, command: str) -> None:
    target = tmp_path / "found.json"
    more = ["--samples", 1000] if command == "estimate" else []
    call(command, "--net", DEMO, "--prop", liar, *more, "--json", target)
    notes = " ".join(json.loads(target.read_text())["notes"])
    assert "prop_8" in asked_besides(notes)
    assert "prop_1" not in asked_besides(notes)


def plan_of(*props: Path, keep: tuple[Path, ...] = (), suite: str | None = None):
    return read_case(CaseFiles.of(RepairRequest(net=DEMO, props=props, keep=keep, suite=suite)))


def test_repair_does_not_call_its_own_goal_unnamed(other: Path) -> None:
    """It said "applicable, not named and violated as well: prop_8" of the very property that it repaired."""
    plan = plan_of(other)
    assert {s.prop.name for s in plan.asked if s.role == "goal"} == {"mine"}
    assert "prop_8" not in {s.prop.name for s in plan.subjects}
    (goal,) = (s for s in plan.asked if s.role == "goal")
    assert goal.text == Suite.load("acasxu").texts["prop_8"]
    whole = plan_of(other, suite="acasxu")
    assert "prop_8" not in {s.prop.name for s in whole.subjects}


def test_repair_watches_what_a_name_would_hide(liar: Path) -> None:
    plan = plan_of(liar)
    watched = {s.prop.name for s in plan.applicable}
    assert "prop_8 of suite acasxu" in watched
    assert "prop_1" not in watched
    assert plan.suite is not None
    assert "prop_8 of suite acasxu" in plan.suite.not_named


@pytest.mark.thorough
def test_compare_says_it_too(call: Call, liar: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    call("compare", DEMO, DEMO, "--prop", liar, "--bound", 0, "--samples", 1000, "--timeout", 20, "--json", target)
    found = json.loads(target.read_text())
    assert "prop_8 says what suite acasxu calls prop_1" in " ".join(found["notes"])
    assert "prop_8 of suite acasxu" in found["suite"]["not_named"]


def test_a_picture_has_the_suites_words(call: Call, other: Path, liar: Path, tmp_path: Path) -> None:
    texts = Suite.load("acasxu").texts
    for path, name in ((other, "prop_8"), (liar, "prop_1")):
        target = tmp_path / "plot.json"
        at = ["--at", "middle", "--out", tmp_path / "map.svg", "--json", target]
        assert call("plot", "map", "--net", DEMO, "--prop", path, *at).status == 0
        assert texts[name] in target.read_text()


def test_a_property_of_the_suites_name_that_contradicts_it(tmp_path: Path) -> None:
    moved = put(tmp_path, "prop_8", _moved(text("prop_8")))
    plan = plan_of(moved)
    assert any("prop_8" in note and "they say different things" in note for note in plan.notes)
    assert "prop_8 of suite acasxu" in {s.prop.name for s in plan.subjects}


def _moved(content: str) -> str:
    """Another upper bound of the first input."""
    changed = re.sub(
        r"(\(<= X_0 )(-?[\d.]+)", lambda found: f"{found[1]}{float(found[2]) - 0.01:.6f}", content, count=1
    )
    assert changed != content
    return changed


def test_rounded_numbers_are_said(tmp_path: Path) -> None:
    short = re.sub(r"-?\d+\.\d{9,}", lambda found: f"{float(found[0]):.8f}", text("prop_8"))
    assert short != text("prop_8")
    plan = plan_of(put(tmp_path, "short", short))
    assert "prop_8" not in {s.prop.name for s in plan.subjects}
    assert any("Up to the rounding of numbers" in note for note in plan.notes)


# --- names and repetitions


def test_two_files_of_one_name_both_survive(tmp_path: Path) -> None:
    """It was an error; both are asked, under names that tell them apart."""
    one, two = put(tmp_path / "a", "low", text("prop_2")), put(tmp_path / "b", "low", text("prop_3"))
    plan = plan_of(one, two)
    assert [s.prop.name for s in plan.asked if s.role == "goal"] == ["low", "low (2)"]
    assert any(f"low (2) is that of {two}" in note for note in plan.notes)


def test_verify_tells_two_files_of_one_name_apart(call: Call, net: Path, tmp_path: Path) -> None:
    paths = [put(tmp_path / name, "low", box_property(2, f"(>= Y_0 {limit})")) for name, limit in (("a", 3), ("b", 1))]
    target, certificate = tmp_path / "found.json", tmp_path / "c.json.gz"
    asked = ["--net", net, *(word for path in paths for word in ("--prop", path))]
    assert call("verify", *asked, "--json", target, "--certificate", certificate).status == 1
    found = json.loads(target.read_text())
    assert [(p["name"], p["outcome"]) for p in found["properties"]] == [("low", "proved"), ("low (2)", "violated")]
    assert found["certificate"]["checked"].startswith("accepted")


def test_a_file_that_is_named_twice_is_decided_once(call: Call, net: Path, holds: Path, tmp_path: Path) -> None:
    """Two proofs of one file made a certificate that the checker rejects."""
    target, certificate = tmp_path / "found.json", tmp_path / "c.json.gz"
    asked = ["--net", net, "--prop", holds, "--prop", holds]
    assert call("verify", *asked, "--json", target, "--certificate", certificate).status == 0
    found = json.loads(target.read_text())
    assert [p["outcome"] for p in found["properties"]] == ["proved", "proved"]
    assert found["certificate"]["checked"].startswith("accepted")


def test_what_is_goal_and_kept_is_repaired_once(tmp_path: Path) -> None:
    same = put(tmp_path / "b", "same", rewritten("prop_2"))
    plan = plan_of(PROPERTIES / "prop_2.vnnlib", keep=(PROPERTIES / "prop_2.vnnlib", same))
    assert [s.prop.name for s in plan.asked if s.role in ("goal", "keep")] == ["prop_2"]
    assert sum("repaired and kept by that" in note for note in plan.notes) == 2


@pytest.mark.thorough
def test_a_property_called_domain_does_not_take_the_domains_place(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    path = put(tmp_path, "domain", text("prop_3"))
    call("compare", DEMO, DEMO, "--prop", path, "--bound", 0, "--samples", 1000, "--timeout", 20, "--json", target)
    found = json.loads(target.read_text())
    places = [entry["place"] for entry in found["likeness"]]
    assert len(places) == len(set(places))
    assert {"domain", "domain (2)"} <= set(places)


def test_a_number_is_never_given_twice() -> None:
    def made(name: str, content: str) -> Property:
        base = Suite.load("acasxu").property("prop_3")
        return Property(
            name=name, regions=base.regions, n_inputs=5, n_outputs=5, sha256=content, path=f"/{content}/{name}.vnnlib"
        )

    found = named_apart([made("p", "1"), made("p (2)", "2"), made("p", "3"), made("p", "1"), made("p", "4")])
    assert [prop.name for prop in found.props] == ["p", "p (2)", "p (3)", "p", "p (4)"]
