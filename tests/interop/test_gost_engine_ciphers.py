"""Kuznyechik and Magma beside OpenSSL with gost-engine."""

from pathlib import Path

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
    gost_private,
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


@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-256-A", "tc26-512-A"])
def test_keys_to_wrap_keys(name: str, tmp_path: Path) -> None:
    """KEG of the engine, which takes it for a UKM of 32 bytes."""
    ours, theirs = (gost_private(name, bytes((number,)) * 31) for number in (1, 2))
    ukm = bytes(range(1, 33))
    inkey, peer = tmp_path / "inkey.der", tmp_path / "peer.der"
    inkey.write_bytes(theirs.to_pkcs8())
    peer.write_bytes(ours.public().to_spki())
    files = ["-inkey", str(inkey), "-keyform", "DER", "-peerkey", str(peer), "-peerform", "DER"]
    derived = openssl("pkeyutl", "-derive", *files, "-pkeyopt", f"ukmhex:{ukm.hex()}")
    assert ours.keg(theirs.public().point, ukm) == derived
