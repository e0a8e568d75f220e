"""Making objects of complete attributes, in a session or on the token, wherever they come from."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from apdu.model import SW, StatusWordError
from pkcs11_module import _constants as ck
from pkcs11_module.cards.card_keys import KEPT
from pkcs11_module.cards.entries import AnyEntry
from pkcs11_module.facade import certificates, keys
from pkcs11_module.facade.attributes import (
    FALSE,
    TRUE,
    boolean,
    check_derived,
    check_so,
    number,
    rules,
    ulong,
)
from pkcs11_module.facade.card_rules import card_policy, card_usage
from pkcs11_module.facade.entry_attributes import new_entry
from pkcs11_module.facade.session_objects import SessionObject
from pkcs11_module.facade.sessions import Session
from pkcs11_module.facade.slot import AnyObject
from pkcs11_module.types import Pkcs11Error
from token_fw.crypto import PrivateKey, PublicKey, SecretKey


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key comes from, which its computed attributes tell.

    `local`: made on the token, or in the module for a session. `mechanism` is what generated it.
    `always_sensitive` and `never_extractable` say what held of the keys it was made from; it has
    the attributes only where its own CKA_SENSITIVE and CKA_EXTRACTABLE agree.
    """

    local: bool = False
    mechanism: int | None = None
    always_sensitive: bool = False
    never_extractable: bool = False

    @classmethod
    def generated(cls, mechanism: int) -> Origin:
        """A key that the mechanism has just generated."""
        return cls(True, mechanism, always_sensitive=True, never_extractable=True)

    @classmethod
    def of(cls, attributes: Mapping[int, bytes]) -> Origin:
        """That of an object, for its copy."""
        return cls(
            attributes.get(ck.CKA_LOCAL) == TRUE,
            number(attributes.get(ck.CKA_KEY_GEN_MECHANISM, _UNKNOWN)),
            attributes.get(ck.CKA_ALWAYS_SENSITIVE) == TRUE,
            attributes.get(ck.CKA_NEVER_EXTRACTABLE) == TRUE,
        )


_UNKNOWN: Final = ulong(ck.CK_UNAVAILABLE_INFORMATION)
_UNIQUE_BYTES: Final = 8


def stamped(full: Mapping[int, bytes], origin: Origin) -> dict[int, bytes]:
    """Complete attributes with those that the token alone sets, for an object being made."""
    made = {**full, ck.CKA_UNIQUE_ID: secrets.token_hex(_UNIQUE_BYTES).encode("ascii")}
    if ck.CKA_LOCAL in full:
        made[ck.CKA_LOCAL] = boolean(origin.local)
        if origin.mechanism is not None:
            made[ck.CKA_KEY_GEN_MECHANISM] = ulong(origin.mechanism)
    if ck.CKA_SENSITIVE in full:
        always = origin.always_sensitive and full[ck.CKA_SENSITIVE] == TRUE
        never = origin.never_extractable and full[ck.CKA_EXTRACTABLE] != TRUE
        made[ck.CKA_ALWAYS_SENSITIVE] = boolean(always)
        made[ck.CKA_NEVER_EXTRACTABLE] = boolean(never)
    return made


def check_place(session: Session, full: Mapping[int, bytes]) -> None:
    """Whether an object of these attributes may be made in this session; raises Pkcs11Error."""
    on_token = full[ck.CKA_TOKEN] == TRUE
    if on_token:
        session.need_writable()
    if (on_token and not by_so(session, full)) or full[ck.CKA_PRIVATE] == TRUE:
        session.need_user()
    object_class = number(full[ck.CKA_CLASS])
    key_type = number(full.get(ck.CKA_KEY_TYPE, FALSE))
    check_so(full, object_class, key_type, so=session.slot.user == ck.CKU_SO)
    subject = full.get(ck.CKA_SUBJECT)
    if subject:
        check_name(subject)


def by_so(session: Session, full: Mapping[int, bytes]) -> bool:
    """Whether the SO makes an object in order to mark it as trusted: one that needs no file."""
    may_be_so = number(full[ck.CKA_CLASS]) in _BY_SO and full[ck.CKA_PRIVATE] == FALSE
    return session.slot.user == ck.CKU_SO and may_be_so and full[ck.CKA_TRUSTED] == TRUE


_BY_SO: Final = frozenset({ck.CKO_CERTIFICATE, ck.CKO_PUBLIC_KEY})


def _list(session: Session, full: Mapping[int, bytes], entry: AnyEntry, value: bytes) -> AnyObject:
    """List a public or data object on the token with its value."""
    slot = session.slot
    if by_so(session, full):
        return slot.token.add_by_so(slot.card, replace(entry, direct=value))
    return slot.token.add(slot.card, (entry, value))[0]


