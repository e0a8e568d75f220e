"""Directories of any content: entries survive writing and reading, bytes never break a reader."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

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

COMMON = {
    "label": st.text(max_size=40),
    "private": st.booleans(),
    "modifiable": st.booleans(),
    "auth_id": st.binary(max_size=4),
    "path": st.binary(min_size=2, max_size=10),
    "extra": st.dictionaries(st.integers(0, 0xFFFFFFFF), st.binary(max_size=20), max_size=3),
}
DAYS = st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31))
KEY = COMMON | {
    "id": st.binary(max_size=200),
    "usage": st.integers(0, 0x3FF).map(KeyUsage),
    "access": st.integers(0, 0x1F).map(KeyAccess),
    "reference": st.none() | st.integers(0, 1023),
    "subject": st.sampled_from([b"", b"\x30\x00", bytes.fromhex("300C310A300806035504030C0178")]),
    "start": DAYS,
    "end": DAYS,
}
FORMS = st.sampled_from(
    [
        {"bits": 2048},
        {"bits": 1},
        {"curve": bytes.fromhex("06032B6570")},
        {"curve": b""},
        {"algorithm": bytes.fromhex("0609608648016503040402")},
    ]
)
SECRET_KEY = {name: values for name, values in KEY.items() if name != "subject"}
ENTRIES: st.SearchStrategy[AnyEntry] = st.one_of(
    st.builds(
        lambda values, form, consent: PrivateKeyEntry(**values, **form, consent=consent),
        st.fixed_dictionaries(KEY),
        FORMS,
        st.booleans(),
    ),
    st.builds(
        lambda values, form: PublicKeyEntry(**values, **form), st.fixed_dictionaries(KEY), FORMS
    ),
    st.builds(
        SecretKeyEntry,
        **SECRET_KEY,
        key_type=st.sampled_from((0x10, 0x13, 0x14, 0x15, 0x1F, 0x2B)) | st.integers(0, 0xFFFFFFFF),
        bits=st.integers(0, 32768),
    ),
    st.builds(
        CertificateEntry,
        **COMMON,
        id=st.binary(max_size=40),
        authority=st.booleans(),
        trusted=st.booleans(),
    ),
    st.builds(
        DataEntry, **COMMON, application=st.text(max_size=40), object_id=st.binary(max_size=140)
    ),
)
KINDS = st.sampled_from(DirectoryKind)
FILL = st.text(alphabet="\x00\xff", max_size=5).map(lambda text: text.encode("latin-1"))


@given(ENTRIES)
def test_every_entry_reads_as_it_was_written(entry: AnyEntry) -> None:
    assert decode(KIND_OF_ENTRY[type(entry)], encode(entry)) == entry


@given(st.lists(st.tuples(FILL, ENTRIES)), FILL)
def test_a_directory_gives_its_entries_whatever_fill_there_is(
    parts: list[tuple[bytes, AnyEntry]], end: bytes
) -> None:
    content = b"".join(fill + encode(entry) for fill, entry in parts) + end
    assert pkcs15.split(content) == ([encode(entry) for _, entry in parts], b"")


@given(st.binary(max_size=300))
def test_no_bytes_are_lost_but_fill(content: bytes) -> None:
    objects, rest = pkcs15.split(content)
    position = 0
    for item in [*objects, rest]:
        found = content.index(item, position)
        assert not content[position:found].strip(b"\x00\xff")
        position = found + len(item)
    assert not content[position:].strip(b"\x00\xff")


@given(KINDS, st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_unknown(kind: DirectoryKind, raw: bytes) -> None:
    assert decode(kind, raw) is not None
    assert pkcs15.decode_label(raw) is not None
    assert pkcs15.decode_odf(raw) is not None


@given(KINDS, ENTRIES, st.data())
def test_a_garbled_entry_is_read_or_unknown(
    kind: DirectoryKind, entry: AnyEntry, data: st.DataObject
) -> None:
    raw = bytearray(encode(entry))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    read = decode(kind, bytes(raw))
    if not isinstance(read, Unknown):
        again = decode(kind, encode(read))
        assert again == read
