"""What a wheel must hold beside the code: suite, ten properties, demonstration network, templates, the licence.

    python -m tools.check_wheel dist/birdnn-*.whl

Exit status: 0 complete, 1 something is missing or packed twice.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ("birdnn/data", "birdnn/report/templates")


def wanted() -> set[str]:
    """Every Python file of the package and every data file, as the wheel names them."""
    files = [*(ROOT / "birdnn").rglob("*.py"), *(file for folder in DATA for file in (ROOT / folder).rglob("*"))]
    return {file.relative_to(ROOT).as_posix() for file in files if file.is_file()}


def objections(names: list[str]) -> list[str]:
    """What is wrong with a wheel of these names."""
    found = [f"missing: {name}" for name in sorted(wanted() - set(names))]
    found += [f"packed twice: {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    found += [f"does not belong: {name}" for name in names if not name.startswith(("birdnn/", "birdnn-"))]
    if not any(name.endswith("licenses/LICENSE") for name in names):
        found.append("missing: LICENSE")
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check that a wheel is complete.")
    parser.add_argument("wheel", type=Path)
    with zipfile.ZipFile(parser.parse_args(argv).wheel) as wheel:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
    found = objections(names)
    for line in found:
        print(line)
    print(f"{len(names)} files, {len(found)} objections", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
