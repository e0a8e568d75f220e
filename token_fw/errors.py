"""Why a card refuses a command. `card.py` alone turns these into status words.

Messages name the cause and never hold a PIN, a key or other data of the command.
"""

from __future__ import annotations


class CardError(Exception):
    """The command is refused; nothing that it was to change has changed."""


class WrongPin(CardError):
    """The PIN did not match: one try is spent, `tries_left` remain."""

    what = "wrong PIN"

    def __init__(self, tries_left: int) -> None:
        super().__init__(f"{self.what}, tries left: {tries_left}")
        self.tries_left = tries_left


class PinNotVerified(CardError):
    """The PIN is not verified on this interface; `tries_left` say how often it may be tried."""

    def __init__(self, tries_left: int) -> None:
        super().__init__(f"the PIN is not verified, tries left: {tries_left}")
        self.tries_left = tries_left


class PinBlocked(CardError):
    """No try is left, so even the right PIN is refused."""


class PinNotInitialised(CardError):
    """The PIN has no value yet."""


class FingerMismatch(WrongPin):
    """The finger is none that stands for the PIN: one of the sensor's tries is spent."""

    what = "wrong finger"


class FingersBlocked(PinBlocked):
    """The sensor has no try left; the right PIN gives them back."""


class NoFinger(PinNotInitialised):
    """No finger was enrolled to stand for the PIN, or there is no sensor."""


class EntryCancelled(CardError):
    """The user, or whoever asked, called the entry on the token off; nothing was compared."""


class EntryTimedOut(CardError):
    """Nobody entered anything on the token in time; nothing was compared."""


class SecurityStatusNotSatisfied(CardError):
    """A PIN has to be verified on this interface first, or no PIN opens this."""


class CommandNotAllowed(CardError):
    """The command is switched off."""


class ConditionsNotSatisfied(CardError):
    """The card, the key or the file is in no state for that."""


class IncorrectData(CardError):
    """The data field does not say what the command needs."""


class FunctionNotSupported(CardError):
    """Well-formed, but this card cannot do it."""


class WrongLength(CardError):
    """A length that the command does not take."""


class FileNotFound(CardError):
    """No such file, directory or application."""


class FileExists(CardError):
    """The directory has a file with that identifier."""


class DfNameExists(CardError):
    """A directory with that name exists."""


class NoCurrentFile(CardError):
    """No elementary file is selected."""


class IncompatibleFile(CardError):
    """A directory where a file with data was wanted."""


class OffsetOutsideFile(CardError):
    """The offset is beyond the end of the file."""


class NotEnoughMemory(CardError):
    """The file or the directory would be larger than the card allows."""


class ReferencedDataNotFound(CardError):
    """No key under that reference."""


class IncorrectParameters(CardError):
    """P1 P2 have values that the command does not take."""


class InstructionNotSupported(CardError):
    """The selected application has no such command, or none is selected."""


class ClassNotSupported(CardError):
    """No command has that class."""


class SecureMessagingNotSupported(CardError):
    """The class asks for secure messaging."""


class LogicalChannelNotSupported(CardError):
    """The class names a logical channel other than the basic one."""


class ChainingNotSupported(CardError):
    """The command cannot be sent as a chain."""
