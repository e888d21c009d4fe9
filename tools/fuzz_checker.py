"""Feeds the checker damaged networks, properties and certificates; nothing but its own errors may come out, and soon.

Run as ``python -m tools.fuzz_checker N [SEED]``: N inputs of each of the three kinds. Half have bytes changed, half are
well-formed and say something odd; hashes are made to fit, so that the checker looks at what was changed. What ends in
any other exception, takes longer than `SECONDS` or more than `MEMORY` is a failure. Prints a table, and the failures.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from birdnn.certify.check import Rejected, Settings, check
from birdnn.errors import BirdnnError
from tests.certify.producer import certificate
from tools.odd_models import ODDITIES
from tools.odd_texts import INSERTS, SPACES, text

SECONDS = 20
MEMORY = 4 << 30
"""Bytes."""

KINDS = ("network", "property", "certificate")
OUTCOMES = ("accepted", "rejected", "refused", "failed")
INTEGERS = (0, 1, -1, 2, 3, 7, 64, 255, 65535, 65536, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63), -(1 << 31))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-38, 3e38, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    *("", "0", "1", "-1", "1/3", "1e999", "1e-999", "1e-9999", "9" * 999, "9" * 5000, "nan", "1/0", "1_0", "\ud800"),
    *(
        "\x1b[2J",
        "X",
        "Y",
        "<f8",
        "real",
        "float32",
        "proved",
        "violated",
        "AAAA",
        "AAA=",
        "AA==",
        "AB==",
        "A",
        "a" * 64,
    ),
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2.5,
    1e308,
    10**400,
    [],
    {},
    [[]],
    [{}],
    {"": 0},
    [0] * 1000,
    *TEXTS,
)


class Case:
    """Files of an accepted certificate."""

    def __init__(self, folder: Path, model: onnx.ModelProto, unsafe: str, *, graph: bool = False) -> None:
        net, prop = folder / "net.onnx", folder / "prop.vnnlib"
        net.write_bytes(model.SerializeToString())
        made = None
        for threshold in (0.5, 1, 2, 4, 8, 16, 32, 64):
            prop.write_text(_BOX + unsafe.format(t=threshold))
            made = made or certificate(net, [prop], "real", slopes=0.5, graph=graph, neurons=0.3 * graph)
            if made is not None:
                self.net, self.prop, self.certificate = net.read_bytes(), prop.read_bytes(), made
                return
        raise SystemExit(f"no certificate for {unsafe}")


_BOX = """(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (and (>= X_0 -1) (<= X_0 1) (>= X_1 -0.5) (<= X_1 0.5)))
"""
_Nodes = list[tuple[str, list[str], dict[str, Any]]]


# a graph with convolutions, pooling, joins and a residual; v3 is the value of its first Relu
_JOINED: _Nodes = [
    ("Reshape", [".", "r"], {}),
    ("Conv", [".", "k", "s"], {"pads": [0, 1, 0, 1]}),
    ("Relu", ["."], {}),  # v3
    ("BatchNormalization", [".", "s", "m", "m", "d"], {}),
    ("Elu", ["."], {"alpha": 0.5}),
    ("Add", [".", "v3"], {}),
    ("MaxPool", ["."], {"kernel_shape": [1, 2]}),
    ("Concat", [".", "v3"], {"axis": 3}),
    ("Slice", [".", "one", "four", "three"], {}),
    ("Gather", [".", "places"], {"axis": 1}),
    ("AveragePool", ["."], {"kernel_shape": [1, 2], "pads": [0, 1, 0, 0]}),
    ("Transpose", ["."], {"perm": [0, 3, 2, 1]}),
    ("ReduceMean", ["."], {"axes": [1], "keepdims": 0}),
    ("Neg", ["."], {}),
    ("Flatten", ["."], {"axis": 1}),
    ("Gemm", [".", "w"], {"alpha": 0.5}),
]


def _model(opset: int, nodes: _Nodes, shape: list[Any], constants: dict[str, Any]) -> onnx.ModelProto:
    """A chain from X to Y; the operand ``.`` of a node is the value before."""
    ends = ["X", *(f"v{i}" for i in range(1, len(nodes))), "Y"]
    made = [
        helper.make_node(op, [ends[i] if name == "." else name for name in names], [ends[i + 1]], **attributes)
        for i, (op, names, attributes) in enumerate(nodes)
    ]
    values = [helper.make_tensor_value_info(name, 1, size) for name, size in (("X", shape), ("Y", None))]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(made, "g", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def cases(folder: Path) -> list[Case]:
    """Small ones, with cuts, faces, slopes and splits, of a chain or a graph."""
    rng = np.random.default_rng(3)

    def f32(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    first: _Nodes = [
        ("Gemm", [".", "w", "b"], {"transB": 1}),
        ("Relu", ["."], {}),
        ("Gemm", [".", "v", "c"], {"alpha": 1.0}),
    ]
    second: _Nodes = [
        ("Flatten", ["."], {"axis": 1}),
        ("Reshape", [".", "r"], {}),
        ("Unsqueeze", [".", "a"], {}),
        ("Squeeze", [".", "a"], {}),
        ("Sub", [".", "m"], {}),
        ("Div", [".", "s"], {}),
        ("MatMul", [".", "w"], {}),
        ("Add", ["b", "."], {}),
        ("LeakyRelu", ["."], {"alpha": 0.25}),
        ("Mul", [".", "s"], {}),
        ("Clip", [".", "z"], {}),
        ("Identity", ["."], {}),
    ]
    third: _Nodes = [
        ("MatMul", [".", "w"], {}),
        ("Tanh", ["."], {}),
        ("MatMul", [".", "w"], {}),
        ("Sigmoid", ["."], {}),
        ("Elu", ["."], {"alpha": 0.5}),
    ]
    numbers = {name: np.array([number]) for name, number in (("one", 1), ("four", 4), ("three", 3))}
    image = {"r": np.array([1, 1, 1, 2]), "k": f32(2, 1, 1, 2), "s": f32(2), "m": f32(2), "w": f32(2, 2), **numbers}
    image |= {"d": np.abs(f32(2)), "places": np.array([1, -2])}
    gemm = {"w": f32(3, 2), "b": f32(3), "v": f32(3, 2), "c": f32(2)}
    many = {"r": np.array([0, -1]), "a": np.array([0]), "m": f32(2), "s": f32(2), "w": f32(2, 2), "b": f32(1, 2)}
    return [
        Case(
            folder, _model(13, first, ["N", 2], gemm), "(assert (or (and (>= Y_0 {t}) (<= Y_1 (* 2 Y_0))) (> Y_1 {t})))"
        ),
        Case(folder, _model(13, second, [1, 1, 1, 2], {**many, "z": np.float32(0)}), "(assert (>= (+ Y_0 Y_1) {t}))"),
        Case(folder, _model(11, third, [1, 2], {"w": f32(2, 2)}), "(assert (or (>= Y_0 {t}) (<= Y_1 -{t})))"),
        Case(folder, _model(13, _JOINED, [1, 2], image), "(assert (or (>= Y_0 {t}) (<= Y_1 -{t})))", graph=True),
    ]


def damaged(data: bytes, draw: Random) -> bytes:
    """Bytes changed, removed, put in or repeated."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place, action = draw.randrange(len(out) + 1), draw.randint(0, 4)
        if action == 0 and place < len(out):
            out[place] = draw.randrange(256)
        elif action == 1 and place < len(out):
            out[place] ^= 1 << draw.randrange(8)
        elif action == 2:
            del out[place : place + draw.choice((1, 1, 2, 8, 40))]
        elif action == 3:
            out[place:place] = draw.randbytes(draw.choice((1, 2, 8)))
        else:
            out[place:place] = out[place : place + draw.choice((1, 8, 64))] * draw.choice((1, 2, 500))
    return bytes(out)


