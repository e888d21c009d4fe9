"""The certificate's file: read, taken apart, and everything checked that needs no arithmetic."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from reprlib import repr as short
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.layers import Network
from birdnn.certify.check.lines import Floats, slope_range
from birdnn.certify.check.rounding import round_towards
from birdnn.certify.check.statement import Row
from birdnn.errors import FormatError

# In memory; in files of versions 1 and 2 it is 2**16 - 1.
LEAF = 2**32 - 1
VERSIONS = (1, 2, 3, 4)
"""Of the format: neurons are split in the second and third, the network is a graph in the third; the fourth speaks
about two networks and their difference."""

PAIRS = 4
FORMS = 3
"""In which a row on the outputs of two networks is asked for; an item has multipliers for each. See
`pairs.chain.rows_in_forms`."""
_GRAPHS = 3
_SPLITTING = (2, 3)

_LARGEST = (2 - Fraction(1, 2**23)) * 2**127
"""Of the numbers of single precision."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(/[1-9][0-9]*)?([eE][+-]?[0-9]{1,3})?")
_LONGEST = 8600
"""Characters of a number: a quotient of two that Python reads, and more than a property's text can lead to."""

_TYPES = ("|u1", "<u2", "<u4", "<f4", "<f8")


@dataclass(frozen=True)
class Certificate:
    """The file's head and its proofs, not yet taken apart.

    Attributes:
        networks: the sha256 of each by its name in queries; the name is empty where there is one network only.
    """

    tool: str
    version: int
    networks: dict[str, str]
    semantics: Literal["real", "float32"]
    assumptions: dict[str, float]
    proofs: tuple[dict[str, Any], ...]

    @property
    def network_sha256(self) -> str:
        """Of the network, or of the first of several."""
        return next(iter(self.networks.values()))


