"""What a search needs to go on where it was: the open boxes, what is proved, and what was drawn.

A search is a function of its network, property and settings, whatever time it takes. So one that goes on from a
frontier ends as the one that wrote it would have: with the same boxes, the same verdict and the same certificate.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.network import Network, weights_sha256
from birdnn.records import RegionProof, Witness
from birdnn.spec import Property, Region
from birdnn.verify.recording import Recorder
from birdnn.verify.settings import SearchSettings
from birdnn.verify.work import Work

VERSION = 4
"""Of what is written; another one is not read."""

Arrays = Mapping[str, npt.NDArray[Any]]


@runtime_checkable
class Keeper(Protocol):
    """Where frontiers are kept, by a name for each question."""

    def read(self, name: str, regions: Sequence[Region]) -> Frontier | None:
        """The frontier of that name, if there is one, of a search in these regions.

        Raises:
            InputError: there is one that cannot be read.
        """

    def due(self) -> bool:
        """Is it time to write one?"""

    def write(self, name: str, frontier: Frontier) -> None:
        """Keep one in place of the last one of that name."""

    def done(self, name: str) -> None:
        """Forget it: the question is answered."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frontier:
    """The state of a search between two batches.

    Attributes:
        place: of the region at hand; all before it are done.
        boxes: examined so far, `boxes_before` of them in regions before this one.
        batch: boxes that are examined together.
        attacks: how many of the region's later attacks were made.
        enough_boxes, next_prognosis: when the search stops to look for more, and estimates what is left.
        stack: the open boxes, the next ones last.
        rounds: how often the boxes of each entry of the stack were dealt out to others (`birdnn.verify.spread`); empty
            where none ever were.
        gave_up: boxes that are too small to cut.
        proofs: of the regions that are done; `recorder`: the proof of this one, where one is recorded.
        drawn: the state of the random numbers.
        executed, over_reals: inputs that violate in one sense only, see `birdnn.verify.search`.
    """

    place: int
    boxes: int
    boxes_before: int
    batch: int
    attacks: int
    enough_boxes: float
    next_prognosis: int
    stack: Sequence[Work]
    rounds: Sequence[int]
    gave_up: Sequence[Boxes]
    proofs: Sequence[RegionProof]
    recorder: Recorder | None
    drawn: Tensor
    executed: Witness | None
    over_reals: tuple[float, ...]


# a setting that decides the tree and is missing here would have other boxes taken for closed ones
_DECIDING = "batch", "smallest_width", "semantics", "record", "give_up", "seed", "device", "attack", "crown"
_NUMBERS = "place", "boxes", "boxes_before", "batch", "attacks", "enough_boxes", "next_prognosis"


