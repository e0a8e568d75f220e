"""DER of PKCS #15 directory entries (PKCS #15 v1.1 6.3 to 6.7), read and written.

Class and type attributes are tagged explicitly, as OpenSC has them. Written by hand rather than
declared: a token may list a thousand entries, and asn1crypto takes half a millisecond for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from apdu import tlv
from pkcs11_module.cards import der
from pkcs11_module.cards.der import Fields
from pkcs11_module.cards.entries import (
    AnyEntry,
    CertificateEntry,
    DataEntry,
    DirectoryKind,
    Entry,
    KeyAccess,
    KeyEntry,
    KeyUsage,
    PrivateKeyEntry,
    PublicKeyEntry,
    SecretKeyEntry,
    Unknown,
)
from token_fw.crypto import CURVES, KeySpec


def decode(kind: DirectoryKind, raw: bytes) -> AnyEntry | Unknown:
    """Read one entry of a directory of that kind; Unknown where it is not understood."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        return Unknown(raw)
    try:
        return decoder(raw)
    except ValueError:
        return Unknown(raw)


def encode(entry: AnyEntry) -> bytes:
    """The DER of an entry, with what was kept of the one it was read from."""
    return _ENCODERS[type(entry)](entry)


_EC_KEY: Final = 0xA0
_OWN_KEY: Final = 0xBE
"""Our own alternative of PrivateKeyType and PublicKeyType, which know no such algorithm.

What ISO/IEC 7816-15 has for GOST R 34.10 (A4) names sets of 2001 by number, and cannot name others.
"""
_EXTRA: Final = 0xE0
"""Our own component at the end of CommonObjectAttributes: SEQUENCEs of number and value."""
_DES_TYPES: Final = {0xA2: 0x13, 0xA3: 0x14, 0xA4: 0x15}
"""Alternatives of SecretKeyType (6.5.1) for desKey, des2Key, des3Key, and their CKK_ numbers."""
_DES_CHOICES: Final = {key_type: choice for choice, key_type in _DES_TYPES.items()}
_GENERIC_SECRET: Final = 0x10
_KEY_TYPE: Final = 0x80
"""Our own extension of GenericSecretKeyAttributes: the CKK_ number of the key."""
_SUBCLASS: Final = 0xA0
_TYPE: Final = 0xA1
_DIRECT: Final = 0xA0
_PRIVATE, _MODIFIABLE = 1, 2


def _decode_common(fields: Fields) -> dict[str, Any]:
    common = Fields(fields.need(der.SEQUENCE))
    label = common.take(der.UTF8_STRING)
    flags = der.bits(common.take(der.BIT_STRING) or b"")
    auth_id = common.take(der.OCTET_STRING)
    consent = common.take(der.INTEGER)
    kept, extra = _decode_extra(common)
    return {
        "label": (label or b"").decode("utf-8"),
        "private": bool(flags & _PRIVATE),
        "modifiable": bool(flags & _MODIFIABLE),
        "auth_id": auth_id or b"",
        "consent": consent is not None and der.integer(consent) > 0,
        "extra": extra,
        "kept": {"common": kept},
    }


def _decode_extra(common: Fields) -> tuple[bytes, dict[int, bytes]]:
    """What is left of the common attributes: components to keep, and our own."""
    kept, extra = b"", {}
    while common.peek() is not None:
        item = common.next()
        if item.tag != _EXTRA:
            kept += tlv.encode(item.tag, item.value)
            continue
        attributes = Fields(item.value)
        while attributes.peek() is not None:
            attribute = Fields(attributes.need(der.SEQUENCE))
            number = der.integer(attribute.need(der.INTEGER))
            if number < 0:
                raise ValueError("an attribute has a negative number")
            extra[number] = attribute.need(der.OCTET_STRING)
    return kept, extra


def _encode_extra(extra: Mapping[int, bytes]) -> bytes:
    attributes = b"".join(
        der.sequence(der.encode_integer(number), tlv.encode(der.OCTET_STRING, extra[number]))
        for number in sorted(extra)
    )
    return tlv.encode(_EXTRA, attributes) if attributes else b""


def _encode_common(entry: Entry, consent: bool = False) -> bytes:
    flags = (_PRIVATE if entry.private else 0) | (_MODIFIABLE if entry.modifiable else 0)
    return der.sequence(
        der.utf8(entry.label) if entry.label else b"",
        der.encode_bits(flags),
        tlv.encode(der.OCTET_STRING, entry.auth_id) if entry.auth_id else b"",
        der.encode_integer(1) if consent else b"",
        entry.kept.get("common", b""),
        _encode_extra(entry.extra),
    )


