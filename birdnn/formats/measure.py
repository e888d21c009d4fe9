"""A user's operational distribution: samples in CSV or NPZ, or independent marginals in TOML.

CSV: one sample a line, values separated by commas; blank lines, lines that begin with ``#`` and one heading are passed
over. NPZ: one array (inputs last), or one that is called ``x``. TOML::

    name = "cruise traffic"
    [[inputs]]                      # one for each input of the network, in its order
    distribution = "normal"         # mean, sd; truncated where lower or upper are given
    mean = 0.1
    sd = 0.05
    upper = 0.3
    [[inputs]]
    distribution = "uniform"        # lower, upper
    lower = -0.5
    upper = 0.5
    [[inputs]]
    distribution = "triangular"     # lower, mode, upper
    lower = 0.0
    mode = 0.1
    upper = 0.5
    [[inputs]]
    distribution = "choice"         # values, and weights where they differ
    values = [0.0, 0.25]
    weights = [3, 1]
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, model_validator

from birdnn.decimals import parse_float
from birdnn.errors import FormatError
from birdnn.formats.files import read_bytes, stem_and_kind
from birdnn.formats.npz import Npz
from birdnn.formats.toml import read_validated
from birdnn.later import later
from birdnn.printable import counted
from birdnn.reading import guarded_reader
from birdnn.sample.measures import Choice, Continuous, Marginal, Measure, Product, Samples
from birdnn.spec import Scaling

stats = later("scipy.stats")

SIZE_LIMIT_BYTES = 1 << 30
_SHOWN = 40


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Uniform(_Table):
    distribution: Literal["uniform"]
    lower: FiniteFloat
    upper: FiniteFloat

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"lower {self.lower:g} is not below upper {self.upper:g}; for one value say choice")
        return self

    def marginal(self) -> Marginal:
        return Continuous(stats.uniform(self.lower, self.upper - self.lower))


class _Normal(_Table):
    distribution: Literal["normal"]
    mean: FiniteFloat
    sd: Annotated[PositiveFloat, FiniteFloat]
    # pydantic does not look at defaults: these stand for no limit, which no file can say otherwise
    lower: FiniteFloat = -math.inf
    upper: FiniteFloat = math.inf

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.lower < self.upper:
            raise ValueError(f"lower {self.lower:g} is not below upper {self.upper:g}")
        return self

    def marginal(self) -> Marginal:
        # SciPy wants the ends in standard deviations from the mean
        ends = ((self.lower - self.mean) / self.sd, (self.upper - self.mean) / self.sd)
        return Continuous(stats.truncnorm(*ends, loc=self.mean, scale=self.sd))


class _Triangular(_Table):
    distribution: Literal["triangular"]
    lower: FiniteFloat
    mode: FiniteFloat
    upper: FiniteFloat

    @model_validator(mode="after")
    def _is_a_triangle(self) -> Self:
        if not (self.lower <= self.mode <= self.upper and self.lower < self.upper):
            raise ValueError(f"lower <= mode <= upper is expected, not {self.lower:g}, {self.mode:g}, {self.upper:g}")
        return self

    def marginal(self) -> Marginal:
        width = self.upper - self.lower
        return Continuous(stats.triang((self.mode - self.lower) / width, loc=self.lower, scale=width))


class _Choice(_Table):
    distribution: Literal["choice"]
    values: tuple[FiniteFloat, ...] = Field(min_length=1)
    weights: tuple[Annotated[PositiveFloat, FiniteFloat], ...] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.values):
            raise ValueError(f"{len(self.values)} values and {len(self.weights)} weights")
        return self

    def marginal(self) -> Marginal:
        return Choice(self.values, self.weights or (1.0,) * len(self.values))


class _MeasureFile(_Table):
    name: str = Field(min_length=1)
    inputs: tuple[
        Annotated[_Uniform | _Normal | _Triangular | _Choice, Field(discriminator="distribution")], ...
    ] = Field(min_length=1)  # fmt: skip


@guarded_reader
def read_measure(path: str | Path, n_inputs: int, scaling: Scaling | None) -> Measure:
    """The measure of a file for a network with so many inputs.

    Args:
        path: .csv, .npz or .toml; the first two also with .gz.
        scaling: turns the file's raw units into network units; None: it speaks network units.

    Raises:
        FormatError: the file is none of these, or for another number of inputs, or holds what is no number.
    """
    kind = stem_and_kind(path)[1]
    if kind == "toml":
        return _read_product(Path(path), n_inputs, scaling)
    if kind not in ("csv", "npz"):
        raise FormatError(str(path), "", "a measure is expected: samples (.csv, .npz) or marginals (.toml)")
    data = read_bytes(path, SIZE_LIMIT_BYTES)
    x = torch.from_numpy(
        _read_csv(str(path), data, n_inputs) if kind == "csv" else _read_npz(str(path), data, n_inputs)
    )
    name = f"the samples of {Path(path).name} that lie in the region"
    return Samples(name=name, x=x if scaling is None else scaling.normalised_inputs(x))


def _read_product(path: Path, n_inputs: int, scaling: Scaling | None) -> Product:
    content = read_validated(path, _MeasureFile)
    if len(content.inputs) != n_inputs:
        raise FormatError(
            str(path), "key inputs", f"{len(content.inputs)} marginals; the network has {n_inputs} inputs"
        )
    marginals = tuple(entry.marginal() for entry in content.inputs)
    return Product(name=f"{content.name}, conditioned on the region", marginals=marginals, scaling=scaling)


def _read_csv(path: str, data: bytes, n_inputs: int) -> npt.NDArray[np.float64]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(path, f"byte {error.start}", "not UTF-8 text; give samples as comma-separated text") from None
    rows: list[list[float]] = []
    heading = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = line.split(",")
        # in front of all samples only, and without any number: what others take for one, nan or 1_000, makes a line an
        # error and no heading
        if not (rows or heading) and not any(_resembles_number(cell) for cell in cells):
            heading = True
            continue
        if len(cells) != n_inputs:
            have = counted(len(cells), "value")
            raise FormatError(path, f"line {number}", f"{have}; give {n_inputs}, one for each input of the network")
        rows.append([_parse_sample(path, number, cell) for cell in cells])
    if not rows:
        raise FormatError(path, "", f"holds no samples; give lines of {n_inputs} numbers separated by commas")
    return np.array(rows, dtype=np.float64)


def _resembles_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse_sample(path: str, line: int, cell: str) -> float:
    value = parse_float(cell.strip())
    if value is not None and math.isfinite(value):
        return value
    raise FormatError(
        path, f"line {line}", f"{cell.strip()[:_SHOWN]!r} is no finite number; mend or leave out the line"
    )


def _read_npz(path: str, data: bytes, n_inputs: int) -> npt.NDArray[np.float64]:
    archive = Npz.of(data, path, f"an NPZ archive of numbers of shape (samples, {n_inputs})")
    names = archive.names
    if "x" not in names and len(names) != 1:
        raise FormatError(path, "", f"holds {len(names)} arrays; give one, or call the samples 'x'")
    x = archive.array("x" if "x" in names else names[0])
    if x.dtype.kind not in "fiu" or x.ndim != 2 or x.shape[1] != n_inputs:
        shape = f"shape {x.shape}, type {x.dtype}"
        raise FormatError(path, "", f"an array of numbers of shape (samples, {n_inputs}) is expected, not {shape}")
    if not len(x):
        raise FormatError(path, "", "holds no samples; give at least one row")
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        raise FormatError(path, f"row {int(bad.argmax())}", "holds NaN or infinity; mend or leave out the row")
    return x.astype(np.float64)  # also of integers and float32
