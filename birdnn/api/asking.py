"""The commands as functions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import nn
from typing_extensions import Unpack

from birdnn.api.loading import File, NetworkLike, PropertyLike, load_network, load_property, path_of
from birdnn.api.options import (
    EstimateOptions,
    FalsifyOptions,
    LocalizeOptions,
    RepairOptions,
    VerifyOptions,
    checked_options,
    require_in_range,
)
from birdnn.api.stored import Stored
from birdnn.certify.check import Settings
from birdnn.errors import DisagreementError, InputError, MismatchError
from birdnn.network import Network
from birdnn.patterns import matching_files
from birdnn.pipeline.checking import check_files
from birdnn.pipeline.deciding import falsify_files, verify_files
from birdnn.pipeline.estimating import estimate_files
from birdnn.pipeline.localising import localize_files
from birdnn.pipeline.relating import falsify_related, verify_related
from birdnn.pipeline.repairing import repair_files
from birdnn.printable import counted
from birdnn.records import (
    CheckOutcome,
    EstimateOutcome,
    EstimateRequest,
    LocalizeOutcome,
    LocalizeRequest,
    PropertyRepair,
    RepairRequest,
    VerifyOutcome,
    VerifySettings,
    Watch,
)
from birdnn.spec import Property

PropertiesLike: TypeAlias = PropertyLike | Sequence[PropertyLike]


def verify(
    net: NetworkLike | Mapping[str, NetworkLike],
    props: PropertiesLike,
    *,
    certificate: File | None = None,
    watch: Watch | None = None,
    **options: Unpack[VerifyOptions],
) -> VerifyOutcome:
    """Decide properties: look for a counterexample, then prove by complete search.

    Args:
        net: a file, a loaded network, or a torch module that takes (batch, n_inputs). For queries about several
            networks, each by its name in the query: ``{"f": "A.onnx", "g": "B.onnx"}``.
        props: one property or several; files, or loaded ones. Queries about several networks are files.
        certificate: where to write what was decided for `birdnn.check`; networks and properties must be files.
        watch: follows the search and may stop it.
        options: see `birdnn.api.options.VerifyOptions`.

    Returns:
        One verdict for each property, in order: `birdnn.Proved`, `birdnn.Violated` with a replayed counterexample, or
        `birdnn.Unknown` with the reason. What has no file is named without a folder.

    Raises:
        InputError: a file is unusable, a property does not fit the network, an option is out of its range.
        OutputError: the certificate cannot be written.
        DisagreementError: engines contradict each other.

    >>> import birdnn
    >>> outcome = birdnn.verify("demo.onnx", "prop_1.vnnlib", timeout_s=60)
    >>> outcome.verdicts[0].verdict
    Proved(boxes=1, arithmetic='float64, rounding accounted for; over the reals')
    """
    said = checked_options("verify", options)
    if isinstance(net, Mapping):
        place = None if certificate is None else Path(certificate)
        with temporary_store() as stored:
            nets, paths = _stored_related_files(stored, net, props)
            if certificate is not None:
                _require_own_files(stored, (*nets.values(), *paths))
            outcome = verify_related(nets, paths, settings=VerifySettings(**said, certificate=place), watch=watch)
        if outcome.disagreement:
            raise DisagreementError(outcome.disagreement)
        return _verdicts_with_shown_paths(outcome, stored)
    with temporary_store() as stored:
        files = _stored_files(stored, net, props)
        if certificate is not None:
            _require_own_files(stored, (files[0], *files[1]))
        settings = VerifySettings(**said, certificate=None if certificate is None else Path(certificate))
        outcome = verify_files(*files, settings=settings, watch=watch)
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    return _verdicts_with_shown_paths(outcome, stored)


def falsify(
    net: NetworkLike | Mapping[str, NetworkLike],
    props: PropertiesLike,
    *,
    watch: Watch | None = None,
    **options: Unpack[FalsifyOptions],
) -> VerifyOutcome:
    """Look for counterexamples, and never prove anything.

    Arguments, result and errors are those of `birdnn.verify`; options: see `birdnn.api.options.FalsifyOptions`.

    >>> import birdnn
    >>> outcome = birdnn.falsify("demo.onnx", "prop_8.vnnlib")
    >>> type(outcome.verdicts[0].verdict).__name__
    'Violated'
    """
    said = checked_options("falsify", options)
    with temporary_store() as stored:
        if isinstance(net, Mapping):
            nets, paths = _stored_related_files(stored, net, props)
            outcome = falsify_related(nets, paths, settings=VerifySettings(**said), watch=watch)
            return _verdicts_with_shown_paths(outcome, stored)
        files = _stored_files(stored, net, props)
        outcome = falsify_files(*files, settings=VerifySettings(**said), watch=watch)
    return _verdicts_with_shown_paths(outcome, stored)


def repair(
    net: NetworkLike,
    props: PropertiesLike = (),
    *,
    out: File,
    keep: PropertiesLike = (),
    points: File | Sequence[File] = (),
    watch: Watch | None = None,
    **options: Unpack[RepairOptions],
) -> PropertyRepair:
    """Repair a network, prove the repair, and measure what else changed.

    Args:
        net: a file, a loaded network, or a torch module that takes (batch, n_inputs); it is not changed.
        props: properties to repair; may be empty where `points` or the option `suite` say what to repair.
        out: folder for the repaired network, ``repair.json`` and the certificate, and for what has no file of its own:
            the original network and properties.
        keep: properties that must stay true.
        points: CSV files of inputs with the answer wished for.
        watch: follows the repair and may stop it: the best attempt so far is kept.
        options: see `birdnn.api.options.RepairOptions`.

    Returns:
        What was done. `result` is ``"proved"`` only if every property is proved for the file `out`, as read back; see
        `birdnn.PropertyRepair` for the rest. `birdnn.repaired_module` gives a torch module back.

    Raises:
        InputError: a file is unusable, a property does not fit the network, an option is out of its range.
        OutputError: the folder cannot be written, or holds something else under a name that is needed.
        DisagreementError: a sample violates what was proved, or engines contradict each other; all answers are on disk.

    >>> import birdnn
    >>> outcome = birdnn.repair("demo.onnx", "prop_8.vnnlib", out="repaired", domain="property")
    >>> outcome.result, outcome.properties[0].before, outcome.properties[0].after
    ('proved', 'violated', 'proved')
    """
    listed = tuple(Path(file) for file in _expand_patterns(points))
    said = checked_options("repair", options, points=listed)
    # beside the result, not in a temporary folder: repair.json names these files, and they are needed to check it
    with Stored(Path(out)) as stored:
        path, paths = _stored_files(stored, net, props, none=True)
        said["domain"] = _stored_domain(stored, said.get("domain"))
        said |= {name: _stored_inputs(stored, name, said.get(name)) for name in ("data", "test")}
        request = RepairRequest(
            net=path,
            props=paths,
            keep=tuple(stored.property(prop) for prop in _expand_patterns(keep)),
            points=listed,
            out=Path(out),
            **said,
        )
        outcome = repair_files(request, watch=watch)
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    return outcome


def estimate(
    net: NetworkLike,
    props: PropertiesLike = (),
    *,
    measure: File | npt.NDArray[np.floating[Any]] = "uniform",
    watch: Watch | None = None,
    **options: Unpack[EstimateOptions],
) -> EstimateOutcome:
    """How much of a measure of inputs violates properties, by sampling: a statement about the measure, never a proof.

    Args:
        net, props, watch: as for `birdnn.verify`; `props` may be empty where the option `suite` says them.
        measure: ``"uniform"`` on the property's region; a file of samples (.csv, .npz) or of independent marginals
            (.toml); or an array of samples, (samples, n_inputs).
        options: see `birdnn.api.options.EstimateOptions`.

    Returns:
        For each property the violations counted, an interval and a bound with its confidence.

    Raises:
        InputError: a file or a number is unusable, a property does not fit, or the measure does not reach its region.

    >>> import birdnn
    >>> found = birdnn.estimate("demo.onnx", "prop_1.vnnlib", samples=10_000).properties[0]
    >>> found.violations, f"{found.bound.epsilon:.1e}"
    (0, '7.6e-04')
    """
    said = checked_options("estimate", options)
    with temporary_store() as stored:
        path, paths = _stored_files(stored, net, props, none=True)
        given = str(stored.samples("samples", measure)) if isinstance(measure, np.ndarray) else str(measure)
        request = EstimateRequest(net=path, props=paths, measure=given, **said)
        outcome = estimate_files(request, watch=watch)
    return replace(
        outcome,
        net=shown_path(stored, outcome.net),
        request=_request_with_shown_paths(stored, replace(request, measure=shown_path(stored, given))),
        properties=tuple(replace(entry, path=shown_path(stored, entry.path)) for entry in outcome.properties),
    )


def localize(
    net: NetworkLike, props: PropertiesLike = (), *, watch: Watch | None = None, **options: Unpack[LocalizeOptions]
) -> LocalizeOutcome:
    """Which neurons behave differently where a property is violated.

    Arguments and errors are those of `birdnn.estimate`; options: see `birdnn.api.options.LocalizeOptions`.

    Returns:
        For each property the responsibility of every hidden neuron, and what fixing the most responsible ones does.

    >>> import birdnn
    >>> answer = birdnn.localize("demo.onnx", "prop_8.vnnlib").answers[0]
    >>> answer.size, len(answer.layers)
    (84, 3)
    """
    said = checked_options("localize", options)
    with temporary_store() as stored:
        path, paths = _stored_files(stored, net, props, none=True)
        request = LocalizeRequest(net=path, props=paths, **said)
        outcome = localize_files(request, watch=watch)
    return replace(
        outcome,
        net=shown_path(stored, outcome.net),
        request=_request_with_shown_paths(stored, request),
        answers=tuple(replace(entry, path=shown_path(stored, entry.path)) for entry in outcome.answers),
    )


def check(
    net: File | Mapping[str, File],
    props: File | Sequence[File],
    certificate: File,
    *,
    arithmetic: Literal["float64", "exact"] = "float64",
    sample: int | None = None,
    seed: int = 0,
) -> CheckOutcome:
    """Check a certificate by a program that shares no code with the prover, and run its counterexamples.

    Args:
        net, props, certificate: files: a certificate is bound to the content of the files that it speaks about. For
            queries about two networks, the file of each by its name in the query.
        arithmetic: ``"float64"`` accounts for its rounding, ``"exact"`` has none.
        sample: all leaves in float64, and so many of them in exact arithmetic, drawn with `seed`.

    Returns:
        `accepted` is False where the certificate was rejected; `said` tells what was checked, or the reason.

    Raises:
        InputError: a file cannot be read, they do not fit each other, or an argument is out of its range.

    >>> import birdnn
    >>> made = birdnn.verify("demo.onnx", "prop_1.vnnlib", certificate="demo.certificate.json.gz")
    >>> birdnn.check("demo.onnx", "prop_1.vnnlib", "demo.certificate.json.gz", sample=1).said
    'float64, all 1 leaves; exact, 1 of 1'
    """
    if arithmetic not in ("float64", "exact"):
        raise InputError(f"check(): arithmetic is {arithmetic!r}; 'float64' or 'exact' is expected")
    require_in_range("check", {"sample": sample, "seed": seed})
    settings = Settings(arithmetic=arithmetic, sample=sample, seed=seed)
    paths = [path_of(f"{_BOUND} a property", path) for path in _expand_patterns(props)]
    said = f"{_BOUND} a network"
    nets = {name: path_of(said, path) for name, path in net.items()} if isinstance(net, Mapping) else path_of(said, net)
    return check_files(nets, paths, path_of("the file of a certificate", certificate), settings=settings)


_BOUND = "a certificate is bound to the content of files, so that the file of"
"""Also of a repair's properties, which lie beside its result where they had none."""


