"""Running a campaign: every instance in a process that is watched from outside, several at a time, resumable."""

from __future__ import annotations

import queue
import shlex
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from joblib import Parallel, delayed

from birdnn.campaign.children import PROGRAM, Child, Ending, Limits
from birdnn.campaign.elsewhere import run_elsewhere
from birdnn.campaign.instances import Instance
from birdnn.campaign.kinds import BROKEN, REPAIR, Kind, result_columns
from birdnn.campaign.made_by import birdnn_version, software_versions, stamp
from birdnn.campaign.table import Row, Table, reserved_table
from birdnn.errors import OutputError
from birdnn.machines import Cluster
from birdnn.pipeline.facts import machine
from birdnn.printable import counted
from birdnn.records import Progress, Watch

_LOOK_S = 0.2
_START_S = 120.0
"""Longest that a warm process may take to load its modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What is to be done.

    Attributes:
        kind: `VERIFY` or `REPAIR`.
        instances: each once.
        table: the CSV file that holds the rows.
        jobs: processes at a time; 0: as many as the cluster has processors for.
        threads: of each process.
        warm: verify many instances in one process; the seconds are then those of the search.
        method: of repairs, with its optimiser: ``auto``, ``finetune:lp``.
        options: further arguments of the command.
        seed: of every random draw.
        grace_s: how long after its limit a process is killed; None for the kind's own.
        memory_gib: resident memory of a process and its children at which they are killed; None for any.
        retry: run instances again whose row says that the process broke.
        keep: folder in which the repaired networks stay.
        ray: address of a cluster whose nodes run the instances; None: this machine does.
        program: what runs a command.
    """

    kind: Kind
    instances: Sequence[Instance]
    table: Path
    jobs: int = 1
    threads: int = 1
    warm: bool = False
    method: str = "auto"
    options: tuple[str, ...] = ()
    seed: int = 0
    grace_s: float | None = None
    memory_gib: float | None = None
    retry: bool = False
    keep: Path | None = None
    ray: str | None = None
    program: tuple[str, ...] = PROGRAM

    @property
    def said(self) -> tuple[str, ...]:
        """The options as the command gets them; a default seed is not said."""
        return (*self.options, *(("--seed", str(self.seed)) if self.seed else ()))

    @property
    def variant(self) -> dict[str, str]:
        """What tells rows of one instance apart besides options and version."""
        return {"method": self.method} if self.kind is REPAIR else {"measure": "warm" if self.warm else "cold"}

    def key(self, instance: Instance) -> dict[str, str]:
        """The fields by which a row is recognised as this instance's, made in this way."""
        return {
            **dict(zip(self.kind.identity, self.kind.names(instance), strict=True)),
            **self.variant,
            "timeout_s": f"{instance.timeout_s:g}",
            "options": shlex.join(self.said),
            "version": birdnn_version(),
        }


def open_table(kind: Kind, path: Path) -> Table:
    """The table of a kind of campaign."""
    return Table(path, kind.columns, (*kind.identity, kind.answer, kind.seconds))


def rows_of(campaign: Campaign, rows: Sequence[Row]) -> list[Row | None]:
    """For each instance the last row that answers it in the way asked for; None where there is none yet."""
    named: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        named.setdefault(tuple(row[name] for name in campaign.kind.identity), []).append(row)
    found: list[Row | None] = []
    for instance in campaign.instances:
        key = campaign.key(instance)
        mine = [row for row in named.get(campaign.kind.names(instance), ()) if row_matches_key(row, key)]
        found.append(mine[-1] if mine else None)
    return found


def latest_rows(kind: Kind, instances: Sequence[Instance], rows: Sequence[Row], **variant: str) -> list[Row | None]:
    """For each instance its last row with these fields, however it was made."""
    found = {
        tuple(row[name] for name in kind.identity): row
        for row in rows
        if all(row[name] == value for name, value in variant.items())
    }
    return [found.get(kind.names(instance)) for instance in instances]


