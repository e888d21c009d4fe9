"""What ``birdnn-vnnlib verify`` does. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import argparse
import ast
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import numpy_helper

from birdnn.cli.terminal import first_line
from birdnn.errors import DisagreementError, MismatchError, OutputError
from birdnn.formats import read_network
from birdnn.formats.files import write_bytes
from birdnn.formats.vnnlib import read_declared
from birdnn.formats.vnnlib2 import Query
from birdnn.pipeline.deciding import verify_files
from birdnn.records import Proved, Unknown, Verdict, VerifyOutcome, VerifySettings, Violated, Witness, competition_word
from birdnn.report.witnesses import counterexample_text
from birdnn.rounding import Semantics
from birdnn.verify import not_float32

_WORDS = {"timeout": "timed-out"}
"""VNN-COMP's word -> the standard's, where it has another."""

_SPEAKS: Mapping[Semantics, str] = {"real": "over the reals", "float32": "as executed in float32, sums in any order"}


def answer(options: argparse.Namespace, began: float) -> int:
    """Answer the query; 0.

    Args:
        options: of ``verify``.
        began: since when the time limit counts, on the monotonic clock.

    Raises:
        InputError, OutputError: a file is unusable, or the networks are not those of the query.
        DisagreementError: engines contradict each other. The answer, unknown, is printed by then.
    """
    query = read_declared(options.query)
    net = network_file(options.network or (), query)
    semantics: Literal["real", "float32"] = "real" if query is None else query.element
    refused = not_float32(read_network(net)) if options.as_executed or semantics == "float32" else ""
    if refused and semantics == "float32":
        raise MismatchError(f"the query is over float32: {refused}, with a query over real")
    if options.as_executed and not refused:
        semantics = "float32"
    left_s = None if options.timeout is None else max(0.01, options.timeout - (time.monotonic() - began))
    settings = VerifySettings(timeout_s=left_s, semantics=semantics, device=options.device)
    outcome = verify_files(net, [options.query], settings=settings)
    verdict = spoken(outcome, semantics)
    word = competition_word(verdict)
    assignment: list[str] = []
    if isinstance(verdict, Violated):
        assignment = _found(verdict.witness, query, options.serialise_assignments)
    first_line(_WORDS.get(word, word), more=assignment)
    told = [f"unsat of the network {_SPEAKS[semantics]}"] if isinstance(verdict, Proved) else []
    told += [f"not --as-executed: {refused}"] if refused else []
    for line in (*told, *outcome.notes):
        print(f"birdnn-vnnlib: {line}", file=sys.stderr)
    if outcome.disagreement:
        raise DisagreementError(outcome.disagreement)
    return 0


def spoken(outcome: VerifyOutcome, semantics: Semantics) -> Verdict:
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


def network_file(said: Sequence[str], query: Query | None) -> Path:
    """The one network's file.

    Args:
        said: what ``--network`` says: ``NAME=FILE``, ``FILE``, or VNN-COMP's ``[('NAME', 'FILE')]``.
        query: what is asked, where it names its network.

    Raises:
        MismatchError: another number of networks than one, or one that the query does not declare.
    """
    pairs = [pair for text in said for pair in _pairs(text)]
    declared = query.network if query is not None else "NAME"
    if len(pairs) != 1:
        raise MismatchError(
            f"the query is about one network, and {len(pairs)} are given: say --network {declared}=FILE"
        )
    name, path = pairs[0]
    if name and query is not None and name != query.network:
        raise MismatchError(f"--network {name}: the query declares the network {query.network!r} and no other")
    return Path(path)


def _pairs(text: str) -> list[tuple[str, str]]:
    if text.startswith("["):
        try:
            return [(str(name), str(path)) for name, path in ast.literal_eval(text)]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise MismatchError(f"--network {text[:60]}: no list of pairs of a name and a file") from None
    name, equals, path = text.partition("=")
    return [(name, path)] if equals and name.isidentifier() else [("", text)]


def _found(witness: Witness, query: Query | None, folder: Path | None) -> list[str]:
    """The assignment as lines; none where it is written to a folder."""
    if folder is not None:
        _serialise(folder, query, witness)
        return []
    if query is None:
        return counterexample_text(witness).splitlines()
    lines = []
    for tensor, values in ((query.input, witness.x), (query.output, witness.y)):
        lines.append(f"{tensor.name} {tensor.element} [{','.join(map(str, tensor.shape))}]")
        lines += [repr(value) for value in values]
    return lines


def _serialise(folder: Path, query: Query | None, witness: Witness) -> None:
    """Each tensor as ``NAME.pb``, all of them or none."""
    named: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = [("X", (-1,), witness.x), ("Y", (-1,), witness.y)]
    if query is not None:
        tensors = query.input, query.output
        named = [(t.name, t.shape, v) for t, v in zip(tensors, (witness.x, witness.y), strict=True)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(folder), f"cannot be made: {error.strerror or error}") from None
    for name, shape, values in named:
        tensor = numpy_helper.from_array(np.array(values, dtype=np.float32).reshape(shape), name)
        write_bytes(folder / f"{name}.pb", tensor.SerializeToString())
