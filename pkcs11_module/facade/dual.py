"""Two operations on the same data in one call (PKCS#11 2.40 5.13).

What goes out is checked to fit before either operation takes anything.
"""

from __future__ import annotations

from pkcs11_module.facade.cipher import CipherOperation, update
from pkcs11_module.facade.digest import DigestOperation, digest_update
from pkcs11_module.facade.registry import dual_function
from pkcs11_module.facade.signing import SignatureOperation
from pkcs11_module.types import Buffer, Length


@dual_function("C_DigestEncryptUpdate")
def digest_encrypt_update(
    digest: DigestOperation, encrypt: CipherOperation, part: bytes | None, buffer: Buffer
) -> bytes | Length:
    """C_DigestEncryptUpdate: the digest is of the plaintext."""
    answer = update(encrypt, part, buffer)
    if not isinstance(answer, Length):
        digest_update(digest, part)
    return answer


@dual_function("C_DecryptDigestUpdate")
def decrypt_digest_update(
    decrypt: CipherOperation, digest: DigestOperation, part: bytes | None, buffer: Buffer
) -> bytes | Length:
    """C_DecryptDigestUpdate: the digest is of the plaintext that comes out."""
    answer = update(decrypt, part, buffer)
    if not isinstance(answer, Length):
        digest_update(digest, answer)
    return answer


@dual_function("C_SignEncryptUpdate")
def sign_encrypt_update(
    sign: SignatureOperation, encrypt: CipherOperation, part: bytes | None, buffer: Buffer
) -> bytes | Length:
    """C_SignEncryptUpdate: the signature is of the plaintext."""
    answer = update(encrypt, part, buffer)
    if not isinstance(answer, Length):
        sign.update(part or b"")
    return answer


@dual_function("C_DecryptVerifyUpdate")
def decrypt_verify_update(
    decrypt: CipherOperation, verify: SignatureOperation, part: bytes | None, buffer: Buffer
) -> bytes | Length:
    """C_DecryptVerifyUpdate: the signature is of the plaintext that comes out."""
    answer = update(decrypt, part, buffer)
    if not isinstance(answer, Length):
        verify.update(answer)
    return answer
