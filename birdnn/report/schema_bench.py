"""The published shape of what ``birdnn bench --json`` writes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.schema import SCHEMA_VERSION, MachineModel, Model, Readable


class FiguresModel(Model):
    """A table in numbers."""

    name: Readable
    n: int = Field(description="Instances.")
    solved: int = Field(description="Decided, and not against the known verdict.")
    answers: dict[str, int] = Field(description="Answer -> how many.")
    total_s: float = Field(description="Seconds on all instances that were run; unsolved ones as they were spent.")
    par2_s: float = Field(description="Mean of the seconds, of twice the limit where unsolved.")
    median_s: float | None = Field(description="Of the solved.")
    slowest_s: float | None = Field(description="Of the solved.")
    slowest: Readable
    wrong: list[Readable] = Field(description="Answers against the known verdict.")
    known: int = Field(description="Instances whose verdict is known.")


class SideBySideModel(Model):
    """Two tables on the instances that both have."""

    ours: FiguresModel
    theirs: FiguresModel
    missing: int = Field(description="Instances of ours that the other table does not have.")
    both: int = Field(description="Solved by both.")
    only_ours: list[Readable]
    only_theirs: list[Readable]
    faster: int = Field(description="Of those solved by both, how often we were faster.")
    ratio: float | None = Field(description="Geometric mean of their seconds over ours, on those solved by both.")
    contradictions: list[Readable]


class BenchRowModel(Model):
    """One instance with the answer that counts."""

    name: Readable
    answer: str = Field(description="The tool's word; error, crash: no result; empty: not run yet.")
    seconds: float | None
    timeout_s: float
    expected: str = Field(description="The known verdict; empty where nobody knows.")
    note: Readable


class BenchReport(Model):
    """What `birdnn bench --json` writes."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    command: Readable
    kind: Literal["verify", "repair"]
    outcome: Literal["complete", "contradicted", "incomplete"] = Field(
        description="Every instance has a result; a result contradicts a known verdict; an instance has no result."
    )
    interrupted: bool
    instances: Readable
    table: Readable
    figures: FiguresModel
    kept_figures: list[Readable] = Field(description="What proved repairs kept.")
    against: list[SideBySideModel]
    broken: list[Readable] = Field(description="Instances without a result, with the reason.")
    rows: list[BenchRowModel]
    ran: int = Field(description="Instances run now.")
    kept: int = Field(description="Rows that were there before.")
    jobs: int
    threads: int
    memory_gib: float | None = Field(description="Resident memory of a process and its children that ends it.")
    measure: str = Field(
        description="cold: wall seconds of a process each; warm: seconds of the search; empty: repair."
    )
    options: str
    seed: int
    wall_s: float
    notes: list[Readable]
    versions: dict[str, str]
    machine: MachineModel
