"""What ``birdnn-vnnlib verify`` does. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import numpy_helper

from birdnn.cli.terminal import print_first_line
from birdnn.errors import DisagreementError, MismatchError, OutputError
from birdnn.formats import read_network
from birdnn.formats.files import require_writable
from birdnn.formats.together import all_or_none
from birdnn.formats.vnnlib import read_declared
from birdnn.formats.vnnlib2 import Query, Tensor
from birdnn.patterns import named_networks
from birdnn.pipeline.deciding import verify_files
from birdnn.pipeline.relating import verify_related
from birdnn.records import Proved, Unknown, Verdict, VerifyOutcome, VerifySettings, Violated, Witness, competition_word
from birdnn.report.witnesses import counterexample_text
from birdnn.rounding import Semantics
from birdnn.verify import why_not_float32

_WORDS = {"timeout": "timed-out"}
"""VNN-COMP's word -> the standard's, where it has another."""

_SPEAKS: Mapping[Semantics, str] = {"real": "over the reals", "float32": "as executed in float32, sums in any order"}


def answer_query(options: argparse.Namespace, began: float) -> int:
    """Answer the query; 0.

    Args:
        options: of ``verify``.
        began: since when the time limit counts, on the monotonic clock.

    Raises:
        InputError, OutputError: a file is unusable, or the networks are not those of the query.
        DisagreementError: engines contradict each other. The answer, unknown, is printed by then.
    """
    query = read_declared(options.query)
    nets = network_files(options.network or (), query)
    semantics: Literal["real", "float32"] = "real" if query is None else query.element
    asked = options.as_executed or semantics == "float32"
    told = [why_not_float32(read_network(net)) for net in nets.values()] if asked else []
    refused = next(filter(None, told), "")
    # the query itself is over float32: a proof over the reals would answer another one
    if refused and semantics == "float32":
        raise MismatchError(f"the query is over float32: {refused}, with a query over real")
    if options.as_executed and not refused:
        semantics = "float32"
    left_s = None if options.timeout is None else max(0.01, options.timeout - (time.monotonic() - began))
    settings = VerifySettings(timeout_s=left_s, semantics=semantics, device=options.device)
    if query is None or len(query.networks) == 1:
        (net,) = nets.values()
        outcome = verify_files(net, [options.query], settings=settings)
    else:
        outcome = verify_related(nets, [options.query], settings=settings)
    verdict = verdict_as_asked(outcome, semantics)
    word = competition_word(verdict)
    assignment: list[str] = []
    if isinstance(verdict, Violated):
        assignment = _assignment_lines(verdict.witness, query, options.serialise_assignments)
    print_first_line(_WORDS.get(word, word), more=assignment)
    network = "network" if len(nets) == 1 else "networks"
    told = [f"unsat of the {network} {_SPEAKS[semantics]}"] if isinstance(verdict, Proved) else []
    told += [f"not --as-executed: {refused}"] if refused else []
    for line in (*told, *outcome.notes):
        print(f"birdnn-vnnlib: {line}", file=sys.stderr)
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    return 0


def verdict_as_asked(outcome: VerifyOutcome, semantics: Semantics) -> Verdict:
    """The verdict on what the query asks: an assignment that holds when the network is run is none over the reals.

    Where engines contradict each other it is unknown.
    """
    (found,) = outcome.verdicts
    verdict = found.verdict
    if outcome.disagreement:
        return Unknown(reason="rejected", boxes=verdict.boxes)
    if isinstance(verdict, Violated) and not verdict.witness.contradicts(semantics):
        return Unknown(reason=verdict.undecided or "not_found", boxes=verdict.boxes)
    return verdict


def network_files(said: Sequence[str], query: Query | None) -> dict[str, Path]:
    """The networks' files, by the names that the query has for them; one that is equal to another may be left out.

    Args:
        said: what ``--network`` says: ``NAME=FILE``, ``FILE``, or VNN-COMP's ``[('NAME', 'FILE')]``.
        query: what is asked, where it names its networks.

    Raises:
        MismatchError: other networks are given than the query declares.
    """
    pairs = [pair for text in said for pair in named_networks(text)]
    declared = [net.name for net in query.networks] if query is not None else ["NAME"]
    needed = [net.name for net in query.networks if not net.equal] if query is not None else declared
    if not len(needed) <= len(pairs) <= len(declared):
        many = "one network" if len(declared) == 1 else f"{len(declared)} networks"
        verb = "is" if len(pairs) == 1 else "are"
        how = " ".join(f"--network {name}=FILE" for name in needed)
        raise MismatchError(f"the query is about {many}, and {len(pairs)} {verb} given: say {how}")
    if len(declared) == 1 and not pairs[0][0]:
        return {declared[0]: pairs[0][1]}
    for name, _ in pairs:
        if query is not None and name not in declared:
            others = f"the network {declared[0]!r} and no other" if len(declared) == 1 else ", ".join(declared)
            raise MismatchError(f"--network {name or 'FILE'}: the query declares {others}")
    return dict(pairs)


def _assignment_lines(witness: Witness, query: Query | None, folder: Path | None) -> list[str]:
    """The assignment as lines; none where it is written to a folder."""
    if folder is not None:
        _write_tensors(folder, query, witness)
        return []
    if query is None:
        return counterexample_text(witness).splitlines()
    lines = []
    for tensor, values in _values_by_tensor(query, witness):
        lines.append(f"{tensor.name} {tensor.element} [{','.join(map(str, tensor.shape))}]")
        lines += [repr(value) for value in values]
    return lines


def _values_by_tensor(query: Query, witness: Witness) -> list[tuple[Tensor, tuple[float, ...]]]:
    """Each tensor of the query and its values, all inputs first."""
    inputs, outputs = ([getattr(net, kind) for net in query.networks] for kind in ("input", "output"))
    parts = (*((tensor, witness.x) for tensor in inputs), *((tensor, witness.y) for tensor in outputs))
    return [(tensor, values[tensor.first : tensor.first + tensor.size]) for tensor, values in parts]


def _write_tensors(folder: Path, query: Query | None, witness: Witness) -> None:
    """Write each tensor as ``NAME.pb`` in a folder, which is made where it is missing: all of them or none."""
    named: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = [("X", (-1,), witness.x), ("Y", (-1,), witness.y)]
    if query is not None:
        named = [(tensor.name, tensor.shape, values) for tensor, values in _values_by_tensor(query, witness)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(folder), f"cannot be made: {error.strerror or error}") from None
    require_writable([folder / f"{name}.pb" for name, _, _ in named], ())
    with all_or_none() as files:
        for name, shape, values in named:
            tensor = numpy_helper.from_array(np.array(values, dtype=np.float32).reshape(shape), name)
            files.add(folder / f"{name}.pb", tensor.SerializeToString())
