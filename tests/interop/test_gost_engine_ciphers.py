"""Kuznyechik and Magma beside OpenSSL with gost-engine."""

import pytest

from tests.interop.gost_engine import engine_mac, openssl
from token_fw.crypto import (
    Cbc,
    Cmac,
    CtrAcpkm,
    Ecb,
    KeyKind,
    SecretKey,
    SymmetricScheme,
    block_size,
    secret_key,
)

KUZNYECHIK = secret_key(KeyKind.KUZNYECHIK, bytes(range(32)))
MAGMA = secret_key(KeyKind.MAGMA, bytes(range(100, 132)))
IV = bytes(range(200, 216))
DATA = bytes(range(256)) * 40

# The engine changes keys after 4 KiB with Kuznyechik and after 1 KiB with Magma.
CASES: list[tuple[str, SecretKey, SymmetricScheme, list[str]]] = [
    ("kuznyechik-ecb", KUZNYECHIK, Ecb(), ["-nopad"]),
    ("kuznyechik-cbc", KUZNYECHIK, Cbc(IV), ["-nopad"]),
    ("kuznyechik-cbc", KUZNYECHIK, Cbc(IV, padded=True), []),
    ("kuznyechik-ctr", KUZNYECHIK, CtrAcpkm(IV[:8]), []),
    ("kuznyechik-ctr-acpkm", KUZNYECHIK, CtrAcpkm(IV[:8], section=4096), []),
    ("magma-cbc", MAGMA, Cbc(IV[:8]), ["-nopad"]),
    ("magma-cbc", MAGMA, Cbc(IV[:8], padded=True), []),
    ("magma-ctr", MAGMA, CtrAcpkm(IV[:4]), []),
    ("magma-ctr-acpkm", MAGMA, CtrAcpkm(IV[:4], section=1024), []),
]


def enc(name: str, key: SecretKey, scheme: SymmetricScheme, data: bytes, *options: str) -> bytes:
    iv = getattr(scheme, "iv", b"")
    vector = ["-iv", iv.hex()] if iv else []
    return openssl("enc", f"-{name}", "-K", key.value.hex(), *vector, *options, data=data)


@pytest.mark.parametrize(("name", "key", "scheme", "options"), CASES)
def test_ciphers_both_ways(
    name: str, key: SecretKey, scheme: SymmetricScheme, options: list[str]
) -> None:
    cryptogram = key.encrypt(scheme, DATA)
    assert enc(name, key, scheme, DATA, *options) == cryptogram
    assert enc(name, key, scheme, cryptogram, "-d", *options) == DATA
    assert key.decrypt(scheme, cryptogram) == DATA


@pytest.mark.parametrize(("name", "key"), [("kuznyechik-mac", KUZNYECHIK), ("magma-mac", MAGMA)])
def test_codes(name: str, key: SecretKey) -> None:
    size = block_size(key.spec)
    for length in (0, 1, size, size + 1, 1000):
        mac = key.mac(Cmac(size))
        mac.update(DATA[:length])
        assert mac.finish() == engine_mac(name, key.value, DATA[:length], size)
