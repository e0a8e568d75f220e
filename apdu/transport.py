"""Transports: one command APDU in, one response APDU out, and what can be put around them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from apdu._catalogue import SW
from apdu.chaining import split_command
from apdu.codec import MAX_SHORT_DATA, MAX_SHORT_NE, ApduFormatError, Command, Response
from apdu.model import StatusWordError, command_name

_GET_RESPONSE = 0xC0
_BYTES_AVAILABLE = SW.BYTES_AVAILABLE >> 8
_WRONG_LE = SW.WRONG_LE >> 8
_MAX_RESPONSE = 4 << 20
_MAX_EMPTY_ANSWERS = 3


class TransportError(Exception):
    """The exchange failed: whether the card executed the command is not known."""


class CardRemoved(TransportError):
    """There is no card behind this transport any more."""


class Transport(Protocol):
    """The way to a card."""

    def transceive(self, command: bytes) -> bytes:
        """Send one whole command APDU and return one whole response APDU.

        Raises TransportError when no response came, CardRemoved when none will come any more.
        """
        ...


@runtime_checkable
class Telling(Protocol):
    """A transport so near to its card that it knows without a command whether anything changed."""

    def changes(self) -> int:
        """A number that differs after any change of the card's contents.

        Raises CardRemoved when there is no card any more.
        """
        ...


@runtime_checkable
class Shared(Transport, Protocol):
    """A transport to a card that other programs use as well: selection and login are the card's."""

    @property
    def epoch(self) -> int:
        """Differs after whatever made the card forget what was selected and verified."""

    def transaction(self) -> AbstractContextManager[None]:
        """No other program reaches the card meanwhile; transactions may be nested.

        Raises TransportError, CardRemoved when there is no card any more.
        """
        ...


class CardClient:
    """The client's side of chaining, GET RESPONSE and 6Cxx over any transport.

    One exchange may take several APDUs, hence whoever shares the transport between threads
    serialises the calls. `extended` says whether the card takes extended length fields;
    `max_data` is the largest data field sent in one of them, in bytes.
    """

    def __init__(
        self, transport: Transport, *, extended: bool = True, max_data: int = 65000
    ) -> None:
        self._transport = transport
        self._extended = extended
        self._chunk = max_data if extended else min(max_data, MAX_SHORT_DATA)

    def send(self, command: Command) -> Response:
        """Send a command whose data may be of any length; the response has its data joined.

        A chain whose middle is refused ends there, with the response that refused it. Raises
        TransportError, also when the card's answer is malformed or has no end.
        """
        ne = command.ne if self._extended else min(command.ne, MAX_SHORT_NE)
        whole = Command(command.cla, command.ins, command.p1, command.p2, command.data, ne)
        *chained, last = split_command(whole, self._chunk)
        for part in chained:
            response = self._exchange(part)
            if response.sw != SW.NO_ERROR:
                return response
        response = self._exchange(last)
        if response.sw1 == _WRONG_LE:
            ne = response.sw2 or MAX_SHORT_NE
            response = self._exchange(Command(last.cla, last.ins, last.p1, last.p2, last.data, ne))
        if response.sw1 == _BYTES_AVAILABLE:
            response = self._collect(command.cla, response)
        return response

    def call(self, command: Command) -> bytes:
        """As `send`, returning the data; raises StatusWordError unless the status word is 9000."""
        response = self.send(command)
        if response.sw != SW.NO_ERROR:
            raise StatusWordError(response.sw, command_name(command))
        return response.data

    def _exchange(self, command: Command) -> Response:
        raw = self._transport.transceive(command.encode())
        try:
            return Response.parse(raw)
        except ApduFormatError as error:
            raise TransportError("the card's answer is not a response APDU") from error

    def _collect(self, cla: int, response: Response) -> Response:
        """Fetch what 61xx announced (ISO/IEC 7816-4:2020, 5.3.4)."""
        # GET RESPONSE is interindustry: of CLA only the logical channel is kept.
        channel = cla & 0x4F if cla & 0x40 else cla & 0x03
        data = bytearray(response.data)
        empty = 0
        while response.sw1 == _BYTES_AVAILABLE:
            ne = response.sw2 or MAX_SHORT_NE
            response = self._exchange(Command(channel, _GET_RESPONSE, 0, 0, b"", ne))
            if response.sw1 == _WRONG_LE:
                response = Response(SW.BYTES_AVAILABLE | response.sw2)
            empty = 0 if response.data else empty + 1
            data += response.data
            if empty > _MAX_EMPTY_ANSWERS or len(data) > _MAX_RESPONSE:
                raise TransportError("the card announces more response data without end")
        return Response(response.sw, bytes(data))


class Fault(Protocol):
    """What goes wrong with one APDU."""

    def strike(self, inner: Transport, command: bytes) -> bytes:
        """Take the place of `inner.transceive(command)`."""
        ...


@dataclass(frozen=True, slots=True)
class Drop:
    """The response is lost: TransportError. The card has `executed` the command or never saw it."""

    executed: bool = True

    def strike(self, inner: Transport, command: bytes) -> bytes:
        if self.executed:
            inner.transceive(command)
        raise TransportError("the response was lost")


@dataclass(frozen=True, slots=True)
class Garble:
    """Every byte of the response is combined with `mask` by exclusive or."""

    mask: int = 0x55

    def strike(self, inner: Transport, command: bytes) -> bytes:
        return bytes(byte ^ self.mask for byte in inner.transceive(command))


@dataclass(frozen=True, slots=True)
class Truncate:
    """Only the first `length` bytes of the response arrive."""

    length: int = 1

    def strike(self, inner: Transport, command: bytes) -> bytes:
        return inner.transceive(command)[: self.length]


@dataclass(frozen=True, slots=True)
class Answer:
    """The card never sees the command; the response is this status word alone."""

    sw: int

    def strike(self, inner: Transport, command: bytes) -> bytes:
        return Response(self.sw).encode()


@dataclass(frozen=True, slots=True)
class Remove:
    """The card is pulled: this exchange and all later ones raise CardRemoved."""

    executed: bool = False

    def strike(self, inner: Transport, command: bytes) -> bytes:
        if self.executed:
            inner.transceive(command)
        raise CardRemoved("the card was removed")


class Faulty:
    """Exchanges that fail as planned: `plan` maps the number of an APDU, from 1, to its fault."""

    def __init__(self, inner: Transport, plan: Mapping[int, Fault]) -> None:
        self._inner = inner
        self._plan = plan
        self._removed = False
        self.count = 0

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU as planned; raises TransportError or CardRemoved where planned."""
        if self._removed:
            raise CardRemoved("the card was removed")
        self.count += 1
        fault = self._plan.get(self.count)
        if fault is None:
            return self._inner.transceive(command)
        try:
            return fault.strike(self._inner, command)
        except CardRemoved:
            self._removed = True
            raise
