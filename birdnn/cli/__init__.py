"""The command line: the only place that prints, exits or reads argv."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and leave with its exit status."""
    try:
        from birdnn.cli.app import app

        app(prog_name="birdnn")
    except KeyboardInterrupt:  # while modules are loaded, where nobody else catches it
        print("birdnn: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C at the very end must not change the status
