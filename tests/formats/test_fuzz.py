"""Bad input of every kind: nothing but errors about the input may come out, quickly, and nothing is written.

The three parsers get random bytes, truncated files and files with bytes changed, each plain and as ``.gz``.
"""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdnn.errors import InputError
from birdnn.formats.nnet import read_nnet
from birdnn.formats.onnx import layers_to_onnx, read_onnx
from birdnn.formats.vnnlib import read_property
from birdnn.operators import OPERATORS
from tests.formats.models import perceptron
from tests.formats.test_nnet import TEXT
from tests.formats.test_onnx_operators import CASES
from tests.formats.test_vnnlib import bounded, declared
from tests.formats.test_vnnlib2 import VERSION_2

SECONDS = 5.0

VNNLIB = declared(2) + bounded(2) + "(assert (or (and (<= Y_0 (* 2 Y_1)) (>= X_0 0.5)) (= Y_0 1e-3)))"
SEEDS: dict[str, tuple[Callable[[Path], Any], list[bytes]]] = {
    "onnx": (
        read_onnx,
        [
            perceptron(),
            perceptron(ir=3, raw=False),
            layers_to_onnx([([[1.0, 2.0]], [0.5])]),
            CASES["conv-all"],
            CASES["average-pool-ceil-include"],
            CASES["slice-10"],
            CASES["shape-arithmetic"],
            CASES["batch-normalization"],
        ],
    ),
    "nnet": (read_nnet, [TEXT.encode()]),
    "vnnlib": (read_property, [VNNLIB.encode(), VERSION_2.format(kind="real", more="").encode()]),
}
KINDS = pytest.mark.parametrize("kind", SEEDS)


def attempt(kind: str, folder: Path, data: bytes, packed: bool = False) -> None:
    """Read `data`; only an error about the input may come out, and soon."""
    path = folder / f"bad.{kind}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    start = time.process_time()
    with contextlib.suppress(InputError):
        SEEDS[kind][0](path)
    assert time.process_time() - start < SECONDS
    assert [entry.name for entry in folder.iterdir()] == [path.name]
    path.unlink()


@KINDS
@given(data=st.binary(max_size=300), packed=st.booleans())
def test_random_bytes(kind: str, tmp_path: Path, data: bytes, packed: bool) -> None:
    """Not even text."""
    attempt(kind, tmp_path, data, packed)


