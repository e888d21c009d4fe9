"""What a campaign found: figures of one table, and two tables side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from birdnn.records.facts import Machine

CONTRADICTION = "disagreement"
"""Answer of an instance on which engines, or prover and checker, contradict each other: stop and look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A table in numbers.

    Attributes:
        name: whose table it is.
        n: instances.
        solved: of these decided, and not against the known verdict.
        answers: answer -> how many.
        total_s: seconds on all instances that were run, unsolved ones as they were spent.
        par2_s: mean over all instances of the seconds, of twice the limit where unsolved.
        median_s, slowest_s: of the solved; None where there is none.
        slowest: which instance that was.
        wrong: what is against the known verdict, one sentence each.
        known: how many instances have a known verdict.
        curve: seconds of the solved, ascending.
    """

    name: str
    n: int
    solved: int
    answers: Mapping[str, int]
    total_s: float
    par2_s: float
    median_s: float | None
    slowest_s: float | None
    slowest: str
    wrong: tuple[str, ...]
    known: int
    curve: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Our table and another one, on the instances that are in both.

    Attributes:
        ours, theirs: figures of both on these instances.
        missing: how many of our instances the other table does not have.
        both: solved by both.
        only_ours, only_theirs: names of instances that one of them solved alone.
        faster: of `both`, how often we were faster.
        ratio: geometric mean of their seconds over ours on `both`, each at least 0.001 s; None without any.
        contradictions: instances on which the two answers exclude each other, one sentence each.
    """

    ours: Figures
    theirs: Figures
    missing: int
    both: int
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]
    faster: int
    ratio: float | None
    contradictions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    """One instance with the answer that counts.

    Attributes:
        name: network and property, for people.
        answer: the tool's word; empty where there is no row yet.
        seconds: None where there is no row yet.
        timeout_s: its limit.
        expected: the known verdict, or empty.
        note: why there is no answer, or what goes with it.
        fields: the whole row of the table.
    """

    name: str
    answer: str
    seconds: float | None
    timeout_s: float
    expected: str
    note: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOutcome:
    """What a campaign came to.

    Attributes:
        kind: what was done with the instances.
        command: as typed.
        instances, table: the files.
        rows: one for each instance, in the order of the file.
        figures: of these.
        kept_figures: lines on what repairs kept; empty for verification.
        against: other tables beside ours.
        broken: instances without a result, with the reason, one sentence each.
        ran, kept: how many were run now, and how many rows were there before.
        jobs, threads: processes at a time, threads of each.
        memory_gib: what one process and its children might take.
        measure: what the seconds of a verification mean, ``cold`` or ``warm``; empty for repairs.
        options: passed on to the command, as one line.
        seed: of every random draw.
        interrupted: the user stopped it.
        wall_s: seconds of this run.
        notes: what the user should know.
        versions, machine: of this run; each row has its own.
    """

    kind: Literal["verify", "repair"]
    command: tuple[str, ...]
    instances: str
    table: str
    rows: tuple[CampaignRow, ...]
    figures: Figures
    kept_figures: tuple[str, ...]
    against: tuple[SideBySide, ...]
    broken: tuple[str, ...]
    ran: int
    kept: int
    jobs: int
    threads: int
    memory_gib: float | None
    measure: str
    options: str
    seed: int
    interrupted: bool
    wall_s: float
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    machine: Machine
