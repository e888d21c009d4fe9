"""Where the controllers are, which are in the suites, and what they are called."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import ROOT
from birdnn.formats.suite import Suite, bundled_path
from tools import cas

RESULTS = Path(__file__).resolve().parent / "results"
DATA = ROOT / "hcas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A network and what is asked of it.

    Attributes:
        name: in its suite, e.g. ``"H3,10"``.
        suite: the suite's name.
        path: the NNet file.
        props: the property files that are meant for it.
    """

    name: str
    suite: str
    path: Path
    props: tuple[Path, ...]


def controllers(data: Path) -> Iterator[Controller]:
    """All 49, as ``birdnn fetch hcas`` lays them down.

    Raises:
        SystemExit: they are not there.
    """
    files = {f"H{a},{t:02d}": f"hcas/HCAS_rect_v6_pra{a}_tau{t:02d}_25HU_3000.nnet" for a, t in cas.HCAS_NETWORKS}
    files |= {f"V{a}": f"vcas/VertCAS_pra{a + 1:02d}_v4_45HU_200.nnet" for a in cas.VCAS_NETWORKS}
    for suite in ("hcas", "vcas"):
        for entry in Suite.load(suite).entries:
            path = data / files[entry.name]
            if not path.is_file():
                raise SystemExit(f"{path}: no such file; `birdnn fetch hcas --to {data}` brings it")
            props = tuple(bundled_path(suite).parent / f"{name}.vnnlib" for name in entry.applicable)
            yield Controller(name=entry.name, suite=suite, path=path, props=props)


def arguments(text: str | None) -> argparse.ArgumentParser:
    """With the option that both campaigns have."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--data", type=Path, default=DATA, help="what `birdnn fetch hcas --to` filled; default ./hcas")
    return parser
