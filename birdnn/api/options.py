"""What the functions may be told, by name. Defaults are those of the records that carry them on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from birdnn.errors import InputError
from birdnn.records import AskedDevice, BoundName, Decision, Form, Formula, OptimiserName, Pairing, Prefer, Units
from birdnn.records.options import first_objection, rule_in_words
from birdnn.records.ranges import out_of_range
from birdnn.rounding import Semantics

_Place = str | Path
_Texts = tuple[str, ...] | list[str]


class FalsifyOptions(TypedDict, total=False):
    """Options of `birdnn.falsify`.

    Attributes:
        timeout_s: seconds for all properties together; without it ten rounds of attack on each.
        units: what the properties speak; ``"raw"`` needs a network that brings its scaling (NNet, or known to a suite).
        seed: of every random draw.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where one is there and the network large.
    """

    timeout_s: float | None
    units: Units
    seed: int
    device: AskedDevice


class VerifyOptions(TypedDict, total=False):
    """Options of `birdnn.verify`.

    Attributes:
        timeout_s: seconds for all properties together, reading included; None: no limit.
        memory_gib: for the open boxes of the search; None: 4.
        units: what the properties speak; ``"raw"`` needs a network that brings its scaling (NNet, or known to a suite).
        semantics: what a proof speaks about: ``"real"``, the network over the reals, or ``"float32"``, as executed;
            None: real, or what a query of VNN-LIB 2.0 is over.
        seed: of every random draw.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where one is there and the network large.
        bound: whose bounds prove: ``"own"`` or ``"auto_lirpa"``.
        crosscheck: engines that are asked the same question: ``"onnxruntime"``, ``"auto_lirpa"``, ``"marabou"``.
        crosscheck_timeout_s: for each of them and property.
        resume: a folder where what long proofs have reached is kept, each minute and at a limit, and gone on with.
        ray: address of a Ray cluster, ``"HOST:PORT"`` or ``"auto"``, whose nodes share large proofs.
    """

    timeout_s: float | None
    memory_gib: float | None
    units: Units
    semantics: Semantics | None
    seed: int
    device: AskedDevice
    bound: BoundName
    crosscheck: _Texts
    crosscheck_timeout_s: float
    resume: _Place | None
    ray: str | None


class EstimateOptions(TypedDict, total=False):
    """Options of `birdnn.estimate`.

    Attributes:
        epsilon: the bound that is wanted, a share of the measure; None: 1e-5, or whatever `samples` show.
        delta: error probability of all statements of the call together.
        samples: draws for each property; None: as many as `epsilon` needs.
        attempts: how many such calls share `delta`.
        anytime: stop as soon as the bound is reached, or known to be missed.
        scenario: an affine function below the margin on all but `epsilon` of the measure.
        splitting: estimate a small probability by multilevel splitting.
        suite, as_name: properties of a suite (``"acasxu"`` or a file), and which network of it this is.
        units, measure_units: what the properties and the measure speak: ``"normalised"`` or ``"raw"``.
        seed: of every random draw.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where one is there and the network large.
    """

    epsilon: float | None
    delta: float
    samples: int | None
    attempts: int
    anytime: bool
    scenario: bool
    splitting: bool
    suite: str | None
    as_name: str | None
    units: Units
    measure_units: Units
    seed: int
    device: AskedDevice


class LocalizeOptions(TypedDict, total=False):
    """Options of `birdnn.localize`.

    Attributes:
        form: of responsibility: ``"mean"``, independent of scale, or ``"sum"``, the paper's.
        top: how many neurons to name.
        suite, as_name, units, seed: as for `birdnn.estimate`.
    """

    form: Form
    top: int | None
    suite: str | None
    as_name: str | None
    units: Units
    seed: int


class _BlocksOptions(TypedDict, total=False):
    chosen: Mapping[str, tuple[str, ...]]
    formula: Formula
    radius: float | None
    examples: int
    device: AskedDevice
    seed: int


class LocalizeBlocksOptions(_BlocksOptions, total=False):
    """Options of `birdnn.localize_blocks`.

    Attributes:
        chosen: name of a block -> names of its nodes, or of the first and the last; the rest is divided as ever.
        formula: how counts of examples become suspiciousness: ``"ochiai"``, ``"tarantula"`` or ``"dstar"``.
        radius: of adversarial neighbours, network units; 0: none; None: 1 % of the range of the examples' values.
        examples: how many failing and how many passing ones are looked at, at most.
        top: how many neurons to name for each block.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where one is there and the network large.
        seed: of every random draw.
    """

    top: int


class RepairBlocksOptions(_BlocksOptions, total=False):
    """Options of `birdnn.repair_blocks`.

    Attributes:
        timeout_s: seconds for everything together; None: no limit.
        block: the block to repair; None: of the two most suspicious the one that a short training helps more.
        compare: repair by the other methods as well, and tell how they fare.
        epochs: passes over the examples at most, for each method.
        report: write ``repair.json`` even where no network is written.
        chosen, formula, radius, examples, device, seed: as for `birdnn.localize_blocks`.
    """

    timeout_s: float | None
    block: str | None
    compare: bool
    epochs: int
    report: bool


class RepairOptions(TypedDict, total=False):
    """Options of `birdnn.repair`.

    Attributes:
        timeout_s: seconds for everything together; None: no limit.
        domain: the inputs that the network is meant for: a file, two corners (lower, upper) in network units, or
            ``"property"`` for the regions of `props`. Without it the suite or the NNet header says it, or behaviour is
            measured on what is at hand.
        data, test: inputs on which behaviour is measured and candidates are compared, and others that are looked at
            once, in the end: a file (.npz, .csv), or arrays ``(x, y)``, where y, which may be None, says which output
            ought to decide.
        decision: which output decides: ``"argmin"``, ``"argmax"`` or ``"none"``; None: the suite says it, else the
            properties, where they compare outputs.
        suite, as_name: properties of a suite (``"acasxu"`` or a file), and which network of it this is.
        method: ``"auto"``, ``"retrain"`` or ``"finetune"``.
        min_agreement, max_mae: what has to be kept, see `birdnn.RepairRequest`.
        prefer: what decides between the candidates of ``"auto"``.
        max_change: how far the values of a layer may move, as a share of their size (Euclidean norms).
        max_difference: how far outputs may be from the original's anywhere in the domain, proved; see
            `birdnn.RepairRequest`.
        no_ties: never tie outputs to each other.
        optimiser, top, alpha: of ``"finetune"``.
        pairing: of ``"retrain"``.
        points_tolerance, points_radius: of points, network units.
        samples: fresh points that are drawn after the proofs, of each proved property, also of those that apply and
            were not asked for; None: a million of each that was asked for.
        semantics: what a proof speaks about; None: ``"float32"``, where the network is, and a chain of layers.
        report: localise as well, and write ``repair.json`` even where no network is written: what ``birdnn report``
            makes the page of.
        as_many: prove as many properties as possible; one that cannot be repaired does not cost the others.
        resume, ray, units, seed, device, crosscheck, crosscheck_timeout_s: as for `birdnn.verify`.
    """

    resume: _Place | None
    ray: str | None
    timeout_s: float | None
    domain: str | Path | tuple[Any, Any] | None
    decision: Decision | None
    suite: str | None
    as_name: str | None
    method: Literal["auto", "retrain", "finetune"]
    data: str | Path | tuple[Any, Any] | None
    test: str | Path | tuple[Any, Any] | None
    min_agreement: float | None
    max_mae: float | None
    max_change: float
    max_difference: float | None
    no_ties: bool
    prefer: Prefer
    optimiser: OptimiserName
    top: int | None
    alpha: float
    pairing: Pairing
    points_tolerance: float | None
    points_radius: float
    samples: int | None
    semantics: Semantics | None
    report: bool
    as_many: bool
    units: Units
    seed: int
    device: AskedDevice
    crosscheck: _Texts
    crosscheck_timeout_s: float


class RuleOptions(TypedDict, total=False):
    """Options of `birdnn.rule`.

    Attributes:
        units: of all numbers; ``"raw"`` needs a network that brings its scaling (NNet, or known to a suite).
        suite, as_name: whose names and domain hold, as for `birdnn.repair`.
        name: of the property, as reports print it; ``"rule"`` without it.
    """

    units: Units
    suite: str | None
    as_name: str | None
    name: str


Kind = Literal["falsify", "verify", "estimate", "localize", "localize_blocks", "repair", "repair_blocks", "rule"]

OPTIONS: Mapping[Kind, type] = {
    "falsify": FalsifyOptions,
    "verify": VerifyOptions,
    "estimate": EstimateOptions,
    "localize": LocalizeOptions,
    "localize_blocks": LocalizeBlocksOptions,
    "repair": RepairOptions,
    "repair_blocks": RepairBlocksOptions,
    "rule": RuleOptions,
}
"""Function -> its options."""


def checked_options(kind: Kind, options: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    """Options, each of the type and in the range that it must have, and each counting beside the others.

    Args:
        kind: of which call.
        options: as said.
        arguments: what was said besides and options may need.

    Raises:
        TypeError: there is no such option.
        InputError: a value is out of its range, or an option would change nothing.
    """
    known = OPTIONS[kind].__annotations__
    # pydantic would pass over a name that it does not know
    for name in options:
        if name not in known:
            raise TypeError(f"{kind}() has no option {name!r}; it has {', '.join(known)}")
    try:
        found: dict[str, Any] = TypeAdapter(OPTIONS[kind]).validate_python(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, told = str(first["loc"][0]), first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"{kind}(): {where} is {options[where]!r}; {told}") from None
    require_in_range(kind, found)
    require_each_counts(kind, found | arguments)
    if "crosscheck" in found:
        found["crosscheck"] = tuple(found["crosscheck"])
    if found.get("resume") is not None:
        found["resume"] = Path(found["resume"])
    return found


def require_in_range(kind: str, said: Mapping[str, Any]) -> None:
    """Refuse a number that an option does not take, in the words of the command line.

    Raises:
        InputError: there is one.
    """
    found = out_of_range(kind, said)
    if found is not None:
        raise InputError(f"{kind}(): {found[0]} is {said[found[0]]!r}; {found[1]}")


def require_each_counts(kind: str, said: Mapping[str, Any]) -> None:
    """Refuse an option that would change nothing beside the others, as the command line does.

    Raises:
        InputError: there is one.
    """
    found = first_objection(kind, said)
    if found is not None:
        told = rule_in_words(found[1], lambda name, value: f"{name}={value!r}" if value else name)
        raise InputError(f"{kind}(): {found[0]} {told}")
