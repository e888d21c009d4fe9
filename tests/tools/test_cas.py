"""Our properties for HorizontalCAS and VerticalCAS: written as stated, and about what their words say."""

from __future__ import annotations

from fractions import Fraction

import pytest

from birdnn.formats.suite import Suite
from birdnn.formats.vnnlib import read_property
from tools import cas, make_properties
from tools.family import DECIMALS

RULES = [(cas.HCAS, rule) for rule in cas.HCAS_TABLE] + [(cas.VCAS, rule) for rule in cas.VCAS_TABLE]


@pytest.fixture(params=RULES, ids=lambda pair: pair[1].name)
def stated(request):
    return request.param


def test_the_committed_files_are_what_the_table_gives(stated, properties):
    family, rule = stated
    text = (properties / f"{rule.name}.vnnlib").read_text(encoding="utf-8")
    assert text == make_properties.vnnlib(rule, family)


def test_boxes_contain_the_stated_ones(stated, properties):
    family, rule = stated
    grain = Fraction(1, 10**DECIMALS)
    prop = read_property(properties / f"{rule.name}.vnnlib")
    for region, box in zip(prop.regions, rule.boxes, strict=True):
        for i, quantity in enumerate(family.inputs):
            low, high = (quantity.normalised(raw) for raw in box[quantity.name])
            assert low - grain < region.exact_lower[i] <= low
            assert high <= region.exact_upper[i] < high + grain


def test_no_box_leaves_what_the_header_declares(stated):
    family, rule = stated
    for box in rule.boxes:
        for quantity in family.inputs:
            low, high = box[quantity.name]
            assert quantity.lower <= low < high <= quantity.upper


def test_no_encounter_lies_beyond_the_distance_that_was_trained():
    for rule in cas.HCAS_TABLE:
        for box in rule.boxes:
            x, y = (max(map(abs, box[name])) for name in ("x", "y"))
            assert x * x + y * y <= 56000**2


BREAKS = [
    ("hcas_1", "WL", 40), ("hcas_2", "COC", 15), ("hcas_3", "SL", 25), ("hcas_4", "WR", 25), ("hcas_5", "SR", 1),
    ("hcas_6", "WR", 16), ("hcas_7", "WL", 16), ("hcas_8", "SL", 8), ("vcas_1", "SCL2500", 3),
    ("vcas_2", "SDES2500", 2), ("vcas_3", "DNC", 9), ("vcas_4", "SDES1500", 9), ("vcas_5", "COC", 9),
    ("vcas_6", "SCL1500", 9), ("vcas_7", "DES1500", 9),
]  # fmt: skip
"""An advisory that breaks each property, and how many networks it is meant for."""

KEEPS = {
    "hcas_1": "COC", "hcas_2": "SR", "hcas_3": "SR", "hcas_4": "WL", "hcas_5": "WR", "hcas_6": "SR", "hcas_7": "SL",
    "hcas_8": "WR", "vcas_1": "CL1500", "vcas_2": "SCL1500", "vcas_3": "COC", "vcas_4": "COC", "vcas_5": "DND",
    "vcas_6": "COC", "vcas_7": "SCL2500",
}  # fmt: skip


@pytest.mark.parametrize(("name", "advisory", "count"), BREAKS)
def test_the_greatest_score_decides(name, advisory, count, properties):
    """Read as costs, each would say the opposite."""
    family, rule = next(pair for pair in RULES if pair[1].name == name)
    prop = read_property(properties / f"{name}.vnnlib")
    centre = [float(low + high) / 2 for low, high in zip(*corners(prop), strict=True)]
    names = [output for output, _ in family.outputs]

    def scores(best: str) -> list[float]:
        return [1.0 if output == best else 0.0 for output in names]

    assert prop.violated(centre, scores(advisory))
    assert not prop.violated(centre, scores(KEEPS[name]))
    assert prop.violated(centre, [0.0] * len(names)), "a tie may be broken either way"
    assert sum(name in entry.applicable for entry in Suite.load(family.name).entries) == count
    assert Suite.load(family.name).texts[name] == rule.text


def corners(prop):
    region = prop.regions[0]
    return region.exact_lower, region.exact_upper


def test_the_suites_decide_by_the_greatest_score():
    for name in ("hcas", "vcas"):
        suite = Suite.load(name)
        assert (suite.decision, suite.units) == ("argmax", "normalised")
    with pytest.raises(ValueError, match="no such input"):
        cas._box(cas.HCAS, rho=(0, 1))
