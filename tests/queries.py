"""Queries of VNN-LIB 2.0: about two networks f and g, put together from their assertions, and about one."""

from __future__ import annotations


def query(n: int, m: int, *assertions: str, like: str = "isomorphic-to f", low: float = -1.0, high: float = 1.0) -> str:
    """A query about f and g on all inputs of f between ``low`` and ``high``."""
    head = "(vnnlib-version <2.0>)\n"
    for name, same in (("f", ""), ("g", f"({like})" if like else "")):
        head += f"(declare-network {name} {same} (declare-input X_{name} real [{n}])"
        head += f"(declare-output Y_{name} real [{m}]))\n"
    head += "".join(f"(assert (>= X_f[{i}] {low}))(assert (<= X_f[{i}] {high}))\n" for i in range(n))
    return head + "\n".join(f"(assert {each})" for each in assertions) + "\n"


def same(n: int) -> list[str]:
    """The inputs of both are equal."""
    return [f"(== X_f[{i}] X_g[{i}])" for i in range(n)]


def apart(m: int, epsilon: float) -> str:
    """Some output of g is further than that from f's."""
    each = (f"(>= Y_g[{j}] (+ Y_f[{j}] {epsilon:.9f})) (<= Y_g[{j}] (- Y_f[{j}] {epsilon:.9f}))" for j in range(m))
    return f"(or {' '.join(each)})"


def query_over(element: str) -> str:
    """A query about one network of two inputs between 0 and 1: its output is at least 5; numbers are of this type."""
    box = "(>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)"
    return (
        f"(vnnlib-version <2.0>)(declare-network N (declare-input X {element} [1,2])"
        f"(declare-output Y {element} [1,1]))(assert (and {box}))(assert (>= Y[0,0] 5.0))"
    )
