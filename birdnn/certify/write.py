"""Certificates: verdicts as a file that `birdnn.certify.check` proves again. docs/certificate.md defines the format."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from birdnn.records import LEAF, Proved, RegionProof, Violated, Witness
from birdnn.records.limits import Over, never, require_time
from birdnn.rounding import Semantics
from birdnn.spec import Property, Region, Row

PLAIN, SPLIT, GRAPH, PAIR = 1, 2, 3, 4
"""Versions of the format: no neuron is split; some are; the network is a graph, whose inputs rows may speak about; two
networks are followed with their difference."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Certified:
    """A property with its verdict.

    Attributes:
        prop: in the units and with the text of its file.
        verdict: a proof with its trees, or a counterexample.
        shared: of a proof about two networks, in how many layers from the inputs on they are one.
    """

    prop: Property
    verdict: Proved | Violated
    shared: int = 0


def certificate_bytes(
    net: Path,
    net_sha256: str,
    certified: Sequence[Certified],
    *,
    semantics: Semantics,
    assumptions: Mapping[str, float],
    tool: str,
    chain: bool = True,
    over: Over = never,
) -> bytes:
    """The certificate of some properties of one network, JSON that is yet to be compressed.

    Args:
        net, net_sha256: the network's file, as the certificate is to name it.
        certified: the properties.
        semantics, assumptions: what is stated, and what it rests on.
        tool: who writes.
        chain: is the network a chain of layers?
        over: when to give up.

    Raises:
        OutOfTime: it was ``over`` between two regions.
        ValueError: a proof was not recorded.
    """
    proofs = [both for entry in certified for both in _recorded_proofs(entry)]
    graph = not chain or any(entry.prop.relational for entry in certified)
    # A chain may have been looked at as a graph as well; such a proof has the neurons and lines of version 3.
    graph = graph or any(proof.of_graph for _, proof in proofs)
    # The oldest version that can say it: whoever knows no later one can check the others still.
    version = GRAPH if graph else SPLIT if any(_has_splits(region, proof) for region, proof in proofs) else PLAIN
    data = {
        "format": "birdnn certificate",
        "version": version,
        "tool": tool,
        "network": {"file": net.name, "sha256": net_sha256},
        "semantics": semantics,
        "assumptions": dict(assumptions),
        "proofs": [_proof_entry(entry, over, version) for entry in certified],
    }
    return json.dumps(data, indent=1).encode()


def pair_certificate_bytes(
    nets: Mapping[str, tuple[Path, str]], certified: Sequence[Certified], *, tool: str, over: Over = never
) -> bytes:
    """The same of queries about two networks, over the reals.

    Args:
        nets: file and sha256 of each network by the name that queries have for it.
        certified, tool, over: see `certificate_bytes`; counterexamples list the inputs of both networks.

    Raises:
        OutOfTime, ValueError: see there.
    """
    data = {
        "format": "birdnn certificate",
        "version": PAIR,
        "tool": tool,
        "networks": [{"name": name, "file": path.name, "sha256": sha256} for name, (path, sha256) in nets.items()],
        "semantics": "real",
        "assumptions": {},
        "proofs": [_proof_entry(entry, over, PAIR) for entry in certified],
    }
    return json.dumps(data, indent=1).encode()


def _recorded_proofs(entry: Certified) -> Sequence[tuple[Region, RegionProof]]:
    proofs = entry.verdict.proofs if isinstance(entry.verdict, Proved) else ()
    return list(zip(entry.prop.regions, proofs, strict=False))


def _has_splits(region: Region, proof: RegionProof) -> bool:
    """Is a neuron split in the proof?"""
    return bool(((proof.axis >= len(region.exact_lower)) & (proof.axis != LEAF)).any())


def _proof_entry(entry: Certified, over: Over, version: int) -> dict[str, Any]:
    prop, verdict = entry.prop, entry.verdict
    about = {"name": prop.name, "file": Path(prop.path or prop.name).name, "sha256": prop.sha256}
    if isinstance(verdict, Violated):
        # where nobody could tell whether the input violates over the reals, that is not stated
        exactly = verdict.witness.exactly is True
        return {"property": about, "verdict": "violated", "input": _input_entry(verdict.witness), "exactly": exactly}
    # Without records there is a verdict, but nothing to write.
    if len(verdict.proofs) != len(prop.regions):
        raise ValueError(f"the proof of {prop.name} was not recorded")
    regions = []
    for region, proved in zip(prop.regions, verdict.proofs, strict=True):
        # Columns of millions of nodes take seconds.
        require_time(over)
        regions.append(_region_entry(region, proved, version))
    # No other version has the key, and the checker refuses keys that it does not know.
    shared = {"shared": entry.shared} if version == PAIR else {}
    proof = {"property": about, "verdict": "proved", **shared, "regions": regions}
    return proof if verdict.executed is None else {**proof, "executed": _input_entry(verdict.executed)}


def _input_entry(witness: Witness) -> list[str]:
    return [_number_text(Fraction(value)) for value in witness.x]


def _region_entry(region: Region, proof: RegionProof, version: int) -> dict[str, Any]:
    beta = {"beta": _column_entry(proof.beta, "<f4")} if version in (SPLIT, GRAPH) else {}
    known = [] if proof.intervals is None else proof.intervals.tolist()
    intervals = {"intervals": known} if version == GRAPH else {}
    place = "<u4" if version >= GRAPH else "<u2"  # of inputs and neurons
    return {
        # The proof covers both the range of the property and the number that an execution is run at.
        "lower": [_number_text(min(value, *_range_as_run(region, i))) for i, value in enumerate(region.exact_lower)],
        "upper": [_number_text(max(value, *_range_as_run(region, i))) for i, value in enumerate(region.exact_upper)],
        "unsafe": [
            [
                {
                    "coefficients": [_number_text(value) for value in row.coefficients],
                    "bound": _number_text(row.bound),
                    "strict": row.strict,
                }
                for row in map(Row.normal, polytope.rows)  # as the multipliers' rows are
            ]
            for polytope in region.unsafe
        ],
        **intervals,
        # A leaf is the largest number of the type that the version has for axes.
        "axis": _column_entry(np.where(proof.axis == LEAF, np.iinfo(place).max, proof.axis), place),
        "cut": _column_entry(proof.cut, "<f8"),
        "faces": {
            "node": _column_entry(proof.face_node, "<u4"),
            "face": _column_entry(proof.face, place),
            "at": _column_entry(proof.face_at, "<f8"),
        },
        "items": {
            "node": _column_entry(proof.item_node, "<u4"),
            "polytope": _column_entry(proof.item_polytope, "<u2"),
            "multiplier": _column_entry(proof.multiplier, "<f4"),
            "slopes": _column_entry(proof.slopes, "<u4"),
            "neuron": _column_entry(proof.neuron, place),
            "slope": _column_entry(proof.slope, "<f4"),
            **beta,
        },
    }


def _range_as_run(region: Region, index: int) -> tuple[Fraction, Fraction]:
    """An input's range as the proof covers it: with the float32 that it is run at, where its own holds none."""
    value = region.nearest.get(index)
    return (region.exact_lower[index], region.exact_upper[index]) if value is None else (Fraction(value),) * 2


def _column_entry(values: npt.NDArray[Any], dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "data": base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()}


def _number_text(value: Fraction) -> str:
    """Exactly: a whole number or a fraction."""
    return str(value)
