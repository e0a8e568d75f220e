"""Distinguished names as RFC 4514 writes them, with the fields of Russian certificates.

The names of the fields are not case-sensitive. Beside those of RFC 4514 3 there are those that
OpenSSL writes, and for Russian ones their own: ИНН, ИННЮЛ, СНИЛС, ОГРН, ОГРНИП (Order 795 of the
FSB of Russia).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from host_tools.pki.asn1 import core, x509
from host_tools.pki.errors import BadName

_DOTTED: Final = re.compile(r"[0-2](\.\d+)+")
_ESCAPED: Final = re.compile(r"\\([0-9A-Fa-f]{2})|\\(.)", re.DOTALL)
# PrintableString (X.680 41.4).
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]+")
_SPECIAL: Final = frozenset('",+;<>=\\')


@dataclass(frozen=True, slots=True)
class Field:
    """A kind of attribute: asn1crypto's name of it, and how it is written.

    The first of ``names`` is how it is shown. ``printable`` and ``digits`` narrow its letters.
    """

    type: str
    names: tuple[str, ...]
    printable: bool = False
    digits: int = 0
    """How many digits it has where it is a number."""
    check: Callable[[str], bool] | None = None
    """Whether the check digits of a number are right."""


def _remainder(digits: str, weights: tuple[int, ...], modulus: int) -> int:
    return sum(int(one) * weight for one, weight in zip(digits, weights, strict=False)) % modulus


_INN_WEIGHTS: Final = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)
# SNILS up to this number were given out without check digits.
_SNILS_UNCHECKED: Final = 1001998


def _inn_of_a_firm(digits: str) -> bool:
    return _remainder(digits, _INN_WEIGHTS[2:], 11) % 10 == int(digits[9])


def _inn(digits: str) -> bool:
    """Of a person, or of a firm with two zeros before it, as certificates before 2021 have it."""
    if digits.startswith("00"):
        return _inn_of_a_firm(digits[2:])
    checks = (_remainder(digits, _INN_WEIGHTS[at:], 11) % 10 for at in (1, 0))
    return digits[10:] == "".join(map(str, checks))


def _snils(digits: str) -> bool:
    if int(digits[:9]) <= _SNILS_UNCHECKED:
        return True
    return _remainder(digits, tuple(range(9, 0, -1)), 101) % 100 == int(digits[9:])


def _ogrn(digits: str) -> bool:
    return int(digits[:12]) % 11 % 10 == int(digits[12])


def _ogrnip(digits: str) -> bool:
    return int(digits[:14]) % 13 % 10 == int(digits[14])


FIELDS: Final = (
    Field("common_name", ("CN", "commonName")),
    Field("surname", ("SN", "surname")),
    Field("given_name", ("GN", "givenName", "G")),
    Field("title", ("T", "title")),
    Field("organization_name", ("O", "organizationName")),
    Field("organizational_unit_name", ("OU", "organizationalUnitName")),
    Field("street_address", ("STREET", "streetAddress")),
    Field("locality_name", ("L", "localityName")),
    Field("state_or_province_name", ("ST", "stateOrProvinceName", "S")),
    Field("postal_code", ("postalCode",)),
    Field("country_name", ("C", "countryName"), printable=True),
    Field("domain_component", ("DC", "domainComponent")),
    Field("user_id", ("UID", "userId")),
    Field("email_address", ("email", "emailAddress", "E")),
    Field("serial_number", ("serialNumber",), printable=True),
    Field("initials", ("initials",)),
    Field("pseudonym", ("pseudonym",)),
    Field("organization_identifier", ("organizationIdentifier",)),
    Field("inn", ("INN", "ИНН"), digits=12, check=_inn),
    Field("innle", ("INNLE", "ИННЮЛ"), digits=10, check=_inn_of_a_firm),
    Field("snils", ("SNILS", "СНИЛС"), digits=11, check=_snils),
    Field("ogrn", ("OGRN", "ОГРН"), digits=13, check=_ogrn),
    Field("ogrnip", ("OGRNIP", "ОГРНИП"), digits=15, check=_ogrnip),
)
_BY_NAME: Final = {name.casefold(): field for field in FIELDS for name in field.names}
_BY_TYPE: Final = {field.type: field for field in FIELDS}


def parse_name(text: str, *, checked: bool = True) -> Any:
    """A name such as ``CN=Ann Lee,O=Acme,C=GB`` as asn1crypto's, in the reverse order.

    RFC 4514 2.1: what is written last is the first in it. ``checked`` leaves no number with wrong
    check digits through. Raises BadName.
    """
    parts = [[_attribute(one, checked) for one in _split(part, "+")] for part in _split(text, ",")]
    sets = [x509.RelativeDistinguishedName(part) for part in reversed(parts)]
    return x509.Name(name="", value=x509.RDNSequence(sets))


def format_name(name: Any) -> str:
    """A name of asn1crypto's as :func:`parse_name` takes it (RFC 4514 2)."""
    return ",".join(
        "+".join(_shown(attribute) for attribute in part) for part in reversed(list(name.chosen))
    )