def _decode_value(fields: Fields, into: dict[str, Any]) -> None:
    """ObjectValue: a Path, or the value itself. A path's index and length are kept."""
    item = fields.next()
    if item.tag == der.SEQUENCE:
        path = Fields(item.value)
        into["path"] = path.need(der.OCTET_STRING)
        into["kept"]["path"] = path.rest()
    elif item.tag == _DIRECT:
        into["direct"] = item.value
    else:
        raise ValueError("the value is in a form that is not understood")


def _encode_value(entry: Entry) -> bytes:
    if entry.direct:
        return tlv.encode(_DIRECT, entry.direct)
    path = tlv.encode(der.OCTET_STRING, entry.path)
    return der.sequence(path, entry.kept.get("path", b""))


def _decode_class(fields: Fields) -> dict[str, Any]:
    """The common attributes and CommonKeyAttributes (6.1.14)."""
    into = _decode_common(fields)
    key = Fields(fields.need(der.SEQUENCE))
    into["id"] = key.need(der.OCTET_STRING)
    into["usage"] = KeyUsage(der.bits(key.need(der.BIT_STRING)) & 0x3FF)
    into["kept"]["native"] = tlv.encode(der.BOOLEAN, native) if (native := key.take(1)) else b""
    into["access"] = KeyAccess(der.bits(key.take(der.BIT_STRING) or b"") & 0x1F)
    if (reference := key.take(der.INTEGER)) is not None:
        # OpenSC up to 0.11.4 wrote references from 128 on as negative numbers of one byte.
        into["reference"] = int.from_bytes(reference, "big")
    if (start := key.take(der.GENERALIZED_TIME)) is not None:
        into["start"] = der.day(start)
    if (end := key.take(0x80)) is not None:
        into["end"] = der.day(end)
    into["kept"]["key"] = key.rest()
    return into


def _encode_class(entry: KeyEntry, consent: bool = False) -> bytes:
    kept = entry.kept
    key = der.sequence(
        tlv.encode(der.OCTET_STRING, entry.id),
        der.encode_bits(entry.usage),
        kept.get("native", b""),
        der.encode_bits(entry.access) if entry.access else b"",
        der.encode_integer(entry.reference) if entry.reference is not None else b"",
        der.encode_day(entry.start) if entry.start else b"",
        der.encode_day(entry.end, 0x80) if entry.end else b"",
        kept.get("key", b""),
    )
    return _encode_common(entry, consent) + key


def _decode_key(raw: bytes) -> dict[str, Any]:
    item, _ = tlv.parse_one(raw)
    decode_form = _FORMS.get(item.tag)
    if decode_form is None:
        raise ValueError("a kind of key that is not understood")
    fields = Fields(item.value)
    into = _decode_class(fields)
    _decode_subject(fields.take(_SUBCLASS), into)
    attributes = Fields(Fields(fields.need(_TYPE)).need(der.SEQUENCE))
    _decode_value(attributes, into)
    decode_form(attributes, into)
    return into


def _decode_subject(content: bytes | None, into: dict[str, Any]) -> None:
    """CommonPrivateKeyAttributes and CommonPublicKeyAttributes begin with the subject's name."""
    if content is None:
        return
    subject = Fields(Fields(content).take(der.SEQUENCE) or b"")
    if (name := subject.take(der.SEQUENCE)) is not None:
        into["subject"] = tlv.encode(der.SEQUENCE, name)
    into["kept"]["subject"] = subject.rest()


def _decode_modulus(attributes: Fields, into: dict[str, Any]) -> None:
    into["bits"] = der.integer(attributes.need(der.INTEGER))
    if into["bits"] <= 0:
        raise ValueError("the modulus length makes no sense")
    into["kept"]["type"] = attributes.rest()


def _decode_curve(attributes: Fields, into: dict[str, Any]) -> None:
    """KeyInfo.paramsAndOps with the curve's name; a mere reference, or field size, is kept."""
    rest = attributes.rest()
    attributes.take(der.INTEGER)
    if attributes.peek() == der.SEQUENCE:
        info = Fields(attributes.need(der.SEQUENCE))
        if (curve := info.take(der.OBJECT_IDENTIFIER)) is not None:
            into["curve"] = tlv.encode(der.OBJECT_IDENTIFIER, curve)
            into["kept"]["operations"] = info.rest()
            rest = attributes.rest()
    into["kept"]["type"] = rest


