# What the three scripts share; read by them, not run.
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
VENV="$ROOT/.venv"
# the interpreter that has birdnn: the one that install_tool.sh made, unless BIRDNN_PYTHON names another
PYTHON=${BIRDNN_PYTHON:-$VENV/bin/python}

fail() {
  echo "$(basename -- "$0"): $1" >&2
  exit 1
}

# require_version SAID
require_version() {
  [ "$1" = v1 ] || fail "the first argument is the interface's version, v1, not '$1'"
}

# require_arguments EXPECTED COUNT NAMES
require_arguments() {
  [ "$2" -eq "$1" ] || fail "expects $1 arguments ($3), got $2"
}
