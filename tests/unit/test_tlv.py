"""BER-TLV: what is read, what is refused."""

from __future__ import annotations

import pytest

from apdu import tlv
from apdu.tlv import Tlv, TlvError


def test_objects_follow_one_another_and_nest() -> None:
    key_reference = tlv.encode(0x84, b"\x00\x05")
    template = tlv.encode(0x7F49, key_reference)
    items = tlv.parse(key_reference + template)
    assert items == (Tlv(0x84, b"\x00\x05"), Tlv(0x7F49, key_reference))
    assert tlv.parse(items[1].value) == (items[0],)
    assert [item.constructed for item in items] == [False, True]


def test_no_bytes_are_no_objects() -> None:
    assert tlv.parse(b"") == ()
    with pytest.raises(TlvError):
        tlv.parse_one(b"")


@pytest.mark.parametrize(
    ("size", "length_field"),
    [
        (0, b"\x00"),
        (0x7F, b"\x7f"),
        (0x80, b"\x81\x80"),
        (0xFF, b"\x81\xff"),
        (0x100, b"\x82\x01\x00"),
        (0x10000, b"\x83\x01\x00\x00"),
    ],
)
def test_the_length_has_the_fewest_bytes(size: int, length_field: bytes) -> None:
    raw = tlv.encode(0x53, bytes(size))
    assert raw == b"\x53" + length_field + bytes(size)
    assert tlv.parse(raw) == (Tlv(0x53, bytes(size)),)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80",
        b"\x80\x02a",
        b"\x80\x81",
        b"\x80\x82\x01",
        b"\x80\x80a\x00\x00",
        b"\x80\x81\x01a",
        b"\x80\x82\x00\x80" + bytes(0x80),
        b"\x80\x85\x00\x00\x00\x00\x01a",
        b"\x80\x84\xff\xff\xff\xffa",
        b"\x00\x00",
        b"\x80\x01a\x00",
        b"\x5f",
        b"\x5f\x81",
        b"\x5f\x1e\x00",
        b"\x5f\x80\x01\x00",
        b"\x5f\x81\x82\x01\x00",
    ],
    ids=[
        "no-length",
        "value-cut",
        "length-cut",
        "long-length-cut",
        "indefinite-length",
        "length-81-not-needed",
        "length-82-not-needed",
        "length-of-five-bytes",
        "length-beyond-the-data",
        "tag-00",
        "padding",
        "tag-cut",
        "tag-cut-in-the-third-byte",
        "long-tag-not-needed",
        "long-tag-begins-with-zero",
        "tag-of-four-bytes",
    ],
)
def test_malformed_objects_are_refused(raw: bytes) -> None:
    with pytest.raises(TlvError):
        tlv.parse(raw)


@pytest.mark.parametrize("tag", [0, -1, 0x1F, 0x5F, 0x0180, 0x5F1E, 0x7F80, 0x5F8001, 0x5F8181])
def test_what_is_no_tag_is_not_encoded(tag: int) -> None:
    with pytest.raises(TlvError):
        tlv.encode(tag, b"")


def test_an_object_is_found_by_its_tag() -> None:
    items = tlv.parse(tlv.encode(0x80, b"\x11") + tlv.encode(0x84, b"\x01"))
    assert tlv.find(items, 0x84) == b"\x01"
    assert tlv.find(items, 0x81) is None
    assert tlv.to_dict(items) == {0x80: b"\x11", 0x84: b"\x01"}


def test_a_tag_that_occurs_twice_makes_no_dict() -> None:
    twice = tlv.parse(tlv.encode(0x80, b"a") * 2)
    assert tlv.find(twice, 0x80) == b"a"
    with pytest.raises(TlvError, match="80"):
        tlv.to_dict(twice)


def test_an_object_does_not_show_its_value() -> None:
    assert repr(Tlv(0x92, b"a prime")) == "Tlv(92, 7 bytes)"
