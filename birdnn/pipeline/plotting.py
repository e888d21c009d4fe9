"""`plot map` and `plot line` on files: read them, find a counterexample, compute what is drawn."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from birdnn.certify.read import read_proof
from birdnn.errors import FormatError, MismatchError
from birdnn.pipeline.claims import network_semantics
from birdnn.pipeline.facts import versions
from birdnn.pipeline.load import Loaded, header_notes, load_network, load_property, property_statement
from birdnn.pipeline.mapping import Covers, advisory_map, covers_of, line_through, margin_line
from birdnn.pipeline.planes import (
    Floats,
    Framing,
    Quantity,
    Scene,
    input_called,
    most_influential,
    plane_of,
    shown_quantities,
)
from birdnn.pipeline.reading import known_network
from birdnn.pipeline.recognising import Known, recognise_properties
from birdnn.printable import counted
from birdnn.records import (
    AdvisoryMap,
    Decision,
    MarginLine,
    PlotOutcome,
    PlotRequest,
    Progress,
    Proved,
    Source,
    Unwatched,
    Violated,
    Watch,
    Witness,
)
from birdnn.spec import Property
from birdnn.verify import SearchSettings, falsify, verify

_ROUNDS = 3
_ATTACK_S = 30.0


def plot_map(request: PlotRequest, *, watch: Watch | None = None) -> PlotOutcome:
    """What networks decide over two inputs, where a property is violated, and what a proof covers.

    Raises:
        InputError: a file is unusable, does not fit, or an option names what is not there.
    """
    work = _Plotting(request, watch or Unwatched())
    return work.outcome(work.map())


def plot_line(request: PlotRequest, *, watch: Watch | None = None) -> PlotOutcome:
    """The margin of a property along a line.

    Raises:
        InputError: as for `plot_map`.
    """
    work = _Plotting(request, watch or Unwatched())
    return work.outcome(work.line())


def scene_of(
    before: Loaded, after: Loaded | None, prop: Property | None, text: str, known: Known | None, decision: Decision
) -> Scene:
    """What pictures are made of, with the names and the domain that the suite or the NNet header gives."""
    quantities = shown_quantities(before, known)
    plain = tuple(f"y_{i}" for i in range(before.net.n_outputs))
    domain, encounter = None if before.nnet is None else before.nnet.domain(), None
    if known is not None:
        domain, said = known[0].domain(), known[0].encounter
        by_name = {q.name: q for q in quantities}
        if said is not None:
            heading = None if said.heading is None else by_name[said.heading]
            encounter = by_name[said.distance], by_name[said.bearing], heading
    return Scene(
        before=before,
        after=after,
        prop=prop,
        text=text,
        decision=decision,
        quantities=quantities,
        outputs=plain if known is None else tuple(q.name for q in known[0].outputs),
        domain=domain,
        encounter=encounter,
    )


@dataclass(slots=True, eq=False)
class _Plotting:
    """One command."""

    request: PlotRequest
    watch: Watch
    started: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)
    scene: Scene = field(init=False)

    def __post_init__(self) -> None:
        request = self.request
        self.watch.update(Progress(phase=f"reading {request.net.name}"))
        before = load_network(request.net)
        after = None if request.after is None else load_network(request.after)
        known = known_network(before, request.suite, request.as_name)
        if after is not None and (after.net.n_inputs, after.net.n_outputs) != (
            before.net.n_inputs,
            before.net.n_outputs,
        ):
            sizes = f"{counted(after.net.n_inputs, 'input')} and {counted(after.net.n_outputs, 'output')}"
            raise MismatchError(
                f"{request.after} has {sizes}, {request.net} {before.net.n_inputs} and {before.net.n_outputs}: "
                "only networks of the same size are drawn side by side"
            )
        if known is not None:
            # the suite that was named says the scaling too, where the file has none
            before = replace(before, known=known)
            self.notes.append(f"Inputs, outputs and units are those of {known[1].name} in suite {known[0].name}.")
            self.notes += header_notes(before, ())
        prop = None if request.prop is None else load_property(request.prop, before, request.units)
        decision = request.decision or ("none" if known is None else known[0].decision)
        self.scene = scene_of(
            before, after, prop, "" if prop is None else self._property_text(known, prop), known, decision
        )

    def _property_text(self, known: Known | None, prop: Property) -> str:
        # whether it is the suite's property is told by what it says, not by its file's name
        found = recognise_properties(known, [prop])
        self.notes += found.notes
        return found.worded(known, 0, property_statement(prop))

    # --- a map

    def map(self) -> AdvisoryMap:
        request = self.request
        axes = self._choose_axes()
        at, source, witness = self._base_point({q.input for q in axes})
        framing = Framing(
            x_range=request.x_range,
            y_range=request.y_range,
            view=request.view,
            geometry=request.geometry,
            cells=request.cells,
        )
        plane = plane_of(self.scene, axes, at, source, framing)
        covers = self._proof_covers()
        self.watch.update(Progress(phase=f"evaluating {plane.rows} x {plane.columns} cells"))
        found = advisory_map(self.scene, plane, marks=() if witness is None else (witness,), covers=covers)
        if self.scene.prop is not None and not found.region:
            self.notes.append(f"The plane does not meet the input region of {found.property}: see --at.")
        if self.scene.decision == "none":
            self.notes.append("Nothing says which output decides: give --decision argmin or argmax, or --suite.")
        return found

    def _choose_axes(self) -> tuple[Quantity, Quantity]:
        request, scene = self.request, self.scene
        if len(scene.quantities) < 2:
            raise MismatchError("the network has one input: a map needs two; see birdnn plot line")
        named = [
            None if text is None else input_called(text, scene.quantities, option)
            for text, option in ((request.x, "--x"), (request.y, "--y"))
        ]
        if named[0] is not None and named[1] is not None:
            return named[0], named[1]
        # an encounter has its usual view; else what the property depends on most, else the first two inputs
        offered = None if scene.encounter is None else scene.encounter[:2]
        if offered is None and scene.prop is not None:
            offered = most_influential(scene, scene.prop.regions[0])
        first, second = offered or scene.quantities[:2]
        if named[0] is None and named[1] is None:
            if scene.encounter is None:
                self.notes.append(f"Drawn over {first.name} and {second.name}: --x and --y choose others.")
            return first, second
        said = named[0] or named[1]
        # one axis was named: the other is the best of the offered ones that is not the same
        other = next(q for q in (first, second, *scene.quantities) if q != said)
        return (said, other) if named[0] is not None else (other, said)  # type: ignore[return-value]

    # --- where

    def _base_point(self, varying: set[int]) -> tuple[tuple[float, ...], Source, Witness | None]:
        """A point of the picture, where it comes from, and a counterexample that was looked for."""
        words = [text for text in self.request.at if "=" not in text]
        values = dict(self._read_value(text) for text in self.request.at if "=" in text)
        if len(words) > 1 or any(word not in ("counterexample", "middle") for word in words):
            raise MismatchError(f"--at {words[-1]}: say counterexample, middle, or NAME=VALUE")
        if words == ["counterexample"] and self.scene.prop is None:
            raise MismatchError("--at counterexample: of which property? Name it with --prop")
        fixed = set(range(len(self.scene.quantities))) - varying
        told = bool(fixed) and fixed <= set(values)  # nothing is left for a counterexample to say
        wanted = self.scene.prop is not None and words != ["middle"] and not told
        witness = self._find_counterexample() if wanted else None
        if witness is None and words == ["counterexample"]:
            raise MismatchError(
                f"--at counterexample: {_ROUNDS} rounds of attack found none; say middle, or NAME=VALUE"
            )
        # float64, of float32 values: marks are recognised by equality
        at = np.array(self._middle_point(varying) if witness is None else witness.x)
        for index, value in values.items():
            # as the network takes it, so that the title says what was computed
            at[index] = np.float32(value)
        source: Source = "given" if values else "middle" if witness is None else "counterexample"
        return tuple(float(v) for v in at), source, witness

    def _read_value(self, text: str) -> tuple[int, float]:
        name, _, number = text.partition("=")
        quantity = input_called(name, self.scene.quantities, "--at")
        try:
            value = float(number)
        except ValueError:
            # refused below with infinity and NaN, which `float` reads as well
            value = float("nan")
        if not np.isfinite(value):
            raise MismatchError(f"--at {text}: a number is expected after the sign, as in {quantity.name}=0.5")
        return quantity.input, quantity.network(value)

    def _find_counterexample(self) -> Witness | None:
        scene = self.scene
        if scene.prop is None:
            return None
        self.watch.update(Progress(phase=f"looking for a counterexample of {scene.prop.name}"))
        limits = SearchSettings(timeout_s=_ATTACK_S, seed=self.request.seed)
        # the original first: what a repair removed is to be seen; of the repaired one only what is left
        for loaded in (scene.before, *(() if scene.after is None else (scene.after,))):
            verdict = falsify(
                loaded.net, scene.prop, settings=limits, replays=loaded.replays, watch=self.watch, rounds=_ROUNDS
            )
            if isinstance(verdict, Violated):
                return verdict.witness
        self.notes.append(f"No counterexample of {scene.prop.name} was found: drawn through the middle of its region.")
        return None

    def _middle_point(self, varying: set[int]) -> list[float]:
        """The middle of the property's first region, else of the domain; a float32 point of it."""
        scene = self.scene
        if scene.prop is not None:
            region = scene.prop.regions[0]
            lower, upper = region.float32_box()
            # not (lower + upper) / 2, whose sum may overflow; rounded into the box, where its ends are no float32
            middle = (region.lower + (region.upper - region.lower) / 2).float()
            return [float(v) for v in torch.minimum(torch.maximum(middle, lower), upper)]
        if scene.domain is None:
            given = {index for index, _ in map(self._read_value, [t for t in self.request.at if "=" in t])}
            if missing := [q.name for q in scene.quantities if q.input not in given | varying]:
                names = ", ".join(missing[:6])
                raise MismatchError(f"nothing says where to cut: give --prop, or --at NAME=VALUE for {names}")
            return [0.0] * len(scene.quantities)
        lower, upper = scene.domain
        return [float(v) for v in (lower + (upper - lower) / 2).float()]

    # --- proofs

    def _proof_covers(self) -> Covers:
        request, prop = self.request, self.scene.prop
        if request.certificate is None and request.prove_s is None:
            return {}
        if prop is None:
            raise MismatchError("boxes of a proof are drawn of a property: name it with --prop")
        if request.certificate is not None:
            return self._stored_covers(prop)
        found = {}
        for loaded in (self.scene.before, *(() if self.scene.after is None else (self.scene.after,))):
            self.watch.update(Progress(phase=f"proving {prop.name} for {loaded.path.name}"))
            limits = SearchSettings(
                timeout_s=request.prove_s or 0.0,
                seed=request.seed,
                semantics=network_semantics(loaded.net, None, [prop]),
                record=True,
            )
            verdict = verify(loaded.net, prop, settings=limits, replays=loaded.replays, watch=self.watch)
            if isinstance(verdict, Proved) and verdict.proofs:
                found[loaded.net.sha256] = covers_of(prop, verdict.proofs)
                continue
            unproved = "violated" if isinstance(verdict, Violated) else "not proved in time"
            word = "proved without boxes that are recorded" if isinstance(verdict, Proved) else unproved
            self.notes.append(f"{prop.name} is {word} for {loaded.path.name}: no boxes are drawn there.")
        return found

    def _stored_covers(self, prop: Property) -> Covers:
        path = self.request.certificate
        if path is None:
            return {}
        stored = read_proof(path, prop)
        nets = [loaded for loaded in (self.scene.before, self.scene.after) if loaded is not None]
        # boxes of another network's proof would be drawn over a network for which they prove nothing
        if stored.net_sha256 not in {loaded.net.sha256 for loaded in nets}:
            names = " or ".join(loaded.path.name for loaded in nets)
            raise FormatError(str(path), "", f"speaks about another network (sha256 {stored.net_sha256}) than {names}")
        if not stored.regions:
            raise FormatError(str(path), "", f"holds a counterexample of {prop.name}, no proof: it has no boxes")
        self.notes.append("The certificate's boxes are drawn as they are; birdnn check proves them again.")
        return {stored.net_sha256: stored.regions}

    # --- a line

    def line(self) -> MarginLine:
        request, scene = self.request, self.scene
        prop = scene.prop
        if prop is None:
            raise MismatchError("a margin is that of a property: name it with --prop")
        if (request.start is None) != (request.end is None):
            raise MismatchError("a line has two ends: give both --from and --to, or neither")
        if request.start is not None and request.end is not None:
            # the ends say it all: no counterexample is looked for
            return margin_line(
                scene, prop, self._read_point(request.start, "--from"), self._read_point(request.end, "--to")
            )
        along = None if request.along is None else input_called(request.along, scene.quantities, "--along")
        at, _, witness = self._base_point(set())
        if along is None:
            region = next((r for r in prop.regions if r.contains(at)), prop.regions[0])
            start, end = line_through(scene, region, np.array(at))
            return margin_line(scene, prop, start, end, mark=witness)
        start, end = np.array(at), np.array(at)
        low, high = scene.shown_domain(along) or self._region_range(prop, along)
        # after the domain: a range that was given replaces it
        if request.x_range is not None:
            low, high = request.x_range
        if not low < high:
            raise MismatchError(f"{along.name} would go from {low:g} to {high:g}: say its range with --x-range")
        start[along.input], end[along.input] = along.network(low), along.network(high)
        return margin_line(scene, prop, start, end, mark=witness, along=along.input)

    def _region_range(self, prop: Property, quantity: Quantity) -> tuple[float, float]:
        ends = [(float(r.lower[quantity.input]), float(r.upper[quantity.input])) for r in prop.regions]
        return quantity.shown(min(low for low, _ in ends)), quantity.shown(max(high for _, high in ends))

    def _read_point(self, values: tuple[float, ...], option: str) -> Floats:
        quantities = self.scene.quantities
        if len(values) != len(quantities):
            names = ", ".join(q.name for q in quantities[:12])
            raise MismatchError(
                f"{option} has {len(values)} numbers; the network has {len(quantities)} inputs: {names}"
            )
        # as float32, so that an end that is typed in is an input that can be run
        return np.array([float(np.float32(q.network(v))) for q, v in zip(quantities, values, strict=True)])

    def outcome(self, drawn: AdvisoryMap | MarginLine) -> PlotOutcome:
        return PlotOutcome(
            request=self.request,
            drawn=drawn,
            wall_s=time.monotonic() - self.started,
            versions=versions(),
            notes=tuple(self.notes),
            interrupted=self.watch.stopped(),
        )
