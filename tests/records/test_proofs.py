"""Certificates on disk, and the leaves of a proof."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from birdnn.records import LEAF, CertificateFile, RegionProof
from birdnn.report.publish import json_document, record_from
from tests.report.pages import STORED


def test_a_rejection_names_what_was_decided() -> None:
    assert STORED.disagreement == ""
    assert replace(STORED, answer="not checked").disagreement == ""
    rejected = replace(STORED, answer="rejected", detail="leaf 3", properties=("prop_8", "prop_2"))
    assert rejected.disagreement == (
        "birdnn decided prop_8, prop_2, and the independent checker rejects its certificate "
        "/a/net.certificate.json.gz: leaf 3"
    )


def test_answer_and_detail_are_one_sentence() -> None:
    assert STORED.checked == "accepted: float64, all 3066 leaves"


@pytest.mark.parametrize(
    ("sentence", "answer", "detail"),
    [
        ("rejected: leaf 3: no bound", "rejected", "leaf 3: no bound"),
        ("not checked: too large", "not checked", "too large"),
        ("accepted", "accepted", ""),
    ],
)
def test_the_first_version_has_the_sentence_only(sentence: str, answer: str, detail: str) -> None:
    """The sentence ends at its first colon; what follows may hold others."""
    content: dict[str, Any] = json.loads(json.dumps(json_document(STORED)))
    newer = "answer", "detail", "leaves"
    old = {name: value for name, value in content.items() if name not in newer} | {"checked": sentence}
    found = record_from(CertificateFile, old)
    assert (found.answer, found.detail, found.leaves) == (answer, detail, None)


def test_an_answer_is_not_taken_from_the_sentence_beside_it() -> None:
    found = record_from(CertificateFile, json_document(STORED) | {"checked": "rejected: never"})
    assert found == STORED


def test_nodes_that_were_not_cut_are_leaves() -> None:
    def none(kind: str) -> Any:
        return np.zeros(0, dtype=kind)

    def proof(axis: list[int], intervals: Any = None) -> RegionProof:
        return RegionProof(
            axis=np.array(axis, dtype=np.uint32),
            cut=none("f8"),
            face_node=none("u4"),
            face=none("u4"),
            face_at=none("f8"),
            item_node=none("u4"),
            item_polytope=none("u2"),
            multiplier=none("f4"),
            slopes=none("u4"),
            neuron=none("u4"),
            slope=none("f4"),
            beta=none("f4"),
            intervals=intervals,
        )

    assert [proof(axis).leaves for axis in ([LEAF], [0, LEAF, 3, LEAF, LEAF], [])] == [1, 3, 0]
    # An empty list of activations is one: the network was seen as a graph.
    assert (proof([LEAF]).of_graph, proof([LEAF], none("i8")).of_graph) == (False, True)
