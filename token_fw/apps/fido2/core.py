"""What all channels share of the authenticator, and one request while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from apdu.ctap import CtapCommand, Status
from token_fw.apps.fido2 import settings
from token_fw.apps.fido2.attester import Attester
from token_fw.apps.fido2.channel import Channel
from token_fw.apps.fido2.credentials import Credentials
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.pin_uv import PinUvAuth
from token_fw.apps.fido2.secrets import Secrets
from token_fw.apps.fido2.settings import Settings
from token_fw.env import Presence
from token_fw.errors import EntryCancelled, EntryTimedOut, FingerMismatch, FingersBlocked, NoFinger
from token_fw.fingerprint import Matcher
from token_fw.pin import PinRef, Pins
from token_fw.state import Token
from token_fw.transaction import Transaction

ENUMERATION_SECONDS = 30.0
"""How long a request that goes on with the one before it may be away (CTAP 2.1 6.3, 6.8)."""

PIN_TRIES = 8
"""Tries of the PIN (CTAP 2.1 6.5.2.3)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Left:
    """What a request leaves to the next one, if that is of the same command on the same channel.

    getNextAssertion counts as getAssertion. `until`: by the clock, when it is dropped.
    """

    channel: Channel
    command: CtapCommand
    until: float
    value: object


@dataclass(slots=True)
class Core:
    """What all channels share: the token's durable state, what ends with the power, the effects."""

    transaction: Transaction
    token: Token
    pins: Pins
    matcher: Matcher
    secrets: Secrets
    credentials: Credentials
    attester: Attester
    rng: Callable[[int], bytes]
    clock: Callable[[], float]
    presence: Presence | None
    powered: float
    """When the power came, by `clock`."""
    pin_uv: PinUvAuth = field(init=False)
    left: Left | None = field(default=None, init=False)
    _running: Channel | None = field(default=None, init=False)
    """Whose request runs; while that waits for its user the card is open to others."""

    def __post_init__(self) -> None:
        self.pin_uv = PinUvAuth(self.transaction, self.rng, self.clock)

    def power_up(self) -> None:
        """The power came: tokens in use, wrong PINs in a row and enumerations are of the past.

        So is a request that waits for its user: it ends with CTAP2_ERR_KEEPALIVE_CANCEL, with
        nothing done.
        """
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        self.powered = self.clock()
        self.left = None
        self.pin_uv = PinUvAuth(self.transaction, self.rng, self.clock)

    @property
    def settings(self) -> Settings:
        """The settings in force; raises StorageCorrupt."""
        return settings.load(self.transaction)

    @settings.setter
    def settings(self, changed: Settings) -> None:
        settings.save(self.transaction, changed)

    @property
    def pin_set(self) -> bool:
        """Whether there is a PIN."""
        return self.pins.record(PinRef.FIDO).initialised

    @property
    def uv_enabled(self) -> bool:
        """Whether built-in user verification is set up: a finger is enrolled."""
        return self.matcher.sensor is not None and bool(self.matcher.templates(PinRef.FIDO))

    @property
    def protected(self) -> bool:
        """Whether the user can be verified in any way."""
        return self.pin_set or self.uv_enabled

    def touch(
        self,
        channel: Channel,
        patience: float | None = None,
        late: Status = Status.CTAP2_ERR_USER_ACTION_TIMEOUT,
    ) -> None:
        """Wait until the user touches the token; others use the card meanwhile.

        `patience`: seconds, those of the touch sensor for None.
        Nothing may wait for a commit, and what was checked before is to be checked again. Raises
        CtapError: `late` where no touch came in time, CTAP2_ERR_KEEPALIVE_CANCEL, and
        CTAP2_ERR_OPERATION_DENIED where nobody is there to touch it.
        """
        if self.presence is None:
            raise CtapError(Status.CTAP2_ERR_OPERATION_DENIED, "nobody is there to touch the token")
        if not channel.wait(self.transaction, self.presence.ask(patience)):
            raise CtapError(late, "nobody touched the token")

    @contextmanager
    def alone(self, channel: Channel) -> Iterator[Left | None]:
        """Run one request, of a furnished application; gives what the one before left.

        Raises CtapError(CTAP1_ERR_CHANNEL_BUSY) while another one runs. One that was cancelled does
        nothing more but end.
        """
        if self._running is not None and not self._running.cancelled:
            raise CtapError(Status.CTAP1_ERR_CHANNEL_BUSY, "another request waits for its user")
        self.furnish()
        left, self.left = self.left, None
        self._running = channel
        try:
            yield left
        finally:
            # Since it was cancelled it may be another's.
            if self._running is channel:
                self._running = None

    def furnish(self) -> None:
        """Give a token that never had the application what it needs; nothing where it had it."""
        if not self.secrets.exist:
            self.secrets.renew()
            self.attester.furnish(self.token.serial)
            Pins.create(self.transaction, PinRef.FIDO, PIN_TRIES)
            self.transaction.commit()


