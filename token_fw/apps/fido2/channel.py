"""Who asks the authenticator: a CTAPHID channel, or an interface of the card."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from typing import TypeVar

from apdu.ctap import Status
from token_fw.apps.fido2.errors import CtapError
from token_fw.env import Question
from token_fw.errors import EntryCancelled
from token_fw.transaction import Transaction

T = TypeVar("T")


class Transport(StrEnum):
    """How a client reaches the authenticator, as credential descriptors name it."""

    USB = "usb"
    NFC = "nfc"
    SMART_CARD = "smart-card"
    INTERNAL = "internal"


class Keepalive(IntEnum):
    """What a running request does (CTAP 2.1 11.2.9.2.5)."""

    PROCESSING = 0x01
    UPNEEDED = 0x02


class Channel:
    """One that asks. What an enumeration leaves for its next request is for the same object alone.

    One request runs on it at a time, from `take` on, or from `running` where nobody took it before;
    `cancel` and `keepalive` are for any thread meanwhile.
    """

    def __init__(self, transport: Transport = Transport.USB) -> None:
        self.transport = transport
        self._lock = threading.Lock()
        self._running = False
        self._cancelled = False
        self._closed = False
        self._question: Question[object] | None = None

    @property
    def keepalive(self) -> Keepalive:
        """Whether the request that runs waits for its user."""
        return Keepalive.PROCESSING if self._question is None else Keepalive.UPNEEDED

    @property
    def cancelled(self) -> bool:
        """Whether the request that runs was called off: it changes nothing more."""
        return self._cancelled

    def take(self) -> None:
        """A request of this channel was taken and will run: from now on it can be cancelled."""
        with self._lock:
            self._running, self._cancelled = True, self._closed

    @contextmanager
    def running(self) -> Iterator[None]:
        """The request that was taken, or else one that is taken now, runs or waits for the card."""
        if not self._running:
            self.take()
        try:
            yield
        finally:
            with self._lock:
                self._running = False

    def cancel(self) -> None:
        """Have the request that runs end with CTAP2_ERR_KEEPALIVE_CANCEL where it waits.

        Nothing happens where none runs, or where it waits for nobody any more.
        """
        with self._lock:
            self._cancelled = self._running
            question = self._question
        if question is not None:
            question.cancel()

    def close(self) -> None:
        """The channel is gone: no request of it waits for its user, nor does a later one."""
        with self._lock:
            self._closed = True
        self.cancel()

    @contextmanager
    def released(self, transaction: Transaction) -> Iterator[None]:
        """Others use the card meanwhile, see Transaction.released.

        Raises CtapError(CTAP2_ERR_KEEPALIVE_CANCEL) afterwards where the channel cancelled, and
        CardRemoved where the token was pulled.
        """
        with transaction.released():
            yield
        self._check_cancelled()

    def wait(self, transaction: Transaction, question: Question[T]) -> T:
        """The user's answer; others use the card meanwhile. As `released`, and what it raises."""
        with self._lock:
            self._question = question
            cancelled = self._cancelled
        if cancelled:
            # Whoever cancelled came before there was a question to see.
            question.cancel()
        try:
            with self.released(transaction):
                return question.wait()
        except EntryCancelled:
            self._check_cancelled()
            raise
        finally:
            with self._lock:
                self._question = None

    def _check_cancelled(self) -> None:
        if self._cancelled:
            raise CtapError(Status.CTAP2_ERR_KEEPALIVE_CANCEL, "the client cancelled")
