"""What block-level commands begin with: a classifier with blocks, examples, and what makes no sense of either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from birdnn.errors import FormatError, MismatchError
from birdnn.formats.labelled import Labelled
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline import labelled
from birdnn.pipeline.labelled import (
    Classifier,
    judge_blocks,
    load_classifier,
    load_examples,
    named_block,
    require_apart,
    require_failing,
)
from birdnn.records import BlockLocalizeRequest, Examples, Progress, Unwatched
from tests.formats.models import model, node
from tests.pipeline.scenes import linear


def images(path: Path) -> Path:
    """A classifier of images of 4 by 4 pixels: two convolutions of two channels, and a layer of two classes."""
    draw = np.random.default_rng(0)
    shapes = {"stem.w": (2, 1, 3, 3), "body.w": (2, 2, 3, 3), "head.w": (32, 2)}
    tensors = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    padded = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        node("Conv", ["x", "stem.w"], "/stem/c", **padded),
        node("Relu", ["/stem/c"], "/stem/r"),
        node("Conv", ["/stem/r", "body.w"], "/body/c", **padded),
        node("Relu", ["/body/c"], "/body/r"),
        node("Flatten", ["/body/r"], "/head/f"),
        node("MatMul", ["/head/f", "head.w"], "y"),
    ]
    path.write_bytes(model(nodes, tensors, (1, 1, 4, 4)))
    return path


def of_blocks(path: Path, **chosen: list[str]) -> Classifier:
    return load_classifier(path, chosen, "cpu")


# --- the network


def test_a_classifier_is_divided_into_blocks(tmp_path: Path) -> None:
    found = of_blocks(images(tmp_path / "n.onnx"))
    assert found.device == "cpu"
    assert next(iter(found.net.values().values())).dtype == torch.float32
    assert found.net is not found.loaded.net
    covered = [node.output for block in found.blocks for node in block.nodes]
    assert sorted(covered) == sorted(node.output for node in found.net.nodes)
    assert len(found.blocks) > 1


def test_one_output_is_no_classifier(tmp_path: Path) -> None:
    """Said before blocks are looked for, which such a network has none of either."""
    path = tmp_path / "n.onnx"
    path.write_bytes(layers_to_onnx([(np.ones((1, 2)), np.zeros(1))]))
    with pytest.raises(MismatchError, match=r"n\.onnx: one output is no classifier"):
        of_blocks(path)


def test_a_block_is_named_among_those_that_there_are(tmp_path: Path) -> None:
    found = of_blocks(images(tmp_path / "n.onnx"))
    names = tuple(block.name for block in found.blocks)
    convolving = tuple(block.name for block in found.blocks if block.convolutions)
    assert named_block(found, None) == (None, convolving)
    for name in convolving:
        block, able = named_block(found, name)
        assert block is not None
        assert (block.name, able) == (name, convolving)
    with pytest.raises(MismatchError, match=f"--repair-block tail: .* it has {', '.join(names)}"):
        named_block(found, "tail")
    (other,) = set(names) - set(convolving)
    with pytest.raises(MismatchError, match=f"--repair-block {other}: it has no convolution .*{convolving[0]}"):
        named_block(found, other)


def test_without_a_convolution_to_replace_no_block_is_repaired(tmp_path: Path) -> None:
    """Whatever is named, or nothing: kernels of even size are none that an operation takes the place of."""
    path = tmp_path / "n.onnx"
    tensors = {"w": np.ones((2, 1, 2, 2), np.float32), "head.w": np.ones((32, 2), np.float32)}
    nodes = [
        node("Conv", ["x", "w"], "/a/c", pads=[0, 0, 1, 1], kernel_shape=[2, 2]),
        node("Relu", ["/a/c"], "/a/r"),
        node("Flatten", ["/a/r"], "/b/f"),
        node("MatMul", ["/b/f", "head.w"], "y"),
    ]
    path.write_bytes(model(nodes, tensors, (1, 1, 4, 4)))
    found = of_blocks(path)
    for name in (None, found.blocks[0].name, "tail"):
        with pytest.raises(MismatchError, match=r"n\.onnx: no block has a convolution that may be replaced"):
            named_block(found, name)


# --- examples


def test_the_greatest_score_decides(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, x=np.array([[1, 0], [0, 1], [3, 2], [2, 3]], np.float32), y=np.array([0, 0, 0, 1]))
    found, record, right = load_examples(path, linear([1.0, 0.0], [0.0, 1.0]).net, "validation")
    assert right.tolist() == [True, False, True, True]
    assert (record.role, record.n, record.failing, record.sha256) == ("validation", 4, 1, found.sha256)
    assert record.path == str(path.resolve())
    with pytest.raises(FormatError, match=r"none\.npz"):
        load_examples(tmp_path / "none.npz", linear([1.0, 0.0], [0.0, 1.0]).net, "test")


def examples(role: str = "repair", content: str = "a", n: int = 1000, failing: int = 1) -> Examples:
    return Examples(role=role, path=f"/{role}.npz", sha256=content, n=n, failing=failing)  # type: ignore[arg-type]


def test_something_to_repair_and_something_to_preserve() -> None:
    for failing in (1, 500, 999):
        require_failing(examples(failing=failing))
    with pytest.raises(
        MismatchError, match=r"/repair\.npz: too few failing examples: the network gets all 1,000 right"
    ):
        require_failing(examples(failing=0))
    with pytest.raises(MismatchError, match=r"gets all 1,000 examples wrong; at least one that it gets right"):
        require_failing(examples(failing=1000))


def test_each_role_has_its_own_examples() -> None:
    require_apart([])
    require_apart([examples("repair", "a"), examples("validation", "b"), examples("test", "c")])
    with pytest.raises(MismatchError, match=r"--test /test\.npz: has the same examples as --val /validation\.npz"):
        require_apart([examples("repair", "a"), examples("validation", "b"), examples("test", "b")])
    with pytest.raises(MismatchError, match=r"--val /validation\.npz: has the same examples as --data /repair\.npz"):
        require_apart([examples("repair", "a"), examples("validation", "a")])


# --- judging


@pytest.mark.parametrize(("given_", "radius"), [(None, 0.04), (0.5, 0.5), (0.0, 0.0)])
def test_how_blocks_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_: float | None, radius: float
) -> None:
    """As asked; neighbours lie within 1 % of the range of the values where nobody says how far. Over means the end."""
    found, told, over = of_blocks(images(tmp_path / "n.onnx")), list[Progress](), [False]

    class Listener(Unwatched):
        def update(self, news: Progress) -> None:
            told.append(news)

    asked: dict[str, Any] = {}

    def judged(*arguments: Any, settings: Any, seed: int, news: Callable[[str, int, int], bool]) -> Any:
        asked.update(settings=settings, seed=seed)
        asked["news"] = [news("stem", 1, 4)]
        over[0] = True
        asked["news"].append(news("body", 2, 4))
        raise MismatchError("judged")

    monkeypatch.setattr(labelled, "localize_blocks", judged)
    x = torch.linspace(-1.0, 3.0, 32).reshape(2, 16)
    request = BlockLocalizeRequest(net=tmp_path, data=tmp_path, formula="tarantula", examples=7, radius=given_)
    data = Labelled(name="d", path="d", sha256="", x=x, y=torch.tensor([0, 1]))
    with pytest.raises(MismatchError, match="judged"):
        judge_blocks(found, data, request, seed=9, watch=Listener(), top=2, over=lambda: over[0])
    settings = asked["settings"]
    assert (settings.formula, settings.examples, settings.top, asked["seed"]) == ("tarantula", 7, 2, 9)
    assert settings.radius == pytest.approx(radius)
    assert asked["news"] == [True, False]
    shares = (("stem", 0.25), ("body", 0.5))
    assert told == [Progress(phase="judging blocks", done=share, detail=name) for name, share in shares]
