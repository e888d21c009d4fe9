"""What a finished proof leaves behind: the tree of boxes, and the numbers with which someone else proves it again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from birdnn.later import later
from birdnn.records.published import Said, publishes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np, npt = later("numpy"), later("numpy.typing")


CheckAnswer = Literal["accepted", "rejected", "not checked"]
"""What the independent checker says of a certificate. Rejected: prover and checker disagree."""

# The largest number of 32 bits: no network has so many inputs and neurons together.
LEAF = 2**32 - 1
"""Stands for the axis of a node that was not cut."""


def _complete_earlier(data: Any) -> Any:
    """Reports of birdnn 0.1.0 have the checker's answer in a sentence only, and no number of leaves."""
    if not isinstance(data, dict):
        return data
    data = {"leaves": None, **data}
    if "answer" not in data and isinstance(data.get("checked"), str):
        answer, _, detail = data["checked"].partition(": ")
        return {**data, "answer": answer, "detail": detail}
    return data


@publishes(
    "CertificateModel",
    "file=path sha256 size properties leaves checked answer detail write_s check_s",
    earlier=_complete_earlier,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFile:
    """A certificate on disk, see docs/certificate.md.

    Attributes:
        path: absolute.
        properties: names of those that it speaks about.
        write_s, check_s: seconds of both.
    """

    path: str
    sha256: str
    size: Annotated[int, Said("Bytes.")]
    properties: tuple[str, ...]
    leaves: Annotated[int | None, Said("Of all proofs in it: what is proved without being divided further.")] = None
    answer: Annotated[CheckAnswer, Said("Of the independent checker. Rejected: prover and checker disagree.")]
    detail: Annotated[str, Said("What was checked, or why it was rejected or not checked.")]
    write_s: float
    check_s: float

    @property
    def checked(self) -> Annotated[str, Said("Answer and detail as one sentence.")]:
        """Answer and detail as one sentence, for people: ``"accepted: ..."``."""
        return f"{self.answer}: {self.detail}"

    @property
    def disagreement(self) -> str:
        """What a rejection means; empty without one."""
        if self.answer != "rejected":
            return ""
        names = ", ".join(self.properties)
        return f"birdnn decided {names}, and the independent checker rejects its certificate {self.path}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionProof:
    """The proof of one input region; docs/certificate.md says what each array is.

    Attributes:
        axis: (nodes,) uint32, from the number of inputs on a neuron; `cut`: (cuts,) float64.
        face_node, face, face_at: the faces that were moved, (faces,) uint32, uint32, float64.
        item_node, item_polytope: (items,) uint32, uint16.
        multiplier: of all items one after the other, one for each row of its polytope, float32.
        slopes: how many each item has, (items,) uint32; `neuron`, `slope`: these, uint32 and float32.
        beta: of all items one after the other, one for each neuron that is split above its node, float32.
        intervals: numbers of the activations whose neurons are bounded by intervals only, int64, where the network was
            seen as a graph; None where as a chain of layers.
    """

    axis: npt.NDArray[np.uint32]
    cut: npt.NDArray[np.float64]
    face_node: npt.NDArray[np.uint32]
    face: npt.NDArray[np.uint32]
    face_at: npt.NDArray[np.float64]
    item_node: npt.NDArray[np.uint32]
    item_polytope: npt.NDArray[np.uint16]
    multiplier: npt.NDArray[np.float32]
    slopes: npt.NDArray[np.uint32]
    neuron: npt.NDArray[np.uint32]
    slope: npt.NDArray[np.float32]
    beta: npt.NDArray[np.float32]
    intervals: npt.NDArray[np.int64] | None = None

    @property
    def bytes(self) -> int:
        """Memory of all arrays."""
        arrays = (getattr(self, field.name) for field in fields(self))
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def of_graph(self) -> bool:
        """Was the network seen as a graph?"""
        return self.intervals is not None

    @property
    def leaves(self) -> int:
        """How many leaves cover the region: boxes, or sides of neurons of one."""
        return int((self.axis == LEAF).sum())
