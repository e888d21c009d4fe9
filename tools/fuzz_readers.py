"""Mutated files of every kind for the readers of user's files: what comes out, how soon, at what cost of memory.

``python -m tools.fuzz_readers KIND N [--seed S] [--keep DIR]``: N files of that kind, or of ``all``. Each is read in
this process by the function that the commands call, and used as far as a command would at once. A line for each kind:

    read        the file was good enough
    refused     an error about the input (status 4) that says what is wrong
    unforeseen  status 4 as well, but from the guard of `birdnn.reading`: the reader had no words of its own
    escaped     any other exception: the command would have ended in status 5
    slow        took more than `SLOW_S` seconds of processor time (`DRAWN_S` where pictures were drawn)
    large       let the process grow by more than `LARGE_MIB`

Exit status 1 where anything escaped, was slow or large. Such files, and one of each kind of unforeseen, go to DIR. What
does not come back at all ends the process with a traceback, `HANG_S` seconds after its round of files began.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import importlib
import io
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from birdnn.campaign.figures import read_results
from birdnn.campaign.instances import read_instances, read_known
from birdnn.campaign.kinds import VERIFY
from birdnn.campaign.run import open_table
from birdnn.certify.read import boxes_on_plane, read_proof
from birdnn.chain import NotAChain
from birdnn.cli.reporting import NAMES, render_report
from birdnn.errors import BirdnnError, UnreadableError
from birdnn.formats.differences import graph_change
from birdnn.formats.inputs import read_inputs
from birdnn.formats.labelled import read_labelled
from birdnn.formats.measure import read_measure
from birdnn.formats.onnx import bytes_with_values, layers_to_onnx, network_from_onnx
from birdnn.formats.partition import read_blocks
from birdnn.formats.relation_text import (
    decision_query,
    equivalence_query,
    monotone_query,
    steepness_query,
    symmetry_query,
)
from birdnn.formats.suite import Suite, read_domain
from birdnn.formats.vnnlib import parse_property, read_declared, read_property
from birdnn.network import Network
from birdnn.pipeline.load import Loaded, load_network, property_statement
from birdnn.pipeline.points import load_points
from birdnn.pipeline.relating import falsify_related
from birdnn.pipeline.reporting import report_files
from birdnn.reading import reading
from birdnn.records import PropertyRepair, VerifySettings
from birdnn.report.pictures_repair import change_picture, progress_picture
from birdnn.spec import Property
from tools.mutations import Change, change_bytes, change_json, change_npz, change_onnx, change_text, packed

SLOW_S, DRAWN_S, HANG_S = 3.0, 12.0, 600.0
LARGE_MIB = 768  # a chain may hold five matrices of 128 MiB while it is folded
_ROUND = 50
_DRAWN = 20
ADDRESS_SPACE_GIB = 16
DATA = Path(__file__).resolve().parent.parent / "birdnn" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the file, which says its format.
        use: reads the file at a path and does what a command does with it at once.
        seeds: good files.
        change: what makes them odd, besides changes of bytes.
        slow_s: seconds of processor time that a file may take.
    """

    name: str
    use: Callable[[Path], object]
    seeds: Sequence[bytes]
    change: Change
    slow_s: float = SLOW_S


@dataclass(slots=True)
class Tally:
    """What came out."""

    counts: Counter[str] = field(default_factory=Counter)
    unforeseen: Counter[str] = field(default_factory=Counter)
    escaped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0

    def bad(self) -> bool:
        """Is there anything to mend?"""
        return any(self.counts[word] for word in ("escaped", "slow", "large"))


# --- what commands do with a file at once


def _network(path: Path) -> None:
    loaded = load_network(path)
    _evaluate(loaded.net, loaded)


def _evaluate(net: Network, loaded: Loaded) -> None:
    """As falsification and the writer of a repaired network do."""
    x = torch.zeros(2, net.n_inputs)
    with torch.no_grad():
        net.with_values({}).float()(x)
    for replay in loaded.replays:
        replay(x[0].numpy())
    with suppress(NotAChain):
        net.chain()
    if loaded.nnet is None:
        bytes_with_values(net, loaded.path)
        graph_change(loaded.path, loaded.path)


