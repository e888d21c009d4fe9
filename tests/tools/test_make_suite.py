"""The committed suite is what the tool writes from the table and the networks."""

from __future__ import annotations

import pytest

from birdnn.formats.suite import Suite
from tools import cas, make_suite


@pytest.mark.thorough
@pytest.mark.acasxu
def test_the_committed_suite_is_up_to_date(acasxu, properties):
    assert (properties / "acasxu.toml").read_text(encoding="utf-8") == make_suite.acasxu_suite(acasxu / "onnx")


@pytest.mark.parametrize(("family", "table"), [(cas.HCAS, cas.HCAS_TABLE), (cas.VCAS, cas.VCAS_TABLE)])
def test_the_other_suites_are_up_to_date_but_for_their_fingerprints(properties, family, table):
    """Their networks are not here; head, quantities and properties are."""
    text = (properties / f"{family.name}.toml").read_text(encoding="utf-8")
    assert text.startswith(make_suite.suite(family, table, ()) + "\n[[networks]]\n")


def test_which_property_is_meant_for_which_network_is_the_tables_word():
    for entry in Suite.load("hcas").entries:
        a, t = map(int, entry.name[1:].split(","))
        assert entry.applicable == cas.hcas_applicable(a, t)
    for entry in Suite.load("vcas").entries:
        assert entry.applicable == cas.vcas_applicable(int(entry.name[1:]))


@pytest.mark.parametrize(("name", "count"), [("hcas", 40), ("vcas", 9)])
def test_every_controller_is_known_once(name, count):
    entries = Suite.load(name).entries
    assert len(entries) == len({e.content_key for e in entries}) == len({e.weights_sha256 for e in entries}) == count
