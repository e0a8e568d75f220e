"""Ciphers, codes and key derivation against OpenSSL's command line."""

import subprocess

import pytest

from token_fw.crypto import (
    Cbc,
    Cmac,
    Ctr,
    Ecb,
    Hash,
    Hmac,
    KeyKind,
    KeyWrap,
    KeyWrapPadded,
    SecretKey,
    SymmetricScheme,
    digest,
    kdf,
    secret_key,
)

AES, DES3, GENERIC = KeyKind.AES, KeyKind.DES3, KeyKind.GENERIC
IV = bytes(range(100, 116))
DATA = bytes(range(256)) * 3
KEYS = {
    "aes-128": secret_key(AES, bytes(range(16))),
    "aes-192": secret_key(AES, bytes(range(24))),
    "aes-256": secret_key(AES, bytes(range(32))),
    "des-ede": secret_key(DES3, bytes(range(16))),
    "des-ede3": secret_key(DES3, bytes(range(24))),
}
CBC_NAMES = {name: f"{name}-cbc" for name in KEYS}
ECB_NAMES = {name: f"{name}-ecb" if name.startswith("aes") else name for name in KEYS}
AES_NAMES = [name for name in KEYS if name.startswith("aes")]


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def enc(name: str, key: SecretKey, data: bytes, *options: str, iv: bytes = b"") -> bytes:
    vector = ["-iv", iv.hex()] if iv else []
    return openssl("enc", f"-{name}", "-K", key.value.hex(), *vector, *options, data=data)


def check_both_ways(
    name: str, key: SecretKey, scheme: SymmetricScheme, *options: str, iv: bytes = b""
) -> None:
    cryptogram = key.encrypt(scheme, DATA)
    assert enc(name, key, DATA, *options, iv=iv) == cryptogram
    assert enc(name, key, cryptogram, "-d", *options, iv=iv) == DATA
    assert key.decrypt(scheme, cryptogram) == DATA


@pytest.mark.parametrize("name", KEYS)
def test_ecb(name: str) -> None:
    check_both_ways(ECB_NAMES[name], KEYS[name], Ecb(), "-nopad")


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("padded", [False, True])
def test_cbc(name: str, padded: bool) -> None:
    iv = IV[: 16 if name in AES_NAMES else 8]
    options = [] if padded else ["-nopad"]
    check_both_ways(CBC_NAMES[name], KEYS[name], Cbc(iv, padded), *options, iv=iv)


@pytest.mark.parametrize("name", AES_NAMES)
@pytest.mark.parametrize("block", [IV, b"\xff" * 16], ids=["counts up", "wraps"])
def test_ctr(name: str, block: bytes) -> None:
    check_both_ways(f"{name}-ctr", KEYS[name], Ctr(block, 128), iv=block)


@pytest.mark.parametrize("name", AES_NAMES)
@pytest.mark.parametrize("length", [16, 24, 40])
def test_key_wrap(name: str, length: int) -> None:
    wrapped = KEYS[name].wrap(KeyWrap(), DATA[:length])
    cipher = f"id-{name.replace('-', '')}-wrap"
    assert enc(cipher, KEYS[name], DATA[:length], iv=b"\xa6" * 8) == wrapped


@pytest.mark.parametrize("name", AES_NAMES)
@pytest.mark.parametrize("length", [1, 7, 8, 20])
def test_key_wrap_with_padding(name: str, length: int) -> None:
    wrapped = KEYS[name].wrap(KeyWrapPadded(), DATA[:length])
    cipher = f"id-{name.replace('-', '')}-wrap-pad"
    assert enc(cipher, KEYS[name], DATA[:length], iv=bytes.fromhex("a65959a6")) == wrapped


def mac_of(key: SecretKey, scheme: Hmac | Cmac) -> bytes:
    running = key.mac(scheme)
    running.update(DATA)
    return running.finish()


@pytest.mark.parametrize("name", [name for name in KEYS if name != "des-ede"])
def test_cmac(name: str) -> None:
    size = 16 if name in AES_NAMES else 8
    options = ["-cipher", CBC_NAMES[name], "-macopt", f"hexkey:{KEYS[name].value.hex()}"]
    expected = openssl("mac", *options, "-binary", "-in", "-", "CMAC", data=DATA)
    assert mac_of(KEYS[name], Cmac(size)) == expected


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
@pytest.mark.parametrize("length", [1, 20, 200])
def test_hmac(hash_: Hash, length: int) -> None:
    key = secret_key(GENERIC, DATA[1 : length + 1])
    options = ["-digest", hash_.value.replace("_", "-"), "-macopt", f"hexkey:{key.value.hex()}"]
    expected = openssl("mac", *options, "-binary", "-in", "-", "HMAC", data=DATA)
    assert mac_of(key, Hmac(hash_, hash_.size)) == expected


def derived(algorithm: str, hash_: Hash, length: int, **values: bytes | int) -> bytes:
    named = {
        name if isinstance(value, int) else f"hex{name}": value
        if isinstance(value, int)
        else value.hex()
        for name, value in values.items()
    }
    options = [f"{name}:{value}" for name, value in named.items()]
    options.append(f"digest:{hash_.value.replace('_', '-')}")
    pairs = [part for option in options for part in ("-kdfopt", option)]
    return openssl("kdf", "-keylen", str(length), *pairs, "-binary", algorithm)


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_hkdf(hash_: Hash) -> None:
    prk = kdf.hkdf_extract(hash_, b"salt", b"secret")
    expected = derived("HKDF", hash_, 100, key=b"secret", salt=b"salt", info=b"info")
    assert kdf.hkdf_expand(hash_, prk, b"info", 100) == expected


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_pbkdf2(hash_: Hash) -> None:
    # "pkcs5:1" lets OpenSSL take a short salt.
    values: dict[str, bytes | int] = {
        "pass": b"password",
        "salt": b"salt",
        "iter": 1000,
        "pkcs5": 1,
    }
    values["pass"] = b"password"
    expected = derived("PBKDF2", hash_, 100, **values)
    assert kdf.pbkdf2(hash_, b"password", b"salt", 1000, 100) == expected


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
@pytest.mark.parametrize("info", [b"shared info", b""])
def test_x963(hash_: Hash, info: bytes) -> None:
    given = {"info": info} if info else {}
    expected = derived("X963KDF", hash_, 100, key=b"secret", **given)
    assert kdf.x963(hash_, b"secret", info, 100) == expected
