"""Signatures and message authentication codes in progress, with keys of a session or of a card."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from apdu.model import SW, StatusWordError
from apdu.transport import TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import MAX_DATA
from pkcs11_module.facade.operations import KeyOperation, choose_key, crypto_refusal, public_key
from pkcs11_module.mechanisms.checks import check
from pkcs11_module.mechanisms.signatures import SignaturePlan, signature
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Mechanism, Pkcs11Error
from token_fw.crypto import (
    EDWARDS_SIZES,
    Cmac,
    CryptoError,
    DataLength,
    Ecdsa,
    Hmac,
    InvalidSignature,
    KeyKind,
    KeySpec,
    MacScheme,
    RsaPkcs1,
    RsaPss,
    RsaRaw,
    RunningDigest,
    RunningMac,
    SignScheme,
    curve_of,
    digest,
)

if TYPE_CHECKING:
    from pkcs11_module.facade.sessions import Session
    from pkcs11_module.facade.slot import AnyObject

MAX_GATHERED: Final = 1 << 26
"""Bytes of data that the middleware gathers for an operation that does not stream."""
_RSA_OVERHEAD: Final = 11
_ML_DSA_SIZES: Final = {44: 2420, 65: 3309, 87: 4627}
_GOST_SIZES: Final = {KeyKind.GOST_256: 64, KeyKind.GOST_512: 128}


class SignatureOperation(KeyOperation):
    """Signing or verifying: its plan, and what was put into it so far.

    `size` is the length of the signature in bytes. `given` is a signature that was told first.
    """

    def __init__(
        self, session: Session, target: AnyObject, plan: SignaturePlan, *, multipart: bool
    ) -> None:
        super().__init__(session, target, multipart=multipart)
        self.plan = plan
        self.size = _size(self.spec, plan.scheme)
        self.given = b""
        self._hash: RunningDigest | None = None
        self._mac: RunningMac | None = None
        self._parts: list[bytes] = []
        self._gathered = 0
        _check_room(self)
        self.restart()

    def restart(self) -> None:
        """Forget the data put in."""
        plan = self.plan
        if plan.hash is not None:
            self._hash = digest.new(plan.hash)
        elif isinstance(plan.scheme, Hmac | Cmac) and not self.on_card:
            self._mac = self._started(plan.scheme)
        else:
            self._parts, self._gathered = [], 0

    def _started(self, scheme: MacScheme) -> RunningMac:
        try:
            mac: RunningMac = self.session_key().mac(scheme)
        except CryptoError as error:
            raise crypto_refusal(error) from error
        return mac

    def update(self, data: bytes) -> None:
        """Put in a part of the data; raises Pkcs11Error (CKR_DATA_LEN_RANGE)."""
        if self._hash is not None:
            self._hash.update(data)
        elif self._mac is not None:
            self._mac.update(data)
        else:
            self._gathered += len(data)
            if self._gathered > (MAX_DATA if self.on_card else MAX_GATHERED):
                raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
            self._parts.append(data)

    def sign(self) -> bytes:
        """The signature of the data put in.

        Raises Pkcs11Error, StatusWordError, TransportError.
        """
        if self._mac is not None:
            return self._mac.finish()
        data = self._input()
        plan = self.plan
        if not self.on_card:
            key = self.session_key()
            return self._crypto(lambda: key.sign(plan.scheme, data))
        environment = plan.environment
        if isinstance(plan.scheme, Hmac | Cmac):
            return self.use_card(lambda card, key: card.checksum(environment + key, data))
        try:
            made = self.use_card(lambda card, key: card.sign(environment + key, data))
        except StatusWordError as error:
            if error.sw != SW.WRONG_LENGTH or not isinstance(plan.scheme, RsaRaw):
                raise
            raise Pkcs11Error(ck.CKR_DATA_INVALID) from error
        return raw_ecdsa(made, self.size) if isinstance(plan.scheme, Ecdsa) else made

    def verify(self, signature: bytes) -> None:
        """Check the signature of the data put in.

        Raises Pkcs11Error: CKR_SIGNATURE_LEN_RANGE, CKR_SIGNATURE_INVALID, and as `sign`.
        """
        if len(signature) != self.size:
            raise Pkcs11Error(ck.CKR_SIGNATURE_LEN_RANGE)
        scheme = self.plan.scheme
        if isinstance(scheme, Hmac | Cmac):
            if not hmac.compare_digest(self.sign(), signature):
                raise Pkcs11Error(ck.CKR_SIGNATURE_INVALID)
            return
        data = self._input()
        try:
            public_key(self.session, self.target).verify(scheme, data, signature)
        except InvalidSignature as error:
            raise Pkcs11Error(ck.CKR_SIGNATURE_INVALID) from error
        except CryptoError as error:
            raise crypto_refusal(error) from error

    def recover(self, signature: bytes) -> bytes:
        """The data that is in a signature; raises as `verify`."""
        if len(signature) != self.size:
            raise Pkcs11Error(ck.CKR_SIGNATURE_LEN_RANGE)
        scheme = self.plan.scheme
        assert isinstance(scheme, RsaPkcs1 | RsaRaw)
        try:
            return public_key(self.session, self.target).recover(scheme, signature)
        except InvalidSignature as error:
            raise Pkcs11Error(ck.CKR_SIGNATURE_INVALID) from error
        except CryptoError as error:
            raise crypto_refusal(error) from error

    def _crypto(self, run: Callable[[], bytes]) -> bytes:
        try:
            return run()
        except DataLength as error:
            # As long as the modulus, and yet no number less than it.
            raw = isinstance(self.plan.scheme, RsaRaw)
            rv = ck.CKR_DATA_INVALID if raw else ck.CKR_DATA_LEN_RANGE
            raise Pkcs11Error(rv) from error
        except CryptoError as error:
            raise crypto_refusal(error) from error

    def _input(self) -> bytes:
        """What the scheme gets for the data put in; raises Pkcs11Error (CKR_DATA_LEN_RANGE)."""
        plan = self.plan
        if self._hash is not None:
            data = plan.finish(self._hash.finish())
        else:
            data = b"".join(self._parts)
            if plan.data_size not in (None, len(data)):
                raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
        kind = self.spec.kind
        if kind is KeyKind.EC:
            if not data:
                raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
            # Only the leftmost bits count, as many as the order has (FIPS 186-5 6.4.1).
            return data[: self.size // 2]
        if kind is KeyKind.RSA:
            scheme = plan.scheme
            room = self.size - _RSA_OVERHEAD if isinstance(scheme, RsaPkcs1) else self.size
            if len(data) > room:
                raise Pkcs11Error(ck.CKR_DATA_LEN_RANGE)
            if isinstance(scheme, RsaRaw):
                return data.rjust(self.size, b"\0")
        return data


def begin_signature(
    session: Session, mechanism: Mechanism, handle: int, function: Function
) -> SignatureOperation:
    """The operation of a mechanism with the key of a handle; raises Pkcs11Error."""
    capability = check(mechanism, function)
    plan = signature(mechanism)
    target = choose_key(session, handle, capability, function)
    return SignatureOperation(session, target, plan, multipart=capability.multipart)


def _size(spec: KeySpec, scheme: SignScheme | MacScheme) -> int:
    kind = spec.kind
    if kind is KeyKind.RSA:
        return (spec.bits + 7) // 8
    if kind is KeyKind.EC:
        return 2 * curve_of(spec).size
    if isinstance(scheme, Hmac | Cmac):
        return scheme.size
    if kind in _GOST_SIZES:
        return _GOST_SIZES[kind]
    return _ML_DSA_SIZES[spec.level] if kind is KeyKind.ML_DSA else 2 * EDWARDS_SIZES[kind]


def _check_room(operation: SignatureOperation) -> None:
    """The padding has to fit into the modulus (RFC 8017 9.1.1, 9.2); raises Pkcs11Error."""
    scheme, spec = operation.plan.scheme, operation.spec
    if isinstance(scheme, RsaPss):
        room = (spec.bits + 6) // 8 - 2 - scheme.hash.size - scheme.salt_length
        if room < 0:
            raise Pkcs11Error(ck.CKR_KEY_SIZE_RANGE, "hash and salt do not fit into the modulus")


_INTEGER, _LONG_FORM = 0x02, 0x81


def raw_ecdsa(signature: bytes, size: int) -> bytes:
    """The `size` bytes r || s of a DER ECDSA-Sig-Value; raises TransportError."""
    half = size // 2
    try:
        start = 3 if signature[1] == _LONG_FORM else 2
        middle = start + 2 + signature[start + 1]
        end = middle + 2 + signature[middle + 1]
        well_formed = signature[start] == signature[middle] == _INTEGER and end == len(signature)
        if well_formed:
            r = int.from_bytes(signature[start + 2 : middle], "big")
            s = int.from_bytes(signature[middle + 2 : end], "big")
            return r.to_bytes(half, "big") + s.to_bytes(half, "big")
    except (IndexError, OverflowError):
        pass
    raise TransportError("the card's ECDSA signature is malformed")
