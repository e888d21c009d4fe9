"""What both campaigns share: instances, a table that survives interruption, and who ran it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def data_folder(given: Path | None) -> Path:
    """The ACAS Xu folder: as given, else ``BIRDNN_ACASXU``, else ``../shared/acasxu``."""
    folder = given or Path(os.environ.get("BIRDNN_ACASXU", HERE.parents[1] / "../shared/acasxu"))
    if not (folder / "instances.csv").is_file():
        raise SystemExit(f"no ACAS Xu data in {folder}: give --data or set BIRDNN_ACASXU")
    return folder.resolve()


def short_name(onnx: str) -> str:
    """``"N2,9"`` for ``ACASXU_run2a_2_9_batch_2000.onnx``."""
    previous, time_left = Path(onnx).stem.split("_")[2:4]
    return f"N{previous},{time_left}"


class Table:
    """A CSV file to which rows are appended one by one; rows that are there are not computed again."""

    def __init__(self, path: Path, columns: tuple[str, ...], key: tuple[str, ...]) -> None:
        self.path, self.columns, self.key = path, columns, key
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if None not in row.values()]
        else:
            self._append(columns)

    def has(self, **key: str) -> bool:
        """Is there a row with these values?"""
        return any(all(row[name] == value for name, value in key.items()) for row in self.rows)

    def add(self, row: Mapping[str, object]) -> None:
        """Append one row, on disk before this returns."""
        text = {name: str(row[name]) for name in self.columns}
        self.rows.append(text)
        self._append([text[name] for name in self.columns])

    def _append(self, values: Iterable[str]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(list(values))
            file.flush()
            os.fsync(file.fileno())


def provenance(command: str) -> str:
    """Machine, versions and command, as Markdown."""
    from birdnn.pipeline.facts import machine, versions

    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    here = machine()
    threads = os.environ.get("OMP_NUM_THREADS", "default")
    return (
        f"Machine: {here.cpu}, {here.cores} cores; OMP_NUM_THREADS={threads}; {listed}. Seed 0.\n\n"
        f"Command: `{command}` (resumable: rows that are in the CSV are kept).\n"
    )
