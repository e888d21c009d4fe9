"""What the campaigns on ACAS Xu share: where the networks are, where results go."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.common import ROOT

RESULTS = Path(__file__).resolve().parent / "results"
STATUS = {"complete": 0, "incomplete": 1, "contradicted": 6}


def data_folder(given: Path | None) -> Path:
    """The ACAS Xu folder: as given, else ``BIRDNN_ACASXU``, else ``../shared/acasxu``."""
    folder = given or Path(os.environ.get("BIRDNN_ACASXU", ROOT / "../shared/acasxu"))
    if not (folder / "instances.csv").is_file():
        raise SystemExit(f"no ACAS Xu data in {folder}: give --data or set BIRDNN_ACASXU")
    return folder.resolve()


def short_name(onnx: str) -> str:
    """``"N2,9"`` for ``ACASXU_run2a_2_9_batch_2000.onnx``."""
    previous, time_left = Path(onnx).stem.split("_")[2:4]
    return f"N{previous},{time_left}"


def campaign_arguments(arguments: argparse.ArgumentParser) -> None:
    """Options that campaigns share."""
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--jobs", type=int, default=1, help="processes at a time, of one thread each")
