"""The same calls to our library and to SoftHSM2; the table says why they answer otherwise."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from ctypes import byref, c_ulong
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from host_tools.cryptoki import Cryptoki, Mechanism, Template, gcm, oaep
from host_tools.cryptoki_values import Value, mechanism_of, template_of
from host_tools.testing import Scratch, ScratchToken
from pkcs11_module import _constants as ck
from tests.interop.beside import (
    AES,
    DATA,
    IV,
    OPEN,
    RSA_PRIVATE,
    RSA_PUBLIC,
    TEXT,
    Kind,
    Peer,
    counter,
)
from tests.interop.consumers import shared_object
from tests.unit.facade_rig import P256

SCRIPTS: Final = (
    "one",
    "part",
    "end",
    "init one one",
    "init init one",
    "init part part end end",
    "init part one end",
    "init end end",
    "init part-none end",
    "init one-ask one-short one one",
    "init part end-ask end-short end end",
    "init part-odd end",
    "init one-odd one",
    "init one-NULL one",
    "init part-NULL end",
)


def operations(peer: Peer) -> None:
    """The states of every kind of operation."""
    kinds = (
        Kind("Encrypt", (ck.CKM_AES_CBC, IV), (peer.aes,)),
        Kind("Decrypt", (ck.CKM_AES_CBC, IV), (peer.aes,)),
        Kind("Sign", ck.CKM_SHA256_HMAC, (peer.generic,)),
        Kind("Digest", ck.CKM_SHA256, ()),
    )
    for kind in kinds:
        for script in SCRIPTS:
            session = peer.fresh()
            for number, step in enumerate(script.split()):
                kind.step(peer, f"{kind.name}: {script}: {number} {step}", session, step)
        for name, wrong in {"session": peer.session.handle, "no": 0}.items():
            if kind.key:
                key_less = Kind(kind.name, kind.mechanism, (wrong,))
                key_less.step(peer, f"{kind.name}: {name} handle", peer.fresh(), "init")


def cut_ciphers(peer: Peer) -> None:
    """The same bytes at the same calls, however the data is cut."""
    mechanisms: dict[str, Mechanism] = {
        "ECB": ck.CKM_AES_ECB,
        "CBC": (ck.CKM_AES_CBC, IV),
        "CBC-PAD": (ck.CKM_AES_CBC_PAD, IV),
        "CTR": counter(32),
        "GCM": (ck.CKM_AES_GCM, gcm(IV[:12], b"header")),
    }
    for name, mechanism in mechanisms.items():
        for sizes in ((16,), (15, 1), (17, 15), (5, 5, 5, 1), (16, 0, 16), (64, 33), (1,)):
            _cut(peer, f"{name} {sizes}", mechanism, sizes)
    overflowing = {"128 bits": (128, b"\xff" * 16), "2 bits": (2, bytes(15) + b"\x01")}
    for label, (bits, block) in overflowing.items():
        session, made = peer.fresh(), mechanism_of(counter(bits, block))
        peer.call(f"CTR {label}", session, "C_EncryptInit", made, peer.aes)
        fits = 16 * (3 if bits == 2 else 1)
        peer.out(f"CTR {label}: fits", session, "C_EncryptUpdate", TEXT, fits)
        peer.out(f"CTR {label}: overflows", session, "C_EncryptUpdate", TEXT, 1)


def _cut(peer: Peer, label: str, mechanism: Mechanism, sizes: tuple[int, ...]) -> None:
    session = peer.fresh()
    for name in ("Encrypt", "Decrypt"):
        data = TEXT[: sum(sizes)]
        if name == "Decrypt":
            peer.call(f"{label}: init", session, "C_EncryptInit", mechanism_of(mechanism), peer.aes)
            data = peer.out(f"{label}: whole", session, "C_Encrypt", data, len(data))
        peer.call(f"{label} {name}", session, f"C_{name}Init", mechanism_of(mechanism), peer.aes)
        for number, size in enumerate((*sizes, len(data) - sum(sizes))):
            part, data = data[:size], data[size:]
            peer.out(f"{label} {name} {number}", session, f"C_{name}Update", part, len(part))
        peer.out(f"{label} {name} end", session, f"C_{name}Final")


def rsa(peer: Peer) -> None:
    """Lengths at their limits."""
    private, public = peer.session.create(RSA_PRIVATE), peer.session.create(RSA_PUBLIC)
    for name, mechanism in {"PKCS": ck.CKM_RSA_PKCS, "raw": ck.CKM_RSA_X_509}.items():
        for size in (0, 1, 245, 246, 255):
            data, session = b"\x01" * size, peer.fresh()
            label, made = f"RSA {name} {size}", mechanism_of(mechanism)
            peer.call(f"{label}: init", session, "C_SignInit", made, private)
            signature = peer.out(f"{label}: sign", session, "C_Sign", data, size)
            if signature:
                peer.call(f"{label}: check", session, "C_VerifyInit", made, public)
                args = (data, size, signature, 256)
                peer.call(f"{label}: verify", session, "C_Verify", *args)
                peer.call(f"{label}: again", session, "C_VerifyInit", made, public)
                peer.call(f"{label}: short", session, "C_Verify", *args[:3], 255)
    made = mechanism_of((ck.CKM_RSA_PKCS_OAEP, oaep(ck.CKM_SHA_1, ck.CKG_MGF1_SHA1)))
    for size in (0, 214, 215):
        session = peer.fresh()
        peer.call(f"RSA OAEP {size}", session, "C_EncryptInit", made, public)
        cryptogram = ctypes.create_string_buffer(256)
        into = cryptogram, byref(c_ulong(256))
        if peer.call(f"RSA OAEP {size}: encrypt", session, "C_Encrypt", TEXT * 2, size, *into):
            peer.call(f"RSA OAEP {size}: init", session, "C_DecryptInit", made, private)
            peer.out(f"RSA OAEP {size}: decrypt", session, "C_Decrypt", cryptogram, 256)


KINDS: Final[Mapping[str, Template]] = {
    "AES": AES,
    "RSA private": RSA_PRIVATE,
    "RSA public": RSA_PUBLIC,
    "data": DATA,
}
FLAGS: Final = (
    ck.CKA_SENSITIVE,
    ck.CKA_EXTRACTABLE,
    ck.CKA_PRIVATE,
    ck.CKA_MODIFIABLE,
    ck.CKA_COPYABLE,
    ck.CKA_DESTROYABLE,
    ck.CKA_LOCAL,
    ck.CKA_ALWAYS_SENSITIVE,
    ck.CKA_TRUSTED,
    ck.CKA_ENCRYPT,
    ck.CKA_SIGN,
)
VALUES: Final[dict[int, Value]] = {
    ck.CKA_CLASS: ck.CKO_DATA,
    ck.CKA_ID: b"id",
    ck.CKA_LABEL: "label",
    ck.CKA_VALUE: bytes(32),
    ck.CKA_VALUE_LEN: 32,
    ck.CKA_MODULUS_BITS: 2048,
    ck.CKA_KEY_GEN_MECHANISM: 1,
}


def attributes(peer: Peer) -> None:
    """What may be given, what may be changed, and what a copy may have otherwise."""
    session = peer.session
    asked = [*VALUES.items(), *((flag, value) for flag in FLAGS for value in (True, False))]
    for kind, base in KINDS.items():
        for name in base:
            less = template_of({key: value for key, value in base.items() if key != name})
            peer.make(f"{kind} without {ck.CKA_NAMES[name]}", session, "C_CreateObject", *less)
        for name, value in asked:
            which = f"{kind}: {ck.CKA_NAMES[name]} {value if isinstance(value, bool) else ''}"
            wanted = template_of({name: value})
            more = template_of({**base, name: value})
            peer.make(f"{which}: create", session, "C_CreateObject", *more)
            handle = session.create(base)
            peer.call(f"{which}: set", session, "C_SetAttributeValue", handle, *wanted)
            peer.told(which, handle, name)
            handle = session.create(base)
            copy = peer.make(f"{which}: copy", session, "C_CopyObject", handle, *wanted)
            if copy:
                peer.told(f"{which}: copy", copy, name)


def generation(peer: Peer) -> None:
    """Templates for generating, and what the keys say of themselves."""
    session, base = peer.session, {ck.CKA_VALUE_LEN: 16, **OPEN}
    told = (ck.CKA_LOCAL, ck.CKA_KEY_GEN_MECHANISM, ck.CKA_ALWAYS_SENSITIVE)
    templates: dict[str, dict[int, Value]] = {
        "open": {},
        "closed": {ck.CKA_SENSITIVE: True, ck.CKA_EXTRACTABLE: False},
        "class": {ck.CKA_CLASS: ck.CKO_SECRET_KEY},
        "wrong type": {ck.CKA_KEY_TYPE: ck.CKK_DES3},
        "value": {ck.CKA_VALUE: bytes(16)},
        "long": {ck.CKA_VALUE_LEN: 17},
        "local": {ck.CKA_LOCAL: True},
        "modulus": {ck.CKA_MODULUS: b"1"},
        "trusted": {ck.CKA_TRUSTED: True},
    }
    for label, more in templates.items():
        args = mechanism_of(ck.CKM_AES_KEY_GEN), *template_of({**base, **more})
        handle = peer.make(f"generate {label}", session, "C_GenerateKey", *args)
        for name in told if handle else ():
            peer.told(f"generate {label} {ck.CKA_NAMES[name]}", handle, name)
    curve: dict[int, Value] = {ck.CKA_EC_PARAMS: P256, ck.CKA_TOKEN: False}
    pairs: dict[str, tuple[Template, Template]] = {
        "plain": (curve, OPEN),
        "no curve": ({ck.CKA_TOKEN: False}, OPEN),
        "wrong class": ({**curve, ck.CKA_CLASS: ck.CKO_PRIVATE_KEY}, OPEN),
        "other type": ({**curve, ck.CKA_KEY_TYPE: ck.CKK_RSA}, OPEN),
        "sensitive": ({**curve, ck.CKA_SENSITIVE: True}, OPEN),
        "private encrypts": (curve, {**OPEN, ck.CKA_ENCRYPT: True}),
        "local": ({**curve, ck.CKA_LOCAL: True}, OPEN),
    }
    for label, (public, private) in pairs.items():
        made = mechanism_of(ck.CKM_EC_KEY_PAIR_GEN)
        both = (*template_of(public), *template_of(private), byref(c_ulong()))
        peer.make(f"pair {label}", session, "C_GenerateKeyPair", made, *both)


def wrapping(peer: Peer) -> None:
    """Who is wrapped by whom."""
    session, made = peer.session, mechanism_of(ck.CKM_AES_KEY_WRAP)
    keys = {
        "open": session.create(AES),
        "sensitive": session.create({**AES, ck.CKA_SENSITIVE: True}),
        "kept": session.create({**AES, ck.CKA_EXTRACTABLE: False}),
        "trusting": session.create({**AES, ck.CKA_WRAP_WITH_TRUSTED: True}),
        "private": session.create(RSA_PRIVATE),
        "public": session.create(RSA_PUBLIC),
        "no": 0,
    }
    for label, key in keys.items():
        for room in (None, 3):
            peer.out(f"wrap {label} {room}", session, "C_WrapKey", made, peer.aes, key, room=room)
    wrapped = peer.out("wrap", session, "C_WrapKey", made, peer.aes, keys["open"])
    peer.out("wrap by generic", session, "C_WrapKey", made, peer.generic, keys["open"])
    peer.out("wrap by nothing", session, "C_WrapKey", made, 0, keys["open"])
    kind: dict[int, Value] = {ck.CKA_CLASS: ck.CKO_SECRET_KEY, ck.CKA_KEY_TYPE: ck.CKK_AES, **OPEN}
    for label, more in {"plain": {}, "local": {ck.CKA_LOCAL: True}}.items():
        wanted = template_of({**kind, **more})
        given = wrapped, len(wrapped), *wanted
        handle = peer.make(f"unwrap {label}", session, "C_UnwrapKey", made, peer.aes, *given)
        for name in (ck.CKA_VALUE, ck.CKA_LOCAL, ck.CKA_ALWAYS_SENSITIVE) if handle else ():
            peer.told(f"unwrap {label} {ck.CKA_NAMES[name]}", handle, name)
    short = wrapped, len(wrapped) - 1
    peer.make("unwrap short", session, "C_UnwrapKey", made, peer.aes, *short, *template_of(kind))


def places(peer: Peer) -> None:
    """Public and private objects of token and session, for everybody in every kind of session."""
    logins: dict[str, tuple[int, bytes] | None] = {
        "nobody": None,
        "user": (ck.CKU_USER, b"481516"),
        "so": (ck.CKU_SO, b"23423108"),
    }
    for who, login in logins.items():
        for rw in (True, False) if who != "so" else (True,):
            peer.library.close_all_sessions(peer.slot)
            session = peer.fresh(rw=rw)
            if login is not None:
                session.login(*login)
            for token in (True, False):
                for private in (True, False):
                    label = f"{who} rw={rw} token={token} private={private}"
                    wanted = {**DATA, ck.CKA_TOKEN: token, ck.CKA_PRIVATE: private}
                    args = template_of(wanted)
                    handle = peer.make(f"{label}: create", session, "C_CreateObject", *args)
                    if handle:
                        peer.call(f"{label}: destroy", session, "C_DestroyObject", handle)


def logout(peer: Peer) -> None:
    """What a logout leaves of objects and operations."""
    first, second, digest = peer.session, peer.fresh(), peer.fresh()
    keys = {
        private: first.create({**AES, ck.CKA_PRIVATE: private, ck.CKA_LABEL: "mine"})
        for private in (True, False)
    }
    made = mechanism_of((ck.CKM_AES_CBC, IV))
    peer.call("private key", first, "C_EncryptInit", made, keys[True])
    peer.call("public key", second, "C_EncryptInit", made, keys[False])
    peer.call("digest", digest, "C_DigestInit", mechanism_of(ck.CKM_SHA256))
    peer.call("logout", second, "C_Logout")
    peer.call("logout again", second, "C_Logout")
    peer.out("private key after logout", first, "C_Encrypt", IV, 16)
    peer.out("public key after logout", second, "C_Encrypt", IV, 16)
    peer.out("digest after logout", digest, "C_Digest", IV, 16)
    first.login(ck.CKU_USER, b"481516")
    for private, key in keys.items():
        size = byref(c_ulong())
        peer.call(f"after login: private={private}", first, "C_DestroyObject", key)
        peer.call(f"destroyed: private={private}", first, "C_GetObjectSize", key, size)


SCENARIOS: Final[tuple[Callable[[Peer], None], ...]] = (
    operations,
    cut_ciphers,
    rsa,
    attributes,
    generation,
    wrapping,
    logout,
    places,
)
DIFFERENT: Final[Mapping[str, list[tuple[str, str, str, str]]]] = {
    # pattern of the calls, our answer, that of SoftHSM2 (a pattern each), why ours (PKCS#11 3.1)
    "operations": [
        (
            "*part one end: 2 one",
            "CKR_OPERATION_ACTIVE",
            "*",
            "it has parts already (5.8.2)",
        ),
        (
            "*-NULL *: 2 *",
            "CKR_OPERATION_NOT_INITIALIZED",
            "CKR_OK*",
            "an error ended it, whichever it was (5.8.2, 5.8.3)",
        ),
        ("*: no handle", "CKR_KEY_HANDLE_INVALID", "CKR_OBJECT_*", "no return value of it (5.8.1)"),
        ("*: session handle", "CKR_KEY_HANDLE_INVALID", "CKR_OBJECT_*", "the same"),
    ],
    "rsa": [
        ("RSA PKCS 2?[56]: sign", "CKR_DATA_LEN_RANGE", "CKR_GENERAL_ERROR", "too long (6.1.6)"),
        ("RSA OAEP 215: encrypt", "CKR_DATA_LEN_RANGE", "CKR_GENERAL_ERROR", "too long (6.1.8)"),
    ],
    "attributes": [
        (
            "* CKA_[VM]*: create",
            "CKR_TEMPLATE_INCONSISTENT",
            "CKR_ATTRIBUTE_READ_ONLY",
            "must not be named (4.1, footnote 2), and no more is said",
        ),
        ("* CKA_COPYABLE *: *y", "CKR_OK", "CKR_ATTRIBUTE_*", "it is one until it is false (4.4)"),
        ("* CKA_COPYABLE *: set", "CKR_OK", "CKR_ATTRIBUTE_*", "the same"),
        ("* CKA_COPYABLE * tells", "0?", "[0n]*", "the same"),
        ("* CKA_TRUSTED False: * tells", "00", "not called", "the same"),
        (
            "* CKA_TRUSTED False: *[ty]",
            "CKR_OK",
            "CKR_ATTRIBUTE_*",
            "only true is the SO's to set (4.8, footnote 10)",
        ),
        ("data: CKA_VALUE * tells", "00*", "*", "the same"),
        (
            "data: CKA_VALUE *: *",
            "CKR_OK",
            "CKR_ATTRIBUTE_*",
            "each attribute may be modified (4.5.2)",
        ),
    ],
    "generation": [
        (
            "generate value",
            "CKR_TEMPLATE_INCONSISTENT",
            "CKR_ATTRIBUTE_READ_ONLY",
            "must not be named (4.1, footnote 4), and no more is said",
        ),
        (
            "pair wrong class",
            "CKR_TEMPLATE_INCONSISTENT",
            "CKR_ATTRIBUTE_VALUE_INVALID",
            "as another key type is (5.18.2)",
        ),
    ],
    "wrapping": [
        (
            "wrap public *",
            "CKR_KEY_NOT_WRAPPABLE",
            "CKR_KEY_UNEXTRACTABLE",
            "public keys have no CKA_EXTRACTABLE, and are not wrapped (5.18.3)",
        ),
    ],
    "logout": [
        ("logout again", "CKR_USER_NOT_LOGGED_IN", "CKR_OK", "nobody is logged in (5.6.10)"),
        (
            "private key after logout",
            "CKR_OPERATION_NOT_INITIALIZED",
            "CKR_OK *",
            "the handle is no longer valid (5.6.10)",
        ),
    ],
    "places": [
        (
            "* rw=True token=True private=False: create",
            "CKR_USER_NOT_LOGGED_IN",
            "CKR_OK",
            "the card lets its user alone write; a return value of C_CreateObject (5.7.1)",
        ),
        ("* token=True private=False: destroy", "not called", "CKR_OK", "the same"),
    ],
}


@pytest.fixture
def libraries(
    home: Scratch, token: ScratchToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[Cryptoki, int]]]:
    """Ours and SoftHSM2, each with the slot of a token that has the same PINs."""
    assert home.path.is_dir()
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    theirs = Cryptoki(shared_object("libsofthsm2.so", "softhsm", "softhsm2"))
    with theirs:
        theirs.init_token(theirs.slots()[0], b"23423108", "Work")
    with Cryptoki() as ours, theirs:
        slot = theirs.slots()[0]
        with theirs.open_session(slot) as session:
            session.login(ck.CKU_SO, b"23423108")
            session.init_pin(b"481516")
            session.logout()
        yield [(ours, token.slot), (theirs, slot)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_answers(libraries: list[tuple[Cryptoki, int]], scenario: Callable[[Peer], None]) -> None:
    ours, theirs = (Peer(*library) for library in libraries)
    scenario(ours)
    scenario(theirs)
    rows = DIFFERENT.get(scenario.__name__, [])
    unused, unexplained = set(rows), {}
    for label in dict.fromkeys([*ours.answers, *theirs.answers]):
        found = ours.answers.get(label, "not called"), theirs.answers.get(label, "not called")
        if found[0] == found[1]:
            continue
        fitting = {row for row in rows if all(map(fnmatchcase, (label, *found), row[:3]))}
        unused -= fitting
        if not fitting:
            unexplained[label] = found
    assert unexplained == {}
    assert unused == set()
