"""The safety report: what it says for each outcome, and that its figures are those of the JSON."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from birdnn.printable import readable
from birdnn.records import Drawdown, Drawdowns, SafetyReport, Tied
from birdnn.report import headline
from birdnn.report.intoto import intoto_statement
from birdnn.report.pages import html_page, markdown_page
from birdnn.report.publish import dumps, json_document, record_from
from birdnn.report.safety import safety_report
from birdnn.report.sarif import sarif_log
from birdnn.report.words import Side, unsafe_words
from birdnn.runtime import Session
from birdnn.spec import Row
from tests.report.pages import COSTS, RHO, Seen, checked_figures, files, made_report, outcome

NAMES = ("COC", "WL", "WR")


def row(coefficients: str, bound: str = "0", *, strict: bool = False) -> Row:
    return Row(tuple(map(Fraction, coefficients.split())), Fraction(bound), strict)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("1 -1 0"), row("1 0 -1")], "COC is minimal (COC ≤ WL, WR)"),
        ([row("-2 2 0"), row("-1 0 1")], "COC is maximal (WL, WR ≤ COC)"),
        ([row("1 -1 0", strict=True), row("1 0 -1", strict=True)], "COC is minimal (COC < WL, WR)"),
        ([row("1 -1 0"), row("1 0 -1", strict=True)], "COC ≤ WL and COC < WR"),
        ([row("1 -1 0"), row("0 1 -1")], "COC ≤ WL and WL ≤ WR"),
        ([row("1 -1 0")], "COC ≤ WL"),
        ([row("-1 0 0", "-1/2")], "COC ≥ 194.5"),  # 0.5 * 374 + 7.5
        ([row("1 -1 0", "0.25")], "COC − WL ≤ 0.25 (network units)"),
        ([row("-1 0.5 1", "3", strict=True)], "−COC + 0.5 WL + WR < 3 (network units)"),
        ([], "any output at all"),
    ],
)
def test_unsafe_outputs_in_words(rows: list[Row], words: str) -> None:
    assert unsafe_words(rows, Side("Y", COSTS)) == words


def test_a_property_is_stated_in_raw_units() -> None:
    stated = made_report().properties[0]
    (region,) = stated.regions
    rho = region.inputs[0]
    assert (rho.name, rho.unit, stated.raw) == ("rho", "ft", True)
    assert rho.lower == pytest.approx(55947.691, abs=1e-9)  # Katz et al., phi-2
    assert (rho.network_lower, rho.network_upper) == (0.6, 0.679857768707)
    assert region.unsafe == ("COC is maximal (WL, WR ≤ COC)",)
    found = made_report().defects[0]
    assert found.inputs[0].value == pytest.approx(0.62 * 60261 + 19791.091)
    assert (found.decides, found.file) == ("WL", "before")  # the least


def test_a_counterexample_of_two_runs_names_them_and_no_decision() -> None:
    (first, *others) = made_report().outcome.properties
    (met, *_) = first.counterexamples
    both = replace(met, x=(*met.x, *met.x), y=(*met.y, *met.y))
    related = replace(first, runs=("f", "g"), counterexamples=(both,))
    report = made_report(properties=(related, *others))
    found = report.defects[0]
    assert found.decides is None
    assert [value.name for value in found.inputs][:: len(met.x)] == ["rho of f", "rho of g"]
    assert found.inputs[0].value == found.inputs[len(met.x)].value == pytest.approx(0.62 * 60261 + 19791.091)
    assert [value.name for value in found.outputs][:: len(met.y)] == ["COC of f", "COC of g"]
    commands = [line.command for line in report.commands]
    assert any("birdnn falsify --net f=" in line for line in commands)
    (verify,) = [line for line in commands if line.startswith("birdnn verify --net f=")]
    assert "--semantics" not in verify


def test_without_a_scaling_values_stay_as_they_are() -> None:
    stated = made_report(inputs=(), outputs=()).properties[0]
    assert (stated.raw, stated.regions[0].inputs[0].name, stated.regions[0].inputs[0].lower) == (False, "X_0", 0.6)
    assert stated.regions[0].unsafe == ("Y_0 is maximal (Y_1, Y_2 ≤ Y_0)",)


def words(after: str) -> tuple[Any, ...]:
    return tuple(replace(p, after=after) for p in outcome().properties)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("states", "changes", "verdict", "tone"),
    [
        ({}, {"watched": (), "suite": None}, "proved", "good"),
        ({}, {}, "proved", "warn"),  # prop_3 applies and is violated
        ({"network_after": "missing"}, {"watched": ()}, "proved", "good"),
        ({"network_after": "differs"}, {"watched": ()}, "files differ", "bad"),
        ({"property": "differs"}, {"result": "violated"}, "files differ", "bad"),
        ({}, {"result": "sampled", "properties": words("unknown")}, "not proved", "warn"),
        ({}, {"result": "violated", "properties": words("violated")}, "violated", "bad"),
        ({}, {"result": "proved", "disagreement": "a says one thing, b another"}, "engines disagree", "bad"),
        (
            {},
            {"result": "nothing_to_repair", "out": None, "out_sha256": None, "watched": ()},
            "proved as it was",
            "good",
        ),
    ],
)
def test_the_verdict_is_honest(states: dict[str, str], changes: dict[str, Any], verdict: str, tone: str) -> None:
    drawdown = Drawdowns(properties=(Drawdown(name="prop_8", share=0.0, n=100),))
    report = made_report(states, **({"drawdown": drawdown} | changes))
    assert (report.summary.verdict, report.summary.tone) == (verdict, tone)
    page = Seen.of(html_page(report))
    assert report.summary.word in page.text
    assert " ".join(report.summary.headline.split()) in " ".join(page.text.split())
    assert report.summary.headline.startswith(report.summary.word)
    assert ("Repaired and proved" in page.text) == (verdict == "proved")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("violated", "violated", "Still violated: prop_3, which applies"),
        ("violated", None, "Violated before, not looked at since: prop_3, which applies"),
        ("unknown", "violated", "Violated, and undecided before: prop_3, which applies"),
        ("proved", None, "Proved before, not looked at since: prop_3, which applies"),
        ("violated", "unknown", ""),
    ],
)
def test_nobody_is_called_still_violated_who_was_not_looked_at(before: str, after: str | None, told: str) -> None:
    entry = replace(outcome().watched[0], before=before, after=after)
    made = outcome(drawdown=Drawdowns(properties=(Drawdown(name="prop_8", share=0.0, n=100),)), watched=(entry,))
    sentences = headline.result_in_words(made)
    assert told in sentences.rest
    assert ("prop_3" in sentences.rest, sentences.tone) == ((True, "warn") if told else (False, "good"))
    unwritten = headline.result_in_words(replace(made, out=None))
    assert ("Still violated: prop_3" in unwritten.rest) == (before == "violated")


@pytest.mark.parametrize("before", ["proved", "violated", "unknown"])
def test_of_a_network_that_was_not_changed_everything_is_known(before: str) -> None:
    """A property that was proved stood among the open risks as not verified again."""
    entry = replace(outcome().watched[0], before=before, after=None)
    nothing = {"result": "nothing_to_repair", "out": None, "out_sha256": None, "watched": (entry,)}
    report = made_report(**nothing)
    risks = [risk for risk in report.risks if risk.topic.startswith("prop_3")]
    weights = {"proved": [], "violated": ["stop"], "unknown": ["open"]}
    assert [risk.weight for risk in risks] == weights[before]
    assert all(f"was not asked for: {before}. another" in risk.text for risk in risks)
    for page in (Seen.of(html_page(report)).text, markdown_page(report)):
        assert "not verified again" not in page
    assert "not verified again" in Seen.of(html_page(made_report(watched=(entry,)))).text


def test_a_candidate_that_was_not_measured_is_not_told_to_change_nothing() -> None:
    (tried,) = outcome().tried
    unknown = replace(tried, kept=replace(tried.kept, decision_agreement=None, mae=0.0, n=0))
    for candidate, measured in ((tried, True), (unknown, False)):
        report = made_report(tried=(candidate,))
        assert ("/outcome/tried/0/mae" in checked_figures(report)) is measured
        assert (' class="n">not measured</td>' in html_page(report)) is not measured


def test_proved_bounds_of_the_page_are_rounded_to_the_safe_side() -> None:
    (first, *_) = made_report().outcome.properties
    assert first.sampled is not None
    sampled = replace(first, sampled=replace(first.sampled, epsilon=8.341e-7, delta=0.05 / 7))
    report = made_report(properties=(sampled,))
    shown = {pointer: text for pointer, _, text in Seen.of(html_page(report)).figures}
    at = "/outcome/properties/0/sampled"
    assert (shown[f"{at}/epsilon"], shown[f"{at}/delta"]) == ("8.35e-07", "0.00715")


@pytest.mark.parametrize("runs", [1, 2])
def test_the_replay_script_does_what_our_replay_did(runs: int, tmp_path: Path) -> None:
    """Of a network that reads float64 and gives integers: other digits in float32, and no output that is a float."""
    made = _network_of_integers()
    (tmp_path / "net.onnx").write_bytes(made)
    x = (0.1, 0.7) * runs
    y = Session(made)(np.array(x[:2])).tolist() * runs
    told = {"properties": [{"name": "p", "counterexamples": [{"x": x, "y": y}]}]}
    (tmp_path / "repair.json").write_text(json.dumps(told))
    repair = outcome()
    found = [
        replace(entry, path=str(tmp_path / {"network before": "net.onnx"}.get(entry.role, "repair.json")))
        for entry in files(repair)
    ]
    command = safety_report(repair, found, None, version="0.1.0").commands[0]
    python, *words = shlex.split(command.command)
    assert (python, command.purpose.startswith("Replay")) == ("python", True)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"p {y} as recorded\n", 0), done.stderr


def _network_of_integers() -> bytes:
    """``1e9 (a + b)``, cut to an integer."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Mul", ["sum", "factor"], ["large"]),
        helper.make_node("Cast", ["large"], ["out"], to=TensorProto.INT64),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1]) for name in "ab"]
    outputs = [helper.make_tensor_value_info("out", TensorProto.INT64, [1])]
    factor = helper.make_tensor("factor", TensorProto.DOUBLE, [1], [1e9])
    graph = helper.make_graph(nodes, "integers", inputs, outputs, [factor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_more_than_before_is_partly_repaired_and_an_attempt_is_not() -> None:
    """Beside a file called `.repaired` it said "Not repaired ... it is not a repair"."""
    none = Drawdowns(properties=(Drawdown(name="prop_8", share=0.0, n=100),))
    first, second = outcome().properties
    second = replace(second, before="violated", after="violated")
    made = outcome(drawdown=none, watched=(), result="violated", properties=(first, second))
    result = headline.result_in_words(made)
    assert (result.word, result.tone) == ("Partly repaired", "warn")
    assert "not a repair" not in result.rest
    lost = ("prop_3",)
    for changes in ({"attempt": True}, {"regressions": lost}, {"properties": (second,)}):
        result = headline.result_in_words(replace(made, **changes))
        assert (result.word, result.tone) == ("Not repaired", "bad")
        assert "it is not a repair" in result.rest


@pytest.mark.parametrize(("after", "told"), [("violated", "Newly violated, proved before"), ("unknown", "not now")])
def test_a_property_that_was_proved_before_is_missed(after: str, told: str) -> None:
    """It was "Repaired and proved", green."""
    none = Drawdowns(properties=(Drawdown(name="prop_8", share=0.0, n=100),))
    entry = replace(outcome().watched[0], before="proved", after=after)
    result = headline.result_in_words(outcome(drawdown=none, watched=(entry,), regressions=("prop_3",)))
    assert (result.word, result.tone) == ("Proved, but with regressions", "warn")
    assert f"{told}: prop_3." in result.rest
    assert result.rest.count("prop_3") == 1


def test_newly_violating_points_are_no_good_news() -> None:
    """Nor are they where only samples see it."""
    kept, lost = (Drawdowns(properties=(Drawdown(name="prop_3", share=s, n=100_000),)) for s in (0.0, 1e-5))
    assert headline.result_in_words(outcome(drawdown=kept, watched=())).tone == "good"
    result = headline.result_in_words(outcome(drawdown=lost, watched=()))
    assert (result.tone, "of the sampled points of prop_3" in result.rest) == ("warn", True)


def test_a_rejected_certificate_is_no_good_news() -> None:
    stored = outcome().certificate
    assert stored is not None
    told = {"answer": "rejected", "detail": "node 7"}
    report = made_report(certificate=replace(stored, **told), watched=())
    assert (report.summary.verdict, report.summary.tone) == ("engines disagree", "bad")
    assert report.risks[0].weight == "stop"
    assert any(risk.topic == "Certificate rejected" for risk in report.risks)


def test_residual_risks_name_what_is_lost_or_open() -> None:
    lost = Drawdowns(properties=(Drawdown(name="prop_3", share=0.0083, n=1000),))
    told = {risk.topic: risk for risk in made_report(drawdown=lost, regressions=("prop_4",), timed_out=True).risks}
    assert "0.83 % violate it now" in told["prop_3 newly violated"].text
    assert told["prop_3 newly violated"].weight == told["prop_4 regressed"].weight == "stop"
    assert told["prop_3 not repaired"].weight == "stop"
    assert told["Out of time"].weight == "open"
    assert "5e-07" in told["Function tanh"].text
    assert "float16" in told["Arithmetic of the execution"].text
    assert any(topic == "Noted by the repair" for topic in told)
    weights = [risk.weight for risk in made_report(drawdown=lost).risks]
    assert weights == sorted(weights, key=("stop", "open", "assumption", "note").index)


def test_tied_outputs_are_named_in_the_headline_and_among_the_risks() -> None:
    ties = tuple(Tied(output=2 - k, follows=(1,), property="prop_8") for k in (0, 2))
    report = made_report(ties=ties, notes=("Something else.",))
    (tied,) = [risk.text for risk in report.risks if risk.topic == "Tied outputs"]
    assert tied.startswith("WR follows WL, COC follows WL, up to a constant: prop_8 is proved by that")
    assert any("Tied outputs" in line for line in report.summary.first)
    assert "Outputs tied: WR follows WL, COC follows WL" in report.summary.headline
    assert [r.text for r in report.risks if r.topic == "Noted by the repair"] == ["Something else."]


def test_an_undecided_property_is_open() -> None:
    undecided = replace(outcome().properties[1], after="unknown", reason="timeout", open_boxes=1234)
    report = made_report(result="sampled", properties=(undecided,))
    risk = next(risk for risk in report.risks if risk.topic == "prop_2 is undecided")
    assert risk.weight == "open"
    assert "(timeout, 1,234 boxes open)" in risk.text


def test_every_figure_of_the_page_is_that_of_the_json() -> None:
    found = checked_figures(made_report())
    assert len(found) > 60
    pointers = set(found)
    assert "/outcome/fidelity/mae" in pointers
    assert {"/outcome/change/W~11~0/Linf", "/moved/0/difference", "/summary/changed"} <= pointers
    assert "/outcome/properties/0/sampled/epsilon" in pointers


def test_the_json_reads_back_and_holds_the_outcome() -> None:
    report = made_report()
    again = record_from(SafetyReport, json.loads(dumps(report)))
    told = report.outcome.request  # of which the JSON says a part
    assert replace(again, outcome=replace(again.outcome, request=told, report=report.outcome.report)) == report
    assert json_document(again) == json_document(report)


def test_the_page_is_accessible() -> None:
    seen = Seen.of(html_page(made_report()))
    assert seen.all("html") == [{"lang": "en"}]
    assert seen.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(seen.headings))
    assert len(seen.ids) == len(set(seen.ids)), "identifiers clash"
    for have in seen.all("svg"):
        assert have["role"] == "img"
        assert set((have["aria-labelledby"] or "").split()) <= set(seen.ids)
    assert len(seen.all("svg")) == 2
    assert seen.captions == len(seen.all("table")) > 10
    assert {have.get("scope") for have in seen.all("th")} == {"row", "col"}
    targets = [have["href"] or "" for have in seen.all("a")]
    assert targets[0] == "#content"
    assert all(target[1:] in seen.ids for target in targets)
    for have in seen.all("div"):
        if have.get("class") == "scroll":
            assert have["tabindex"] == "0"
            assert have["aria-labelledby"] in seen.ids


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_stands_out_from_its_ground_in_light_in_dark_and_on_paper() -> None:
    """WCAG AA: a contrast of 4.5 at least."""
    style = re.search(r"<style>(.*?)</style>", html_page(made_report()), re.DOTALL)
    assert style is not None
    schemes = re.findall(r":root\s*\{(.*?)\}", style[1], re.DOTALL)
    assert len(schemes) == 3
    pairs = [("ink", ground) for ground in ("page", "panel", "good-soft", "warn-soft", "bad-soft")]
    pairs += [("soft", "page"), ("soft", "panel"), ("link", "page")]
    pairs += [(kind, f"{kind}-soft") for kind in ("good", "warn", "bad", "note")]
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]+)", scheme))
        full = {
            name: c if len(c) == 7 else "#" + "".join(2 * letter for letter in c[1:]) for name, c in colours.items()
        }
        for text, ground in pairs:
            one, other = sorted((luminance(full[text]), luminance(full[ground])))
            assert (other + 0.05) / (one + 0.05) >= 4.5, (text, ground, scheme[:40])