def _external(path: Path) -> None:
    """A network whose weights lie in ``data.bin`` beside it; there is a pipe and a link out of the folder as well."""
    _network(path)


def _property(path: Path) -> None:
    read_declared(path)
    _look_at(read_property(path))


def _look_at(prop: Property) -> None:
    property_statement(prop)
    for region in prop.regions:
        region.float32_box()
        region.margin(torch.zeros(1, prop.n_outputs))


def _relation(path: Path) -> None:
    """A query about two networks: all that a command does before it looks for an answer."""
    net = path.with_name("net.onnx")
    if not net.exists():
        net.write_bytes(layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((3, 2)), np.zeros(3))]))
    falsify_related({"f": net, "g": net}, [path], settings=VerifySettings(timeout_s=1e-9))


_NET = network_from_onnx(layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((3, 2)), np.zeros(3))]))


def _plain_points(path: Path) -> None:
    _look_at(load_points(path, _loaded(), "argmax", 0.1, "normalised"))


def _loaded() -> Loaded:
    return Loaded(net=_NET, path=Path("net.onnx"), replays=(), nnet=None, known=None)


def _measure(path: Path) -> None:
    measure = read_measure(path, 2, None)
    measure.draws(_BOX, torch.Generator().manual_seed(0)).take(4)


def _suite(path: Path) -> None:
    suite = Suite.load(path)
    scaling = suite.scaling
    x = torch.zeros(1, len(suite.inputs), dtype=torch.float64)
    scaling.raw_inputs(scaling.normalised_inputs(x))
    suite.domain()
    suite.recognise(_NET)
    for stated in suite.content.properties:
        with suppress(BirdnnError):
            suite.property(stated.name)


def _report(path: Path) -> None:
    """Some reports in every form and with their pictures, which takes seconds; all others as JSON."""
    report = report_files(path)
    if zlib.crc32(path.read_bytes()) % _DRAWN:
        render_report(report, ["json"])
        return
    render_report(report, list(NAMES))
    with reading(path):
        change_picture(report.outcome)
        if isinstance(report.outcome, PropertyRepair):
            progress_picture(report.outcome)


def _proof(path: Path) -> None:
    for region in read_proof(path, _BOX).regions:
        boxes_on_plane(region, np.zeros(2), (0, 1))


# --- good files

_SIMPLE = (
    "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
    + "".join(f"(assert (>= X_{i} 0))\n(assert (<= X_{i} 1))\n" for i in (0, 1))
    + "(assert (>= Y_0 100.0))\n"
)
_NESTED = _SIMPLE + "(assert (or (and (<= Y_0 (* 2 Y_1)) (>= X_0 0.5)) (= (+ Y_0 (- Y_2)) 1e-3)))\n"
_DOMAIN = b"lower = [0.0, -1e-3]\nupper = [1, 2.5]\n"
_BLOCKS = b'[blocks]\nstem = ["a", "b"]\n"an odd one" = "c..d"\nbody = ["x"]\n'
_MARGINALS = b"""name = "traffic"
[[inputs]]
distribution = "normal"
mean = 0.1
sd = 0.05
upper = 0.3
[[inputs]]
distribution = "triangular"
lower = 0.0
mode = 0.1
upper = 0.5
"""
_MORE_MARGINALS = b"""name = "choices"
[[inputs]]
distribution = "choice"
values = [0.0, 0.25]
weights = [3, 1]
[[inputs]]
distribution = "uniform"
lower = -0.5
upper = 0.5
"""
_BOX = parse_property(_SIMPLE.replace("100.0", "1.5"), name="prop")


def _of_tests(module: str, name: str) -> Any:
    """Good files that the tests have."""
    return getattr(importlib.import_module(f"tests.formats.{module}"), name)


