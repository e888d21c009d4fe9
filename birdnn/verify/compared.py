"""Networks whose outputs are only compared with each other, without the operator at their end that keeps the order.

Softmax keeps the order of what it reads, over the reals; its logarithm keeps the differences. What such an operator
reads has bounds where the operator itself has loose ones, and a gradient where the operator has none any more. In
float32 different numbers become the same there, so that nothing is left out.
"""

from __future__ import annotations

import math
from dataclasses import replace

from birdnn.graph import Node
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.rounding import Semantics
from birdnn.spec import Property, Row

_BY_ORDER, _BY_DIFFERENCE = "Softmax", "LogSoftmax"


def without_tail(net: Network, prop: Property, semantics: Semantics) -> Network:
    """A network over the reals whose outputs satisfy ``prop`` where those of ``net`` do; ``net`` itself where each
    output matters by itself.

    Args:
        net: the network with the numbers of its file.
        prop: what is asked of its outputs.
        semantics: what is spoken of.
    """
    rows = [row for region in prop.regions for polytope in region.unsafe for row in polytope.rows]
    makers = {node.output: node for node in net.nodes}
    name = net.output_name
    cut = name
    while semantics == "real" and (node := makers.get(name)) is not None:
        if not (operator(node.op).moves == "shape" or _is_tail(net, node, rows)):
            break
        name = node.inputs[0]
        # a reshape goes together with the softmax before it; by itself it is no reason for another network
        cut = cut if operator(node.op).moves == "shape" else name
    if cut == net.output_name or cut == net.input_name:
        return net
    nodes, wanted = list[Node](), {cut}
    for node in reversed(net.nodes):
        if node.output in wanted:
            nodes.insert(0, node)
            wanted.update(node.inputs)
    graph = replace(net.graph, nodes=tuple(nodes), output_name=cut)
    initialisers = net.initialisers()
    constants = {name: value for name, value in net.values().items() if name not in initialisers}
    return Network(graph, initialisers, constants, source=net.source, sha256=net.sha256).train(net.training)


def left_out_remark(net: Network, prop: Property, semantics: Semantics) -> str:
    """What `without_tail` leaves out, in a sentence; empty where it leaves out nothing."""
    front = without_tail(net, prop, semantics)
    if front is net:
        return ""
    ops = [node.op for node in net.nodes[len(front.nodes) :] if node.op in (_BY_ORDER, _BY_DIFFERENCE)]
    told = " and ".join(dict.fromkeys(ops))
    return f"{prop.name} compares outputs; {told} changes nothing in this over the reals, and searches leave it out."


def _is_tail(net: Network, node: Node, rows: list[Row]) -> bool:
    """Is a node a softmax over all outputs, in which all that is asked stays as it is?"""
    if node.op not in (_BY_ORDER, _BY_DIFFERENCE):
        return False
    shape = net.graph.shapes[node.output]
    # a softmax over some of the outputs orders these only
    if math.prod(shape) != shape[node.attributes["axis"]] or node.inputs[0] not in net.graph.dependent:
        return False
    return all(_survives_softmax(row, by_order=node.op == _BY_ORDER) for row in rows)


def _survives_softmax(row: Row, *, by_order: bool) -> bool:
    """Does a row hold of numbers exactly where it holds of their softmax (by order), or of its logarithm?"""
    # a logarithm of softmax subtracts one number from all, which cancels where coefficients sum to zero;
    # order alone tells two outputs apart, and no distance between them
    given = [coefficient for coefficient in row.coefficients if coefficient]
    return not sum(given) and (not by_order or (len(given) == 2 and not row.bound))
