"""The benchmark on digits says what it means: its properties, its split, its table."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="scikit-learn comes with the extra dev")

from benchmarks.digits import attention, convolution
from benchmarks.digits import robustness as campaign
from benchmarks.digits.properties import robustness
from benchmarks.digits.train import Images, split
from birdnn.bounds import expansion
from birdnn.formats import read_network
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx
from birdnn.formats.vnnlib import parse_property
from birdnn.pipeline.load import load_network
from tests.crosscheck.engines import needs


def test_the_true_class_has_to_be_alone_at_the_top() -> None:
    prop = parse_property(robustness([0.0, 0.5, 1.0], 1, "0.05", classes=3))
    centre = [0.0, 0.5, 1.0]
    assert not prop.violated(centre, [0.0, 1.0, 0.5])
    assert prop.violated(centre, [1.5, 1.0, 0.5])
    assert prop.violated(centre, [0.0, 1.0, 2.0])
    assert prop.violated(centre, [0.0, 1.0, 1.0]), "a tie is no answer"
    (region,) = prop.regions
    assert [len(polytope.rows) for polytope in region.unsafe] == [1, 1], "either of the other classes is unsafe alone"


def test_the_box_is_clipped_and_exact_where_decimals_are() -> None:
    (region,) = parse_property(robustness([0.0, 0.4375, 1.0], 0, "0.03", classes=3)).regions
    assert region.exact_lower == (0, Fraction("0.4075"), Fraction("0.97"))
    assert region.exact_upper == (Fraction("0.03"), Fraction("0.4675"), 1)


@pytest.mark.parametrize("pixel", [1 / 3, 0.1, float(np.float32(0.7)), 1e-12])
def test_other_boxes_are_rounded_outward(pixel: float) -> None:
    (region,) = parse_property(robustness([pixel], 0, "0.05", classes=2)).regions
    exact, radius = Fraction(Decimal(pixel)), Fraction("0.05")
    for found, wanted in ((region.exact_lower[0], max(exact - radius, 0)), (region.exact_upper[0], exact + radius)):
        assert abs(found - wanted) < Fraction("1e-9")
    assert region.exact_lower[0] <= max(exact - radius, 0)
    assert region.exact_upper[0] >= exact + radius


def test_images_serve_one_purpose_each_and_a_seed_repeats_the_split() -> None:
    parts, again, other = split(3), split(3), split(4)
    assert [len(part) for part in parts] == [1000, 297, 500]
    assert all(torch.equal(one.x, two.x) and torch.equal(one.y, two.y) for one, two in zip(parts, again, strict=True))
    assert not torch.equal(parts[0].x, other[0].x)
    x = torch.cat([part.x for part in parts])
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    assert len(torch.unique(x, dim=0)) == 1797, "an image is in two parts"


def test_verdicts_are_told_apart_and_misclassified_images_left_out(tmp_path: Path) -> None:
    """Outputs 0 to 2 are the inputs: around (0.5, 0.375, 0) class 0 holds within 0.04 and not within 0.07."""
    net = tmp_path / "net.onnx"
    eye = np.eye(10, 3)
    net.write_bytes(layers_to_onnx([(np.eye(3), np.zeros(3)), (eye, np.zeros(10))]))
    images = Images(torch.tensor([[0.0, 0.9, 0.0], [0.5, 0.375, 0.0]]), torch.tensor([0, 0]))
    answers = []
    for eps in ("0.04", "0.07"):
        paths = campaign.written(tmp_path / eps, read_network(net), images, eps, 5)
        assert [path.stem for path in paths] == ["image_001"]
        answers += campaign.decided(load_network(net), paths)
    assert answers == ["proved", "violated"]


def test_the_summary_has_mean_and_spread() -> None:
    rows = [
        {**dict.fromkeys((*campaign.COLUMNS, "commit", "date"), "0"), "eps": "0.03", "seed": str(seed), "repair_s": s}
        for seed, s in enumerate(["10", "20"])
    ]
    assert "15 ± 7 |" in campaign.summary(rows)
    assert campaign.spread(rows[:1], "repair_s", 0) == "10"


def test_the_convolutional_file_computes_what_was_trained() -> None:
    """Kernels in the wrong order would be another classifier, and nobody would see it in the table."""
    layers = [torch.nn.Conv2d(1, 8, 3, 2, 1), torch.nn.Conv2d(8, 16, 3, 2, 1), torch.nn.Linear(64, 10)]
    x = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    net = network_from_onnx(convolution.to_onnx(layers))
    inner = torch.relu(layers[1](torch.relu(layers[0](x.reshape(5, 1, 8, 8))))).flatten(1)
    with torch.no_grad():
        assert torch.allclose(net(x), layers[2](inner), atol=1e-5)


def test_both_bounds_decide_the_same_neighbourhoods(tmp_path: Path) -> None:
    training, some, _ = split(0)
    path = tmp_path / "net.onnx"
    path.write_bytes(convolution.train(Images(training.x[:200], training.y[:200]), 0))
    loaded = load_network(path)
    props = campaign.written(tmp_path / "props", loaded.net, some, "0.001", 2)
    assert convolution.decided(loaded, props, "own") == ["proved", "proved"]
    if not needs("auto_lirpa").args[0]:
        assert convolution.decided(loaded, props, "auto_lirpa") == ["proved", "proved"]


@pytest.mark.parametrize("normalised", [False, True])
def test_the_file_with_attention_computes_what_was_trained(normalised: bool) -> None:
    size = attention.Size(depth=2, width=4, heads=2, normalised=normalised)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = attention.Classifier(size).eval()
    net = network_from_onnx(attention.to_onnx(model))
    x = torch.rand(7, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(net(x), model(x.reshape(-1, 1, 8, 8)), atol=1e-5)


def test_attention_is_decided_by_either_bounds(tmp_path: Path) -> None:
    """What is proved by intervals is proved by parts, and the limit on parts is put back."""
    images = Images(torch.rand(40, 64, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 10)
    net = tmp_path / "net.onnx"
    net.write_bytes(attention.train(images, 0, attention.Size(1, 4, 1, normalised=False), epochs=40))
    loaded, most = load_network(net), expansion.MOST_ENTRIES
    props = campaign.written(tmp_path / "props", loaded.net, images, "1e-5", 3)
    assert len(props) == 3
    found = [attention.decided(loaded, props, entries) for entries in (most, 0)]
    assert [row["proved"] for row in found] == [3, 3]
    assert most == expansion.MOST_ENTRIES


def test_the_table_of_attention_has_both_bounds_in_a_row() -> None:
    row = dict.fromkeys((*attention.COLUMNS, "commit", "date"), "1") | {"kind": "one block"}
    text = attention.summary([row | {"bounds": "parts", "proved": "9"}, row | {"bounds": "intervals", "proved": "4"}])
    assert "| one block | 1 | 1 | 9 / 1 / 1 | 1 | 4 / 1 / 1 | 1 |" in text