@dataclass(frozen=True, eq=False)
class Region:
    """A region's statement and its tree.

    Attributes:
        lower, upper: the box, exact.
        polytopes: rows of each, a largest coefficient between 1 and 2; ``sizes`` says how many multipliers each takes.
        axis, cut: of each node, and of each cut; ``rank`` is a node's number among the cuts. An axis from the number of
            inputs on is a neuron.
        parent: of each node; ``sides`` is how many neurons are split above it.
        face_node, face, face_at: the faces that move.
        item_node, item_polytope: the items; those of number i have multipliers from ``multiplier_start[i]`` on and
            slopes from ``slope_start[i]`` to ``slope_start[i + 1]``. The largest multiplier of each is about 1, and
            those of sides, from ``beta_start[i]`` on, are of the same scale.
        intervals: numbers of activations whose neurons are bounded by intervals only.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    polytopes: tuple[tuple[Row, ...], ...]
    sizes: NDArray[np.intp]
    axis: NDArray[np.intp]
    rank: NDArray[np.intp]
    cut: Floats
    parent: NDArray[np.intp]
    sides: NDArray[np.intp]
    face_node: NDArray[np.intp]
    face: NDArray[np.intp]
    face_at: Floats
    item_node: NDArray[np.intp]
    item_polytope: NDArray[np.intp]
    multiplier: Floats
    multiplier_start: NDArray[np.intp]
    slope_start: NDArray[np.intp]
    neuron: NDArray[np.intp]
    slope: Floats
    beta: Floats
    beta_start: NDArray[np.intp]
    intervals: frozenset[int] = frozenset()

    def root(self) -> tuple[Floats, Floats]:
        """The box in float64, rounded outward."""
        lower = [round_towards(value, -np.inf) for value in self.lower]
        return np.array(lower), np.array([round_towards(value, np.inf) for value in self.upper])


def read_certificate(file: File) -> Certificate:
    """The head of the certificate in ``file``.

    Raises:
        FormatError: it is no JSON.
        Rejected: it is no certificate of a version that this checker knows.
    """
    try:
        data = json.loads(
            file.data.decode("utf-8"), object_pairs_hook=_dict_of_unique_keys, parse_constant=_refuse_non_finite
        )
    except (ValueError, RecursionError) as error:
        raise FormatError(file.path, "", f"not a certificate: {error}") from None
    if not isinstance(data, dict) or data.get("format") != "birdnn certificate":
        raise Rejected("the file does not call itself a birdnn certificate")
    version = data.get("version")
    # ``True`` and 1.0 are equal to 1.
    if type(version) is not int or version not in VERSIONS:
        raise Rejected(f"version {short(version)} of the format is not known, only 1 to {VERSIONS[-1]}")
    named = "networks" if version == PAIRS else "network"
    keys = ("format", "version", "tool", named, "semantics", "assumptions", "proofs")
    head = _require_keys(data, "the certificate", keys)
    networks = (
        _read_networks(head[named])
        if version == PAIRS
        else {"": _read_file_entry(head[named], named, ("file", "sha256"))}
    )
    assumptions, proofs = head["assumptions"], head["proofs"]
    if head["semantics"] not in ("real", "float32"):
        raise Rejected(f"semantics {short(head['semantics'])} is neither real nor float32")
    # Whether these are the right ones only the judge can tell, who knows the network.
    if not isinstance(assumptions, dict) or not all(isinstance(value, float) for value in assumptions.values()):
        raise Rejected("assumptions must name an error for each activation")
    if not isinstance(proofs, list) or not all(isinstance(proof, dict) for proof in proofs):
        raise Rejected("proofs must be a list of objects")
    if not isinstance(head["tool"], str):
        raise Rejected("tool must be a text")
    hashes = {name: about["sha256"] for name, about in networks.items()}
    return Certificate(head["tool"], version, hashes, head["semantics"], assumptions, tuple(proofs))


def _read_networks(data: Any) -> dict[str, dict[str, Any]]:
    """What is said of several networks, by their names in queries."""
    if not isinstance(data, list) or not data:
        raise Rejected("networks must be a list of objects")
    found = {
        about["name"]: about
        for about in (_read_file_entry(each, "a network", ("name", "file", "sha256")) for each in data)
    }
    if len(found) < len(data) or "" in found:
        raise Rejected("a network has no name, or two have the same one")
    return found


def proof_of(certificate: Certificate, sha256: str) -> dict[str, Any]:
    """The proof that speaks about the property with this hash.

    Raises:
        Rejected: there is none, or more than one.
    """
    # Every proof is looked at, asked for or not: a file that is wrong anywhere is no certificate.
    found = []
    for proof in certificate.proofs:
        last, optional = ("input", "exactly") if proof.get("verdict") == "violated" else ("regions", "executed")
        keys = [
            "property",
            "verdict",
            *(["shared"] if certificate.version == PAIRS and last == "regions" else []),
            last,
        ]
        _require_keys({key: proof[key] for key in proof if key != optional}, "a proof", keys)
        about = _read_file_entry(proof["property"], "property", ("name", "file", "sha256"))
        if proof["verdict"] not in ("proved", "violated"):
            raise Rejected(f"verdict {short(proof['verdict'])} is neither proved nor violated")
        found += [proof] if about["sha256"] == sha256 else []
    if len(found) != 1:
        raise Rejected(f"{len(found)} proofs speak about the property with sha256 {sha256}; one is expected")
    return found[0]


def read_input(proof: dict[str, Any], key: str, n_inputs: int, where: str) -> tuple[Fraction, ...]:
    """An input at which the property is violated, under ``key``: exact values of single-precision numbers."""
    values = _read_numbers(proof[key], n_inputs, f"{where}: {key}")
    # In this order: a number beyond the largest would become infinity, which is no fraction.
    if any(abs(value) > _LARGEST or Fraction(float(np.float32(float(value)))) != value for value in values):
        raise Rejected(f"{where}: {key} holds numbers that are not of single precision")
    return values


def states_exactly(proof: dict[str, Any], semantics: Literal["real", "float32"], where: str) -> bool:
    """Does the proof of a violated property state that it is violated over the reals?"""
    stated = proof.get("exactly", semantics == "real")  # files of birdnn 0.1.0 do not have the key
    if not isinstance(stated, bool):
        raise Rejected(f"{where}: exactly must be true or false")
    return stated


def read_regions(proof: dict[str, Any], version: int, network: Network, where: str) -> list[Region]:
    """The regions of a proved property, in a file of that version.

    Raises:
        Rejected: they are not as the format wants them.
    """
    if not isinstance(proof["regions"], list):
        raise Rejected(f"{where}: regions must be a list")
    return [_Reader(network, f"{where}, region {i}", version).region(data) for i, data in enumerate(proof["regions"])]


@dataclass
class _Reader:
    network: Network
    where: str
    version: int

    def region(self, data: Any) -> Region:
        more = ("intervals",) if self.version == _GRAPHS else ()
        head = _require_keys(data, self.where, ("lower", "upper", "unsafe", *more, "axis", "cut", "faces", "items"))
        n_inputs = self.network.n_inputs
        lower, upper = (_read_numbers(head[side], n_inputs, f"{self.where}: {side}") for side in ("lower", "upper"))
        self._require(all(low <= high for low, high in zip(lower, upper, strict=True)), "its box is empty")
        self._require(isinstance(head["unsafe"], list), "unsafe must be a list of polytopes")
        # By powers of two, which is exact: rows of any size can be kept in float64 then.
        scaled = [[row.scaled() for row in self._read_polytope(rows)] for rows in head["unsafe"]]
        polytopes = tuple(tuple(row for row, _ in rows) for rows in scaled)
        forms = FORMS if self.version == PAIRS else 1
        # An item about two networks has a multiplier for each row in each form; the forms of a row are scaled alike.
        powers = [np.array([power for _, power in rows] * forms, dtype=np.int64) for rows in scaled]
        axis, cut = (
            self._read_column(head["axis"], "axis", self._place_dtype),
            self._read_column(head["cut"], "cut", "<f8"),
        )
        # One mark for all versions, so that nobody behind this line needs to know the width of a column.
        axis[axis == np.iinfo(self._place_dtype).max] = LEAF
        tree = self._read_tree(axis, cut)
        return Region(
            lower=lower,
            upper=upper,
            polytopes=polytopes,
            intervals=self._read_intervals(head.get("intervals", [])),
            **tree,
            **self._read_faces(head["faces"], len(axis)),
            **self._read_items(head["items"], tree["sides"], powers),
        )

    def _require(self, holds: Any, what: str) -> None:
        if not holds:
            raise Rejected(f"{self.where}: {what}")

    @property
    def _place_dtype(self) -> str:
        """The type of columns that name inputs and neurons."""
        return "<u2" if self.version < 3 else "<u4"

    def _read_intervals(self, data: Any) -> frozenset[int]:
        known = range(len(self.network.hidden))
        self._require(
            isinstance(data, list) and all(type(place) is int and place in known for place in data),
            "intervals must be a list of numbers of activations",
        )
        # One spelling of a certificate for one proof, here and in all that is sorted.
        self._require(data == sorted(set(data)), "intervals are not sorted, or one stands there twice")
        return frozenset(data)

    def _read_polytope(self, data: Any) -> tuple[Row, ...]:
        self._require(isinstance(data, list), "a polytope must be a list of rows")
        rows = []
        for row in data:
            fields = _require_keys(row, f"{self.where}: a row", ("coefficients", "bound", "strict"))
            self._require(isinstance(fields["strict"], bool), "strict must be true or false")
            coefficients = _read_numbers(fields["coefficients"], self.network.n_outputs, f"{self.where}: coefficients")
            (bound,) = _read_numbers([fields["bound"]], 1, f"{self.where}: bound")
            rows.append(Row(coefficients, bound, fields["strict"]))
        return tuple(rows)

    def _read_column(self, data: Any, name: str, dtype: str) -> NDArray[Any]:
        fields = _require_keys(data, f"{self.where}: {name}", ("dtype", "data"))
        self._require(fields["dtype"] in _TYPES, f"column {name} has type {short(fields['dtype'])}")
        self._require(fields["dtype"] == dtype, f"column {name} must have type {dtype}")
        try:
            content = base64.b64decode(fields["data"], validate=True)
            values = np.frombuffer(content, dtype=dtype)
        except (ValueError, TypeError, binascii.Error) as error:
            raise Rejected(f"{self.where}: column {name} cannot be decoded: {error}") from None
        # Bits that base64 drops may hold anything, and another reader may refuse them.
        self._require(base64.b64encode(content).decode() == fields["data"], f"column {name} has loose bits at its end")
        if values.dtype.kind == "f":
            self._require(np.isfinite(values).all(), f"column {name} holds NaN or infinity")
            # Single precision is exact in double.
            return values.astype(np.float64)
        return values.astype(np.intp)

    def _read_tree(self, axis: NDArray[Any], cut: NDArray[Any]) -> dict[str, Any]:
        node = np.nonzero(axis != LEAF)[0]
        # With the check of parents below this makes it a tree: every node but the first has one parent, before it.
        self._require(len(axis) == 2 * len(node) + 1, f"{len(node)} cuts do not make {len(axis)} nodes")
        self._require(len(cut) == len(node), f"{len(cut)} places for {len(node)} cuts")
        inputs, hidden = self.network.n_inputs, sum(size for _, size in self.network.hidden)
        known = inputs + hidden if self.version in _SPLITTING else inputs
        self._require((axis[node] < known).all(), "a cut's axis is none of the inputs, nor a neuron")
        # The children of cut number j are nodes 2j + 1 and 2j + 2: parents follow from the numbers alone.
        rank = np.cumsum(axis != LEAF) - 1
        self._require((node < 2 * rank[node] + 1).all(), "a node stands before its parent")
        parent = np.concatenate([np.zeros(1, np.intp), np.repeat(node, 2)])
        return {"axis": axis, "cut": cut, "rank": rank, "parent": parent, "sides": _count_splits_above(axis, inputs)}

    def _read_faces(self, data: Any, nodes: int) -> dict[str, Any]:
        fields = _require_keys(data, f"{self.where}: faces", ("node", "face", "at"))
        node, face = (
            self._read_column(fields["node"], "node", "<u4"),
            self._read_column(fields["face"], "face", self._place_dtype),
        )
        at = self._read_column(fields["at"], "at", "<f8")
        self._require(len(node) == len(face) == len(at), "the columns of the faces differ in length")
        self._require((node < nodes).all() and (face < 2 * self.network.n_inputs).all(), "a face that does not exist")
        self._require(_is_sorted(node, face), "the faces are not sorted, or one moves twice at a node")
        return {"face_node": node, "face": face, "face_at": at}

    def _read_items(self, data: Any, sides: NDArray[np.intp], powers: list[NDArray[np.int64]]) -> dict[str, Any]:
        types = {
            "node": "<u4",
            "polytope": "<u2",
            "multiplier": "<f4",
            "slopes": "<u4",
            "neuron": self._place_dtype,
            "slope": "<f4",
        }
        types |= {"beta": "<f4"} if self.version in _SPLITTING else {}
        fields = _require_keys(data, f"{self.where}: items", tuple(types))
        columns = {name: self._read_column(fields[name], name, dtype) for name, dtype in types.items()}
        node, polytope, multiplier, counts, neuron, slope, *betas = columns.values()
        sizes = np.array([len(rows) for rows in powers], dtype=np.intp)
        self._require(len(node) == len(polytope) == len(counts), "the columns of the items differ in length")
        self._require((node < len(sides)).all() and (polytope < len(sizes)).all(), "an item of nothing that exists")
        self._require(_is_sorted(node, polytope, twice=True), "the items are not sorted")
        starts, slope_start = _segment_starts(sizes[polytope]), _segment_starts(counts)
        self._require(starts[-1] == len(multiplier), "the multipliers are not one for each row")
        self._require(slope_start[-1] == len(neuron) == len(slope), "the slopes are not as many as the items say")
        self._require((multiplier >= 0).all(), "a multiplier is negative")
        # By running sums, as an item whose polytope has no rows has no multipliers; `reduceat` would take the next
        # one's. Without a positive one a plane of zeros would "close" a polytope of strict rows.
        positive = np.concatenate([[0], np.cumsum(multiplier > 0)])
        self._require((positive[starts[1:]] > positive[starts[:-1]]).all(), "the multipliers of an item are all 0")
        self._require_valid_slopes(np.repeat(np.arange(len(counts)), counts), neuron, slope)
        beta, beta_start = betas[0] if betas else np.empty(0), _segment_starts(sides[node])
        self._require(beta_start[-1] == len(beta), "the multipliers of sides are not one for each neuron split above")
        self._require((beta >= 0).all(), "a multiplier of a side is negative")
        power = np.concatenate([np.empty(0, np.int64), *(powers[number] for number in polytope)])
        multiplier, scale = _rescale_multipliers(multiplier, power, starts)
        # A plane times a power of two says the same, if all of its multipliers are scaled.
        beta = np.ldexp(beta, -np.repeat(scale, np.diff(beta_start)))
        return {
            "sizes": sizes, "item_node": node, "item_polytope": polytope,
            "multiplier": multiplier, "multiplier_start": starts, "slope_start": slope_start,
            "neuron": neuron, "slope": slope, "beta": beta, "beta_start": beta_start,
        }  # fmt: skip

    def _require_valid_slopes(self, item: NDArray[np.intp], neuron: NDArray[np.intp], slope: Floats) -> None:
        # Windows and differences have no slope that could be chosen.
        none = np.inf, -np.inf  # no slope is in this range
        known = [(none if activation is None else slope_range(activation), n) for activation, n in self.network.hidden]
        ranges = np.repeat(np.array([range_ for range_, _ in known]).reshape(-1, 2), [n for _, n in known], axis=0)
        self._require((neuron < len(ranges)).all(), "a slope of a neuron that does not exist")
        self._require(_is_sorted(item, neuron), "the slopes of an item are not sorted, or a neuron has two")
        if len(neuron):
            low, high = ranges.T
            inside = (low[neuron] <= slope) & (slope <= high[neuron])
            self._require(inside.all(), "a slope outside of the range of the activation's derivative")


def _count_splits_above(axis: NDArray[Any], inputs: int) -> NDArray[np.intp]:
    """How many neurons are split above each node, level by level."""
    sides = np.zeros(len(axis), np.intp)
    begin, end = 0, 1
    while begin < end:
        cuts = begin + np.nonzero(axis[begin:end] != LEAF)[0]
        below = end + 2 * len(cuts)
        sides[end:below] = np.repeat(sides[cuts] + (axis[cuts] >= inputs), 2)
        begin, end = end, below
    return sides


def _is_sorted(first: NDArray[np.intp], second: NDArray[np.intp], *, twice: bool = False) -> bool:
    """Do the pairs increase? Strictly, unless one may stand ``twice``."""
    a, b = np.diff(first), np.diff(second)
    return bool(((a > 0) | ((a == 0) & ((b > 0) | (twice & (b == 0))))).all())


def _rescale_multipliers(
    multiplier: Floats, power: NDArray[np.int64], starts: NDArray[np.intp]
) -> tuple[Floats, NDArray[np.int64]]:
    """Multipliers of rows that were divided by ``2**power``, those of an item together scaled to a largest of about 1.

    Any multipliers that are not negative prove what they prove, so rounding does not matter here; one that is positive
    remains for each item.

    Returns:
        Them, and the power of two by which each item was divided.
    """
    if len(starts) == 1:
        return multiplier, np.empty(0, np.int64)
    # By exponents, as the product with the power of two may lie beyond float64.
    mantissa, exponent = np.frexp(multiplier)
    exponent = np.where(mantissa > 0, exponent + power, np.iinfo(np.int64).min // 2)
    # No segment is empty here: every item has a positive multiplier.
    most = np.maximum.reduceat(exponent, starts[:-1])
    # 2**-2000 is zero in float64, and an exponent that stays an int of C.
    below = np.maximum(exponent - np.repeat(most, np.diff(starts)), -2000)
    return np.ldexp(mantissa, below), most


def _segment_starts(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.concatenate([np.zeros(1, dtype=np.intp), np.cumsum(counts, dtype=np.intp)])


def _require_keys(data: Any, where: str, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != set(keys):
        found = short(sorted(data)) if isinstance(data, dict) else type(data).__name__
        raise Rejected(f"{where} must have the keys {', '.join(keys)}, not {found}")
    return data


def _read_file_entry(data: Any, where: str, keys: Sequence[str]) -> dict[str, Any]:
    """Of a file: texts, the last of them a hash."""
    fields = _require_keys(data, where, keys)
    if not all(isinstance(text, str) for text in fields.values()) or not _SHA256.fullmatch(fields["sha256"]):
        raise Rejected(f"{where} must be described by texts and a sha256 of 64 lower-case hexadecimal digits")
    return fields


def _read_numbers(data: Any, count: int, where: str) -> tuple[Fraction, ...]:
    if not isinstance(data, list) or len(data) != count:
        raise Rejected(f"{where} must be a list of {count} numbers")
    # Lengths first: the time to read a number grows faster than its length.
    texts = [text if isinstance(text, str) and len(text) < _LONGEST else "" for text in data]
    if not all(_NUMBER.fullmatch(text) for text in texts):
        raise Rejected(f"{where} holds something that is no exact number")
    try:
        return tuple(Fraction(text) for text in texts)
    except ValueError as error:
        raise Rejected(f"{where}: {error}") from None


def _dict_of_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # `json` keeps the last one of two, other readers the first.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key stands twice among {short([key for key, _ in pairs])}")
    return found


def _refuse_non_finite(text: str) -> float:
    raise ValueError(f"{text} is no number")
