"""What a result says of the machine and of versions, wherever the system is silent as well."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from birdnn.pipeline import facts
from birdnn.pipeline.facts import PACKAGES, machine, versions


def test_versions_are_those_of_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    assert list(found) == ["python", *PACKAGES]
    assert found["python"] == platform.python_version()
    assert found["numpy"] == metadata.version("numpy")
    monkeypatch.setattr(facts, "PACKAGES", ("torch", "a-package-that-nobody-made"))
    assert versions()["a-package-that-nobody-made"] == "not installed"
    assert versions()["torch"] == metadata.version("torch")


def test_the_machine_of_this_process() -> None:
    found = machine()
    assert (found.device, found.threads) == ("cpu", torch.get_num_threads())
    assert found.system == f"{platform.system()} {platform.release()} {platform.machine()}"


def test_a_device_has_the_name_that_torch_has_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = SimpleNamespace(get_num_threads=lambda: 3, cuda=SimpleNamespace(get_device_name=lambda d: f"name of {d}"))
    monkeypatch.setitem(sys.modules, "torch", known)
    assert (machine("cuda").device, machine("cuda").threads) == ("name of cuda", 3)


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert machine().cores == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine().cores == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine().cores == 1


@pytest.mark.parametrize(
    ("said", "threads"),
    [("4", 4), ("2,3", 2), (" 5 ", 5), ("", 6), ("0", 6), ("-1", 6), ("many", 6), ("1.5", 6), (None, 6)],
)
def test_threads_without_torch_are_those_that_it_will_have(
    monkeypatch: pytest.MonkeyPatch, said: str | None, threads: int
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    if said is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    found = machine()
    assert (found.threads, found.cores) == (threads, 6)
    assert "torch" not in sys.modules


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (b"processor\t: 0\nmodel name\t: Fast: 3 GHz \nmodel name\t: Other\n", "Fast: 3 GHz"),
        (b"Processor\t: 0\n", "as the platform says"),
        (b"model name\t: \xff\n", "as the platform says"),
        (None, "as the platform says"),
    ],
)
def test_the_processor_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bytes | None, name: str
) -> None:
    place = tmp_path / "cpuinfo"
    if told is not None:
        place.write_bytes(told)
    monkeypatch.setattr(facts, "Path", lambda _: place)
    monkeypatch.setattr(platform, "processor", lambda: "as the platform says")
    assert machine().cpu == name


def test_a_processor_that_nobody_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "Path", lambda _: tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine().cpu == platform.machine()


def test_memory_in_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 655_360}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert machine().memory_gib == 2.5

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert machine().memory_gib is None
    monkeypatch.delattr(os, "sysconf")
    assert machine().memory_gib is None