def row_matches_key(row: Row, key: Mapping[str, str]) -> bool:
    """Was the row made in the way that `key` says?

    A row without a version is of a time when every row was made with default options; what it does not say about
    itself is not held against it.
    """
    # an older table had no such column, and was completed with empty fields
    old = not row["version"]
    if old and key["options"]:
        return False
    return all(_same_value(row[name], value) or (old and not row[name]) for name, value in key.items())


def _same_value(one: str, other: str) -> bool:
    try:
        # 116 and 116.0: not every version wrote numbers alike
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def run_campaign(campaign: Campaign, watch: Watch, cluster: Cluster | None = None) -> tuple[list[Row | None], int]:
    """Run what is missing; the rows that count afterwards, in the order of the instances, and how many are new.

    With a ``cluster`` its nodes run them.

    Raises:
        FormatError, OutputError: the table is none of this kind of campaign, is in use, or cannot be written.
    """
    # opening may complete an older table and put another file in its place; a lock is on the file, so it is taken anew
    with reserved_table(campaign.table) if campaign.table.exists() else ExitStack():
        table = open_table(campaign.kind, campaign.table)
    with reserved_table(campaign.table), _Runner(campaign, table, watch, cluster) as runner:
        before = rows_of(campaign, table.rows)
        todo = [
            instance
            for instance, row in zip(campaign.instances, before, strict=True)
            if row is None or (campaign.retry and is_broken(row[campaign.kind.answer]))
        ]
        ran = runner.run(todo)
        return rows_of(campaign, table.rows), ran


def is_broken(answer: str) -> bool:
    """Is the answer none? Older tables say ``exit`` and the status."""
    return answer in BROKEN or answer.startswith("exit ")


def kept_folders(campaign: Campaign) -> dict[int, str]:
    """Line of an instance -> the name of its folder; no two share one."""
    names = {one.line: "-".join(campaign.kind.names(one)).replace("/", "_") for one in campaign.instances}
    often = Counter(names.values())
    return {line: name if often[name] == 1 else f"{name}-{line}" for line, name in names.items()}


