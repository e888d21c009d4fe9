"""Small networks and cases that are read from no property files, for tests of single stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.case import Asked, Case, Subject
from birdnn.pipeline.judging import Answer
from birdnn.pipeline.load import Loaded, load_network
from birdnn.records import CaseFiles, Decision, Proved, Unknown, Verdict, Violated, Witness
from birdnn.spec import Polytope, Property
from tests.bounds.builders import half_space, make_property


def loaded_from(folder: Path, *layers: tuple[Sequence, Sequence], op: str = "Relu", name: str = "net.onnx") -> Loaded:
    """A fully connected network of these weights and biases, written and read."""
    made = [(np.array(w, np.float32), np.array(b, np.float32)) for w, b in layers]
    return loaded_model(folder, layers_to_onnx(made, op), name)


def loaded_model(folder: Path, data: bytes, name: str = "net.onnx") -> Loaded:
    """A network of an ONNX file, written and read."""
    path = folder / name
    path.write_bytes(data)
    return load_network(path)


def identity(folder: Path, *bias: float, name: str = "net.onnx") -> Loaded:
    """``y = x + bias``."""
    return loaded_from(folder, (np.eye(len(bias)), bias), name=name)


def at_least(bound: float) -> Polytope:
    """The only output is unsafe from here on."""
    return half_space([-1], -bound)


def named(name: str, prop: Property) -> Property:
    """The property under another name."""
    return replace(prop, name=name)


def above(bound: float, name: str = "above", lower: float = 0.0, upper: float = 1.0) -> Property:
    """One input between `lower` and `upper`; the output must stay below `bound`."""
    return named(name, make_property([lower], [upper], at_least(bound)))


def asked(*props: Property, role: str = "goal") -> tuple[Asked, ...]:
    """Each is to be proved."""
    return tuple(Asked(prop=prop, path=f"{prop.name}.vnnlib", text=prop.name, role=role) for prop in props)


PROVED, VIOLATED = Proved(boxes=1), Violated(witness=Witness(x=(0.0,), y=(9.0,), replayed_by=("none",)), boxes=0)
UNKNOWN = Unknown(reason="boxes", boxes=3)


def answers(**verdicts: Verdict) -> dict[str, Answer]:
    """Property -> what was found, in a second each."""
    return {name: Answer(verdict=verdict, verify_s=1.0) for name, verdict in verdicts.items()}


def case_of(loaded: Loaded, *subjects: Subject, decision: Decision = "none") -> Case:
    """The network and what is asked of it, without a domain and without examples."""
    return Case(
        files=CaseFiles(net=loaded.path),
        loaded=loaded,
        subjects=subjects,
        corners=None,
        domain=None,
        decision=decision,
        rule_by="option",
        data=None,
        test=None,
        semantics="real",
        suite=None,
        notes=(),
        of_suite=(),
        remarks=(),
    )
