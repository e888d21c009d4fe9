"""Which scaling raw numbers have, where the header of a file and a suite both say it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from birdnn.errors import MismatchError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.formats.suite import Suite
from birdnn.pipeline.describing import scaled_quantities
from birdnn.pipeline.load import Loaded, header_notes, known_scaling, load_network, scaling_of
from birdnn.pipeline.planes import shown_quantities
from birdnn.pipeline.reading import read_case
from birdnn.records import CaseFiles
from tests.cli.conftest import box_property

N = 5
SUITE = Suite.load("acasxu")
MEANS, RANGES = [19791.091, 0, 0, 650, 600], [60261, 6.28318530718, 6.28318530718, 1100, 1200]
OUTPUT = float(SUITE.scaling.output_mean), float(SUITE.scaling.output_range)


def line(values: list[float]) -> str:
    return ",".join(f"{value:.12g}" for value in values) + ","


def headed(path: Path, means: list[float], ranges: list[float], output: tuple[float, float] = OUTPUT) -> Path:
    """``y = x`` of five inputs, with a header."""
    lines = ["// made up", f"1,{N},{N},{N},", f"{N},{N},", "0,", line([-9e9] * N), line([9e9] * N)]
    lines += [line([*means, output[0]]), line([*ranges, output[1]])]
    lines += [line([float(i == j) for j in range(N)]) for i in range(N)] + ["0.0,"] * N
    path.write_text("\n".join(lines) + "\n")
    return path


def named(path: Path) -> Loaded:
    return replace(load_network(path), known=(SUITE, SUITE.entry("N1,1")))


def test_a_header_that_says_what_the_suite_says(tmp_path: Path) -> None:
    loaded = named(headed(tmp_path / "n.nnet", MEANS, RANGES))
    assert scaling_of(loaded) == SUITE.scaling
    assert header_notes(loaded, ()) == ()


@pytest.mark.parametrize(
    ("means", "ranges", "output", "words"),
    [
        ([0, *MEANS[1:]], RANGES, OUTPUT, "scales input 0 by mean 0 and range 60261, suite acasxu by mean 19791.1"),
        (MEANS, [*RANGES[:4], 1000], OUTPUT, "scales input 4 by mean 600 and range 1000"),
        (MEANS, RANGES, (0.0, 1.0), "scales outputs by mean 0 and range 1"),
    ],
)
def test_a_header_that_says_something_else(
    tmp_path: Path, means: list[float], ranges: list[float], output: tuple[float, float], words: str
) -> None:
    """A raw property was scaled by the one and shown by the other, without a word."""
    prop, net = tmp_path / "p.vnnlib", headed(tmp_path / "n.nnet", means, ranges, output)
    prop.write_text(box_property(N, "(>= Y_0 5.0)", n_outputs=N))
    loaded = named(net)
    with pytest.raises(MismatchError, match="raw units need one scaling"):
        scaling_of(loaded)
    assert known_scaling(loaded) == SUITE.scaling
    assert [q.mean for q in scaled_quantities(loaded)[0]] == list(SUITE.scaling.input_means)
    assert [q.mean for q in shown_quantities(loaded, loaded.known)] == MEANS
    (note,) = header_notes(loaded, ())
    assert words in note
    # with no suite the header alone speaks
    assert scaling_of(replace(loaded, known=None)) == loaded.nnet.scaling  # type: ignore[union-attr]
    files = CaseFiles(net=net, props=(prop,), suite="acasxu", as_name="N1,1")
    assert any(words in told for told in read_case(files).notes)
    with pytest.raises(MismatchError, match="normalised units"):
        read_case(replace(files, units="raw"))


def test_a_suite_for_another_number_of_inputs(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(layers_to_onnx([(np.ones((1, 2)), np.zeros(1))]))
    with pytest.raises(MismatchError, match="the suite scales 5 inputs, the network has 2"):
        scaling_of(named(path))
