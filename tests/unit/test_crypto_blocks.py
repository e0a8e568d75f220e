"""Paddings of RSA apart from the key, checked by the library that has them with one."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from token_fw.crypto import DataLength, DecryptionFailed, Hash, RsaPss, digest, digest_info
from token_fw.crypto.blocks import pkcs1_message, pkcs1_signature_block, pss_signature_block

DIGEST = digest.compute(Hash.SHA256, b"message")
# A modulus of 2047 bits leaves a whole byte of EMSA-PSS unused, others parts of one.
KEYS = {bits: rsa.generate_private_key(65537, bits) for bits in (1024, 1025, 1031, 2047)}


def power(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    numbers = key.private_numbers()
    number = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
    return number.to_bytes((key.key_size + 7) // 8, "big")


@pytest.mark.parametrize("bits", KEYS)
def test_a_pkcs1_block_is_a_signature_once_raised_to_the_power(bits: int) -> None:
    block = pkcs1_signature_block(digest_info(Hash.SHA256, DIGEST), (bits + 7) // 8)
    signature = power(KEYS[bits], block)
    prehashed = utils.Prehashed(hashes.SHA256())
    KEYS[bits].public_key().verify(signature, DIGEST, padding.PKCS1v15(), prehashed)


@pytest.mark.parametrize("bits", KEYS)
@pytest.mark.parametrize("salt", [0, 1, 32])
def test_a_pss_block_is_a_signature_once_raised_to_the_power(bits: int, salt: int) -> None:
    block = pss_signature_block(RsaPss(Hash.SHA256, Hash.SHA384, salt), DIGEST, bits)
    signature = power(KEYS[bits], block)
    public, scheme = KEYS[bits].public_key(), padding.PSS(padding.MGF1(hashes.SHA384()), salt)
    prehashed = utils.Prehashed(hashes.SHA256())
    public.verify(signature, DIGEST, scheme, prehashed)
    with pytest.raises(InvalidSignature):
        public.verify(signature, bytes(32), scheme, prehashed)


def test_salts_differ() -> None:
    scheme = RsaPss(Hash.SHA256, Hash.SHA256, 32)
    assert pss_signature_block(scheme, DIGEST, 1024) != pss_signature_block(scheme, DIGEST, 1024)


def test_what_does_not_fit_is_refused() -> None:
    pkcs1_signature_block(bytes(117), 128)
    with pytest.raises(DataLength):
        pkcs1_signature_block(bytes(118), 128)
    pss_signature_block(RsaPss(Hash.SHA256, Hash.SHA256, 94), DIGEST, 1024)
    with pytest.raises(DataLength):
        pss_signature_block(RsaPss(Hash.SHA256, Hash.SHA256, 95), DIGEST, 1024)
    with pytest.raises(DataLength):
        pss_signature_block(RsaPss(Hash.SHA384, Hash.SHA256, 0), DIGEST, 1024)


def encrypted_block(message: bytes, size: int = 128) -> bytes:
    return b"\x00\x02" + b"\x01" * (size - len(message) - 3) + b"\x00" + message


@pytest.mark.parametrize("length", [0, 1, 16, 117])
def test_the_message_comes_out_of_its_padding(length: int) -> None:
    message = bytes(range(length))
    assert pkcs1_message(encrypted_block(message)) == message


@pytest.mark.parametrize(
    "block",
    [
        b"\x01" + encrypted_block(b"message")[1:],
        b"\x00\x01" + encrypted_block(b"message")[2:],
        b"\x00\x02" + b"\x01" * 126,
        encrypted_block(bytes(118)),
        bytes(128),
    ],
    ids=["first byte", "second byte", "no separator", "padding too short", "zeros"],
)
def test_a_wrong_padding_is_refused_alike(block: bytes) -> None:
    with pytest.raises(DecryptionFailed, match="the cryptogram could not be decrypted"):
        pkcs1_message(block)
