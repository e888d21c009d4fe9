"""The machine that a result was made on, as published."""

from __future__ import annotations

from pydantic import Field

from birdnn.records import Machine
from birdnn.report.model import Model


class MachineModel(Model):
    """What the command ran on."""

    system: str
    cpu: str
    cores: int = Field(description="Cores that this process may use.")
    threads: int
    memory_gib: float | None
    device: str


def machine_model(machine: Machine) -> MachineModel:
    """The machine as published."""
    return MachineModel(
        system=machine.system,
        cpu=machine.cpu,
        cores=machine.cores,
        threads=machine.threads,
        memory_gib=machine.memory_gib,
        device=machine.device,
    )
