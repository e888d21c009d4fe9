"""Certificates in which neurons are split: what the file has to hold, and that nothing in it can be otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birdnn.certify.check import Rejected, Settings, check
from birdnn.formats.onnx import layers_to_onnx
from tests.certify.cases import property_text
from tests.certify.producer import about, column, head, write

LEAF = 65535  # of the first two versions
INPUTS = 2
Item = tuple[int, list[float], list[float]]


def made(
    folder: Path, axis: list[int], cut: list[float], items: list[Item], *, deep: bool = False
) -> tuple[Path, Path, dict[str, Any]]:
    """A certificate of 2 x + 1 (a ReLU that is always active) from 0 to 2, which is not both below 0.75 and above 1.25.

    The hidden layer has this neuron and one that is -2 x + 1; where it is `deep`, another one has the same two again.
    Items are (node, multipliers, multipliers of sides).
    """
    net, prop = folder / "net.onnx", folder / "p.vnnlib"
    first, again = (np.array([[2.0, 0.0], [-2.0, 0.0]]), np.ones(2)), (np.eye(2), np.zeros(2))
    last = np.array([[1.0, 0.0]]), np.zeros(1)
    net.write_bytes(layers_to_onnx([first, *([again] if deep else []), last]))
    prop.write_text(property_text(INPUTS, 1, "(and (<= Y_0 0.75) (>= Y_0 1.25))"))
    row = {"coefficients": ["1"], "bound": "3/4", "strict": False}
    other = {"coefficients": ["-1"], "bound": "-5/4", "strict": False}
    nothing = {"node": column([], "<u4"), "face": column([], "<u2"), "at": column([], "<f8")}
    region = {
        "lower": ["-0.5"] * INPUTS,
        "upper": ["0.5"] * INPUTS,
        "unsafe": [[row, other]],
        "axis": column(axis, "<u2"),
        "cut": column(cut, "<f8"),
        "faces": nothing,
        "items": {
            "node": column([node for node, _, _ in items], "<u4"),
            "polytope": column([0] * len(items), "<u2"),
            "multiplier": column([v for _, multipliers, _ in items for v in multipliers], "<f4"),
            "slopes": column([0] * len(items), "<u4"),
            "neuron": column([], "<u2"),
            "slope": column([], "<f4"),
            "beta": column([v for _, _, betas in items for v in betas], "<f4"),
        },
    }
    return net, prop, head(net, "float32", [{"property": about(prop), "verdict": "proved", "regions": [region]}], 2)


def proof(
    neuron: int = 0,
    at: float = 1.0,
    below: tuple[list[float], list[float]] = ([0, 1], [1]),
    above: tuple[list[float], list[float]] = ([1, 0], [1]),
) -> tuple[list[int], list[float], list[Item]]:
    """Where the neuron is at most 1 it is not above 1.25, elsewhere not below 0.75: each by its side's multiplier."""
    return [INPUTS + neuron, LEAF, LEAF], [at], [(1, *below), (2, *above)]


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
def test_sides_prove_what_their_multipliers_say(arithmetic: str, tmp_path: Path) -> None:
    settings = Settings(arithmetic=arithmetic)  # type: ignore[arg-type]

    def line(*what: Any) -> str:
        net, prop, data = made(tmp_path, *what)
        return check(net, [prop], write(tmp_path / "c.json.gz", data), settings).line()

    assert line(*proof()) == f"{arithmetic}, all 2 leaves"
    large = proof(below=([0, 2.0**20], [2.0**20]), above=([2.0**-20, 0], [2.0**-20]))
    assert line(*large) == f"{arithmetic}, all 2 leaves", "multipliers of sides are of the size of those of rows"
    mirrored = proof(1, below=([1, 0], [1]), above=([0, 1], [1]))  # 2 - z
    assert line(*mirrored) == f"{arithmetic}, all 2 leaves"
    deeper = [0, INPUTS, INPUTS, *[LEAF] * 4], [0.0, 1.0, 1.0]
    items: list[Item] = [(node, [node % 2 == 0, node % 2], [1]) for node in (3, 4, 5, 6)]
    assert line(*deeper, items) == f"{arithmetic}, all 4 leaves"


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
def test_neurons_of_every_layer_can_be_split(arithmetic: str, tmp_path: Path) -> None:
    """Counted over all of them; the last one is not the last of the first layer."""
    settings = Settings(arithmetic=arithmetic)  # type: ignore[arg-type]
    mirrored = {"below": ([1, 0], [1]), "above": ([0, 1], [1])}
    for neuron, how in ((0, {}), (1, mirrored), (2, {}), (3, mirrored)):
        net, prop, data = made(tmp_path, *proof(neuron, **how), deep=True)  # type: ignore[arg-type]
        assert check(net, [prop], write(tmp_path / "c.json.gz", data), settings).line() == f"{arithmetic}, all 2 leaves"
    net, prop, data = made(tmp_path, *proof(4), deep=True)
    with pytest.raises(Rejected, match="axis is none of the inputs, nor a neuron"):
        check(net, [prop], write(tmp_path / "c.json.gz", data), settings)


