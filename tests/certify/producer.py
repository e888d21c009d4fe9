"""A naive producer of certificates, after docs/certificate.md: level by level, halving the widest side.

It asks the checker's own pass what can be shown; the checker then judges what stands in the file.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from birdnn.certify.check import files
from birdnn.certify.check.certificate import LEAF, Region
from birdnn.certify.check.floats import FloatEngine
from birdnn.certify.check.graphs.floats import GraphFloatEngine
from birdnn.certify.check.graphs.nodes import Graph
from birdnn.certify.check.graphs.reader import read_graph
from birdnn.certify.check.graphs.walk import GraphWalk
from birdnn.certify.check.layers import Activation, Chain, activation_kinds
from birdnn.certify.check.lines import ASSUMED_ERROR, is_bent, slope_range
from birdnn.certify.check.network import read_network
from birdnn.certify.check.rounding import round_towards
from birdnn.certify.check.statement import Row, read_statement
from birdnn.certify.check.tree import Batch, Items, Planes, Sides, Walk, padded_rows

MARGIN = 1e-9


def column(values: Any, dtype: str) -> dict[str, str]:
    """A column of the file."""
    data = np.asarray(values, dtype=dtype).tobytes()
    return {"dtype": dtype, "data": base64.b64encode(data).decode()}


def uncolumn(data: dict[str, str]) -> np.ndarray:
    """Its values."""
    return np.frombuffer(base64.b64decode(data["data"]), dtype=data["dtype"]).copy()


def change_column(place: Any, *keys: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change a column that lies under some keys of a certificate's part."""
    for key in keys[:-1]:
        place = place[key]
    old = place[keys[-1]]
    place[keys[-1]] = column(change(uncolumn(old)), old["dtype"])


