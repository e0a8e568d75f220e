"""The algorithms give the published answers of spec/vectors/algorithms.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from token_fw.crypto import (
    Cbc,
    Cmac,
    Ctr,
    Ecb,
    Gcm,
    Hash,
    Hmac,
    KeyKind,
    KeyWrap,
    KeyWrapPadded,
    SecretKey,
    SymmetricScheme,
    kdf,
    secret_key,
)

SPEC = Path(__file__).parents[2] / "spec" / "vectors" / "algorithms.toml"
TABLE = tomllib.loads(SPEC.read_text(encoding="utf-8"))

SCHEMES: dict[str, Callable[[dict[str, Any]], SymmetricScheme]] = {
    "ECB": lambda _: Ecb(),
    "CBC": lambda vector: Cbc(value(vector, "iv")),
    "CTR": lambda vector: Ctr(value(vector, "block"), vector["bits"]),
    "GCM": lambda vector: Gcm(value(vector, "iv"), value(vector, "aad"), 16),
    "KEY WRAP": lambda _: KeyWrap(),
    "KEY WRAP PADDED": lambda _: KeyWrapPadded(),
}


def value(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


def key_of(vector: dict[str, Any]) -> SecretKey:
    return secret_key(KeyKind(vector["kind"]), value(vector, "key"))


def all_of(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", TABLE[kind], ids=lambda vector: vector["source"])


@all_of("cipher")
def test_cipher(vector: dict[str, Any]) -> None:
    key, scheme = key_of(vector), SCHEMES[vector["scheme"]](vector)
    assert key.encrypt(scheme, value(vector, "plain")).hex() == vector["cipher"]
    assert key.decrypt(scheme, value(vector, "cipher")).hex() == vector["plain"]


@all_of("mac")
def test_mac(vector: dict[str, Any]) -> None:
    size = len(value(vector, "mac"))
    scheme = Hmac(Hash[vector["hash"]], size) if "hash" in vector else Cmac(size)
    running = key_of(vector).mac(scheme)
    running.update(value(vector, "data"))
    assert running.finish().hex() == vector["mac"]


@all_of("hkdf")
def test_hkdf(vector: dict[str, Any]) -> None:
    hash_ = Hash[vector["hash"]]
    salt = value(vector, "salt") if "salt" in vector else None
    prk = kdf.hkdf_extract(hash_, salt, value(vector, "ikm"))
    assert prk.hex() == vector["prk"]
    length = len(value(vector, "okm"))
    assert kdf.hkdf_expand(hash_, prk, value(vector, "info"), length).hex() == vector["okm"]


@all_of("pbkdf2")
def test_pbkdf2(vector: dict[str, Any]) -> None:
    password, salt, derived = (value(vector, name) for name in ("password", "salt", "derived"))
    hash_ = Hash[vector["hash"]]
    assert kdf.pbkdf2(hash_, password, salt, vector["iterations"], len(derived)) == derived


@all_of("x963")
def test_x963(vector: dict[str, Any]) -> None:
    z, shared_info, derived = (value(vector, name) for name in ("z", "shared_info", "derived"))
    assert kdf.x963(Hash[vector["hash"]], z, shared_info, len(derived)) == derived