def test_the_page_asks_for_nothing() -> None:
    page = html_page(made_report())
    assert not Seen.of(page).all("script")
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert all(a.startswith(("#", "data:")) for a in addresses), set(addresses)
    assert "@import" not in page


def test_names_are_shown_and_never_run() -> None:
    evil = '<script>alert("x")</script>'
    nasty = replace(outcome().properties[0], **{"name": evil, "text": f"a|b `{evil}` \n# c"})
    report = made_report(properties=(nasty,))
    seen = Seen.of(html_page(report))
    assert not seen.all("script")
    assert evil in seen.text
    page = markdown_page(report)
    assert "<script>" not in page
    assert "\n# c" not in page
    assert "a\\|b \\`" in page


def test_a_command_cannot_leave_its_block() -> None:
    request = replace(outcome().request, command=("birdnn", "repair", "--net", "a```\n# title"))
    page = markdown_page(made_report(request=request))
    assert "````sh\nbirdnn repair" in page


def test_nobody_is_told_that_anything_complies() -> None:
    report = made_report()
    for text in (html_page(report), markdown_page(report), dumps(report)):
        assert "evidence offered toward" in text.lower() or text.startswith("{")
        for said in re.findall(r"[^.]*\bcompl(?:y|ies|iant)\b[^.]*", text):
            assert "Nothing here states or implies" in said