class Producer:
    """Makes the proof of one region.

    Args:
        network: a chain, or a graph.
        single: semantics float32?
        seed: of the random slopes.
        faces: move faces where that works.
        slopes: share of neurons that get a slope of their own.
        neurons: share of cuts that split a neuron.
    """

    def __init__(
        self,
        network: Chain | Graph,
        single: bool,
        *,
        seed: int = 0,
        faces: bool = True,
        slopes: float = 0.3,
        neurons: float = 0.0,
    ) -> None:
        self.network, self.single, self.faces, self.share, self.neurons = network, single, faces, slopes, neurons
        self.graph = isinstance(network, Graph)
        self.engine = GraphFloatEngine(network) if isinstance(network, Graph) else FloatEngine(network, single)
        self.draw = np.random.default_rng(seed)

    def region(
        self, lower: Sequence[Fraction], upper: Sequence[Fraction], polytopes: Sequence[tuple[Row, ...]], most: int
    ) -> dict[str, Any] | None:
        """The region's proof; None where ``most`` nodes are not enough."""
        self.items: list[tuple[int, int, list[float], list[tuple[int, float]], list[float]]] = []
        self.above: list[list[tuple[int, float, float]]] = [[]]  # neuron, side, place of those split above each node
        parent = [0]
        self.moved: list[tuple[int, int, float]] = []
        axis, cut = [], []
        ends = np.cumsum([0, *(size for _, size in self.network.hidden)])
        unknown = np.full((1, ends[-1]), np.inf)
        low = np.array([[round_towards(v, -np.inf) for v in lower]])
        high = np.array([[round_towards(v, np.inf) for v in upper]])
        batch = Batch(np.zeros(1, int), low, high, -unknown, unknown, np.ones((1, len(polytopes)), bool))
        kind = GraphWalk if self.graph else Walk
        walk = kind(self.network, self.engine, _empty_region(polytopes), "producer", self.single)
        walk.rows = self.rows = padded_rows(tuple(polytopes), self.network.n_outputs)
        walk.spans = self.spans = [slice(a, b) for a, b in pairwise(ends)]
        while len(batch.node):
            if batch.node[0] + len(batch.node) > most:
                return None
            known = np.array([*axis, *[LEAF] * len(batch.node)], np.intp)
            sides = np.array([len(above) for above in self.above], np.intp)
            walk.region = replace(walk.region, axis=known, parent=np.array(parent, np.intp), sides=sides)
            with np.errstate(all="ignore"):
                pass_ = walk._tighten_bounds(batch)
                lower_, upper_ = self._close(batch, pass_)
            stay = np.nonzero(batch.open.any(1))[0]
            chosen, middle = self._cuts(batch, lower_, upper_, stay)
            axis += [LEAF] * len(batch.node)
            numbers = []
            both = np.repeat(stay, 2)
            l, u, low, high = (side[both].copy() for side in (batch.l, batch.u, lower_, upper_))
            for n, (i, at, value) in enumerate(zip(stay, chosen, middle, strict=True)):
                node, neuron = int(batch.node[i]), at - self.network.n_inputs
                axis[node] = at
                numbers += [2 * len(cut) + 1, 2 * len(cut) + 2]
                cut.append(value)
                parent += [node, node]
                more: list[list[Any]] = [[], []]
                if neuron >= 0:
                    more = [[(neuron, -1.0, value)], [(neuron, 1.0, value)]]
                    u[2 * n, neuron] = min(u[2 * n, neuron], value)
                    l[2 * n + 1, neuron] = max(l[2 * n + 1, neuron], value)
                else:
                    high[2 * n, at] = low[2 * n + 1, at] = value
                self.above += [self.above[node] + side for side in more]
            batch = Batch(np.array(numbers, np.intp), low, high, l, u, batch.open[both])
        return self._region(lower, upper, polytopes, axis, cut)

    def _cuts(
        self, batch: Batch, lower: np.ndarray, upper: np.ndarray, stay: np.ndarray
    ) -> tuple[list[int], list[float]]:
        """Where each node that stays open is cut: its widest side in the middle, or some neuron anywhere."""
        chosen, places = [], []
        for i in stay:
            l, u = batch.l[i], batch.u[i]
            loose = [
                _open(act, l[span], u[span]) for (act, _), span in zip(self.network.hidden, self.spans, strict=True)
            ]
            some = np.nonzero(np.concatenate([np.empty(0, bool), *loose]) & (l < u))[0]
            if self.neurons and len(some) and self.draw.random() < self.neurons:
                neuron = int(self.draw.choice(some))
                chosen.append(self.network.n_inputs + neuron)
                inside = l[neuron] < 0 < u[neuron]
                places.append(0.0 if inside else float(l[neuron] + self.draw.random() * (u[neuron] - l[neuron])))
            else:
                chosen.append(int(np.argmax(upper[i] - lower[i])))
                places.append(float(lower[i, chosen[-1]] + upper[i, chosen[-1]]) / 2)
        return chosen, places

    def _close(self, batch: Batch, pass_: Planes) -> tuple[np.ndarray, np.ndarray]:
        """Record items that close polytopes and faces that move; the remaining corners."""
        box, polytope = np.nonzero(batch.open)
        best = np.full(len(box), -np.inf)
        keep: list[Any] = [None] * len(box)
        planes: list[Any] = [None] * len(box)
        for items, betas in self._candidates(box, polytope, batch):
            found = pass_.planes(items)
            least = pass_.minimum(found, np.arange(len(box)), (batch.lower[box], batch.upper[box]))
            for n in np.nonzero(least > best)[0]:
                best[n] = least[n]
                slopes = [
                    (int(j + span.start), float(s))
                    for span, (item, neuron, slope) in zip(self.spans, items.slopes, strict=True)
                    for j, s in zip(neuron[item == n], slope[item == n], strict=True)
                ]
                rows = len(self.rows.exact[polytope[n]])
                node = int(batch.node[box[n]])
                keep[n] = (node, int(polytope[n]), items.multipliers[n, :rows].tolist(), slopes, betas[n])
                planes[n] = (found[0][n], found[1][n])
        closed = best > MARGIN
        self.items += [keep[n] for n in np.nonzero(closed)[0]]
        batch.open[box[closed], polytope[closed]] = False
        lower, upper = batch.lower.copy(), batch.upper.copy()
        for i in np.nonzero(batch.open.any(1))[0] if self.faces else ():
            mine = list(np.nonzero((box == i) & ~closed)[0])
            if any(planes[n] is None for n in mine):
                continue
            faces = [
                f
                for f in range(2 * lower.shape[1])
                if self._move(batch, pass_, i, f, [planes[n] for n in mine], lower, upper)
            ]
            if faces:
                self.items += [keep[n] for n in mine]
        self.items.sort(key=lambda item: item[:2])
        return lower, upper

    def _move(self, batch: Batch, pass_: Planes, i: int, face: int, planes: list[Any], lower: Any, upper: Any) -> bool:
        axis, side = divmod(face, 2)
        low, high = batch.lower[i].copy(), batch.upper[i].copy()
        at = (low[axis] + high[axis]) / 2 if side == 0 else low[axis] + 0.75 * (high[axis] - low[axis])
        (high if side == 0 else low)[axis] = at
        both = np.stack([p[0] for p in planes]), np.array([p[1] for p in planes])
        corners = np.repeat(low[None], len(planes), 0), np.repeat(high[None], len(planes), 0)
        if not (pass_.minimum(both, np.arange(len(planes)), corners) > MARGIN).all():
            return False
        (lower if side == 0 else upper)[i, axis] = at
        self.moved.append((int(batch.node[i]), face, float(at)))
        return True

    def _candidates(self, box: np.ndarray, polytope: np.ndarray, batch: Batch) -> list[tuple[Items, list[list[float]]]]:
        most = self.rows.a.shape[1]
        sizes = np.array([len(rows) for rows in self.rows.exact])[polytope]
        made = []
        for kind in range(most + 1):
            weights = np.tile(np.eye(most)[kind] if kind < most else np.ones(most), (len(box), 1))
            weights = np.where(np.arange(most) < sizes[:, None], weights, 0)
            weights[weights.sum(1) == 0, 0] = 1
            exact = weights.astype(np.float32).astype(float)
            for share in (0.0, self.share):
                sides, betas = self._sides(box, batch)
                made.append((Items(box, polytope, exact, self._slopes(box, batch, share), sides), betas))
        return made

    def _sides(self, box: np.ndarray, batch: Batch) -> tuple[tuple[Sides, ...], list[list[float]]]:
        """All sides with random multipliers, and these, from the root on."""
        betas, found = [], []
        for n, i in enumerate(box):
            above = self.above[int(batch.node[i])]
            drawn = [float(np.float32(self.draw.choice([0.0, 0.05, 0.3, 1.0]))) for _ in above]
            found += [(n, *side, beta, len(above)) for side, beta in zip(above, drawn, strict=True)]
            betas.append(drawn)
        if not found:
            return (), betas
        item, neuron, side, at, beta, count = (np.array(column) for column in zip(*found, strict=True))
        sides = []
        for span in self.spans:
            mine = (neuron >= span.start) & (neuron < span.stop)
            sides.append(Sides(item[mine], neuron[mine] - span.start, side[mine], at[mine], beta[mine], count[mine]))
        return tuple(sides), betas

    def _slopes(self, box: np.ndarray, batch: Batch, share: float) -> tuple[Any, ...]:
        slopes = []
        for (act, _), span in zip(self.network.hidden, self.spans, strict=True):
            l, u = batch.l[:, span], batch.u[:, span]
            if act is None:
                slopes.append((np.empty(0, int), np.empty(0, int), np.empty(0)))
                continue
            loose = is_bent(act, l, u)[box]
            item, neuron = np.nonzero(loose & (self.draw.random(loose.shape) < share))
            low, high = slope_range(act)
            values = np.float32(low) + self.draw.random(len(item)).astype(np.float32) * np.float32(high - low)
            slopes.append((item, neuron, np.clip(values.astype(np.float32), low, high).astype(float)))
        return tuple(slopes)

    def _region(self, lower: Any, upper: Any, polytopes: Any, axis: list[int], cut: list[float]) -> dict[str, Any]:
        slopes = [slope for item in self.items for slope in item[3]]
        self.moved.sort()
        place = "<u4" if self.graph else "<u2"
        leaf = np.iinfo(place).max
        with_beta = self.graph or self.neurons
        return {
            "lower": [str(v) for v in lower],
            "upper": [str(v) for v in upper],
            "unsafe": [
                [
                    {"coefficients": [str(c) for c in r.coefficients], "bound": str(r.bound), "strict": r.strict}
                    for r in rows
                ]
                for rows in polytopes
            ],
            **({"intervals": []} if self.graph else {}),
            "axis": column([leaf if at == LEAF else at for at in axis], place),
            "cut": column(cut, "<f8"),
            "faces": {
                "node": column([m[0] for m in self.moved], "<u4"),
                "face": column([m[1] for m in self.moved], place),
                "at": column([m[2] for m in self.moved], "<f8"),
            },
            "items": {
                "node": column([item[0] for item in self.items], "<u4"),
                "polytope": column([item[1] for item in self.items], "<u2"),
                "multiplier": column([m for item in self.items for m in item[2]], "<f4"),
                "slopes": column([len(item[3]) for item in self.items], "<u4"),
                "neuron": column([neuron for neuron, _ in slopes], place),
                "slope": column([slope for _, slope in slopes], "<f4"),
                **({"beta": column([beta for item in self.items for beta in item[4]], "<f4")} if with_beta else {}),
            },
        }


