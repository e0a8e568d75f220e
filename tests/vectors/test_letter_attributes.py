"""Attributes by the letter of PKCS#11 3.2: changes, copies, defaults, templates, trust."""

from __future__ import annotations

from typing import Any

import pytest

from pkcs11_module import _constants as ck
from tests.unit.facade_rig import SO_PIN, USER_PIN, encoded
from tests.vectors.letter import (
    ALL_USES,
    INCOMPLETE,
    INCONSISTENT,
    OK,
    OURS,
    PROHIBITED,
    PUBLIC,
    READ_ONLY,
    RSA_PARTS,
    SECRET_USES,
    TYPE_INVALID,
    USES,
    VALUE_INVALID,
    Stage,
    kinds,
)

# What may be changed: by C_SetAttributeValue, and (after "copy") in the template of C_CopyObject

LIFE = "TOKEN MODIFIABLE DESTROYABLE"
FIXED = "CLASS UNIQUE_ID"
KEY = "KEY_TYPE LOCAL KEY_GEN_MECHANISM ALLOWED_MECHANISMS"
SECRETS = "ALWAYS_SENSITIVE NEVER_EXTRACTABLE UNWRAP_TEMPLATE DERIVE_TEMPLATE"
PRIVATE = f"{OURS} SUBJECT"
CERTIFICATE = "SUBJECT ISSUER SERIAL_NUMBER CHECK_VALUE PUBLIC_KEY_INFO START_DATE END_DATE URL"
HASHES = "HASH_OF_SUBJECT_PUBLIC_KEY HASH_OF_ISSUER_PUBLIC_KEY NAME_HASH_ALGORITHM"
CATEGORY = "CERTIFICATE_CATEGORY JAVA_MIDP_SECURITY_DOMAIN"
PUBLIC_FIXED = f"{KEY} PUBLIC_KEY_INFO WRAP_TEMPLATE"
PRIVATE_FIXED = f"{KEY} PUBLIC_KEY_INFO ALWAYS_AUTHENTICATE {SECRETS}"
SECRET_FIXED = f"{KEY} WRAP_TEMPLATE CHECK_VALUE VALUE {SECRETS}"
GOST_SETS = "GOSTR3410_PARAMS GOSTR3411_PARAMS GOST28147_PARAMS"
# kind: (changed freely, changed freely in the session only, never changed)
CHANGES = {
    "data": ("LABEL APPLICATION OBJECT_ID VALUE", "", ""),
    "certificate": ("LABEL ID", "", f"CERTIFICATE_TYPE VALUE {CERTIFICATE} {HASHES} {CATEGORY}"),
    "rsa public": (PUBLIC, "", f"{PUBLIC_FIXED} MODULUS MODULUS_BITS PUBLIC_EXPONENT"),
    "ec public": (PUBLIC, "", f"{PUBLIC_FIXED} EC_PARAMS EC_POINT"),
    "mldsa public": (PUBLIC, "", f"{PUBLIC_FIXED} PARAMETER_SET VALUE"),
    "mlkem public": (f"{PUBLIC} ENCAPSULATE", "", f"{PUBLIC_FIXED} ENCAPSULATE_TEMPLATE"),
    "rsa private": (PRIVATE, USES, f"{PRIVATE_FIXED} MODULUS PUBLIC_EXPONENT {RSA_PARTS}"),
    "ec private": (PRIVATE, USES, f"{PRIVATE_FIXED} EC_PARAMS EC_POINT VALUE"),
    "mldsa private": (PRIVATE, USES, f"{PRIVATE_FIXED} PARAMETER_SET SEED VALUE"),
    "mlkem private": (PRIVATE, f"{USES} DECAPSULATE", f"{PRIVATE_FIXED} DECAPSULATE_TEMPLATE"),
    "gost public": (PUBLIC, "", f"{PUBLIC_FIXED} {GOST_SETS} VALUE"),
    "gost private": (PRIVATE, USES, f"{PRIVATE_FIXED} {GOST_SETS} VALUE"),
    "kuznyechik": (OURS, SECRET_USES, SECRET_FIXED),
    "magma_twin": (OURS, SECRET_USES, SECRET_FIXED),
    "aes": (OURS, SECRET_USES, f"{SECRET_FIXED} VALUE_LEN"),
    "generic": (OURS, SECRET_USES, f"{SECRET_FIXED} VALUE_LEN"),
    "hmac": (OURS, SECRET_USES, f"{SECRET_FIXED} VALUE_LEN"),
    "des3": (OURS, SECRET_USES, SECRET_FIXED),
}
OTHER_VALUES: dict[str, Any] = {
    **dict.fromkeys(("CLASS", "KEY_TYPE", "KEY_GEN_MECHANISM", "VALUE_LEN", *CATEGORY.split()), 2),
    **dict.fromkeys(("MODULUS_BITS", "CERTIFICATE_TYPE", "PARAMETER_SET"), 2),
    **dict.fromkeys(("START_DATE", "END_DATE"), b"20300101"),
    **dict.fromkeys(("ALLOWED_MECHANISMS", "NAME_HASH_ALGORITHM"), ck.CKM_AES_CBC),
    **{key: {"LABEL": "inner"} for key in (f"{name}WRAP_TEMPLATE" for name in ("", "UN"))},
    **{key: {} for key in (f"{n}_TEMPLATE" for n in ("DERIVE", "ENCAPSULATE", "DECAPSULATE"))},
}
FLAGS = set(f"{LIFE} {ALL_USES} PRIVATE LOCAL ALWAYS_AUTHENTICATE".split())
FLAGS |= {"ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE"}
ONE_WAY = {"SENSITIVE": True, "WRAP_WITH_TRUSTED": True, "EXTRACTABLE": False, "COPYABLE": False}


