"""Damaged requests, containers and keys give an error of ours that says so, and nothing else."""

from contextlib import suppress
from datetime import UTC, datetime
from functools import cache

import pytest
from asn1crypto import ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12 as native
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from host_tools.key_files import load_private_key
from host_tools.pki import certificates, pkcs12, profiles, revocation
from host_tools.pki.certificates import Validity
from host_tools.pki.errors import PkiError
from host_tools.pki.names import parse_name
from host_tools.pki.signer import FileSigner
from token_fw.crypto import KeyKind, KeySpec, generate


@cache
def signer() -> FileSigner:
    return FileSigner(generate(KeySpec.gost("CryptoPro-A")))


@cache
def authority() -> object:
    info = certificates.key_info(signer())
    own = certificates.key_identifier(info)
    added = profiles.extensions(profiles.PROFILES["ca"], profiles.Wishes(), info, own)
    return certificates.self_signed(signer(), parse_name("CN=CA"), Validity.of_days(9), added)


@cache
def request() -> bytes:
    asked = profiles.Wishes(names=profiles.alternative_names(("a.example", "IP:192.0.2.1")))
    added = profiles.extensions(profiles.PROFILES["qualified"], asked, None)
    return certificates.request(signer(), parse_name("CN=Иванов,ИНН=500100732259"), added)


@cache
def container() -> bytes:
    """One whose passphrase costs little work to try."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ann")])
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end)
    protection = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(1)
        .key_cert_algorithm(native.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(b"sesame")
    )
    certificate = builder.sign(key, hashes.SHA256())
    return native.serialize_key_and_certificates(b"ann", key, certificate, None, protection)


@cache
def question() -> bytes:
    made = ocsp.OCSPRequest(
        {
            "tbs_request": {
                "request_list": [
                    {
                        "req_cert": {
                            "hash_algorithm": {"algorithm": "sha1"},
                            "issuer_name_hash": bytes(20),
                            "issuer_key_hash": bytes(20),
                            "serial_number": 5,
                        }
                    }
                ],
                "request_extensions": [{"extn_id": "nonce", "extn_value": bytes(8)}],
            }
        }
    )
    return bytes(made.dump())


def damages() -> st.SearchStrategy[list[tuple[int, int]]]:
    """Places in a text, as parts of 65536, and what is put there."""
    return st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255)), min_size=1, max_size=3)


def damaged(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    made = bytearray(content)
    for place, value in changes:
        made[place * len(made) // 65536] = value
    return bytes(made)


@given(damages())
def test_a_damaged_request_is_refused(changes: list[tuple[int, int]]) -> None:
    content = damaged(request(), changes)
    if content != request():
        with pytest.raises(PkiError):
            certificates.read_request(content)


@given(damages())
def test_a_damaged_container_is_refused_or_opens_all_the_same(
    changes: list[tuple[int, int]],
) -> None:
    with suppress(PkiError):
        opened = pkcs12.read(damaged(container(), changes), "sesame")
        assert opened.key.spec == KeySpec.ec("P-256")


@given(damages())
def test_a_damaged_ocsp_request_is_answered_or_refused(changes: list[tuple[int, int]]) -> None:
    with suppress(PkiError):
        made = revocation.answer(
            damaged(question(), changes),
            authority(),
            dict.fromkeys([5]).__getitem__,
            signer=signer(),
            period=Validity.of_days(1),
        )
        (single,) = ocsp.OCSPResponse.load(made).response_data["responses"]
        assert single["cert_status"].name == "unknown"


@given(damages())
def test_a_damaged_key_is_refused_or_another_key(changes: list[tuple[int, int]]) -> None:
    key = generate(KeySpec.ec("P-256")).to_pkcs8()
    for content in (key, signer()._key.to_pkcs8()):
        with suppress(PkiError):
            read = load_private_key(damaged(content, changes))
            assert read.spec.kind in (KeyKind.EC, KeyKind.GOST_256)


@given(st.binary(max_size=60))
def test_bytes_at_random_are_nothing(content: bytes) -> None:
    for read in (certificates.read_request, load_private_key):
        with pytest.raises(PkiError):
            read(content)
