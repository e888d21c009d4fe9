"""Files of what lives in memory: their own where they still say the same, new ones else, and none after an error."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import birdnn
from birdnn.api.stored import Stored
from birdnn.formats.onnx import layers_to_onnx, network_from_layers
from birdnn.spec import Property

LAYERS = [(np.eye(2), np.array([0.5, 0.0]))]


def prop(name: str = "p", bound: float = 0.0) -> Property:
    return birdnn.box_property(name, lower=[0], upper=[1], unsafe=[([[1]], [bound])])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def broken_off(folder: Path, store: Callable[[Stored], object], error: BaseException | None = None) -> None:
    """A call that stores something, and ends in an error."""
    error = error or ZeroDivisionError()

    def call() -> None:
        with Stored(folder) as stored:
            store(stored)
            raise error

    with pytest.raises(type(error)):
        call()


def test_files_are_named_as_they_were_said(tmp_path: Path) -> None:
    with Stored(tmp_path) as stored:
        assert (stored.network("a.onnx"), stored.property("p.vnnlib")) == (Path("a.onnx"), Path("p.vnnlib"))
    assert names(tmp_path) == []


def test_what_its_own_file_still_says_needs_no_other(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(layers_to_onnx(LAYERS))
    birdnn.save_property(prop(), tmp_path / "p.vnnlib")
    net, read = birdnn.load_network(tmp_path / "net.onnx"), birdnn.load_property(tmp_path / "p.vnnlib")
    with Stored(tmp_path / "out") as stored:
        assert stored.network(net) == tmp_path / "net.onnx"
        assert stored.property(read) == tmp_path / "p.vnnlib"
        assert not (tmp_path / "out").exists()
        birdnn.save_property(prop(bound=1.0), tmp_path / "p.vnnlib")
        with torch.no_grad():
            next(iter(net.initialisers().values())).add_(1.0)
        assert stored.network(net) == tmp_path / "out" / "net.onnx"
        assert stored.property(read) == tmp_path / "out" / "p.vnnlib"
    assert birdnn.load_property(tmp_path / "out" / "p.vnnlib").regions[0].unsafe[0].rows[0].bound == 0
    x = torch.tensor([[1.0, 2.0]])
    assert torch.equal(birdnn.load_network(tmp_path / "out" / "net.onnx")(x), net(x))


def test_the_same_numbers_in_another_graph_are_another_network(tmp_path: Path) -> None:
    layers = [*LAYERS, (np.ones((1, 2)), np.zeros(1))]
    (tmp_path / "net.onnx").write_bytes(layers_to_onnx(layers))
    net = birdnn.load_network(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(layers_to_onnx(layers, "Tanh"))
    with Stored(tmp_path / "out") as stored:
        path = stored.network(net)
    assert path == tmp_path / "out" / "net.onnx"
    assert birdnn.load_network(path)(torch.tensor([[1.0, 2.0]])).item() == 3.5


@pytest.mark.parametrize("became", ["gone", "damaged"])
def test_a_file_that_no_longer_says_anything_is_replaced(tmp_path: Path, became: str) -> None:
    for name, data in (("net.onnx", layers_to_onnx(LAYERS)), ("p.vnnlib", b"")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "p.vnnlib").unlink()
    birdnn.save_property(prop(), tmp_path / "p.vnnlib")
    net, read = birdnn.load_network(tmp_path / "net.onnx"), birdnn.load_property(tmp_path / "p.vnnlib")
    for name in ("net.onnx", "p.vnnlib"):
        (tmp_path / name).unlink()
        if became == "damaged":
            (tmp_path / name).write_bytes(b"(")
    with Stored(tmp_path / "out") as stored:
        paths = stored.network(net), stored.property(read)
    assert [path.parent.name for path in paths] == ["out", "out"]


def test_a_network_from_a_compressed_file_gets_a_plain_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx.gz").write_bytes(gzip.compress(layers_to_onnx(LAYERS)))
    net = birdnn.load_network(tmp_path / "net.onnx.gz")
    with Stored(tmp_path / "out") as stored:
        assert stored.network(net) == tmp_path / "net.onnx.gz"
        with torch.no_grad():
            next(iter(net.initialisers().values())).add_(1.0)
        assert stored.network(net).name == "net.onnx"
        assert stored.network(network_from_layers(LAYERS)).name == "network.onnx"


def test_a_module_whose_input_nobody_knows(tmp_path: Path) -> None:
    with Stored(tmp_path) as stored, pytest.raises(birdnn.MismatchError, match="input_shape is missing"):
        stored.network(torch.nn.Linear(2, 1))


def test_properties_of_one_name_are_numbered_and_equal_ones_are_one(tmp_path: Path) -> None:
    with Stored(tmp_path) as stored:
        found = [stored.property(prop(bound=bound)).name for bound in (0, 1, 0, 2, 1)]
    assert found == ["p.vnnlib", "p (2).vnnlib", "p.vnnlib", "p (3).vnnlib", "p (2).vnnlib"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b"])
def test_a_name_that_leads_elsewhere_is_none_for_a_file(tmp_path: Path, name: str) -> None:
    with Stored(tmp_path / "out") as stored, pytest.raises(birdnn.SpecError, match="no name for one"):
        stored.property(prop(name))
    assert names(tmp_path) == []


def test_two_networks_of_one_name_cannot_both_be_written(tmp_path: Path) -> None:
    """Numbered they would be told apart by a name that nobody gave them."""
    with Stored(tmp_path) as stored:
        first = network_from_layers(LAYERS)
        assert stored.network(first) == stored.network(first)
        with pytest.raises(birdnn.MismatchError, match=r"two different things .* called 'network\.onnx'"):
            stored.network(network_from_layers([(2 * np.eye(2), np.zeros(2))]))
    assert names(tmp_path) == ["network.onnx"]


def test_corners_are_written_as_they_are(tmp_path: Path) -> None:
    with Stored(tmp_path) as stored:
        path = stored.corners("domain", np.array([-0.1, 0], np.float32), [1, 2])
        assert path.read_text() == f"lower = [{float(np.float32(-0.1))!r}, 0.0]\nupper = [1.0, 2.0]"
        for lower in ([[0.0]], 0.0, [np.nan], [-np.inf]):
            with pytest.raises(birdnn.SpecError, match="domain: two arrays of finite numbers"):
                stored.corners("domain", lower, [1.0])


@pytest.mark.parametrize("y", [None, [1, 0]])
def test_the_same_points_are_the_same_file_at_any_time(tmp_path: Path, y: Any) -> None:
    """A file of an earlier call that holds them is used, and is not removed with this call."""
    x = [[0.5, 1.0], [2.0, 3.0]]
    with Stored(tmp_path) as stored:
        path = stored.samples("data", x, y)
    with np.load(path) as held:
        assert {name: held[name].tolist() for name in held} == ({"x": x} if y is None else {"x": x, "y": y})
    broken_off(tmp_path, lambda stored: stored.samples("data", np.array(x), y))
    assert names(tmp_path) == ["data.npz"]
    with Stored(tmp_path) as stored, pytest.raises(birdnn.OutputError, match="says something else"):
        stored.samples("data", [[0.5]], y)


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.vnnlib").mkdir()
    with Stored(tmp_path) as stored, pytest.raises(birdnn.OutputError, match="says something else"):
        stored.property(prop())


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with Stored(tmp_path / "out" / "deep") as stored, pytest.raises(birdnn.OutputError, match="cannot be made"):
        stored.property(prop())
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [birdnn.SpecError("no"), KeyboardInterrupt(), MemoryError()])
def test_after_an_error_nothing_is_left_of_what_was_made(tmp_path: Path, error: BaseException) -> None:
    def store(stored: Stored) -> None:
        stored.property(prop())
        stored.samples("data", [[0.0]])

    broken_off(tmp_path / "a" / "b", store, error)
    assert names(tmp_path) == []


def test_what_others_put_there_stays(tmp_path: Path) -> None:
    def store(stored: Stored) -> None:
        stored.property(prop())
        (tmp_path / "a" / "b" / "theirs").write_text("")

    broken_off(tmp_path / "a" / "b", store)
    assert names(tmp_path / "a" / "b") == ["theirs"]


def test_without_an_error_all_is_kept(tmp_path: Path) -> None:
    with Stored(tmp_path / "a" / "b") as stored:
        stored.property(prop())
    assert names(tmp_path / "a" / "b") == ["p.vnnlib"]