def _others(name: str) -> list[Any]:
    if name in FLAGS:
        return [False, True]
    return [OTHER_VALUES.get(name, b"0\0")]


@pytest.mark.parametrize("kind", CHANGES)
def test_which_attributes_may_be_changed(kind: str) -> None:
    """4.1.2 (C_SetAttributeValue) and 4.1.3 (C_CopyObject), with footnotes 8 to 12 of table 13."""
    free, session_only, never = (text.split() for text in CHANGES[kind])
    stage, wrong = Stage(), []
    stage.new("object", kind)
    stage.new("own", kind, TOKEN=True)

    def expect(function: str, name: str, value: Any, expected: str, on: str = "object") -> None:
        if (found := stage.outcome(function, on, {name: value})) != expected:
            wrong.append((function, on, name, value, found))

    for name in free + session_only:
        for value in _others(name):
            expect("C_SetAttributeValue", name, value, OK)
            expect("C_CopyObject", name, value, OK)
            expect("C_SetAttributeValue", name, value, OK if name in free else READ_ONLY, "own")
    for name in (*never, *LIFE.split(), *FIXED.split(), "PRIVATE"):
        for value in _others(name):
            expect("C_SetAttributeValue", name, value, READ_ONLY)
            expect("C_SetAttributeValue", name, value, READ_ONLY, "own")
            if name in never or name in FIXED.split():
                expect("C_CopyObject", name, value, READ_ONLY)
    for name in LIFE.split():
        expect("C_CopyObject", name, False, OK)
    stage.new("hidden", kind, PRIVATE=True)
    stage.new("open", kind, PRIVATE=False)
    for on, value, expected in [("hidden", False, INCONSISTENT), ("open", True, OK)]:
        expect("C_CopyObject", "PRIVATE", value, expected, on)
    assert wrong == []


