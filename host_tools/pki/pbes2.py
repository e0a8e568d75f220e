"""Secrets under a passphrase: PBES2 (RFC 8018 6.2) with AES, and with GOST ciphers (RFC 9337).

Own code, as that of libraries opens only keys of the kinds they know.
"""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from host_tools.pki.asn1 import algos, core, keys, named_algorithm
from host_tools.pki.errors import PkiError, UnknownAlgorithm
from token_fw.crypto import (
    Cbc,
    Cmac,
    CryptoError,
    CtrAcpkm,
    DecryptionFailed,
    Hash,
    KeyKind,
    SecretKey,
    SymmetricScheme,
    kdf,
    secret_key,
)
from token_fw.crypto.gost import kdf as gost_kdf

_SALT_BYTES: Final = 32


class WrongPassphrase(PkiError):
    """The passphrase does not open it, or it was changed."""


_TWIN_LABEL: Final = b"kdf tree"
"""The label by which CTR-ACPKM-OMAC makes two keys of one (RFC 9337 6)."""
ENGINE_SECTION: Final = 4096
"""After how many bytes gost-engine changes the key of CTR-ACPKM; RFC 9337 has more."""


def _cbc(parameters: Any, _section: int) -> SymmetricScheme:
    return Cbc(parameters.native, padded=True)


def _acpkm(iv_bytes: int) -> Callable[[Any, int], SymmetricScheme]:
    """CTR-ACPKM as RFC 9337 7.3 has it: the first bytes of the UKM are the initial value."""

    def scheme(parameters: Any, section: int) -> SymmetricScheme:
        return CtrAcpkm(parameters["ukm"].native[:iv_bytes], section)

    return scheme


@dataclass(frozen=True, slots=True)
class _Cipher:
    """A cipher: its key, its mode by the parameters of an AlgorithmIdentifier, and its section.

    `mac_bytes` where a code of that length follows the content (CTR-ACPKM-OMAC); the seed of its
    key and that of the cipher is then what is left of the UKM after the initial value.
    """

    kind: KeyKind
    key_bytes: int
    scheme: Callable[[Any, int], SymmetricScheme]
    section: int = 0
    mac_bytes: int = 0
    iv_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Opened:
    """A cipher with its key and mode; with a key for the code where there is one."""

    key: SecretKey
    mode: SymmetricScheme
    mac_key: SecretKey | None = None
    mac_bytes: int = 0

    def encrypt(self, content: bytes) -> bytes:
        return self.key.encrypt(self.mode, content + self._code(content))

    def decrypt(self, cryptogram: bytes) -> bytes:
        """Raises CryptoError where the padding or the code is wrong."""
        whole = self.key.decrypt(self.mode, cryptogram)
        content = whole[: len(whole) - self.mac_bytes]
        if not hmac.compare_digest(self._code(content), whole[len(content) :]):
            raise DecryptionFailed("the code of the content is wrong")
        return content

    def _code(self, content: bytes) -> bytes:
        if self.mac_key is None:
            return b""
        mac = self.mac_key.mac(Cmac(self.mac_bytes))
        mac.update(content)
        return mac.finish()


_CIPHERS: Final = {
    "aes128_cbc": _Cipher(KeyKind.AES, 16, _cbc),
    "aes192_cbc": _Cipher(KeyKind.AES, 24, _cbc),
    "aes256_cbc": _Cipher(KeyKind.AES, 32, _cbc),
    "tripledes_3key": _Cipher(KeyKind.DES3, 24, _cbc),
    "magma_ctr_acpkm": _Cipher(KeyKind.MAGMA, 32, _acpkm(4), 8192),
    "kuznyechik_ctr_acpkm": _Cipher(KeyKind.KUZNYECHIK, 32, _acpkm(8), 262144),
    "magma_ctr_acpkm_omac": _Cipher(KeyKind.MAGMA, 32, _acpkm(4), 8192, 8, 4),
    "kuznyechik_ctr_acpkm_omac": _Cipher(KeyKind.KUZNYECHIK, 32, _acpkm(8), 262144, 16, 8),
}


@dataclass(frozen=True, slots=True)
class Protection:
    """How something new is encrypted: the cipher with its fresh parameters, and PBKDF2's work."""

    cipher: str
    prf: Hash
    iterations: int
    parameters: Callable[[], Any]


AES: Final = Protection("aes256_cbc", Hash.SHA256, 600_000, lambda: os.urandom(16))
# RFC 9337 4: at least 1000; in Python each costs some three milliseconds.
GOST: Final = Protection(
    "kuznyechik_ctr_acpkm", Hash.STREEBOG512, 2000, lambda: {"ukm": os.urandom(16)}
)
# A file may ask for some work, not for hours of it.
_MOST_ITERATIONS: Final = {Hash.STREEBOG512: 100_000}
_MOST_ITERATIONS_NATIVE: Final = 10_000_000