def search_name(net: Network, prop: Property, settings: SearchSettings, bound: str) -> str:
    """A name that no other search has: of network, property, and whatever of the settings decides its tree.

    The weights are named beside the file's digest, for they may lie outside of it. Limits are not: a search that a
    limit has ended goes on with a larger one.
    """
    regions = [
        (r.exact_lower, r.exact_upper, [[(w.coefficients, w.bound, w.strict) for w in p.rows] for p in r.unsafe])
        for r in prop.regions
    ]
    deciding = [repr(getattr(settings, name)) for name in _DECIDING]
    # another version may round or draw otherwise, and grow another tree
    packages = [metadata.version(name) for name in ("torch", "numpy")]
    told = repr((VERSION, net.sha256, weights_sha256(net), regions, deciding, bound, packages))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def pack_frontier(name: str, frontier: Frontier) -> bytes:
    """A frontier as an ``.npz`` archive, its name in it."""
    arrays: dict[str, npt.NDArray[Any]] = {"drawn": frontier.drawn.numpy()}
    for part, work in _with_prefixes("work", frontier.stack):
        arrays |= {part + name: array for name, array in work_to_arrays(work).items()}
    for part, boxes in _with_prefixes("small", frontier.gave_up):
        arrays |= {f"{part}lower": _to_numpy(boxes.lower), f"{part}upper": _to_numpy(boxes.upper)}
    for part, proof in _with_prefixes("proof", frontier.proofs):
        columns = {field.name: getattr(proof, field.name) for field in fields(RegionProof)}
        arrays |= {part + name: column for name, column in columns.items() if column is not None}
    recorder = frontier.recorder
    if recorder is not None:
        arrays |= recorder.arrays()
    told = {
        "version": VERSION,
        "name": name,
        # JSON as Python writes and reads it has infinity, which `enough_boxes` mostly is
        "numbers": {number: getattr(frontier, number) for number in _NUMBERS},
        "rounds": [*frontier.rounds],
        "parts": [len(frontier.stack), len(frontier.gave_up), len(frontier.proofs)],
        "nodes": None if recorder is None else recorder.nodes,
        "executed": None if frontier.executed is None else asdict(frontier.executed),
        "over_reals": frontier.over_reals,
    }
    arrays["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    # no pickles, neither written nor read: a file from elsewhere must not run anything
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack_frontier(name: str, data: bytes, regions: Sequence[Region]) -> Frontier:
    """The frontier of that name.

    Raises:
        ValueError: the archive is another question's, or of another version.
        Exception: whatever NumPy, zipfile and json find wrong with bytes.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    told = json.loads(arrays["told"].tobytes())
    # the name is in the file as well: a file may have been renamed or copied
    if told["version"] != VERSION or told["name"] != name:
        raise ValueError("it was written for another network, property or setting, or by another version")
    works, smalls, proofs = told["parts"]
    numbers = told["numbers"]
    recorder = None
    if told["nodes"] is not None:
        recorder = Recorder.of(regions[numbers["place"]], told["nodes"], arrays)
    found = told["executed"]
    return Frontier(
        **numbers,
        stack=[work_from_arrays(arrays, f"work{i}_") for i in range(works)],
        rounds=[int(times) for times in told["rounds"]],
        gave_up=[_boxes_from_arrays(arrays, f"small{i}_") for i in range(smalls)],
        proofs=[RegionProof(**_proof_columns(arrays, f"proof{i}_")) for i in range(proofs)],
        recorder=recorder,
        drawn=torch.from_numpy(arrays["drawn"]),
        executed=None if found is None else _witness_from_json(found),
        over_reals=tuple(told["over_reals"]),
    )


def work_to_arrays(work: Work) -> dict[str, npt.NDArray[Any]]:
    """Open boxes as arrays."""
    return {
        "lower": _to_numpy(work.boxes.lower),
        "upper": _to_numpy(work.boxes.upper),
        "opened": _to_numpy(work.opened),
        "inherited": _to_numpy(work.inherited),
        "node": _to_numpy(work.node),
    }


def work_from_arrays(arrays: Arrays, part: str = "") -> Work:
    """What `work_to_arrays` gave, its names with ``part`` before them."""
    rest = (torch.from_numpy(arrays[part + name]) for name in ("opened", "inherited", "node"))
    return Work(_boxes_from_arrays(arrays, part), *rest)


def _with_prefixes(what: str, parts: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(f"{what}{i}_", part) for i, part in enumerate(parts)]


def _to_numpy(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array


def _proof_columns(arrays: Arrays, part: str) -> dict[str, npt.NDArray[Any]]:
    return {f.name: arrays[part + f.name] for f in fields(RegionProof) if part + f.name in arrays}


def _boxes_from_arrays(arrays: Arrays, part: str) -> Boxes:
    return Boxes(torch.from_numpy(arrays[f"{part}lower"]), torch.from_numpy(arrays[f"{part}upper"]))


def _witness_from_json(found: Mapping[str, Any]) -> Witness:
    tuples = {name: tuple(found[name]) for name in ("x", "y", "replayed_by")}
    return Witness(**tuples, exactly=found["exactly"])
