"""What a command imports, by Python's own account: nobody waits for a library that is not used."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from birdnn.report.publish import dumps
from tests.certify.producer import certificate, write
from tests.cli.conftest import ROOT
from tests.report.outcomes import repair_outcome

LIGHT = ("torch", "scipy", "sklearn", "numba", "matplotlib")
"""What takes a second or so, most of them more than that."""
NEVER = ("scipy.stats", "scipy.optimize", "sklearn", "matplotlib", "evox", "cmaes")
"""What only repairs, estimates or pictures use."""


def imported(*arguments: object) -> tuple[int, set[str]]:
    """The exit status of a command, and all modules that were imported on the way."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "birdnn", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))


def test_every_network_and_property_to_compare_is_looked_for_first(net: Path) -> None:
    """Not only the first of them."""
    for more in (("none.onnx",), (net, "--prop", "none.vnnlib")):
        status, modules = imported("compare", net, *more)
        assert status == 4
        assert "torch" not in modules


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["repair", "--help"], 0),
        (["fetch", "--help"], 0),
        (["doctor"], 0),
        (["report", "no.birdnn"], 4),
        (["verify", "--net", "no.onnx", "--prop", "no.vnnlib"], 4),
        (["repair", "--net", "no.onnx", "--prop", "no.vnnlib"], 4),
        (["compare", "no.onnx", "none.onnx"], 4),
        (["check", "--net", "no.onnx", "--prop", "no.vnnlib", "no.certificate.json.gz"], 4),
    ],
)
def test_little_is_imported_where_little_is_done(arguments: list[str], status: int) -> None:
    found = imported(*arguments)
    assert found[0] == status
    assert not {*LIGHT, "numpy", "onnx"} & found[1]


@pytest.mark.thorough
def test_data_is_fetched_and_a_result_reported_without_computing(net: Path, holds: Path, tmp_path: Path) -> None:
    """Neither needs a network: who fetches copies files, and a report is made from what is stored."""
    status, modules = imported("fetch", "demo", "--to", tmp_path / "demo")
    assert status == 0
    assert not {*LIGHT, "numpy", "onnx"} & modules

    folder = tmp_path / "result"
    record = repair_outcome(suite=None)  # a record of today lacks nothing that a suite would say
    folder.mkdir()
    (folder / "repair.json").write_text(dumps(record), encoding="utf-8")
    status, modules = imported("report", folder, "--format", "json,md,sarif,intoto")
    assert status == 0
    assert not {*LIGHT, "onnx", "onnxruntime"} & modules
    assert "jinja2" in modules  # the account is one of imports

    status, modules = imported("report", folder, "--format", "html")
    assert status == 0
    assert not {"torch", "sklearn", "numba", "onnx"} & modules


def test_a_certificate_is_checked_without_the_prover(net: Path, holds: Path, tmp_path: Path) -> None:
    """Neither its libraries nor its modules: whoever checks does not even load what proved."""
    path = write(tmp_path / "it.certificate.json.gz", certificate(net, [holds], "float32"))
    status, modules = imported("check", "--net", net, "--prop", holds, path)
    assert status == 0
    assert not set(LIGHT) & modules
    assert not [name for name in modules if re.match(r"birdnn\.(bounds|verify|network|repair)\b", name)]


def test_a_proof_needs_no_library_of_repairs(net: Path, holds: Path) -> None:
    status, modules = imported("verify", "--net", net, "--prop", holds)
    assert status == 0
    assert "torch" in modules  # the account is one of imports
    assert not set(NEVER) & modules
    # what first bounds close takes no compiled loops, a gradient of one number no symbolic algebra, and nobody checks
    assert not {"sympy", "numba.core", "scipy.linalg", "birdnn.certify.check.judge"} & modules


@pytest.mark.thorough
def test_the_checker_runs_where_numpy_and_onnx_are_all_there_is(net: Path, holds: Path, tmp_path: Path) -> None:
    """Every other package is hidden from it, what it accepts by the way of threads included."""
    certificate = tmp_path / "c.certificate.json.gz"
    assert imported("verify", "--net", net, "--prop", holds, "--certificate", certificate)[0] == 0
    alone = (
        "import sys; from importlib.metadata import packages_distributions\n"
        "theirs = {'numpy', 'onnx', 'google', 'ml_dtypes', 'typing_extensions', 'birdnn'}\n"
        "sys.modules.update(dict.fromkeys(set(packages_distributions()) - theirs))\n"
        "from birdnn.certify.check.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["--net", str(net), "--prop", str(holds), str(certificate)]
    done = subprocess.run([sys.executable, "-c", alone, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, prop, about, digest = done.stdout.splitlines()
    assert first.startswith("accepted: float64, all ")
    assert prop == f"{holds.name}: proved"
    assert about == "what is proved speaks about the network over the real numbers"
    assert digest == f"sha256 of the certificate: {hashlib.sha256(certificate.read_bytes()).hexdigest()}"


def test_who_installed_the_checker_alone_is_told_what_is_missing() -> None:
    """``pip install --no-deps birdnn`` is enough for birdnn-check."""
    without = "import sys; sys.modules['typer'] = None; from birdnn.cli import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", without], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "birdnn: error: the package typer is not installed: pip install . in birdnn's source folder brings all that it "
        "needs. The checker alone is there: birdnn-check --help\n"
    )


def test_python_says_what_is_missing_too() -> None:
    without = "import sys; sys.modules['torch'] = None; import birdnn; birdnn.verify"
    done = subprocess.run([sys.executable, "-c", without], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: birdnn.verify: the package torch is not inst")
    assert len(done.stderr.splitlines()) < 8


def test_a_missing_module_of_ours_is_our_own_fault() -> None:
    """Status 1 would say that something is violated."""
    without = "import sys; sys.modules['birdnn.cli.app'] = None; from birdnn.cli import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", without], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert "ModuleNotFoundError: import of birdnn.cli.app halted" in done.stderr


def test_the_standards_command_names_a_missing_package_too(tmp_path: Path) -> None:
    query = "from birdnn.cli.vnnlib import main; main(['verify', 'q.vnnlib'])"
    without = f"import sys; sys.modules['rich.console'] = None; {query}"
    done = subprocess.run([sys.executable, "-c", without], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("birdnn-vnnlib: error: the package rich is not installed: ")
