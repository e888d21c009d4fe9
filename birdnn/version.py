"""Which birdnn this is. Takes as long to find out as the rest of an import: ask when somebody wants to know."""

from __future__ import annotations


def installed_version() -> str:
    """As installed; ``"0+unknown"`` where it is not, as in a folder of sources."""
    from importlib import metadata

    try:
        return metadata.version("birdnn")
    except metadata.PackageNotFoundError:
        return "0+unknown"
