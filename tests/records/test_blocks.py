"""Blocks get their ranks where all of them are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from birdnn.records import Accuracy, BlockLocalisation, BlockRepair, SuspiciousNeuron
from tests.report.block_outcomes import REPAIR, block, without_test


def localisation(*found: float | None) -> BlockLocalisation:
    blocks = tuple(block(f"b{place}", value) for place, value in enumerate(found))
    return BlockLocalisation(
        formula="ochiai", blocks=blocks, failing=1, passing=1, near_failing=0, near_passing=0, radius=0.1
    )


@pytest.mark.parametrize(
    ("found", "ranks"),
    [
        ((0.1, 0.3, 0.2), [3, 1, 2]),
        ((0.3, 0.3, 0.4, 0.3), [2, 3, 1, 4]),
        ((None, 0.0, None, 0.5), [None, 2, None, 1]),
        ((None,), [None]),
        ((), []),
    ],
)
def test_the_most_suspicious_is_the_first(found: tuple[float | None, ...], ranks: list[int | None]) -> None:
    """Among equals that closer to the input; a part that is not judged has no rank. Blocks keep their order."""
    made = localisation(*found)
    assert [entry.rank for entry in made.blocks] == ranks
    assert [entry.name for entry in made.blocks] == [f"b{place}" for place in range(len(found))]
    assert [entry.rank for entry in made.ranking()] == list(range(1, len(made.ranking()) + 1))


def test_a_rank_is_made_anew() -> None:
    """What a file says of it does not count."""
    made = localisation(0.1, 0.2)
    turned = tuple(replace(entry, rank=1) for entry in made.blocks)
    assert [entry.rank for entry in replace(made, blocks=turned).blocks] == [2, 1]


def test_a_neuron_is_as_suspicious_as_both_passes_say() -> None:
    assert SuspiciousNeuron(node="n", channel=0, forward=0.25, backward=0.75).value == 0.5


def test_a_share_is_of_all_examples() -> None:
    assert Accuracy(right=3, repaired=1, broken=0, n=12).share == 0.25
    for n in (0, -1):
        with pytest.raises(ValueError, match="of one at least"):
            Accuracy(right=0, repaired=0, broken=0, n=n)


def less(found: Any, role: str) -> dict[str, Accuracy]:
    return {name: value for name, value in found.items() if name != role}


@pytest.mark.parametrize("role", ["repair", "validation", "test"])
def test_every_file_of_examples_was_counted_on(role: str) -> None:
    """Before, and by each method: reports look them up without asking."""
    with pytest.raises(ValueError, match=f"no accuracy on the {role} examples"):
        replace(REPAIR, before=less(REPAIR.before, role))
    for place in range(len(REPAIR.methods)):
        methods = list(REPAIR.methods)
        methods[place] = replace(methods[place], accuracy=less(methods[place].accuracy, role))
        with pytest.raises(ValueError, match=f"no accuracy on the {role} examples"):
            replace(REPAIR, methods=tuple(methods))


def test_what_was_counted_besides_does_no_harm() -> None:
    assert isinstance(replace(REPAIR, examples=without_test().examples), BlockRepair)
