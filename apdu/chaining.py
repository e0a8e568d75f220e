"""Command chaining and GET RESPONSE, for the card and for the client, without I/O.

Command chaining is ISO/IEC 7816-4:2020, 5.3.3; response data in several parts is 5.3.4.
"""

from __future__ import annotations

from apdu._catalogue import SW
from apdu.codec import CHAINING, MAX_SHORT_DATA, Command, Response

MAX_CHAIN = 128 * 1024


class ChainingError(Exception):
    """A chain of commands or a GET RESPONSE that does not follow; the state is empty afterwards."""


class ChainInterrupted(ChainingError):
    """A command that does not continue the open chain. Feeding it again starts afresh."""


class ChainTooLong(ChainingError):
    """The data of the chain is longer than the limit."""


class NoResponseQueued(ChainingError):
    """GET RESPONSE with no response data left."""


class CommandChain:
    """The card's side of command chaining: collects the parts of one command.

    The parts of a chain have the same CLA (but for the chaining bit), INS, P1 and P2; their data,
    at most `limit` bytes together, are concatenated.
    """

    def __init__(self, limit: int = MAX_CHAIN) -> None:
        self._limit = limit
        self._header: tuple[int, int, int, int] | None = None
        self._data = bytearray()

    @property
    def active(self) -> bool:
        """Whether a chain is open."""
        return self._header is not None

    def reset(self) -> None:
        """Forget the open chain, if any."""
        self._header = None
        self._data = bytearray()

    def feed(self, command: Command) -> Command | None:
        """Take the next command; returns the whole one, or None while more parts follow.

        The whole command has the chaining bit cleared and the `ne` of the last part. Raises
        ChainInterrupted or ChainTooLong, and has then forgotten the chain.
        """
        if self._header is None and not command.cla & CHAINING:
            return command
        cla = command.cla & ~CHAINING
        header = cla, command.ins, command.p1, command.p2
        if self._header is not None and self._header != header:
            self.reset()
            raise ChainInterrupted("a command that is not of the open chain")
        if len(self._data) + len(command.data) > self._limit:
            self.reset()
            raise ChainTooLong(f"a chain of more than {self._limit} bytes")
        self._header = header
        self._data += command.data
        if command.cla & CHAINING:
            return None
        whole = Command(*header, bytes(self._data), command.ne)
        self.reset()
        return whole


class ResponseQueue:
    """The card's side of GET RESPONSE: holds what did not fit in a response."""

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._sw = SW.NO_ERROR

    @property
    def pending(self) -> int:
        """The number of bytes that wait."""
        return len(self._data) - self._position

    def clear(self) -> None:
        """Forget what waits; every command but GET RESPONSE does so."""
        self._data = b""
        self._position = 0
        self._sw = SW.NO_ERROR

    def answer(self, response: Response, ne: int) -> Response:
        """The response to a command that wants up to `ne` bytes.

        Longer data is cut: the rest waits, and the status word is 61xx, xx being the number of
        waiting bytes, or 00 for 256 and more. The last part has the status word of `response`.
        """
        self.clear()
        if len(response.data) <= ne:
            return response
        self._data = response.data
        self._sw = response.sw
        return self._next(ne)

    def get_response(self, ne: int) -> Response:
        """The response to GET RESPONSE with that `ne`; raises NoResponseQueued when none waits."""
        if not self.pending:
            raise NoResponseQueued("no response data waits")
        return self._next(ne)

    def _next(self, ne: int) -> Response:
        part = self._data[self._position : self._position + ne]
        self._position += len(part)
        left = self.pending
        if left:
            return Response(SW.BYTES_AVAILABLE | (left if left < 256 else 0), part)
        sw = self._sw
        self.clear()
        return Response(sw, part)


def split_command(command: Command, chunk: int = MAX_SHORT_DATA) -> list[Command]:
    """The client's side: the command as a chain of parts with at most `chunk` data bytes each.

    One part when the data fits; only the last one has an `ne`. Raises ValueError when `chunk` is
    not positive or the command is part of a chain already.
    """
    if chunk < 1:
        raise ValueError("a part of a chain has at least one byte")
    data = command.data
    if len(data) <= chunk:
        return [command]
    if command.chained:
        raise ValueError("the command is part of a chain already")
    cla, ins, p1, p2 = command.cla, command.ins, command.p1, command.p2
    last = (len(data) - 1) // chunk * chunk
    parts = [
        Command(cla | CHAINING, ins, p1, p2, data[start : start + chunk])
        for start in range(0, last, chunk)
    ]
    parts.append(Command(cla, ins, p1, p2, data[last:], command.ne))
    return parts
