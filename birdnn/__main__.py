"""``python -m birdnn``."""

from __future__ import annotations

from birdnn.cli import main

if __name__ == "__main__":
    main()
