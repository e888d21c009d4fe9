"""What the checker does not know for certain it refuses: texts, networks, archives and certificates of two meanings."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zlib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from birdnn.certify.check import Rejected, Uncertain, check, files, statement
from birdnn.certify.check.__main__ import main
from birdnn.certify.check.certificate import _read_file_entry, read_certificate
from birdnn.certify.check.files import File
from birdnn.certify.check.statement import read_statement
from birdnn.errors import FormatError
from tests.certify.cases import sha256
from tests.certify.producer import certificate, write
from tests.certify.test_layers import F32, build, node
from tests.certify.test_statement import BOX, HEAD

QUOTED = "(set-info :source |written by hand) (assert (<= X_0 0.1)) (set-info :notes |)\n"

UNCERTAIN = {
    "quoted symbol with an assertion in it": QUOTED,
    "quoted variable": "(assert (<= |Y_0| 1))",
    "quoted symbol that hides nothing": "(set-info :source |me|)",
    "form feed": "(check-sat)\f",
    "vertical tab": "(check-sat)\v",
    "no-break space": "(check-sat)\xa0",
    "em space": "(assert\u2003(<= Y_0 1))",
    "file separator": "(check-sat)\x1c",
    "zero width space": "(check-sat)\u200b",
    "byte order mark": "\ufeff(check-sat)",
    "NUL": "(check-sat)\0",
    "carriage return alone": "(check-sat)\r",
    "carriage return in a comment": "; one\r(assert (<= X_0 0.1))\n",
    "line separator in a comment": "; one\u2028(assert (<= X_0 0.1))\n",
    "next line in a comment": "; one\x85(assert (<= X_0 0.1))\n",
    "form feed in a comment": "; one\f(assert (<= X_0 0.1))\n",
    "two quotes in a string": '(set-info :source "a ""b"" c")',
    "escaped quote": '(set-info :source "a\\") (assert (<= X_0 0.1)) (set-info :notes \\"b")',
    "string that is not closed": '(check-sat) "',
    "letter that is not ASCII": "(set-info :source é)",
    "digit that is not ASCII": "(assert (<= Y_0 ٣))",
    "bracket": "(set-info :source [1])",
    "something after exit": "(exit)(check-sat)",
    "assertion after exit": "(exit)(assert (<= X_0 0.1))",
    "assertion after check-sat": "(check-sat)(assert (<= X_0 0.1))",
    "declaration after check-sat": "(check-sat)(declare-const Y_2 Real)",
    "assertion long after check-sat": "(check-sat)(get-model)(assert (<= X_0 0.1))",
}

UNKNOWN = {
    "function with arguments": "(declare-fun Y_2 (Real) Real)",
    "arguments before the name": "(declare-fun () Y_2 Real)",
    "no type": "(declare-const Y_2)",
    "constant with arguments": "(declare-const Y_2 () Real)",
    "type of more words": "(declare-const Y_2 Real Real)",
    "name that is a list": "(declare-const (Y_2) Real)",
    "declaration of nothing": "(declare-const)",
    "assertion in an ignored command": "(set-info :source (assert (<= X_0 0.1)))",
    "assertion in get-value": "(get-value ((assert (<= X_0 0.1))))",
    "get-value of two lists": "(get-value (X_0) (X_1))",
    "get-value of nothing": "(get-value ())",
    "command of a list": "((assert true))",
    "two formulas": "(assert true true)",
    "push": "(push 1)",
    "annotation": "(assert (! (<= Y_0 1) :named a))",
    "underscore in a number": "(assert (<= Y_0 1_0))",
    "long exponent": "(assert (<= Y_0 1e0001))",
    "one over nothing": "(assert (<= (/ Y_0) 1))",
    "no command": "()",
}


def said(text: str) -> statement.Statement:
    return read_statement(File("it.vnnlib", text.encode(), ""))


@pytest.mark.parametrize("name", UNCERTAIN)
def test_a_text_that_others_may_take_otherwise_proves_nothing(name: str) -> None:
    for text in (HEAD + BOX + UNCERTAIN[name], UNCERTAIN[name] + HEAD + BOX):
        with pytest.raises((Uncertain, FormatError), match="does not read") as caught:
            said(text)
    if "check-sat)(" not in UNCERTAIN[name]:
        assert isinstance(caught.value, Uncertain)
    with pytest.raises(Uncertain, match="another reader may take it otherwise"):
        said(HEAD + BOX + UNCERTAIN[name])


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_command_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="does not read"):
        said(HEAD + BOX + UNKNOWN[name])


def test_what_is_certain_stays() -> None:
    """Line ends of Windows, tabs, comments in any language, strings, and what asks for the answer."""
    plain = said(HEAD + BOX)
    odd = (HEAD + BOX).replace("\n", "\r\n") + "\t; é (assert (<= X_0 0.1)\t|\r\n" + '(set-info :source "(x) ; |")'
    odd += "(set-logic QF_LRA) (check-sat) (get-model) (get-value (X_0 Y_0)) (echo done) (exit) ; the end"
    assert said(odd) == plain
    with pytest.raises(Uncertain, match=r"character '\|' \(line 3\)"):
        said("; one\n\n|")
    with pytest.raises(Uncertain, match=r"control characters in a comment \(line 2\)"):
        said("\n; one\f")


def test_how_much_a_text_may_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just allowed, and just not."""
    text = HEAD + BOX + "(assert (or (<= Y_0 1) (<= Y_1 1) (and (<= Y_0 2) (<= Y_1 2))))"
    # three branches: four bounds and a row, four bounds and a row, four bounds and two rows
    for name, just in (("MAX_BYTES", len(text)), ("MAX_PAIRS", 3), ("MAX_ATOMS", 16), ("MAX_ENTRIES", 3 * 2 + 4 * 2)):
        with monkeypatch.context() as patch:
            patch.setattr(statement, name, just)
            assert len(said(text).pairs) == 3
            patch.setattr(statement, name, just - 1)
            with pytest.raises(FormatError, match="does not read"):
                said(text)