def seal(protection: Protection, content: bytes, passphrase: bytes) -> tuple[Any, bytes]:
    """The EncryptionAlgorithm and the cryptogram of a content."""
    derivation = {
        "salt": algos.Pbkdf2Salt(name="specified", value=core.OctetString(os.urandom(_SALT_BYTES))),
        "iteration_count": protection.iterations,
        "prf": {"algorithm": protection.prf.value, "parameters": core.Null()},
    }
    scheme = {
        "key_derivation_func": {"algorithm": "pbkdf2", "parameters": derivation},
        "encryption_scheme": {
            "algorithm": protection.cipher,
            "parameters": protection.parameters(),
        },
    }
    algorithm = algos.EncryptionAlgorithm({"algorithm": "pbes2", "parameters": scheme})
    return algorithm, _opened(algorithm, passphrase).encrypt(content)


def unseal(algorithm: Any, cryptogram: bytes, passphrase: bytes, section: int = 0) -> bytes:
    """The content again. ``section`` is that of CTR-ACPKM where it is not the standard's.

    Raises WrongPassphrase where the padding or a code tells it, or UnknownAlgorithm for what is
    not PBES2 with PBKDF2 and a cipher known here.
    """
    opened = _opened(algorithm, passphrase, section)
    try:
        return opened.decrypt(cryptogram)
    except CryptoError as error:
        raise WrongPassphrase("The passphrase is wrong.") from error


def _opened(algorithm: Any, passphrase: bytes, section: int = 0) -> _Opened:
    if algorithm["algorithm"].native != "pbes2":
        raise UnknownAlgorithm(
            f"The encryption {named_algorithm(algorithm['algorithm'])} is not supported; PBES2 is."
        )
    scheme = algorithm["parameters"]
    wanted = scheme["encryption_scheme"]
    cipher = _CIPHERS.get(wanted["algorithm"].native)
    derivation = scheme["key_derivation_func"]
    if cipher is None or derivation["algorithm"].native != "pbkdf2":
        raise UnknownAlgorithm(
            f"The cipher {named_algorithm(wanted['algorithm'])} is not supported."
        )
    try:
        parameters = derivation["parameters"]
        value = derived(
            Hash(parameters["prf"]["algorithm"].native),
            passphrase,
            parameters["salt"].chosen.native,
            parameters["iteration_count"].native,
            cipher.key_bytes,
        )
        mode = cipher.scheme(wanted["parameters"], section or cipher.section)
        if not cipher.mac_bytes:
            return _Opened(secret_key(cipher.kind, value), mode)
        seed = wanted["parameters"]["ukm"].native[cipher.iv_bytes :]
        both = gost_kdf.kdf_tree(value, _TWIN_LABEL, seed, 2 * cipher.key_bytes, 1)
        key, mac_key = (secret_key(cipher.kind, both[at : at + 32]) for at in (0, 32))
        return _Opened(key, mode, mac_key, cipher.mac_bytes)
    except (ValueError, TypeError, KeyError, CryptoError) as error:
        raise UnknownAlgorithm("The parameters of the encryption are damaged or odd.") from error


def derived(prf: Hash, passphrase: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """PBKDF2 with HMAC of that hash, of SHA or Streebog-512.

    Raises UnknownAlgorithm for more work than anybody wants, and CryptoError.
    """
    if iterations > _MOST_ITERATIONS.get(prf, _MOST_ITERATIONS_NATIVE):
        raise UnknownAlgorithm(f"{iterations} iterations of PBKDF2 are too many.")
    if prf is Hash.STREEBOG512:
        return gost_kdf.pbkdf2(passphrase, salt, iterations, length)
    return kdf.pbkdf2(prf, passphrase, salt, iterations, length)


def encrypt(pkcs8: bytes, passphrase: bytes, protection: Protection = AES) -> bytes:
    """The EncryptedPrivateKeyInfo (DER, RFC 5958 3) of a PrivateKeyInfo."""
    algorithm, cryptogram = seal(protection, pkcs8, passphrase)
    made = keys.EncryptedPrivateKeyInfo(
        {"encryption_algorithm": algorithm, "encrypted_data": cryptogram}
    )
    return bytes(made.dump())


def decrypt(encrypted: Any, passphrase: bytes) -> bytes:
    """The PrivateKeyInfo (DER) in asn1crypto's EncryptedPrivateKeyInfo; raises as unseal does."""
    return unseal(encrypted["encryption_algorithm"], encrypted["encrypted_data"].native, passphrase)
