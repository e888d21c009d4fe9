"""The 186 verification instances: ``python -m benchmarks.acasxu.verify [--cold]``, a campaign of ``birdnn bench``.

Warm: many instances in one process; the seconds are those of falsification and search, reading left out. Cold: one
process of ``birdnn verify`` each; the seconds count everything, interpreter and imports included.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.acasxu.common import RESULTS, STATUS, campaign_arguments, data_folder, short_name
from birdnn.campaign import VERIFY, Campaign, campaign_files, provenance, read_instances, read_known
from birdnn.cli.progress import TerminalWatch
from birdnn.report.bench import bench_markdown


def main() -> int:
    """Run what is missing, then write the summary."""
    arguments = argparse.ArgumentParser(description=__doc__)
    campaign_arguments(arguments)
    arguments.add_argument("--cold", action="store_true", help="one process of the command line for each instance")
    options = arguments.parse_args()
    data, mode = data_folder(options.data), "cold" if options.cold else "warm"
    with TerminalWatch(quiet=False) as watch:
        outcome = campaign_files(
            campaign(data, warm=not options.cold, jobs=options.jobs), source=data / "instances.csv", watch=watch
        )
    command = f"python -m benchmarks.acasxu.verify{' --cold' * options.cold} --jobs {options.jobs}"
    text = bench_markdown(outcome, f"ACAS Xu verification, {mode}", provenance(command, threads=1), short)
    (RESULTS / f"verify_{mode}.md").write_text(text, encoding="utf-8")
    print(text)
    return 130 if outcome.interrupted else STATUS[outcome.result]


def campaign(data: Path, *, warm: bool, jobs: int = 1) -> Campaign:
    """The 186, into the stored table."""
    known = read_known(data / "verdicts.csv")
    return Campaign(
        kind=VERIFY,
        instances=read_instances(data / "instances.csv", known=known),
        table=RESULTS / f"verify_{'warm' if warm else 'cold'}.csv",
        jobs=jobs,
        warm=warm,
    )


def short(name: str) -> str:
    """``"N2,9 prop_8"`` for the stems of both files."""
    net, prop = name.split(" ")
    return f"{short_name(net)} {prop}"


if __name__ == "__main__":
    sys.exit(main())
