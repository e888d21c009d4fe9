#!/usr/bin/env bash
# Installs birdnn for the competition: install_tool.sh v1
#
# Makes .venv beside the README with the tested versions. PYTHON_FOR_VENV names the interpreter to build it with
# (3.11), PIP_FLAGS is passed to pip, e.g. an index with CPU-only builds of torch.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
require_arguments 1 $# "v1"
require_version "$1"

BUILD_WITH=${PYTHON_FOR_VENV:-$(command -v python3.11 || command -v python3 || true)}
[ -n "$BUILD_WITH" ] || fail "no python3.11 found; say PYTHON_FOR_VENV=/path/to/python3.11"
"$BUILD_WITH" -m venv --clear "$VENV"
# shellcheck disable=SC2086 - several flags
"$VENV/bin/python" -m pip install --quiet ${PIP_FLAGS:-} -c "$ROOT/constraints.txt" "$ROOT"
echo "installed: $("$VENV/bin/birdnn-vnnlib" --name) $("$VENV/bin/birdnn-vnnlib" --version)"
