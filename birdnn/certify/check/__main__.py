"""``python -m birdnn.certify.check``: the checker without the rest of birdnn, and without running the network."""

from __future__ import annotations

import argparse
import sys

from birdnn.certify.check import Rejected, Settings, check
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
    if accepted.semantics == "float32" and any(answer.verdict == "violated" for answer in accepted.answers):
        print("rejected: a counterexample of float32 needs a replay; birdnn check runs it")
        return 1
    print(f"accepted: {accepted.line()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
