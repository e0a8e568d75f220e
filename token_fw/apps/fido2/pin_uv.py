"""What makeCredential, getAssertion and hmac-secret need of the PIN/UV auth protocols.

clientPIN's side is CTAP 2.1 6.5; these are the names of its 6.5.2.1 and 6.5.4.
"""

from __future__ import annotations

from typing import Protocol

from apdu.ctap import Permission


class SharedSecret(Protocol):
    """What a platform and the authenticator agreed on for one request (CTAP 2.1 6.5.6, 6.5.7)."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the platform made the signature; compared in constant time."""

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt whole blocks of 16 bytes; protocol 2 puts a fresh IV of 16 bytes in front."""

    def decrypt(self, ciphertext: bytes) -> bytes:
        """The plaintext; raises CtapError(CTAP1_ERR_INVALID_PARAMETER) for a wrong length."""


class PinUvAuth(Protocol):
    """The protocols, and the pinUvAuthToken that is in use."""

    @property
    def protocols(self) -> tuple[int, ...]:
        """The numbers of the protocols, the preferred one first."""

    def shared_secret(self, protocol: int, key_agreement: object) -> SharedSecret:
        """Decapsulate; raises CtapError(CTAP1_ERR_INVALID_PARAMETER) for no point of the curve."""

    def verify(self, protocol: int, message: bytes, signature: bytes) -> bool:
        """Whether the signature was made with the token in use, which is then used."""

    def permits(self, permission: Permission, rp_id: str | None = None) -> bool:
        """Whether the token in use has the permission, and is bound to no other RP ID."""

    def bind(self, rp_id: str) -> None:
        """Bind the token in use to an RP ID, if it is bound to none."""

    @property
    def user_verified(self) -> bool:
        """GetUserVerifiedFlagValue."""

    @property
    def user_present(self) -> bool:
        """GetUserPresentFlagValue."""

    def spend(self) -> None:
        """The token in use served: no flags are left, and no permission but lbw."""

    def reset(self) -> None:
        """The authenticator was reset: no token is in use, and keys are new."""
