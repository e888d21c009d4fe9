"""``python -m birdnn.certify.check``: the checker without the rest of birdnn, and without running the network."""

from __future__ import annotations

import argparse
import sys

from birdnn.certify.check import UNRUN, Rejected, Settings, check
from birdnn.errors import BirdnnError


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 accepted, 1 rejected, 4 unreadable."""
    parser = argparse.ArgumentParser(prog="python -m birdnn.certify.check", description=__doc__)
    parser.add_argument("--net", required=True, metavar="FILE")
    parser.add_argument("--prop", required=True, action="append", metavar="FILE")
    parser.add_argument("--arithmetic", choices=("float64", "exact"), default="float64")
    parser.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("certificate", metavar="CERTIFICATE")
    given = parser.parse_args(arguments)
    settings = Settings(arithmetic=given.arithmetic, sample=given.sample, seed=given.seed)
    try:
        accepted = check(given.net, given.prop, given.certificate, settings)
    except Rejected as error:
        print(f"rejected: {error.reason}")
        return 1
    except BirdnnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    unrun = accepted.unrun()
    if broken := [answer for answer in unrun if answer.verdict == "violated"]:
        exact = "does" if all(answer.exactly for answer in broken) else "does not"
        print(
            f"rejected: the statement is about an execution, which this program does not run; birdnn check does. "
            f"In exact arithmetic the input {exact} violate"
        )
        return 1
    print(f"accepted: {accepted.line()}" + (UNRUN if unrun else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
