"""What ``birdnn property`` does. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from birdnn.cli.failures import complain
from birdnn.cli.property import ConvertOptions, ExplainOptions, MakeOptions, RelateOptions
from birdnn.cli.terminal import print_first_line, show
from birdnn.errors import OutputError
from birdnn.formats import read_network, read_property
from birdnn.formats.files import stem_and_kind, write_bytes
from birdnn.formats.vnnlib_text import Version
from birdnn.pipeline.stating import restate_property, state_relation, state_rule, told_property
from birdnn.records import RelationRequest, RuleRequest
from birdnn.report.stated import property_summary
from birdnn.spec import Property


def finish_make(options: MakeOptions) -> int:
    """Write the property and say it; 0."""
    _require_new(options.out)
    request = RuleRequest(
        net=options.net,
        never=options.never,
        always=options.always,
        when=options.when,
        domain=options.domain,
        units=options.units.value,
        suite=options.suite,
        as_name=options.as_name,
        name=stem_and_kind(options.out)[0],
    )
    _write_property(state_rule(request), options.to.value, options.out, options.net)
    if options.quiet:
        print_first_line(str(options.out))
    else:
        # from the file: what is told is what it says to whoever reads it
        told = told_property(options.out, options.net, suite=options.suite, as_name=options.as_name)
        show(lambda width: property_summary(told))
    return 0


def finish_relate(options: RelateOptions) -> int:
    """Write the query and say how it is decided; 0."""
    _require_new(options.out)
    request = RelationRequest(
        net=options.net,
        within=options.within,
        same_decision=None if options.same_decision is None else options.same_decision.value,
        rising=options.rising,
        falling=options.falling,
        steepness=options.steepness,
        symmetric=options.symmetric,
        domain=options.domain,
        suite=options.suite,
        as_name=options.as_name,
    )
    text, networks = state_relation(request)
    write_bytes(options.out, text.encode())
    print_first_line(str(options.out))
    if not options.quiet:
        nets = f"--net f={options.net}" + (" --net g=FILE" if networks > 1 else "")
        complain(f"birdnn verify {nets} --prop {options.out} decides it")
    return 0


def finish_explain(options: ExplainOptions) -> int:
    """Say what the property says; 0."""
    told = told_property(options.prop, options.net, units=options.units.value)
    show(lambda width: property_summary(told))
    return 0


def finish_convert(options: ConvertOptions) -> int:
    """Write the property in the other version; 0."""
    _require_new(options.out)
    _write_property(read_property(options.prop), options.to.value, options.out, options.net)
    print_first_line(f"{options.out}: says in VNN-LIB {options.to.value} what {options.prop} says")
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
