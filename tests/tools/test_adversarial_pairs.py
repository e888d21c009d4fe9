"""The exact answers that verdicts about two networks are compared with, and that a wrong verdict is seen."""

from __future__ import annotations

import itertools
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest

from birdnn.records import Proved, Verdict, Violated, Witness
from tools import adversarial_pairs as tool


def area(polygon: list[tool.Point]) -> F:
    pairs = zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    return sum((a[0] * b[1] - a[1] * b[0] for a, b in pairs), F(0)) / 2


def evaluated(layers: tool.Layers, alpha: F, x: tool.Point) -> list[F]:
    """Layer by layer, without pieces."""
    values = list(x)
    for number, (weight, bias) in enumerate(layers):
        values = [
            sum((w * v for w, v in zip(row, values, strict=True)), b) for row, b in zip(weight, bias, strict=True)
        ]
        if number < len(layers) - 1:
            values = [max(v, alpha * v) for v in values]
    return values


@pytest.mark.parametrize("seed", range(8))
def test_pieces_cover_the_square_once_and_say_what_the_network_does(seed: int) -> None:
    made = tool.drawn(seed)
    layers = made.networks["f"]
    found = list(tool.pieces(layers, made.alpha, tool._SQUARE))
    assert sum(area(polygon) for polygon, _ in found) == area(tool._SQUARE) == 4
    assert all(area(polygon) > 0 for polygon, _ in found)
    for polygon, values in found:
        middle = tuple(sum((corner[i] for corner in polygon), F(0)) / len(polygon) for i in (0, 1))
        for x in (*polygon, middle):
            assert [tool.value_at(entry, x) for entry in values] == evaluated(layers, made.alpha, x)


def test_thresholds_lie_on_both_sides_and_no_point_of_a_grid_contradicts() -> None:
    answers = set()
    grid = [F(k, 8) for k in range(-8, 9)]
    for seed in range(40):
        made = tool.drawn(seed)
        answers.add((made.kind, made.violated))
        if made.kind == "apart" and not made.violated:
            assert not any(made.breaks([*x, *x]) for x in itertools.product(map(float, grid), repeat=2))
    assert len(answers) == 6


@pytest.mark.parametrize("planted", ["proved", "violated", "none"])
def test_a_wrong_verdict_is_seen(planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tool.verify_related
    seeds = [seed for seed in range(40) if tool.drawn(seed).kind == "apart"][:6]

    def planted_verdict(*args: object, **more: object) -> object:
        nothing = np.zeros(4)
        witness = Witness(x=tuple(nothing), y=(0.0,), replayed_by=("nobody",), exactly=True)
        verdict: Verdict = Proved(boxes=1) if planted == "proved" else Violated(witness=witness, boxes=1)

        class Outcome:
            verdicts = (type("Answer", (), {"verdict": verdict})(),)

        return right(*args, **more) if planted == "none" else Outcome()  # type: ignore[arg-type]

    monkeypatch.setattr(tool, "verify_related", planted_verdict)
    said = [tool.judged(tool.drawn(seed), tmp_path)[1] for seed in seeds]
    assert any(said) is (planted != "none")