def test_alternatives_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + BOX + "(assert (or (and (<= Y_0 2) (<= Y_1 2)) (<= Y_0 1)))"
    monkeypatch.setattr(statement, "MAX_ATOMS", 2 * 4 + 3)
    assert len(said(text).pairs) == 2
    with pytest.raises(FormatError, match="comparisons"):
        said(HEAD + BOX + "(assert (or (and (or (and " + "(<= Y_0 2)" * 12 + ")) false) (<= Y_0 1)))")


def test_how_long_numbers_may_grow() -> None:
    def grown(bits: int) -> str:
        return HEAD + BOX + f"(assert (<= (* Y_0 {' '.join(['2'] * bits)}) 1))"

    longest = statement._LONGEST - 1  # two to the power of n has n + 1 bits
    assert len(said(grown(longest)).pairs) == 1
    for text in (
        grown(longest + 1),
        grown(longest).replace("(* Y_0 2", "(/ Y_0 2").replace(" 2", " (/ 1 2)") + "(assert true",
    ):
        with pytest.raises(FormatError, match="does not read"):
            said(text)
    for parts in ("(* " + "1e400 " * 20 + ")", "(+ " + " ".join(f"(/ 1 {10**300 + i})" for i in range(40)) + ")"):
        with pytest.raises(FormatError, match="numbers that grow so long"):
            said(HEAD + BOX + f"(assert (<= Y_0 {parts}))")


def member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def test_archives_of_one_member_only(tmp_path: Path) -> None:
    path = tmp_path / "it.gz"
    for stored, reason in (
        (member(b"one") + member(b"two"), "follows"),
        (member(b"one") + bytes(8), "follows"),
        (member(b"one")[:-1], "truncated"),
        (member(b"one")[:3] + b"\x20" + member(b"one")[4:], "damaged"),
    ):
        path.write_bytes(stored)
        with pytest.raises(FormatError, match=reason):
            files.read_file(path)
    path.write_bytes(member(b"one"))
    assert files.read_file(path, len(member(b"one"))).data == b"one"
    with pytest.raises(FormatError, match="larger than 22 bytes"):
        files.read_file(path, len(member(b"one")) - 1)
    path.write_bytes(member(bytes(100)))
    assert files.read_file(path, 100).data == bytes(100)
    with pytest.raises(FormatError, match="unpacks to more than 99 bytes"):
        files.read_file(path, 99)
    path.write_bytes(b"plain")
    assert files.read_file(path, 5).data == b"plain"
    with pytest.raises(FormatError, match="larger than 4 bytes"):
        files.read_file(path, 4)


