"""Two networks as one chain, exactly."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.certify.check.files import Rejected
from birdnn.certify.check.layers import Activation
from birdnn.certify.check.pairs.chain import at_variables, count_same_layers, join_chains, rows_in_forms
from birdnn.certify.check.pairs.exact import evaluate
from birdnn.certify.check.statement import Row
from birdnn.errors import FormatError
from tests.certify.pairs.cases import KINDS, chain_of, drawn, moved, values

RELU = KINDS[0]


@given(seed=st.integers(0, 2**20), shared=st.integers(0, 2))
@settings(max_examples=20)
def test_blocks_are_both_networks_and_their_difference(seed: int, shared: int) -> None:
    """Through the joint weights themselves, at an exact point."""
    made = drawn(seed, [2, 3, 4, 2])
    chains = chain_of(made, RELU), chain_of(moved(made, seed + 1, 0.1, shared), RELU)
    pair = join_chains(*chains, shared, "files", "proof")
    x = [Fraction(3, 7), Fraction(-5, 11)]
    wanted, h = values(pair, chains, x), x
    for k, (layer, known) in enumerate(zip(pair.layers, wanted, strict=True)):
        z = [
            sum((w * v for w, v in zip(row, h, strict=True)), b)
            for row, b in zip(layer.weight, layer.bias, strict=True)
        ]
        assert z == known
        n = len(z) if k < shared else len(z) // 3
        h = [max(value, Fraction(0)) for value in z]
        if k >= shared:
            h[2 * n :] = [b - a for a, b in zip(h[:n], h[n : 2 * n], strict=True)]
    outputs = evaluate(chains, x)
    assert [*outputs, *(b - a for a, b in zip(outputs[:2], outputs[2:], strict=True))] == wanted[-1]
    assert (pair.n_inputs, pair.n_outputs, pair.single) == (2, 4, False)
    assert [n for _, n in pair.hidden] == [n for k, n in enumerate((3, 4)) for n in ([n] if k < shared else [2 * n, n])]
    assert all((act is None) == (place % 2 == 1) for place, (act, _) in enumerate(pair.hidden[shared:]))


def test_limits_are_those_of_both() -> None:
    """What no value on the way exceeds in either, and whether an activation is what it says only below a limit."""
    chain = chain_of(drawn(1, [2, 3, 2]), RELU)
    first = replace(chain.layers[0], peak=Fraction(7), limited=True)
    other = replace(chain, layers=(first, *chain.layers[1:]))
    for one, two in ((chain, other), (other, chain)):
        layer = join_chains(one, two, 0, "files", "proof").layers[0]
        assert (layer.peak, layer.limited) == (7, True)


def test_inputs_are_variables() -> None:
    """In another order, one of them twice."""
    chain = chain_of(drawn(3, [3, 4, 2]), RELU)
    own = at_variables(chain, (1, 0, 1), 2)
    x = [Fraction(1, 3), Fraction(2, 5)]
    assert evaluate([own], x) == evaluate([chain], [x[1], x[0], x[1]])
    assert (own.n_inputs, chain.n_inputs) == (2, 3)


def test_rows_in_all_forms_say_the_same() -> None:
    rows = (
        Row((Fraction(2), Fraction(0), Fraction(-5), Fraction(1, 3)), Fraction(7), True),
        Row((Fraction(1),) * 4, Fraction(0), False),
    )
    y = [Fraction(3), Fraction(5), Fraction(11), Fraction(13)]
    joint = [*y, y[2] - y[0], y[3] - y[1]]
    ((*found,),) = rows_in_forms([rows])
    assert len(found) == 6
    for place, row in enumerate(found):
        plain = rows[place % 2]
        total = sum(c * v for c, v in zip(row.coefficients, joint, strict=True))
        assert total == sum(c * v for c, v in zip(plain.coefficients, y, strict=True))
        assert (row.bound, row.strict) == (plain.bound, plain.strict)
    assert [any(row.coefficients[4:]) for row in found] == [False, False, True, True, True, True]
    assert not any(found[2].coefficients[2:4])
    assert not any(found[4].coefficients[:2])


def test_how_many_layers_are_the_same() -> None:
    made = drawn(1, [2, 3, 3, 2])
    chain = chain_of(made, RELU)
    for count in range(4):
        other = [(w.copy(), b.copy()) for w, b in made]
        if count < 3:
            other[count][count % 2].reshape(-1)[-1] = np.nextafter(
                other[count][count % 2].reshape(-1)[-1], np.float32(9)
            )
        assert count_same_layers(chain, chain_of(other, RELU)) == count
    assert count_same_layers(chain, chain_of(made, KINDS[1])) == 0
    assert count_same_layers(chain, chain_of(made[:2], RELU)) == 1, "an activation follows there, or none"


def test_what_is_not_followed() -> None:
    made = drawn(1, [2, 3, 3, 2])
    chain = chain_of(made, RELU)
    for other, told in (
        (chain_of(drawn(1, [2, 3, 2]), RELU), "3 and 2 layers"),
        (chain_of(drawn(1, [2, 3, 4, 2]), RELU), "layer 2 is of other sizes"),
        (chain_of(made, KINDS[1]), "activations of layer 1 differ"),
    ):
        with pytest.raises(FormatError, match=told):
            join_chains(chain, other, 0, "files", "proof")
    smooth = chain_of(made, Activation("tanh", 0.0))
    with pytest.raises(FormatError, match="behind ReLU and LeakyReLU only, and layer 1 has tanh"):
        join_chains(smooth, smooth, 0, "files", "proof")
    near = chain_of(moved(made, 0, 0.1, 1), RELU)
    join_chains(chain, near, 1, "files", "proof")
    for shared, other in ((2, near), (-1, near), (3, chain), (4, chain)):
        with pytest.raises(Rejected, match="are not the same in both networks, or there is none behind"):
            join_chains(chain, other, shared, "files", "proof")
