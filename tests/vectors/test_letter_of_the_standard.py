"""Sentences of PKCS#11 3.2 that take several calls: sessions, logins, keys made.

Every expected answer is written out here; nothing is read from spec/pkcs11.
"""

from __future__ import annotations

import pytest

from pkcs11_module import _constants as ck
from tests.unit.facade_rig import P256, ROOM, SO_PIN, USER_PIN
from tests.vectors.letter import (
    AES_GEN,
    AS_AES,
    EC_GEN,
    ECB,
    ECDSA,
    HMAC,
    INCOMPLETE,
    INCONSISTENT,
    KEYS,
    KW,
    NO_MECHANISM,
    NOT_BEGUN,
    OK,
    PAIR,
    PROHIBITED,
    READ_ONLY,
    RSA_PARTS,
    SECRET,
    SHA256,
    SIZE,
    TYPE_INVALID,
    VALUE_INVALID,
    XOR,
    Stage,
    Step,
    fails,
    kept,
    mechanism,
    new,
    told,
)
from tests.vectors.test_letter_operations import BEGINS, ENDS, WHOLE

SCRIPTS: dict[str, list[Step]] = {
    **{
        f"logging out: {kind} {'stays' if kind == 'digest' else 'ends'}": [
            *KEYS,
            (OK, *begin),
            (OK, "C_Logout"),
            (OK if kind == "digest" else NOT_BEGUN, *ENDS[kind]),
        ]
        for kind, begin in BEGINS.items()
    },
    "logging out: an operation with a public object's key stays": [
        new("mac", "generic", PRIVATE=False),
        (OK, *BEGINS["sign"]),
        (OK, "C_Logout"),
        (OK, *WHOLE["sign"]),
    ],
    "logging out: handles of private objects are gone, session objects destroyed": [
        new("private", "data", PRIVATE=True),
        new("public", "data"),
        new("kept", "data", PRIVATE=True, TOKEN=True),
        (OK, "C_Logout"),
        *fails(
            "CKR_OBJECT_HANDLE_INVALID", ("C_GetObjectSize", "private"), ("C_GetObjectSize", "kept")
        ),
        (OK, "C_GetObjectSize", "public"),
        ("CKR_USER_NOT_LOGGED_IN", "C_Logout"),
        ("CKR_USER_NOT_LOGGED_IN", "C_CreateObject", {"CLASS": ck.CKO_DATA, "PRIVATE": True}),
        (OK, "C_FindObjectsInit", {"PRIVATE": True}),
        kept("none", "C_FindObjects", 10),
    ],
    "the user does not set the user's PIN as the SO does": [
        ("CKR_USER_NOT_LOGGED_IN", "C_InitPIN", USER_PIN),
        (OK, "C_Logout"),
        ("CKR_USER_NOT_LOGGED_IN", "C_InitPIN", USER_PIN),
        (OK, "C_Login", ck.CKU_SO, SO_PIN),
        ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "C_Login", ck.CKU_USER, USER_PIN),
        (OK, "C_InitPIN", USER_PIN),
    ],
    "a read-only session changes nothing of the token": [
        new("kept", "data", TOKEN=True),
        ("in", "ro"),
        ("CKR_USER_ALREADY_LOGGED_IN", "C_Login", ck.CKU_USER, USER_PIN),
        ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "C_Login", ck.CKU_SO, SO_PIN),
        ("CKR_SESSION_READ_ONLY", "C_SetPIN", USER_PIN, USER_PIN),
        ("CKR_SESSION_READ_ONLY", "C_CreateObject", {"CLASS": ck.CKO_DATA, "TOKEN": True}),
        ("CKR_SESSION_READ_ONLY", "C_SetAttributeValue", "kept", {"LABEL": "x"}),
        ("CKR_SESSION_READ_ONLY", "C_CopyObject", "kept", {}),
        ("CKR_SESSION_READ_ONLY", "C_DestroyObject", "kept"),
        ("CKR_SESSION_READ_ONLY", "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "TOKEN": True}),
        (OK, "C_CopyObject", "kept", {"TOKEN": False}),
        (OK, "C_CreateObject", {"CLASS": ck.CKO_DATA}),
    ],
    "what is neither changed, copied nor destroyed": [
        new("key", "aes", MODIFIABLE=False, COPYABLE=False, DESTROYABLE=False),
        (PROHIBITED, "C_SetAttributeValue", "key", {"LABEL": "x"}),
        (PROHIBITED, "C_CopyObject", "key", {}),
        (PROHIBITED, "C_DestroyObject", "key"),
    ],
    "an attribute is given once, and is one of its object": [
        *KEYS,
        (TYPE_INVALID, "C_SetAttributeValue", "mac", {"MODULUS": b"\1"}),
        (TYPE_INVALID, "get", "mac", "MODULUS"),
    ],
    "a key made outside": [
        new("key", "aes", SENSITIVE=True, EXTRACTABLE=False),
        told("key", LOCAL=False, ALWAYS_SENSITIVE=False, NEVER_EXTRACTABLE=False),
    ],
    "a key made on the token": [
        kept("key", "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "SENSITIVE": True}),
        told("key", LOCAL=True, ALWAYS_SENSITIVE=True, NEVER_EXTRACTABLE=True),
        told("key", KEY_GEN_MECHANISM=ck.CKM_AES_KEY_GEN, VALUE_LEN=16),
        kept("copy", "C_CopyObject", "key", {"TOKEN": True}),
        told("copy", LOCAL=True, ALWAYS_SENSITIVE=True, NEVER_EXTRACTABLE=True),
        told("copy", KEY_GEN_MECHANISM=ck.CKM_AES_KEY_GEN),
        kept("open", "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "EXTRACTABLE": True}),
        (OK, "C_SetAttributeValue", "open", {"SENSITIVE": True, "EXTRACTABLE": False}),
        told("open", LOCAL=True, ALWAYS_SENSITIVE=False, NEVER_EXTRACTABLE=False),
    ],
    "a pair made on the token": [
        kept("public private", "C_GenerateKeyPair", EC_GEN, {"EC_PARAMS": P256}, {}),
        told("public", LOCAL=True, KEY_GEN_MECHANISM=ck.CKM_EC_KEY_PAIR_GEN),
        told("private", LOCAL=True, KEY_GEN_MECHANISM=ck.CKM_EC_KEY_PAIR_GEN),
        told("private", ALWAYS_SENSITIVE=True, NEVER_EXTRACTABLE=True),
    ],
    "a derived key was always what all its bases were": [
        new("base", "generic", DERIVE=True, SENSITIVE=True),
        kept("key", "C_DeriveKey", XOR, "base", {}),
        told("key", LOCAL=False, KEY_GEN_MECHANISM=ck.CK_UNAVAILABLE_INFORMATION),
        told("key", SENSITIVE=True, ALWAYS_SENSITIVE=False, NEVER_EXTRACTABLE=False),
        kept(
            "made",
            "C_GenerateKey",
            mechanism("GENERIC_SECRET_KEY_GEN"),
            {"VALUE_LEN": 32, "DERIVE": True, "SENSITIVE": True},
        ),
        kept("from_it", "C_DeriveKey", XOR, "made", {}),
        told("from_it", LOCAL=False, ALWAYS_SENSITIVE=True, NEVER_EXTRACTABLE=True),
    ],
    "an unwrapped key was elsewhere": [
        new("wrapper", "aes"),
        new("key", "aes", EXTRACTABLE=True),
        kept("wrapped", "C_WrapKey", KW, "wrapper", "key", ROOM),
        kept("again", "C_UnwrapKey", KW, "wrapper", "wrapped", {**AS_AES, "SENSITIVE": True}),
        told("again", LOCAL=False, ALWAYS_SENSITIVE=False, NEVER_EXTRACTABLE=False),
        told("again", KEY_GEN_MECHANISM=ck.CK_UNAVAILABLE_INFORMATION),
        (INCONSISTENT, "C_UnwrapKey", KW, "wrapper", "wrapped", {**AS_AES, "VALUE": bytes(32)}),
        (READ_ONLY, "C_UnwrapKey", KW, "wrapper", "wrapped", {**AS_AES, "LOCAL": False}),
    ],
    "a key that stays is not wrapped, nor one for trusted keys with another": [
        new("wrapper", "aes"),
        new("stays", "aes"),
        new("trusting", "aes", EXTRACTABLE=True, WRAP_WITH_TRUSTED=True),
        ("CKR_KEY_UNEXTRACTABLE", "C_WrapKey", KW, "wrapper", "stays", ROOM),
        ("CKR_KEY_NOT_WRAPPABLE", "C_WrapKey", KW, "wrapper", "trusting", ROOM),
    ],
    **{
        f"{kind}: what neither a sensitive key nor one that stays tells": [
            new("both", kind, SENSITIVE=True, EXTRACTABLE=False),
            new("sensitive", kind, SENSITIVE=True, EXTRACTABLE=True),
            new("stays", kind, SENSITIVE=False, EXTRACTABLE=False),
            new("told", kind, SENSITIVE=False, EXTRACTABLE=True),
            *[
                (SECRET, "get", key, name)
                for key in ("both", "sensitive", "stays")
                for name in names.split()
            ],
            *[(OK, "get", "told", name) for name in names.split()],
        ]
        for kind, names in {
            "aes": "VALUE",
            "generic": "VALUE",
            "ec private": "VALUE",
            "x private": "VALUE",
            "mldsa private": "SEED",
            "mlkem private": "SEED",
            "rsa private": RSA_PARTS,
        }.items()
    },
    "what a key to be made has to have": [
        *fails(
            INCOMPLETE,
            ("C_GenerateKey", AES_GEN, {}),
            ("C_GenerateKey", mechanism("GENERIC_SECRET_KEY_GEN"), {}),
            ("C_GenerateKeyPair", EC_GEN, {}, {}),
            ("C_GenerateKeyPair", mechanism("ML_DSA_KEY_PAIR_GEN"), {}, {}),
            ("C_GenerateKeyPair", mechanism("RSA_PKCS_KEY_PAIR_GEN"), {}, {}),
        ),
        (OK, "C_GenerateKey", mechanism("SHA256_KEY_GEN"), {}),
        (OK, "C_GenerateKey", mechanism("DES3_KEY_GEN"), {}),
        (INCONSISTENT, "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "VALUE": bytes(16)}),
        (READ_ONLY, "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "LOCAL": True}),
        (INCONSISTENT, "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "CLASS": ck.CKO_DATA}),
        (INCONSISTENT, "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "KEY_TYPE": ck.CKK_DES3}),
        (VALUE_INVALID, "C_GenerateKey", AES_GEN, {"VALUE_LEN": 17}),
        *[
            (INCONSISTENT, "C_GenerateKeyPair", EC_GEN, {"EC_PARAMS": P256, name: b"0\0"}, {})
            for name in ("EC_POINT", "PUBLIC_KEY_INFO")
        ],
        (INCONSISTENT, "C_GenerateKeyPair", EC_GEN, {"EC_PARAMS": P256}, {"VALUE": bytes(32)}),
    ],
    "what the token makes is not given": [
        *[
            (
                INCONSISTENT,
                "C_GenerateKeyPair",
                mechanism(f"{pair}_KEY_PAIR_GEN"),
                public,
                {name: b"x"},
            )
            for pair, public, names in (
                ("RSA_PKCS", {"MODULUS_BITS": 2048}, f"MODULUS {RSA_PARTS}"),
                ("ML_DSA", {"PARAMETER_SET": ck.CKP_ML_DSA_44}, "SEED VALUE"),
                ("ML_KEM", {"PARAMETER_SET": ck.CKP_ML_KEM_768}, "SEED VALUE"),
            )
            for name in names.split()
        ],
        *[
            (INCONSISTENT, "C_GenerateKeyPair", mechanism(f"{pair}_KEY_PAIR_GEN"), public, {})
            for pair, public in (
                ("RSA_PKCS", {"MODULUS_BITS": 2048, "MODULUS": b"x"}),
                ("ML_DSA", {"PARAMETER_SET": ck.CKP_ML_DSA_44, "VALUE": b"x"}),
                ("ML_KEM", {"PARAMETER_SET": ck.CKP_ML_KEM_768, "VALUE": b"x"}),
            )
        ],
        new("base", "generic", DERIVE=True),
        (INCONSISTENT, "C_DeriveKey", XOR, "base", {"VALUE": bytes(32)}),
    ],
    "an unwrapped private key brings its parts along": [
        new("wrapper", "aes"),
        *[
            (
                INCONSISTENT,
                "C_UnwrapKey",
                mechanism("AES_CBC_PAD", bytes(16)),
                "wrapper",
                bytes(32),
                {"CLASS": ck.CKO_PRIVATE_KEY, "KEY_TYPE": key_type, name: b"0\0"},
            )
            for key_type, names in {
                ck.CKK_RSA: f"MODULUS PUBLIC_EXPONENT {RSA_PARTS}",
                ck.CKK_EC: "EC_PARAMS VALUE",
                ck.CKK_ML_DSA: "SEED VALUE",
            }.items()
            for name in names.split()
            if name != "PUBLIC_EXPONENT"
        ],
    ],
    "a key to be made is as large as its mechanism makes them": [
        *[
            (VALUE_INVALID, "C_GenerateKey", mechanism(name), {"VALUE_LEN": size})
            for name, size in (("GENERIC_SECRET_KEY_GEN", 4097), ("SHA256_KEY_GEN", 4097))
        ],
        *[
            (
                SIZE,
                "C_GenerateKeyPair",
                mechanism("RSA_PKCS_KEY_PAIR_GEN"),
                {"MODULUS_BITS": size},
                {},
            )
            for size in (512, 16384)
        ],
    ],
    "a mechanism does what it is for": [
        *KEYS,
        *PAIR,
        *fails(
            NO_MECHANISM,
            ("C_EncryptInit", HMAC, "mac"),
            ("C_SignInit", ECB, "aes"),
            ("C_DigestInit", HMAC),
            ("C_GenerateKey", EC_GEN, {}),
            ("C_GenerateKeyPair", AES_GEN, {}, {}),
            ("C_DeriveKey", ECB, "aes", {}),
            ("C_MessageEncryptInit", ECB, "aes"),
            ("C_WrapKey", HMAC, "aes", "mac", ROOM),
            ("C_SignRecoverInit", ECDSA, "private"),
            ("C_SignInit", SHA256, "mac"),
        ),
    ],
    "a key that asks for a login each time signs after it": [
        new("key", "ec private", TOKEN=True, ALWAYS_AUTHENTICATE=True),
        (OK, "C_SignInit", ECDSA, "key"),
        ("CKR_USER_NOT_LOGGED_IN", "C_Sign", bytes(32), ROOM),
        (OK, "C_SignInit", ECDSA, "key"),
        (OK, "C_Login", ck.CKU_CONTEXT_SPECIFIC, USER_PIN),
        (OK, "C_Sign", bytes(32), ROOM),
        (OK, "C_SignInit", ECDSA, "key"),
        ("CKR_USER_NOT_LOGGED_IN", "C_Sign", bytes(32), ROOM),
    ],
    "the user makes nothing trusted": [
        *KEYS,
        (READ_ONLY, "C_SetAttributeValue", "aes", {"TRUSTED": True}),
        (READ_ONLY, "C_CopyObject", "aes", {"TRUSTED": True}),
        (OK, "C_SetAttributeValue", "aes", {"TRUSTED": False}),
        (READ_ONLY, "C_GenerateKey", AES_GEN, {"VALUE_LEN": 16, "TRUSTED": True}),
    ],
}


@pytest.mark.parametrize("sentence", SCRIPTS)
def test_what_the_standard_says_in_several_calls(sentence: str) -> None:
    stage = Stage()
    for step in SCRIPTS[sentence]:
        stage.play(step)
