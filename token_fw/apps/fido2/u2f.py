"""U2F, which is CTAP1: credentials for programs of before CTAP2 (FIDO U2F raw messages 1.2).

They are the credentials of CTAP2 on P-256: what either makes, the other uses. U2F is off where the
user is always to be verified (CTAP 2.1 7.2.4), and never uses a credential that wants that (12.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apdu.codec import Command
from token_fw.apps.fido2.auth_data import Flag
from token_fw.apps.fido2.channel import Channel, Transport
from token_fw.apps.fido2.core import Core
from token_fw.apps.fido2.cose import ES256, pack
from token_fw.apps.fido2.credentials import Credential, Protection
from token_fw.crypto import EcPublicKey, PrivateKey
from token_fw.errors import CommandNotAllowed, ConditionsNotSatisfied, IncorrectData, WrongLength
from token_fw.state import Attestation

VERSION = b"U2F_V2"
PATIENCE: Mapping[Transport, float] = {Transport.USB: 0.3}
"""Seconds that a request waits for a touch, where those of the touch sensor are too many.

A client of HID asks again until there was one, and nothing keeps it alive meanwhile.
"""

_PARAMETER = 32
_CHECK_ONLY, _ENFORCED = 0x07, 0x03
_REGISTERED = b"\x05"


@dataclass(frozen=True, slots=True, repr=False)
class Register:
    """A request for a credential: challenge and application parameter, 32 bytes each."""

    challenge: bytes
    application: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Authenticate:
    """A request to sign with the credential of a key handle, or to say whether there is one."""

    challenge: bytes
    application: bytes
    handle: bytes
    check_only: bool
    touch: bool


def parse_register(command: Command) -> Register:
    """Raises WrongLength."""
    data = command.data
    if len(data) != 2 * _PARAMETER:
        raise WrongLength("challenge and application parameter have 32 bytes each")
    return Register(data[:_PARAMETER], data[_PARAMETER:])


def parse_authenticate(command: Command) -> Authenticate:
    """Raises WrongLength."""
    data = command.data
    fixed = 2 * _PARAMETER + 1
    if len(data) < fixed or len(data) != fixed + data[fixed - 1]:
        raise WrongLength("the key handle has another length")
    return Authenticate(
        challenge=data[:_PARAMETER],
        application=data[_PARAMETER : 2 * _PARAMETER],
        handle=data[fixed:],
        check_only=command.p1 == _CHECK_ONLY,
        touch=command.p1 == _ENFORCED,
    )


def register(core: Core, channel: Channel, command: Register) -> bytes:
    """05, public point of 65 bytes, handle with its length in 1, certificate, signature.

    Raises CtapError without a touch, CommandNotAllowed.
    """
    _check_on(core)
    _touch(core, channel)
    private = ES256.generate()
    made = core.credentials.add(Credential(command.application, ES256, pack(private)))
    public = private.public()
    assert isinstance(public, EcPublicKey)
    signed = b"\x00" + command.application + command.challenge + made.id + public.point
    handle = bytes((len(made.id),)) + made.id
    return _REGISTERED + public.point + handle + _attest(core, private, signed)


def _attest(core: Core, private: PrivateKey, signed: bytes) -> bytes:
    """Certificate and signature. The message has room for no statement without a certificate."""
    if core.token.attestation is Attestation.CERTIFICATE:
        return core.attester.chain()[0] + core.attester.sign(signed)
    return core.attester.self_certificate(private) + ES256.sign(private, signed)


def authenticate(core: Core, channel: Channel, command: Authenticate) -> bytes:
    """User presence of 1 byte, counter of 4, signature.

    Raises IncorrectData for a handle of somebody else, ConditionsNotSatisfied where it was only
    asked whether there is such a credential, CtapError without a touch, CommandNotAllowed.
    """
    _check_on(core)
    credential = _find(core, command)
    if command.check_only:
        raise ConditionsNotSatisfied("there is such a credential")
    if command.touch:
        _touch(core, channel)
    flags = bytes((Flag.UP if command.touch else 0,))
    proven = flags + core.credentials.count(credential).to_bytes(4, "big")
    signed = command.application + proven + command.challenge
    return proven + credential.algorithm.sign(credential.private(), signed)


def version(core: Core) -> bytes:
    """The version; raises CommandNotAllowed."""
    _check_on(core)
    return VERSION


def is_on(core: Core) -> bool:
    """Whether there is U2F: not where the user is always to be verified."""
    return not core.settings.always_uv


def _touch(core: Core, channel: Channel) -> None:
    core.touch(channel, PATIENCE.get(channel.transport))


def _check_on(core: Core) -> None:
    if not is_on(core):
        raise CommandNotAllowed("the user is always to be verified")


def _find(core: Core, command: Authenticate) -> Credential:
    credential = core.credentials.find(command.application, command.handle)
    if (
        credential is None
        or credential.algorithm is not ES256
        or credential.protection is Protection.REQUIRED
    ):
        raise IncorrectData("there is no such credential")
    return credential
