"""Kuznyechik and Magma beside OpenSSL with gost-engine."""

import pytest

from tests.interop.gost_engine import Engine, engine_mac
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


@pytest.mark.parametrize(("name", "key", "scheme", "options"), CASES)
def test_ciphers_both_ways(
    engine: Engine, name: str, key: SecretKey, scheme: SymmetricScheme, options: list[str]
) -> None:
    vector = ["-iv", scheme.iv.hex()] if isinstance(scheme, Cbc | CtrAcpkm) else []
    common = ["enc", f"-{name}", "-K", key.value.hex(), *vector, *options]
    cryptogram = key.encrypt(scheme, DATA)
    assert engine.run(*common, data=DATA) == cryptogram
    assert engine.run(*common, "-d", data=cryptogram) == DATA
    assert key.decrypt(scheme, cryptogram) == DATA


@pytest.mark.parametrize(("name", "key"), [("kuznyechik-mac", KUZNYECHIK), ("magma-mac", MAGMA)])
def test_codes(name: str, key: SecretKey) -> None:
    size = block_size(key.spec)
    for length in (0, 1, size, size + 1, 1000):
        mac = key.mac(Cmac(size))
        mac.update(DATA[:length])
        assert mac.finish() == engine_mac(name, key.value, DATA[:length], size)


@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-256-A", "tc26-512-A"])
def test_keys_to_wrap_keys(engine: Engine, name: str) -> None:
    """KEG of the engine, which takes it for a UKM of 32 bytes."""
    ours, theirs = (gost_private(name, bytes((number,)) * 31) for number in (1, 2))
    ukm = bytes(range(1, 33))
    key, peer = engine.private_file(theirs.to_pkcs8()), engine.public_file(ours.public().to_spki())
    files = ["-inkey", key, "-peerkey", peer]
    derived = engine.run("pkeyutl", "-derive", *files, "-pkeyopt", f"ukmhex:{ukm.hex()}")
    assert ours.keg(theirs.public().point, ukm) == derived
