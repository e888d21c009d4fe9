"""Suites: recognition by content, the declared domain, and errors that name file and key."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from birdnn.errors import FormatError, InputError, MismatchError
from birdnn.formats import read_network
from birdnn.formats.nnet import read_nnet
from birdnn.formats.suite import Suite, bundled_path, content_key, property_hull, read_domain, recognise_bundled
from tools import acasxu as table

DEMO = bundled_path("acasxu").parent.parent / "demo.onnx"


@pytest.fixture(scope="module")
def suite() -> Suite:
    return Suite.load("acasxu")


def nudged(net):
    """`net` with one weight moved to the next float32."""
    name, value = next((n, v) for n, v in net.initialisers().items() if n in net.repairable)
    changed = value.detach().clone()
    changed.view(-1)[0] = torch.nextafter(changed.view(-1)[0], torch.tensor(torch.inf, dtype=changed.dtype))
    return net.with_values({name: changed})


def test_a_name_that_is_no_suite_is_answered_with_those_that_are():
    with pytest.raises(FormatError, match=r"^acasx: no suite of that name, .*; known are acasxu, hcas, vcas$"):
        Suite.load("acasx")


def test_a_suite_says_what_the_network_does_not(suite):
    assert (suite.name, suite.decision, suite.units) == ("acasxu", "argmin", "normalised")
    assert [q.name for q in suite.outputs] == ["COC", "WL", "WR", "SL", "SR"]
    assert [(q.name, q.unit) for q in suite.inputs] == [
        ("rho", "ft"), ("theta", "rad"), ("psi", "rad"), ("v_own", "ft/s"), ("v_int", "ft/s"),
    ]  # fmt: skip
    assert "COC" in suite.texts["prop_2"]


def test_the_domain_contains_the_stated_one(suite):
    lower, upper = suite.domain()
    assert lower.dtype == upper.dtype == torch.float64
    for quantity, low, high in zip(table.INPUTS, lower.tolist(), upper.tolist(), strict=True):
        exact_low, exact_high = quantity.normalised(quantity.lower), quantity.normalised(quantity.upper)
        assert exact_low - Fraction(1, 10**11) < Fraction(low) <= exact_low
        assert exact_high <= Fraction(high) < exact_high + Fraction(1, 10**11)


def test_scaling_is_exact(suite):
    scaling = suite.scaling
    assert scaling.input_means[0] == Fraction("19791.091")
    assert scaling.output_range == Fraction("373.94992")


def test_every_stated_property_is_there_and_fits(suite):
    for name in suite.texts:
        prop = suite.property(name)
        assert (prop.name, prop.n_inputs, prop.n_outputs) == (name, len(suite.inputs), len(suite.outputs))


def test_applicable_properties_are_the_tables(suite):
    for a, t in table.NETWORKS:
        assert suite.entry(f"N{a},{t}").applicable == table.applicable(a, t)


def test_fingerprints_tell_the_networks_apart(suite):
    assert len(suite.entries) == 46
    assert len({e.weights_sha256 for e in suite.entries}) == len({e.content_key for e in suite.entries}) == 46


def test_the_demo_is_recognised_under_any_name(suite, tmp_path):
    copy = tmp_path / "ACASXU_run2a_1_1_batch_2000.onnx"
    shutil.copy(DEMO, copy)
    entry = suite.recognise(read_network(copy))
    assert entry is not None
    assert entry.name == "demo"
    assert {"prop_2", "prop_8"} <= set(entry.applicable)
    assert recognise_bundled(read_network(copy))[1] == entry


def test_a_changed_network_is_another_network(suite):
    assert suite.recognise(nudged(read_network(DEMO))) is None


@pytest.mark.acasxu
def test_networks_are_recognised_by_content(suite, acasxu, tmp_path):
    for a, t in ((1, 1), (2, 9), (5, 3)):
        copy = tmp_path / "some_other_name.onnx"
        shutil.copyfile(acasxu / "onnx" / f"ACASXU_run2a_{a}_{t}_batch_2000.onnx", copy)
        assert suite.recognise(read_network(copy)).name == f"N{a},{t}"


@pytest.mark.acasxu
@pytest.mark.parametrize("at", ["1_1", "1_9", "2_9"])
def test_the_nnet_version_is_the_same_network(suite, acasxu, at):
    net = read_nnet(acasxu / "nnet" / f"ACASXU_experimental_v2a_{at}.nnet").network
    onnx = read_network(acasxu / "onnx" / f"ACASXU_run2a_{at}_batch_2000.onnx")
    assert content_key(net) == content_key(onnx)
    assert suite.recognise(net).name == f"N{at.replace('_', ',')}"


def test_a_name_the_suite_does_not_know_lists_those_it_does(suite):
    with pytest.raises(MismatchError, match="N2,9"):
        suite.entry("N9,9")
    with pytest.raises(MismatchError, match="prop_8"):
        suite.property("prop_11")


# --- files that are no suite -----------------------------------------------------------------------------------------


def broken(tmp_path: Path, old: str, new: str) -> Path:
    text = bundled_path("acasxu").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "broken.toml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('decision = "argmin"', 'decision = "least"', "decision"),
        ('decision = "argmin"', "", "decision"),
        ('name = "rho"', 'nome = "rho"', "inputs.0"),
        ("range = 60261", "range = 0", "inputs.0.range"),
        ("range = 60261", "range = nan", "inputs.0.range"),
        ("lower = [", "lower = [0.0, ", "domain"),
        ("lower = [", "lower = [inf, ", "domain"),
        ('file = "prop_1.vnnlib"', 'file = "../prop_1.vnnlib"', "properties.0.file"),
        ('weights_sha256 = "', 'weights_sha256 = "x', "networks.0.weights_sha256"),
        ('properties = ["prop_1"', 'properties = ["prop_99"', "prop_99"),
        ('name = "N1,2"', 'name = "N1,1"', "N1,1"),
        ('suite = "acasxu"', "suite = ", "TOML"),
        (
            'weak left"\nunit = "cost"\nmean = 7',
            'weak left"\nunit = "cost"\nmean = 8',
            "outputs: [1] 'WL' has mean 8.5",
        ),
    ],
)
def test_an_unusable_suite_names_file_and_key(tmp_path, old, new, key):
    file = broken(tmp_path, old, new)
    with pytest.raises(FormatError) as caught:
        Suite.load(file)
    assert str(file) in str(caught.value)
    assert key in str(caught.value)


def test_an_encounter_names_inputs_that_there_are(tmp_path):
    with pytest.raises(FormatError, match="names inputs that there are not: bearing"):
        Suite.load(broken(tmp_path, 'bearing = "theta"', 'bearing = "bearing"'))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a = [", b"[domain]\n"])
def test_a_file_that_is_no_suite_is_refused(tmp_path, content):
    file = tmp_path / "s.toml"
    file.write_bytes(content)
    with pytest.raises(FormatError, match=r"s\.toml"):
        Suite.load(file)


def test_a_missing_suite_is_refused(tmp_path):
    with pytest.raises(InputError, match="gone"):
        Suite.load(tmp_path / "gone.toml")


# --- domains ---------------------------------------------------------------------------------------------------------


def domain_file(folder: Path, text: str) -> Path:
    file = folder / "domain.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_domain_file_is_rounded_outward(tmp_path):
    lower, upper = read_domain(domain_file(tmp_path, "lower = [0.1, -1]\nupper = [0.3, 2]\n"))
    assert Fraction(lower[0].item()) <= Fraction("0.1")
    assert Fraction(upper[0].item()) >= Fraction("0.3")
    assert (lower[1].item(), upper[1].item()) == (-1.0, 2.0)


@given(st.lists(st.decimals(-1000, 1000, places=17), min_size=1, max_size=4))
def test_no_decimal_leaves_its_domain(tmp_path_factory, values):
    numbers = ", ".join(f"{v:f}" for v in values)
    file = domain_file(tmp_path_factory.mktemp("d"), f"lower = [{numbers}]\nupper = [{numbers}]\n")
    lower, upper = read_domain(file)
    for value, low, high in zip(values, lower.tolist(), upper.tolist(), strict=True):
        assert Fraction(low) <= Fraction(value) <= Fraction(high)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("lower = [0.0]\n", "upper"),
        ("lower = [0.0]\nupper = [1.0, 2.0]\n", "upper 2"),
        ("lower = [1.0]\nupper = [0.0]\n", "above"),
        ("lower = [nan]\nupper = [1.0]\n", "lower"),
        ("lower = [-inf]\nupper = [1.0]\n", "lower"),
        ("lower = [1e400]\nupper = [1e400]\n", "lower"),
        ("lower = []\nupper = []\n", "lower"),
        ('lower = ["low"]\nupper = [1.0]\n', "lower"),
        ("lower = 0\nupper = 1\n", "lower"),
        ("lower = [0]\nupper = [1]\nmiddle = [0.5]\n", "middle"),
    ],
)
def test_what_is_no_box_is_no_domain(tmp_path, text, what):
    with pytest.raises(FormatError, match=what) as caught:
        read_domain(domain_file(tmp_path, text))
    assert "domain.toml" in str(caught.value)


def test_a_property_as_domain_is_the_box_around_its_regions(suite, properties):
    lower, upper = read_domain(properties / "prop_6.vnnlib")
    for region in suite.property("prop_6").regions:
        assert (lower <= region.lower).all()
        assert (region.upper <= upper).all()
    assert lower[1] == suite.property("prop_6").regions[1].lower[1]
    assert all(torch.equal(a, b) for a, b in zip(property_hull(suite.property("prop_6")), (lower, upper), strict=True))
