"""Mechanisms by the letter of PKCS#11 3.2: what they are for, their keys and parameters."""

from __future__ import annotations

from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    AesCbcEncryptDataParams,
    AesCtrParams,
    Des3CbcEncryptDataParams,
    Ecdh1DeriveParams,
    GcmParams,
    Gostr3410DeriveParams,
    KdfTreeGostParams,
    KeyDerivationStringData,
    Mechanism,
)
from tests.unit.facade_rig import ROOM, Rig, encoded
from tests.vectors.letter import (
    ACTIVE,
    ALL_USES,
    AS_AES,
    BAD_PARAMETER,
    CBC,
    ECB,
    ECDSA,
    GCM,
    HMAC,
    KW,
    MESSAGE,
    ML_KEM,
    NO_MECHANISM,
    NOT_PERMITTED,
    OK,
    ONE_PART,
    RSA,
    WRONG_KEY,
    XOR,
    Stage,
    kinds,
    mechanism,
)
from tests.vectors.test_letter_attributes import DEFAULTS

# Which flag a function asks of its key, and what it returns with the flag: nothing else is wrong

GENERIC_32 = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_GENERIC_SECRET, "VALUE_LEN": 32}
USED: list[tuple[str, str, str, Mechanism, tuple[Any, ...], str]] = [
    ("ENCRYPT", "aes", "C_EncryptInit", ECB, (), OK),
    ("ENCRYPT", "rsa public", "C_EncryptInit", RSA, (), OK),
    ("ENCRYPT", "aes", "C_MessageEncryptInit", GCM, (), OK),
    ("DECRYPT", "aes", "C_DecryptInit", ECB, (), OK),
    ("DECRYPT", "rsa private", "C_DecryptInit", RSA, (), OK),
    ("DECRYPT", "aes", "C_MessageDecryptInit", GCM, (), OK),
    ("SIGN", "generic", "C_SignInit", HMAC, (), OK),
    ("SIGN", "ec private", "C_SignInit", ECDSA, (), OK),
    ("SIGN", "ec private", "C_MessageSignInit", ECDSA, (), OK),
    ("SIGN_RECOVER", "rsa private", "C_SignRecoverInit", RSA, (), OK),
    ("VERIFY", "generic", "C_VerifyInit", HMAC, (), OK),
    ("VERIFY", "ec public", "C_VerifyInit", ECDSA, (), OK),
    ("VERIFY", "ec public", "C_MessageVerifyInit", ECDSA, (), OK),
    ("VERIFY", "ec public", "C_VerifySignatureInit", ECDSA, (bytes(64),), OK),
    ("VERIFY_RECOVER", "rsa public", "C_VerifyRecoverInit", RSA, (), OK),
    ("WRAP", "aes", "C_WrapKey", KW, ("told", ROOM), OK),
    ("WRAP", "rsa public", "C_WrapKey", RSA, ("told", ROOM), OK),
    (
        "WRAP",
        "aes",
        "C_WrapKeyAuthenticated",
        mechanism("AES_GCM", MESSAGE),
        ("told", b"", ROOM),
        OK,
    ),
    ("UNWRAP", "aes", "C_UnwrapKey", KW, (bytes(24), AS_AES), "CKR_WRAPPED_KEY_INVALID"),
    ("UNWRAP", "rsa private", "C_UnwrapKey", RSA, (b"", AS_AES), "CKR_WRAPPED_KEY_LEN_RANGE"),
    ("DERIVE", "generic", "C_DeriveKey", XOR, ({},), OK),
    ("ENCAPSULATE", "mlkem public", "C_EncapsulateKey", ML_KEM, (GENERIC_32, ROOM), OK),
    ("DECAPSULATE", "mlkem private", "C_DecapsulateKey", ML_KEM, (GENERIC_32, bytes(1088)), OK),
]


