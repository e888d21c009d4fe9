"""``--device``: every command that takes it refuses a device that is not there, in one sentence, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from birdnn.cli.bench import BenchOptions, _campaign_fields
from birdnn.cli.vnnlib import run
from birdnn.errors import InputError
from tests.cli.conftest import Call

without = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")


@without
@pytest.mark.parametrize("command", ["verify", "falsify", "repair", "estimate"])
def test_a_device_that_is_not_there(call: Call, net: Path, holds: Path, tmp_path: Path, command: str) -> None:
    more = ("--out", tmp_path / "out") if command == "repair" else ()
    result = call(command, "--net", net, "--prop", holds, "--device", "cuda", *more)
    assert result.status == 4
    told = [line for line in result.err.splitlines() if "error:" in line]
    assert len(told) == 1
    assert "--device cuda" in told[0]
    assert "give --device cpu or auto" in told[0]
    assert not (tmp_path / "out").exists()


@without
def test_the_standards_command_line(net: Path, holds: Path) -> None:
    with pytest.raises(InputError, match="--device cuda"):
        run(["verify", str(holds), "--network", str(net), "--device", "cuda"])
    assert run(["verify", str(holds), "--network", str(net), "--device", "auto"]) == 0


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_device_that_is_there(call: Call, net: Path, holds: Path, device: str) -> None:
    assert call("verify", "--net", net, "--prop", holds, "--device", device).status == 0


def test_a_campaign_hands_its_device_on(tmp_path: Path) -> None:
    """A row made elsewhere is another row; `auto`, the default, is not said."""
    for device, told in (("auto", ()), ("cuda", ("--device", "cuda"))):
        options = BenchOptions(instances=tmp_path / "instances.csv", device=device)
        assert _campaign_fields(options)["options"] == told


def test_a_campaign_has_the_device_for_itself(call: Call, tmp_path: Path) -> None:
    result = call("bench", tmp_path / "none.csv", "--", "--device", "cpu")
    assert result.status == 2
    assert "--device" in result.err