def check_name(value: bytes) -> None:
    """A CKA_SUBJECT has to be a DER Name; raises Pkcs11Error (CKR_ATTRIBUTE_VALUE_INVALID)."""
    if not keys.is_sequence(value):
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_SUBJECT")


def make_plain(session: Session, full: dict[int, bytes]) -> AnyObject:
    """Make a data object or a certificate; raises Pkcs11Error.

    `full` is what `complete` gave. The object has no handle yet.
    """
    check_place(session, full)
    made = stamped(full, Origin())
    if number(full[ck.CKA_CLASS]) == ck.CKO_CERTIFICATE:
        actual = {**made, **_told_by_certificate(full[ck.CKA_VALUE])}
        if full.get(ck.CKA_CHECK_VALUE) == b"":
            actual[ck.CKA_CHECK_VALUE] = b""
        check_derived(full, actual)
        made = actual
    if full[ck.CKA_TOKEN] != TRUE:
        return SessionObject(session, made)
    return _list(session, made, new_entry(made), made[ck.CKA_VALUE])


def _told_by_certificate(value: bytes) -> dict[int, bytes]:
    if not value:
        # The certificate is elsewhere, at its URL.
        return {}
    try:
        return certificates.certificate_attributes(value)
    except ValueError:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not a certificate") from None


def make_public_key(
    session: Session, full: dict[int, bytes], key: PublicKey, origin: Origin
) -> AnyObject:
    """Make a public key's object; raises Pkcs11Error.

    `full` is what `complete` gave; derived attributes in it have to agree with the key. The
    object has no handle yet.
    """
    check_place(session, full)
    made = {**stamped(full, origin), **keys.own_attributes(full, key)}
    check_derived(full, made)
    if full[ck.CKA_TOKEN] != TRUE:
        return SessionObject(session, made, key)
    return _list(session, made, new_entry(made, spec=key.spec), keys.write_public_key(key))


def make_private_key(
    session: Session, full: dict[int, bytes], key: PrivateKey, origin: Origin
) -> AnyObject:
    """The same for a private key: a session object, or imported into the card."""
    check_place(session, full)
    made = {**stamped(full, origin), **keys.own_attributes(full, key.public())}
    check_derived(full, made)
    made = {**keys.secret_attributes(key), **made}
    if full[ck.CKA_TOKEN] != TRUE:
        return SessionObject(session, made, key)
    spec = key.spec
    if spec not in KEPT:
        raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "the token has no keys of that kind")
    material = keys.key_material(made)
    slot = session.slot
    with slot.token.new_key(slot.card) as reference:
        try:
            slot.card.put_key(reference, material, card_usage(made, spec), card_policy(made))
        except StatusWordError as error:
            if error.sw != SW.INCORRECT_DATA:
                raise
            raise Pkcs11Error(ck.CKR_ATTRIBUTE_VALUE_INVALID, "not a private key") from error
        entry = new_entry(made, spec=spec, reference=reference)
        return slot.token.add(slot.card, (entry, None))[0]


def make_secret_key(
    session: Session, full: dict[int, bytes], key: SecretKey, origin: Origin
) -> AnyObject:
    """The same for a secret key: a session object, or imported into the card."""
    check_place(session, full)
    made = {**stamped(full, origin), **told_by_secret(full, key)}
    check_derived(full, made)
    if full[ck.CKA_TOKEN] != TRUE:
        return SessionObject(session, {**made, ck.CKA_VALUE: key.value}, key)
    slot = session.slot
    with slot.token.new_key(slot.card) as reference:
        usage, policy = card_usage(made, key.spec), card_policy(made)
        slot.card.put_secret(reference, key, usage, policy)
        entry = new_entry(made, spec=key.spec, reference=reference)
        return slot.token.add(slot.card, (entry, None))[0]


def told_by_secret(full: Mapping[int, bytes], key: SecretKey) -> dict[int, bytes]:
    """CKA_CHECK_VALUE, unless an empty one asks for none (3.1 4.10.2), and CKA_VALUE_LEN."""
    told = {ck.CKA_CHECK_VALUE: key.check_value()}
    if full.get(ck.CKA_CHECK_VALUE) == b"":
        told[ck.CKA_CHECK_VALUE] = b""
    if ck.CKA_VALUE_LEN in rules(ck.CKO_SECRET_KEY, number(full[ck.CKA_KEY_TYPE])):
        told[ck.CKA_VALUE_LEN] = ulong(len(key.value))
    return told
