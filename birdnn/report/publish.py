"""Records as JSON, and their JSON Schema: one walk over the types of their fields, see `birdnn.records.published`.

Numbers that could not be measured are null, never zero; NaN and infinity are refused. Seconds end in ``_s``.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from birdnn.decimals import MAX_DIGITS, parse_exact
from birdnn.later import later
from birdnn.records.published import EXACTLY, REQUIRED, ExactText, Published, Said, Written

if TYPE_CHECKING:
    import pydantic
else:
    pydantic = later("pydantic")  # writing needs nothing of it

EXACT = r"^-?[0-9]+(\.[0-9]+)?(/[1-9][0-9]*)?$"
"""The form of a number as text that says it exactly: a decimal or a fraction."""

VERSION = 1
"""Of all schemas. Fields are added, never renamed."""

Writer = Callable[[Path, bytes], object]
_ToJson = Callable[[Any], Any]
_FromJson = Callable[[Any], Any]
R = TypeVar("R")


class MisreadError(ValueError):
    """Something is in the form that its schema says and stands for no value all the same.

    Attributes:
        place: where, from the outermost field.
    """

    def __init__(self, problem: str, place: tuple[str | int, ...] = ()) -> None:
        super().__init__(problem)
        self.problem, self.place = problem, place


def json_document(record: Any, **told: object) -> dict[str, Any]:
    """A published record as what JSON has: dictionaries, lists, text, numbers.

    Args:
        record: see `birdnn.records.published`.
        told: the fields that it does not have itself.

    Raises:
        TypeError: it, or something in it, is not published; or something else is told than has to be.
    """
    kind: Any = type(record)
    published = _published_form(kind)
    if told.keys() != published.told.keys():
        raise TypeError(f"{published.name}: told are {', '.join(told)}, not {', '.join(published.told)}")
    # First, so that whoever opens the file sees what it is; `pipeline.reporting` looks at both before anything else.
    head = {"schema_version": VERSION, "tool": "birdnn"} if published.report else {}
    found = {name: write(told[name] if find is None else find(record)) for name, find, write in _writing_plan(kind)}
    return head | found


def dumps(record: Any, **told: object) -> str:
    """A published record as indented JSON text with a final line feed; arguments as of `json_document`.

    Raises:
        ValueError: a number in it is NaN or infinite.
    """
    return json.dumps(json_document(record, **told), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_record(record: Any, path: Path, write: Writer, **told: object) -> None:
    """Write a record as JSON through `write`, which puts the whole file in place at once."""
    write(path, dumps(record, **told).encode("utf-8"))


def record_from(record: type[R], content: Any) -> R:
    """The record that `json_document` made ``content`` of, or an earlier version.

    Raises:
        pydantic.ValidationError: it has not the form that the schema says.
        MisreadError: it has, and something in it stands for no value, or contradicts itself.
        TypeError: records of this type cannot be read back.
    """
    # pydantic's ValidationError is a ValueError as well: outside of the `try`, for it names the place by itself.
    model = model_of(record).model_validate(content)
    try:
        found = _read_back(record, model)
    # It knows its place, which the next clause would throw away.
    except MisreadError:
        raise
    except ValueError as error:
        raise MisreadError(str(error)) from None
    # Kinds that share a form share its model: that of the other kind reads as well as the one that was asked for.
    if not isinstance(found, record):
        raise MisreadError(f"{record.__name__} is expected, and this is {type(found).__name__}")
    return found


# By form, not by record as `cache` would: kinds of one form have one model, and a schema names it once.
_MODELS: dict[type[Any], type[pydantic.BaseModel]] = {}


def model_of(record: type[Any]) -> type[pydantic.BaseModel]:
    """The published form of a type of records as a model, which knows its JSON Schema and reads what was written."""
    form = next(iter(_published_form(record).kinds), record)
    if form not in _MODELS:
        # A part is built before the whole is known, so no record may hold one of its own type: that would never end.
        _MODELS[form] = _built_model(form)
    return _MODELS[form]


def _built_model(record: type[Any]) -> type[pydantic.BaseModel]:
    published = _published_form(record)
    members: dict[str, Any] = {}
    if published.report:
        members |= {"schema_version": (Literal[VERSION], VERSION), "tool": (Literal["birdnn"], "birdnn")}
    for name in published.fields:
        hint = _field_hint(record, name)
        said = next((part for part in _metadata(hint) if isinstance(part, Said)), Said())
        form = _model_hint(hint)
        options: dict[str, Any] = _field_limits(said, form)
        if said.absent is not REQUIRED:
            options |= {"default_factory": said.absent} if callable(said.absent) else {"default": said.absent}
        members[name] = (form, pydantic.Field(description=said.text or None, **options))
    # A key that is misspelt by hand is told, instead of leaving the field at what it is where absent.
    config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    earlier: dict[str, Any] = {}
    if published.earlier is not None:
        earlier = {"__validators__": {"earlier": pydantic.model_validator(mode="before")(published.earlier)}}
    return pydantic.create_model(published.name, __config__=config, __doc__=published.text, **earlier, **members)


def _field_limits(said: Said, form: Any) -> dict[str, Any]:
    # Of a number these are its limits, of anything else those of its length.
    names = ("ge", "le") if form in (int, float) else ("min_length", "max_length")
    return {name: limit for name, limit in zip(names, (said.least, said.most), strict=True) if limit is not None}


def _exact_text() -> Any:
    """The type of a number as text, for models."""

    def numbers_only(text: str) -> str:
        # The pattern, which is all that a schema can say, sets no limit to the digits: as an exact number they cost
        # time and memory that a file of a stranger must not choose.
        if parse_exact(text) is None:
            raise ValueError(f"a number of at most {MAX_DIGITS} digits, or a quotient of two, is expected")
        return text

    return Annotated[str, pydantic.Field(pattern=EXACT), pydantic.AfterValidator(numbers_only)]


def _published_form(record: type) -> Published:
    found = getattr(record, "__published__", None)
    if found is None:
        raise TypeError(f"{record.__name__} is not published")
    return found  # type: ignore[no-any-return]


@cache
def _writing_plan(record: type) -> list[tuple[str, _ToJson | None, _ToJson]]:
    """Published name, how to find the value in a record that has it, how to write it."""
    published = _published_form(record)
    return [
        (name, None if name in published.told else _field_finder(record, path), _writer(_field_hint(record, name)))
        for name, path in published.fields.items()
    ]


def _field_hint(record: type, name: str) -> Any:
    """The type of a published field; with null where a kind of the record has nothing to say there."""
    published = _published_form(record)
    if name in published.told:
        return published.told[name]
    path = published.fields[name]
    hint = _type_at_path(_field_owner(record, path), path)
    # Every kind has the field, or what is published in its place is of its type: then null is none of its values.
    if all(_field_owner(kind, path) is kind for kind in published.kinds) or _empty_value(hint) is not None:
        return hint
    *inner, said = _metadata(hint) or (Said(),)  # what is said last is about the field, the rest about its type
    return Annotated[(Annotated[(_bare_type(hint), *inner)] if inner else _bare_type(hint)) | None, said]


def _field_owner(record: type, path: str) -> type:
    """The record, or where it does not have the field in which a path begins, another kind of its form that has."""
    head, _, _ = path.partition(".")
    return next((kind for kind in (record, *_published_form(record).kinds) if hasattr(kind, head)), record)


def _empty_value(hint: Any) -> Any:
    """What a record that does not have a field of this type publishes in its place: what is empty, or else null."""
    hint = _bare_type(hint)
    kind = get_origin(hint) or hint
    # A count of 0 is right of a kind that never counts, as `rounds` of a repair by examples. What could not be measured
    # is typed with None, and published as null.
    if kind in (str, int, float, bool, tuple, Mapping):
        return {} if kind is Mapping else kind()
    # A record all of whose fields have a default says by these that there is nothing, as `Drawdowns` does.
    whole = is_dataclass(kind) and all((e.default, e.default_factory) != (MISSING, MISSING) for e in fields(kind))
    return kind() if whole else None


def _field_finder(record: type, path: str) -> _ToJson:
    names = path.split(".")
    if (other := _field_owner(record, path)) is not record:
        nothing = _empty_value(_type_at_path(other, path))
        return lambda _: nothing

    def find(value: Any) -> Any:
        for name in names:
            value = getattr(value, name)
        return value

    return find


def _type_at_path(record: type, path: str) -> Any:
    """The type of what lies at a path in a record, with what is said about it."""
    name, _, rest = path.partition(".")
    member = getattr(record, name, None)
    # A property has no annotation of its own in the class; what it returns is annotated at its function.
    if isinstance(member, property):
        found = get_type_hints(member.fget, include_extras=True)["return"]
    else:
        found = get_type_hints(record, include_extras=True)[name]
    return _type_at_path(_bare_type(found), rest) if rest else found


def _metadata(hint: Any) -> Sequence[Any]:
    return hint.__metadata__ if get_origin(hint) is Annotated else ()


def _bare_type(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _written_form(hint: Any) -> Written | None:
    # Here and not at each field: no Fraction may become a float on its way into a file.
    if hint is Fraction:
        return EXACTLY
    return next((part for part in _metadata(hint) if isinstance(part, Written)), None)


def _model_hint(hint: Any) -> Any:
    """The type of what is written for a value of type `hint`."""
    # Before the type is laid bare: how it is written stands in its metadata, and may be said of a tuple or a union.
    if (written := _written_form(hint)) is not None:
        return _model_hint(written.type)
    hint = _bare_type(hint)
    if hint is ExactText:
        return _exact_text()
    origin, arguments = get_origin(hint), get_args(hint)
    # `int | None` is a UnionType; with something that typing made, as Annotated, it is a Union.
    if origin in (Union, types.UnionType):
        return Union[tuple(_described_type(part) for part in arguments)]  # noqa: UP007 - made of values
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        several: Any = list[_model_hint(arguments[0])]  # type: ignore[misc]
        if origin is not tuple or arguments[-1] is Ellipsis:
            return several
        # A tuple of fixed length: all published ones are of one type, so that the first argument speaks for each.
        return Annotated[several, pydantic.Field(min_length=len(arguments), max_length=len(arguments))]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[arguments[0], _model_hint(arguments[1])]  # type: ignore[misc, valid-type]
    if hint is Path:
        return str
    return model_of(hint) if isinstance(hint, type) and is_dataclass(hint) else hint


def _described_type(hint: Any) -> Any:
    """`_model_hint` of one member of a union, with what is said of that member."""
    said = next((part.text for part in _metadata(hint) if isinstance(part, Said)), "")
    return Annotated[_model_hint(hint), pydantic.Field(description=said)] if said else _model_hint(hint)


@cache
def _writer(hint: Any) -> _ToJson:
    """How a value of a type becomes what JSON has."""
    if (written := _written_form(hint)) is not None:
        into, then = written.to, _writer(written.type)
        return lambda value: then(into(value))
    hint = _bare_type(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_writer(arguments)
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        each = _writer(arguments[0])
        return lambda value: [each(part) for part in value]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        each = _writer(arguments[1])
        return lambda value: {str(key): each(part) for key, part in value.items()}
    if hint in (str, Path, ExactText):
        # Linux names files by bytes; those that are no UTF-8 are lone surrogates here, and writing the report would
        # fail.
        return lambda value: str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if hint is float:
        # A whole number where a float is declared becomes 2.0: one field, one look, whatever its value.
        return float
    if hint in (int, bool) or origin is Literal:
        return lambda value: value
    if is_dataclass(hint):
        return json_document
    raise TypeError(f"values of type {hint} have no published form")


@cache
def _reader(hint: Any) -> _FromJson:
    """How what `_writer` wrote, once a model has looked at its form, becomes the value again."""
    if (written := _written_form(hint)) is not None:
        return _written_reader(written)
    hint = _bare_type(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        # JSON does not say of which type a value was. Null tells itself apart, and so do kinds of one form.
        kinds = [part for part in arguments if part is not types.NoneType]
        if len(kinds) > 1 and len(set(map(model_of, kinds))) > 1:  # kinds of one form tell themselves apart
            raise TypeError(f"which of {', '.join(map(str, kinds))} a value is cannot be read")
        read = _reader(kinds[0])
        return lambda value: None if value is None else read(value)
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Sequence)):
        each = _reader(arguments[0])
        return lambda value: tuple(_read_in_place(place, each, part) for place, part in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        each = _reader(arguments[1])
        return lambda value: {key: _read_in_place(key, each, part) for key, part in value.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda model: _read_back(hint, model)
    # Numbers, text and words are what the model made of them.
    return hint if hint is Path else lambda value: value


def _written_reader(written: Written) -> _FromJson:
    first, back = _reader(written.type), written.back
    if back is None:
        raise TypeError(f"what is written as {written.type} is never read")
    return lambda value: back(first(value))


def _read_in_place(place: str | int, read: _FromJson, value: Any) -> Any:
    """The value, or an error that says where it would be."""
    try:
        return read(value)
    except MisreadError as error:
        raise MisreadError(error.problem, (place, *error.place)) from None
    except ValueError as error:
        raise MisreadError(str(error), (place,)) from None


def _read_back(record: type[Any], model: Any) -> Any:
    """A record from its model: from its fields, and of parts from those that are published of them."""
    # Properties are no fields: what was written of them is left out, and the record makes it again.
    published, own = _published_form(record), {entry.name for entry in fields(record) if entry.init}
    whole = getattr(record, "read_back", None)
    values: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, path in published.fields.items():
        head, _, rest = path.partition(".")
        if name in published.told or (whole is None and head not in own):
            continue  # somebody else's words, or what the record makes itself
        value = _read_in_place(name, _reader(_field_hint(record, name)), getattr(model, name))
        # `seed=request.seed`: the part itself is not published, only some of its fields, from which it is made anew.
        if whole is None and rest:
            parts.setdefault(head, {})[rest] = value
        else:
            values[name if whole is not None else head] = value
    if whole is not None:
        return whole(values)
    hints = get_type_hints(record, include_extras=True) if parts else {}
    return record(**values, **{head: _bare_type(hints[head])(**part) for head, part in parts.items()})


def _union_writer(arguments: Sequence[Any]) -> _ToJson:
    """Null, or the one other type; of several, the one that the value has."""
    kinds = [part for part in arguments if part is not types.NoneType]
    if len(kinds) == 1:
        write = _writer(kinds[0])
        return lambda value: None if value is None else write(value)
    # `json_document` goes by the type of the value, so that each kind is written in its own form.
    if all(is_dataclass(kind) for kind in kinds):
        return lambda value: None if value is None else json_document(value)
    raise TypeError(f"which of {', '.join(map(str, kinds))} a value is cannot be told")