WRONG: dict[str, tuple[Any, str]] = {
    "no multiplier": (proof(above=([1, 0], [0])), "node 2: a polytope is left open"),
    "no multiplier below": (proof(below=([0, 1], [0])), "node 1: a polytope is left open"),
    "a multiplier that is too large": (proof(above=([1, 0], [2])), "node 2: a polytope is left open"),
    "a multiplier that is too small": (proof(below=([0, 1], [0.25])), "node 1: a polytope is left open"),
    "sides that swap": (proof(below=([1, 0], [1]), above=([0, 1], [1])), "node 1: a polytope is left open"),
    "another place": (proof(at=0.7), "node 2: a polytope is left open"),
    "another place, above": (proof(at=1.3), "node 1: a polytope is left open"),
    "another neuron": (proof(1), "node 1: a polytope is left open"),
    "no neuron": (proof(2), "axis is none of the inputs, nor a neuron"),
    "a side without proof": ((*proof()[:2], proof()[2][1:]), "node 1: a polytope is left open"),
    "the other side": ((*proof()[:2], proof()[2][:1]), "node 2: a polytope is left open"),
    "a side is missing": (([INPUTS, LEAF], [1.0], proof()[2][:1]), "1 cuts do not make 2 nodes"),
    "negative": (proof(above=([1, 0], [-1])), "a multiplier of a side is negative"),
    "NaN": (proof(above=([1, 0], [np.nan])), "beta holds NaN"),
    "one too few": (proof(above=([1, 0], [])), "not one for each neuron split above"),
    "one too many": (proof(above=([1, 0], [1, 1])), "not one for each neuron split above"),
    "of a side that is none": (([LEAF], [], [(0, [1, 1], [1])]), "not one for each neuron split above"),
}


@pytest.mark.parametrize("arithmetic", ["float64", "exact"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_sides_are_rejected(name: str, arithmetic: str, tmp_path: Path) -> None:
    what, reason = WRONG[name]
    net, prop, data = made(tmp_path, *what)
    with pytest.raises(Rejected) as caught:
        check(net, [prop], write(tmp_path / "c.json.gz", data), Settings(arithmetic=arithmetic))  # type: ignore[arg-type]
    assert reason in caught.value.reason


def _version(number: int) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(version=number)


def _items(data: dict[str, Any]) -> dict[str, Any]:
    items: dict[str, Any] = data["proofs"][0]["regions"][0]["items"]
    return items


def _uncut(data: dict[str, Any]) -> None:
    data["proofs"][0]["regions"][0].update(axis=column([LEAF], "<u2"), cut=column([], "<f8"))


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "the first version has no such axis": (_version(1), "axis is none of the inputs"),
    "nor such a column": (lambda data: (_version(1)(data), _uncut(data)), "must have the keys"),
    "the second has the column": (lambda data: _items(data).pop("beta"), "must have the keys"),
    "a version to come": (_version(5), "version 5 of the format is not known, only 1 to 4"),
    "of another type": (lambda data: _items(data)["beta"].update(dtype="<f8"), "column beta must have type <f4"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_versions_and_columns(name: str, tmp_path: Path) -> None:
    spoil, reason = SPOILT[name]
    net, prop, data = made(tmp_path, *proof())
    spoil(data)
    with pytest.raises(Rejected) as caught:
        check(net, [prop], write(tmp_path / "c.json.gz", data))
    assert reason in caught.value.reason
