"""``birdnn compare``: tables, JSON, page, exit status, bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from birdnn.compare.pair import read_pair
from birdnn.formats.onnx import layers_to_onnx
from birdnn.records import CompareRequest
from birdnn.report.schemas import schemas
from tests.cli.conftest import Call, box_property
from tests.compare.files import linear, spike, unit_domain
from tests.queries import query_over

DATA = Path(__file__).resolve().parent.parent.parent / "birdnn" / "data"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """``relu(x0) + relu(x1) - 1``: as `net`, and lower by one."""
    layers = [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.array([-1.0]))]
    path = tmp_path / "lower.onnx"
    path.write_bytes(layers_to_onnx(layers))
    return path


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_result_for_people_and_for_programs(
    call: Call, net: Path, other: Path, broken: Path, holds: Path, tmp_path: Path
) -> None:
    target, page = tmp_path / "r.json", tmp_path / "r.html"
    asked = ("--prop", broken, "--keep", holds, "--domain", "property", "--samples", 8_000)
    result = call("compare", net, other, *asked, "--json", target, "--html", page)
    assert result.status == 0, result.err
    assert result.out.startswith("Mean absolute difference 1 over the domain. Of 2 properties none lost, 1 gained")
    told = words(result.out)
    assert "broken violated proved gained" in told
    assert "holds (keep) proved proved kept" in told
    assert "Y_0 is" in told
    assert "by search, run on the files by onnxruntime" in told
    assert max(map(len, result.out.splitlines())) <= 100
    assert "\x1b" not in result.out
    report = json.loads(target.read_text())
    assert set(json.loads(schemas()["compare.schema.json"])["required"]) <= set(report)
    assert (report["outcome"], report["gained"], report["lost"]) == ("different", ["broken"], [])
    domain = report["likeness"][0]
    assert domain["fidelity"]["mae"] == pytest.approx(1.0)
    assert [entry["place"] for entry in report["likeness"]] == ["domain", "broken", "holds"]
    assert [entry["size"] for entry in report["apart"]] == pytest.approx([1.0] * 3)
    assert report["proved_apart"][0]["upper"] == pytest.approx([1.0])
    (change,) = report["structure"]["changes"]
    assert (change["layer"], change["count"], change["size"], change["Linf"]) == (2, 1, 1, 1.0)
    first = report["properties"][0]
    assert first["before_counterexample"]["replayed_by"] == ["onnxruntime"]
    assert first["after_counterexample"] is None
    whole = page.read_text()
    assert whole.startswith("<!DOCTYPE html>")
    assert "<script" not in whole
    assert "http" not in whole.replace("https://", "http://").replace("http://www.w3.org", "")
    figures = re.findall(r'<data value="([^"]*)" data-pointer="([^"]*)">', whole)
    assert len(figures) > 40
    for value, pointer in figures:
        found = report
        for part in pointer.strip("/").split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert json.loads(value.replace("&#34;", '"')) == found, pointer


def test_a_property_that_is_lost_is_said_first(call: Call, net: Path, other: Path, broken: Path) -> None:
    result = call("compare", other, net, "--prop", broken, "--samples", 400, "--bound", 0)
    assert result.status == 0, result.err
    assert "1 lost" in result.out.splitlines()[0]
    told = words(result.out)
    assert "broken proved violated lost" in told
    assert "regressions broken: proved for A, not for B" in told
    assert "not asked for (--bound 0)" in told
    assert "not measured over the domain: it is unknown, give --domain" in told
    # the region's points are compared all the same
    assert {"newly", "violating"} <= set(told.split())  # a heading may be broken between the two


def test_a_network_with_itself(call: Call, net: Path, tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    result = call("compare", net, net, "--domain", unit_domain(tmp_path, 2), "--quiet", "--json", target)
    assert (result.status, result.out) == (0, "The same network: no parameter differs.\n")
    report = json.loads(target.read_text())
    assert (report["outcome"], report["apart"], report["structure"]["changed"]) == ("same", [], 0)
    assert report["likeness"][0]["fidelity"]["mae"] == 0.0
    assert report["proved_apart"][0]["upper"][0] < 1e-9


def test_nothing_says_where(call: Call, net: Path, other: Path) -> None:
    """Without domain and property the parameters are still compared."""
    result = call("compare", net, other)
    assert result.status == 0, result.err
    assert result.out.startswith("Compared by structure alone: nothing says where to sample.")
    assert "nothing: no domain and no property says where" in words(result.out)


def test_decisions_and_different_structures(call: Call, tmp_path: Path) -> None:
    flat, high = linear(tmp_path / "a.onnx", [[0, 0], [0, 0]], [0, 0.5]), spike(tmp_path / "b.onnx", 3.0)
    page, asked = tmp_path / "r.html", ("--domain", unit_domain(tmp_path, 2), "--decision", "argmax", "--bound", 0.5)
    result = call("compare", flat, high, *asked, "--samples", 2_000, "--html", page)
    assert result.status == 0, result.err
    told = words(result.out)
    assert "Same decision on 99." in told
    assert "decisions changed Y_1 to Y_0" in told
    assert "Y_1 in A, Y_0 in B, each by at least 0.5" in told
    assert "different structures: no parameter of one corresponds to one of the other" in told
    assert "not comparable" in page.read_text()


@pytest.mark.thorough
def test_nnet_and_onnx_of_the_demonstration(call: Call, tmp_path: Path) -> None:
    """The suite knows the demonstration network by content: units, names, decision and domain come from there."""
    demo, target = DATA / "demo.onnx", tmp_path / "r.json"
    result = call("compare", demo, demo, "--samples", 2_000, "--bound", 0, "--json", target)
    assert result.status == 0, result.err
    report = json.loads(target.read_text())
    assert (report["decision"], report["domain"]["source"]) == ("argmin", "suite acasxu")
    assert [q["name"] for q in report["outputs"]] == ["COC", "WL", "WR", "SL", "SR"]
    assert report["properties"] == []
    assert "--suite decides them" in words(result.out)


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        (("--samples", "0"), 2, "at least 1 is expected, not 0"),
        (("--bound", "-1"), 2, "at least 0 is expected"),
        (("--bound", "nan"), 2, "a finite number of at least 0"),
        (("--timeout", "0"), 2, "positive"),
        (("--decision", "median"), 2, "median"),
        (("--as", "N1,1"), 2, "--suite"),
        (("--suite", "acasxu"), 4, "--as NAME"),
        (("--domain", "property"), 4, "no property was named"),
        (("--domain", "missing.toml"), 4, "no such file"),
        (("--prop", "missing.vnnlib"), 4, "no such file"),
        (("--json", "x.onnx"), 4, "input's name"),
        (("--html", "nowhere/x.html"), 4, "no folder"),
        (("--units", "raw", "--prop", "broken"), 4, "raw units need the network's scaling"),
    ],
)
def test_bad_requests(
    call: Call, net: Path, other: Path, broken: Path, more: tuple[str, ...], status: int, said: str
) -> None:
    asked = [str(broken) if part == "broken" else part for part in more]
    result = call("compare", net, other, *asked, "--quiet")
    assert (result.status, result.out) == (status, "")
    assert said in words(result.err)
    assert "Traceback" not in result.err


def test_networks_that_cannot_be_compared(call: Call, net: Path, tmp_path: Path) -> None:
    three = linear(tmp_path / "three.onnx", [[1, 1, 1]], [0])
    result = call("compare", net, three)
    assert (result.status, result.out) == (4, "")
    assert "only networks with the same numbers of inputs and outputs can be compared" in words(result.err)
    two = linear(tmp_path / "two.onnx", [[1, 1], [0, 1]], [0, 0])
    assert "has 1 output" in words(call("compare", net, two).err)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    assert call("compare", net, tmp_path / "bad.onnx").status == 4
    assert call("compare", net).status == 2
    before = net.read_bytes()
    assert call("compare", net, net, "--json", net).status == 4
    assert net.read_bytes() == before


def nnet(path: Path, mean: str, extent: str) -> Path:
    """One input, one output, ``y = x``, normalised as said."""
    lines = ["// made up", "1,1,1,1,", "1,1,", "0,", "-1.0,", "1.0,", f"{mean},0.0,", f"{extent},1.0,", "1.0,", "0.0,"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_headers_that_mean_other_units(call: Call, tmp_path: Path) -> None:
    """The same number is another input to each: comparing would say nothing."""
    one, same, other = (nnet(tmp_path / f"{n}.nnet", m, "2.0") for n, m in (("a", "0.0"), ("b", "0.0"), ("c", "0.5")))
    fine = call("compare", one, same, "--samples", 400, "--bound", 0)
    assert fine.status == 0, fine.err
    assert "the NNet header" in fine.out
    refused = call("compare", one, other)
    assert refused.status == 4
    assert "normalise their inputs or outputs differently" in words(refused.err)


@pytest.mark.thorough
def test_a_time_limit_leaves_properties_undecided(call: Call, endless: tuple[Path, Path], tmp_path: Path) -> None:
    net, prop = endless
    target = tmp_path / "r.json"
    result = call(
        "compare", net, net, "--prop", prop, "--timeout", 4, "--samples", 1_000, "--bound", 1, "--json", target
    )
    assert result.status == 0, result.err
    report = json.loads(target.read_text())
    assert [prop["became"] for prop in report["properties"]] == ["undecided"]
    assert report["timeout_s"] == 4.0
    assert "1 undecided" in report["headline"]


@pytest.mark.thorough
@pytest.mark.acasxu
def test_the_same_network_in_two_formats(call: Call, acasxu: Path, tmp_path: Path) -> None:
    """NNet and ONNX of N2,9: nothing corresponds by name, everything by layer, and outputs agree to rounding."""
    target = tmp_path / "r.json"
    nnet_file, onnx_file = acasxu / "nnet" / "ACASXU_experimental_v2a_2_9.nnet", "ACASXU_run2a_2_9_batch_2000.onnx"
    result = call(
        "compare", acasxu / "onnx" / onnx_file, nnet_file, "--samples", 20_000, "--bound", 1, "--json", target
    )
    assert result.status == 0, result.err
    report = json.loads(target.read_text())
    assert (report["structure"]["matching"], report["outcome"]) == ("layers", "same")
    assert report["likeness"][0]["fidelity"]["decision_agreement"] > 0.9999
    assert report["likeness"][0]["fidelity"]["mae"] < 1e-5


def test_a_box_property_names_its_region(call: Call, net: Path, other: Path, tmp_path: Path) -> None:
    """Where no domain is known the regions are searched and bounded."""
    prop, target = tmp_path / "small.vnnlib", tmp_path / "r.json"
    prop.write_text(box_property(2, "(>= Y_0 3.0)", upper="0.5"))
    result = call("compare", net, other, "--prop", prop, "--samples", 400, "--json", target)
    assert result.status == 0, result.err
    report = json.loads(target.read_text())
    assert (report["domain"], report["likeness_note"][:12]) == (None, "not measured")
    assert [entry["place"] for entry in report["apart"]] == ["small"]
    assert report["proved_apart"][0]["upper"] == pytest.approx([1.0])
    assert report["headline"].startswith("Mean absolute difference 1 over the region of small.")


def test_a_query_over_float32_is_decided_of_runs(residual: Path, tmp_path: Path) -> None:
    """Graphs are proved over the reals where nothing else is said."""
    for element, semantics in (("real", "real"), ("float32", "float32")):
        prop = tmp_path / f"{element}.vnnlib"
        prop.write_text(query_over(element))
        pair = read_pair(CompareRequest(before=residual, after=residual, props=(prop,)))
        assert pair.semantics == semantics
