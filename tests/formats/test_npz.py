"""Arrays: what is declared is compared with what is there, before memory is asked for."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from birdnn.errors import FormatError
from birdnn.formats.npz import Npz


def archive(**members: bytes) -> bytes:
    """An archive of these bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as found:
        for name, data in members.items():
            found.writestr(f"{name}.npy", data)
    return made.getvalue()


def npy(shape: str, descr: str = "'<f4'", values: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An array with such a header."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + len(head).to_bytes(2, "little") + head + values


def read(data: bytes) -> np.ndarray:
    return Npz.of(data, "x.npz", "an example").array("x")


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(order: str) -> None:
    made = io.BytesIO()
    x = np.array(np.arange(12).reshape(2, 3, 2), order=order)  # type: ignore[call-overload]
    np.savez_compressed(made, x=x, y=np.array(3.5))
    found = Npz.of(made.getvalue(), "x.npz", "an example")
    assert found.names == ("x", "y")
    assert (found.array("x") == x).all()
    assert found.array("y") == 3.5
    found.array("x")[0] = 1  # may be written to


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04 and so on", r"no \.npz file"),
        (archive(x=npy("(1000000000000,)")), "needs 4,000,000,000,000 bytes; the file holds 0"),
        (archive(x=npy("(-1,)", values=b"1234")), "needs -4 bytes"),
        (archive(x=npy("(2,)", values=b"1234")), "needs 8 bytes; the file holds 4"),
        (archive(x=npy("(1,)", values=b"12345678")), "needs 4 bytes; the file holds 8"),
        (archive(x=npy("(3,)", "'|O'", b"cos\nsystem\n(S'echo'\ntR.")), "Python objects, which are never loaded"),
        (archive(x=npy("(1,)", "[('a', '|O')]", b"12345678")), "Python objects"),
        (archive(x=npy("(1000000000000,)", "'|V0'")), "needs 0 bytes"),
        (archive(x=npy("__import__('os').getcwd()")), "damaged"),
        (archive(x=npy("(" * 5000)), "damaged"),
        (archive(x=npy("(1,)", version=b"\x03\x00")), "unknown version"),
        (archive(x=b"nothing"), "damaged"),
    ],
)
def test_what_is_declared_is_not_believed(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read(data)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birdnn.formats.npz.MAX_BYTES", 1 << 20)
    with pytest.raises(FormatError, match="more than 1,048,576 bytes"):
        read(archive(x=npy("(524288,)", values=bytes(1 << 21))))


def test_no_name_twice() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as found:
        found.writestr("x.npy", npy("(1,)", values=b"1234"))
        with pytest.warns(UserWarning, match="Duplicate"):
            found.writestr("x.npy", npy("(1,)", values=b"5678"))
    with pytest.raises(FormatError, match="two arrays of one name"):
        read(made.getvalue())
