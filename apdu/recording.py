"""Recordings of sessions with a card: lines of JSON, with what a trace masks left out.

The first line is the head: `{"klyuch": "recording", "version": 1, "application", "card", "began"}`.
Every other line is an APDU with its answer, or a reset: see docs/howto/record-replay.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from apdu import piv, tlv
from apdu._catalogue import COMMAND_OBJECTS, RESPONSE_OBJECTS
from apdu.codec import ApduFormatError, Command, Response
from apdu.model import APPLICATIONS, command_name
from apdu.piv import Kept
from apdu.selection import SECRET_INSTRUCTIONS, Selection
from apdu.spec import ApplicationSpec, CommandSpec, TagSpec
from apdu.transport import Transport

VERSION = 1
_KIND = "recording"
_HEADER, _STATUS_WORD = 4, 2
_GET_RESPONSE = 0xC0


class RecordingError(ValueError):
    """The text is no recording; the message names the line."""


@dataclass(frozen=True, slots=True)
class Head:
    """Of which application and card a recording is, and when it began (ISO 8601)."""

    application: str
    card: str
    began: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One exchange, or a reset, on one of the ways to the card.

    `door` numbers the ways from 0, each with a selection and login of its own; `at` is the time in
    seconds since the recording began, `seconds` how long the answer took. A reset has an empty
    `command`. Of a `masked` command only the header is kept, and `ne`; a `blanked` one is whole,
    with zeros for its secret values; of a response whose `length` is given, only the status word.
    """

    door: int
    at: float
    seconds: float = 0.0
    command: bytes = b""
    masked: bool = False
    ne: int = 0
    response: bytes = b""
    length: int | None = None
    blanked: bool = False

    @property
    def is_reset(self) -> bool:
        return not self.command

    def parsed(self) -> Command:
        """The command, without its data where it is masked. Raises ApduFormatError."""
        parsed = Command.parse(self.command)
        return replace(parsed, ne=self.ne) if self.masked else parsed

    @property
    def name(self) -> str:
        """The command's name in the catalogue, RESET, or what the bytes are."""
        if self.is_reset:
            return "RESET"
        try:
            return command_name(self.parsed())
        except ApduFormatError:
            return "malformed command"

    def line(self) -> dict[str, object]:
        """The entry as one JSON object."""
        fields: dict[str, object] = {"door": self.door, "at": round(self.at, 6), "name": self.name}
        if self.is_reset:
            return {**fields, "reset": True}
        fields |= {"seconds": round(self.seconds, 6), "command": self.command.hex()}
        if self.masked:
            fields |= {"masked": True, "ne": self.ne}
        if self.blanked:
            fields["blanked"] = True
        fields["response"] = self.response.hex()
        return fields if self.length is None else {**fields, "length": self.length}


class Mask:
    """Leaves out of the exchanges on one way to a card what nobody may learn from a recording.

    It begins with `application` and follows SELECT as a trace does. Left out are the data fields
    of secret commands and of commands nobody knows, secret responses, and data fields with a
    secret data object in them; of PIV's what `apdu.piv` says. The contents of other files stay.
    """

    def __init__(self, application: ApplicationSpec) -> None:
        self._selection = Selection(application)
        self._chained = False
        self._joined = b""
        self._dropped = False
        # GET RESPONSE goes on with an answer of which a part was kept.
        self._goes_on = False

    @property
    def application(self) -> ApplicationSpec:
        """What is selected now."""
        return self._selection.application

    def entry(self, door: int, at: float, seconds: float, raw: bytes, answer: bytes) -> Entry:
        """An exchange as it may be kept; the bytes may be anything."""
        try:
            command = Command.parse(raw)
        except ApduFormatError:
            # Whatever else it is, its data are in no known place.
            self._goes_on = False
            header, response = raw[:4] or b"\x00", answer[-2:]
            return Entry(door, at, seconds, header, True, 0, response, max(0, len(answer) - 2))
        spec = self._selection.command(command)
        kept = self._kept(command, spec, answer[:-2])
        self._selection.response(answer[-2:][0] if len(answer) > 1 else 0)
        entry = Entry(door, at, seconds, raw, response=answer, blanked=kept.blanked)
        if kept.data is None:
            entry = replace(entry, command=command.header, masked=True, ne=command.ne)
        elif kept.blanked:
            entry = replace(entry, command=replace(command, data=kept.data).encode())
        if not kept.answer and len(answer) > _STATUS_WORD:
            size = len(answer) - _STATUS_WORD
            return replace(entry, response=answer[-_STATUS_WORD:], length=size)
        return entry

    def _kept(self, command: Command, spec: CommandSpec | None, answer: bytes) -> Kept:
        """What may be kept of a command and its answer, both followed through their parts."""
        application = self._selection.application.name
        name = application, spec.name if spec is not None else ""
        part = command.chained or self._chained
        self._joined = (self._joined if self._chained else b"") + command.data
        self._dropped = self._dropped and self._chained
        self._chained = command.chained
        goes_on = self._goes_on and command.ins == _GET_RESPONSE
        judged = piv.judge(name[1], command, self._joined) if application == piv.NAME else None
        if judged is not None:
            # A chain is kept as a whole, or not at all.
            self._dropped = self._dropped or judged.data is None
            kept = Kept() if self._dropped else judged
        else:
            hidden = command.ins in SECRET_INSTRUCTIONS or spec is None
            secret = hidden or _secret(command.data, COMMAND_OBJECTS, name, part=part)
            silent = spec is None or spec.secret_response
            told = goes_on or not (silent or _secret(answer, RESPONSE_OBJECTS, name))
            kept = Kept(None if command.data and secret else command.data, told)
        self._goes_on = kept.answer and (goes_on or judged is not None)
        return kept


