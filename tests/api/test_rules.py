"""A rule in a line, from Python: what becomes of its domain, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import birdnn
from birdnn.formats.onnx import layers_to_onnx, network_from_layers
from birdnn.network import Network

LAYERS = [(np.eye(2), np.zeros(2))]
UNIT = ([0, 0], [1, 1])


@pytest.fixture
def net() -> Network:
    """Two inputs, which are its outputs."""
    return network_from_layers(LAYERS)


def box(prop: birdnn.Property) -> list[tuple[Fraction, Fraction]]:
    (region,) = prop.regions
    return list(zip(region.exact_lower, region.exact_upper, strict=True))


def test_a_rule_about_a_network_of_no_file(net: Network) -> None:
    made = birdnn.rule(net, never="y0 > 0.1", when={"x1": (0.5, 1)}, domain=UNIT, name="low")
    assert (made.name, made.n_inputs, made.n_outputs) == ("low", 2, 2)
    assert box(made) == [(0, 1), (Fraction(1, 2), 1)]
    assert made.violated([0.5, 0.5], [0.5, 0.0])
    assert not made.violated([0.5, 0.5], [0.05, 0.0])
    assert not made.violated([0.5, 0.25], [0.5, 0.0])
    assert birdnn.rule(net, never="y0 > 1", domain=UNIT).name == "rule"


def test_what_must_come_out_is_violated_by_anything_else(net: Network) -> None:
    made = birdnn.rule(net, always="y0 <= y1", when="x0 > 0.5", domain=UNIT)
    assert made.violated([0.75, 0.5], [0.75, 0.5])
    assert not made.violated([0.75, 0.5], [0.5, 0.5])


@pytest.mark.parametrize(
    "domain",
    [
        ([0, -1], [1, 2]),
        (np.array([0.0, -1.0]), np.array([1.0, 2.0])),
        np.array([[0.0, -1.0], [1.0, 2.0]]),
        "x0 in [0, 1], x1 in [-1, 2]",
        {"x0": (0, 1), "x1": (-1, 2)},
    ],
)
def test_a_domain_in_any_form(net: Network, domain: Any) -> None:
    assert box(birdnn.rule(net, never="y0 > 5", domain=domain)) == [(0, 1), (-1, 2)]


def test_a_domain_from_a_file(net: Network, tmp_path: Path) -> None:
    (tmp_path / "domain.toml").write_text("lower = [0, -1]\nupper = [1, 2]\n")
    assert box(birdnn.rule(net, never="y0 > 5", domain=tmp_path / "domain.toml")) == [(0, 1), (-1, 2)]
    (tmp_path / "net.onnx").write_bytes(layers_to_onnx(LAYERS))
    made = birdnn.rule(tmp_path / "net.onnx", never="y0 > 5", domain=tmp_path / "domain.toml")
    birdnn.save_property(made, tmp_path / "p.vnnlib")
    assert box(birdnn.rule(net, never="y0 > 5", domain=tmp_path / "p.vnnlib")) == [(0, 1), (-1, 2)]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"domain": ([0], [1, 1])}, "domain: corners of 1 and 2 numbers"),
        ({"domain": ([[0, 0]], [1, 1])}, r"domain: a corner is a list of numbers, not an array of shape \(1, 2\)"),
        ({"domain": (0, 1)}, r"not an array of shape \(\)"),
        ({"domain": ([0, 2], [1, 1])}, "x1"),
        ({"domain": ([0], [1])}, "input X_1 has no lower bound"),
        ({"domain": None}, "nobody says between which values inputs lie: say a domain"),
        (
            {"domain": None, "when": {"x0": (1, 0), "x1": (0, 1)}},
            "^when: .* lower bound 1 above upper bound 0$",
        ),
        ({"never": "y9 > 0"}, "y9"),
        ({"never": "y0 >"}, "rule 'y0 >': at the end: expected a number"),
        ({"always": "y0 > 1"}, "one of never and always"),
        ({"never": None}, "one of never and always"),
        ({"units": "raw"}, "raw units need the network's scaling"),
        ({"units": "metres"}, r"rule\(\): units is 'metres'"),
        ({"as_name": "N1,1"}, r"rule\(\): as_name names a network of a suite: say which with suite"),
    ],
)
def test_what_is_refused(net: Network, said: dict[str, Any], told: str) -> None:
    with pytest.raises(birdnn.InputError, match=told):
        birdnn.rule(net, **{"never": "y0 > 1", "domain": UNIT, **said})


def test_an_option_that_there_is_not(net: Network) -> None:
    with pytest.raises(TypeError, match=r"rule\(\) has no option 'seed'"):
        birdnn.rule(net, never="y0 > 1", domain=UNIT, seed=3)  # type: ignore[call-arg]