@pytest.mark.parametrize("kind", CHANGES)
def test_which_attributes_change_one_way_only(kind: str) -> None:
    """Footnotes 10 to 12 of table 13: CKA_SENSITIVE, CKA_EXTRACTABLE and their like."""
    stage = Stage()
    protected = kinds()[kind]["CLASS"] in (ck.CKO_PRIVATE_KEY, ck.CKO_SECRET_KEY)
    for name, to in ONE_WAY.items() if protected else [("COPYABLE", False)]:
        stage.new("from", kind, **{name: not to})
        stage.new("to", kind, **{name: to})
        refused = PROHIBITED if name == "COPYABLE" else READ_ONLY
        steps: list[tuple[str, str, str, bool]] = [
            (OK, "C_CopyObject", "from", not to),
            (OK, "C_CopyObject", "from", to),
            (refused if name == "COPYABLE" else OK, "C_CopyObject", "to", to),
            (refused, "C_CopyObject", "to", not to),
            (OK, "C_SetAttributeValue", "from", not to),
            (OK, "C_SetAttributeValue", "to", to),
            (READ_ONLY, "C_SetAttributeValue", "to", not to),
            (OK, "C_SetAttributeValue", "from", to),
            (READ_ONLY, "C_SetAttributeValue", "from", not to),
        ]
        for expected, function, on, value in steps:
            stage.play((expected, function, on, {name: value}))
        assert stage.told("from", name) == stage.told("to", name) == [encoded(to)]


# What an attribute is where nobody gives it: (true, false, empty), for C_CreateObject

