"""Names and identifiers of key kinds, and what is common to all keys."""

import subprocess

import pytest
from asn1crypto.core import ObjectIdentifier

from token_fw.crypto import (
    CURVES,
    KeyKind,
    KeySpec,
    PrivateKey,
    Unsupported,
    generate,
    keys,
    load_private,
    load_public,
)

WITH_OID = (
    *(KeySpec.ec(curve) for curve in CURVES),
    KeySpec.ED25519,
    KeySpec.X25519,
    KeySpec.ED448,
    KeySpec.X448,
)


@pytest.mark.parametrize("spec", WITH_OID, ids=str)
def test_the_identifier_leads_back_to_the_kind(spec: KeySpec) -> None:
    assert ObjectIdentifier.load(spec.oid_der, strict=True).dotted == spec.oid
    assert KeySpec.from_oid(spec.oid) == spec
    assert KeySpec.from_oid_der(spec.oid_der) == spec


def test_rsa_has_no_curve() -> None:
    assert (KeySpec.rsa(2048).oid, KeySpec.rsa(2048).oid_der) == ("", b"")


@pytest.mark.parametrize("oid", ["", "1.3.132.0.10", "1.2.840.113549.1.1.1"])
def test_an_unknown_identifier_is_unsupported(oid: str) -> None:
    with pytest.raises(Unsupported):
        KeySpec.from_oid(oid)


@pytest.mark.parametrize("der", [b"", b"\x06", b"\x06\x00", b"\x06\x05\x2b\x81\x04\x00\x0a"])
def test_an_unknown_encoded_identifier_is_unsupported(der: bytes) -> None:
    with pytest.raises(Unsupported):
        KeySpec.from_oid_der(der)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (KeySpec.rsa(3072), "RSA-3072"),
        (KeySpec.ec("P-384"), "P-384"),
        (KeySpec.ED25519, "Ed25519"),
        (KeySpec.X25519, "X25519"),
        (KeySpec.ED448, "Ed448"),
        (KeySpec.X448, "X448"),
    ],
)
def test_a_kind_has_a_readable_name(spec: KeySpec, name: str) -> None:
    assert str(spec) == name


@pytest.mark.parametrize(
    "algorithm",
    [
        ["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        ["EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"],
    ],
    ids=str,
)
def test_keys_of_other_kinds_are_unsupported(algorithm: list[str]) -> None:
    made = subprocess.run(
        ["openssl", "genpkey", "-outform", "DER", "-algorithm", *algorithm],
        capture_output=True,
        check=True,
    )
    with pytest.raises(Unsupported):
        load_private(made.stdout)
    public = subprocess.run(
        ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"],
        input=made.stdout,
        capture_output=True,
        check=True,
    )
    with pytest.raises(Unsupported):
        load_public(public.stdout)


def test_a_key_has_no_attribute_dictionary_to_leak_into() -> None:
    key: PrivateKey = generate(KeySpec.ED25519)
    assert not hasattr(key, "__dict__")
    assert not hasattr(key.public(), "__dict__")


def test_an_algorithm_registers_once() -> None:
    registered = keys.Algorithm(
        KeyKind.EC, int, int, lambda _: generate(KeySpec.ED25519), lambda _: _, lambda _: _
    )
    with pytest.raises(ValueError, match="twice"):
        keys.register(registered)