def test_markdown_tables_keep_their_columns() -> None:
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown_page(made_report()), re.MULTILINE):
        rows = [re.sub(r"\\.", "", line).count("|") for line in block.splitlines()]
        assert len(set(rows)) == 1, block
        assert len(rows) > 1


def test_sarif_tells_the_original_from_the_repaired_network() -> None:
    log = sarif_log(made_report())
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    before, after, kept = run["results"]
    assert (before["ruleId"], before["kind"], before["level"]) == ("prop_8", "fail", "error")
    assert [s["status"] for s in before["suppressions"]] == ["accepted"]
    assert "0" * 64 in before["suppressions"][0]["justification"]
    assert (after["kind"], after["level"], kept["ruleId"], kept["kind"]) == ("pass", "none", "prop_2", "pass")
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert run["artifacts"][place["index"]]["location"]["uri"] == place["uri"]
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert run["artifacts"][1]["hashes"]["sha-256"] == "ef"


@pytest.mark.parametrize(("after", "kind", "level"), [("violated", "fail", "error"), ("unknown", "open", "none")])
def test_sarif_suppresses_nothing_that_is_not_proved(after: str, kind: str, level: str) -> None:
    (run,) = sarif_log(made_report(result="violated", properties=words(after)))["runs"]
    assert not any("suppressions" in result for result in run["results"])
    assert {(r["kind"], r["level"]) for r in run["results"][1:]} == {(kind, level)}


