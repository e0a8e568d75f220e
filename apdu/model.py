"""The catalogue and what is said about it: commands and status words by name."""

from __future__ import annotations

from apdu._catalogue import APPLICATIONS, STATUS_WORDS, SW
from apdu.codec import Command
from apdu.spec import StatusWord

__all__ = [
    "APPLICATIONS",
    "STATUS_WORDS",
    "SW",
    "StatusWordError",
    "command_name",
    "describe",
    "status_word",
]

_BY_VALUE = {status.value: status for status in STATUS_WORDS if not status.bits}
_FAMILIES = tuple(status for status in STATUS_WORDS if status.bits)


class StatusWordError(Exception):
    """A card refused a command: `sw` is its status word, `command` the name of the command."""

    def __init__(self, sw: int, command: str) -> None:
        super().__init__(sw, command)
        self.sw = sw
        self.command = command

    def __str__(self) -> str:
        return f"{self.command}: {describe(self.sw)}"


def status_word(sw: int) -> StatusWord | None:
    """The status word, or the family it belongs to; None when the catalogue has neither."""
    exact = _BY_VALUE.get(sw)
    if exact is not None:
        return exact
    for family in _FAMILIES:
        if family.matches(sw):
            return family
    return None


def describe(sw: int) -> str:
    """A status word for people, such as `63C2 wrong reference data, tries left: 2`."""
    status = status_word(sw)
    if status is None:
        return f"{sw:04X} unknown status word"
    if not status.bits:
        return f"{sw:04X} {status.title}"
    return f"{sw:04X} {status.title}: {sw & ((1 << status.bits) - 1)}"


def command_name(command: Command) -> str:
    """The command's name in the first application that has it, else its header in hexadecimal."""
    for application in APPLICATIONS.values():
        spec = application.match(command.cla, command.ins, command.p1, command.p2)
        spec = spec or application.match(command.cla, command.ins)
        if spec is not None:
            return spec.name
    return command.header.hex(" ").upper()
