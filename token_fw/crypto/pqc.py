"""ML-DSA signatures (FIPS 204) and ML-KEM key encapsulation (FIPS 203)."""

from __future__ import annotations

from typing import Final

from cryptography import exceptions
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from token_fw.crypto import keys
from token_fw.crypto.errors import DataLength, InvalidKey, InvalidSignature
from token_fw.crypto.keys import Algorithm, PrivateKey, PublicKey
from token_fw.crypto.kinds import KeyKind, KeySpec
from token_fw.crypto.schemes import MlDsa, SignScheme

MAX_CONTEXT: Final = 255

_DsaPublic = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
_DsaPrivate = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
_KemPublic = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
_KemPrivate = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey

_DSA_PUBLIC: Final[dict[int, type[_DsaPublic]]] = {
    44: mldsa.MLDSA44PublicKey,
    65: mldsa.MLDSA65PublicKey,
    87: mldsa.MLDSA87PublicKey,
}
_DSA_PRIVATE: Final[dict[int, type[_DsaPrivate]]] = {
    44: mldsa.MLDSA44PrivateKey,
    65: mldsa.MLDSA65PrivateKey,
    87: mldsa.MLDSA87PrivateKey,
}
_KEM_PUBLIC: Final[dict[int, type[_KemPublic]]] = {
    768: mlkem.MLKEM768PublicKey,
    1024: mlkem.MLKEM1024PublicKey,
}
_KEM_PRIVATE: Final[dict[int, type[_KemPrivate]]] = {
    768: mlkem.MLKEM768PrivateKey,
    1024: mlkem.MLKEM1024PrivateKey,
}


def _level(native: object, classes: dict[int, type]) -> int:
    return next(level for level, class_ in classes.items() if isinstance(native, class_))


class MlDsaPublicKey(PublicKey):
    """A public key of ML-DSA-44, ML-DSA-65 or ML-DSA-87."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: _DsaPublic) -> None:
        self._native = key
        self._spec = KeySpec.ml_dsa(_level(key, _DSA_PUBLIC))

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def raw(self) -> bytes:
        """PkEncode of FIPS 204 7.2: 1312, 1952 or 2592 bytes."""
        return self._native.public_bytes_raw()

    def to_spki(self) -> bytes:
        return keys.to_spki(self._native)

    def verify(self, scheme: SignScheme, data: bytes, signature: bytes) -> None:
        if not isinstance(scheme, MlDsa):
            raise self.cannot("verify", scheme)
        _check_context(scheme)
        try:
            self._native.verify(signature, data, scheme.context)
        except (exceptions.InvalidSignature, ValueError):
            raise InvalidSignature("the ML-DSA signature is not valid") from None


class MlDsaPrivateKey(PrivateKey):
    """A private key of ML-DSA-44, ML-DSA-65 or ML-DSA-87."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: _DsaPrivate) -> None:
        self._native = key
        self._spec = KeySpec.ml_dsa(_level(key, _DSA_PRIVATE))

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def seed(self) -> bytes:
        """The 32 bytes ξ that the key follows from (FIPS 204 6.1)."""
        return self._native.private_bytes_raw()

    def public(self) -> MlDsaPublicKey:
        return MlDsaPublicKey(self._native.public_key())

    def to_pkcs8(self) -> bytes:
        return keys.to_pkcs8(self._native)

    def sign(self, scheme: SignScheme, data: bytes) -> bytes:
        if not isinstance(scheme, MlDsa):
            raise self.cannot("sign", scheme)
        _check_context(scheme)
        return self._native.sign(data, scheme.context)


