"""Secret keys: AES, triple DES, Kuznyechik, Magma and generic secrets."""

from __future__ import annotations

import os

from token_fw.crypto import digest
from token_fw.crypto.ciphers import AES_CIPHER, DES3_CIPHER
from token_fw.crypto.digest import Hash
from token_fw.crypto.errors import DataLength, InvalidKey, Unsupported
from token_fw.crypto.keys import Key
from token_fw.crypto.kinds import SECRET_KINDS, KeyKind, KeySpec
from token_fw.crypto.macs import RunningMac, start_hmac
from token_fw.crypto.running import BlockCipher, MacState, Running
from token_fw.crypto.schemes import Cmac, Ecb, Hmac, MacScheme, SymmetricScheme, WrapScheme

_CHECK_VALUE_SIZE = 3
_NO_CIPHER = BlockCipher(block_size=0, keyed=lambda _: None, starts={})
_CIPHERS: dict[KeyKind, BlockCipher] = {
    KeyKind.AES: AES_CIPHER,
    KeyKind.DES3: DES3_CIPHER,
    KeyKind.GENERIC: _NO_CIPHER,
}
"""The ciphers of cryptography."""


def _cipher(kind: KeyKind) -> BlockCipher:
    found = _CIPHERS.get(kind)
    if found is None:
        from token_fw.crypto.gost.modes import CIPHERS  # noqa: PLC0415  tables of many kilobytes

        found = CIPHERS.get(kind, _NO_CIPHER)
    return found


def block_size(spec: KeySpec) -> int:
    """The length in bytes of the cipher's blocks; 0 for kinds of key that are not of a cipher."""
    return _cipher(spec.kind).block_size


class SecretKey(Key):
    """A secret key; what its kind cannot do raises Unsupported.

    It does not change. Its cipher and the states of its codes are kept, so that each use after the
    first is cheap.
    """

    __slots__ = ("_cipher", "_keyed", "_macs", "_spec", "_value")

    def __init__(self, spec: KeySpec, value: bytes) -> None:
        self._spec = spec
        self._value = value
        self._cipher = _cipher(spec.kind)
        self._keyed = self._cipher.keyed(value)
        self._macs: dict[Hash | None, MacState] = {}

    @property
    def spec(self) -> KeySpec:
        return self._spec

    @property
    def value(self) -> bytes:
        """The key itself."""
        return self._value

    def check_value(self) -> bytes:
        """Three bytes that tell keys apart (PKCS#11 4.10.2).

        The first of a block of zeros encrypted; of a key that encrypts no blocks those of its
        SHA-1.
        """
        if Ecb not in self._cipher.starts:
            return digest.compute(Hash.SHA1, self._value)[:_CHECK_VALUE_SIZE]
        return self.encrypt(Ecb(), bytes(self._cipher.block_size))[:_CHECK_VALUE_SIZE]

    def encryptor(self, scheme: SymmetricScheme) -> Running:
        """Start an encryption. Raises DataLength for parameters that do not fit, Unsupported."""
        return self._start("encrypt", scheme)

    def decryptor(self, scheme: SymmetricScheme) -> Running:
        """Start a decryption; raises as `encryptor`.

        Gcm, Mgm and the schemes that wrap give nothing before `finish` has checked it.
        """
        return self._start("decrypt", scheme)

    def _start(self, doing: str, scheme: SymmetricScheme) -> Running:
        start = self._cipher.starts.get(type(scheme))
        if start is None:
            raise self.cannot(doing, scheme)
        return start(self._keyed, scheme, doing == "encrypt")

    def encrypt(self, scheme: SymmetricScheme, data: bytes) -> bytes:
        """Encrypt in one step. Raises DataLength or Unsupported."""
        running = self.encryptor(scheme)
        return running.update(data) + running.finish()

    def decrypt(self, scheme: SymmetricScheme, data: bytes) -> bytes:
        """Decrypt in one step. Raises DecryptionFailed, DataLength or Unsupported."""
        running = self.decryptor(scheme)
        return running.update(data) + running.finish()

    def wrap(self, scheme: WrapScheme, data: bytes) -> bytes:
        """Wrap the encoding of a key. Raises DataLength or Unsupported."""
        return self.encrypt(scheme, data)

    def unwrap(self, scheme: WrapScheme, data: bytes) -> bytes:
        """Give the encoding of a wrapped key. Raises as `decrypt`."""
        return self.decrypt(scheme, data)

    def mac(self, scheme: MacScheme) -> RunningMac:
        """Start a message authentication code. Raises DataLength for its size, or Unsupported."""
        if isinstance(scheme, Hmac) and self._spec.kind is KeyKind.GENERIC:
            longest, hash_ = scheme.hash.size, scheme.hash
        elif isinstance(scheme, Cmac) and self._cipher.cmac is not None:
            longest, hash_ = self._cipher.block_size, None
        else:
            raise self.cannot("authenticate", scheme)
        if not 1 <= scheme.size <= longest:
            raise DataLength(f"the code has 1 to {longest} bytes")
        state = self._macs.get(hash_)
        if state is None:
            state = self._macs[hash_] = self._mac_state(hash_)
        return RunningMac(state.copy(), scheme.size)

    def _mac_state(self, hash_: Hash | None) -> MacState:
        if hash_ is not None:
            return start_hmac(hash_, self._value)
        assert self._cipher.cmac is not None
        return self._cipher.cmac(self._keyed)