def _split(text: str, separator: str) -> Iterator[str]:
    """The pieces between separators that no backslash stands before."""
    start = at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def _attribute(text: str, checked: bool) -> Any:
    kind, equals, written = text.partition("=")
    kind = kind.strip()
    if not equals or not kind:
        raise BadName(
            f"{text!r} is no part of a name.", "Write a name as in CN=Ann Lee,O=Acme,C=GB."
        )
    field = _BY_NAME.get(kind.casefold())
    if field is None and not _DOTTED.fullmatch(kind):
        known = ", ".join(one.names[0] for one in FIELDS)
        raise BadName(f"There is no field {kind} in names.", f"Take one of: {known}")
    value = _value(written)
    if not value:
        raise BadName(f"The field {kind} is empty.", "Give it a value, or leave it out.")
    if field is not None:
        value = _checked(field, kind, value, checked)
    try:
        return x509.NameTypeAndValue(
            {"type": field.type if field else kind, "value": _encoded(field, value)}
        )
    except (ValueError, TypeError) as error:
        raise BadName(f"{value!r} cannot be the field {kind} of a name.") from error


def _encoded(field: Field | None, value: str) -> Any:
    """The string type that the field has; UTF-8 where it may have several (RFC 5280 4.1.2.4)."""
    spec = x509.NameTypeAndValue._oid_specs[field.type] if field else core.UTF8String
    if spec is not x509.DirectoryString:
        return spec(value)
    if field is not None and field.printable:
        return spec(name="printable_string", value=core.PrintableString(value))
    return spec(name="utf8_string", value=core.UTF8String(value))


def _value(written: str) -> str:
    """The string that a value stands for (RFC 4514 2.4): blanks around it do not count."""
    text = written.lstrip()
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    try:
        pieces = bytearray()
        at = 0
        for escape in _ESCAPED.finditer(text):
            pieces += text[at : escape.start()].encode()
            hexadecimal, literal = escape.groups()
            pieces += bytes.fromhex(hexadecimal) if hexadecimal else literal.encode()
            at = escape.end()
        return (pieces + text[at:].encode()).decode()
    except UnicodeError as error:
        raise BadName(f"{written!r} is no text in UTF-8.") from error


def _checked(field: Field, kind: str, value: str, checked: bool) -> str:
    if field.type == "country_name" and not re.fullmatch("[A-Za-z]{2}", value):
        raise BadName(f"{kind} is a country in two letters, not {value!r}.", "Such as C=RU.")
    if field.printable and not _PRINTABLE.fullmatch(value):
        raise BadName(f"{kind} takes Latin letters, digits and ' ( ) + , - . / : = ? only.")
    if not field.digits:
        return value
    digits = re.sub(r"[ -]", "", value)
    if not re.fullmatch(f"[0-9]{{{field.digits}}}", digits):
        raise BadName(f"{kind} has {field.digits} digits, which {value!r} has not.")
    if checked and field.check is not None and not field.check(digits):
        raise BadName(
            f"The check digits of {kind} {digits} are wrong.",
            "Mend the number, or take it as it is with --any-numbers.",
        )
    return digits


def _shown(attribute: Any) -> str:
    field = _BY_TYPE.get(attribute["type"].native)
    name = field.names[0] if field else attribute["type"].dotted
    value = attribute["value"].native
    if not isinstance(value, str):
        return f"{name}=#{attribute['value'].dump().hex()}"
    text = "".join("\\" + one if one in _SPECIAL else one for one in value)
    text = "".join(one if one.isprintable() else _in_hex(one) for one in text)
    if text[:1] in (" ", "#"):
        text = "\\" + text
    if text.endswith(" ") and len(text) > 1:
        text = text[:-1] + "\\ "
    return f"{name}={text}"


def _in_hex(character: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in character.encode())