class MlKemPublicKey(PublicKey):
    """A public key of ML-KEM-768 or ML-KEM-1024."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: _KemPublic) -> None:
        self._native = key
        self._spec = KeySpec.ml_kem(_level(key, _KEM_PUBLIC))

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def raw(self) -> bytes:
        """The encapsulation key of FIPS 203 7.1: 1184 or 1568 bytes."""
        return self._native.public_bytes_raw()

    def to_spki(self) -> bytes:
        return keys.to_spki(self._native)

    def encapsulate(self) -> tuple[bytes, bytes]:
        secret, ciphertext = self._native.encapsulate()
        return ciphertext, secret


class MlKemPrivateKey(PrivateKey):
    """A private key of ML-KEM-768 or ML-KEM-1024."""

    __slots__ = ("_native", "_spec")

    def __init__(self, key: _KemPrivate) -> None:
        self._native = key
        self._spec = KeySpec.ml_kem(_level(key, _KEM_PRIVATE))

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def seed(self) -> bytes:
        """The 64 bytes d || z that the key follows from (FIPS 203 7.1)."""
        return self._native.private_bytes_raw()

    def public(self) -> MlKemPublicKey:
        return MlKemPublicKey(self._native.public_key())

    def to_pkcs8(self) -> bytes:
        return keys.to_pkcs8(self._native)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        try:
            return self._native.decapsulate(ciphertext)
        except ValueError:
            raise DataLength(f"not as long as a ciphertext of {self._spec}") from None


def ml_dsa_private(level: int, seed: bytes) -> MlDsaPrivateKey:
    """Make a key from its seed of 32 bytes. Raises InvalidKey, Unsupported."""
    spec = KeySpec.ml_dsa(level)
    try:
        return MlDsaPrivateKey(_DSA_PRIVATE[level].from_seed_bytes(seed))
    except ValueError:
        raise InvalidKey(f"not a seed of {spec}") from None


def ml_kem_private(level: int, seed: bytes) -> MlKemPrivateKey:
    """Make a key from its seed of 64 bytes. Raises InvalidKey, Unsupported."""
    spec = KeySpec.ml_kem(level)
    try:
        return MlKemPrivateKey(_KEM_PRIVATE[level].from_seed_bytes(seed))
    except ValueError:
        raise InvalidKey(f"not a seed of {spec}") from None


def ml_dsa_public(level: int, raw: bytes) -> MlDsaPublicKey:
    """Make a key from what `MlDsaPublicKey.raw` gives. Raises InvalidKey, Unsupported."""
    spec = KeySpec.ml_dsa(level)
    try:
        return MlDsaPublicKey(_DSA_PUBLIC[level].from_public_bytes(raw))
    except ValueError:
        raise InvalidKey(f"not a public key of {spec}") from None


def ml_kem_public(level: int, raw: bytes) -> MlKemPublicKey:
    """Make a key from what `MlKemPublicKey.raw` gives. Raises InvalidKey, Unsupported."""
    spec = KeySpec.ml_kem(level)
    try:
        return MlKemPublicKey(_KEM_PUBLIC[level].from_public_bytes(raw))
    except ValueError:
        raise InvalidKey(f"not a public key of {spec}") from None


def _check_context(scheme: MlDsa) -> None:
    if len(scheme.context) > MAX_CONTEXT:
        raise DataLength(f"a context of ML-DSA has at most {MAX_CONTEXT} bytes")


keys.register(
    Algorithm(
        kind=KeyKind.ML_DSA,
        native_private=tuple(_DSA_PRIVATE.values()),
        native_public=tuple(_DSA_PUBLIC.values()),
        generate=lambda spec: MlDsaPrivateKey(_DSA_PRIVATE[spec.level].generate()),
        wrap_private=MlDsaPrivateKey,
        wrap_public=MlDsaPublicKey,
    )
)
keys.register(
    Algorithm(
        kind=KeyKind.ML_KEM,
        native_private=tuple(_KEM_PRIVATE.values()),
        native_public=tuple(_KEM_PUBLIC.values()),
        generate=lambda spec: MlKemPrivateKey(_KEM_PRIVATE[spec.level].generate()),
        wrap_private=MlKemPrivateKey,
        wrap_public=MlKemPublicKey,
    )
)