@pytest.mark.parametrize("row", USED, ids=lambda row: f"{row[2]}-{row[1]}")
def test_a_function_asks_one_flag_of_its_key_and_no_other(row: Any) -> None:
    flag, kind, function, used, more, answer = row
    stage = Stage()
    stage.new("told", "aes", EXTRACTABLE=True)
    own = set(DEFAULTS[kind][0].split() + DEFAULTS[kind][1].split())
    uses = own & set(ALL_USES.split())
    stage.new("all others", kind, **dict.fromkeys(uses - {flag}, True), **{flag: False})
    stage.new("this one", kind, **dict.fromkeys(uses - {flag}, False), **{flag: True})
    assert stage.outcome(function, used, "all others", *more) == NOT_PERMITTED
    assert stage.outcome(function, used, "this one", *more) == answer
    allowed = {"ALLOWED_MECHANISMS": encoded(ck.CKM_SHA_1)}
    stage.new("for another mechanism", kind, **{flag: True}, **allowed)
    assert stage.outcome(function, used, "for another mechanism", *more) == (
        ACTIVE if answer == OK and function.endswith("Init") else NO_MECHANISM
    )


# What C_GetMechanismInfo tells: least and greatest key size, what it is for; and the keys it takes

SIGNS, CIPHERS, WRAPS = "SIGN VERIFY MESSAGE_SIGN MESSAGE_VERIFY", "ENCRYPT DECRYPT", "WRAP UNWRAP"
MESSAGES = "MESSAGE_ENCRYPT MESSAGE_DECRYPT"
RECOVERS = "SIGN_RECOVER VERIFY_RECOVER"
CURVE, NAMED = "EC_F_P EC_NAMEDCURVE EC_UNCOMPRESS", "EC_NAMEDCURVE"
SIZES_OF_HASHES = ("224", "256", "384", "512")
HASH_NAMES = [f"{family}{size}" for family in ("SHA", "SHA3_") for size in SIZES_OF_HASHES]
TOLD: list[tuple[str, int, int, str]] = [
    ("RSA_PKCS_KEY_PAIR_GEN", 1024, 4096, "HW GENERATE_KEY_PAIR"),
    ("RSA_PKCS RSA_X_509", 512, 8192, f"HW {SIGNS} {CIPHERS} {WRAPS} {RECOVERS}"),
    (
        "{}_RSA_PKCS {}_RSA_PKCS_PSS SHA1_RSA_PKCS SHA1_RSA_PKCS_PSS RSA_PKCS_PSS",
        512,
        8192,
        f"HW {SIGNS}",
    ),
    ("RSA_PKCS_OAEP", 512, 8192, f"HW {CIPHERS} {WRAPS}"),
    ("EC_KEY_PAIR_GEN", 192, 521, f"HW GENERATE_KEY_PAIR {CURVE}"),
    ("EC_EDWARDS_KEY_PAIR_GEN", 255, 448, f"HW GENERATE_KEY_PAIR {NAMED}"),
    ("EC_MONTGOMERY_KEY_PAIR_GEN", 255, 448, f"HW GENERATE_KEY_PAIR {NAMED}"),
    ("ECDSA ECDSA_SHA1 ECDSA_{}", 192, 521, f"HW {SIGNS} {CURVE}"),
    ("EDDSA", 255, 448, f"HW {SIGNS} {NAMED}"),
    ("ECDH1_DERIVE ECDH1_COFACTOR_DERIVE", 192, 521, f"HW DERIVE {CURVE}"),
    ("ML_DSA_KEY_PAIR_GEN", 1312, 2592, "HW GENERATE_KEY_PAIR"),
    ("ML_DSA", 1312, 2592, f"HW {SIGNS}"),
    ("ML_KEM_KEY_PAIR_GEN", 1184, 1568, "HW GENERATE_KEY_PAIR"),
    ("ML_KEM", 1184, 1568, "HW ENCAPSULATE DECAPSULATE"),
    ("AES_KEY_GEN", 16, 32, "HW GENERATE"),
    ("AES_ECB AES_CBC AES_CBC_PAD AES_CTR", 16, 32, f"HW {CIPHERS} {WRAPS}"),
    ("AES_KEY_WRAP AES_KEY_WRAP_PAD AES_KEY_WRAP_KWP", 16, 32, f"HW {CIPHERS} {WRAPS}"),
    ("AES_GCM", 16, 32, f"HW {CIPHERS} {WRAPS} {MESSAGES}"),
    ("AES_CMAC AES_CMAC_GENERAL", 16, 32, f"HW {SIGNS}"),
    ("AES_ECB_ENCRYPT_DATA AES_CBC_ENCRYPT_DATA", 16, 32, "HW DERIVE"),
    ("DES2_KEY_GEN DES3_KEY_GEN", 0, 0, "HW GENERATE"),
    ("DES3_ECB DES3_CBC DES3_CBC_PAD", 0, 0, f"HW {CIPHERS} {WRAPS}"),
    ("DES3_CMAC DES3_CMAC_GENERAL", 0, 0, f"HW {SIGNS}"),
    ("DES3_ECB_ENCRYPT_DATA DES3_CBC_ENCRYPT_DATA", 0, 0, "HW DERIVE"),
    ("SHA_1 {}", 0, 0, "DIGEST"),
    ("SHA_1_HMAC {}_HMAC SHA_1_HMAC_GENERAL {}_HMAC_GENERAL", 1, 4096, f"HW {SIGNS}"),
    ("SHA_1_KEY_GEN {}_KEY_GEN HKDF_KEY_GEN", 1, 4096, "HW GENERATE"),
    ("GENERIC_SECRET_KEY_GEN", 8, 32768, "HW GENERATE"),
    ("SHA1_KEY_DERIVATION {}_KEY_DERIVATION HKDF_DERIVE HKDF_DATA", 0, 0, "DERIVE"),
    ("CONCATENATE_BASE_AND_KEY CONCATENATE_BASE_AND_DATA", 0, 0, "DERIVE"),
    ("CONCATENATE_DATA_AND_BASE XOR_BASE_AND_DATA EXTRACT_KEY_FROM_KEY", 0, 0, "DERIVE"),
    ("PKCS5_PBKD2", 0, 0, "GENERATE"),
    ("GOSTR3410_KEY_PAIR_GEN GOSTR3410_512_KEY_PAIR_GEN", 0, 0, "HW GENERATE_KEY_PAIR"),
    ("GOSTR3410 GOSTR3410_512", 0, 0, f"HW {SIGNS}"),
    ("GOSTR3410_WITH_GOSTR3411_12_256 GOSTR3410_WITH_GOSTR3411_12_512", 0, 0, f"HW {SIGNS}"),
    ("GOSTR3411_12_256 GOSTR3411_12_512", 0, 0, "DIGEST"),
    ("GOSTR3411_12_256_HMAC GOSTR3411_12_512_HMAC", 1, 4096, f"HW {SIGNS}"),
    ("GOSTR3410_12_DERIVE VKO_GOSTR3410_2012_512 GOST_KEG", 0, 0, "HW DERIVE"),
    ("KDF_TREE_GOSTR3411_2012_256", 0, 0, "DERIVE"),
    ("KUZNYECHIK_KEY_GEN MAGMA_KEY_GEN", 0, 0, "HW GENERATE"),
    ("KUZNYECHIK_ECB MAGMA_ECB", 0, 0, f"HW {CIPHERS} {WRAPS}"),
    ("KUZNYECHIK_CTR_ACPKM MAGMA_CTR_ACPKM", 0, 0, f"HW {CIPHERS}"),
    ("KUZNYECHIK_MGM MAGMA_MGM", 0, 0, f"HW {CIPHERS}"),
    ("KUZNYECHIK_MAC MAGMA_MAC", 0, 0, f"HW {SIGNS}"),
    ("KUZNYECHIK_KEXP_15_WRAP MAGMA_KEXP_15_WRAP", 0, 0, f"HW {WRAPS}"),
]


