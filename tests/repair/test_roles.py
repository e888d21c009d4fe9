"""Who sees which examples: training those to learn from, stopping and choosing those of validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from birdnn.blocks import partition
from birdnn.formats.labelled import Labelled
from birdnn.pipeline import repairing_blocks
from birdnn.pipeline.labelled import Classifier
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.records import BlockLocalisation, BlockRequest, RepairRequest
from birdnn.repair.blocks import BlockCandidate, BlockRepairer, BlockSettings, Data
from birdnn.repair.training import TrainingSettings
from tests.classifiers import classifier, hard, stored, trained

pytestmark = pytest.mark.usefixtures("short_trials")


def repaired(val_seed: int, seed: int = 0) -> tuple[BlockCandidate, Data]:
    """A block's weights after one epoch."""
    net, learnt, checked = classifier(), hard(200, 21), hard(150, val_seed)
    data = Data(x=learnt.x, y=learnt.y, val_x=checked.x, val_y=checked.y)
    settings = BlockSettings(training=TrainingSettings(epochs=1))
    block = partition(net)[1]
    repairer = BlockRepairer(net, data, settings, seed, lambda *_: True)
    return repairer.weights("some", block.entry, block.weights(net)), data


def test_validation_examples_are_not_learnt_from() -> None:
    """Others lead to the same weights; another order of what is learnt does not."""
    (one, _), (two, _), (other, _) = repaired(31), repaired(32), repaired(31, seed=1)
    before = classifier().initialisers()
    assert any(not torch.equal(value, before[name]) for name, value in one.values.items()), "nothing was learnt"
    assert all(torch.equal(one.values[name], two.values[name]) for name in one.values)
    assert not all(torch.equal(one.values[name], other.values[name]) for name in one.values)


def test_a_score_is_that_of_the_validation_examples() -> None:
    found, data = repaired(31)
    right = classifier().with_values(found.values)(data.val_x).argmax(1) == data.val_y
    assert (found.score.right, found.score.n) == (int(right.sum()), 150)


def test_each_file_has_its_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: hard(n, seed) for name, n, seed in (("repair", 40, 1), ("val", 30, 2), ("test", 20, 3))}
    paths = {name: stored(tmp_path / f"{name}.npz", images.x, images.y) for name, images in files.items()}
    (tmp_path / "net.onnx").write_bytes(trained())
    seen: list[Data] = []

    class Stopped(Exception):
        pass

    def stopped(net: object, data: Data, *rest: object) -> None:
        seen.append(data)
        raise Stopped

    monkeypatch.setattr(repairing_blocks, "BlockRepairer", stopped)
    looked_at: list[Labelled] = []
    judge = repairing_blocks.judge_blocks

    def judged(net: Classifier, examples: Labelled, *rest: Any, **more: Any) -> BlockLocalisation:
        looked_at.append(examples)
        return judge(net, examples, *rest, **more)

    monkeypatch.setattr(repairing_blocks, "judge_blocks", judged)
    asked = BlockRequest(data=paths["repair"], val=paths["val"], test=paths["test"])
    with pytest.raises(Stopped):
        repair_blocks(
            RepairRequest(
                net=tmp_path / "net.onnx", method="blocks", blocks=asked, out=tmp_path / "out", decision="argmax"
            )
        )
    (data,) = seen
    for (x, y), name in zip(((data.x, data.y), (data.val_x, data.val_y)), files, strict=False):
        assert torch.equal(x, files[name].x.float())
        assert torch.equal(y, files[name].y)
    assert [examples.path for examples in looked_at] == [str(paths["repair"])]