HEADER = {
    "format": "birdnn certificate",
    "version": 1,
    "tool": "it",
    "network": {"file": "n", "sha256": "0" * 64},
    "semantics": "real",
    "assumptions": {},
    "proofs": [],
}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("version", 1.0, "version 1.0"),
        ("version", True, "version True"),
        ("version", "1", "version '1'"),
        ("version", None, "version None"),
        ("version", [[[[[[[[[]]]]]]]]], "version"),
        ("tool", 5, "tool must be a text"),
        ("network", {"file": "n", "sha256": "0" * 63}, "64 lower-case"),
        ("network", {"file": "n", "sha256": "A" * 64}, "64 lower-case"),
        ("network", {"file": "n", "sha256": "0" * 64 + "\n"}, "64 lower-case"),
        ("network", {"file": 7, "sha256": "0" * 64}, "described by texts"),
        ("network", {"file": "n", "sha256": ["0" * 64]}, "described by texts"),
        ("semantics", "\x1b[2J" * 1000, "neither real"),
        ("semantics", ["real"], "neither real"),
        ("assumptions", {"tanh": 1}, "name an error"),
        ("assumptions", {"tanh": True}, "name an error"),
        ("\ud800", 1, "must have the keys"),
        ("x" * 100_000, 1, "must have the keys"),
    ],
)
def test_heads_of_certificates(key: str, value: Any, reason: str) -> None:
    """And what is said about them can be printed."""

    def read(content: dict[str, Any]) -> None:
        read_certificate(File("it.json", json.dumps(content).encode(), ""))

    read(HEADER)
    with pytest.raises(Rejected, match=reason) as caught:
        read({**HEADER, key: value})
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) < 300


@pytest.mark.parametrize(
    "text", ["[1]", "1", '"x"', "{} {}", "{}x", "\ufeff{}", "1" * 5000, "[" * 10_000, '{"a": 1, "a": 1}', "Infinity"]
)
def test_texts_that_are_no_certificate(text: str) -> None:
    with pytest.raises((FormatError, Rejected)):
        read_certificate(File("it.json", text.encode(), ""))


def test_columns_have_one_spelling(tmp_path: Path) -> None:
    """Bits that base64 drops may hold anything: another reader may refuse them."""
    net = build(tmp_path / "n.onnx", [node("MatMul", "X", "w", "Y")], {"w": F32([[1]])}, (1, 1))
    prop = tmp_path / "p.vnnlib"
    prop.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= 0 X_0 1))(assert (>= Y_0 2))")
    made = certificate(net, [prop], "real")
    assert made is not None
    path = tmp_path / "c.json.gz"
    assert check(net, [prop], write(path, made)).answers[0].verdict == "proved"
    column = made["proofs"][0]["regions"][0]["axis"]
    assert column["data"] == base64.b64encode(b"\xff\xff").decode() == "//8="
    for data, reason in (("//9=", "loose bits"), ("//8=\n", "cannot be decoded"), ("//8", "cannot be decoded")):
        column["data"] = data
        with pytest.raises(Rejected, match=reason):
            check(net, [prop], write(path, made))


def test_proofs_that_nobody_asked_about_are_mentioned(tmp_path: Path) -> None:
    """And counted by what they speak about: a property that is named twice is one."""
    net = build(tmp_path / "n.onnx", [node("MatMul", "X", "w", "Y")], {"w": F32([[1]])}, (1, 1))
    props = [tmp_path / f"{bound}.vnnlib" for bound in (2, 3)]
    for prop in props:
        text = f"(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= 0 X_0 1))(assert (>= Y_0 {prop.stem}))"
        prop.write_text(text)
    made = certificate(net, props, "real")
    assert made is not None
    path, again = write(tmp_path / "c.json.gz", made), tmp_path / "again.vnnlib"
    again.write_bytes(props[0].read_bytes())
    assert check(net, props, path).line() == "float64, all 2 leaves"
    assert check(net, props[:1], path).line().endswith("1 of its proofs not looked at, whose properties were not named")
    assert check(net, [*props, again], path).line() == "float64, all 3 leaves"


