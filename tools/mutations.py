"""Files that are nearly right: seeded changes of bytes, of text in words, of JSON and of protobuf messages."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import onnx

Change = Callable[[random.Random, bytes], bytes]

_WORD = re.compile(r"\s+|[(){}\[\],;=:]|\"[^\"\n]*\"|[^\s(){}\[\],;=:\"]+|\"")

ODD = (
    "1e-999999999", "1e999999999", "-1e-999999999", "0e-999999999", "1e-400", "1e400", "1e308", "1e-308", "-0", "nan",
    "inf", "-inf", "+inf", "9" * 5000, "0." + "0" * 5000 + "1", "-1", "0", "1", "2", "3", "0.5", "1.5.2", "1_0", "٣",
    "0x" + "f" * 5000, "true", "false", "null", "1979-05-27", "1979-05-27T07:32:00Z", "a.b.c", "''", '""', '"x"',
    '"1e-999999999"', "[" * 3000, "(" * 3000, "{" * 3000, "{", "}", "[", "]", "(", ")", "=", ",", ";", ":", "\n", "\r",
    "\t", "\0", "\x1b[31m", "\ufeff", "\u2028", "\udcff", "é", "|", "#", "//", '"""', "'''", "\\u0000", "=1+1", "@x",
    "a." * 3000 + "a", "x" * 20_000, "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1/3",
    "/etc/passwd", "../x", "/dev/zero", ".", "..",
)  # fmt: skip

_NUMBERS = (
    0, 1, -1, 2, 3, 7, 16, 127, 255, 2**15, 2**20, 2**31 - 1, -(2**31), 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1,
    -(2**63), 2**64, 10**400, 0.0, -0.0, 0.5, 1e-320, 1e-45, 1e38, 3.5e38, 1e308, -1e308,
    float("nan"), float("inf"), -float("inf"),
)  # fmt: skip


def change_bytes(draw: random.Random, data: bytes) -> bytes:
    """Bytes and bits changed, removed, repeated, put in; or the end cut off."""
    found = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(found) + 1)
        action = draw.randrange(6)
        if action == 0 and place < len(found):
            found[place] = draw.randrange(256)
        elif action == 1 and place < len(found):
            found[place] ^= 1 << draw.randrange(8)
        elif action == 2:
            del found[place : place + draw.randint(1, 40)]
        elif action == 3:
            found[place:place] = draw.randbytes(draw.randint(1, 12))
        elif action == 4:
            found[place:place] = found[place : place + draw.randint(1, 40)] * draw.randint(1, 3)
        elif draw.random() < 0.2:
            del found[place:]
    return bytes(found)


def change_text(draw: random.Random, data: bytes, more: Sequence[str] = ()) -> bytes:
    """Words replaced, removed, repeated, exchanged, put in: those of the text itself, of `more`, and odd ones."""
    words = _WORD.findall(data.decode("utf-8", "replace"))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        place = draw.randrange(len(words) + 1)
        new = draw.choice((draw.choice(ODD), draw.choice(words or [""]), draw.choice(more or words or [""])))
        action = draw.randrange(5)
        if action == 0 and words:
            words[min(place, len(words) - 1)] = new
        elif action == 1:
            words.insert(place, new)
        elif action == 2:
            del words[place : place + draw.randint(1, 6)]
        elif action == 3:
            words[place:place] = words[place : place + draw.randint(1, 12)] * draw.randint(1, 3)
        elif words:
            other = draw.randrange(len(words))
            place = min(place, len(words) - 1)
            words[place], words[other] = words[other], words[place]
    return "".join(words).encode("utf-8", "surrogatepass" if draw.random() < 0.5 else "replace")


def change_json(draw: random.Random, data: bytes) -> bytes:
    """Values of a document replaced by odd ones or by each other, keys renamed, entries removed and repeated."""
    content = json.loads(data)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(content))
        if not places:
            break
        holder, key = draw.choice(places)
        action = draw.randrange(5)
        if action == 0:
            holder[key] = draw.choice((*ODD, *_NUMBERS, None, True, False, [], {}, [[]] * 3))
        elif action == 1:
            other, there = draw.choice(places)
            holder[key] = json.loads(json.dumps(other[there]))
        elif action == 2:
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        else:
            holder[draw.choice(ODD)] = holder[key]
    try:
        return json.dumps(content).encode()
    except ValueError:  # beyond Python's limit on digits
        return b"{}"


