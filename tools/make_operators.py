"""Writes docs/operators.md: what happens to each operator of a network, found out on the networks of the tests.

``python -m tools.make_operators`` asks each network of tests/formats/test_onnx_operators.py what its operators became,
and the tables of the package what is known of that.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch

from birdnn.bounds.graph import GraphBound
from birdnn.bounds.interval import rule_for
from birdnn.bounds.planes import RULES
from birdnn.certify.check import network as chains
from birdnn.certify.check.graphs import reader as graphs
from birdnn.chain import as_activation
from birdnn.errors import UnsupportedOpError
from birdnn.formats.integers import INTEGERS
from birdnn.formats.lowering import FOLDED
from birdnn.formats.onnx import network_from_onnx
from birdnn.formats.rewriting import READ
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import operator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operators.md"

_TOP = """# Operators

What is done with each operator of ONNX, opset 7 and later. The table is made by `python -m tools.make_operators` from
the code and from the networks of the tests, each of which is compared with onnxruntime at a thousand inputs.

read as
: The operators that it becomes when a file is read, where it does not stay what it is. "a constant": it is computed
  while the file is read, and takes constants only.

intervals
: "reals, float32": bounds by intervals hold of the function over the reals and, asked with `--semantics float32`, of
  executions in float32. "reals": nothing is claimed of executions, since nobody measured what runtimes err by. Where a
  logarithm, a root or a quotient may be undefined, nothing is claimed of its value.

linear bounds
: "chains": a network of such operators is a chain, which has the fastest bounds, those of float32 executions too.
  "graphs": bounds are propagated backwards through it in any graph, over the reals, and of executions where intervals
  are. Where there are both, one depends on the form, for example on how many operands depend on the input. Where there
  is none, its value lies between the ends of its interval.

certificate
: Where the independent checker reads it: in chains, whose certificates may speak about executions in float32 too, or in
  graphs, over the reals. Of a network with any other operator no proof leaves a certificate, and that of a
  counterexample says `not checked`.

repair
: May a repair change its constants? All others stay as they are; a repair of what is before or behind them is possible.

"""

_BOTTOM = """
Of constant integers and truth values, with which exporters compute shapes, these are computed as well:
{integers}.

A softmax, or its logarithm, of all outputs at the end of a network is left out of searches over the reals where the
property only compares outputs, and the outcome says so; counterexamples are run through the whole file.

ArgMax is read where it makes all that a network gives, one label: Y_0 is the place of the greatest of the values that
it reads, and what is asked of it is asked of them, exactly, with ties as the operator breaks them. Searches, repairs
and samples work on these values; a counterexample is one whose label, as the file gives it, is unsafe. There is no
certificate. Elsewhere ArgMax is refused: compare the values that it reads.

Resize and Upsample are read with constant scales or sizes: nearest entries in any number of axes, interpolation along
the last two of four where its weights are whole numbers of 2048ths (scales such as 2 and 4 with half pixels), since a
runtime rounds others differently. Einsum takes letters, one or two values, and no diagonal.

A weight that DequantizeLinear makes of integers is read, and proofs speak about the function over the reals, never
about runs in float32: a runtime may multiply by the integers instead. In some matrix products onnxruntime quantises
what they are multiplied with as well; where that is seen, the file is refused, since it is not the function that it
says.
"""


@dataclass
class _Seen:
    """What the networks show of one operator."""

    became: set[str] = field(default_factory=set)
    intervals: set[str] = field(default_factory=set)
    linear: set[str] = field(default_factory=set)
    repaired: bool = False


def page(networks: Iterable[bytes]) -> str:
    """The text of the page, from ONNX files in which each operator is; nodes are called ``the_<operator>``."""
    seen = {op: _Seen() for op in READ}
    for data in networks:
        net = network_from_onnx(data, check=False)
        for op in {proto.op_type for proto in onnx.load_model_from_string(data).graph.node} & set(READ):
            _look(net, op, seen[op])
    rows = [f"| {' | '.join(line)} |" for line in (_HEAD, ["---"] * len(_HEAD))]
    rows += [f"| {' | '.join((op, *_cells(op, found)))} |" for op, found in sorted(seen.items())]
    constant = (set(INTEGERS) | FOLDED) - {"DequantizeLinear", "CastLike"}
    integers = sorted(constant | {op for op in READ if op not in INTEGERS and _on_integers(op)})
    listed = textwrap.fill(", ".join(integers), 118)
    return _TOP + "\n".join(rows) + "\n" + _BOTTOM.format(integers=listed)


_HEAD = ("operator", "read as", "intervals", "linear bounds", "certificate", "repair")


def _on_integers(op: str) -> bool:
    try:
        return operator(op).on_integers
    except UnsupportedOpError:
        return False


def _look(net: Network, op: str, found: _Seen) -> None:
    named = [node for node in net.nodes if node.name == f"the_{op}" or node.name.startswith(f"the_{op}_")]
    nodes = [node for node in named if node.output in net.graph.dependent]
    for node in nodes:
        found.became.add(node.op)
        found.intervals.add("reals" if operator(node.op).unmeasured else "reals, float32")
        rule_for(node)
        found.repaired |= bool(net.repairable.intersection(node.inputs))
    steps = GraphBound(net, torch.device("cpu")).steps
    bounded = {step.output for step in steps if step.affine or step.node.op in {*RULES, "MaxPool"}}
    if nodes and all(_is_linear(net, node) for node in nodes):
        found.linear.add("chains")
    elif nodes and all(node.output in bounded for node in nodes):
        found.linear.add("graphs")


def _is_linear(net: Network, node: Node) -> bool:
    """Has a chain a place for the node?"""
    if as_activation(node) is not None:
        return True
    depends = [name in net.graph.dependent for name in node.inputs]
    known = net.values()
    like = [known[name] if name in known else torch.ones(net.shape_of(name)) for name in node.inputs]
    rule = operator(node.op).linear_part
    return rule is not None and rule(like, depends) is not None


def _cells(op: str, found: _Seen) -> Iterator[str]:
    became = found.became - {op}
    if not found.became:
        yield from ("a constant", "", "", _known(op), "")
        return
    yield ", ".join(sorted(found.became)) if became else ""
    yield min(found.intervals, key=len)
    yield ", ".join(sorted(found.linear))
    yield _known(op)
    yield _yes(found.repaired)


def _known(op: str) -> str:
    """In which networks the checker reads an operator."""
    return "chains, graphs" if op in chains.SUPPORTED else "graphs" if op in graphs.SUPPORTED else ""


def _yes(holds: bool) -> str:
    return "yes" if holds else ""


def main() -> int:
    from tests.formats.test_onnx_operators import CASES

    PAGE.write_text(page(CASES.values()), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
