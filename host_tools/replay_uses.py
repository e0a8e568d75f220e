"""Uses of keys in a replay: what follows them, whatever the application."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from apdu.chaining import ChainInterrupted, ChainTooLong, CommandChain
from apdu.codec import Command, Response
from apdu.model import SW

_GET_RESPONSE = 0xC0
BYTES_AVAILABLE = SW.BYTES_AVAILABLE >> 8


class UnlikeError(Exception):
    """What a key has made is not what it has to make; the message says what is wrong."""


class IncomparableError(Exception):
    """What was recorded cannot be compared on a card with another key; the message says why."""


class Uses(Protocol):
    """Follows the commands that make or use keys of one application on one way to a card."""

    def answered(self, command: Command, response: Response) -> bool:
        """Note a command with its answer; whether it is a use of a key, or a part of one.

        Raises UnlikeError where the answer is whole, and wrong; IncomparableError, TransportError.
        """

    def was_reset(self) -> None:
        """The card was reset on this way."""


@dataclass
class Joined:
    """The last command of one way to a card, with its chain and the parts of its answer joined."""

    _chain: CommandChain = field(default_factory=CommandChain)
    _asked: Command | None = None
    _answer: bytes = field(default=b"", repr=False)

    def add(self, command: Command, response: Response) -> tuple[Command, Response] | None:
        """The whole command, and its answer as far as it has come: its status word is then 61xx.

        None in the middle of a chain, and for a GET RESPONSE that goes on with nothing.
        """
        if command.ins == _GET_RESPONSE:
            self._answer += response.data
        else:
            self._asked = self._whole(command)
            self._answer = response.data
        if response.sw != SW.NO_ERROR:
            self._chain.reset()
        asked = self._asked
        if response.sw1 != BYTES_AVAILABLE:
            self._asked = None
        return None if asked is None else (asked, replace(response, data=self._answer))

    def _whole(self, command: Command) -> Command | None:
        try:
            return self._chain.feed(command)
        except ChainInterrupted:
            return self._chain.feed(command)
        except ChainTooLong:
            return None