def _npz(**arrays: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.savez(made, allow_pickle=False, **arrays)
    return made.getvalue()


def _with_external() -> bytes:
    model = onnx.ModelProto.FromString(layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((3, 2)), np.zeros(3))]))
    offset = 0
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data) or 4 * len(tensor.float_data)
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "data.bin"), ("offset", str(offset)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        offset += size
    return bytes(model.SerializeToString())


def change_external(draw: random.Random, data: bytes) -> bytes:
    """Entries that say where a tensor lies."""
    model = onnx.ModelProto.FromString(data)
    odd = ("data.bin", "", ".", "..", "../data.bin", "/etc/passwd", "/dev/zero", "pipe", "link", "none", "a\0b", "-1",
           "0", "1", "4", "1000", "9" * 40, "1e9", "0x4", " 4 ", "٣", "9223372036854775807", "x" * 5000,
           "folder")  # fmt: skip
    for _ in range(draw.randint(1, 3)):
        tensor = draw.choice(list(model.graph.initializer))
        if not tensor.external_data or draw.random() < 0.2:
            tensor.external_data.add(key=draw.choice(("location", "offset", "length", "checksum", "")), value="4")
        entry = draw.choice(list(tensor.external_data))
        if draw.random() < 0.2:
            entry.key = draw.choice(("location", "offset", "length", "checksum", ""))
        else:
            entry.value = draw.choice(odd)
        if draw.random() < 0.2:
            tensor.dims[:] = [draw.choice((0, 1, 2, 3, 2**40, -1)) for _ in range(draw.randint(0, 3))]
    return bytes(model.SerializeToString())


def _results(folder: Path) -> tuple[bytes, bytes]:
    """What a repair of a small network writes: ``repair.json`` and a certificate, unpacked."""
    (folder / "net.onnx").write_bytes(layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((3, 2)), np.zeros(3))]))
    (folder / "prop.vnnlib").write_text(_SIMPLE.replace("100.0", "1.5"))
    command = [sys.executable, "-m", "birdnn", "repair", "--net", "net.onnx", "--prop", "prop.vnnlib", "--out", "out"]
    command += ["--domain", "property", "--decision", "argmax", "--quiet", "--timeout", "120"]
    subprocess.run(command, cwd=folder, check=False, capture_output=True)
    outcome = (folder / "out" / "repair.json").read_bytes()
    certificates = list((folder / "out").glob("*.certificate.json.gz"))
    return outcome, gzip.decompress(certificates[0].read_bytes()) if certificates else outcome


