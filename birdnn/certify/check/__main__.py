"""``birdnn-check``, or ``python -m birdnn.certify.check``: the checker alone, which does not run the network.

It needs NumPy and onnx; SciPy for networks that are no chains, and python-flint for exact arithmetic, counterexamples
included; nothing else of birdnn.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from birdnn.certify.check import UNRUN, Rejected, Settings, check
from birdnn.certify.check.apart import constants_apart
from birdnn.certify.check.parts import Part
from birdnn.certify.check.parts import accepted_message as part_accepted
from birdnn.errors import BirdnnError

# As `BirdnnError.exit_status` is; nobody may take it for a verdict.
_DEFECT = 5
# As a shell tells it.
_TERMINATED = 128 + signal.SIGTERM


def _escape_for_terminal(text: str) -> str:
    """No character of a file's name acts on the terminal."""
    return ascii(text)[1:-1]


def _parse_part(said: str) -> Part:
    try:
        number, of = (int(number) for number in said.split("/"))
    except ValueError:
        number = of = 0
    if not 0 <= number < of:
        raise argparse.ArgumentTypeError(f"N/M with N from 0 to M - 1 is expected, not {said!r}")
    return Part(number, of)


def _at_least(least: int) -> Callable[[str], int]:
    def read(said: str) -> int:
        try:
            number = int(said)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least} is expected, not {said!r}")
        return number

    return read


class _SayVersion(argparse.Action):
    """What whoever checks writes down; found out only where it is asked for, as that takes as long as all imports."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"birdnn-check {metadata.version('birdnn')}")
        parser.exit()


class _Progress:
    """How far it is, for whoever waits at a terminal: exact arithmetic may take minutes."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._shown = False

    def __call__(self, phase: str, done: int, total: int) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._told >= 1.0:
            told = f"checking {_escape_for_terminal(phase)}: {done:,} of {total:,} nodes"
            # A line that the next one, or the answer, takes the place of.
            print(f"\r{told}\x1b[K", end="", file=sys.stderr, flush=True)
            self._told, self._shown = time.monotonic(), True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _leave_in_order() -> None:
    """Let SIGTERM, as `timeout` sends it, end the processes that check other parts, too."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 accepted, 1 rejected, 4 unreadable, 5 where this program fails and has judged nothing."""
    _leave_in_order()
    parser = argparse.ArgumentParser(prog="birdnn-check", description=(__doc__ or "").replace("``", ""))
    said = "of the network; NAME=FILE, once for each, where a query is about two"
    parser.add_argument("--net", action="append", required=True, metavar="FILE", help=said)
    parser.add_argument("--prop", action="append", metavar="FILE", help="of the certificate; may be repeated")
    parser.add_argument("--before", metavar="FILE", help="say how far outputs are from those of this network, anywhere")
    parser.add_argument("--most", type=_parse_positive, metavar="D", help="with --before: reject what differs by more")
    exact = "float64 (the default) accounts for its rounding, exact has none"
    parser.add_argument("--arithmetic", choices=("float64", "exact"), default="float64", help=exact)
    sample = "all leaves in float64, and N of them in exact arithmetic"
    parser.add_argument("--sample", type=_at_least(1), metavar="N", help=sample)
    parser.add_argument("--seed", type=_at_least(0), default=0, metavar="N", help="of the draw of --sample; default: 0")
    parser.add_argument(
        "--part", type=_parse_part, metavar="N/M", help="only one of so many parts of the trees, from 0 on"
    )
    parser.add_argument("--version", action=_SayVersion, nargs=0, help="say the version of birdnn, and leave")
    parser.add_argument("certificate", nargs="?", metavar="CERTIFICATE", help="a .certificate.json.gz file")
    given = parser.parse_args(arguments)
    if given.before is None and (given.certificate is None or not given.prop):
        parser.error("what is to be checked? Give CERTIFICATE and --prop, or --before")
    if (given.certificate is None) != (not given.prop) or (given.most is not None and given.before is None):
        parser.error("CERTIFICATE and --prop belong together, and --most needs --before")
    if (nets := _parse_nets(given.net)) is None or (given.before is not None and isinstance(nets, dict)):
        parser.error(
            "give one --net FILE, or a --net NAME=FILE for each network of a query, and no --before with these"
        )
    given.net = nets
    try:
        # The certificate decides first; how far the networks are apart is said only where it was accepted.
        return (_judge_certificate(given) if given.certificate is not None else 0) or _compare_networks(given)
    # Parts read this line by its beginning, see `parts.Others.left`.
    except Rejected as error:
        print(f"rejected: {error.reason}")
        return 1
    except BirdnnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except ModuleNotFoundError as error:
        package = {"flint": "python-flint"}.get(str(error.name), str(error.name))
        print(f"error: nothing is accepted or rejected; this needs {package}: pip install {package}", file=sys.stderr)
        return _DEFECT
    except Exception as error:  # noqa: BLE001 - Python's own status for it would read as "rejected"
        told = "nothing is accepted or rejected; this program failed"
        print(f"error: {told}: {type(error).__name__}: {_escape_for_terminal(str(error))}", file=sys.stderr)
        return _DEFECT


def _parse_nets(said: list[str]) -> str | dict[str, str] | None:
    """The file of the one network, or files by the names of several; None where it is neither."""
    found = dict[str, str]()
    for text in said:
        name, equals, path = text.partition("=")
        # A file may have an equals sign in its name.
        if not (equals and path and name.isidentifier()) or Path(text).exists():
            return text if len(said) == 1 else None
        found[name] = path
    return found if len(found) == len(said) else None


def _parse_positive(said: str) -> float:
    try:
        number = float(said)
    except ValueError:
        number = float("nan")
    # Written so that NaN fails.
    if not (0 < number < float("inf")):
        raise argparse.ArgumentTypeError(f"a positive finite number is expected, not {said!r}")
    return number


def _compare_networks(given: argparse.Namespace) -> int:
    """What is known of the distance from another network, where that is asked for."""
    if given.before is None:
        return 0
    apart = constants_apart(given.before, given.net, given.most)
    said = ", ".join(repr(float(value)) for value in apart)
    before = _escape_for_terminal(Path(given.before).name)
    print(f"accepted: at every input the outputs are those of {before}, and constants more")
    print(f"constants, over the real numbers: {said}")
    return 0


def _judge_certificate(given: argparse.Namespace) -> int:
    settings = Settings(arithmetic=given.arithmetic, sample=given.sample, seed=given.seed)
    progress = _Progress()
    try:
        accepted = check(given.net, given.prop, given.certificate, settings, seen=progress, part=given.part)
    finally:
        progress.clear()
    if given.part is not None:
        print(part_accepted(accepted.sha256))
        return 0
    unrun = accepted.unrun()
    # A counterexample of an execution is not confirmed without the run, and this program runs nothing.
    if broken := [answer for answer in unrun if answer.verdict == "violated"]:
        exact = "does" if all(answer.exactly for answer in broken) else "does not"
        print(
            f"rejected: the statement is about an execution, which this program does not run; birdnn check does. "
            f"In exact arithmetic the input {exact} violate"
        )
        return 1
    print(f"accepted: {accepted.line()}" + (UNRUN if unrun else ""))
    for answer in accepted.answers:
        print(f"{_escape_for_terminal(Path(answer.path).name)}: {answer.verdict}")
    about = "as executed in float32" if accepted.semantics == "float32" else "over the real numbers"
    print(f"what is proved speaks about the network {about}")
    print(f"sha256 of the certificate: {accepted.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
