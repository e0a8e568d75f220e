"""What the facade needs of the places where a token can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from apdu.transport import Transport
from pkcs11_module.facade.events import SlotEvents


class Reader(Protocol):
    """A reader with or without a token; its attributes are read often and must be cheap."""

    @property
    def slot_id(self) -> int:
        """A small number that stays the reader's for ever."""

    @property
    def description(self) -> str:
        """The reader's name, up to 64 bytes of UTF-8."""

    @property
    def application(self) -> str | None:
        """Which of the token's applications is shown, see `cards.open_card`."""

    @property
    def shared(self) -> bool:
        """Whether other programs use the token too: then `connect` gives a Shared transport."""

    @property
    def generation(self) -> int:
        """Differs at every insertion."""

    @property
    def present(self) -> bool:
        """Whether a token is inserted."""

    def connect(self) -> Transport:
        """A transport of its own to the token; raises TransportError when there is none."""


class Readers(Protocol):
    """Every reader there is; the list only grows. `events` is told of every insertion and removal,
    after it shows at the reader.
    """

    @property
    def events(self) -> SlotEvents:
        """Who waits for tokens to come and go."""

    def readers(self) -> Sequence[Reader]:
        """The readers in a stable order."""