def kinds(folder: Path, wanted: Sequence[str]) -> Mapping[str, Kind]:
    """Every kind; `folder` takes what good files refer to."""
    if not set(wanted) & {"outcome", "certificate"}:
        outcome = certificate = b"{}"
    else:
        outcome, certificate = _results(folder)
    instances = b"onnx,vnnlib,timeout\nnet.onnx,a.vnnlib,10\n\"[('f', 'net.onnx')]\",b.vnnlib,1e2\n"
    onnx_seeds = [*_of_tests("test_onnx_operators", "CASES").values(), layers_to_onnx([([[1.0, 2.0]], [0.5])])]
    others = [_of_tests("test_ports", "several")(), _of_tests("test_repairable", "constants")()]
    others += [_of_tests("test_prepared", "functions")(calls=2), _of_tests("test_prepared", "classifier")(zipmap=False)]
    others += [_of_tests("label_cases", "classifier")()]
    onnx_seeds += 20 * others  # as often as all single operators together
    points = [b"x_0,x_1,decision\n0.5,1e-3,2\n1,2,0\n", b"X_0,x_1,y_0,y_1,y_2,tolerance\n0.5,1,-2,3,4,0.125\n"]
    labels = np.array([0, 1, 2, 1])
    acasxu = (DATA / "properties" / "acasxu.toml").read_bytes()
    made: dict[str, Kind] = {}

    def add(
        word: str,
        name: str,
        use: Callable[[Path], object],
        seeds: Sequence[bytes],
        change: Change,
        slow_s: float = SLOW_S,
    ) -> None:
        made[word] = Kind(name=name, use=use, seeds=seeds, change=change, slow_s=slow_s)

    add("onnx", "bad.onnx", _network, onnx_seeds, change_onnx)
    add("external", "bad.onnx", _external, [_with_external()], change_external)
    add("nnet", "bad.nnet", _network, [_of_tests("test_nnet", "TEXT").encode()], change_text)
    add("vnnlib", "bad.vnnlib", _property, [_SIMPLE.encode(), _NESTED.encode()], change_text)
    queries = [
        _of_tests("test_vnnlib2", "VERSION_2").format(kind=kind, more="").encode() for kind in ("real", "float32")
    ]
    add("vnnlib2", "bad.vnnlib", _property, queries, change_text)
    add("relation", "bad.vnnlib", _relation, [query.encode() for query in _relations()], change_text)
    add("points", "bad.csv", _plain_points, points, change_text)
    labelled = [_npz(x=np.ones((4, 2), np.float32), y=labels)]
    add("labelled", "bad.npz", lambda path: read_labelled(path, _NET), labelled, change_npz)
    add("inputs", "bad.npz", lambda path: read_inputs(path, _NET), labelled, change_npz)
    add("table of inputs", "bad.csv", lambda path: read_inputs(path, _NET), points, change_text)
    add("samples", "bad.csv", _measure, [b"# samples\na,b\n0.5,0.25\n-1e-3,2.0\n"], change_text)
    arrays = [_npz(x=np.full((3, 2), 0.5)), _npz(a=np.ones((3, 2), np.int8))]
    add("arrays", "bad.npz", _measure, arrays, change_npz)
    add("marginals", "bad.toml", _measure, [_MARGINALS, _MORE_MARGINALS], change_text)
    add("suite", "bad.toml", _suite, [acasxu, _small_suite()], change_text)
    add("domain", "bad.toml", read_domain, [_DOMAIN], change_text)
    add("blocks", "bad.toml", lambda path: read_blocks([str(path)]), [_BLOCKS], change_text)
    add("instances", "bad.csv", lambda path: read_instances(path), [instances], change_text)
    add("repairs", "bad.csv", lambda path: read_instances(path, timeout_s=5, repair=True), [instances], change_text)
    add("known", "bad.csv", read_known, [b"onnx,vnnlib,verdict\na.onnx,b.vnnlib,sat\n"], change_text)
    add("results", "bad.csv", read_results, [b"net,prop,result,time\na,b,unsat,1.5\nc,d,sat,2\n"], change_text)
    table = [",".join((*VERIFY.columns, "commit", "date")).encode() + b"\r\n"]
    add("table", "bad.csv", lambda path: open_table(VERIFY, path), table, change_text)
    add("outcome", "repair.json", _report, [outcome], change_json, slow_s=DRAWN_S)
    add("certificate", "bad.json", _proof, [certificate], change_json)
    return made


def _relations() -> list[str]:
    """Every relation that birdnn writes, of two inputs and three outputs; one with a bounded difference."""
    box = [(0.0, 1.0), (-0.5, 0.25)]
    near = equivalence_query(box, 3, 0.5).replace("(assert (== X_f[1] X_g[1]))", _NEAR)
    return [
        equivalence_query(box, 3, 0.5),
        decision_query(box, 3, "least"),
        monotone_query(box, 3, 0, 1, tolerance=0.125),
        steepness_query(box, 3, 1, 0, 2.0),
        symmetry_query(box, 3, {0: 1, 1: 0}, {1: 2, 2: 1}, 0.25),
        near,
    ]


_NEAR = (
    "(assert (<= (- X_f[1] X_g[1]) 0.125))\n(assert (<= (- X_g[1] X_f[1]) 0.125))\n(assert (<= X_g[0] (* 2.0 X_f[1])))"
)


def _small_suite() -> bytes:
    quantity = 'name = "{}"\ntext = "it"\nlower = 0\nupper = 1.5\nmean = 0.5\nrange = 2\n'
    parts = ['suite = "small"\ndecision = "argmin"\nunits = "raw"\n', "[domain]\nlower = [0.0, 0.0]\nupper = [1, 1]\n"]
    parts += [f"[[inputs]]\n{quantity.format(name)}" for name in "ab"]
    parts += [f"[[outputs]]\n{quantity.format(name)}" for name in "uvw"]
    parts += ['[[properties]]\nname = "p"\nfile = "p.vnnlib"\ntext = "t"\n']
    parts += [f'[[networks]]\nname = "n"\nweights_sha256 = "{"0" * 64}"\nproperties = ["p"]\n']
    return "".join(parts).encode()


