"""Which block `repair --method blocks` chooses."""

from __future__ import annotations

from pathlib import Path

import pytest

from birdnn.blocks import Block
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.records import BlockRequest, RepairRequest
from birdnn.repair.blocks import BlockRepairer
from birdnn.repair.training import Score
from tests.classifiers import hard, stored, trained

pytestmark = pytest.mark.usefixtures("short_trials")


@pytest.mark.parametrize("wanted", [0, 1])
def test_of_the_two_most_suspicious_the_better_one(
    tmp_path: Path, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tmp_path / "net.onnx"
    net.write_bytes(trained())
    files = {
        name: stored(tmp_path / f"{name}.npz", images.x, images.y)
        for name, images in (("data", hard(60, 1)), ("val", hard(60, 2)))
    }
    asked: list[str] = []

    def promise(self: BlockRepairer, block: Block) -> Score:
        asked.append(block.name)
        return Score(30 + 10 * (len(asked) - 1 == wanted), -1.0, 60)

    monkeypatch.setattr(BlockRepairer, "promise", promise)
    request = RepairRequest(net=net, method="blocks", blocks=BlockRequest(**files, epochs=1), out=tmp_path / "out")
    done = repair_blocks(request).blocks
    assert done is not None
    assert asked == [entry.name for entry in done.localisation.ranking()[:2]]
    assert done.block == asked[wanted]
    assert "66.7 % of the validation examples" in done.why
    assert ("the most suspicious; " if wanted == 0 else "rank 2 by suspicion; ") in done.why
    assert "50.0 %" in done.why or wanted == 0
