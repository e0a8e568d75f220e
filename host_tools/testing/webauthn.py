"""A relying party and a browser before an authenticator: to register and to log in, a line each.

Both are python-fido2's. The authenticator is any device of python-fido2: a FidoKey of this process,
a token in a reader, or a real one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fido2.attestation.base import AttestationResult, AttestationVerifier
from fido2.client import (
    ClientError,
    DefaultClientDataCollector,
    Fido2Client,
    UserInteraction,
)
from fido2.ctap import CtapDevice
from fido2.ctap2.extensions import Ctap2Extension
from fido2.ctap2.pin import ClientPin
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorData,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

__all__ = ["ClientError", "LoggedIn", "Registered", "WebAuthn"]

NO_PIN = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """A credential that the relying party has accepted, and what the browser gave it."""

    user: bytes
    response: RegistrationResponse
    data: AuthenticatorData

    @property
    def credential(self) -> AttestedCredentialData:
        """Its identifier and public key."""
        assert self.data.credential_data is not None
        return self.data.credential_data

    @property
    def extensions(self) -> Any:
        """What the extensions gave the page."""
        return self.response.client_extension_results

    @property
    def certificates(self) -> Sequence[bytes]:
        """Those of the attestation, in DER."""
        statement = self.response.response.attestation_object.att_stmt
        return tuple(statement.get("x5c", ()))


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login that the relying party has accepted: with which credential, and what came of it."""

    credential: AttestedCredentialData
    response: AuthenticationResponse

    @property
    def data(self) -> AuthenticatorData:
        """Flags and the signature counter."""
        return self.response.response.authenticator_data

    @property
    def extensions(self) -> Any:
        """What the extensions gave the page."""
        return self.response.client_extension_results


class WebAuthn:
    """The page of one relying party, in a browser whose user knows the PIN, if there is one.

    `authority`: the certificate in DER that attestations have to lead to; without it they are not
    asked for. `enterprise`: those with the serial number are, and the browser lets this page.
    What the relying party does not accept raises ValueError and the like, what the authenticator
    refuses ClientError.
    """

    def __init__(
        self,
        device: CtapDevice,
        rp_id: str = "example.org",
        *,
        pin: str = NO_PIN,
        authority: bytes | None = None,
        enterprise: bool = False,
        extensions: Sequence[Ctap2Extension] | None = None,
        asked: Callable[[], None] = lambda: None,
    ) -> None:
        """`asked` is called when the user is to touch the authenticator."""
        conveyance = AttestationConveyancePreference.NONE
        if authority is not None:
            conveyance = AttestationConveyancePreference.DIRECT
        if enterprise:
            conveyance = AttestationConveyancePreference.ENTERPRISE
        self.server = Fido2Server(
            PublicKeyCredentialRpEntity(name=rp_id, id=rp_id),
            attestation=conveyance,
            verify_attestation=None if authority is None else _Trust(authority),
        )
        self.client = Fido2Client(
            device,
            client_data_collector=DefaultClientDataCollector(f"https://{rp_id}"),
            user_interaction=_User(pin, asked),
            **({} if extensions is None else {"extensions": extensions}),
        )
        if enterprise:
            self.client._enterprise_rpid_list = [rp_id]

    def register(
        self,
        user: str = "ann",
        *,
        uv: str = "preferred",
        discoverable: bool = False,
        known: Sequence[AttestedCredentialData] = (),
        extensions: Mapping[str, Any] | None = None,
    ) -> Registered:
        """Make a credential for a user; none where the authenticator has one that is `known`.

        `uv`: whether the user has to be verified, as WebAuthn says: required, preferred or
        discouraged.
        """
        handle = os.urandom(16)
        options, state = self.server.register_begin(
            PublicKeyCredentialUserEntity(name=user, id=handle, display_name=user.title()),
            credentials=list(known),
            resident_key_requirement=ResidentKeyRequirement(
                "required" if discoverable else "discouraged"
            ),
            user_verification=UserVerificationRequirement(uv),
            extensions=extensions,
        )
        response = self.client.make_credential(options.public_key)
        return Registered(handle, response, self.server.register_complete(state, response))

    def log_in(
        self,
        *registered: Registered,
        uv: str = "preferred",
        offered: bool = True,
        extensions: Mapping[str, Any] | None = None,
    ) -> LoggedIn:
        """Log in with one of these credentials.

        They are named to the authenticator, unless not `offered`: then it has to find one.
        """
        known = [one.credential for one in registered]
        options, state = self.server.authenticate_begin(
            known if offered else None,
            user_verification=UserVerificationRequirement(uv),
            extensions=extensions,
        )
        response = self.client.get_assertion(options.public_key).get_response(0)
        return LoggedIn(self.server.authenticate_complete(state, known, response), response)


class _User(UserInteraction):
    """Whoever is before the browser."""

    def __init__(self, pin: str, asked: Callable[[], None]) -> None:
        self._pin = pin
        self._asked = asked

    def prompt_up(self) -> None:
        self._asked()

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:
        return self._pin or None


class _Trust(AttestationVerifier):
    """Takes attestations that lead to one certificate."""

    def __init__(self, authority: bytes) -> None:
        super().__init__()
        self._authority = authority

    def ca_lookup(self, attestation_result: AttestationResult, _: AuthenticatorData) -> bytes:
        return self._authority
