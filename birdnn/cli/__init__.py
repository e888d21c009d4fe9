"""The command line: the only place that prints, exits or reads argv."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    try:
        from birdnn.cli.app import app
    except KeyboardInterrupt:  # this early nobody else catches it
        print("birdnn: interrupted", file=sys.stderr)
        sys.exit(130)
    app(prog_name="birdnn")