# --- the run


def mutants(kind: Kind, draw: random.Random, count: int) -> Iterator[bytes]:
    """Changed files: two of three in the structure of the format, the others in bytes."""
    for _ in range(count):
        seed = draw.choice(kind.seeds)
        changed = (kind.change if draw.random() < 0.67 else change_bytes)(draw, seed)
        yield packed(draw, changed) if draw.random() < 0.03 else changed


def run(kind: Kind, count: int, seed: int, folder: Path, keep: Path | None) -> Tally:
    """So many mutants of a kind, one after the other.

    Args:
        kind: of files.
        count: how many.
        seed: of the changes.
        folder: where files are written, and lie beside what they refer to.
        keep: a folder for those that something is wrong with.
    """
    tally, path, began = Tally(), folder / kind.name, time.perf_counter()
    for number, data in enumerate(mutants(kind, random.Random(seed), count)):
        if number % _ROUND == 0:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
        path.write_bytes(data)
        start, size = time.process_time(), _peak_mib()
        word = _outcome(kind, path, tally)
        spent, grown = time.process_time() - start, _peak_mib() - size
        tally.counts[word] += 1
        words = [word] * (word in ("escaped", "unforeseen")) + ["slow"] * (spent > kind.slow_s)
        words += ["large"] * (grown > LARGE_MIB and number > 0)
        tally.counts.update(words[word in ("escaped", "unforeseen") :])
        tally.slowest = max(tally.slowest, spent)
        if keep is not None and words and (word != "unforeseen" or len(words) > 1 or len(tally.unforeseen) < 40):
            shutil.copy(path, keep / f"{'-'.join(words)}-{seed}-{number}-{kind.name}")
    faulthandler.cancel_dump_traceback_later()
    tally.seconds = time.perf_counter() - began
    return tally


def _outcome(kind: Kind, path: Path, tally: Tally) -> str:
    try:
        kind.use(path)
    except UnreadableError as error:
        tally.unforeseen[_signature(error.__cause__ or error)] += 1
        return "unforeseen"
    except BirdnnError as error:
        if error.exit_status == 4:
            return "refused"
        tally.escaped[_signature(error)] += 1
        return "escaped"
    except Exception as error:  # noqa: BLE001 - this is what we look for
        tally.escaped[_signature(error)] += 1
        return "escaped"
    return "read"


def _signature(error: BaseException) -> str:
    """Where it came from and what it is."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((frame for frame in reversed(frames) if "birdnn" in frame.filename), frames[-1])
    return f"{Path(ours.filename).name}:{ours.lineno} {type(error).__name__}: {str(error)[:120]!r}"


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def furnish(folder: Path) -> None:
    """What external data may name, good or not."""
    (folder / "data.bin").write_bytes(np.arange(64, dtype=np.float32).tobytes())
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe")


def main() -> int:
    """Run the command line; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz_readers", description=__doc__.splitlines()[0])
    parser.add_argument("kind")
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    limit = ADDRESS_SPACE_GIB << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    bad = False
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        folder = Path(scratch)
        furnish(folder)
        every = kinds(folder, ["outcome"] if options.kind == "all" else [options.kind])
        for name in every if options.kind == "all" else [options.kind]:
            if options.keep is not None:
                (options.keep / name).mkdir(parents=True, exist_ok=True)
            tally = run(every[name], options.count, options.seed, folder, options.keep and options.keep / name)
            told = ", ".join(f"{count} {word}" for word, count in sorted(tally.counts.items()))
            print(f"{name}: {options.count} files, {told}; {tally.seconds:.0f} s, slowest {tally.slowest:.2f} s")
            for word, found in (("escaped", tally.escaped), ("unforeseen", tally.unforeseen)):
                for signature, count in found.most_common(20):
                    print(f"  {word} {count}: {signature}")
            sys.stdout.flush()
            bad |= tally.bad()
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