def _places(value: Any) -> Any:
    """Every place in a document, as its holder and its key there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield value, key
        yield from _places(part)


def change_onnx(draw: random.Random, data: bytes) -> bytes:
    """Fields of a model's messages set, cleared, repeated, exchanged, copied from others of their kind."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(draw.randint(1, 3)):
        messages = list(_messages(model))
        _change_message(draw, draw.choice(messages), messages)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if field.is_repeated else [value]:
                yield from _messages(part)


def _change_message(draw: random.Random, message: Any, others: Sequence[Any]) -> None:
    present = [field for field, _ in message.ListFields()]
    field = draw.choice(present if present and draw.random() < 0.7 else list(message.DESCRIPTOR.fields))
    like = [other for other in others if other.DESCRIPTOR is message.DESCRIPTOR]
    if draw.random() < 0.1:
        message.CopyFrom(_copy(draw.choice(like)))
    elif draw.random() < 0.15:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_list(draw, field, getattr(message, field.name), [getattr(other, field.name) for other in like])
    elif field.type == field.TYPE_MESSAGE:
        getattr(message, field.name).CopyFrom(_copy(getattr(draw.choice(like), field.name)))
    else:
        setattr(message, field.name, _scalar(draw, field, [getattr(other, field.name) for other in like]))


def _change_list(draw: random.Random, field: Any, values: Any, others: Sequence[Any]) -> None:
    action = draw.randrange(4)
    place = draw.randrange(len(values)) if len(values) else 0
    source = draw.choice(others)
    if action == 0 and len(values):
        del values[place]
    elif field.type == field.TYPE_MESSAGE:
        if len(source):
            values.append(_copy(draw.choice(source)))
    elif action == 1 and len(values):
        values[place] = _scalar(draw, field, source)
    else:
        values.append(_scalar(draw, field, source))


def _scalar(draw: random.Random, field: Any, others: Sequence[Any]) -> Any:
    if len(others) and draw.random() < 0.4:
        return draw.choice(others)
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return float(draw.choice([n for n in _NUMBERS if n != 10**400]))
    if field.type == field.TYPE_STRING:
        return draw.choice([text for text in ODD if "\udcff" not in text])
    if field.type == field.TYPE_BYTES:
        return draw.choice([b"", b"\xff" * 4, b"\0" * 8, b"SAME_UPPER", b"VALID", b"x" * 1000])
    if field.type == field.TYPE_ENUM:
        return draw.choice(field.enum_type.values).number
    low, high = (-(2**31), 2**31 - 1) if field.type == field.TYPE_INT32 else (-(2**63), 2**63 - 1)
    low, high = (0, 2**64 - 1) if field.type == field.TYPE_UINT64 else (low, high)
    return draw.choice([n for n in _NUMBERS if isinstance(n, int) and low <= n <= high])


def _copy(message: Any) -> Any:
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


def change_npz(draw: random.Random, data: bytes) -> bytes:
    """Headers and values of the arrays changed inside a sound archive; members renamed, removed, given twice."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(draw.randint(1, 2)):
        place = draw.randrange(len(members))
        name, held = members[place]
        action = draw.randrange(6)
        if action < 3 and len(held) > 10:
            head, tail = bytearray(held[:128]), held[128:]
            for _ in range(draw.randint(1, 4)):
                head[draw.randrange(10, len(head))] = draw.choice(b"0123456789(){}[],'<>|=fiuObcSUVM: ")
            members[place] = name, bytes(head) + tail
        elif action == 3:
            members[place] = name, change_bytes(draw, held)
        elif action == 4:
            members[place] = draw.choice(("x.npy", "y.npy", "z.npy", "x", "../x.npy", "")), held
        else:
            members.append(members[place])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, held in members:
            archive.writestr(zipfile.ZipInfo(name), held)
    return made.getvalue()


def packed(draw: random.Random, data: bytes) -> bytes:
    """The content as gzip, at times cut off or with something behind it."""
    whole = gzip.compress(data, 1)
    return draw.choice((whole, whole[: draw.randrange(len(whole))], whole + b"x", whole + whole))
