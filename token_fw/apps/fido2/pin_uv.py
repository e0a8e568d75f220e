"""Who may act: the PIN/UV auth protocols, and the tokens of who proved the PIN or a finger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from apdu.ctap import Permission, Status
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.pin_protocols import PROTOCOLS, KeyAgreement
from token_fw.apps.fido2.pin_token import PersistentToken, PinUvAuthToken
from token_fw.transaction import Transaction


class Signed(Protocol):
    """A request that a pinUvAuthParam may come with."""

    @property
    def pin_uv_auth_protocol(self) -> int | None: ...
    @property
    def pin_uv_auth_param(self) -> bytes | None: ...


@dataclass(slots=True)
class PinUvAuth:
    """What all channels share of it. All but the persistent token ends with the power."""

    transaction: Transaction
    rng: Callable[[int], bytes]
    clock: Callable[[], float]
    token: PinUvAuthToken = field(init=False)
    persistent: PersistentToken = field(init=False)
    misses: int = field(default=0, init=False)
    """Wrong PINs since the last right one."""
    _agreements: Mapping[int, KeyAgreement] = field(init=False)

    def __post_init__(self) -> None:
        self.token = PinUvAuthToken(self.clock, self.rng)
        self.persistent = PersistentToken(self.transaction, self.rng)
        self._agreements = {
            number: KeyAgreement(protocol, self.rng) for number, protocol in PROTOCOLS.items()
        }

    @property
    def protocols(self) -> tuple[int, ...]:
        """The numbers of the protocols, the preferred one first."""
        return tuple(self._agreements)

    def agreement(self, protocol: int | None) -> KeyAgreement:
        """The key agreement of a protocol.

        Raises CtapError: CTAP2_ERR_MISSING_PARAMETER where none is named,
        CTAP1_ERR_INVALID_PARAMETER where there is no such protocol.
        """
        if protocol is None:
            raise CtapError(Status.CTAP2_ERR_MISSING_PARAMETER, "pinUvAuthProtocol is missing")
        found = self._agreements.get(protocol)
        if found is None:
            raise CtapError(Status.CTAP1_ERR_INVALID_PARAMETER, "there is no such protocol")
        return found

    # The token in use

    def verify(self, protocol: int, message: bytes, signature: bytes) -> bool:
        """Whether the signature was made with the token in use, which is then used.

        Raises CtapError for a protocol that there is not.
        """
        return self.token.verify(self.agreement(protocol).protocol, message, signature)

    def demand(
        self, request: Signed, message: bytes, permission: Permission, *, read_only: bool = False
    ) -> str | None:
        """Have a request signed under the token in use, with a permission; gives its RP ID, if any.

        `read_only`: or under the persistent token. Raises CtapError: CTAP2_ERR_PUAT_REQUIRED,
        CTAP2_ERR_MISSING_PARAMETER or CTAP1_ERR_INVALID_PARAMETER for the protocol,
        CTAP2_ERR_PIN_AUTH_INVALID.
        """
        signature = request.pin_uv_auth_param
        if signature is None:
            raise CtapError(Status.CTAP2_ERR_PUAT_REQUIRED, "pinUvAuthParam is missing")
        protocol = self.agreement(request.pin_uv_auth_protocol).protocol
        if read_only and self.persistent.verify(protocol, message, signature):
            return None
        if not self.token.verify(protocol, message, signature):
            raise invalid("pinUvAuthParam is wrong")
        if not self.token.permits(permission):
            raise invalid("the token has not the permission")
        return self.token.rp_id

    # What ends them

    def end_tokens(self) -> None:
        """Have nobody's token worth anything, once what was changed is durable."""
        self.persistent.forget()
        self.transaction.after(self.token.reset)

    def reset(self) -> None:
        """The authenticator was reset: no token is in use, and keys are new."""
        self.misses = 0
        self.token.reset()
        for agreement in self._agreements.values():
            agreement.regenerate()


def invalid(message: str) -> CtapError:
    """The request is not signed as it must be."""
    return CtapError(Status.CTAP2_ERR_PIN_AUTH_INVALID, message)
