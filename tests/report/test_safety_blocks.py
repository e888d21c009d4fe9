"""The safety report of a repair by blocks: no sentence about what this method has not, and none that is false."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from birdnn.records import BlockRepair, GraphNode, SafetyReport
from birdnn.report.intoto import intoto_statement
from birdnn.report.pages import html_page, markdown_page
from birdnn.report.sarif import sarif_log
from tests.report.block_outcomes import GRAPH, REPAIR, block_report, method, nothing_found, without_test
from tests.report.outcomes import repair_outcome
from tests.report.pages import Seen, checked_figures

NEVER = (
    "same values as the original", "0 of 0", "Properties asked for", "rests on the prover", "Proof speaks about",
    "proofs rest", "not about rounding", "Newly violated", "Each property", "No counterexample", "Verdict matrix",
    "No fresh points", "violating points", "ranks the neurons", "the graph is the same", "Only values of initialisers",
    "No input domain", "A property says", "sampling 0", "proof 0", "Proofs speak", "A proof is as good",
    "No other engine", "not measured over a domain", "Nothing left open",
)  # fmt: skip
NOT_WRITTEN = ("Repaired as far", "Broken examples", "byte by byte", "Which of these changed", "The repaired network")
CASES = {
    "written": REPAIR,
    "no held-out file": without_test(),
    "nothing found": nothing_found(),
    "nothing found, no held-out file": nothing_found(without_test()),
}


def texts(report: SafetyReport) -> tuple[str, str]:
    """What people read: the page's text with single blanks, and the Markdown."""
    page = html_page(report).replace("><", "> <")
    return " ".join(Seen.of(page).text.split()), markdown_page(report)


@pytest.mark.parametrize("repair", CASES.values(), ids=CASES)
def test_nothing_is_said_that_belongs_to_properties(repair: BlockRepair) -> None:
    for text in texts(block_report(repair)):
        said = [words for words in NEVER if words in text]
        assert not said
        assert "Nothing is proved" in text
        if repair.graph is None:
            assert "Nothing was changed: no network was written." in text
            assert not [words for words in NOT_WRITTEN if words in text]


@pytest.mark.parametrize("repair", CASES.values(), ids=CASES)
def test_pages_are_whole(repair: BlockRepair) -> None:
    """Contents lead to every section, numbers run, no table is empty, references name sections that exist."""
    report = block_report(repair)
    page = html_page(report)
    seen = Seen.of(page)
    links = [have["href"] or "" for have in seen.all("a")]
    assert all(link[1:] in seen.ids for link in links)
    sections = [have["id"] for have in seen.all("section")]
    assert sections == [f"s{place}" for place in range(8)]
    assert {f"#{name}" for name in sections} <= set(links)
    assert len(seen.ids) == len(set(seen.ids))
    assert all(after <= before + 1 for before, after in pairwise(seen.headings))
    bodies = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    assert len(bodies) == len(seen.all("table")) > 4
    assert all("<tr>" in body for body in bodies)
    assert {entry.section for entry in report.mapping} <= set(range(1, 8))
    markdown = markdown_page(report)
    assert [int(n) for n in re.findall(r"^## (\d+) ", markdown, re.MULTILINE)] == list(range(1, 8))
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE):
        rows = [re.sub(r"\\.", "", line).count("|") for line in block.splitlines()]
        assert len(set(rows)) == 1, block
        assert len(rows) > 2, block
    assert all(before == "" for before in re.findall(r"^(.*)\n## ", markdown, re.MULTILINE))


def test_every_figure_is_that_of_the_json() -> None:
    assert len(checked_figures(block_report())) > 50


def test_the_first_page_tells_what_counts() -> None:
    text, _ = texts(block_report())
    front = text[text.index("Summary Repaired") : text.index("Each hash was compared")]
    assert "Accuracy on held-out examples 70.00 % → 79.00 % 4,200 → 4,740 right of 6,000" in front
    assert "650 repaired, 110 broken" in front
    assert "Decisions kept 84.00 % of 1,500 validation examples" in front
    assert "Block stem one of 3; the most suspicious" in front
    assert "Architecture 1 of 2 convolutions are other operations now" in front
    assert "Proved nothing" in front
    assert "110 of 6,000 held-out examples were right before and are wrong now" in front
    assert "Another way does better. On the validation examples, which are there to choose by, network" in front
    alone, _ = texts(block_report(replace(REPAIR, places=REPAIR.places[1:])))
    assert "Architecture as before weights alone are others" in alone


def test_the_picture_of_the_change_is_there_where_it_shows_all_of_it() -> None:
    moved = repair_outcome().change
    weights = replace(GRAPH, nodes_gone=(), nodes_new=(), initialisers_gone={}, initialisers_new={})
    assert len(Seen.of(html_page(block_report(replace(REPAIR, graph=weights), change=moved))).all("svg")) == 1
    seen = Seen.of(html_page(block_report(change=moved)))
    assert not seen.all("svg")
    assert "those of one file alone are not among them" in seen.text


