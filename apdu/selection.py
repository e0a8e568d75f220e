"""Which application of a card is selected, for whoever sees only the APDUs."""

from __future__ import annotations

from apdu._catalogue import APPLICATIONS, SW
from apdu.codec import Command
from apdu.spec import ApplicationSpec, CommandSpec

_SELECT_BY_NAME = bytes((0x00, 0xA4, 0x04))
_DONE = frozenset((SW.NO_ERROR >> 8, SW.BYTES_AVAILABLE >> 8))
# PINs and private keys travel in these: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER,
# PUT DATA. They stay masked in a command that no table knows.
_SECRET_INS = frozenset((0x20, 0x21, 0x24, 0x25, 0x2C, 0x2D, 0xDB))


class Selection:
    """Begins with `application` and goes over to whichever is selected by its name."""

    def __init__(self, application: ApplicationSpec) -> None:
        self.application = self._before = application

    def command(self, command: Command) -> CommandSpec | None:
        """Follow a command; what the catalogue says of it."""
        self._before = self.application
        if command.header.startswith(_SELECT_BY_NAME):
            for known in APPLICATIONS.values():
                if known.is_named(command.data):
                    self.application = known
        return find_spec(self.application, command)

    def response(self, sw1: int) -> None:
        """Follow the answer: a refused SELECT leaves selected what was."""
        if sw1 not in _DONE:
            self.application = self._before


def find_spec(application: ApplicationSpec, command: Command) -> CommandSpec | None:
    """What the catalogue says of a command, or of one that differs by its parameters only."""
    exact = application.match(command.cla, command.ins, command.p1, command.p2)
    return exact or application.match(command.cla, command.ins)


def _secret_instructions() -> frozenset[int]:
    commands = (command for known in APPLICATIONS.values() for command in known.commands)
    return _SECRET_INS | {command.ins for command in commands if command.secret}


SECRET_INSTRUCTIONS = _secret_instructions()
"""The instructions whose data fields are shown by nobody: not even their size is.

Those of every application: a reset, which is not seen, may have ended a selection.
"""