def _decode_algorithm(attributes: Fields, into: dict[str, Any]) -> None:
    into["algorithm"] = tlv.encode(der.OBJECT_IDENTIFIER, attributes.need(der.OBJECT_IDENTIFIER))
    into["kept"]["type"] = attributes.rest()


_FIELD_SIZES: Final = {
    KeySpec.ec(name).oid_der: curve.p.bit_length() for name, curve in CURVES.items()
}
_FORMS: Final[dict[int, Callable[[Fields, dict[str, Any]], None]]] = {
    der.SEQUENCE: _decode_modulus,
    _EC_KEY: _decode_curve,
    _OWN_KEY: _decode_algorithm,
}
"""How the type attributes go on after the value, by the alternative of the key."""


def _encode_form(entry: KeyEntry) -> tuple[int, bytes]:
    """The alternative of the key, and what tells its size, curve or algorithm."""
    if entry.bits:
        return der.SEQUENCE, der.encode_integer(entry.bits)
    if entry.algorithm:
        return _OWN_KEY, entry.algorithm
    if entry.curve:
        info = der.sequence(entry.curve, entry.kept.get("operations", b""))
        return _EC_KEY, _encode_field_size(entry) + info
    return _EC_KEY, b""


def _encode_field_size(entry: KeyEntry) -> bytes:
    """The field in bits, by which OpenSC knows how long a signature is; KeyInfo goes behind it."""
    size = _FIELD_SIZES.get(entry.curve) if isinstance(entry, PrivateKeyEntry) else None
    return der.encode_integer(size) if size is not None else b""


def _encode_key(entry: KeyEntry, consent: bool = False) -> bytes:
    kept = entry.kept
    names = entry.subject + kept.get("subject", b"")
    choice, form = _encode_form(entry)
    attributes = der.sequence(_encode_value(entry), form, kept.get("type", b""))
    content = (
        _encode_class(entry, consent)
        + (tlv.encode(_SUBCLASS, der.sequence(names)) if names else b"")
        + tlv.encode(_TYPE, attributes)
    )
    return tlv.encode(choice, content)


def _decode_private_key(raw: bytes) -> PrivateKeyEntry:
    return PrivateKeyEntry(**_decode_key(raw))


def _encode_private_key(entry: PrivateKeyEntry) -> bytes:
    return _encode_key(entry, entry.consent)


def _decode_public_key(raw: bytes) -> PublicKeyEntry:
    fields = _decode_key(raw)
    del fields["consent"]
    return PublicKeyEntry(**fields)


def _decode_secret_key(raw: bytes) -> SecretKeyEntry:
    item, _ = tlv.parse_one(raw)
    if item.tag != der.SEQUENCE and item.tag not in _DES_TYPES:
        raise ValueError("a kind of key that is not understood")
    fields = Fields(item.value)
    into = _decode_class(fields)
    del into["consent"]
    if (subclass := fields.take(_SUBCLASS)) is not None:
        length = Fields(Fields(subclass).need(der.SEQUENCE))
        into["bits"] = der.integer(length.take(der.INTEGER) or b"\0")
        if into["bits"] < 0:
            raise ValueError("the length of the key makes no sense")
        into["kept"]["subclass"] = length.rest()
    attributes = Fields(Fields(fields.need(_TYPE)).need(der.SEQUENCE))
    _decode_value(attributes, into)
    into["key_type"] = _DES_TYPES.get(item.tag, _GENERIC_SECRET)
    if item.tag == der.SEQUENCE and (key_type := attributes.take(_KEY_TYPE)) is not None:
        into["key_type"] = int.from_bytes(key_type, "big")
    into["kept"]["type"] = attributes.rest()
    return SecretKeyEntry(**into)


def _encode_secret_key(entry: SecretKeyEntry) -> bytes:
    kept = entry.kept
    choice = _DES_CHOICES.get(entry.key_type, der.SEQUENCE)
    told = choice != der.SEQUENCE or entry.key_type == _GENERIC_SECRET
    length = der.sequence(
        der.encode_integer(entry.bits) if entry.bits else b"", kept.get("subclass", b"")
    )
    attributes = der.sequence(
        _encode_value(entry),
        b"" if told else der.encode_integer(entry.key_type, _KEY_TYPE),
        kept.get("type", b""),
    )
    content = _encode_class(entry) + tlv.encode(_SUBCLASS, length) + tlv.encode(_TYPE, attributes)
    return tlv.encode(choice, content)


