"""Exit statuses that are not an error's own; imports nothing, for they are needed when imports fail."""

from __future__ import annotations

UNDECIDED = 3
UNUSABLE = 4
OWN_FAULT = 5
INTERRUPTED = 130
