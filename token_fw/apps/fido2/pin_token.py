"""The pinUvAuthToken: what whoever proved the PIN or a finger may do, and how long.

One lives in memory and ends with the power (CTAP 2.1 6.5.2.1). The persistent one is durable, has
the permission pcmr alone, and ends with the PIN (CTAP 2.2 6.5.2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apdu.ctap import Permission
from token_fw.apps.fido2.channel import Transport
from token_fw.apps.fido2.pin_protocols import PinUvAuthProtocol
from token_fw.storage.base import StorageCorrupt
from token_fw.transaction import Transaction

TOKEN_SIZE = 32

MAX_USAGE_SECONDS = 600.0
"""How long a token may be used at all."""

_LIMIT, _NFC_LIMIT = 30.0, 19.8
_KIND, _IDENT = "fido-persistent-token", b"\x00"


def time_limit(transport: Transport) -> float:
    """Seconds until a token has to be used first, and until a user no longer counts as present."""
    return _NFC_LIMIT if transport is Transport.NFC else _LIMIT


@dataclass(slots=True)
class _Use:
    """A token that is in use: for which protocol, for what, and since when."""

    protocol: PinUvAuthProtocol
    permissions: Permission
    rp_id: str | None
    started: float
    limit: float
    user_present: bool
    user_verified: bool = True
    used: bool = False


class PinUvAuthToken:
    """The token that ends with the power. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float], rng: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._rng = rng
        self._use: _Use | None = None
        self.value = rng(TOKEN_SIZE)
        """32 bytes, for either protocol."""

    def reset(self) -> None:
        """Have another value, which nobody uses yet (resetPinUvAuthToken)."""
        self.value = self._rng(TOKEN_SIZE)
        self._use = None

    def begin(
        self,
        protocol: PinUvAuthProtocol,
        permissions: Permission,
        rp_id: str | None,
        transport: Transport,
        *,
        user_present: bool,
    ) -> None:
        """Have a new value in use (resetPinUvAuthToken, beginUsingPinUvAuthToken)."""
        self.reset()
        now, limit = self._clock(), time_limit(transport)
        self._use = _Use(protocol, permissions, rp_id, now, limit, user_present)

    def verify(self, protocol: PinUvAuthProtocol, message: bytes, signature: bytes) -> bool:
        """Whether the holder of the token that is in use for that protocol signed the message."""
        use = self._current()
        signed = protocol.verify(self.value, message, signature)
        if use is None or use.protocol is not protocol or not signed:
            return False
        use.used = True
        return True

    def permits(self, permission: Permission, rp_id: str | None = None) -> bool:
        """Whether the token has the permission, and is for no other relying party than that."""
        use = self._current()
        return (
            use is not None
            and permission in use.permissions
            and (rp_id is None or use.rp_id in {None, rp_id})
        )

    @property
    def rp_id(self) -> str | None:
        """The permissions RP ID; None where the token is for any relying party yet."""
        use = self._current()
        return None if use is None else use.rp_id

    def bind(self, rp_id: str) -> None:
        """Have a token that is for any relying party for that one alone."""
        use = self._current()
        if use is not None and use.rp_id is None:
            use.rp_id = rp_id

    @property
    def user_present(self) -> bool:
        """Whether the user was there a short while ago (getUserPresentFlagValue)."""
        use = self._current()
        return use is not None and use.user_present

    @property
    def user_verified(self) -> bool:
        """Whether the user was verified (getUserVerifiedFlagValue)."""
        use = self._current()
        return use is not None and use.user_verified

    def spend(self) -> None:
        """Have it for nothing but large blobs from here on, and the user gone.

        clearUserPresentFlag, clearUserVerifiedFlag and clearPinUvAuthTokenPermissionsExceptLbw, as
        each request does for which a user was present.
        """
        use = self._use
        if use is not None:
            use.user_present = use.user_verified = False
            use.permissions &= Permission.LBW

    def _current(self) -> _Use | None:
        """The use, as the timers have it now (pinUvAuthTokenUsageTimerObserver)."""
        use = self._use
        if use is None:
            return None
        passed = self._clock() - use.started
        if passed >= MAX_USAGE_SECONDS or (passed >= use.limit and not use.used):
            self.reset()
            return None
        if passed >= use.limit:
            use.user_present = False
        return use


class PersistentToken:
    """The durable token, of which there is one as soon as somebody was given it."""

    def __init__(self, transaction: Transaction, rng: Callable[[int], bytes]) -> None:
        self._transaction = transaction
        self._rng = rng

    @property
    def value(self) -> bytes | None:
        """32 bytes, None where nobody has it; raises StorageCorrupt."""
        record = self._transaction.get(_KIND, _IDENT)
        if record is not None and len(record) != TOKEN_SIZE:
            raise StorageCorrupt("the persistent token cannot be read")
        return record

    def issue(self) -> bytes:
        """The token, made now where there is none."""
        value = self.value
        if value is None:
            value = self._rng(TOKEN_SIZE)
            self._transaction.put(_KIND, _IDENT, value)
        return value

    def forget(self) -> None:
        """Have nobody's token worth anything (resetPersistentPinUvAuthToken)."""
        self._transaction.delete(_KIND, _IDENT)

    def verify(self, protocol: PinUvAuthProtocol, message: bytes, signature: bytes) -> bool:
        """Whether a holder of the token signed the message; raises StorageCorrupt."""
        value = self.value
        return value is not None and protocol.verify(value, message, signature)
