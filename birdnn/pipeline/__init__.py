"""The main path: from files to answers and back to files. The only place that sees every stage."""

from __future__ import annotations

from birdnn.pipeline.deciding import falsify_files, verify_files

__all__ = ["falsify_files", "verify_files"]