def test_without_held_out_examples_the_page_says_who_chose() -> None:
    for text in texts(block_report(without_test())):
        assert "No held-out examples" in text
        assert "had no say in" not in text
    text, _ = texts(block_report(without_test()))
    assert "Accuracy on validation examples" in text
    assert "which chose the result: there were no held-out ones" in text


def test_the_change_is_told_as_it_was_found() -> None:
    text, markdown = texts(block_report())
    assert "The same in both: 1,500 nodes and 12 initialisers." in text
    assert "metadata are the same. Every node that was replaced belongs to block stem." in text
    assert "stem.weight (8 × 1 × 3 × 3)" in text
    assert "stem\\_\\_kernel (8 × 1 × 5 × 5)" in markdown
    strange = replace(GRAPH, nodes_gone=(*GRAPH.nodes_gone, GraphNode("/head/fc/Gemm", "Gemm")), rest_kept=False)
    for text in texts(block_report(replace(REPAIR, graph=strange))):
        assert "metadata differ" in text
        assert "Every node that was replaced belongs" not in text
        assert "belong to block stem: /head/fc/Gemm" in text.replace("\\", "")


@pytest.mark.parametrize("early", ["interrupted", "timed_out"])
def test_an_early_end_is_told(early: str) -> None:
    topic = {"interrupted": "Interrupted", "timed_out": "Out of time"}[early]
    found = block_report(**{early: True})
    assert found.risks[0].topic == topic
    assert found.risks[0].text.endswith("the network is the best candidate up to then.")
    unjudged = replace(
        REPAIR.localisation, blocks=tuple(replace(b, suspiciousness=None) for b in REPAIR.localisation.blocks)
    )
    none = block_report(nothing_found(replace(REPAIR, localisation=unjudged)), **{early: True})
    assert none.risks[0].text.endswith("no candidate had done better up to then.")
    assert none.summary.explanation.startswith("Up to its early end no candidate")
    assert (none.summary.verdict, none.summary.tone) == ("violated", "bad")
    assert "Localisation" not in {risk.topic for risk in none.risks}
    for text in texts(none):
        assert "best candidate" not in text
        assert "None of them was judged" in text
        assert "on trial" not in text


def test_a_network_that_repairs_no_example_is_no_repair() -> None:
    report = block_report(replace(REPAIR, methods=(method("blocks", 0, 0),)), result="violated")
    assert (report.summary.headline, report.summary.tone) == ("Not repaired", "bad")
    assert report.risks[0].weight == "stop"
    for text in texts(report):
        assert "No network was written" not in text


def test_other_files_than_those_recorded_come_first() -> None:
    report = block_report(states={"held-out_examples": "differs", "repair_examples": "missing"})
    assert report.summary.headline == "Not about these files"
    assert "held-out examples" in report.summary.explanation
    assert {"Held-out examples differs", "Repair examples missing"} <= {risk.topic for risk in report.risks}


def test_sarif_never_passes_what_was_counted() -> None:
    (run,) = sarif_log(block_report())["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "repair-examples", "validation-examples", "held-out-examples"
    ]  # fmt: skip
    assert [result["kind"] for result in run["results"]] == ["fail"] * 6
    assert run["results"][-1]["message"]["text"] == "The repaired network gets 1,260 of 6,000 held-out examples wrong."
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert run["artifacts"][place["index"]]["location"]["uri"] == place["uri"]
    perfect = replace(REPAIR, methods=(method("blocks", 1800, 0),))
    last = sarif_log(block_report(perfect))["runs"][0]["results"][-1]
    assert (last["kind"], last["level"]) == ("open", "none")
    (stayed,) = sarif_log(block_report(nothing_found()))["runs"]
    assert {result["message"]["text"].split(" gets ")[0] for result in stayed["results"]} == {
        "The network before the repair"
    }


def test_in_toto_binds_the_examples_and_claims_no_semantics() -> None:
    bound = intoto_statement(block_report())["predicate"]
    assert bound["semantics"] is None
    assert [entry["digest"]["sha256"] for entry in bound["examples"]] == ["repair0", "validation0", "test0"]
    assert (bound["examples"][2]["rightBefore"], bound["examples"][2]["rightAfter"]) == (4200, 4740)
    assert (bound["properties"], bound["certificate"], bound["verdict"]) == ([], None, "not proved")


def test_no_standard_is_offered_a_proof() -> None:
    for entry in block_report(nothing_found()).mapping:
        if entry.offered == "offered":
            assert entry.source == "UL 4600"
