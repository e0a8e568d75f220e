"""How two answers to one command compare: by meaning where they must differ, and where they do not.

What the catalogue calls volatile differs from card to card: random bytes, serial numbers, new keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from apdu import tlv
from apdu._catalogue import RESPONSE_OBJECTS
from apdu.codec import Response
from apdu.recording import Entry
from apdu.selection import find_spec
from apdu.spec import ApplicationSpec, TagSpec

_SEQUENCE, _INTEGER = 0x30, 0x02
_BEFORE, _AFTER = 4, 8
"""How many bytes are shown before and from the first that differs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The data of the recorded and of the other answer, in hexadecimal; None where masked.

    `offset` is the first byte, from 0, that differs and is not volatile; None where only lengths,
    forms or results of keys are compared.
    """

    recorded: str | None
    answered: str | None
    offset: int | None = None

    def excerpts(self) -> tuple[str, str]:
        """A few bytes of both around the first that differs, which is in brackets; or nothing."""
        if self.offset is None or self.recorded is None or self.answered is None:
            return "", ""
        recorded, answered = map(bytes.fromhex, (self.recorded, self.answered))
        return _excerpt(recorded, self.offset), _excerpt(answered, self.offset)


def difference(
    application: ApplicationSpec, entry: Entry, kept: Entry, *, bytewise: bool
) -> Difference | None:
    """What differs in the data of the recorded answer and of the other one as it may be kept.

    None where only the status words do, or nothing is there. `bytewise` says that it was the bytes
    that were compared.
    """
    if entry.length is not None or kept.length is not None:
        return Difference(_data(entry), _data(kept))
    recorded, answered = Response.parse(entry.response), Response.parse(kept.response)
    if recorded.data == answered.data:
        return None
    offset = _offset(application, entry, recorded, answered) if bytewise else None
    return Difference(_data(entry), _data(kept), offset)


def _data(entry: Entry) -> str | None:
    return None if entry.length is not None else Response.parse(entry.response).data.hex()


def _offset(
    application: ApplicationSpec, entry: Entry, recorded: Response, answered: Response
) -> int | None:
    spec = find_spec(application, entry.parsed())
    if recorded.sw != answered.sw or (spec is not None and spec.volatile):
        return None
    data: tuple[bytes, ...] = (recorded.data, answered.data)
    compared = tuple(_compared(application, entry, one).data for one in (recorded, answered))
    if [*map(len, compared)] == [*map(len, data)]:
        data = compared
    pairs = enumerate(zip(*data, strict=False))
    return next((number for number, (one, other) in pairs if one != other), min(map(len, data)))


def _excerpt(data: bytes, offset: int) -> str:
    first, last = max(0, offset - _BEFORE), offset + _AFTER
    shown = [data[first:offset].hex(" "), f"[{data[offset : offset + 1].hex()}]"]
    shown.append(data[offset + 1 : last].hex(" "))
    text = " ".join(part for part in shown if part).upper()
    return f"{'… ' if first else ''}{text}{' …' if last < len(data) else ''}"


def alike(application: ApplicationSpec, entry: Entry, answer: bytes) -> bool:
    """Whether an answer means the same as the recorded one.

    What the catalogue calls volatile is compared by its length, a signature in DER by its form;
    so is what is masked.
    """
    recorded, answered = Response.parse(entry.response), Response.parse(answer)
    if recorded.sw != answered.sw:
        return False
    if entry.length is not None:
        return len(answered.data) == entry.length
    spec = find_spec(application, entry.parsed())
    if recorded.data == answered.data:
        return True
    if spec is None:
        return False
    if spec.volatile:
        same_length = len(recorded.data) == len(answered.data)
        return same_length or (
            _is_der_signature(recorded.data) and _is_der_signature(answered.data)
        )
    return _compared(application, entry, recorded) == _compared(application, entry, answered)


def _compared(application: ApplicationSpec, entry: Entry, response: Response) -> Response:
    """What of a response two cards have in common."""
    spec = find_spec(application, entry.parsed())
    objects = () if spec is None else RESPONSE_OBJECTS.get((application.name, spec.name), ())
    return replace(response, data=_blanked(response.data, objects))


def _is_der_signature(data: bytes) -> bool:
    """A sequence of two integers (RFC 3279, 2.2.3)."""
    try:
        outer, used = tlv.parse_one(data)
        numbers = tlv.parse(outer.value)
    except tlv.TlvError:
        return False
    whole = outer.tag == _SEQUENCE and used == len(data)
    return whole and [item.tag for item in numbers] == [_INTEGER, _INTEGER]


def _blanked(data: bytes, objects: tuple[TagSpec, ...]) -> bytes:
    """The data with zeros for the values of volatile data objects; the last may be cut short."""
    known = {member.tag: member for member in objects}
    if not any(_any_volatile(member) for member in objects):
        return data
    parts, rest = [], data
    while rest:
        spec = known.get(rest[0])
        try:
            item, used = tlv.parse_one(rest)
        except tlv.TlvError:
            if spec is None or not spec.volatile:
                return data
            parts.append(bytes(len(rest)))
            break
        value, spec = item.value, known.get(item.tag)
        if spec is not None:
            value = bytes(len(value)) if spec.volatile else _blanked(value, spec.members)
        parts.append(tlv.encode(item.tag, value))
        rest = rest[used:]
    return b"".join(parts)


def _any_volatile(spec: TagSpec) -> bool:
    return spec.volatile or any(map(_any_volatile, spec.members))
