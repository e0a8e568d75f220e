"""Directories of PKCS #15: what we write we read, what others write we read, nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.entries import (
    KIND_OF_ENTRY,
    AnyEntry,
    CertificateEntry,
    DataEntry,
    DirectoryKind,
    KeyAccess,
    KeyUsage,
    PrivateKeyEntry,
    PublicKeyEntry,
    SecretKeyEntry,
    Unknown,
)
from pkcs11_module.cards.entry_codec import decode, encode
from pkcs11_module.cards.pkcs15 import PinEntry

P256 = bytes.fromhex("06082A8648CE3D030107")
ML_DSA_65 = bytes.fromhex("0609608648016503040312")
GENERIC, DES2, DES3, AES = 0x10, 0x14, 0x15, 0x1F
NAME = bytes.fromhex("300C310A300806035504030C0178")

ENTRIES: dict[str, AnyEntry] = {
    "RSA private key with all it can have": PrivateKeyEntry(
        label="Ключ подписи",
        private=True,
        auth_id=b"\x01",
        path=pkcs15.DF,
        id=b"\x01\x02",
        usage=KeyUsage.SIGN | KeyUsage.DECRYPT | KeyUsage.NON_REPUDIATION,
        access=KeyAccess.SENSITIVE | KeyAccess.LOCAL,
        reference=1023,
        bits=2048,
        subject=NAME,
        start=date(2020, 1, 2),
        end=date(2049, 12, 31),
        consent=True,
    ),
    "EC private key with nothing optional": PrivateKeyEntry(path=pkcs15.DF, reference=0),
    "EC public key": PublicKeyEntry(
        label="p", path=pkcs15.DF + b"\x80\x00", id=b"1", usage=KeyUsage.VERIFY, curve=P256
    ),
    "public key inside the entry": PublicKeyEntry(id=b"1", bits=1024, direct=b"\x30\x00"),
    "ML-DSA private key": PrivateKeyEntry(path=pkcs15.DF, reference=7, algorithm=ML_DSA_65),
    "ML-DSA public key": PublicKeyEntry(path=pkcs15.DF + b"\x80\x01", algorithm=ML_DSA_65),
    "AES key with all it can have": SecretKeyEntry(
        label="Ключ",
        private=True,
        auth_id=b"\x01",
        path=pkcs15.DF,
        id=b"\x01\x02",
        key_type=AES,
        usage=KeyUsage.ENCRYPT | KeyUsage.DECRYPT | KeyUsage.WRAP,
        access=KeyAccess.EXTRACTABLE | KeyAccess.LOCAL,
        reference=1023,
        bits=256,
        start=date(2020, 1, 2),
        end=date(2049, 12, 31),
        extra={0x164: b"\x01", 0x40000600: bytes(16), 0x90: b"\xab\xcd\xef"},
    ),
    "generic secret": SecretKeyEntry(path=pkcs15.DF, key_type=GENERIC, bits=8, reference=0),
    "3DES key of two parts": SecretKeyEntry(path=pkcs15.DF, key_type=DES2, bits=128),
    "3DES key": SecretKeyEntry(path=pkcs15.DF, key_type=DES3, bits=192, modifiable=False),
    "secret key that tells no length": SecretKeyEntry(path=pkcs15.DF, key_type=GENERIC),
    "certificate with other attributes": CertificateEntry(
        label="c", path=pkcs15.DF + b"\x90\x01", extra={0x80000000: b""}
    ),
    "certificate of an authority": CertificateEntry(
        label="ca", path=pkcs15.DF + b"\x90\x00", id=b"ca", authority=True, trusted=True
    ),
    "data with a bare identifier": DataEntry(
        label="d", path=pkcs15.DF + b"\x60\x00", application="app", object_id=b"\x2a\x03"
    ),
    "data with a DER identifier": DataEntry(
        label="d", private=True, path=b"\x3f\x00", object_id=b"\x06\x02\x2a\x03", modifiable=False
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_reads_as_it_was_written(name: str) -> None:
    entry = ENTRIES[name]
    assert decode(KIND_OF_ENTRY[type(entry)], encode(entry)) == entry


@pytest.mark.parametrize("name", ENTRIES)
def test_a_change_touches_nothing_else(name: str) -> None:
    entry = ENTRIES[name]
    kind = KIND_OF_ENTRY[type(entry)]
    read = decode(kind, encode(entry))
    assert not isinstance(read, Unknown)
    changed = decode(kind, encode(replace(read, label="other")))
    assert changed == replace(entry, label="other")


def opensc(label: str, *parts: str) -> bytes:
    """A SEQUENCE of a common part with that label and of parts in hexadecimal."""
    text = label.encode()
    common = bytes((0x0C, len(text))) + text + bytes.fromhex("030206C0 040101")
    body = bytes((0x30, len(common))) + common + b"".join(bytes.fromhex(part) for part in parts)
    return bytes((0x30, len(body))) + body


def test_what_opensc_writes_is_understood() -> None:
    key = decode(
        DirectoryKind.PRIVATE_KEYS,
        opensc(
            "Private Key",
            "300F 040145 0303062040 030203B8 020103",
            "A10E 300C 3006 0404 3F005015 0202 0800",
        ),
    )
    assert key == PrivateKeyEntry(
        label="Private Key",
        private=True,
        auth_id=b"\x01",
        path=pkcs15.DF,
        id=b"\x45",
        usage=KeyUsage.SIGN | KeyUsage.NON_REPUDIATION,
        access=KeyAccess.SENSITIVE
        | KeyAccess.ALWAYS_SENSITIVE
        | KeyAccess.NEVER_EXTRACTABLE
        | KeyAccess.LOCAL,
        reference=3,
        bits=2048,
    )
    certificate = decode(
        DirectoryKind.CERTIFICATES,
        opensc("Certificate", "3003 040145", "A10C 300A 3008 0406 3F0050153100"),
    )
    assert isinstance(certificate, CertificateEntry)
    assert (certificate.id, certificate.path) == (b"\x45", bytes.fromhex("3F0050153100"))


def test_components_that_are_not_looked_at_are_written_back() -> None:
    native, algorithms, path_part = "010100", "A103 020102", "020100 800120"
    raw = opensc(
        "Key",
        f"3016 040145 03020520 {native} 030203B8 020103 {algorithms}",
        f"A114 3012 300C 0404 3F005015 {path_part} 0202 0800",
    )
    entry = decode(DirectoryKind.PRIVATE_KEYS, raw)
    assert isinstance(entry, PrivateKeyEntry)
    assert encode(entry) == raw
    assert encode(replace(entry, label="Kez")) == raw.replace(b"Key", b"Kez")


def test_a_secret_key_of_another_program_is_understood() -> None:
    key = decode(
        DirectoryKind.SECRET_KEYS,
        opensc(
            "Secret Key",
            "300F 040145 030206C0 03020410 02020080",
            "A006 3004 02020080",
            "A10A 3008 3006 0404 3F005015",
        ),
    )
    assert key == SecretKeyEntry(
        label="Secret Key",
        private=True,
        auth_id=b"\x01",
        path=pkcs15.DF,
        id=b"\x45",
        key_type=GENERIC,
        usage=KeyUsage.ENCRYPT | KeyUsage.DECRYPT,
        access=KeyAccess.NEVER_EXTRACTABLE,
        reference=128,
        bits=128,
    )


def test_des_keys_have_the_alternatives_of_the_standard() -> None:
    for key_type, tag in ((0x13, 0xA2), (DES2, 0xA3), (DES3, 0xA4), (GENERIC, 0x30), (AES, 0x30)):
        assert encode(SecretKeyEntry(key_type=key_type, path=pkcs15.DF))[0] == tag


def test_other_attributes_do_not_move_what_was_kept() -> None:
    entry = replace(ENTRIES["certificate with other attributes"], kept={"common": b"\x30\x00"})
    read = decode(DirectoryKind.CERTIFICATES, encode(entry))
    assert not isinstance(read, Unknown)
    assert read == entry
    assert read.kept["common"] == b"\x30\x00"
    assert encode(read) == encode(entry)


@pytest.mark.parametrize(
    "extra",
    ["E002 3000", "E005 3003 0201FF", "E007 3005 0201FF 0400", "E001 00", "E004 0402 0102"],
)
def test_malformed_other_attributes_make_an_entry_unknown(extra: str) -> None:
    attributes = bytes.fromhex(extra)
    common = b"\x03\x01\x00" + attributes
    raw = bytes((0x30, len(common))) + common + bytes.fromhex("3003 040100 A106 3004 3002 0400")
    entry = bytes((0x30, len(raw))) + raw
    assert isinstance(decode(DirectoryKind.CERTIFICATES, entry), Unknown)


@pytest.mark.parametrize(
    "raw",
    [
        bytes.fromhex("A300"),
        bytes.fromhex("3000"),
        bytes.fromhex("3006 3000 3000 3000"),
        opensc("key", "3000", "A100"),
        b"\x30\x05\x0c\x03\xff\xfe\xfd",
    ],
)
@pytest.mark.parametrize("kind", DirectoryKind)
def test_what_is_not_understood_is_unknown(kind: DirectoryKind, raw: bytes) -> None:
    assert decode(kind, raw) == Unknown(raw)


def test_fill_around_entries_is_skipped() -> None:
    first, second = encode(ENTRIES["EC public key"]), encode(ENTRIES["public key inside the entry"])
    content = b"\x00" * 3 + first + b"\xff" * 2 + second + b"\x00" * 9
    assert pkcs15.split(content) == ([first, second], b"")


@pytest.mark.parametrize("tail", [b"\x30", b"\x30\x05\x00", b"\x30\x80\x00\x00", b"\x30\x85"])
def test_a_malformed_end_is_kept_apart(tail: bytes) -> None:
    first = encode(ENTRIES["EC public key"])
    assert pkcs15.split(first + tail) == ([first], tail)


def test_the_object_directory_names_every_directory() -> None:
    named = [(kind, path) for kind, path, _ in pkcs15.DIRECTORIES]
    assert pkcs15.decode_odf(pkcs15.encode_odf(named) + b"\x00\x00") == named


def test_unknown_directories_are_left_out() -> None:
    assert pkcs15.decode_odf(bytes.fromhex("A606 3004 0402 1234 A503 300100 30020000")) == []


@pytest.mark.parametrize("label", ["", "my token", "Токен № 1"])
def test_the_label_is_in_the_token_information(label: str) -> None:
    content = pkcs15.encode_token_info(label, b"12345678")
    assert pkcs15.decode_label(content + b"\x00\x00") == label


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x30\x00", b"\x30\x03\x02\x01", b"garbage"])
def test_a_malformed_token_information_has_no_label(content: bytes) -> None:
    assert pkcs15.decode_label(content) == ""


def test_a_new_token_has_its_files_in_an_order_that_can_be_made() -> None:
    pins = [PinEntry("User PIN", b"\x01", 1, 4, 64, so=False)]
    files = pkcs15.token_files("label", b"12345678", pins)
    made = {pkcs15.MF}
    for file in files:
        assert file.path[:-2] in made
        made.add(file.path)
    contents = {file.path: file.content for file in files}
    listed = pkcs15.decode_odf(contents[pkcs15.ODF])
    for _, path in listed:
        assert path in contents
    rules = {file.path: file.conditions for file in files}
    secret = [path for kind, path in listed if kind is DirectoryKind.SECRET_KEYS]
    assert [rules[path][-1] for path in secret] == [pkcs15.ALWAYS, pkcs15.USER]
    assert [pkcs15.is_private_directory(path) for path in secret] == [False, True]
    written = {(kind, rules[path][-2], rules[path][1]) for kind, path in listed}
    by_so = {DirectoryKind.PUBLIC_KEYS, DirectoryKind.CERTIFICATES, DirectoryKind.SECRET_KEYS}
    assert written == {
        *((kind, pkcs15.USER_OR_SO, pkcs15.NEVER) for kind in by_so),
        *((kind, pkcs15.USER, pkcs15.NEVER) for kind in by_so),
        (DirectoryKind.PRIVATE_KEYS, pkcs15.USER, pkcs15.NEVER),
        (DirectoryKind.DATA_OBJECTS, pkcs15.USER, pkcs15.NEVER),
        (DirectoryKind.AUTH_OBJECTS, pkcs15.NEVER, pkcs15.NEVER),
    }
    private = [rules[path][-2] for _, path, hidden in pkcs15.DIRECTORIES if hidden]
    assert set(private) == {pkcs15.USER}