def _decode_certificate(raw: bytes) -> CertificateEntry:
    fields = Fields(Fields(raw).need(der.SEQUENCE))
    into = _decode_common(fields)
    del into["consent"]
    certificate = Fields(fields.need(der.SEQUENCE))
    into["id"] = certificate.need(der.OCTET_STRING)
    into["authority"] = der.boolean(certificate.take(der.BOOLEAN) or b"")
    others = b""
    while (tag := certificate.peek()) is not None and tag != 0x83:
        item = certificate.next()
        others += tlv.encode(item.tag, item.value)
    into["trusted"] = der.boolean(certificate.take(0x83) or b"")
    into["kept"]["certificate"] = others
    if (subclass := fields.take(_SUBCLASS)) is not None:
        into["kept"]["subclass"] = tlv.encode(_SUBCLASS, subclass)
    attributes = Fields(Fields(fields.need(_TYPE)).need(der.SEQUENCE))
    _decode_value(attributes, into)
    into["kept"]["type"] = attributes.rest()
    return CertificateEntry(**into)


def _encode_certificate(entry: CertificateEntry) -> bytes:
    kept = entry.kept
    certificate = der.sequence(
        tlv.encode(der.OCTET_STRING, entry.id),
        der.encode_boolean(True) if entry.authority else b"",
        kept.get("certificate", b""),
        der.encode_boolean(True, 0x83) if entry.trusted else b"",
    )
    return der.sequence(
        _encode_common(entry),
        certificate,
        kept.get("subclass", b""),
        tlv.encode(_TYPE, der.sequence(_encode_value(entry), kept.get("type", b""))),
    )


def _decode_data(raw: bytes) -> DataEntry:
    fields = Fields(Fields(raw).need(der.SEQUENCE))
    into = _decode_common(fields)
    del into["consent"]
    data = Fields(fields.need(der.SEQUENCE))
    into["application"] = (data.take(der.UTF8_STRING) or b"").decode("utf-8")
    if (identifier := data.take(der.OBJECT_IDENTIFIER)) is not None:
        into["object_id"] = tlv.encode(der.OBJECT_IDENTIFIER, identifier)
    into["kept"]["data"] = data.rest()
    if (subclass := fields.take(_SUBCLASS)) is not None:
        into["object_id"] = Fields(subclass).need(der.OCTET_STRING)
    _decode_value(Fields(fields.need(_TYPE)), into)
    return DataEntry(**into)


def _encode_data(entry: DataEntry) -> bytes:
    identifier = _object_identifier(entry.object_id)
    # pkcs11-tool gives and expects the bare contents: the exact form is kept beside the standard's.
    exact = b"" if entry.object_id == identifier else entry.object_id
    data = der.sequence(
        der.utf8(entry.application) if entry.application else b"",
        identifier,
        entry.kept.get("data", b""),
    )
    return der.sequence(
        _encode_common(entry),
        data,
        tlv.encode(_SUBCLASS, tlv.encode(der.OCTET_STRING, exact)) if exact else b"",
        tlv.encode(_TYPE, _encode_value(entry)),
    )


def _object_identifier(value: bytes) -> bytes:
    """The DER of the identifier in a CKA_OBJECT_ID, empty where there is none."""
    header = bytes((der.OBJECT_IDENTIFIER, max(len(value) - 2, 0) & 0x7F))
    bare = value[2:] if value[:2] == header else value
    if not bare or bare[-1] & 0x80:
        return b""
    return tlv.encode(der.OBJECT_IDENTIFIER, bare)


_DECODERS: Final[dict[DirectoryKind, Callable[[bytes], AnyEntry]]] = {
    DirectoryKind.PRIVATE_KEYS: _decode_private_key,
    DirectoryKind.PUBLIC_KEYS: _decode_public_key,
    DirectoryKind.SECRET_KEYS: _decode_secret_key,
    DirectoryKind.CERTIFICATES: _decode_certificate,
    DirectoryKind.DATA_OBJECTS: _decode_data,
}
_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    PrivateKeyEntry: _encode_private_key,
    PublicKeyEntry: _encode_key,
    SecretKeyEntry: _encode_secret_key,
    CertificateEntry: _encode_certificate,
    DataEntry: _encode_data,
}
