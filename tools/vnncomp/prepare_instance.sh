#!/usr/bin/env bash
# Before an instance is timed: prepare_instance.sh v1 CATEGORY ONNX VNNLIB
#
# Nothing is converted. Loads the modules once, so that the timed run finds them in the disk cache. Any status but 0
# skips the instance: a file is missing.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
require_arguments 4 $# "v1 CATEGORY ONNX VNNLIB"
require_version "$1"

exec "$PYTHON" "$ROOT/tools/vnncomp/prepare.py" "$3" "$4"
