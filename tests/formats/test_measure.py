"""Operational distributions from files; what is wrong is named with its place and what to give instead."""

from __future__ import annotations

import gzip
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.errors import FormatError
from birdnn.formats.measure import read_measure
from birdnn.sample.measures import Product, Samples
from birdnn.spec import Scaling
from tests.sample.cases import box, generator, prop

CSV = "# made by hand\nx0, x1\n0.5,0.25\n\n-1e-3, 2\n"
TOML = """
name = "cruise"
[[inputs]]
distribution = "normal"
mean = 0.5
sd = 0.1
upper = 0.6
[[inputs]]
distribution = "triangular"
lower = 0
mode = 0.25
upper = 1
[[inputs]]
distribution = "choice"
values = [0.25, 0.75]
weights = [3, 1]
[[inputs]]
distribution = "uniform"
lower = -1.0
upper = 1.0
"""


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV.encode()),
        ("a.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("a.csv.gz", gzip.compress(CSV.encode())),
        ("a.npz", npz(anything=np.array([[0.5, 0.25], [-1e-3, 2.0]]))),
        ("a.npz", npz(x=np.array([[0.5, 0.25], [-1e-3, 2.0]]), notes=np.array(3))),
    ],
)
def test_samples(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    measure = read_measure(tmp_path / name, 2, None)
    assert isinstance(measure, Samples)
    assert measure.x.tolist() == [[0.5, 0.25], [-1e-3, 2.0]]
    assert name in measure.name


def test_raw_samples_become_network_units(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("110\n")
    scaling = Scaling(
        input_means=(Fraction(100),), input_ranges=(Fraction(20),), output_mean=Fraction(0), output_range=Fraction(1)
    )
    measure = read_measure(tmp_path / "a.csv", 1, scaling)
    assert isinstance(measure, Samples)
    assert measure.x.tolist() == [[0.5]]


def test_marginals(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    measure = read_measure(tmp_path / "a.toml", 4, None)
    assert isinstance(measure, Product)
    assert measure.name == "cruise, conditioned on the region"
    x = measure.draws(prop(box((0,) * 4, (1,) * 4, 0.0)), generator()).take(20_000).double()
    assert float(x[:, 0].max()) <= 0.6
    assert x.mean(0).tolist() == pytest.approx([0.4713, 1.25 / 3, 0.375, 0.5], abs=0.01)
    assert set(x[:, 2].tolist()) == {0.25, 0.75}


BAD = {
    "wrong width": ("a.csv", b"1,2\n1,2,3\n", ("line 2", "3 values; give 2")),
    "one value": ("a.csv", b"1\n", ("line 1", "1 value; give 2")),
    "NaN": ("a.csv", b"1,2\n1,nan\n", ("line 2", "'nan' is no finite number")),
    "infinite": ("a.csv", b"1,-inf\n", ("line 1", "'-inf'")),
    "not a number to others": ("a.csv", b"1_000,2\n", ("line 1", "'1_000' is no finite number")),
    "beyond float64": ("a.csv", b"1,1e310\n", ("line 1", "'1e310' is no finite number")),
    "a word": ("a.csv", b"1,2\n1,two\n", ("line 2", "'two'")),
    "two headings": ("a.csv", b"a,b\nc,d\n1,2\n", ("line 2", "'c'")),
    "empty": ("a.csv", b"", ("empty",)),
    "a heading alone": ("a.csv", b"x0,x1\n", ("no samples; give lines of 2 numbers",)),
    "no text": ("a.csv", b"\xff\xfe1,2\n", ("byte 0",)),
    "no archive": ("a.npz", b"PK nothing", ("NPZ",)),
    "objects": ("a.npz", npz(x=np.array([{}, {}], dtype=object)), ("NPZ",)),
    "two arrays": ("a.npz", npz(a=np.eye(2), b=np.eye(2)), ("2 arrays; give one",)),
    "wrong shape": ("a.npz", npz(x=np.zeros((3, 4))), ("(samples, 2)", "(3, 4)")),
    "text array": ("a.npz", npz(x=np.array([["a", "b"]])), ("array of numbers",)),
    "no rows": ("a.npz", npz(x=np.zeros((0, 2))), ("no samples",)),
    "NaN in a row": ("a.npz", npz(x=np.array([[1.0, 2], [np.nan, 1]])), ("row 1", "NaN")),
    "wrong kind": ("a.json", b"{}", (".csv, .npz", ".toml")),
    "wrong count": ("a.toml", TOML.encode(), ("4 marginals; the network has 2 inputs",)),
    "no TOML": ("a.toml", b"name = ", ("not TOML",)),
    "unknown distribution": (
        "a.toml",
        b'name = "a"\n[[inputs]]\ndistribution = "cauchy"\n',
        ("inputs.0", "'uniform', 'normal', 'triangular', 'choice'"),
    ),
    "empty range": (
        "a.toml",
        b'name = "a"\n[[inputs]]\ndistribution = "uniform"\nlower = 1\nupper = 1\n',
        ("inputs.0", "not below"),
    ),
    "negative spread": (
        "a.toml",
        b'name = "a"\n[[inputs]]\ndistribution = "normal"\nmean = 1\nsd = -1\n',
        ("inputs.0.normal.sd",),
    ),
    "mode outside": (
        "a.toml",
        b'name = "a"\n[[inputs]]\ndistribution = "triangular"\nlower = 0\nmode = 2\nupper = 1\n',
        ("inputs.0", "lower <= mode <= upper"),
    ),
    "weights amiss": (
        "a.toml",
        b'name = "a"\n[[inputs]]\ndistribution = "choice"\nvalues = [1, 2]\nweights = [1]\n',
        ("inputs.0", "2 values and 1 weights"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path: Path, case: str) -> None:
    name, data, pieces = BAD[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_measure(tmp_path / name, 2, None)
    for piece in (name, *pieces):
        assert piece in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_measure(tmp_path / "none.csv", 2, None)


def test_a_measure_is_read_in_full_precision(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("0.1,0.30000000000000004\n")
    measure = read_measure(tmp_path / "a.csv", 2, None)
    assert isinstance(measure, Samples)
    assert torch.equal(measure.x, torch.tensor([[0.1, 0.1 + 0.2]], dtype=torch.float64))