class _Runner:
    """The processes of a campaign that is under way."""

    def __init__(self, campaign: Campaign, table: Table, watch: Watch, cluster: Cluster | None) -> None:
        self._campaign, self._table, self._watch, self._cluster = campaign, table, watch, cluster
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        self._stop, self._asking = threading.Event(), threading.Lock()
        self._environment = {"OMP_NUM_THREADS": str(campaign.threads)}
        self._folders = kept_folders(campaign)
        here = machine()
        self._shared = f"{campaign.jobs} at a time, {counted(campaign.threads, 'thread')} each"
        self._made = {
            "machine": f"{here.cpu}, {here.cores} cores, {self._shared}",
            "software": software_versions(),
            "seed": str(campaign.seed),
        }

    def __enter__(self) -> _Runner:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()  # threads that still watch a child kill it
        while not self._idle.empty():
            self._idle.get().__exit__(None, None, None)

    def run(self, todo: Sequence[Instance]) -> int:
        """Run the instances; how many were answered."""
        done, verb = 0, "verifying" if self._campaign.kind is not REPAIR else "repairing"
        phase = f"{verb} {len(todo)} of {len(self._campaign.instances)} instances"
        if todo and self._cluster is None and self._campaign.program == PROGRAM:
            self._compile_bounds()
        self._watch.update(Progress(phase=phase, done=0.0))
        work = (delayed(self._run_instance)(instance) for instance in todo)
        # threads only wait for processes: these are ours, so that we can kill them
        pool = Parallel(n_jobs=self._campaign.jobs, backend="threading", batch_size=1, return_as="generator_unordered")
        for row in pool(work):
            if row is None:
                continue
            done += 1
            answer, seconds = row[self._campaign.kind.answer], row[self._campaign.kind.seconds]
            name = " ".join(row[column] for column in self._campaign.kind.identity)
            self._watch.update(Progress(phase=phase, done=done / len(todo), detail=f"{name}: {answer}, {seconds} s"))
        return done

    def _compile_bounds(self) -> None:
        """Have the bounds compiled, or found on the disk: each process would begin anew, and end before it is done."""
        self._watch.update(Progress(phase="loading compiled bounds, which are made once for each version"))
        ready = "from birdnn.bounds.compiled.bound import prepare; prepare()"
        with subprocess.Popen([sys.executable, "-c", ready], stdin=subprocess.DEVNULL) as process:
            while process.poll() is None and not self.stopped():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
            process.kill()

    def stopped(self) -> bool:
        """Did the user ask to stop?"""
        if not self._stop.is_set():
            # a watch is for one thread, and several ask here
            with self._asking:
                if self._watch.stopped():
                    self._stop.set()
        return self._stop.is_set()

    def _run_instance(self, instance: Instance) -> Row | None:
        """One instance, on disk as a row; None where the user stopped it."""
        if self.stopped():
            return None
        # stamped before it runs: what is committed meanwhile is not what ran
        campaign, kind, mark = self._campaign, self._campaign.kind, stamp()
        with tempfile.TemporaryDirectory(prefix="birdnn-") as scratch:
            folder = Path(scratch)
            if campaign.keep is not None:
                folder = campaign.keep / self._folders[instance.line]
                (folder / kind.report).unlink(missing_ok=True)  # of an earlier run, should this one write none
            words = [*kind.words(instance, folder), *self._variant_words(), *campaign.said]
            ending, made = self._run_words(instance, words, folder)
            if ending.reason == "stopped":
                return None
            found = result_columns(kind, ending, folder)
        row = {**dict.fromkeys(kind.columns, ""), **self._made, **made, **campaign.key(instance), **found, **mark}
        row[kind.seconds] = row["solve_s"] if campaign.warm and found.get("solve_s") else f"{ending.wall_s:.3f}"
        if "expected" in row:
            row["expected"] = instance.expected
        try:
            return self._table.add(row)
        except OSError as error:
            # whatever ends from now on could not be recorded either, so that nothing more is begun
            self._stop.set()
            told = f"a row cannot be written: {error.strerror or error}; rows written so far are kept"
            raise OutputError(str(campaign.table), told) from None

    def _variant_words(self) -> list[str]:
        if self._campaign.kind is not REPAIR:
            return []
        method, _, optimiser = self._campaign.method.partition(":")
        return ["--method", method, *(["--optimiser", optimiser] if optimiser else [])]

    def _run_words(self, instance: Instance, words: list[str], folder: Path) -> tuple[Ending, Row]:
        """How a command ended, and what its row has to say of where."""
        grace = self._campaign.kind.grace_s if self._campaign.grace_s is None else self._campaign.grace_s
        limits = Limits(wall_s=instance.timeout_s + grace, memory_gib=self._campaign.memory_gib)
        if self._cluster is not None:
            threads, program = self._campaign.threads, self._campaign.program
            ending, where = run_elsewhere(self._cluster, words, folder, limits, threads, program, self.stopped)
            return ending, {"machine": f"{where}, {self._shared}"}
        if self._campaign.warm:
            return self._run_words_warm(words, limits), {}
        with Child(self._campaign.program, words, self._environment) as child:
            return child.wait(limits, self.stopped), {}

    def _run_words_warm(self, words: list[str], limits: Limits) -> Ending:
        """By a process that did others before, or by a new one where none is idle."""
        with ExitStack() as stack:
            try:
                child = self._idle.get_nowait()
                # killed on the way out, unless it answers and can be asked again
                stack.push(child)
            except queue.Empty:
                child = stack.enter_context(Child(self._campaign.program, (), self._environment))
                ready = child.wait(Limits(wall_s=_START_S, memory_gib=limits.memory_gib), self.stopped)
                if ready.reason != "ended" or ready.status != 0:
                    return ready
            child.ask(words)
            ending = child.wait(limits, self.stopped)
            if ending.reason == "ended" and child.serves():
                stack.pop_all()  # left running, to be asked again
                self._idle.put(child)
            return ending