def test_what_is_told_of_the_mechanisms() -> None:
    client, expected = Rig().application(), {}
    for names, least, greatest, flags in TOLD:
        number = sum(getattr(ck, f"CKF_{flag}") for flag in flags.split())
        number |= ck.CKF_MULTI_MESSAGE if "MESSAGE" in flags else 0
        for name in names.split():
            for one in HASH_NAMES if "{}" in name else [""]:
                expected[name.format(one)] = least, greatest, number
    listed = client("C_GetMechanismList", 1, ROOM)
    found = {
        ck.CKM_NAMES[one].removeprefix("CKM_"): client("C_GetMechanismInfo", 1, one)
        for one in listed
    }
    assert {name: info for name, info in found.items() if info != expected.get(name)} == {}
    assert set(found) == set(expected)


SECRET_KINDS = "aes generic hmac hkdf des3 kuznyechik magma"
VKO = Gostr3410DeriveParams(ck.CKD_NULL, None, b"\1")
TREE, MGM = KdfTreeGostParams(None, None, 1, 32, 0), GcmParams(bytes(8), 64, b"", 64)
IV, STRING = bytes(16), KeyDerivationStringData(bytes(16))
INITS = "C_EncryptInit C_DecryptInit C_SignInit C_VerifyInit"
TAKES: list[tuple[str, Mechanism, str]] = [
    (INITS, RSA, "rsa"),
    ("C_SignRecoverInit C_VerifyRecoverInit", RSA, "rsa"),
    ("C_SignInit C_VerifyInit", mechanism("SHA256_RSA_PKCS"), "rsa"),
    ("C_SignInit C_VerifyInit C_MessageSignInit C_MessageVerifyInit", ECDSA, "ec"),
    ("C_SignInit C_VerifyInit", mechanism("ECDSA_SHA384"), "ec"),
    ("C_SignInit C_VerifyInit", mechanism("EDDSA"), "ed"),
    ("C_SignInit C_VerifyInit", mechanism("ML_DSA"), "mldsa"),
    ("C_EncryptInit C_DecryptInit", ECB, "aes"),
    ("C_EncryptInit C_DecryptInit", CBC, "aes"),
    ("C_EncryptInit C_DecryptInit", KW, "aes"),
    ("C_MessageEncryptInit C_MessageDecryptInit", GCM, "aes"),
    ("C_SignInit C_VerifyInit", mechanism("AES_CMAC"), "aes"),
    ("C_EncryptInit C_DecryptInit", mechanism("DES3_ECB"), "des3"),
    ("C_EncryptInit C_DecryptInit", mechanism("DES3_CBC", bytes(8)), "des3"),
    ("C_SignInit C_VerifyInit", mechanism("DES3_CMAC"), "des3"),
    ("C_SignInit C_VerifyInit", HMAC, "generic hmac"),
    ("C_SignInit C_VerifyInit", mechanism("SHA256_HMAC_GENERAL", encoded(16)), "generic hmac"),
    ("C_SignInit C_VerifyInit", mechanism("SHA512_HMAC"), "generic"),
    ("C_DeriveKey", mechanism("SHA256_KEY_DERIVATION"), SECRET_KINDS),
    ("C_DeriveKey", XOR, SECRET_KINDS),
    ("C_SignInit C_VerifyInit", mechanism("GOSTR3410"), "gost"),
    ("C_SignInit C_VerifyInit", mechanism("GOSTR3410_512"), "gost512"),
    ("C_SignInit C_VerifyInit", mechanism("GOSTR3410_WITH_GOSTR3411_12_256"), "gost"),
    ("C_SignInit C_VerifyInit", mechanism("GOSTR3410_WITH_GOSTR3411_12_512"), "gost512"),
    # That of 2001, whose keys share a type with those of 2012.
    ("C_SignInit C_VerifyInit", mechanism("GOSTR3410_WITH_GOSTR3411"), ""),
    ("C_DeriveKey", mechanism("GOSTR3410_DERIVE"), ""),
    ("C_SignInit C_VerifyInit", mechanism("GOSTR3411_12_512_HMAC"), "generic"),
    ("C_DeriveKey", mechanism("GOSTR3410_12_DERIVE", VKO), "gost gost512"),
    ("C_DeriveKey", mechanism("VKO_GOSTR3410_2012_512", VKO), "gost gost512"),
    ("C_DeriveKey", mechanism("GOST_KEG", Ecdh1DeriveParams(1, None, None)), "gost gost512"),
    ("C_DeriveKey", mechanism("KDF_TREE_GOSTR3411_2012_256", TREE), SECRET_KINDS),
    ("C_EncryptInit C_DecryptInit", mechanism("KUZNYECHIK_ECB"), "kuznyechik"),
    ("C_EncryptInit C_DecryptInit", mechanism("MAGMA_CTR_ACPKM", bytes(8)), "magma"),
    ("C_EncryptInit C_DecryptInit", mechanism("MAGMA_MGM", MGM), "magma"),
    ("C_SignInit C_VerifyInit", mechanism("KUZNYECHIK_MAC"), "kuznyechik"),
    ("C_WrapKey C_UnwrapKey", mechanism("MAGMA_KEXP_15_WRAP", bytes(4)), "magma_twin"),
    ("C_DeriveKey", mechanism("AES_ECB_ENCRYPT_DATA", STRING), "aes"),
    ("C_DeriveKey", mechanism("AES_CBC_ENCRYPT_DATA", AesCbcEncryptDataParams(IV, IV)), "aes"),
    ("C_DeriveKey", mechanism("DES3_ECB_ENCRYPT_DATA", STRING), "des3"),
    (
        "C_DeriveKey",
        mechanism("DES3_CBC_ENCRYPT_DATA", Des3CbcEncryptDataParams(IV[:8], IV)),
        "des3",
    ),
    ("C_EncryptInit C_DecryptInit", mechanism("AES_CBC_PAD", IV), "aes"),
    ("C_EncryptInit C_DecryptInit", mechanism("AES_CTR", AesCtrParams(128, IV)), "aes"),
    ("C_SignInit C_VerifyInit", mechanism("AES_CMAC_GENERAL", encoded(8)), "aes"),
    ("C_SignInit C_VerifyInit", mechanism("DES3_CMAC_GENERAL", encoded(8)), "des3"),
    ("C_EncryptInit C_DecryptInit", mechanism("DES3_CBC_PAD", bytes(8)), "des3"),
    ("C_WrapKey", KW, "aes"),
    ("C_WrapKey", RSA, "rsa"),
    ("C_UnwrapKey", KW, "aes"),
    ("C_UnwrapKey", RSA, "rsa"),
    ("C_EncapsulateKey C_DecapsulateKey", ML_KEM, "mlkem"),
]
FUNCTION_KEYS = {
    **dict.fromkeys(
        ("C_EncryptInit", "C_VerifyInit", "C_VerifyRecoverInit", "C_WrapKey"), "public"
    ),
    **dict.fromkeys(("C_MessageVerifyInit", "C_EncapsulateKey"), "public"),
}
MORE_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "C_DeriveKey": ({},),
    "C_WrapKey": ("aes", ROOM),
    "C_UnwrapKey": (b"", AS_AES),
    "C_EncapsulateKey": (GENERIC_32, ROOM),
    "C_DecapsulateKey": (GENERIC_32, bytes(1088)),
}
OTHER_ERRORS = {"C_WrapKey": "CKR_WRAPPING_KEY_TYPE_INCONSISTENT"}
OTHER_ERRORS["C_UnwrapKey"] = "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT"


