"""gost-engine, an engine of OpenSSL 3, in the place of Python's integers.

The engine API is gone in OpenSSL 4: nothing but this and `libcrypto` knows of it. The objects it
makes are for any number of threads, and go on in a process that was forked.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Final

from token_fw.crypto.errors import CryptoError
from token_fw.crypto.gost import encodings, signatures
from token_fw.crypto.gost.interface import Digest, PrivateNumber, PublicPoint
from token_fw.crypto.gost.libcrypto import libcrypto
from token_fw.crypto.gost.parameter_sets import ParameterSet

ENGINE: Final = b"gost"
_KEY_NAMES: Final = {32: b"gost2012_256", 64: b"gost2012_512"}
_DIGEST_NAMES: Final = {32: b"md_gost12_256", 64: b"md_gost12_512"}


class _Slots:
    """The contexts of one key, of which each is used by one call at a time, and are used again."""

    __slots__ = ("__weakref__", "_engine", "_free", "_prepare", "key")

    def __init__(self, engine: int, key: int, prepare: Callable[[int], int]) -> None:
        self._engine, self.key, self._prepare = engine, key, prepare
        self._free: list[int] = []
        weakref.finalize(self, _free_key, key, self._free)

    def take(self) -> int:
        """Give a context that is ready; `put` it back after a call that went well."""
        try:
            return self._free.pop()
        except IndexError:
            library = libcrypto()
            context: int = library.EVP_PKEY_CTX_new(self.key, self._engine)
            if not context or self._prepare(context) != 1:
                library.EVP_PKEY_CTX_free(context)
                raise _failed("use the key") from None
            return context

    def put(self, context: int) -> None:
        self._free.append(context)


def _free_key(key: int, contexts: list[int]) -> None:
    library = libcrypto()
    for context in contexts:
        library.EVP_PKEY_CTX_free(context)
    library.EVP_PKEY_free(key)


def _failed(what: str) -> CryptoError:
    """Make the error of a call, and leave none behind in OpenSSL for others to find."""
    libcrypto().ERR_clear_error()
    return CryptoError(f"gost-engine could not {what}")


def _private_key(like: int, algorithm: int, number: bytes) -> int:
    """Make the key of a private number with the parameters of another key.

    From parts: OpenSSL needs some milliseconds to read an encoding that it has no provider for.
    """
    library = libcrypto()
    key, ec_key = library.EVP_PKEY_new(), library.EC_KEY_new()
    secret = library.BN_bin2bn(number, len(number), None)
    made: bool = (
        library.EC_KEY_set_group(ec_key, _group(like)) == 1
        and library.EC_KEY_set_private_key(ec_key, secret) == 1
        and library.EVP_PKEY_assign(key, algorithm, ec_key) == 1
    )
    library.BN_clear_free(secret)
    if not made:
        library.EC_KEY_free(ec_key)
        library.EVP_PKEY_free(key)
        raise _failed("make the private key")
    return int(key)


def _group(key: int) -> int:
    library = libcrypto()
    return int(library.EC_KEY_get0_group(library.EVP_PKEY_get0(key)))


def _public_point(key: int, size: int) -> tuple[int, int]:
    """Give d * P of a private key."""
    library, group = libcrypto(), _group(key)
    secret = library.EC_KEY_get0_private_key(library.EVP_PKEY_get0(key))
    point, x, y = library.EC_POINT_new(group), library.BN_new(), library.BN_new()
    encoded = ctypes.create_string_buffer(size)
    numbers: list[int] = []
    try:
        if (
            library.EC_POINT_mul(group, point, secret, None, None, None) != 1
            or library.EC_POINT_get_affine_coordinates(group, point, x, y, None) != 1
        ):
            raise _failed("give the public key")
        for coordinate in (x, y):
            library.BN_bn2binpad(coordinate, encoded, size)
            numbers.append(int.from_bytes(encoded.raw, "big"))
    finally:
        library.EC_POINT_free(point)
        library.BN_clear_free(x)
        library.BN_clear_free(y)
    return numbers[0], numbers[1]


class _Private:
    __slots__ = ("_d", "_parameters", "_slots")

    def __init__(self, slots: _Slots, parameters: ParameterSet, d: int) -> None:
        self._slots, self._parameters, self._d = slots, parameters, d

    @property
    def point(self) -> tuple[int, int]:
        return _public_point(self._slots.key, self._parameters.size)

    def sign(self, digest: bytes, k: int | None = None) -> bytes:
        if k is not None:
            return signatures.sign(self._parameters, self._d, digest, k)
        size = 2 * self._parameters.size
        signature, length = ctypes.create_string_buffer(size), ctypes.c_size_t(size)
        context = self._slots.take()
        done = libcrypto().EVP_PKEY_sign(
            context, signature, ctypes.byref(length), digest, len(digest)
        )
        if done != 1 or length.value != size:
            libcrypto().EVP_PKEY_CTX_free(context)
            raise _failed("sign")
        self._slots.put(context)
        return signature.raw


def _public_key(parameters: ParameterSet, point: tuple[int, int]) -> int:
    der = encodings.to_spki(parameters, point)
    key = libcrypto().d2i_PUBKEY(None, ctypes.byref(ctypes.c_char_p(der)), len(der))
    if not key:
        raise _failed("read the public key")
    return int(key)


class _Public:
    __slots__ = ("_size", "_slots")

    def __init__(self, slots: _Slots, size: int) -> None:
        self._slots, self._size = slots, size

    def verify(self, digest: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * self._size:
            return False
        context = self._slots.take()
        right: int = libcrypto().EVP_PKEY_verify(
            context, signature, len(signature), digest, len(digest)
        )
        self._slots.put(context)
        if right != 1:
            libcrypto().ERR_clear_error()
        return right == 1


class _Streebog:
    __slots__ = ("_context", "_free", "_size")

    def __init__(self, size: int) -> None:
        library = libcrypto()
        self._free = library.EVP_MD_CTX_free
        self._size = size
        self._context: int = library.EVP_MD_CTX_new()
        if not self._context:
            raise _failed("make a digest")

    def __del__(self) -> None:
        self._free(self._context)

    def update(self, data: bytes, /) -> None:
        data = bytes(data)
        if libcrypto().EVP_DigestUpdate(self._context, data, len(data)) != 1:
            raise _failed("add to a digest")

    def digest(self) -> bytes:
        result, twin = (ctypes.c_ubyte * self._size)(), self.copy()
        if libcrypto().EVP_DigestFinal_ex(twin._context, result, None) != 1:
            raise _failed("end a digest")
        return bytes(result)

    def copy(self) -> _Streebog:
        twin = _Streebog(self._size)
        if libcrypto().EVP_MD_CTX_copy_ex(twin._context, self._context) != 1:
            raise _failed("copy a digest")
        return twin


class EngineBackend:
    """The engine, of the version of OpenSSL that has loaded it.

    It is never given back: keys and digests of it may be in use until the process ends. Raises
    OSError with the reason where there is none.
    """

    name = "gost-engine"

    def __init__(self) -> None:
        library = libcrypto()
        engine = library.ENGINE_by_id(ENGINE)
        if not engine or library.ENGINE_init(engine) != 1:
            _failed("start")
            raise OSError("OpenSSL has no engine gost")
        # Only the algorithms of GOST, by their identifiers, are made known to the library.
        library.ENGINE_register_pkey_asn1_meths(engine)
        self._engine: int = engine
        self._digests = {
            size: library.ENGINE_get_digest(engine, library.OBJ_txt2nid(name))
            for size, name in _DIGEST_NAMES.items()
        }
        if not all(self._digests.values()):
            _failed("start")
            raise OSError("the engine gost has no Streebog")
        self._algorithms = {size: library.OBJ_txt2nid(name) for size, name in _KEY_NAMES.items()}
        self._parameters: dict[str, int] = {}
        self.version: str = library.OpenSSL_version(0).decode("ascii", "replace")

    def private(self, parameters: ParameterSet, d: int) -> PrivateNumber:
        like = self._parameters.get(parameters.name)
        if like is None:
            # Kept: a key that serves for its parameters alone.
            made = _public_key(parameters, parameters.generator)
            like = self._parameters.setdefault(parameters.name, made)
            if like != made:
                libcrypto().EVP_PKEY_free(made)
        algorithm, number = self._algorithms[parameters.size], d.to_bytes(parameters.size, "big")
        key = _private_key(like, algorithm, number)
        slots = _Slots(self._engine, key, libcrypto().EVP_PKEY_sign_init)
        return _Private(slots, parameters, d)

    def public(self, parameters: ParameterSet, point: tuple[int, int]) -> PublicPoint:
        key = _public_key(parameters, point)
        slots = _Slots(self._engine, key, libcrypto().EVP_PKEY_verify_init)
        return _Public(slots, parameters.size)

    def streebog(self, size: int) -> Digest:
        state = _Streebog(size)
        started = libcrypto().EVP_DigestInit_ex(state._context, self._digests[size], self._engine)
        if started != 1:
            raise _failed("start a digest")
        return state