def test_about_a_file() -> None:
    told = {"name": "p", "file": "f", "sha256": "0123456789abcdef" * 4}
    assert _read_file_entry(told, "property", ("name", "file", "sha256")) == told


def forged(folder: Path, text: str, stated: str) -> list[str]:
    """Arguments of the checker: of the identity, the certificate proves for ``text`` what ``stated`` says."""
    net = build(folder / "n.onnx", [node("MatMul", "X", "w", "Y")], {"w": F32([[1]])}, (1, 1))
    prop = folder / "p.vnnlib"
    prop.write_text(stated)
    made = certificate(net, [prop], "real")
    assert made is not None
    prop.write_bytes(text.encode())
    made["proofs"][0]["property"]["sha256"] = sha256(prop)
    return ["--net", str(net), "--prop", str(prop), str(write(folder / "c.json.gz", made))]


def told(arguments: list[str]) -> tuple[int, str]:
    """Exit status of the checker, and all that it prints."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        return main(arguments), said.getvalue()


def test_a_checker_that_fails_has_rejected_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own status for a program that fails is that of a rejected certificate."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("\x1b[2J")

    monkeypatch.setattr("birdnn.certify.check.__main__.check", fail)
    status, said = told(["--net", "n", "--prop", "p", "c"])
    assert status == 5
    assert said == "error: nothing is accepted or rejected; this program failed: ZeroDivisionError: \\x1b[2J\n"


@pytest.mark.parametrize(("option", "value"), [("--sample", "0"), ("--sample", "-3"), ("--seed", "-1")])
def test_numbers_without_meaning_are_wrong_use(option: str, value: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        told(["--net", "n", "--prop", "p", "c", f"{option}={value}"])


UNSAFE = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n"
UNSAFE += "(assert (>= X_0 0))\n(assert (<= X_0 1))\n(assert (>= Y_0 0.5))\n"
NARROW = "(assert (<= X_0 0.1))"


@pytest.mark.parametrize(
    "text",
    [QUOTED + UNSAFE, UNSAFE + f"(exit){NARROW}", UNSAFE + f"(check-sat){NARROW}", UNSAFE + f"; \r{NARROW}",
     UNSAFE + f'(set-info :a "\\"){NARROW}(set-info :b \\"")', UNSAFE + f"(set-info :a {NARROW})",
     UNSAFE + f"(define-fun f () Real 1){NARROW}"],
    ids=["quoted", "exit", "check-sat", "carriage return", "escape", "ignored", "definition"],
)  # fmt: skip
def test_forged_by_a_second_reading(text: str, tmp_path: Path) -> None:
    """trust-01: inputs up to 1 are unsafe; a certificate for those up to 0.1 must not do, whoever reads the text."""
    assert told(forged(tmp_path, UNSAFE + NARROW, UNSAFE + NARROW))[0] == 0
    status, said = told(forged(tmp_path, text, UNSAFE + NARROW))
    assert status in (1, 4)
    assert "accepted" not in said


def test_the_quoted_symbol_of_trust_01_is_rejected(tmp_path: Path) -> None:
    status, said = told(forged(tmp_path, QUOTED + UNSAFE, UNSAFE + NARROW))
    assert status == 1
    assert "does not read the character '|' (line 1)" in said


def test_unpacking_stops_at_the_limit() -> None:
    """Whatever follows is not even unpacked."""
    with pytest.raises(FormatError, match="more than 10 bytes"):
        files.unpack_gzip(zlib.compress(bytes(11), wbits=31), "it", 10)
    assert files.unpack_gzip(zlib.compress(bytes(10), wbits=31), "it", 10) == bytes(10)