@pytest.fixture(scope="module")
def every_key() -> Stage:
    """An object of every kind that may be used for everything its kind can be used for."""
    stage = Stage()
    for kind, text in DEFAULTS.items():
        uses = set(ALL_USES.split())
        known = uses & set(" ".join(text[:2]).split())
        extra = {"EXTRACTABLE": True} if kind == "aes" else {}
        stage.new(kind, kind, **dict.fromkeys(known, True), **extra)
    return stage


@pytest.mark.parametrize("row", TAKES, ids=lambda row: ck.CKM_NAMES[row[1].type])
def test_a_mechanism_takes_keys_of_its_types_and_the_right_class(
    every_key: Stage, row: Any
) -> None:
    functions, used, taken = row
    for function in functions.split():
        own = FUNCTION_KEYS.get(function, "private")
        wanted = {name if name in kinds() else f"{name} {own}" for name in taken.split()}
        error = OTHER_ERRORS.get(function, WRONG_KEY)
        found = set()
        for kind in kinds():
            if kind in ("data", "certificate"):
                continue
            answer = every_key.outcome(function, used, kind, *MORE_ARGUMENTS.get(function, ()))
            if answer != error:
                found.add(kind)
            if answer == OK and function.endswith("Init"):
                every_key.outcome("C_SessionCancel", (1 << 64) - 1)
        assert found == wanted, function


