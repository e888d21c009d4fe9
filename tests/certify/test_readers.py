"""Both readers of each format, and a third voice, on odd files from a grammar; divergences planted back are noticed."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from birdnn.certify.check import files, onnxfile, statement
from birdnn.formats import onnx as prover
from birdnn.formats import vnnlib
from tools.differential_readers import MATERIAL, WRONG, tally

COUNTS = {"texts": 500, "models": 250, "archives": 500}


@pytest.mark.parametrize("kind", MATERIAL)
def test_what_two_accept_means_the_same(kind: str) -> None:
    """`python -m tools.differential_readers 20000` does the same at length."""
    found, wrong = tally(*MATERIAL[kind], COUNTS[kind], 1)
    assert not wrong
    assert found["both"] > COUNTS[kind] // 10


def _words_with(more: str) -> re.Pattern[str]:
    """The checker's tokens, with more characters in words."""
    return re.compile(statement._TOKEN.pattern.replace("[0-9A-Z", f"[{more}0-9A-Z"), statement._TOKEN.flags)


def _last_attribute(self: Any, node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type}


def _first_member(stored: bytes, path: str, limit: int) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(wbits=31).decompress(stored, limit)
    except zlib.error as error:
        raise files.FormatError(path, "", str(error)) from None


def _lone_return(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Comments that a carriage return does not end."""
    return re.compile(pattern.pattern.replace(r";[^\r\n]*", r";[^\n]*"), pattern.flags)


def _old_constant(node: onnx.NodeProto, path: str) -> Any:
    """By the attribute's name, whatever its type."""
    attribute = node.attribute[0]
    return np.array(numpy_helper.to_array(attribute.t) if attribute.name == "value" else np.float32(attribute.f))


def _keep_first(graph: onnx.GraphProto, *_: Any) -> None:
    """Of two constants of one name the first, where onnxruntime takes the last."""
    taken: set[str] = set()
    for values in (graph.initializer, graph.node):
        kept = []
        for value in values:
            name = value.name if isinstance(value, onnx.TensorProto) else next(iter(value.output), "")
            if name not in taken:
                kept.append(value)
            taken.add(name)
        del values[:]
        values.extend(kept)


def _deaf(read: Callable[..., Any]) -> Callable[..., Any]:
    """A reader for which (exit) and (check-sat) are nothing."""

    def reads(source: Any) -> Any:
        if isinstance(source, str):
            return read(source.replace("(exit)", "").replace("(check-sat)", ""))
        data = source.data.replace(b"(exit)", b"").replace(b"(check-sat)", b"")
        return read(files.File(source.path, data, source.sha256))

    return reads


PLANTED: dict[str, tuple[str, Any, str, Any]] = {
    "the checker reads quoted symbols as words": ("texts", statement, "_TOKEN", _words_with("|")),
    "the checker reads on after (exit)": ("texts", statement, "read_statement", _deaf(statement.read_statement)),
    "the checker takes any white space": (
        "texts",
        statement,
        "_TOKEN",
        re.compile(statement._TOKEN.pattern.replace(r"(?:[ \t\n]|\r\n)+", r"\s+"), statement._TOKEN.flags),
    ),
    "the prover's comments end at a line feed only": ("texts", vnnlib, "_TOKEN", _lone_return(vnnlib._TOKEN)),
    "the prover reads on after (exit)": ("texts", vnnlib, "parse_property", _deaf(vnnlib.parse_property)),
    "the checker takes the last attribute": ("models", onnxfile.FileReader, "_read_attributes", _last_attribute),
    "the checker takes names twice": ("models", onnxfile.FileReader, "_require_names", lambda *_: None),
    "the checker ignores declarations": ("models", onnxfile.FileReader, "require_declared", lambda *_: None),
    "the checker ignores fields": ("models", onnxfile.FileReader, "require_known", lambda *_: None),
    "the checker takes operands of any type": ("models", onnxfile.FileReader, "floats", onnxfile.FileReader.constant),
    "the prover takes the first constant": ("models", prover, "_require_distinct", _keep_first),
    "the prover reads constants by name": ("models", prover, "_constant", _old_constant),
    "the checker takes the first member": ("archives", files, "unpack_gzip", _first_member),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_divergence_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, place, attribute, old = PLANTED[name]
    monkeypatch.setattr(place, attribute, old)
    make, compare = MATERIAL[kind]

    def noticed(number: int) -> bool:
        material = make(Random(f"1/{number}"))
        try:
            return compare(material) in WRONG
        except Exception:  # noqa: BLE001 - old code dies of some
            return True

    assert any(noticed(number) for number in range(6000))
