"""What a campaign found: figures of one table, and two tables side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from birdnn.records.facts import Machine
from birdnn.records.published import CommandLine, Said, publishes

CONTRADICTION = "disagreement"
"""Answer of an instance on which engines, or prover and checker, contradict each other: stop and look."""


@publishes("FiguresModel", "name n solved answers total_s par2_s median_s slowest_s slowest wrong known")
@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A table in numbers.

    Attributes:
        name: whose table it is.
        slowest: which instance that was.
        curve: seconds of the solved, ascending.
    """

    name: str
    n: Annotated[int, Said("Instances.")]
    solved: Annotated[int, Said("Decided, and not against the known verdict.")]
    answers: Annotated[Mapping[str, int], Said("Answer -> how many.")]
    total_s: Annotated[float, Said("Seconds on all instances that were run; unsolved ones as they were spent.")]
    par2_s: Annotated[float, Said("Mean of the seconds, of twice the limit where unsolved.")]
    median_s: Annotated[float | None, Said("Of the solved.")]
    slowest_s: Annotated[float | None, Said("Of the solved.")]
    slowest: str
    wrong: Annotated[tuple[str, ...], Said("Answers against the known verdict.")]
    known: Annotated[int, Said("Instances whose verdict is known.")]
    curve: tuple[float, ...]


@publishes("SideBySideModel", "ours theirs missing both only_ours only_theirs faster ratio contradictions")
@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Two tables on the instances that both have.

    Attributes:
        only_ours, only_theirs: names of instances that one of them solved alone.
        ratio: None without any; seconds count as at least 0.001.
        contradictions: instances on which the two answers exclude each other, one sentence each.
    """

    ours: Figures
    theirs: Figures
    missing: Annotated[int, Said("Instances of ours that the other table does not have.")]
    both: Annotated[int, Said("Solved by both.")]
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]
    faster: Annotated[int, Said("Of those solved by both, how often we were faster.")]
    ratio: Annotated[float | None, Said("Geometric mean of their seconds over ours, on those solved by both.")]
    contradictions: tuple[str, ...]


@publishes("BenchRowModel", "name answer seconds timeout_s expected note")
@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    """One instance with the answer that counts.

    Attributes:
        name: network and property, for people.
        seconds: None where there is no row yet.
        timeout_s: its limit.
        note: why there is no answer, or what goes with it.
        fields: the whole row of the table.
    """

    name: str
    answer: Annotated[str, Said("The tool's word; error, crash: no result; empty: not run yet.")]
    seconds: float | None
    timeout_s: float
    expected: Annotated[str, Said("The known verdict; empty where nobody knows.")]
    note: str
    fields: Mapping[str, str]


@publishes(
    "BenchReport",
    "command kind outcome=result interrupted instances table figures kept_figures against broken rows ran kept jobs "
    "threads memory_gib measure options seed wall_s notes versions machine",
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOutcome:
    """What `birdnn bench --json` writes.

    Attributes:
        kind: what was done with the instances.
        instances, table: the files.
        rows: one for each instance, in the order of the file.
        figures: of these.
        against: other tables beside ours.
        jobs, threads: processes at a time, threads of each.
        options: passed on to the command, as one line.
        interrupted: the user stopped it.
        wall_s: seconds of this run.
        notes: what the user should know.
        versions, machine: of this run; each row has its own.
    """

    kind: Literal["verify", "repair"]
    command: CommandLine
    instances: str
    table: str
    rows: tuple[CampaignRow, ...]
    figures: Figures
    kept_figures: Annotated[tuple[str, ...], Said("What proved repairs kept.")]
    against: tuple[SideBySide, ...]
    broken: Annotated[tuple[str, ...], Said("Instances without a result, with the reason.")]
    ran: Annotated[int, Said("Instances run now.")]
    kept: Annotated[int, Said("Rows that were there before.")]
    jobs: int
    threads: int
    memory_gib: Annotated[float | None, Said("Resident memory of a process and its children that ends it.")]
    measure: Annotated[str, Said("cold: wall seconds of a process each; warm: seconds of the search; empty: repair.")]
    options: str
    seed: int
    interrupted: bool
    wall_s: float
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    machine: Machine

    @property
    def result(
        self,
    ) -> Annotated[
        Literal["complete", "contradicted", "incomplete"],
        Said("Every instance has a result; a result contradicts a known verdict; an instance has no result."),
    ]:
        within = any(row.answer == CONTRADICTION for row in self.rows)
        if within or self.figures.wrong or any(entry.contradictions for entry in self.against):
            return "contradicted"
        unanswered = any(not row.answer for row in self.rows)
        # A contradiction goes before both: it is news also of a campaign that is not over.
        return "incomplete" if unanswered or self.broken else "complete"
