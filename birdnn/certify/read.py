"""Proofs read back from a certificate, to be looked at: whether they are proofs `birdnn.certify.check` says."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from birdnn.certify.check.certificate import proof_of, read_certificate
from birdnn.certify.check.files import Rejected, read_file
from birdnn.decimals import exact_number
from birdnn.errors import FormatError
from birdnn.reading import guarded_reader
from birdnn.records import LEAF, RegionProof
from birdnn.spec import Property, round_down, round_up

Box = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

_COLUMNS = {"axis": "", "cut": "<f8"}
_FACES = {"node": "<u4", "face": "", "at": "<f8"}
_ITEMS = {"node": "<u4", "polytope": "<u2", "multiplier": "<f4", "slopes": "<u4", "neuron": "", "slope": "<f4"}
"""Types of columns; those that name inputs and neurons are wider where the network is a graph."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredRegion:
    """The cover of one input box: its corners rounded outward, (inputs,) float64 each, and the tree."""

    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    proof: RegionProof


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredProof:
    """What a certificate says of one property; no region where it says that the property is violated."""

    net_sha256: str
    regions: tuple[StoredRegion, ...]


@guarded_reader
def read_proof(path: Path, prop: Property) -> StoredProof:
    """The proof of ``prop`` in the certificate ``path``, unchecked but for its shape.

    Raises:
        FormatError: it is no certificate, says nothing of this property, or its trees are none.
    """
    try:
        certificate = read_certificate(read_file(path))
        proof = proof_of(certificate, prop.sha256)
        regions = tuple(_read_region(data, prop.n_inputs, certificate.version) for data in proof.get("regions", ()))
    except Rejected as error:
        raise FormatError(str(path), "", f"{prop.name}: {error.reason}") from None
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError, binascii.Error) as error:
        raise FormatError(str(path), "", f"its trees cannot be read: {type(error).__name__}: {error}") from None
    return StoredProof(net_sha256=certificate.network_sha256, regions=regions)


def boxes_on_plane(region: StoredRegion, at: npt.NDArray[np.float64], axes: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Where the boxes that a tree proves meet the plane through ``at`` along two axes.

    These are the leaves, and the slabs that moving faces cut off, each from what the faces before it left: side by
    side they cover the region.

    Returns:
        Lower and upper bound along the first axis, then along the second: (boxes, 4).
    """
    # Along the two axes of the plane every box counts; along the others it must hold the plane.
    fixed = np.ones(len(at), dtype=bool)
    fixed[list(axes)] = False
    found = [
        (low[axes[0]], high[axes[0]], low[axes[1]], high[axes[1]])
        for low, high in _proved_boxes(region, at, fixed)
        if _meets_plane((low, high), at, fixed)
    ]
    return np.array(found, dtype=np.float64).reshape(-1, 4)


def _meets_plane(box: Box, at: npt.NDArray[np.float64], fixed: npt.NDArray[np.bool_]) -> bool:
    low, high = box
    return bool(((low <= at) & (at <= high))[fixed].all())


def _proved_boxes(region: StoredRegion, at: npt.NDArray[np.float64], fixed: npt.NDArray[np.bool_]) -> Iterator[Box]:
    """The leaves and slabs of a tree; what lies beside the plane through ``at`` is not descended into."""
    tree = region.proof
    waiting: dict[int, Box] = {0: (region.lower, region.upper)}
    # Faces are sorted by node, and the columns of cuts leave out the leaves.
    first_face = np.searchsorted(tree.face_node, np.arange(len(tree.axis) + 1))
    cuts = np.cumsum(tree.axis != LEAF) - 1
    for node, axis in enumerate(tree.axis):
        # Beside the plane, or below a split neuron.
        if node not in waiting:
            continue
        low, high = waiting.pop(node)
        low, high = low.copy(), high.copy()
        for face in range(first_face[node], first_face[node + 1]):
            place, side = divmod(int(tree.face[face]), 2)
            slab = low.copy(), high.copy()
            # The slab ends where the box now begins: one number for both, so that no gap is drawn.
            slab[1 - side][place] = (low, high)[side][place] = tree.face_at[face]
            yield slab
        if axis >= len(low):  # a leaf; or a box that neurons split further, each part with this whole box
            yield low, high
            continue
        for side in (0, 1):
            half = low.copy(), high.copy()
            half[1 - side][axis] = tree.cut[cuts[node]]
            if _meets_plane(half, at, fixed):
                # Children of cut number j (docs/certificate.md, "The tree").
                waiting[2 * int(cuts[node]) + 1 + side] = half


def _read_region(data: Any, n_inputs: int, version: int) -> StoredRegion:
    place = "<u4" if version > 2 else "<u2"
    # Outward, as the root of the tree is.
    lower = np.array([round_down(exact_number(text)) for text in data["lower"]])
    upper = np.array([round_up(exact_number(text)) for text in data["upper"]])
    columns = {name: _read_column(data[name], kind or place) for name, kind in _COLUMNS.items()}
    faces = {name: _read_column(data["faces"][name], kind or place) for name, kind in _FACES.items()}
    items = {name: _read_column(data["items"][name], kind or place) for name, kind in _ITEMS.items()}
    # Versions 1 and 4 split no neuron.
    items["beta"] = _read_column(data["items"]["beta"], "<f4") if "beta" in data["items"] else np.empty(0, "<f4")
    cut = columns["axis"] != np.iinfo(place).max
    # One mark of leaves in memory, whatever the width in the file.
    columns["axis"] = np.where(cut, columns["axis"].astype(np.uint32), np.uint32(LEAF))
    # No more than what reading by index needs: whether it proves anything is for the checker to say.
    sound = (
        len(lower) == len(upper) == n_inputs
        and len(cut) == 2 * cut.sum() + 1
        and len(columns["cut"]) == cut.sum()
        and len(faces["node"]) == len(faces["face"]) == len(faces["at"])
        and (np.diff(faces["node"].astype(np.int64)) >= 0).all()
        and (faces["face"] < 2 * n_inputs).all()
    )
    if not sound:
        raise ValueError("a tree does not hang together")
    proof = RegionProof(
        **columns,
        face_node=faces["node"],
        face=faces["face"].astype(np.uint32),
        face_at=faces["at"],
        item_node=items["node"],
        item_polytope=items["polytope"],
        neuron=items["neuron"].astype(np.uint32),
        **{name: items[name] for name in ("multiplier", "slopes", "slope", "beta")},
        intervals=np.array(data["intervals"], np.int64) if "intervals" in data else None,
    )
    return StoredRegion(lower=lower, upper=upper, proof=proof)


def _read_column(data: Any, kind: str) -> npt.NDArray[Any]:
    if data["dtype"] != kind:
        raise ValueError(f"a column of type {data['dtype']!r}, not {kind}")
    return np.frombuffer(base64.b64decode(data["data"], validate=True), dtype=kind)