def odd_network(data: bytes, draw: Random) -> bytes:
    """A well-formed model of something odd."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(draw.randint(1, 3)):
        try:
            draw.choice((_meddle, _meddle, draw.choice(ODDITIES)))(model, draw)
        except (IndexError, ValueError, TypeError, OverflowError, AttributeError):
            continue  # what the changes before left does not bear this one
    out: bytes = model.SerializeToString()
    return out


def _meddle(message: Any, draw: Random) -> None:
    """Changes one field somewhere in a message."""
    field, value = draw.choice(message.ListFields())
    if field.message_type is not None:
        many = list(value) if field.is_repeated else [value]
        if field.is_repeated and draw.random() < 0.15:
            value.add().CopyFrom(draw.choice(many))
        elif field.is_repeated and draw.random() < 0.1:
            del value[draw.randrange(len(value))]
        elif many:
            _meddle(draw.choice(many), draw)
        return
    kinds: dict[int, tuple[Any, ...]] = {
        field.CPPTYPE_FLOAT: FLOATS,
        field.CPPTYPE_DOUBLE: FLOATS,
        field.CPPTYPE_STRING: TEXTS,
    }
    new = draw.choice(kinds.get(field.cpp_type, INTEGERS))
    if field.type == field.TYPE_BYTES:
        new = draw.choice((b"", b"\xff" * 4, value[:-1] if not field.is_repeated else b"", b"text"))
    if field.is_repeated:
        value.append(new) if draw.random() < 0.5 else value.__setitem__(draw.randrange(len(value)), new)
        if draw.random() < 0.02:
            value.extend([new] * draw.choice((100, 100_000)))
    else:
        setattr(message, field.name, new)


def odd_property(data: bytes, draw: Random) -> bytes:
    """A text from the grammar, or the property with odd pieces in it."""
    if draw.random() < 0.3:
        return text(draw).encode()
    source = data.decode()
    for _ in range(draw.randint(1, 3)):
        places = [i for i, c in enumerate(source) if c in " \n()"]
        place = draw.choice(places) if places else 0
        piece = draw.choice(
            (*INSERTS, *SPACES, "9" * 2000, "1e-400 ", "(" * 120, "(and " * 60, "(* 1e400 1e400 1e400) ")
        )
        if draw.random() < 0.05:
            piece = draw.choice(
                ("(* " + "1e400 " * 5000 + ")", "(or (<= Y_0 1) (<= Y_1 1)) " * 40, "(<= Y_0 1) " * 50_000)
            )
        source = source[:place] + piece + source[place + draw.randint(0, 12) :]
    return source.encode("utf-8", "surrogatepass")


def odd_certificate(content: Any, draw: Random) -> Any:
    """JSON with something else in some places."""
    content = json.loads(json.dumps(content))
    for _ in range(draw.randint(1, 2)):
        place, key = content, None
        while isinstance(place, dict | list) and place and (key is None or draw.random() < 0.9):
            above, key = place, draw.choice(list(place) if isinstance(place, dict) else list(range(len(place))))
            place = above[key]
        if key is None:
            continue
        if isinstance(place, str) and len(place) > 3 and draw.random() < 0.5:
            try:
                above[key] = base64.b64encode(_other_column(base64.b64decode(place), draw)).decode()
            except ValueError:
                continue
        elif draw.random() < 0.15:
            above.pop(key)
        elif draw.random() < 0.1 and isinstance(above, list):
            above.extend([place] * draw.choice((1, 2, 3000)))
        else:
            above[key] = copy.deepcopy(draw.choice(VALUES))
    return content


def _other_column(data: bytes, draw: Random) -> bytes:
    for dtype in draw.sample(("<f8", "<f4", "<u2", "<u4"), 4):
        if data and len(data) % np.dtype(dtype).itemsize == 0:
            values = np.frombuffer(data, dtype).copy()
            new = draw.choice(FLOATS) if dtype[1] == "f" else draw.choice(INTEGERS) % (1 << 16)
            values[draw.randrange(len(values))] = new
            return values.tobytes() if draw.random() < 0.8 else values.tobytes() * draw.choice((2, 1000))
    return damaged(data, draw)


def spoilt(case: Case, kind: str, draw: Random) -> tuple[bytes, bytes, bytes]:
    """Network, property and certificate, one of them spoilt, with hashes that fit."""
    net, prop, content, raw = case.net, case.prop, case.certificate, None
    as_bytes = draw.random() < 0.5
    if kind == "network":
        net = damaged(net, draw) if as_bytes else odd_network(net, draw)
    elif kind == "property":
        prop = damaged(prop, draw) if as_bytes else odd_property(prop, draw)
    elif as_bytes:
        raw = damaged(json.dumps(content).encode(), draw)
    else:
        content = odd_certificate(content, draw)
    if kind != "certificate":
        content = json.loads(json.dumps(content))
        content["network"]["sha256"] = hashlib.sha256(net).hexdigest()
        content["proofs"][0]["property"]["sha256"] = hashlib.sha256(prop).hexdigest()
    return net, prop, json.dumps(content).encode() if raw is None else raw


def attempt(folder: Path, files: tuple[bytes, bytes, bytes], settings: Settings) -> tuple[str, str]:
    """What the checker says of the files: the outcome, and the traceback where it failed."""
    paths = [folder / name for name in ("n.onnx", "p.vnnlib", "c.json")]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    try:
        check(paths[0], [paths[1]], paths[2], settings)
    except Rejected as error:
        return _printable("rejected", str(error))
    except BirdnnError as error:
        return _printable("refused" if error.exit_status == 4 else "failed", str(error))
    except Exception:  # noqa: BLE001 - this is what is looked for
        return "failed", traceback.format_exc()
    return "accepted", ""


def _printable(outcome: str, message: str) -> tuple[str, str]:
    """A message is for a terminal: short, without control characters, and it can be encoded."""
    fine = message.isprintable() and len(message) < 2000
    return (outcome, "") if fine else ("failed", f"message {message[:300]!a}")


def run(
    count: int, seed: int, seen: Callable[[str, int, str], None] = lambda kind, number, story: None
) -> dict[str, Counter[str]]:
    """Outcomes of ``count`` inputs of each kind; ``seen`` is told every failure."""
    table: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = cases(folder)
        for number in range(count):
            for kind in KINDS:
                draw = Random(f"{seed}/{kind}/{number}")
                files = spoilt(draw.choice(material), kind, draw)
                settings = Settings(arithmetic="exact" if draw.random() < 0.05 else "float64")
                begun = time.monotonic()
                outcome, story = attempt(folder, files, settings)
                if time.monotonic() - begun > SECONDS:
                    outcome, story = "failed", f"{time.monotonic() - begun:.1f} s, {outcome}"
                table[kind][outcome] += 1
                if outcome == "failed":
                    seen(kind, number, story)
            if number % 1000 == 999:
                print(f"{number + 1}: {table}", file=sys.stderr, flush=True)
    return table


def main(arguments: list[str]) -> int:
    """Status 1 where anything failed."""
    count, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def seen(kind: str, number: int, story: str) -> None:
        print(f"{kind} {number}: {story}", flush=True)

    table = run(count, seed, seen)
    print(f"{'':12}" + "".join(f"{name:>10}" for name in OUTCOMES))
    for kind, found in table.items():
        print(f"{kind:12}" + "".join(f"{found[name]:>10,}" for name in OUTCOMES))
    return 1 if any(found["failed"] for found in table.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