def secret_key(kind: KeyKind | KeySpec, value: bytes) -> SecretKey:
    """Make a key of a kind, or of exactly a spec, from its value.

    Parity bits of DES3 are not looked at. Raises InvalidKey for a length that the kind or the spec
    does not have, Unsupported for a kind of key that is not secret.
    """
    spec = kind if isinstance(kind, KeySpec) else None
    kind = kind.kind if isinstance(kind, KeySpec) else kind
    if kind not in SECRET_KINDS:
        raise Unsupported(f"keys of kind {kind} are not secret keys")
    bits = 8 * len(value)
    try:
        named = KeySpec.secret(kind, bits)
    except Unsupported:
        raise InvalidKey(f"no key of kind {kind} has {len(value)} bytes") from None
    if spec not in (None, named):
        raise InvalidKey(f"a key of {spec} does not have {len(value)} bytes")
    return SecretKey(named, bytes(value))


def generate_secret(spec: KeySpec) -> SecretKey:
    """Make a key; DES3 with odd parity. Raises Unsupported."""
    value = os.urandom(KeySpec.secret(spec.kind, spec.bits).bits // 8)
    return SecretKey(spec, with_odd_parity(value) if spec.kind is KeyKind.DES3 else value)


_WEAK_DES = frozenset(
    bytes.fromhex(key)
    for key in (
        "0101010101010101",
        "FEFEFEFEFEFEFEFE",
        "1F1F1F1F0E0E0E0E",
        "E0E0E0E0F1F1F1F1",
        "01FE01FE01FE01FE",
        "FE01FE01FE01FE01",
        "1FE01FE00EF10EF1",
        "E01FE01FF10EF10E",
        "01E001E001F101F1",
        "E001E001F101F101",
        "1FFE1FFE0EFE0EFE",
        "FE1FFE1FFE0EFE0E",
        "011F011F010E010E",
        "1F011F010E010E01",
        "E0FEE0FEF1FEF1FE",
        "FEE0FEE0FEF1FEF1",
    )
)
"""The weak and the semi-weak keys (SP 800-67 3.3.2), with odd parity."""


def is_weak_des3(value: bytes) -> bool:
    """Whether a part of a DES3 key is a weak or semi-weak key; parity bits are not looked at."""
    parts = (value[start : start + 8] for start in range(0, len(value), 8))
    return any(with_odd_parity(part) in _WEAK_DES for part in parts)


def with_odd_parity(value: bytes) -> bytes:
    """Set the last bit of each byte so that the byte has an odd number of ones (SP 800-67 3.1)."""
    return bytes(byte & 0xFE | (byte >> 1).bit_count() & 1 ^ 1 for byte in value)
