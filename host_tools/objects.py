"""Keys and certificates on a token, through a PKCS#11 session: what the command line works with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from host_tools.control import ControlError, ErrorCode
from host_tools.cryptoki import CryptokiError, Session, Template, ulong
from host_tools.key_files import KeyParts
from pkcs11_module import _constants as ck
from token_fw.crypto import (
    EDWARDS_SIZES,
    GOST_SPECS,
    CryptoError,
    KeyKind,
    KeySpec,
    PublicKey,
    ec_public,
    edwards_public,
    gost_public,
    rsa_public,
)

_T = TypeVar("_T")
_PUBLIC_EXPONENT = b"\x01\x00\x01"

SPECS: Final = {
    str(spec): spec
    for spec in (
        *map(KeySpec.rsa, (2048, 3072, 4096)),
        *map(KeySpec.ec, ("P-256", "P-384", "P-521")),
        KeySpec.ED25519,
        KeySpec.X25519,
        KeySpec.ED448,
        KeySpec.X448,
        *sorted(GOST_SPECS, key=str),
    )
}
_GENERATORS: Final = {
    KeyKind.RSA: ck.CKM_RSA_PKCS_KEY_PAIR_GEN,
    KeyKind.EC: ck.CKM_EC_KEY_PAIR_GEN,
    KeyKind.ED25519: ck.CKM_EC_EDWARDS_KEY_PAIR_GEN,
    KeyKind.X25519: ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
    KeyKind.ED448: ck.CKM_EC_EDWARDS_KEY_PAIR_GEN,
    KeyKind.X448: ck.CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
    KeyKind.GOST_256: ck.CKM_GOSTR3410_KEY_PAIR_GEN,
    KeyKind.GOST_512: ck.CKM_GOSTR3410_512_KEY_PAIR_GEN,
}
_KEY_TYPES: Final = {
    KeyKind.RSA: ck.CKK_RSA,
    KeyKind.EC: ck.CKK_EC,
    KeyKind.ED25519: ck.CKK_EC_EDWARDS,
    KeyKind.X25519: ck.CKK_EC_MONTGOMERY,
    KeyKind.ED448: ck.CKK_EC_EDWARDS,
    KeyKind.X448: ck.CKK_EC_MONTGOMERY,
    KeyKind.GOST_256: ck.CKK_GOSTR3410,
    KeyKind.GOST_512: ck.CKK_GOSTR3410_512,
}
USAGES: Final = {
    KeyKind.RSA: ("sign", "decrypt"),
    KeyKind.EC: ("sign",),
    KeyKind.ED25519: ("sign",),
    KeyKind.X25519: ("derive",),
    KeyKind.ED448: ("sign",),
    KeyKind.X448: ("derive",),
    KeyKind.GOST_256: ("sign",),
    KeyKind.GOST_512: ("sign",),
}
_POSSIBLE_USAGES: Final = {
    **USAGES,
    **dict.fromkeys((KeyKind.EC, KeyKind.GOST_256, KeyKind.GOST_512), ("sign", "derive")),
}
_PRIVATE_USAGE: Final = {
    "sign": ck.CKA_SIGN,
    "decrypt": ck.CKA_DECRYPT,
    "derive": ck.CKA_DERIVE,
}
_PUBLIC_USAGE: Final = {"sign": ck.CKA_VERIFY, "decrypt": ck.CKA_ENCRYPT}


@dataclass(frozen=True, slots=True)
class KeyOnToken:
    """A key pair, or what there is of it; handles are 0 where an object is missing."""

    label: str
    id: bytes
    spec: KeySpec
    private: int
    public: int
    usage: tuple[str, ...]
    always_authenticate: bool

    @property
    def handles(self) -> tuple[int, ...]:
        """All that makes it up on the token, the private half first."""
        return tuple(handle for handle in (self.private, self.public) if handle)


@dataclass(frozen=True, slots=True)
class CertificateOnToken:
    """A certificate object; ``value`` is its DER."""

    label: str
    id: bytes
    handle: int
    value: bytes

    @property
    def handles(self) -> tuple[int, ...]:
        """All that makes it up on the token."""
        return (self.handle,)


def new_id(session: Session) -> bytes:
    """A CKA_ID that no object of the token has: the lowest free number, in one byte or more."""
    taken = {session.attributes(handle, ck.CKA_ID)[ck.CKA_ID] for handle in session.find()}
    number = 1
    while (ident := number.to_bytes((number.bit_length() + 7) // 8, "big")) in taken:
        number += 1
    return ident


def check_usage(spec: KeySpec, usage: tuple[str, ...]) -> None:
    """Raises ControlError for a usage that such a key cannot have."""
    possible = _POSSIBLE_USAGES[spec.kind]
    if not set(usage) <= set(possible):
        raise ControlError(
            ErrorCode.BAD_REQUEST,
            f"A key of type {spec} cannot {' and '.join(sorted({*usage} - {*possible}))}.",
            f"It can {' and '.join(possible)}: --usage {' --usage '.join(possible)}",
        )


def generate(
    session: Session,
    spec: KeySpec,
    label: str,
    ident: bytes,
    *,
    usage: tuple[str, ...] | None = None,
    always_authenticate: bool = False,
) -> tuple[int, int]:
    """Make a key pair on the token; the handles of the public and of the private key."""
    usage = USAGES[spec.kind] if usage is None else usage
    common: Template = {ck.CKA_TOKEN: True, ck.CKA_LABEL: label, ck.CKA_ID: ident}
    public = {**common, ck.CKA_PRIVATE: False, **_flags(_PUBLIC_USAGE, usage)}
    if spec.kind is KeyKind.RSA:
        public |= {ck.CKA_MODULUS_BITS: spec.bits, ck.CKA_PUBLIC_EXPONENT: _PUBLIC_EXPONENT}
    elif spec in GOST_SPECS:
        public |= {ck.CKA_GOSTR3410_PARAMS: spec.oid_der}
    else:
        public |= {ck.CKA_EC_PARAMS: spec.oid_der}
    private = {**common, **_private_flags(usage, always_authenticate)}
    return session.generate_key_pair(_GENERATORS[spec.kind], public, private)


def _flags(table: dict[str, int], usage: tuple[str, ...]) -> dict[int, bool]:
    return {attribute: name in usage for name, attribute in table.items()}


def _private_flags(usage: tuple[str, ...], always_authenticate: bool) -> dict[int, bool]:
    return {
        ck.CKA_PRIVATE: True,
        ck.CKA_SENSITIVE: True,
        ck.CKA_EXTRACTABLE: False,
        **({ck.CKA_ALWAYS_AUTHENTICATE: True} if always_authenticate else {}),
        **_flags(_PRIVATE_USAGE, usage),
    }


def import_key(
    session: Session,
    key: KeyParts,
    label: str,
    ident: bytes,
    *,
    usage: tuple[str, ...] | None = None,
    always_authenticate: bool = False,
) -> tuple[int, int]:
    """Put a key pair on the token; the handles of the public and of the private key."""
    usage = USAGES[key.spec.kind] if usage is None else usage
    common: Template = {
        ck.CKA_TOKEN: True,
        ck.CKA_LABEL: label,
        ck.CKA_ID: ident,
        ck.CKA_KEY_TYPE: _KEY_TYPES[key.spec.kind],
    }
    private = session.create(
        {
            ck.CKA_CLASS: ck.CKO_PRIVATE_KEY,
            **common,
            **_private_flags(usage, always_authenticate),
            **key.private,
        }
    )
    try:
        public = session.create(
            {
                ck.CKA_CLASS: ck.CKO_PUBLIC_KEY,
                **common,
                ck.CKA_PRIVATE: False,
                **_flags(_PUBLIC_USAGE, usage),
                **key.public,
            }
        )
    except CryptokiError:
        session.destroy(private)
        raise
    return public, private


def find_keys(session: Session) -> list[KeyOnToken]:
    """The keys the session sees, private and public halves matched by CKA_ID."""
    publics = {
        _text(session, handle)[1]: handle
        for handle in session.find({ck.CKA_CLASS: ck.CKO_PUBLIC_KEY, ck.CKA_TOKEN: True})
    }
    keys = []
    for handle in session.find({ck.CKA_CLASS: ck.CKO_PRIVATE_KEY, ck.CKA_TOKEN: True}):
        label, ident = _text(session, handle)
        public = publics.pop(ident, 0)
        keys.append(_key(session, label, ident, handle, public))
    for ident, handle in publics.items():
        keys.append(_key(session, _text(session, handle)[0], ident, 0, handle))
    return keys


def find_key(session: Session, name: str) -> KeyOnToken:
    """The key of that label or of that CKA_ID in hexadecimal. Raises ControlError."""
    return _one(find_keys(session), name, "key", lambda key: (key.label, key.id))


def find_certificates(session: Session) -> list[CertificateOnToken]:
    """All certificates of the token."""
    found = []
    for handle in session.find({ck.CKA_CLASS: ck.CKO_CERTIFICATE, ck.CKA_TOKEN: True}):
        label, ident = _text(session, handle)
        value = session.attributes(handle, ck.CKA_VALUE)[ck.CKA_VALUE] or b""
        found.append(CertificateOnToken(label, ident, handle, value))
    return found


def find_certificate(session: Session, name: str) -> CertificateOnToken:
    """The certificate of that label or of that CKA_ID in hexadecimal. Raises ControlError."""
    return _one(find_certificates(session), name, "certificate", lambda one: (one.label, one.id))


def public_key(session: Session, handle: int) -> PublicKey:
    """The public key that an object shows: RSA by numbers, the others by their point.

    Raises ControlError where it shows none that makes sense.
    """
    try:
        return _public_key(session, handle)
    except (CryptoError, ValueError) as error:
        label, ident = _text(session, handle)
        raise ControlError(
            ErrorCode.GENERAL, f"The key {label!r} ({ident.hex()}) shows no usable public key."
        ) from error


def _public_key(session: Session, handle: int) -> PublicKey:
    wanted = (
        ck.CKA_KEY_TYPE,
        ck.CKA_MODULUS,
        ck.CKA_PUBLIC_EXPONENT,
        ck.CKA_EC_PARAMS,
        ck.CKA_EC_POINT,
        ck.CKA_GOSTR3410_PARAMS,
        ck.CKA_VALUE,
    )
    values = {kind: value or b"" for kind, value in session.attributes(handle, *wanted).items()}
    if ulong(values[ck.CKA_KEY_TYPE]) == ck.CKK_RSA:
        return rsa_public(values[ck.CKA_MODULUS], values[ck.CKA_PUBLIC_EXPONENT])
    if values[ck.CKA_GOSTR3410_PARAMS]:
        spec = KeySpec.from_oid_der(values[ck.CKA_GOSTR3410_PARAMS])
        return gost_public(spec.curve, values[ck.CKA_VALUE])
    spec = KeySpec.from_oid_der(values[ck.CKA_EC_PARAMS])
    point = values[ck.CKA_EC_POINT]
    if spec.kind is KeyKind.EC:
        return ec_public(spec.curve, _unwrapped(point))
    bare = len(point) == EDWARDS_SIZES[spec.kind]
    return edwards_public(spec.kind, point if bare else _unwrapped(point))


def _unwrapped(point: bytes) -> bytes:
    from asn1crypto.core import OctetString  # noqa: PLC0415  slow to load

    return bytes(OctetString.load(point).native)


def _text(session: Session, handle: int) -> tuple[str, bytes]:
    values = session.attributes(handle, ck.CKA_LABEL, ck.CKA_ID)
    return (values[ck.CKA_LABEL] or b"").decode(errors="replace"), values[ck.CKA_ID] or b""


def _key(session: Session, label: str, ident: bytes, private: int, public: int) -> KeyOnToken:
    flags = session.attributes(
        private or public, *_PRIVATE_USAGE.values(), ck.CKA_VERIFY, ck.CKA_ALWAYS_AUTHENTICATE
    )
    usage = tuple(name for name, kind in _PRIVATE_USAGE.items() if flags[kind] == b"\1")
    return KeyOnToken(
        label=label,
        id=ident,
        spec=public_key(session, public or private).spec,
        private=private,
        public=public,
        usage=usage or (("verify",) if flags[ck.CKA_VERIFY] == b"\1" else ()),
        always_authenticate=flags[ck.CKA_ALWAYS_AUTHENTICATE] == b"\1",
    )


def _one(found: list[_T], name: str, what: str, names: Callable[[_T], tuple[str, bytes]]) -> _T:
    matching = [one for one in found if names(one)[0] == name]
    matching = matching or [one for one in found if names(one)[1].hex() == name.lower()]
    if not matching:
        raise ControlError(
            ErrorCode.NOT_FOUND,
            f"There is no {what} {name!r} on the token.",
            f"See: klyuch {'key' if what == 'key' else 'cert'} list",
        )
    if len(matching) > 1:
        idents = ", ".join(names(one)[1].hex() for one in matching)
        raise ControlError(
            ErrorCode.AMBIGUOUS,
            f"{len(matching)} of them are called {name!r}.",
            f"Name one by its id: {idents}",
        )
    return matching[0]


def store_certificate(
    session: Session, label: str, ident: bytes, value: bytes, *, owned: bool
) -> int:
    """Put a certificate (DER) on the token; its handle.

    Programs that search by category find that of an authority, and one `owned`, beside its key.
    """
    from asn1crypto.x509 import Certificate  # noqa: PLC0415  slow to load

    certificate = Certificate.load(value)
    body = certificate["tbs_certificate"]
    category = ck.CK_CERTIFICATE_CATEGORY_UNSPECIFIED
    if certificate.ca:
        category = ck.CK_CERTIFICATE_CATEGORY_AUTHORITY
    elif owned:
        category = ck.CK_CERTIFICATE_CATEGORY_TOKEN_USER
    return session.create(
        {
            ck.CKA_CLASS: ck.CKO_CERTIFICATE,
            ck.CKA_CERTIFICATE_TYPE: ck.CKC_X_509,
            ck.CKA_CERTIFICATE_CATEGORY: category,
            ck.CKA_TOKEN: True,
            ck.CKA_PRIVATE: False,
            ck.CKA_LABEL: label,
            ck.CKA_ID: ident,
            ck.CKA_SUBJECT: body["subject"].dump(),
            ck.CKA_ISSUER: body["issuer"].dump(),
            ck.CKA_SERIAL_NUMBER: body["serial_number"].dump(),
            ck.CKA_VALUE: value,
        }
    )


def key_of_certificate(session: Session, spki: bytes) -> KeyOnToken | None:
    """The key of the token whose public half that SubjectPublicKeyInfo (DER) is."""
    for key in find_keys(session):
        if public_key(session, key.public or key.private).to_spki() == spki:
            return key
    return None


@dataclass(frozen=True, slots=True)
class Placed:
    """What :func:`put` put on a token: under which label and id, and whether with its key."""

    label: str
    id: bytes
    owned: bool
    certificates: int


def put(
    session: Session,
    key: KeyParts | None,
    spki: bytes,
    certificates: list[Any],
    *,
    label: str | None,
    ident: bytes | None,
    name: str,
) -> Placed:
    """Put certificates (asn1crypto's) on a token, and a key where there is one.

    ``spki`` is the key's; its certificate goes beside it, others under ids of their own. What the
    token has already is not put there again. ``name`` is the label where nothing gives another.
    Raises CryptokiError.
    """
    from host_tools.pki.algorithms import normalized  # noqa: PLC0415  slow to load

    spki = normalized(spki)
    owner = key_of_certificate(session, spki)
    label = label or (owner.label if owner else name)
    ident = ident or (owner.id if owner else new_id(session))
    if key is not None and (owner is None or not owner.private):
        import_key(session, key, label, ident)
    has_key = key is not None or owner is not None
    there = {one.value for one in find_certificates(session)} if key is not None else set()
    missing = [one for one in certificates if one.dump() not in there]
    for one in missing:
        own = normalized(one.public_key.dump()) == spki
        place = (label, ident) if own else (_common_name(one), new_id(session))
        store_certificate(session, *place, one.dump(), owned=own and has_key)
    return Placed(label, ident, has_key, len(missing))


def _common_name(certificate: Any) -> str:
    names = certificate.subject.native
    return str(names.get("common_name") or next(iter(names.values()), "certificate"))
