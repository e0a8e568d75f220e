"""What an X.509 certificate says of itself (RFC 5280 4.1), as attributes."""

from __future__ import annotations

from datetime import UTC, date, datetime

from apdu import tlv
from apdu.tlv import TlvError
from pkcs11_module import _constants as ck
from pkcs11_module.cards import der
from pkcs11_module.cards.der import Fields
from pkcs11_module.facade.attributes import day
from token_fw.crypto import Hash, digest

_UTC_TIME = 0x17


def certificate_attributes(value: bytes) -> dict[int, bytes]:
    """Subject, issuer, serial number, validity, public key and check value of a DER certificate.

    Raises ValueError where it is none. Fill after the certificate is cut off CKA_VALUE.
    """
    outer, used = tlv.parse_one(value)
    if outer.tag != der.SEQUENCE or value[used:].strip(b"\x00\xff"):
        raise ValueError("not a certificate")
    fields = Fields(Fields(outer.value).need(der.SEQUENCE))
    fields.take(0xA0)
    serial = fields.need(der.INTEGER)
    fields.need(der.SEQUENCE)
    issuer = fields.need(der.SEQUENCE)
    validity = Fields(fields.need(der.SEQUENCE))
    subject = fields.need(der.SEQUENCE)
    public_key = fields.need(der.SEQUENCE)
    return {
        ck.CKA_VALUE: value[:used],
        ck.CKA_SUBJECT: tlv.encode(der.SEQUENCE, subject),
        ck.CKA_ISSUER: tlv.encode(der.SEQUENCE, issuer),
        ck.CKA_SERIAL_NUMBER: tlv.encode(der.INTEGER, serial),
        ck.CKA_PUBLIC_KEY_INFO: tlv.encode(der.SEQUENCE, public_key),
        ck.CKA_CHECK_VALUE: digest.compute(Hash.SHA1, value[:used])[:3],
        ck.CKA_START_DATE: day(_moment(validity)),
        ck.CKA_END_DATE: day(_moment(validity)),
    }


def normalised(given: dict[int, bytes]) -> dict[int, bytes]:
    """A certificate's template with the serial number in DER; some callers give the bare number."""
    serial = given.get(ck.CKA_SERIAL_NUMBER)
    if not serial:
        return given
    try:
        item, used = tlv.parse_one(serial)
        if item.tag == der.INTEGER and used == len(serial):
            return given
    except TlvError:
        pass
    return {**given, ck.CKA_SERIAL_NUMBER: tlv.encode(der.INTEGER, serial)}


def _moment(validity: Fields) -> date | None:
    """The date of the next Time, None where it has another form than RFC 5280 allows."""
    item = validity.next()
    form = "%y%m%d%H%M%SZ" if item.tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    try:
        moment = datetime.strptime(item.value.decode("ascii"), form).replace(tzinfo=UTC).date()
    except ValueError:
        return None
    if item.tag == _UTC_TIME and moment.year >= 2050:
        # strptime takes 50 to 68 for this century too (RFC 5280 4.1.2.5.1).
        return moment.replace(year=moment.year - 100)
    return moment
