"""Private keys under a passphrase: EncryptedPrivateKeyInfo by PBES2 (RFC 5958 3, RFC 8018 6.2).

Own code, as that of libraries opens only keys of the kinds they know.
"""

import os
from typing import Any, Final

from host_tools.pki.asn1 import algos, core, keys
from host_tools.pki.errors import PkiError, UnknownAlgorithm
from token_fw.crypto import Cbc, CryptoError, Hash, KeyKind, SecretKey, kdf, secret_key

_ITERATIONS: Final = 600_000
# A file may ask for less work than this, not for hours of it.
_MOST_ITERATIONS: Final = 10_000_000
_SALT_BYTES: Final = 16
_CIPHERS: Final = {
    "aes128_cbc": (KeyKind.AES, 16),
    "aes192_cbc": (KeyKind.AES, 24),
    "aes256_cbc": (KeyKind.AES, 32),
    "tripledes_3key": (KeyKind.DES3, 24),
}


class WrongPassphrase(PkiError):
    """The passphrase does not open it, or it was changed."""


def encrypt(pkcs8: bytes, passphrase: bytes) -> bytes:
    """The EncryptedPrivateKeyInfo (DER) of a PrivateKeyInfo: AES-256 in CBC mode under PBKDF2.

    PBKDF2 has HMAC-SHA-256, 600 000 iterations and 16 bytes of salt.
    """
    salt, iv = os.urandom(_SALT_BYTES), os.urandom(16)
    key = secret_key(KeyKind.AES, kdf.pbkdf2(Hash.SHA256, passphrase, salt, _ITERATIONS, 32))
    derivation = {
        "salt": algos.Pbkdf2Salt(name="specified", value=core.OctetString(salt)),
        "iteration_count": _ITERATIONS,
        "prf": {"algorithm": "sha256", "parameters": core.Null()},
    }
    scheme = {
        "key_derivation_func": {"algorithm": "pbkdf2", "parameters": derivation},
        "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": iv},
    }
    made = keys.EncryptedPrivateKeyInfo(
        {
            "encryption_algorithm": {"algorithm": "pbes2", "parameters": scheme},
            "encrypted_data": key.encrypt(Cbc(iv, padded=True), pkcs8),
        }
    )
    return bytes(made.dump())


def decrypt(encrypted: Any, passphrase: bytes) -> bytes:
    """The PrivateKeyInfo (DER) in asn1crypto's EncryptedPrivateKeyInfo.

    Raises WrongPassphrase, or UnknownAlgorithm for what is not PBES2 with PBKDF2 and a cipher
    known here.
    """
    algorithm = encrypted["encryption_algorithm"]
    if algorithm["algorithm"].native != "pbes2":
        raise UnknownAlgorithm("The key is encrypted by another scheme than PBES2.")
    scheme = algorithm["parameters"]
    cipher = scheme["encryption_scheme"]
    key = _derived(scheme["key_derivation_func"], cipher["algorithm"].native, passphrase)
    try:
        padded = Cbc(cipher["parameters"].native, padded=True)
        return key.decrypt(padded, encrypted["encrypted_data"].native)
    except CryptoError as error:
        raise WrongPassphrase("The passphrase is wrong.") from error


def _derived(derivation: Any, cipher: str, passphrase: bytes) -> SecretKey:
    if derivation["algorithm"].native != "pbkdf2" or cipher not in _CIPHERS:
        raise UnknownAlgorithm(f"Keys encrypted by {cipher} are not read.")
    kind, size = _CIPHERS[cipher]
    parameters = derivation["parameters"]
    salt, iterations = parameters["salt"].chosen.native, parameters["iteration_count"].native
    if not isinstance(salt, bytes) or not 1 <= iterations <= _MOST_ITERATIONS:
        raise UnknownAlgorithm("The key is encrypted with odd parameters of PBKDF2.")
    try:
        hash_ = Hash(parameters["prf"]["algorithm"].native)
        return secret_key(kind, kdf.pbkdf2(hash_, passphrase, salt, iterations, size))
    except (ValueError, CryptoError) as error:
        raise UnknownAlgorithm("The key is encrypted with odd parameters of PBKDF2.") from error
