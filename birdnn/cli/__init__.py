"""The command line: the only place that prints, exits or reads argv."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Sequence

from birdnn.cli.began import BEGAN
from birdnn.cli.cores import SINCE, count_ticks
from birdnn.cli.loading import without_garbage_collection
from birdnn.cli.statuses import INTERRUPTED, OWN_FAULT, UNDECIDED, UNUSABLE
from birdnn.heap import keep_freed_memory
from birdnn.later import missing_package


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status; `arguments`: instead of those of the process.

    What happens while modules are loaded nobody else catches, and an uncaught error would leave with status 1, which
    means violated.
    """
    BEGAN.set(time.monotonic())
    SINCE.set(count_ticks())
    keep_freed_memory()
    try:
        with without_garbage_collection():
            from birdnn.cli.app import app

        app(args=arguments, prog_name="birdnn")
    except KeyboardInterrupt:
        print("birdnn: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except MemoryError:
        print("birdnn: error: memory ran out while birdnn was loaded; nothing is decided", file=sys.stderr)
        sys.exit(UNDECIDED)
    except Exception as error:  # noqa: BLE001 - see above
        if told := missing_package(error):
            print(f"birdnn: error: {told}", file=sys.stderr)
            sys.exit(UNUSABLE)
        traceback.print_exc()
        sys.exit(OWN_FAULT)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C at the very end must not change the status
