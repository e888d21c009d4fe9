"""Asks Marabou, in a process that may crash: one question as JSON on stdin, one answer as JSON on stdout.

A question: ``model`` (path of an ONNX file), ``timeout_s``, ``slice_s``, and ``regions``, each with ``lower`` and
``upper`` (network units) and ``unsafe``, a list of polytopes with rows ``a`` and right-hand sides ``b``. An answer:
``answer`` (``sat``, ``unsat``, ``timeout`` or ``unknown``), ``x`` where it is sat, ``queries``, ``open``.

A box on which a query does not end within ``slice_s`` is cut in two at its relatively widest edge; the halves get twice
the time. The file runs as a script and imports nothing of birdnn, so that nothing but Marabou answers.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Query:
    """One box and one unsafe polytope; `widths` are those of the whole region."""

    lower: list[float]
    upper: list[float]
    widths: list[float]
    polytope: dict[str, Any]
    slice_s: float

    def halves(self) -> list[Query]:
        """The box cut at the edge that is widest as a share of the region's; none where no edge can be cut."""
        shares = [
            (u - low) / w if w > 0 else 0.0 for low, u, w in zip(self.lower, self.upper, self.widths, strict=True)
        ]
        i = max(range(len(shares)), key=shares.__getitem__)
        middle = self.lower[i] + (self.upper[i] - self.lower[i]) / 2
        # an edge without a number in between would give the same box again, for ever
        if not self.lower[i] < middle < self.upper[i]:
            return []
        above, below = list(self.lower), list(self.upper)
        above[i] = below[i] = middle
        more = 2 * self.slice_s
        return [
            Query(self.lower, below, self.widths, self.polytope, more),
            Query(above, self.upper, self.widths, self.polytope, more),
        ]


def main() -> None:
    """Answer the question on stdin. Marabou's own words go to stderr."""
    # Marabou prints from C++: its words go to descriptor 1, which from now on is stderr
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    question = json.load(sys.stdin)
    json.dump(answer(question), answers)
    answers.close()


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Ask for each polytope of each region; the first point that Marabou finds ends it."""
    until = time.monotonic() + question["timeout_s"]
    todo = [
        Query(
            region["lower"],
            region["upper"],
            [u - low for low, u in zip(region["lower"], region["upper"], strict=True)],
            polytope,
            question["slice_s"],
        )
        # taken from the end: so the first region is asked first
        for region in reversed(question["regions"])
        for polytope in reversed(region["unsafe"])
    ]
    queries, unknown = 0, 0
    while todo:
        query = todo.pop()
        left = until - time.monotonic()
        if left <= 0:
            return {"answer": "timeout", "queries": queries, "open": len(todo) + 1}
        queries += 1
        word, x = ask(question["model"], query, min(left, query.slice_s))
        if word == "sat":
            return {"answer": "sat", "x": x, "queries": queries, "open": len(todo)}
        # out of time at a box that cannot be cut it stays unknown, as after any word but unsat
        if word == "timeout" and (halves := query.halves()):
            todo += halves
        elif word != "unsat":
            unknown += 1
    return {"answer": "unknown" if unknown else "unsat", "queries": queries, "open": unknown}


def ask(model: str, query: Query, seconds: float) -> tuple[str, list[float]]:
    """One query: the word and, for sat, the input."""
    from maraboupy import Marabou

    # read anew: bounds and rows of the last query would stay in it
    net = Marabou.read_onnx(model)
    inputs = [int(v) for part in net.inputVars for v in part.flatten()]
    outputs = [int(v) for part in net.outputVars for v in part.flatten()]
    for variable, low, up in zip(inputs, query.lower, query.upper, strict=True):
        net.setLowerBound(variable, low)
        net.setUpperBound(variable, up)
    for row, bound in zip(query.polytope["a"], query.polytope["b"], strict=True):
        terms = [(variable, c) for variable, c in zip(outputs, row, strict=True) if c]
        if terms:
            net.addInequality([v for v, _ in terms], [c for _, c in terms], bound)
        # 0 <= bound is false: the polytope is empty. Where it is true the row says nothing
        elif bound < 0:
            return "unsat", []
    # it takes whole seconds
    options = Marabou.createOptions(verbosity=0, timeoutInSeconds=max(1, math.ceil(seconds)))
    word, values, _ = net.solve(verbose=False, options=options)
    if word == "sat":
        return "sat", [values[variable] for variable in inputs]
    # a word that is not known here proves nothing
    return {"unsat": "unsat", "TIMEOUT": "timeout"}.get(word, "unknown"), []


if __name__ == "__main__":
    main()
