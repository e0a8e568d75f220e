"""Authenticators for tests, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from apdu.ctap import CtapCommand, Status
from tests import cards
from tests.piv_cards import Finger
from token_fw.apps.fido2 import Channel, cbor
from token_fw.card import Card, Profile, personalise
from token_fw.env import Env, Presence
from token_fw.storage.memory import MemoryStore


class Refused(Exception):
    """The authenticator answered with another status than CTAP2_OK."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass
class Desk:
    """A token with somebody near it, on a clock that the test turns."""

    finger: Presence | None = field(default_factory=Finger)
    store: MemoryStore = field(default_factory=MemoryStore)
    now: float = 1000.0
    channel: Channel = field(default_factory=Channel)

    def __post_init__(self) -> None:
        if not self.store.medium.records:
            personalise(self.store, Profile(cards.SERIAL))
        self.power()

    def power(self) -> None:
        """Take the power away, and give it again."""
        self.card = Card(Env(self.store, clock=lambda: self.now, presence=self.finger))

    def ask(
        self,
        command: CtapCommand,
        request: dict[int, Any] | None = None,
        channel: Channel | None = None,
    ) -> dict[int, Any]:
        """The answer's map, empty where there is none; raises Refused."""
        encoded = b"" if request is None else cbor.encode(request)
        answer = self.card.ctap(channel or self.channel, bytes((command,)) + encoded)
        if answer[0] != Status.CTAP2_OK:
            raise Refused(Status(answer[0]))
        return dict(cbor.decode(answer[1:])) if len(answer) > 1 else {}

    def status(
        self,
        command: CtapCommand,
        request: dict[int, Any] | None = None,
        channel: Channel | None = None,
    ) -> Status:
        """The status alone."""
        try:
            self.ask(command, request, channel)
        except Refused as refused:
            return refused.status
        return Status.CTAP2_OK