@contextmanager
def temporary_store() -> Iterator[Stored]:
    """A place for what has no file, for as long as this is entered."""
    with tempfile.TemporaryDirectory(prefix="birdnn-") as folder, Stored(Path(folder)) as stored:
        yield stored


def _expand_patterns(given: Any) -> tuple[Any, ...]:
    """What was given, one by one; of a pattern the files that match."""
    # a string is a sequence too, and one name
    listed = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    return tuple(
        found for one in listed for found in (matching_files([Path(one)]) if isinstance(one, str | Path) else (one,))
    )


def _stored_files(
    stored: Stored, net: NetworkLike, props: PropertiesLike, *, none: bool = False
) -> tuple[Path, tuple[Path, ...]]:
    """Files of a network and of properties; `none`: there need not be any."""
    given = _expand_patterns(props)
    if not given and not none:
        raise MismatchError("nothing is asked: name at least one property")
    # a module does not say how many inputs it takes; the first property does
    if given and isinstance(net, nn.Module):
        net = _module_of_vectors(net, load_property(given[0]))
    return stored.network(net), tuple(stored.property(prop) for prop in given)


def _module_of_vectors(module: nn.Module, prop: Property) -> Network:
    """The network of a module that takes as many inputs as a property has.

    Raises:
        MismatchError: it takes something else.
    """
    try:
        return load_network(module, input_shape=(prop.n_inputs,))
    except MismatchError as error:
        inputs = counted(prop.n_inputs, "input")
        told = f"property {prop.name!r} has {inputs}, and a module is taken to have as many in a row"
        raise MismatchError(f"{told}; load_network(module, input_shape=(...)) says another shape: {error}") from error