class Recorder:
    """A transport that gives `sink` an entry for every exchange of `inner` that was answered.

    `clock` gives the seconds since the recording began.
    """

    def __init__(
        self,
        inner: Transport,
        sink: Callable[[Entry], None],
        mask: Mask,
        door: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._inner = inner
        self._sink = sink
        self._mask = mask
        self._door = door
        self._clock = clock

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU; raises what `inner` raises."""
        start = self._clock()
        answer = self._inner.transceive(command)
        took = self._clock() - start
        self._sink(self._mask.entry(self._door, start, took, command, answer))
        return answer

    def was_reset(self) -> None:
        """Note that the card was reset on this way."""
        self._sink(Entry(self._door, self._clock()))


def write(head: Head) -> str:
    """The first line of a recording."""
    fields = {"klyuch": _KIND, "version": VERSION}
    return _line(
        {**fields, "application": head.application, "card": head.card, "began": head.began}
    )


def write_entry(entry: Entry) -> str:
    """A further line."""
    return _line(entry.line())


def whole(text: str) -> tuple[str, bool]:
    """A recording without a last line that was cut short, and whether there was such a line."""
    before, _, last = text.rpartition("\n")
    if not before or not last:
        return text, False
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        return f"{before}\n", True
    return text, False


def read(text: str) -> tuple[Head, list[Entry]]:
    """A whole recording. Raises RecordingError."""
    lines = text.splitlines()
    objects = list(_objects(lines))
    if not objects or objects[0].get("klyuch") != _KIND:
        raise RecordingError("It is no recording: the first line is not the head of one.")
    head = objects[0]
    if head.get("version") != VERSION:
        raise RecordingError(f"It has version {head.get('version')}; this program reads {VERSION}.")
    application = head.get("application")
    if not isinstance(application, str) or application not in APPLICATIONS:
        raise RecordingError(f"It is of an unknown application: {application!r}.")
    named = Head(application, str(head.get("card", "")), str(head.get("began", "")))
    return named, [read_entry(item, number) for number, item in enumerate(objects[1:], 2)]


def read_entry(fields: Mapping[str, Any], number: int = 0) -> Entry:
    """An entry from its JSON object, in that line. Raises RecordingError."""
    try:
        door, at = int(fields["door"]), float(fields["at"])
        if fields.get("reset"):
            return Entry(door, at)
        length = fields.get("length")
        entry = Entry(
            door,
            at,
            float(fields["seconds"]),
            bytes.fromhex(fields["command"]),
            fields.get("masked") is True,
            int(fields.get("ne", 0)),
            bytes.fromhex(fields["response"]),
            None if length is None else int(length),
            fields.get("blanked") is True,
        )
        Response.parse(entry.response)
        if not entry.masked or len(entry.command) >= _HEADER:
            entry.parsed().encode()
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise RecordingError(f"Line {number} is no exchange.") from error
    return entry


def _objects(lines: list[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordingError(f"Line {number} is not JSON.") from error
        if not isinstance(item, dict):
            raise RecordingError(f"Line {number} is no JSON object.")
        yield item


def _line(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def _secret(
    data: bytes,
    objects: Mapping[tuple[str, str], tuple[TagSpec, ...]],
    name: tuple[str, str],
    *,
    part: bool = False,
) -> bool:
    """Whether a data object in the data field is secret; in a part of one nobody can tell."""
    secret = {member.tag for member in objects.get(name, ()) if member.secret}
    if not secret or part:
        return bool(secret)
    try:
        return any(item.tag in secret for item in tlv.parse(data))
    except tlv.TlvError:
        # A part of a long response: nobody knows what is in it.
        return True