DIGEST_256 = bytes.fromhex("06082a85030701010202")
DIGEST_512 = bytes.fromhex("06082a85030701010203")
HALF_A_BLOCK = bytes((0, 0, 0, 64)) + bytes(8)
PARAMETERS: list[tuple[str, Any, str, str]] = [
    (name, bad, kind, function)
    for kind, function, names, wrong in (
        ("aes", "C_EncryptInit", "AES_ECB AES_KEY_WRAP AES_KEY_WRAP_KWP", [b"x", bytes(16)]),
        ("aes", "C_EncryptInit", "AES_CBC AES_CBC_PAD", [None, bytes(8), bytes(15), MESSAGE]),
        ("aes", "C_EncryptInit", "AES_CTR AES_GCM", [None, bytes(16), MESSAGE]),
        ("aes", "C_MessageEncryptInit", "AES_GCM", [bytes(12)]),
        ("aes", "C_SignInit", "AES_CMAC", [bytes(8)]),
        ("aes", "C_SignInit", "AES_CMAC_GENERAL", [None, bytes(4)]),
        ("des3", "C_EncryptInit", "DES3_CBC DES3_CBC_PAD", [None, bytes(16)]),
        ("generic", "C_SignInit", "SHA256_HMAC", [b"x"]),
        ("generic", "C_SignInit", "SHA256_HMAC_GENERAL", [None, b"x"]),
        ("rsa private", "C_SignInit", "RSA_PKCS SHA256_RSA_PKCS", [b"x"]),
        ("rsa private", "C_SignInit", "RSA_PKCS_PSS SHA256_RSA_PKCS_PSS", [None, b"x"]),
        ("rsa private", "C_DecryptInit", "RSA_PKCS_OAEP", [None, b"x"]),
        ("ec private", "C_SignInit", "ECDSA ECDSA_SHA256", [b"x"]),
        ("ed private", "C_SignInit", "EDDSA", [b"x", MESSAGE]),
        ("mldsa private", "C_SignInit", "ML_DSA", [b"x", MESSAGE]),
        ("ec private", "C_DeriveKey", "ECDH1_DERIVE", [None, b"x"]),
        ("generic", "C_DeriveKey", "XOR_BASE_AND_DATA CONCATENATE_BASE_AND_DATA", [None, b"x"]),
        ("generic", "C_DeriveKey", "CONCATENATE_BASE_AND_KEY EXTRACT_KEY_FROM_KEY", [None, b"x"]),
        ("generic", "C_DeriveKey", "SHA256_KEY_DERIVATION", [b"x"]),
        ("generic", "C_DeriveKey", "HKDF_DERIVE HKDF_DATA", [None, b"x"]),
        ("gost private", "C_SignInit", "GOSTR3410", [b"x", DIGEST_512, bytes(10)]),
        ("gost512 private", "C_SignInit", "GOSTR3410_512", [b"x", DIGEST_256]),
        ("gost private", "C_SignInit", "GOSTR3410_WITH_GOSTR3411_12_256", [b"x", DIGEST_512]),
        ("gost private", "C_DeriveKey", "GOSTR3410_12_DERIVE GOST_KEG", [None, b"x", bytes(40)]),
        ("generic", "C_DeriveKey", "KDF_TREE_GOSTR3411_2012_256", [None, b"x"]),
        ("kuznyechik", "C_EncryptInit", "KUZNYECHIK_CTR_ACPKM", [None, bytes(8), HALF_A_BLOCK]),
        ("kuznyechik", "C_EncryptInit", "KUZNYECHIK_MGM", [None, MGM]),
        ("kuznyechik", "C_SignInit", "KUZNYECHIK_MAC", [encoded(8)]),
        ("aes", "C_DeriveKey", "AES_ECB_ENCRYPT_DATA AES_CBC_ENCRYPT_DATA", [None, b"x"]),
    )
    for name in names.split()
    for bad in wrong
]