def _open(act: Activation | None, l: np.ndarray, u: np.ndarray) -> np.ndarray:
    return ~(l >= u) if act is None else is_bent(act, l, u)


def _empty_region(polytopes: Sequence[tuple[Row, ...]]) -> Region:
    none, root = np.zeros(0, dtype=np.intp), np.zeros(1, dtype=np.intp)
    return Region(
        lower=(), upper=(), polytopes=tuple(polytopes), sizes=none, axis=root + LEAF, rank=none, cut=none * 0.5,
        face_node=none, face=none, face_at=none * 0.5, item_node=none, item_polytope=none, multiplier=none * 0.5,
        multiplier_start=none, slope_start=none, neuron=none, slope=none * 0.5, parent=root, sides=root,
        beta=none * 0.5, beta_start=none,
    )  # fmt: skip


def certificate(
    net: Path, props: Sequence[Path], semantics: str = "real", most: int = 3000, graph: bool = False, **how: Any
) -> dict[str, Any] | None:
    """The certificate's content for properties that hold, of a chain or a graph; None where the producer gives up."""
    net_file = files.read_file(net)
    network = read_graph(net_file) if graph else read_network(net_file)
    proofs = []
    for path in props:
        file = files.read_file(path)
        boxes: dict[Any, list[tuple[Row, ...]]] = {}
        for pair in read_statement(file).pairs:
            key = tuple(v for v, _ in pair.lower), tuple(v for v, _ in pair.upper)
            boxes.setdefault(key, []).append(tuple(row.scaled()[0] for row in pair.rows))
        producer = Producer(network, semantics == "float32", **how)
        regions = [producer.region(*key, rows, most) for key, rows in boxes.items()]
        if None in regions:
            return None
        proofs.append({"property": about(path), "verdict": "proved", "regions": regions})
    return head(net, semantics, proofs, 3 if graph else 2 if how.get("neurons") else 1)


def about(path: Path) -> dict[str, str]:
    return {"name": path.stem, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def head(net: Path, semantics: str, proofs: list[Any], version: int = 1) -> dict[str, Any]:
    needed = activation_kinds(read_network(files.read_file(net))) if semantics == "float32" else set()
    return {
        "format": "birdnn certificate",
        "version": version,
        "tool": "tests",
        "network": {"file": net.name, "sha256": hashlib.sha256(net.read_bytes()).hexdigest()},
        "semantics": semantics,
        "assumptions": {kind: ASSUMED_ERROR[kind] for kind in sorted(needed) if kind in ASSUMED_ERROR},
        "proofs": proofs,
    }


def write(path: Path, content: Any) -> Path:
    """The file of a certificate."""
    path.write_bytes(gzip.compress(json.dumps(content).encode(), 1))
    return path