def test_in_toto_binds_every_hash() -> None:
    said = intoto_statement(made_report())
    assert (said["_type"], said["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "urn:birdnn:attestation:repair:v1",
    )
    assert said["subject"] == [{"name": "net.repaired.onnx", "digest": {"sha256": "ef"}}]
    bound = said["predicate"]
    assert bound["networkBefore"]["digest"] == {"sha256": "cd"}
    assert bound["networkAfter"]["digest"] == {"sha256": "ef"}
    assert [p["digest"] for p in bound["properties"]] == [{"sha256": "ab"}] * 2
    assert bound["certificate"]["digest"] == {"sha256": "0" * 64}
    assert bound["tool"]["version"] == "0.1.0"


def test_in_toto_of_a_network_that_stays_speaks_about_it() -> None:
    said = intoto_statement(made_report(result="nothing_to_repair", out=None, out_sha256=None, certificate=None))
    assert said["subject"][0]["digest"] == {"sha256": "cd"}
    assert (said["predicate"]["networkAfter"], said["predicate"]["certificate"]) == (None, None)


def test_an_outcome_with_the_least_still_makes_every_page() -> None:
    bare = {
        "properties": tuple(replace(p, counterexamples=(), regions=()) for p in outcome().properties),
        "result": "nothing_to_repair", "out": None, "out_sha256": None, "fidelity": None, "region_fidelity": {},
        "drawdown": Drawdowns(), "efficacy": None,
        "generalisation": None, "change": {}, "domain": None, "decision": "none", "suite": None, "inputs": (),
        "outputs": (), "watched": (), "localisation": (), "tried": (), "certificate": None, "neighbours": (),
    }  # fmt: skip
    report = made_report(**bare)
    assert "Nothing to repair" in Seen.of(html_page(report)).text
    assert "Nothing was changed." in markdown_page(report)
    assert RHO.name not in readable(dumps(report))


@pytest.mark.parametrize(
    ("word", "status", "added"),
    [("kept", "accepted", []), ("badly kept", "underReview", [("fail", "warning")]),
     ("not measured", "underReview", [("open", "none")])],
)  # fmt: skip
def test_machines_hear_that_a_proof_alone_is_no_success(word: str, status: str, added: list[tuple[str, str]]) -> None:
    """The statement said "proved" of a wrecked network, and SARIF "pass" and no more."""
    report = made_report(behaviour_kept=word, watched=())
    bound = intoto_statement(report)["predicate"]
    assert (bound["behaviourKept"], bound["headline"]) == (word, report.summary.headline)
    assert bound["tone"] == report.summary.tone
    (run,) = sarif_log(report)["runs"]
    assert run["properties"]["behaviourKept"] == word
    assert [s["status"] for s in run["results"][0]["suppressions"]] == [status]
    found = [result for result in run["results"] if result["ruleId"] == "birdnn/behaviour"]
    assert [(result["kind"], result["level"]) for result in found] == added
    for result in found:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "birdnn/behaviour"
    (kept, *_) = [entry for entry in report.mapping if "behaviour kept by a change" in entry.asks]
    assert (kept.offered == "offered") == (word == "kept")


@pytest.mark.thorough
@pytest.mark.parametrize("rule", ["argmin", "read from the properties", "none"])
def test_the_first_page_tells_the_worst_place(rule: str) -> None:
    """It told the first one, 99.99 %, of a network that keeps half of the decisions on the test examples."""
    (good,) = outcome().behaviour
    either = {} if rule == "argmin" else {"argmin_agreement": 0.515, "argmax_agreement": 0.987}
    there = {"where": "the inputs of --test t.npz", "ground": "test", "n": 321}
    worst = replace(good, **{**there, "decision_agreement": 0.515, **either})
    report = made_report(behaviour=(good, worst), decision="none" if rule == "none" else "argmin")
    assert checked_figures(report)
    page = " ".join(Seen.of(html_page(report)).text.split())
    (row,) = [line for line in markdown_page(report).splitlines() if line.startswith("| decisions kept |")]
    assert "321 inputs" in row
    card = page[page.index("Decisions kept") : page.index("Changed")]
    for text in (card, row):
        assert "51.50 %" in text
        assert ("98.70 %" in text) == (rule != "argmin")
        assert ("not measured" in text) == (rule == "none")


def test_each_place_is_judged_by_what_is_asked_for_there() -> None:
    """Where one was badly kept each was; and beyond the regions "asked for" was 99 %, with a domain "none declared"."""
    (good,) = outcome().behaviour
    beyond = replace(good, where="far out", ground="beyond", decision_agreement=0.5)
    moved = replace(good, where="some data", ground="data", mae=good.size / 2)
    for badly, told, asked in (
        (beyond, "far out", "where nobody said that it matters, is the same decision at 90.00 % at least"),
        (moved, "some data", "Asked for is the same decision at 99.00 % at least"),
    ):
        report = made_report(behaviour=(good, badly), behaviour_kept="badly kept")
        stops = [risk.text for risk in report.risks if risk.topic == "Behaviour is badly kept"]
        assert len(stops) == 1
        assert told in stops[0]
        assert asked in report.summary.headline
        assert f"on {told}" in report.summary.headline
    fine = replace(beyond, decision_agreement=0.95)
    for changes, topic in (({}, "Behaviour beyond the domain"), ({"domain": None}, "Behaviour measured at hand")):
        found = made_report(behaviour=(good, fine), **changes).risks
        (told,) = [risk.text for risk in found if "far out" in risk.text]
        assert [risk.topic for risk in found if risk.text == told] == [topic]
        assert ("no domain was declared" in told) == bool(changes)


def test_a_certificate_that_cannot_be_read_spoils_no_page() -> None:
    """Markdown could not be made of it."""
    made = outcome()
    report = safety_report(made, files(made, certificate="missing"), None, version="0.1.0")
    assert "net.certificate.json.gz" in markdown_page(report)
    assert "net.certificate.json.gz" in html_page(report)
