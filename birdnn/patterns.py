"""Files that a pattern names."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from birdnn.errors import FormatError


def matching(paths: Iterable[Path]) -> list[Path]:
    """The files, with those that match in place of a pattern (``*``, ``?``, ``[..]``, ``**``), sorted.

    A file whose name looks like a pattern is that file.

    Raises:
        FormatError: a pattern matches no file.
    """
    found = []
    for path in paths:
        if not glob.has_magic(str(path)) or path.exists():
            found.append(path)
            continue
        # pathlib takes no pattern that begins at the root
        hits = sorted(hit for name in glob.glob(str(path), recursive=True) if (hit := Path(name)).is_file())  # noqa: PTH207
        if not hits:
            raise FormatError(str(path), "", "no file matches this pattern")
        found += hits
    return found
