"""Two network files, read, and what is known about both."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.formats.suite import Suite
from birdnn.network import Network
from birdnn.pipeline.case import Case, Subject
from birdnn.pipeline.claims import network_semantics
from birdnn.pipeline.load import Loaded, load_network
from birdnn.pipeline.reading import read_case
from birdnn.printable import counted
from birdnn.records import CaseFiles, CompareRequest
from birdnn.rounding import Semantics
from birdnn.sample import evaluate
from birdnn.spec import Region, Scaling

# relative and absolute: headers hold decimals, rounded by whoever wrote them
_SAME_SCALING = 1e-6
DOMAIN = "domain"
"""The place that is no property's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where networks are compared: the domain, or a property's regions."""

    name: str
    regions: tuple[Region, ...]
    subject: Subject | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A and B.

    Attributes:
        request: what is asked.
        before, after: as read.
        nets: float32 copies of both.
        case: what applies, read with the one that a suite or a header knows.
        semantics: of proofs about both.
        notes: what was inferred, one sentence each.
    """

    request: CompareRequest
    before: Loaded
    after: Loaded
    nets: tuple[Network, Network]
    case: Case
    semantics: Semantics
    notes: tuple[str, ...]

    def places(self) -> tuple[Place, ...]:
        """The domain where it is known, then the regions of each property."""
        found = [] if self.case.corners is None else [Place(name=DOMAIN, regions=(_box_region(*self.case.corners),))]
        subjects = (Place(name=s.prop.name, regions=s.prop.regions, subject=s) for s in self.case.subjects)
        return (*found, *subjects)

    def run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs of both in float32, (n, outputs) each, for inputs (n, inputs).

        Raises:
            MismatchError: one of them is no number: there is nothing to compare.
        """
        first, second = (evaluate(net, x) for net in self.nets)
        for name, loaded, y in (("A", self.before, first), ("B", self.after, second)):
            if not bool((fine := y.isfinite().all(1)).all()):
                where = ", ".join(f"{v:.6g}" for v in x[~fine][0].tolist()[:8])
                raise MismatchError(f"{loaded.path}: network {name} has no finite output at the input {where}")
        return first, second


def read_pair(request: CompareRequest) -> Pair:
    """Read both networks and everything else that the request names.

    Raises:
        InputError: a file is unusable, the networks have other numbers of inputs or outputs or other units, or a
            property does not fit.
    """
    before, after = load_network(request.before), load_network(request.after)
    _require_same_interface(before, after)
    speaker = _choose_speaker(request, before, after)
    files = CaseFiles.of(request, net=speaker.path)
    case = read_case(files, loaded=speaker, aimless=True, taken=(DOMAIN,))
    _require_same_units(case, before, after)
    props = [subject.prop for subject in case.subjects]
    kinds = {network_semantics(loaded.net, None, props) for loaded in (before, after)}
    return Pair(
        request=request,
        before=before,
        after=after,
        # copies: `float` changes a network in place
        nets=(before.net.copy().float(), after.net.copy().float()),
        case=case,
        # both are asked the same question; over the reals any network can be asked
        semantics="float32" if kinds == {"float32"} else "real",
        notes=_inferred_notes(request, case, before, after),
    )


def _require_same_interface(before: Loaded, after: Loaded) -> None:
    for what in ("input", "output"):
        one, other = (int(getattr(loaded.net, f"n_{what}s")) for loaded in (before, after))
        if one != other:
            raise MismatchError(
                f"{before.path} has {counted(one, what)}, {after.path} has {other}; "
                "only networks with the same numbers of inputs and outputs can be compared"
            )


def _choose_speaker(request: CompareRequest, before: Loaded, after: Loaded) -> Loaded:
    """Whose domain, units and properties are taken: that which the suite knows, else that which brings a header."""
    if request.as_name is not None:
        return before
    if request.suite is not None:
        suite = Suite.load(request.suite)
        known = [loaded for loaded in (before, after) if suite.recognise(loaded.net) is not None]
    else:
        known = [loaded for loaded in (before, after) if loaded.known is not None]
    headed = [loaded for loaded in (before, after) if loaded.nnet is not None]
    return next(iter((*known, *headed, before)))


def _require_same_units(case: Case, before: Loaded, after: Loaded) -> None:
    """Numbers that mean something else in both networks cannot be compared."""
    scalings: list[tuple[Path, Scaling]] = []
    for loaded in (case.loaded, before, after):
        if loaded.nnet is not None and loaded.nnet.scaling is not None:
            scalings.append((loaded.path, loaded.nnet.scaling))
        elif loaded.known is not None:
            scalings.append((loaded.path, loaded.known[0].scaling))
    for path, scaling in scalings[1:]:
        one, other = (torch.tensor(_scaling_numbers(each), dtype=torch.float64) for each in (scalings[0][1], scaling))
        if not torch.allclose(one, other, rtol=_SAME_SCALING, atol=_SAME_SCALING):
            raise MismatchError(
                f"{scalings[0][0]} and {path} normalise their inputs or outputs differently: the same numbers mean "
                "different things to them, and comparing them says nothing"
            )


def _box_region(lower: Tensor, upper: Tensor) -> Region:
    """A region in which nothing is forbidden."""
    # exact: every float64 is a fraction
    low, high = (tuple(Fraction(float(value)) for value in side) for side in (lower, upper))
    return Region(exact_lower=low, exact_upper=high, unsafe=())


def _scaling_numbers(scaling: Scaling) -> list[float]:
    parts = (*scaling.input_means, *scaling.input_ranges, scaling.output_mean, scaling.output_range)
    return [float(value) for value in parts]


def _inferred_notes(request: CompareRequest, case: Case, before: Loaded, after: Loaded) -> tuple[str, ...]:
    said = []
    for name, loaded in (("A", before), ("B", after)):
        if loaded.known is not None:
            said.append(f"The weights of {name} are those of {loaded.known[1].name} in suite {loaded.known[0].name}.")
    if case.suite is not None and case.suite.by == "--as":
        said.append(f"Taken as {case.suite.entry} of suite {case.suite.name} (--as).")
    if before.known and after.known and before.known[1] != after.known[1] and case.suite is not None:
        said.append(f"What applies was taken from {case.suite.entry}.")
    if case.suite is not None and case.suite.not_named and request.suite is None:
        others = ", ".join(case.suite.not_named)
        said.append(f"Applicable, compared in their regions and not decided: {others}; --suite decides them.")
    unread = [note for note in case.notes if note not in case.of_suite]
    return (*said, *unread)
