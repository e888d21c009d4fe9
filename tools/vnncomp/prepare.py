"""What `prepare_instance.sh` does: ``prepare.py ONNX VNNLIB`` ends with 1, and says why, where it cannot be run.

Importing what answers a query is the preparation: the timed run finds the modules in the disk cache.
"""

from __future__ import annotations

import sys
from pathlib import Path

import birdnn.cli.answering  # noqa: F401 - loads everything
from birdnn.errors import BirdnnError
from birdnn.patterns import named_networks


def unusable(networks: str, query: str) -> str:
    """Why the instance cannot be run; empty where it can.

    Args:
        networks: a file, or the list ``[('name', 'file')]`` of VNN-LIB 2.0.
        query: a VNN-LIB file.
    """
    try:
        files = [path for _, path in named_networks(networks)]
    except BirdnnError as error:
        return str(error)
    missing = [path for path in (*files, Path(query)) if not path.is_file()]
    return f"no such file: {missing[0]}" if missing else ""


if __name__ == "__main__":
    why = unusable(*sys.argv[1:])
    sys.exit(f"prepare_instance.sh: {why}" if why else 0)
