#!/usr/bin/env bash
# One instance: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT
#
# The first line of RESULTS_FILE is sat, unsat, unknown, timeout or error; after sat follows the counterexample,
# ((X_0 v) ... (Y_n v)) for VNN-LIB 1.0 and the standard's assignment for 2.0. ONNX is a file, or for 2.0 a list
# [('name', 'file')]; .gz is read as well. unsat speaks about the network as it runs in float32.
set -uo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
require_arguments 6 $# "v1 CATEGORY ONNX VNNLIB RESULTS_FILE TIMEOUT"
require_version "$1"
ONNX=$3 VNNLIB=$4 RESULTS=$5 TIMEOUT=$6

# beside the file, so that it appears all at once
PART=$(mktemp "$RESULTS.XXXXXX") || fail "cannot write beside $RESULTS"
trap 'rm -f "$PART"' EXIT
# birdnn looks at its clock; should it not, it is ended, well before the harness does it
KILL_AFTER=$(awk -v s="$TIMEOUT" 'BEGIN { printf "%.1f", s + 20 }')
timeout --kill-after=5 "$KILL_AFTER" \
  "$PYTHON" -m birdnn.cli.vnnlib verify "$VNNLIB" --network "$ONNX" --timeout "$TIMEOUT" --as-executed >"$PART"
STATUS=$?

case $STATUS in
  0) sed -i '1s/^timed-out$/timeout/' "$PART" ;;
  124 | 137) echo timeout >"$PART" ;;
  *) echo error >"$PART" ;;
esac
chmod 644 "$PART"
mv -- "$PART" "$RESULTS"
