"""The command line: the only place that prints, exits or reads argv."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave with its exit status."""
    from birdnn.cli.app import app

    app(prog_name="birdnn")
