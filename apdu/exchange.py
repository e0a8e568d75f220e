"""One exchange with a card as named fields, for programs: what `apdu.trace` tells people in a line.

Bytes are in hexadecimal. What a recording leaves out (`apdu.recording.Mask`) is null.
"""

from __future__ import annotations

from apdu.codec import ApduFormatError, Command, Response
from apdu.model import status_word
from apdu.recording import Entry
from apdu.selection import find_spec
from apdu.spec import ApplicationSpec

_STATUS_WORD = 2


def fields(entry: Entry, application: ApplicationSpec) -> dict[str, object]:
    """The fields of an exchange, in which that application was selected, or of a reset.

    A command that is masked has neither data nor their length; one that is none has but the bytes
    that are there. An exchange that failed has no answer.
    """
    if entry.is_reset:
        return {"door": entry.door, "reset": True}
    return {
        "door": entry.door,
        "application": application.name,
        **_command(entry, application),
        **_answer(entry),
        "seconds": round(entry.seconds, 6),
    }


def _command(entry: Entry, application: ApplicationSpec) -> dict[str, object]:
    header = [entry.command[place : place + 1].hex() or None for place in range(4)]
    named: dict[str, object] = dict(zip(("cla", "ins", "p1", "p2"), header, strict=True))
    try:
        command: Command | None = entry.parsed()
    except ApduFormatError:
        command = None
    spec = None if command is None else find_spec(application, command)
    told = None if command is None or entry.masked else command.data
    return {
        "command": spec.name if spec is not None else None,
        **named,
        "lc": None if told is None else len(told),
        "le": None if command is None else command.ne,
        "chained": command is not None and command.chained,
        "data": None if told is None else told.hex(),
        "masked": entry.masked,
        "blanked": entry.blanked,
    }


def _answer(entry: Entry) -> dict[str, object]:
    if len(entry.response) < _STATUS_WORD:
        return dict.fromkeys(("sw", "sw_name", "meaning", "answer", "answer_length"))
    response = Response.parse(entry.response)
    status = status_word(response.sw)
    whole = entry.length is None
    return {
        "sw": f"{response.sw:04x}",
        "sw_name": status.name if status is not None else None,
        "meaning": status.title if status is not None else None,
        "answer": response.data.hex() if whole else None,
        "answer_length": len(response.data) if whole else entry.length,
    }
