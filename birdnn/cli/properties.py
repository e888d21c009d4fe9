"""What ``birdnn property`` does. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from birdnn.cli.failures import complain
from birdnn.cli.terminal import print_first_line, show
from birdnn.errors import MismatchError, OutputError
from birdnn.formats import read_network, read_property
from birdnn.formats.files import write_bytes
from birdnn.formats.vnnlib_text import Version
from birdnn.pipeline.stating import restate_property, state_relation, state_rule, told_property
from birdnn.printable import counted
from birdnn.records import RelationRequest, RuleRequest, Units
from birdnn.report.stated import property_summary
from birdnn.spec import Property


def finish_make(request: RuleRequest, out: Path, to: Version, *, quiet: bool) -> int:
    """Write the property and say it; 0."""
    _require_new(out)
    _write_property(state_rule(request), to, out, request.net)
    if quiet:
        print_first_line(str(out))
    else:
        # from the file: what is told is what it says to whoever reads it
        told = told_property(out, request.net, suite=request.suite, as_name=request.as_name)
        show(lambda width: property_summary(told))
    return 0


def finish_relate(request: RelationRequest, second: Path | None, out: Path, *, quiet: bool) -> int:
    """Write the query and say how it is decided; 0. `second`: the other network, where it is said.

    Raises:
        MismatchError: it is of another size, or the relation is about one network.
    """
    _require_new(out)
    text, networks = state_relation(request)
    if second is not None:
        if networks == 1:
            raise MismatchError(f"this relation is about one network at two inputs; {second} is one more")
        one, other = (read_network(path) for path in (request.net, second))
        if (one.n_inputs, one.n_outputs) != (other.n_inputs, other.n_outputs):
            sizes = " and ".join(
                f"{counted(net.n_inputs, 'input')}, {counted(net.n_outputs, 'output')}" for net in (one, other)
            )
            raise MismatchError(f"{request.net} and {second} are of different sizes: {sizes}")
    write_bytes(out, text.encode())
    print_first_line(str(out))
    if not quiet:
        nets = f"--net f={request.net}" + (f" --net g={second or 'FILE'}" if networks > 1 else "")
        complain(f"birdnn verify {nets} --prop {out} decides it")
    return 0


def finish_explain(prop: Path, net: Path | None, units: Units) -> int:
    """Say what the property says; 0."""
    told = told_property(prop, net, units=units)
    show(lambda width: property_summary(told))
    return 0


def finish_convert(prop: Path, net: Path | None, out: Path, to: Version) -> int:
    """Write the property in the other version; 0."""
    _require_new(out)
    # as if it were of no file: the words of this one go with it, for what is written is compared with what was read
    _write_property(replace(read_property(prop), path=None), to, out, net)
    print_first_line(f"{out}: says in VNN-LIB {to} what {prop} says")
    return 0


def _require_new(out: Path) -> None:
    """See that a property can become that file.

    Raises:
        OutputError: it is called otherwise, or there already: a property may be somebody's only one.
    """
    if not out.name.removesuffix(".gz").endswith(".vnnlib"):
        raise OutputError(str(out), "the name of a property ends in .vnnlib or .vnnlib.gz")
    if out.exists():
        raise OutputError(str(out), "is there already, and properties are never overwritten; name another file")


def _write_property(prop: Property, to: Version, out: Path, net: Path | None) -> None:
    shapes: tuple[Sequence[int], Sequence[int]] | None = None
    if net is not None:
        read = read_network(net)
        prop = prop.fitted(read.n_inputs, read.n_outputs)
        shapes = read.input_shape, read.output_shape
    write_bytes(out, restate_property(prop, to, shapes).encode())
