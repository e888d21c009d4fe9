"""What `localize` shows: tables that fit, pictures that can be looked at, figures that come from the records."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from birdnn.records import (
    Behaviour,
    InterventionCheck,
    Localisation,
    LocalizeOutcome,
    LocalizeRequest,
    PropertyLocalisation,
)
from birdnn.report.localisation import localize_summary
from birdnn.report.pictures import localisation_picture
from birdnn.report.publish import json_document, record_from
from tests.report.outcomes import MACHINE, VERSIONS
from tests.report.test_text import drawn


def localisation(*sizes: int, form: str = "mean") -> Localisation:
    generator = torch.Generator().manual_seed(1)

    def layer(place: int, size: int) -> Behaviour:
        value = torch.rand(size, generator=generator, dtype=torch.float64)
        scaled = value if form == "mean" else 1e6 * value
        alive = torch.ones(size, dtype=torch.bool)
        name, node = f"value_{place}", f"/a/rather/long/name/of/a/node/activation_{place}"
        return Behaviour(
            value=name, node=node, responsibility=scaled, positive=value + 1, negative=value - 1, alive=alive
        )

    layers = tuple(layer(place, size) for place, size in enumerate(sizes))
    return Localisation(form=form, layers=layers, positives=9000, negatives=120)


CHECKS = (
    InterventionCheck.of(1, 0.25, (0.5, 1.0), broken=0.0, n=110),
    InterventionCheck.of(3, 0.0, (0.5, 0.5), broken=0.01, n=110),
)


def answer(found: Localisation | None, **changes: object) -> PropertyLocalisation:
    made = PropertyLocalisation(
        name="prop_8",
        path="/p/prop_8.vnnlib",
        sha256="ab",
        text="text",
        samples=10_000,
        uniform=7,
        found_by="sampling and attack",
        distinct=120,
        positives=0 if found is None else found.positives,
        layers=() if found is None else found.told(),
        top=() if found is None else found.most(3),
        checks=CHECKS,
    )
    return replace(made, **changes)


NOTHING = answer(None, name="prop_1", checks=(), distinct=0, uniform=0, note="no negative sample: nothing to localise")


def outcome(*answers: PropertyLocalisation, **changes: object) -> LocalizeOutcome:
    made = LocalizeOutcome(
        request=LocalizeRequest(net=Path("net.onnx"), top=3, command=("birdnn", "localize")),
        net="/n/net.onnx",
        net_sha256="cd",
        answers=answers,
        suite=None,
        wall_s=2.0,
        versions=VERSIONS,
        machine=MACHINE,
        notes=("A note.",),
    )
    return replace(made, **changes)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit(width: int) -> None:
    found = localisation(5, 200)
    text = drawn(localize_summary(outcome(answer(found), NOTHING, answer(found, checks=())), width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "responsibility" in text.splitlines()[1] + text.splitlines()[2]  # no heading is cut short
    assert "\x1b" not in text


def test_the_table_says_what_the_records_say() -> None:
    found = localisation(5, 4)
    text = " ".join(drawn(localize_summary(outcome(answer(found)), 100), 100).split())
    first = found.ranking()[0]
    for piece in (
        "prop_8: the 3 most responsible of 9 neurons",
        f"1 {first.layer} {first.neuron.index} {first.value:.4g} {first.positive:.4g} {first.negative:.4g}",
        "7 of 10,000 uniform ones negative, 120 different negative ones by sampling and attack",
        "on 110 held-out negative samples",
        "1 25.00 % 75.00 % ± 35.4 0 %",
        "3 0 % 50.00 % ± 0.0 1.00 %",
        "note A note.",
    ):
        assert piece in text, piece


def test_ranks_are_by_value_and_ties_by_place() -> None:
    found = localisation(3, 3)
    (layer, other) = found.layers
    same = replace(found, layers=(replace(layer, responsibility=other.responsibility), other))
    values = [entry.value for entry in same.ranking()]
    assert values == sorted(values, reverse=True)
    assert [entry.layer for entry in same.ranking()] == [0, 1] * 3


def test_the_report_holds_every_neuron() -> None:
    found = outcome(answer(localisation(5, 4)), NOTHING)
    report = json_document(found)
    assert report["outcome"] == "localised"
    first, second = report["properties"]
    assert [len(layer["responsibility"]) for layer in first["layers"]] == [5, 4]
    assert len(first["top"]) == 3
    assert (first["interventions"][0]["random_mean"], first["interventions"][0]["draws"]) == (0.75, 2)
    assert (second["outcome"], second["layers"], second["positives"]) == ("nothing_to_localise", [], 0)
    assert json_document(outcome(NOTHING))["outcome"] == "nothing_to_localise"


def test_an_answer_reads_back() -> None:
    found = answer(localisation(5, 4))
    again = record_from(PropertyLocalisation, json_document(found))
    assert json_document(again) == json_document(found)
    assert (again.layers, again.top, again.checks) == (found.layers, found.top, CHECKS)


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["mean", "sum"])
def test_pictures_of_narrow_wide_and_missing_layers(form: str) -> None:
    found = localisation(5, 300, 20, form=form)
    shown = outcome(answer(found), NOTHING, answer(localisation(3, form=form), checks=()))
    image = imread(io.BytesIO(localisation_picture(shown, "png")))
    assert image.shape[1] == 1760
    assert np.unique(image.reshape(-1, 4), axis=0).shape[0] > 100
    root = ElementTree.fromstring(localisation_picture(shown, "svg"))
    assert root.tag.endswith("svg")


def test_drawing_leaves_the_state_of_matplotlib_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    localisation_picture(outcome(answer(localisation(4))), "png")
    assert dict(matplotlib.rcParams) == before