_CONTINUES = {CtapCommand.GET_NEXT_ASSERTION: CtapCommand.GET_ASSERTION}


@dataclass(slots=True)
class Call:
    """One request while it runs: of which command, on which channel, and after what."""

    core: Core
    channel: Channel
    command: CtapCommand
    before: Left | None = None

    def resume(self, kind: type[T]) -> T | None:
        """What the request before left for this one, of that kind; None where it left none.

        Whoever needs it again leaves it again.
        """
        left = self.before
        if (
            left is None
            or left.channel is not self.channel
            or left.command is not _CONTINUES.get(self.command, self.command)
            or self.core.clock() > left.until
            or not isinstance(left.value, kind)
        ):
            return None
        return left.value

    def leave(self, value: object, seconds: float = ENUMERATION_SECONDS) -> None:
        """Keep a value for the next request of this command on this channel."""
        command = _CONTINUES.get(self.command, self.command)
        left = Left(self.channel, command, self.core.clock() + seconds, value)
        self.core.transaction.after(lambda: self._keep(left))

    def _keep(self, left: Left) -> None:
        self.core.left = left

    def touch(self, late: Status = Status.CTAP2_ERR_USER_ACTION_TIMEOUT) -> None:
        """See Core.touch."""
        self.core.touch(self.channel, late=late)

    def finger(self) -> None:
        """performBuiltInUv, one try: wait for a finger and compare it (CTAP 2.1 6.5.3.1).

        As `touch`; a finger that is right is also a touch. Raises CtapError: CTAP2_ERR_UV_BLOCKED,
        CTAP2_ERR_UV_INVALID, CTAP2_ERR_USER_ACTION_TIMEOUT, CTAP2_ERR_KEEPALIVE_CANCEL, and
        CTAP2_ERR_NOT_ALLOWED where no finger is enrolled.
        """
        matcher = self.core.matcher
        try:
            matcher.usable(PinRef.FIDO)
            assert matcher.sensor is not None
            sample = self.channel.wait(self.core.transaction, matcher.sensor.ask())
            matcher.match(sample, PinRef.FIDO)
        except NoFinger as error:
            raise CtapError(Status.CTAP2_ERR_NOT_ALLOWED, str(error)) from None
        except FingersBlocked as error:
            raise CtapError(Status.CTAP2_ERR_UV_BLOCKED, str(error)) from None
        except FingerMismatch as error:
            status = Status.CTAP2_ERR_UV_INVALID
            if not error.tries_left:
                status = Status.CTAP2_ERR_UV_BLOCKED
            raise CtapError(status, str(error)) from None
        except (EntryTimedOut, EntryCancelled) as error:
            raise CtapError(Status.CTAP2_ERR_USER_ACTION_TIMEOUT, str(error)) from None
        # The tries are given back whatever becomes of the request.
        self.core.transaction.commit()


Handler = Callable[[Call, Any], dict[int, Any] | None]
"""Runs one command; gives the map of its answer, None for an answer without one.

Raises CtapError and StorageError. What it changed is made durable before the answer leaves.
"""
