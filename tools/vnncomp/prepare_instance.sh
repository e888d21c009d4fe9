#!/usr/bin/env bash
# Before an instance is timed: prepare_instance.sh v1 CATEGORY ONNX VNNLIB
#
# Nothing is converted. Loads the modules once, so that the timed run finds them in the disk cache. Any status but 0
# skips the instance: it is a query about several networks, or a file is missing.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
require_arguments 4 $# "v1 CATEGORY ONNX VNNLIB"
require_version "$1"
ONNX=$3 VNNLIB=$4

"$PYTHON" - "$ONNX" "$VNNLIB" <<'PY'
import sys
from pathlib import Path

from birdnn.cli.answering import network_file  # loads everything
from birdnn.errors import BirdnnError

try:
    missing = [path for path in (network_file([sys.argv[1]], None), Path(sys.argv[2])) if not path.is_file()]
except BirdnnError as error:
    sys.exit(f"prepare_instance.sh: {error}")
if missing:
    sys.exit(f"prepare_instance.sh: no such file: {missing[0]}")
PY
