"""`check` on files: what the independent checker says of a certificate, and runs of the counterexamples in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from birdnn.certify.check import Accepted, Answer, Rejected, Settings, check
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats.files import NETWORK_BYTES, read_bytes
from birdnn.formats.relation import read_relation
from birdnn.formats.vnnlib import read_property
from birdnn.records import CheckedProperty, CheckOutcome, Progress, Unwatched, Watch


class Stopped(Exception):
    """The user or the clock wants an end of a check."""


def progress_reporter(watch: Watch, over: Callable[[], bool] = lambda: False) -> Callable[[str, int, int], None]:
    """What the checker tells its news to: passes them on, and raises `Stopped` where someone wants an end."""

    def seen(phase: str, done: int, total: int) -> None:
        # an exception, as the checker knows neither watches nor clocks and has to be left from the inside
        if watch.stopped() or over():
            raise Stopped
        watch.update(Progress(phase=f"checking {phase}", done=done / total, detail=f"{done:,} of {total:,} nodes"))

    return seen


def check_files(
    net: Path | Mapping[str, Path],
    props: Sequence[Path],
    certificate: Path,
    *,
    settings: Settings,
    watch: Watch | None = None,
) -> CheckOutcome:
    """Check a certificate, and run its counterexamples, those beside a proof over the reals included.

    Where it is about two networks, ``net`` has their files by the names that queries have for them.

    Raises:
        InputError: a file cannot be read, or they do not fit each other.
        Stopped: the watch wants an end, so that nothing is known.
    """
    accepted: Accepted | None = None
    replayed: tuple[bool | None, ...] = ()
    try:
        accepted = check(net, props, certificate, settings, progress_reporter(watch or Unwatched()))
        # inside the `try`: a counterexample that does not run as stated makes the certificate a rejected one
        replayed = tuple(
            None if answer.input is None else _replay_counterexample(net, answer) for answer in accepted.answers
        )
        said = accepted.line() + _replay_remark(accepted, replayed)
    except Rejected as error:
        # None again, also where the checker accepted and only the run did not
        accepted, said = None, error.reason
    answers = zip(accepted.answers, replayed, strict=True) if accepted else ()
    nets = net if isinstance(net, Mapping) else {}
    return CheckOutcome(
        net=net if isinstance(net, Path) else next(iter(net.values())),
        networks={name: str(path) for name, path in nets.items()},
        certificate=certificate,
        accepted=accepted is not None,
        said=said,
        semantics=accepted.semantics if accepted else None,
        assumptions=accepted.assumptions if accepted else {},
        arithmetic=settings.arithmetic,
        sample=settings.sample,
        seed=settings.seed,
        properties=tuple(_checked_property(answer, runs) for answer, runs in answers),
    )


def _checked_property(answer: Answer, runs: bool | None) -> CheckedProperty:
    return CheckedProperty(
        path=answer.path,
        verdict=answer.verdict,
        leaves=answer.leaves,
        sampled=answer.sampled,
        exactly=None if answer.input is None else answer.exactly,
        replayed=runs,
    )


def _replay_counterexample(net: Path | Mapping[str, Path], answer: Answer) -> bool:
    """True, as the counterexample violates on the files as they are.

    Raises:
        Rejected: it does not.
    """
    # the checker has none of onnxruntime, which is the point of it; this run is ours
    x = np.array(answer.input, dtype=np.float32)
    if not (_violated_by_one(net, answer, x) if isinstance(net, Path) else _violated_by_two(net, answer, x)):
        where = f"proof of {Path(answer.path).name}"
        raise Rejected(f"{where}: the input does not violate the property when onnxruntime runs it")
    return True


def _violated_by_one(net: Path, answer: Answer, x: npt.NDArray[np.float32]) -> bool:
    y = OnnxReplay(read_bytes(net, NETWORK_BYTES))(x)
    prop = read_property(answer.path, relating=True)
    # tolerance zero, by exact numbers: an input that violates by a rounding of ours would be none
    return prop.fitted(len(x), len(y)).violated(x.tolist(), y.tolist())


def _violated_by_two(nets: Mapping[str, Path], answer: Answer, x: npt.NDArray[np.float32]) -> bool:
    """The same of a query about several networks, whose inputs stand one behind the other."""
    relation = read_relation(Path(answer.path))
    if relation is None:
        return False
    y, variables, begin = list[float](), dict[int, float](), 0
    for net, reads in zip(relation.networks, relation.reads, strict=True):
        own = x[begin : begin + len(reads)]
        begin += len(reads)
        path = nets.get(net.name) or nets[net.equal]
        y += OnnxReplay(read_bytes(path, NETWORK_BYTES))(own).reshape(-1).tolist()
        # an input that both networks read is one variable, and stands twice in the certificate's input
        variables |= dict(zip(reads, own.tolist(), strict=True))
    return relation.prop.violated([variables[i] for i in range(len(variables))], y)


def _replay_remark(accepted: Accepted, replayed: Sequence[bool | None]) -> str:
    ran = [answer for answer, runs in zip(accepted.answers, replayed, strict=True) if runs]
    said = ""
    if violated := [answer for answer in ran if answer.verdict == "violated"]:
        exact = all(answer.exactly for answer in violated)
        said = ", onnxruntime" if exact else ", onnxruntime alone: in exact arithmetic the input does not violate"
    if len(violated) < len(ran):
        said += "; over the reals alone: in onnxruntime an input violates what is proved"
    return said
