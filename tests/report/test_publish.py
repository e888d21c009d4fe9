"""Records as JSON and as schema, by one walk over their types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import ValidationError

from birdnn.records.published import CommandLine, OrNull, Said, Written, publishes
from birdnn.report.publish import MisreadError, dumps, json_document, model_of, record_from, write_record


@publishes("InnerModel", "share count")
@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A part."""

    count: Annotated[int, Said("How many.", absent=0)] = 3

    @property
    def share(self) -> Annotated[float | None, Said("Of all.")]:
        """Half of it."""
        return self.count / 2


@publishes("OtherModel", "kind")
@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another part."""

    kind: Literal["other"] = "other"


@publishes("NeededModel", "word")
@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A part of which every field has to be said."""

    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Not published by itself."""

    command: CommandLine = ("birdnn", "verify", "--net", "my net.onnx")
    seed: int = 7


@publishes(
    "OuterReport",
    "command=request.command seed=request.seed file=path number weights parts either table note headline wall_s",
    told={"headline": Annotated[str, Said("In words.")]},
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """What it writes.

    Attributes:
        hidden: nobody sees it.
    """

    request: Request = Request()
    path: Path = Path("a/b")
    number: Fraction = Fraction(1, 3)
    weights: Annotated[tuple[float, ...], Written(list[float | None], lambda v: [x if x else None for x in v])] = (1, 0)
    parts: tuple[Inner, ...] = (Inner(),)
    either: Inner | Other | None = None
    table: Mapping[str, Inner] | None = None
    note: OrNull = ""
    wall_s: float = 2
    hidden: object = None


def test_a_record_is_its_json() -> None:
    """In the order that it declares: other names, parts of parts, properties, what others say."""
    found = json_document(Outer(either=Other(), table={"a": Inner(count=1)}), headline="fine")
    assert list(found.items()) == [
        ("schema_version", 1),
        ("tool", "birdnn"),
        ("command", "birdnn verify --net 'my net.onnx'"),
        ("seed", 7),
        ("file", "a/b"),
        ("number", "1/3"),
        ("weights", [1.0, None]),
        ("parts", [{"share": 1.5, "count": 3}]),
        ("either", {"kind": "other"}),
        ("table", {"a": {"share": 0.5, "count": 1}}),
        ("note", None),
        ("headline", "fine"),
        ("wall_s", 2.0),
    ]
    assert isinstance(found["wall_s"], float)
    assert json_document(Outer(), headline="")["either"] is None


def test_the_schema_says_what_the_fields_say() -> None:
    """Descriptions, what may be absent, the text of the record without its attributes; and it reads what is written."""
    model = model_of(Outer)
    schema = model.model_json_schema(mode="serialization")
    assert (schema["title"], schema["description"]) == ("OuterReport", "What it writes.")
    assert list(schema["$defs"]) == ["InnerModel", "OtherModel"]
    inner = schema["$defs"]["InnerModel"]
    assert inner["properties"]["count"] == {
        "default": 0,
        "description": "How many.",
        "title": "Count",
        "type": "integer",
    }
    assert inner["required"] == ["share"]
    assert schema["properties"]["headline"]["description"] == "In words."
    assert "hidden" not in schema["properties"]
    text = dumps(Outer(), headline="x")
    assert model.model_validate_json(text).model_dump(mode="json") == json.loads(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What both kinds have."""

    seed: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Long(Head):
    """One kind."""

    arithmetic: Literal["exact"] = "exact"
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a",)
    shares: Mapping[str, float] = field(default_factory=lambda: {"a": 0.5})
    wall_s: float = 1.5
    other: Annotated[Other | None, Said("Perhaps.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Short(Head):
    """The other."""

    needed: Annotated[Needed, Said("Of the other kind.")]

    @property
    def wall_s(self) -> float:
        """Never."""
        return 0.25


publishes("Either", "seed arithmetic inner names shares wall_s other needed", kinds=(Long, Short))(Head)


def test_kinds_share_a_form() -> None:
    """What a kind does not have is empty, or null where its type has nothing that is empty."""
    long, short = json_document(Long()), json_document(Short(needed=Needed(word="w")))
    assert (list(long), long["needed"], long["names"]) == (list(short), None, ["a"])
    empty = {"arithmetic": None, "inner": {"share": 1.5, "count": 3}, "names": [], "shares": {}, "other": None}
    assert short == {"seed": 7, **empty, "wall_s": 0.25, "needed": {"word": "w"}}
    model = model_of(Head)
    assert model is model_of(Long) is model_of(Short)
    schema = model.model_json_schema(mode="serialization")["properties"]
    assert schema["needed"]["anyOf"][1] == schema["arithmetic"]["anyOf"][1] == {"type": "null"}
    assert schema["needed"]["description"] == "Of the other kind."
    assert schema["wall_s"]["type"] == "number"
    for content in (long, short):
        model.model_validate(content)


def test_what_is_no_number_is_refused() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            dumps(Outer(wall_s=value), headline="")


def test_what_others_say_has_to_be_said() -> None:
    for told in ({}, {"headline": "", "more": ""}):
        with pytest.raises(TypeError, match="OuterReport"):
            json_document(Outer(), **told)


def test_what_is_not_published_is_refused() -> None:
    with pytest.raises(TypeError, match="Request is not published"):
        json_document(Request())


@dataclass(frozen=True)
class Odd:
    """Of a type that JSON does not have."""

    value: complex = 1j


def test_a_type_without_a_form_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        json_document(publishes("OddModel", "value")(Odd)())


def test_a_misspelt_field_is_found() -> None:
    with pytest.raises(KeyError, match="valeu"):
        json_document(publishes("OddModel", "valeu")(Odd)())


def test_text_that_utf8_does_not_have_is_written_out() -> None:
    assert json_document(Outer(path=Path("a\udcff")), headline="")["file"] == "a\\udcff"


def test_a_record_goes_through_the_writer_in_one_piece() -> None:
    written: list[tuple[Path, bytes]] = []
    write_record(Outer(), Path("x.json"), lambda path, data: written.append((path, data)), headline="")
    assert [(path, data[-2:]) for path, data in written] == [(Path("x.json"), b"}\n")]


@publishes("PlaceModel", "name at")
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Of which negative ones are refused by itself."""

    name: str
    at: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(value < 0 for value in self.at):
            raise ValueError("a place is negative")


@publishes(
    "WholeReport", "command=request.command seed=request.seed places by_name corner exact none double", report=True
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Everything that can be read back."""

    request: Request = Request()
    places: Annotated[tuple[Place, ...], Said(least=1, most=2)] = (Place(name="a", at=(1, 2)),)
    by_name: Mapping[str, Place] = field(default_factory=dict)
    corner: tuple[float, float] = (0.0, 1.0)
    exact: tuple[Fraction, ...] = (Fraction(1, 3), Fraction("0.1"))
    none: Annotated[Place | None, Said(absent=None)] = None

    @property
    def double(self) -> int:
        """Made again when it is read."""
        return 2 * self.request.seed


def test_what_was_written_reads_back() -> None:
    """A part of which only fields are published is made anew from them; what a property says is not read."""
    request = Request(command=("birdnn", "it's"), seed=3)
    made = Whole(request=request, by_name={"x": Place(name="b", at=())}, none=Place(name="c", at=(0,)))
    for whole in (made, Whole()):
        assert record_from(Whole, json.loads(dumps(whole))) == whole
    assert record_from(Whole, json_document(made) | {"double": 99}).double == 6


def test_what_is_absent_is_what_it_says() -> None:
    content = json_document(Whole())
    del content["none"]
    assert record_from(Whole, content) == Whole()
    del content["corner"]
    with pytest.raises(ValidationError, match="corner"):
        record_from(Whole, content)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"corner": [0.0]}, ("corner",)),
        ({"corner": [0.0, 1.0, 2.0]}, ("corner",)),
        ({"places": []}, ("places",)),
        ({"places": [{"name": "a", "at": []}] * 3}, ("places",)),
        ({"places": [{"name": "a", "at": [], "more": 1}]}, ("places", 0, "more")),
        ({"corner": [0.0, math.inf]}, ("corner", 1)),
        ({"corner": [0.0, math.nan]}, ("corner", 1)),
        ({"exact": ["0.5", "1e5"]}, ("exact", 1)),
        ({"exact": ["1/0"]}, ("exact", 0)),
        ({"exact": ["9" * 1001]}, ("exact", 0)),
        ({"exact": [0.5]}, ("exact", 0)),
        ({"schema_version": 2}, ("schema_version",)),
        ({"tool": "another"}, ("tool",)),
    ],
)
def test_another_form_is_refused_with_its_place(changes: dict[str, object], place: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        record_from(Whole, json_document(Whole()) | changes)
    assert caught.value.errors()[0]["loc"] == place


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"places": [{"name": "a", "at": [1]}, {"name": "b", "at": [-1]}]}, ("places", 1)),
        ({"by_name": {"x": {"name": "a", "at": [-1]}}}, ("by_name", "x")),
        ({"none": {"name": "a", "at": [-1]}}, ("none",)),
        ({"command": "birdnn 'open"}, ("command",)),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(
    changes: dict[str, object], place: tuple[str | int, ...]
) -> None:
    with pytest.raises(MisreadError) as caught:
        record_from(Whole, json_document(Whole()) | changes)
    assert caught.value.place == place
    assert caught.value.problem in ("a place is negative", "No closing quotation")


@publishes("EitherModel", "value")
@dataclass(frozen=True)
class EitherOne:
    """A value of two kinds that have forms of their own."""

    value: Place | Other = Other()


def test_what_json_does_not_tell_apart_is_not_read() -> None:
    content = json_document(EitherOne())
    assert content == {"value": {"kind": "other"}}
    with pytest.raises(TypeError, match=r"which of .* a value is cannot be read"):
        record_from(EitherOne, content)


@publishes("MixedModel", "value")
@dataclass(frozen=True)
class Mixed:
    """Of types that the value does not tell apart when it is written."""

    value: int | str = 1


def test_which_of_two_types_is_written_has_to_be_told() -> None:
    with pytest.raises(TypeError, match="a value is cannot be told"):
        json_document(Mixed())


@publishes("OneWayModel", "value")
@dataclass(frozen=True)
class OneWay:
    """Written, never read."""

    value: Annotated[complex, Written(str, str)] = 1j


def test_what_has_no_way_back_is_not_read() -> None:
    content = json_document(OneWay())
    assert content == {"value": "1j"}
    with pytest.raises(TypeError, match="is never read"):
        record_from(OneWay, content)