ALWAYS = "MODIFIABLE COPYABLE DESTROYABLE"
NEVER = "TOKEN LOCAL DERIVE"
HIDDEN = "ALWAYS_SENSITIVE NEVER_EXTRACTABLE WRAP_WITH_TRUSTED EXTRACTABLE"
BLANK = "LABEL ID START_DATE END_DATE ALLOWED_MECHANISMS"
PUBLIC_NO = "PRIVATE ENCRYPT VERIFY_RECOVER WRAP TRUSTED"
PRIVATE_NO = f"{HIDDEN} SIGN_RECOVER UNWRAP ALWAYS_AUTHENTICATE"
SECRET_NO = f"{NEVER} {HIDDEN} SENSITIVE TRUSTED"
HIDES = f"{ALWAYS} PRIVATE SENSITIVE"
DEFAULTS = {
    "data": (ALWAYS, "TOKEN PRIVATE", "LABEL APPLICATION OBJECT_ID VALUE"),
    "certificate": (
        ALWAYS,
        "TOKEN PRIVATE TRUSTED",
        "LABEL ID URL HASH_OF_SUBJECT_PUBLIC_KEY HASH_OF_ISSUER_PUBLIC_KEY",
    ),
    "rsa public": (
        f"{ALWAYS} VERIFY ENCRYPT",
        f"{NEVER} PRIVATE VERIFY_RECOVER WRAP TRUSTED",
        f"{BLANK} SUBJECT",
    ),
    "ec public": (f"{ALWAYS} VERIFY", f"{NEVER} {PUBLIC_NO}", f"{BLANK} SUBJECT"),
    "ed public": (f"{ALWAYS} VERIFY", f"{NEVER} {PUBLIC_NO}", f"{BLANK} SUBJECT"),
    "x public": (f"{ALWAYS} DERIVE VERIFY", f"TOKEN LOCAL {PUBLIC_NO}", f"{BLANK} SUBJECT"),
    "mldsa public": (f"{ALWAYS} VERIFY", f"{NEVER} {PUBLIC_NO}", f"{BLANK} SUBJECT"),
    "mlkem public": (f"{ALWAYS} ENCAPSULATE", f"{NEVER} {PUBLIC_NO} VERIFY", f"{BLANK} SUBJECT"),
    "rsa private": (f"{HIDES} SIGN DECRYPT", f"{NEVER} {PRIVATE_NO}", f"{BLANK} SUBJECT"),
    "ec private": (f"{HIDES} SIGN", f"{NEVER} {PRIVATE_NO} DECRYPT", f"{BLANK} SUBJECT"),
    "ed private": (f"{HIDES} SIGN", f"{NEVER} {PRIVATE_NO} DECRYPT", f"{BLANK} SUBJECT"),
    "x private": (f"{HIDES} DERIVE", f"TOKEN LOCAL {PRIVATE_NO} SIGN DECRYPT", f"{BLANK} SUBJECT"),
    "mldsa private": (f"{HIDES} SIGN", f"{NEVER} {PRIVATE_NO} DECRYPT", f"{BLANK} SUBJECT"),
    "mlkem private": (f"{HIDES} DECAPSULATE", f"{NEVER} {PRIVATE_NO} SIGN DECRYPT", BLANK),
    "aes": (f"{ALWAYS} PRIVATE SIGN VERIFY ENCRYPT DECRYPT WRAP UNWRAP", SECRET_NO, BLANK),
    **{
        f"{name} public": (f"{ALWAYS} VERIFY", f"{NEVER} {PUBLIC_NO}", f"{BLANK} SUBJECT")
        for name in ("gost", "gost512")
    },
    **{
        f"{name} private": (f"{HIDES} SIGN", f"{NEVER} {PRIVATE_NO} DECRYPT", f"{BLANK} SUBJECT")
        for name in ("gost", "gost512")
    },
    **dict.fromkeys(
        ("kuznyechik", "magma"),
        (f"{ALWAYS} PRIVATE SIGN VERIFY ENCRYPT DECRYPT WRAP UNWRAP", SECRET_NO, BLANK),
    ),
    **{
        f"{name}_twin": (
            f"{ALWAYS} PRIVATE WRAP UNWRAP",
            f"{SECRET_NO} SIGN VERIFY ENCRYPT DECRYPT",
            BLANK,
        )
        for name in ("kuznyechik", "magma")
    },
    "des3": (f"{ALWAYS} PRIVATE SIGN VERIFY ENCRYPT DECRYPT WRAP UNWRAP", SECRET_NO, BLANK),
    "generic": (
        f"{ALWAYS} PRIVATE SIGN VERIFY",
        f"{SECRET_NO} ENCRYPT DECRYPT WRAP UNWRAP",
        BLANK,
    ),
    "hmac": (f"{ALWAYS} PRIVATE SIGN VERIFY", f"{SECRET_NO} ENCRYPT DECRYPT WRAP UNWRAP", BLANK),
    "hkdf": (f"{ALWAYS} PRIVATE", f"{SECRET_NO} SIGN VERIFY ENCRYPT DECRYPT WRAP UNWRAP", BLANK),
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_what_an_attribute_is_where_nobody_gives_it(kind: str) -> None:
    stage = Stage()
    stage.new("object", kind)
    yes, no, empty = (text.split() for text in DEFAULTS[kind])
    expected: dict[str, Any] = {
        **dict.fromkeys(yes, True),
        **dict.fromkeys(no, False),
        **dict.fromkeys(empty, b""),
    }
    if "KEY_TYPE" in kinds()[kind]:
        expected["KEY_GEN_MECHANISM"] = ck.CK_UNAVAILABLE_INFORMATION
    if kind == "certificate":
        expected |= {"CERTIFICATE_CATEGORY": 0, "JAVA_MIDP_SECURITY_DOMAIN": 0}
        expected["NAME_HASH_ALGORITHM"] = ck.CKM_SHA_1
    found = dict(zip(expected, stage.told("object", *expected), strict=True))
    assert found == {name: encoded(value) for name, value in expected.items()}


# What a template must and must not have: (kind, what is different, what C_CreateObject returns)

GOST_NAMED = ("GOSTR3410_PARAMS", "GOST28147_PARAMS")
COMPUTED = ("LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
CREATED: list[tuple[str, dict[str, Any], str]] = [
    *[(kind, {"CLASS": None}, INCOMPLETE) for kind in ("data", "certificate", "aes")],
    *[(kind, {"KEY_TYPE": None}, INCOMPLETE) for kind in ("aes", "ec public", "rsa private")],
    *[("certificate", {name: None}, INCOMPLETE) for name in ("CERTIFICATE_TYPE", "VALUE")],
    *[("rsa public", {name: None}, INCOMPLETE) for name in ("MODULUS", "PUBLIC_EXPONENT")],
    *[("rsa private", {name: None}, INCOMPLETE) for name in ("MODULUS", "PRIVATE_EXPONENT")],
    *[("ec public", {name: None}, INCOMPLETE) for name in ("EC_PARAMS", "EC_POINT")],
    *[("ec private", {name: None}, INCOMPLETE) for name in ("EC_PARAMS", "VALUE")],
    *[("mldsa public", {name: None}, INCOMPLETE) for name in ("PARAMETER_SET", "VALUE")],
    *[("mlkem private", {name: None}, INCOMPLETE) for name in ("PARAMETER_SET", "SEED")],
    *[("gost public", {name: None}, INCOMPLETE) for name in ("GOSTR3410_PARAMS", "VALUE")],
    *[("gost private", {name: None}, INCOMPLETE) for name in ("GOSTR3410_PARAMS", "VALUE")],
    *[("gost public", {name: b"CryptoPro"}, VALUE_INVALID) for name in GOST_NAMED],
    *[("gost private", {name: b"\x06\1*"}, "CKR_DOMAIN_PARAMS_INVALID") for name in GOST_NAMED],
    ("gost public", {"GOSTR3411_PARAMS": b"\x06\1*"}, "CKR_DOMAIN_PARAMS_INVALID"),
    ("gost public", {"VALUE": bytes(64)}, VALUE_INVALID),
    *[("gost private", {"VALUE": bytes(size)}, VALUE_INVALID) for size in (0, 31, 32, 33)],
    *[(kind, {"VALUE_LEN": 32}, TYPE_INVALID) for kind in ("kuznyechik", "magma_twin")],
    *[(kind, {"VALUE": bytes(31)}, VALUE_INVALID) for kind in ("kuznyechik", "magma_twin")],
    *[(kind, {"VALUE": None}, INCOMPLETE) for kind in ("aes", "generic", "hmac", "hkdf", "des3")],
    *[("aes", {name: True}, READ_ONLY) for name in (*COMPUTED, "TRUSTED")],
    *[("ec private", {name: False}, READ_ONLY) for name in COMPUTED],
    *[(kind, {"KEY_GEN_MECHANISM": 1}, READ_ONLY) for kind in ("aes", "ec public", "ec private")],
    *[(kind, {"UNIQUE_ID": b"x"}, READ_ONLY) for kind in ("data", "certificate", "aes")],
    *[(kind, {"TRUSTED": True}, READ_ONLY) for kind in ("certificate", "ec public")],
    *[(kind, {"TRUSTED": False}, OK) for kind in ("certificate", "ec public", "aes")],
    *[(kind, {"VALUE_LEN": 32}, INCONSISTENT) for kind in ("aes", "generic", "hmac", "hkdf")],
    ("des3", {"VALUE_LEN": 24}, TYPE_INVALID),
    ("rsa public", {"MODULUS_BITS": 2048}, INCONSISTENT),
    ("mldsa private", {"VALUE": bytes(2560)}, INCONSISTENT),
    *[("certificate", {name: b"0\0"}, INCONSISTENT) for name in ("SUBJECT", "ISSUER")],
    ("certificate", {"SERIAL_NUMBER": b"\2\1\7"}, INCONSISTENT),
    ("certificate", {"PUBLIC_KEY_INFO": b"0\0"}, INCONSISTENT),
    *[("certificate", {name: b"20300101"}, INCONSISTENT) for name in ("START_DATE", "END_DATE")],
    *[(kind, {"CHECK_VALUE": b"bad"}, VALUE_INVALID) for kind in ("certificate", "aes")],
    *[(kind, {"PUBLIC_KEY_INFO": b"0\0"}, INCONSISTENT) for kind in ("ec public", "ec private")],
    ("rsa private", {"PUBLIC_EXPONENT": b"\3"}, VALUE_INVALID),
    ("certificate", {"CERTIFICATE_TYPE": ck.CKC_WTLS}, VALUE_INVALID),
    *[("certificate", {name: 3}, OK) for name in CATEGORY.split()],
    *[("certificate", {name: 4}, VALUE_INVALID) for name in CATEGORY.split()],
    ("certificate", {"VALUE": b""}, VALUE_INVALID),
    ("certificate", {"VALUE": b"", "URL": "http://a", "SUBJECT": b""}, INCOMPLETE),
    ("certificate", {"URL": "http://a"}, INCOMPLETE),
    ("certificate", {"URL": "http://a", "HASH_OF_SUBJECT_PUBLIC_KEY": b"h"}, INCOMPLETE),
    ("certificate", {"URL": "http://a", "HASH_OF_ISSUER_PUBLIC_KEY": b"h"}, INCOMPLETE),
    ("certificate", {"URL": "http://a", **dict.fromkeys(HASHES.split()[:2], b"h")}, OK),
    *[
        ("ec private", {"TOKEN": True, name: v}, INCONSISTENT)
        for name, v in (("SENSITIVE", False), ("EXTRACTABLE", True))
    ],
    ("aes", {"TOKEN": True, "SENSITIVE": False, "EXTRACTABLE": True}, OK),
    ("ec private", {"ALWAYS_AUTHENTICATE": True, "PRIVATE": False}, INCONSISTENT),
    ("ec private", {"ALWAYS_AUTHENTICATE": True}, OK),
    ("aes", {"ALWAYS_AUTHENTICATE": False}, TYPE_INVALID),
    ("ec public", {"SENSITIVE": False}, TYPE_INVALID),
    ("ec public", {"WRAP_WITH_TRUSTED": True}, TYPE_INVALID),
    ("ec private", {"TRUSTED": False}, TYPE_INVALID),
    ("data", {"ID": b"1"}, TYPE_INVALID),
    ("ec private", {"VERIFY": True}, TYPE_INVALID),
    ("ec public", {"SIGN": True}, TYPE_INVALID),
    ("ec public", {"MODULUS": b"\1"}, TYPE_INVALID),
    *[("aes", {name: b"\1\0"}, VALUE_INVALID) for name in ("TOKEN", "EXTRACTABLE", "SIGN")],
    *[("data", {name: b"\xff"}, VALUE_INVALID) for name in ("LABEL", "APPLICATION")],
    ("aes", {"START_DATE": b"20301301"}, VALUE_INVALID),
    ("aes", {"ALLOWED_MECHANISMS": b"\1\0"}, VALUE_INVALID),
    ("aes", {"KEY_TYPE": b"\x1f"}, VALUE_INVALID),
]


@pytest.mark.parametrize(
    "expected",
    [
        OK,
        READ_ONLY,
        INCONSISTENT,
        INCOMPLETE,
        TYPE_INVALID,
        VALUE_INVALID,
        "CKR_DOMAIN_PARAMS_INVALID",
    ],
)
def test_what_a_template_must_and_must_not_have(expected: str) -> None:
    """4.1.1 and footnotes 1 to 7 of table 13."""
    stage = Stage()
    found = [
        (kind, more, stage.outcome("C_CreateObject", {**kinds()[kind], **more}))
        for kind, more, answer in CREATED
        if answer == expected
    ]
    assert found
    assert [row for row in found if row[2] != expected] == []


VOUCHED = {"aes": f"{SECRET_USES} START_DATE END_DATE", "mlkem public": f"{PUBLIC} ENCAPSULATE"}
VOUCHED |= {"rsa public": PUBLIC, "generic": f"{SECRET_USES} START_DATE END_DATE"}


@pytest.mark.parametrize("kind", VOUCHED)
def test_what_the_user_does_not_change_of_a_trusted_key(kind: str) -> None:
    stage = Stage(login=False)
    stage.play((OK, "C_Login", ck.CKU_SO, SO_PIN))
    names = [name for name in VOUCHED[kind].split() if name not in ("LABEL", "ID")]
    flags = {name: False for name in names if name in FLAGS}
    stage.new("key", kind, PRIVATE=False, TRUSTED=True, **flags)
    stage.play((OK, "C_Logout"))
    stage.play((OK, "C_Login", ck.CKU_USER, USER_PIN))
    found = {n: stage.outcome("C_SetAttributeValue", "key", {n: _others(n)[-1]}) for n in names}
    assert found == dict.fromkeys(names, READ_ONLY)
    stage.play((OK, "C_SetAttributeValue", "key", {"LABEL": "x"}))
    stage.play((READ_ONLY, "C_CopyObject", "key", {names[0]: _others(names[0])[-1]}))