@KINDS
@given(data=st.data())
def test_truncated_files(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    """A download that broke off."""
    seed = data.draw(st.sampled_from(SEEDS[kind][1]))
    attempt(kind, tmp_path, seed[: data.draw(st.integers(0, len(seed) - 1))], data.draw(st.booleans()))


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A valid file with some bytes changed, removed, repeated or put in."""
    changed = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        action = draw(st.sampled_from(("byte", "bit", "cut", "insert", "repeat")))
        if action == "byte" and changed:
            changed[place] = draw(st.integers(0, 255))
        elif action == "bit" and changed:
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif action == "cut":
            del changed[place : place + draw(st.integers(1, 40))]
        elif action == "insert":
            changed[place:place] = draw(st.binary(max_size=12))
        else:
            part = changed[place : place + draw(st.integers(1, 40))]
            changed[place:place] = part * draw(st.integers(1, 3))
    return bytes(changed)


@KINDS
@settings(max_examples=300)
@given(data=st.data())
def test_mutated_files(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    """Files that are nearly right reach every part of a reader."""
    attempt(kind, tmp_path, data.draw(mutated(SEEDS[kind][1])))


NUMBERS = st.sampled_from([-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 2**20, 2**31, 2**62, 2**63 - 1])


def meddle(draw: st.DrawFn, proto: onnx.ModelProto) -> None:
    """Change one thing in a graph that protobuf itself does not mind."""
    graph = proto.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)] + ["", "nowhere"]
    node = draw(st.sampled_from(list(graph.node)))
    action = draw(st.integers(0, 6))
    if action == 0 and node.attribute:
        attribute = draw(st.sampled_from(list(node.attribute)))
        attribute.i = draw(NUMBERS)
        if attribute.ints:
            attribute.ints[draw(st.integers(0, len(attribute.ints) - 1))] = draw(NUMBERS)
        attribute.f = draw(st.floats(width=32))
    elif action == 1 and node.input:
        node.input[draw(st.integers(0, len(node.input) - 1))] = draw(st.sampled_from(names))
    elif action == 2:
        node.op_type = draw(st.sampled_from([*OPERATORS, "Constant", "Shape", "Gather", "Cast"]))
    elif action == 3 and graph.initializer:
        tensor = draw(st.sampled_from(list(graph.initializer)))
        tensor.dims[:] = draw(st.lists(NUMBERS, max_size=4) | st.permutations(list(tensor.dims)))
    elif action == 4 and graph.initializer:
        tensor = draw(st.sampled_from(list(graph.initializer)))
        tensor.data_type = draw(st.integers(-1, 25))
    elif action == 5:
        dims = graph.input[-1].type.tensor_type.shape.dim
        if dims:
            draw(st.sampled_from(list(dims))).dim_value = draw(NUMBERS)
    else:
        proto.opset_import[0].version = draw(st.sampled_from([7, 8, 9, 10, 11, 13, 14, 18, 22, 99]))


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_graphs(tmp_path: Path, data: st.DataObject) -> None:
    """Well-formed files of graphs that make no sense: other operators, sizes, attributes, names, opsets."""
    proto = onnx.load_model_from_string(data.draw(st.sampled_from(sorted(CASES.values()))))
    for _ in range(data.draw(st.integers(1, 3))):
        meddle(data.draw, proto)
    attempt("onnx", tmp_path, proto.SerializeToString())


PIECES = [
    "(", ")", "assert", "and", "or", "<=", ">=", "=", "+", "-", "*", "/", "X_0", "Y_0", "Y_1", "X_1", "0", "-1.5",
    "1e400", "1e999999999999", "0.0000001", "true", "false", ";",
    "\n", '"', "|", "not", "Real", "declare-const", "X_99999999",
]  # fmt: skip


@given(words=st.lists(st.sampled_from(PIECES), max_size=30), wrap=st.booleans())
def test_vnnlib_of_its_own_words(tmp_path: Path, words: list[str], wrap: bool) -> None:
    """Any order of the words that the format knows."""
    body = " ".join(words)
    text = declared(2) + bounded(2) + (f"(assert ({body}))" if wrap else body)
    attempt("vnnlib", tmp_path, text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(assert " * 50_000,
        declared() + "(assert " + "(and " * 90 + "(<= Y_0 1)" + ")" * 91,
        declared() + bounded() + "(assert (<= " + "(+ 1 " * 90 + "Y_0" + ")" * 90 + " 1))",
        declared() + bounded() + "(assert (<= (* " + "1e400 " * 2000 + "Y_0) 1))",
        declared() + bounded() + "(assert (<= Y_0 " + "9" * 200_000 + "))",
        "(vnnlib-version <2.0>)" + "(" * 100_000,
        ("(vnnlib-version <2.0>)(declare-network f (declare-input X real [99999999999999999999])"
         "(declare-output Y real [1]))(assert (<= Y[0] 1.0))"),
        ("(vnnlib-version <2.0>)(declare-network f (declare-input X real [1])"
         "(declare-output Y real [16000000]))(assert (<= Y[0] 1.0))(assert (<= Y[1] 1.0))(assert (<= Y[2] 1.0))"),
        ("(vnnlib-version <2.0>)(declare-network f (declare-input X real [4000,4000])"
         "(declare-output Y real [1]))(assert (<= Y[0] 1.0))"),
    ],
    ids=range(10),
)  # fmt: skip
def test_vnnlib_that_would_exhaust_us(tmp_path: Path, text: str) -> None:
    """Depth, branches, digits and declared sizes are limited."""
    attempt("vnnlib", tmp_path, text.encode())


def test_an_archive_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """The limit holds on the unpacked size."""
    path = tmp_path / "bomb.vnnlib.gz"
    path.write_bytes(gzip.compress(b"(" * (100 << 20), 1))
    with pytest.raises(InputError, match="unpacks to more than"):
        read_property(path)