def _stored_related_files(
    stored: Stored, nets: Mapping[str, NetworkLike], props: PropertiesLike
) -> tuple[dict[str, Path], tuple[Path, ...]]:
    """Files of several networks, and of queries about them."""
    given = _expand_patterns(props)
    if not given or not nets:
        raise MismatchError("nothing is asked: name at least one network and one property")
    if any(isinstance(prop, Property) for prop in given):
        raise MismatchError("a query about several networks is given as a file")
    return {name: stored.network(net) for name, net in nets.items()}, tuple(map(stored.property, given))


def _stored_domain(stored: Stored, given: str | Path | tuple[Any, Any] | None) -> Path | Literal["property"] | None:
    if given is None or given == "property":
        return None if given is None else "property"
    return (
        stored.corners("domain", *given)
        if isinstance(given, tuple)
        else path_of("a file, two corners or 'property', for a domain,", given)
    )


def _stored_inputs(stored: Stored, name: str, given: str | Path | tuple[Any, Any] | None) -> Path | None:
    if given is None or not isinstance(given, tuple):
        return None if given is None else Path(given)
    x, y = given
    return stored.samples(name, np.asarray(x, dtype=np.float32), y)


def _require_own_files(stored: Stored, files: Sequence[Path]) -> None:
    lost = [path.name for path in files if path.is_relative_to(stored.folder)]
    if lost:
        raise MismatchError(
            f"a certificate speaks about files, and {', '.join(lost)} is none, or was changed since it was read; make "
            "one with save_network or save_property, and name that"
        )


def shown_path(stored: Stored, path: str) -> str:
    """A path as an outcome shows it: the name alone of what was a temporary file, which is gone by now."""
    return Path(path).name if Path(path).is_relative_to(stored.folder) else path


def _request_with_shown_paths(stored: Stored, request: Any) -> Any:
    props = tuple(Path(shown_path(stored, str(path))) for path in request.props)
    return replace(request, net=Path(shown_path(stored, str(request.net))), props=props)


def _verdicts_with_shown_paths(outcome: VerifyOutcome, stored: Stored) -> VerifyOutcome:
    return replace(
        outcome,
        net=shown_path(stored, outcome.net),
        verdicts=tuple(replace(entry, path=shown_path(stored, entry.path)) for entry in outcome.verdicts),
    )
