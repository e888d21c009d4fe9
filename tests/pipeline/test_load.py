"""Networks with those who run them, properties as they are read, and which scaling raw numbers have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.errors import MismatchError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.formats.suite import Suite
from birdnn.pipeline.describing import scaled_quantities
from birdnn.pipeline.load import (
    Loaded,
    header_notes,
    known_scaling,
    load_network,
    load_property,
    model_bytes,
    property_statement,
    scaling_of,
)
from birdnn.pipeline.planes import shown_quantities
from birdnn.pipeline.reading import read_case
from birdnn.records import CaseFiles
from birdnn.spec import Property
from tests.bounds.builders import half_space, make_property, property_of
from tests.cli.conftest import box_property
from tests.formats.label_cases import classifier

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


# --- networks with those who run them


def test_an_nnet_file_is_run_by_two_engines(tmp_path: Path) -> None:
    """On our export and on its own numbers; what engines of others read is that export."""
    loaded = load_network(headed(tmp_path / "n.nnet", MEANS, RANGES))
    x = np.arange(5, dtype=np.float32)
    assert [replay.name for replay in loaded.replays] == ["onnxruntime", "numpy"]
    for replay in (*loaded.replays, OnnxReplay(model_bytes(loaded))):
        assert np.asarray(replay(x)).reshape(-1).tolist() == x.tolist()
    assert loaded.path == (tmp_path / "n.nnet").resolve()


def test_an_onnx_file_is_run_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(layers_to_onnx([(2 * np.eye(2), np.ones(2))]))
    monkeypatch.chdir(tmp_path)
    loaded = load_network(Path("n.onnx"))
    assert loaded.path == path
    assert [replay.name for replay in loaded.replays] == ["onnxruntime"]
    assert model_bytes(loaded) == path.read_bytes()
    assert loaded.replays[0](np.array([1.0, -1.0], np.float32)).reshape(-1).tolist() == [3.0, -1.0]
    assert (loaded.nnet, loaded.known) == (None, None)
    assert known_scaling(loaded) is None
    with pytest.raises(MismatchError, match="An ONNX file does not hold it, and no suite knows this network"):
        scaling_of(loaded)


def test_engines_of_others_get_the_values_behind_a_label(tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(classifier())
    loaded = load_network(path)
    assert loaded.net.n_outputs == 4
    x = np.array([0.5, -0.25], np.float32)
    with torch.no_grad():
        wanted = loaded.net(torch.from_numpy(x)[None])[0].numpy()
    for replay in (loaded.replays[0], OnnxReplay(model_bytes(loaded))):
        assert replay(x).reshape(-1) == pytest.approx(wanted, abs=1e-5)


# --- properties


def small(folder: Path, ends: Sequence[tuple[str, str]], unsafe: str = "(<= Y_0 0.0)") -> Property:
    """A property of a network of two inputs and an output."""
    net, prop = folder / "n.onnx", folder / "p.vnnlib"
    net.write_bytes(layers_to_onnx([(np.ones((1, 2)), np.zeros(1))]))
    names = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0"))
    box = "".join(f"(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))" for i, (low, high) in enumerate(ends))
    prop.write_text(f"{names}{box}(assert {unsafe})")
    return load_property(prop, load_network(net), "normalised")


def test_inputs_that_are_run_beside_their_range_are_told(tmp_path: Path) -> None:
    assert small(tmp_path, [("0.5", "0.5"), ("0.1", "0.2")]).notes == ()
    (one,) = small(tmp_path, [("0.0", "1.0"), ("0.1", "0.1")]).notes
    assert one == "p: input 1 is fixed at 0.1, where no float32 is: it is run at 0.100000001."
    (both,) = small(tmp_path, [("0.3", "0.3"), ("0.1", "0.1")]).notes
    assert both.startswith(
        "p: input 0 is fixed at 0.3, where no float32 is: it is run at 0.300000012; so it is with 2 "
    )
    (narrow,) = small(tmp_path, [("0.1", "0.100000001"), ("0.0", "1.0")]).notes
    assert "input 0 lies in [0.10000000000000001, 0.10000000100000001], where no float32 is" in narrow


def test_of_several_regions_the_first_is_told_of(tmp_path: Path) -> None:
    cases = "(or (= X_0 0.1) (= X_0 0.3))"
    (note,) = small(tmp_path, [("0.0", "1.0")] * 2, unsafe=f"(and {cases} (<= Y_0 0.0))").notes
    assert note == "p: input 0 is fixed at 0.1, where no float32 is: it is run at 0.100000001."


def test_inputs_that_cannot_be_run_are_told(tmp_path: Path) -> None:
    """Near a million float32 has sixteenths: a thousandth lies between."""
    (note,) = small(tmp_path, [("0.0", "1.0"), ("1000000.03", "1000000.03")]).notes
    assert note == (
        "p: input 1 is fixed at 1000000.03, and no float32 is within 0.0001 of that: "
        "no run can be a counterexample there."
    )


def test_a_property_of_another_network_names_both_files(tmp_path: Path) -> None:
    prop = tmp_path / "p.vnnlib"
    small(tmp_path, [("0.0", "1.0")] * 2)
    prop.write_text(box_property(3, "(>= Y_0 5.0)"))
    with pytest.raises(MismatchError, match=r"p\.vnnlib: .*3 inputs.*\(n\.onnx\)$"):
        load_property(prop, load_network(tmp_path / "n.onnx"), "normalised")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("; ------\n;; what it says\n; more\n", "what it says"),
        ("(x)\n  ;  behind the first line \n", "behind the first line"),
        ("; 123 ---\n", "1 input box, 1 unsafe output polytope"),
        ("", "1 input box, 1 unsafe output polytope"),
        ("no comment ; though\n", "1 input box, 1 unsafe output polytope"),
    ],
)
def test_a_property_in_a_line(text: str, said: str) -> None:
    prop = make_property([0.0], [1.0], half_space([1.0], 0.0))
    assert property_statement(replace(prop, text=text)) == said


def test_the_shape_of_a_formula_in_a_line() -> None:
    one = make_property([0.0], [1.0], half_space([1.0], 0.0), half_space([1.0], 1.0)).regions[0]
    assert property_statement(property_of(one)) == "1 input box, 2 unsafe output polytopes"
    assert property_statement(property_of(one, one)) == "2 input boxes, 4 unsafe output polytopes"
