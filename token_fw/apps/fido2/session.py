"""One client of the authenticator as a card, and the request that runs for it (CTAP 2.1 11.3)."""

from __future__ import annotations

import threading

from apdu.codec import Response
from apdu.model import SW
from apdu.spec import Access, CommandSpec
from apdu.transport import CardRemoved
from token_fw.apps.fido2.authenticator import Authenticator
from token_fw.apps.fido2.channel import Channel, Transport
from token_fw.errors import ConditionsNotSatisfied

UPDATE_SECONDS = 0.08
"""How long a request may run until a client that takes updates is told that it does."""


class _Request:
    """A request that runs in a thread of its own."""

    def __init__(self, authenticator: Authenticator, channel: Channel, data: bytes) -> None:
        self._authenticator = authenticator
        self._channel = channel
        self._data = data
        self._done = threading.Event()
        self._answer: bytes | None = None
        channel.take()
        threading.Thread(target=self._run, name="CTAP request", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._authenticator.ctap(self._channel, self._data)
        except CardRemoved:
            # Whoever waits finds the card gone by itself.
            self._answer = None
        finally:
            self._done.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended within the seconds, at all for None."""
        return self._done.wait(seconds)

    def answer(self) -> bytes:
        """What it came to; raises CardRemoved where the token was pulled."""
        if self._answer is None:
            raise CardRemoved("the card was removed")
        return self._answer


class FidoSession:
    """One client of the authenticator, with at most one request that runs.

    `channel`: what it is to the authenticator, where that is not a card in a reader.
    """

    def __init__(self, authenticator: Authenticator, channel: Channel | None = None) -> None:
        self.authenticator = authenticator
        self.channel = channel or Channel(Transport.SMART_CARD)
        self._request: _Request | None = None

    def permits(self, _: Access) -> bool:
        """The authenticator itself says who may do what."""
        return True

    def begin(self, command: CommandSpec | None) -> None:
        """A command other than those that ask for its answer ends the request that runs."""
        if command is None or command.name != "NFCCTAP_GETRESPONSE":
            self._abandon()

    def branch(self) -> FidoSession:
        """A client of its own."""
        return FidoSession(self.authenticator)

    def end(self) -> None:
        """The interface is closed: no request waits for its user."""
        self.channel.close()

    def ask(self, data: bytes, *, updates: bool) -> bytes | Response:
        """Run a request; with `updates`, what it waits for is answered meanwhile."""
        self._request = _Request(self.authenticator, self.channel, data)
        return self.go_on(UPDATE_SECONDS if updates else None)

    def go_on(self, seconds: float | None = UPDATE_SECONDS) -> bytes | Response:
        """The answer to the request, or a status update after the seconds.

        Raises ConditionsNotSatisfied where none runs, CardRemoved.
        """
        request = self._request
        if request is None:
            raise ConditionsNotSatisfied("no request runs")
        with self.authenticator.core.transaction.released():
            done = request.wait(seconds)
        if not done:
            return Response(SW.STATUS_UPDATE, bytes((self.channel.keepalive,)))
        self._request = None
        return request.answer()

    def _abandon(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self.channel.cancel()
            request.wait()