def test_a_parameter_has_the_form_that_its_mechanism_asks_for(every_key: Stage) -> None:
    wrong = {}
    for name, bad, kind, function in PARAMETERS:
        more: tuple[Any, ...] = ({},) if function == "C_DeriveKey" else ()
        answer = every_key.outcome(function, mechanism(name, bad), kind, *more)
        if answer != BAD_PARAMETER:
            wrong[name, function, str(bad)] = answer
            every_key.outcome("C_SessionCancel", (1 << 64) - 1)
    assert wrong == {}


IN_PARTS: list[tuple[str, str, Mechanism, str]] = [
    *[
        ("Encrypt", "aes", mechanism(name, parameter), OK)
        for name, parameter in (
            ("AES_ECB", None),
            ("AES_CBC", IV),
            ("AES_CBC_PAD", IV),
            ("AES_CTR", AesCtrParams(128, IV)),
        )
    ],
    ("Encrypt", "des3", mechanism("DES3_ECB"), OK),
    ("Encrypt", "des3", mechanism("DES3_CBC", IV[:8]), OK),
    ("Encrypt", "aes", KW, ONE_PART),
    ("Encrypt", "rsa public", RSA, ONE_PART),
    ("Sign", "generic", HMAC, OK),
    ("Sign", "generic", mechanism("SHA256_HMAC_GENERAL", encoded(16)), OK),
    ("Sign", "aes", mechanism("AES_CMAC"), OK),
    ("Sign", "aes", mechanism("AES_CMAC_GENERAL", encoded(8)), OK),
    ("Sign", "des3", mechanism("DES3_CMAC"), OK),
    ("Sign", "des3", mechanism("DES3_CMAC_GENERAL", encoded(8)), OK),
    ("Sign", "rsa private", mechanism("SHA256_RSA_PKCS"), OK),
    ("Sign", "ec private", mechanism("ECDSA_SHA256"), OK),
    ("Sign", "ed private", mechanism("EDDSA"), OK),
    ("Sign", "mldsa private", mechanism("ML_DSA"), OK),
    ("Sign", "gost private", mechanism("GOSTR3410_WITH_GOSTR3411_12_256"), OK),
    ("Sign", "gost private", mechanism("GOSTR3410"), ONE_PART),
    ("Encrypt", "kuznyechik", mechanism("KUZNYECHIK_ECB"), OK),
    ("Encrypt", "magma", mechanism("MAGMA_CTR_ACPKM", bytes(8)), OK),
    ("Sign", "magma", mechanism("MAGMA_MAC"), OK),
    ("Sign", "rsa private", RSA, ONE_PART),
    ("Sign", "ec private", ECDSA, ONE_PART),
]


def test_which_mechanisms_take_data_in_parts(every_key: Stage) -> None:
    wrong = {}
    for function, kind, used, expected in IN_PARTS:
        every_key.play((OK, f"C_{function}Init", used, kind))
        more = (ROOM,) if function == "Encrypt" else ()
        answer = every_key.outcome(f"C_{function}Update", bytes(16), *more)
        every_key.outcome("C_SessionCancel", (1 << 64) - 1)
        if answer != expected:
            wrong[ck.CKM_NAMES[used.type]] = answer
    assert wrong == {}
