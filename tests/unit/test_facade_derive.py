"""C_DeriveKey from secret keys: known answers, lengths, sensitivity that is passed on, refusals."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    AesCbcEncryptDataParams,
    Attribute,
    Des3CbcEncryptDataParams,
    HkdfParams,
    KeyDerivationStringData,
    Mechanism,
    MechanismParameter,
)
from tests.unit.facade_derivations import BASE, derive, generic, refused
from tests.unit.facade_rig import Client, Value, template
from tests.unit.facade_secrets import make, tells, value

DATA = KeyDerivationStringData(bytes.fromhex("89ABCDEF"))


# What is put beside, over or through the base key; the standard's examples


@pytest.mark.parametrize(
    ("mechanism", "parameter", "expected"),
    [
        (ck.CKM_CONCATENATE_BASE_AND_DATA, DATA, "0123456789ABCDEF"),
        (ck.CKM_CONCATENATE_DATA_AND_BASE, DATA, "89ABCDEF01234567"),
        (ck.CKM_XOR_BASE_AND_DATA, DATA, "88888888"),
        (ck.CKM_XOR_BASE_AND_DATA, KeyDerivationStringData(b"\xff"), "FE"),
        (ck.CKM_SHA1_KEY_DERIVATION, None, hashlib.sha1(BASE).hexdigest()),
        (ck.CKM_SHA224_KEY_DERIVATION, None, hashlib.sha224(BASE).hexdigest()),
        (ck.CKM_SHA256_KEY_DERIVATION, None, hashlib.sha256(BASE).hexdigest()),
        (ck.CKM_SHA384_KEY_DERIVATION, None, hashlib.sha384(BASE).hexdigest()),
        (ck.CKM_SHA512_KEY_DERIVATION, None, hashlib.sha512(BASE).hexdigest()),
        (ck.CKM_SHA3_224_KEY_DERIVATION, None, hashlib.sha3_224(BASE).hexdigest()),
        (ck.CKM_SHA3_256_KEY_DERIVATION, None, hashlib.sha3_256(BASE).hexdigest()),
        (ck.CKM_SHA3_384_KEY_DERIVATION, None, hashlib.sha3_384(BASE).hexdigest()),
        (ck.CKM_SHA3_512_KEY_DERIVATION, None, hashlib.sha3_512(BASE).hexdigest()),
    ],
)
def test_without_length_and_type_the_result_is_generic_and_whole(
    client: Client,
    session: int,
    mechanism: int,
    parameter: MechanismParameter | None,
    expected: str,
    *,
    on_token: bool,
) -> None:
    base = generic(client, session, BASE, TOKEN=on_token)
    key = derive(client, session, Mechanism(mechanism, parameter), base)
    assert value(client, session, key) == bytes.fromhex(expected)
    assert client.find(session, KEY_TYPE=ck.CKK_GENERIC_SECRET, LOCAL=False, TOKEN=False) == [
        handle for handle in (base, key) if handle == key or not on_token
    ]
    shorter = derive(client, session, Mechanism(mechanism, parameter), base, VALUE_LEN=1)
    assert value(client, session, shorter) == bytes.fromhex(expected)[:1]
    made_by = client.get(session, key, "KEY_GEN_MECHANISM")
    assert made_by == [b"\xff" * 8]


def test_a_key_is_put_after_another(client: Client, session: int, *, on_token: bool) -> None:
    base = generic(client, session, BASE, TOKEN=on_token)
    other = generic(client, session, bytes.fromhex("89ABCDEF"), TOKEN=on_token)
    mechanism = Mechanism(ck.CKM_CONCATENATE_BASE_AND_KEY, other.to_bytes(8, "little"))
    key = derive(client, session, mechanism, base)
    assert value(client, session, key).hex() == "0123456789abcdef"
    nothing = Mechanism(ck.CKM_CONCATENATE_BASE_AND_KEY, bytes(8))
    assert refused(client, session, nothing, base) == "CKR_KEY_HANDLE_INVALID"
    public, _ = client.make_ec_pair(session)
    no_secret = Mechanism(ck.CKM_CONCATENATE_BASE_AND_KEY, public.to_bytes(8, "little"))
    assert refused(client, session, no_secret, base) == "CKR_KEY_TYPE_INCONSISTENT"


@pytest.mark.parametrize(("first", "expected"), [(21, "9526"), (0, "329f"), (8, "9f84")])
def test_bits_are_taken_from_a_position_on(
    client: Client, session: int, first: int, expected: str
) -> None:
    base = generic(client, session, bytes.fromhex("329F84A9"))
    mechanism = Mechanism(ck.CKM_EXTRACT_KEY_FROM_KEY, first.to_bytes(8, "little"))
    key = derive(client, session, mechanism, base, VALUE_LEN=2)
    assert value(client, session, key).hex() == expected
    assert refused(client, session, mechanism, base) == "CKR_TEMPLATE_INCOMPLETE"
    assert refused(client, session, mechanism, base, VALUE_LEN=5) == "CKR_TEMPLATE_INCONSISTENT"
    beyond = Mechanism(ck.CKM_EXTRACT_KEY_FROM_KEY, (32).to_bytes(8, "little"))
    assert refused(client, session, beyond, base, VALUE_LEN=2) == "CKR_MECHANISM_PARAM_INVALID"


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"KEY_TYPE": ck.CKK_AES}, "CKR_TEMPLATE_INCOMPLETE"),
        ({"KEY_TYPE": ck.CKK_AES, "VALUE_LEN": 20}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE_LEN": 33}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE_LEN": 0}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE_LEN": 1 << 63}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE_LEN": b"\x10"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({"KEY_TYPE": ck.CKK_DES3, "VALUE_LEN": 16}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"KEY_TYPE": ck.CKK_RSA}, "CKR_ATTRIBUTE_VALUE_INVALID"),
        ({"CLASS": ck.CKO_PUBLIC_KEY}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE": bytes(16)}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"NEVER_EXTRACTABLE": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({"MODULUS": b"\1"}, "CKR_ATTRIBUTE_TYPE_INVALID"),
    ],
)
def test_a_template_that_does_not_fit_makes_no_key(
    client: Client, session: int, wanted: dict[str, Value], error: str
) -> None:
    base = generic(client, session, BASE)
    mechanism = Mechanism(ck.CKM_SHA256_KEY_DERIVATION)
    assert refused(client, session, mechanism, base, **wanted) == error
    assert client.find(session) == [base]


@pytest.mark.parametrize(("key_type", "length"), [(ck.CKK_DES2, 16), (ck.CKK_DES3, 24)])
def test_derived_des_keys_have_odd_parity(
    client: Client, session: int, key_type: int, length: int, *, on_token: bool
) -> None:
    base = generic(client, session, BASE)
    mechanism = Mechanism(ck.CKM_SHA256_KEY_DERIVATION)
    key = derive(client, session, mechanism, base, KEY_TYPE=key_type, TOKEN=on_token)
    made, digest = value(client, session, key), hashlib.sha256(BASE).digest()[:length]
    assert [byte & 0xFE for byte in made] == [byte & 0xFE for byte in digest]
    assert all(byte.bit_count() % 2 for byte in made)


# How sensitive what comes out is

PASSED_ON = Mechanism(ck.CKM_XOR_BASE_AND_DATA, DATA)
NOT_PASSED_ON = Mechanism(ck.CKM_SHA256_KEY_DERIVATION)


def test_what_is_almost_the_base_key_is_as_sensitive(
    client: Client, session: int, *, on_token: bool
) -> None:
    base = generic(client, session, BASE, SENSITIVE=True, TOKEN=on_token)
    refusal = refused(client, session, PASSED_ON, base, SENSITIVE=False)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
    key = client("C_DeriveKey", session, PASSED_ON, base, template(EXTRACTABLE=True))
    assert tells(client, session, key, "SENSITIVE", "EXTRACTABLE") == [True, True]


def test_what_is_almost_the_base_key_is_not_more_extractable(client: Client, session: int) -> None:
    base = generic(client, session, BASE, EXTRACTABLE=False)
    refusal = refused(client, session, PASSED_ON, base, EXTRACTABLE=True)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
    key = client("C_DeriveKey", session, PASSED_ON, base, ())
    assert tells(client, session, key, "SENSITIVE", "EXTRACTABLE") == [False, False]


def test_the_other_key_counts_as_much_as_the_base_key(client: Client, session: int) -> None:
    base = generic(client, session, BASE)
    other = generic(client, session, BASE, SENSITIVE=True, EXTRACTABLE=False)
    mechanism = Mechanism(ck.CKM_CONCATENATE_BASE_AND_KEY, other.to_bytes(8, "little"))
    key = client("C_DeriveKey", session, mechanism, base, ())
    assert tells(client, session, key, "SENSITIVE", "EXTRACTABLE") == [True, False]


@pytest.mark.parametrize("mechanism", [PASSED_ON, NOT_PASSED_ON])
@pytest.mark.parametrize("sensitive", [True, False])
def test_only_what_comes_of_a_key_that_was_always_sensitive_is_so(
    client: Client, session: int, mechanism: Mechanism, sensitive: bool
) -> None:
    always = client(
        "C_GenerateKey",
        session,
        Mechanism(ck.CKM_GENERIC_SECRET_KEY_GEN),
        template(VALUE_LEN=4, SENSITIVE=True, EXTRACTABLE=False, DERIVE=True),
    )
    # What was given to the token was known outside.
    once = generic(client, session, BASE, SENSITIVE=True, EXTRACTABLE=False)
    wanted = template(SENSITIVE=sensitive or mechanism is PASSED_ON, EXTRACTABLE=False)
    names = ("ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL")
    key = client("C_DeriveKey", session, mechanism, always, wanted)
    assert tells(client, session, key, *names) == [
        sensitive or mechanism is PASSED_ON,
        True,
        False,
    ]
    key = client("C_DeriveKey", session, mechanism, once, wanted)
    assert tells(client, session, key, *names) == [False, False, False]


def test_a_derive_template_is_added_or_the_derivation_refused(client: Client, session: int) -> None:
    nested = (Attribute(ck.CKA_SENSITIVE, b"\x01"), Attribute(ck.CKA_LABEL, b"child"))
    given = template(
        CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_GENERIC_SECRET, VALUE=BASE, DERIVE=True
    )
    base = client(
        "C_CreateObject", session, (*given, Attribute(ck.CKA_DERIVE_TEMPLATE, None, nested))
    )
    key = client("C_DeriveKey", session, NOT_PASSED_ON, base, ())
    assert client.get(session, key, "SENSITIVE", "LABEL") == [b"\x01", b"child"]
    refusal = refused(client, session, NOT_PASSED_ON, base, SENSITIVE=False)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"


# Which keys, in which sessions


def test_a_key_has_to_allow_the_derivation(client: Client, session: int) -> None:
    not_derived = generic(client, session, BASE, DERIVE=False)
    refusal = refused(client, session, NOT_PASSED_ON, not_derived)
    assert refusal == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    other_mechanism = generic(
        client,
        session,
        BASE,
        ALLOWED_MECHANISMS=ck.CKM_SHA1_KEY_DERIVATION.to_bytes(8, "little"),
    )
    assert refused(client, session, NOT_PASSED_ON, other_mechanism) == "CKR_MECHANISM_INVALID"
    _, private = client.make_ec_pair(session, DERIVE=True)
    assert refused(client, session, NOT_PASSED_ON, private) == "CKR_KEY_TYPE_INCONSISTENT"
    assert refused(client, session, NOT_PASSED_ON, 999) == "CKR_KEY_HANDLE_INVALID"
    base = generic(client, session, BASE)
    assert refused(client, session, Mechanism(ck.CKM_SHA256), base) == "CKR_MECHANISM_INVALID"
    assert client.fails("C_DeriveKey", session, None, base, ()) == "CKR_ARGUMENTS_BAD"


def test_a_value_that_stays_on_the_card_is_not_derived_from(client: Client, session: int) -> None:
    base = generic(client, session, BASE, TOKEN=True, SENSITIVE=True, EXTRACTABLE=False)
    refusal = refused(client, session, NOT_PASSED_ON, base)
    assert refusal == "CKR_KEY_FUNCTION_NOT_PERMITTED"


def test_a_secret_that_everybody_sees_is_used_by_the_user_only(client: Client) -> None:
    session = client.user()
    generic(client, session, BASE, TOKEN=True, PRIVATE=False)
    client("C_Logout", session)
    (base,) = client.find(session, CLASS=ck.CKO_SECRET_KEY)
    refusal = refused(client, session, NOT_PASSED_ON, base, PRIVATE=False)
    assert refusal == "CKR_USER_NOT_LOGGED_IN"


def test_a_derived_key_of_the_token_is_kept(client: Client, session: int) -> None:
    base = generic(client, session, BASE)
    derive(client, session, NOT_PASSED_ON, base, TOKEN=True, LABEL="kept")
    client("C_CloseAllSessions", 1)
    session = client.user()
    (key,) = client.find(session, LABEL="kept")
    assert value(client, session, key) == hashlib.sha256(BASE).digest()
    read_only = client.open(rw=False)
    base = generic(client, read_only, BASE)
    refusal = refused(client, read_only, NOT_PASSED_ON, base, TOKEN=True)
    assert refusal == "CKR_SESSION_READ_ONLY"


# By encrypting data

AES_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
ECB = bytes.fromhex("3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf")
CBC = bytes.fromhex("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2")
AES_ECB = Mechanism(ck.CKM_AES_ECB_ENCRYPT_DATA, KeyDerivationStringData(PLAIN))
AES_CBC = Mechanism(ck.CKM_AES_CBC_ENCRYPT_DATA, AesCbcEncryptDataParams(bytes(range(16)), PLAIN))


@pytest.mark.parametrize("extractable", [True, False])
@pytest.mark.parametrize(("mechanism", "expected"), [(AES_ECB, ECB), (AES_CBC, CBC)])
def test_a_cryptogram_of_sp_800_38a_as_a_key(
    client: Client,
    session: int,
    mechanism: Mechanism,
    expected: bytes,
    *,
    extractable: bool,
    on_token: bool,
) -> None:
    base = make(client, session, AES_KEY, TOKEN=on_token, EXTRACTABLE=extractable)
    assert value(client, session, derive(client, session, mechanism, base)) == expected
    key = derive(client, session, mechanism, base, KEY_TYPE=ck.CKK_AES, VALUE_LEN=24)
    assert value(client, session, key) == expected[:24]
    refusal = refused(client, session, mechanism, base, VALUE_LEN=33)
    assert refusal == "CKR_MECHANISM_PARAM_INVALID"


@pytest.mark.parametrize(
    "mechanism",
    [
        Mechanism(ck.CKM_DES3_ECB_ENCRYPT_DATA, KeyDerivationStringData(bytes(8))),
        Mechanism(ck.CKM_DES3_CBC_ENCRYPT_DATA, Des3CbcEncryptDataParams(bytes(8), bytes(8))),
    ],
)
def test_a_cryptogram_of_triple_des_as_a_key(
    client: Client, session: int, mechanism: Mechanism, *, on_token: bool
) -> None:
    # With one key three times over it is single DES, of which this is a known answer.
    base = make(client, session, bytes.fromhex("01" * 24), ck.CKK_DES3, TOKEN=on_token)
    key = derive(client, session, mechanism, base)
    assert value(client, session, key).hex() == "8ca64de9c1b123a7"


def test_only_whole_blocks_are_encrypted(client: Client, session: int, *, on_token: bool) -> None:
    base = make(client, session, AES_KEY, TOKEN=on_token)
    odd = Mechanism(ck.CKM_AES_ECB_ENCRYPT_DATA, KeyDerivationStringData(PLAIN[1:]))
    assert refused(client, session, odd, base) == "CKR_MECHANISM_PARAM_INVALID"


# HKDF, with the cases of RFC 5869

IKM, SALT = bytes.fromhex("0b" * 22), bytes(range(13))
INFO = bytes(range(0xF0, 0xFA))
PRK = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
OKM = bytes.fromhex(
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
)
OKM_WITHOUT_SALT = bytes.fromhex(
    "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
)


def hkdf(
    *,
    extract: bool = True,
    expand: bool = True,
    salt: bytes | int | None = SALT,
    info: bytes = INFO,
) -> Mechanism:
    kinds = {bytes: ck.CKF_HKDF_SALT_DATA, int: ck.CKF_HKDF_SALT_KEY}
    parameter = HkdfParams(
        extract,
        expand,
        ck.CKM_SHA256,
        kinds.get(type(salt), ck.CKF_HKDF_SALT_NULL),
        salt if isinstance(salt, bytes) else None,
        salt if isinstance(salt, int) else 0,
        info,
    )
    return Mechanism(ck.CKM_HKDF_DERIVE, parameter)


@pytest.mark.parametrize("key_type", [ck.CKK_HKDF, ck.CKK_GENERIC_SECRET])
def test_hkdf_as_in_rfc_5869(
    client: Client, session: int, key_type: int, *, on_token: bool
) -> None:
    base = make(client, session, IKM, key_type, TOKEN=on_token)
    key = derive(client, session, hkdf(), base, VALUE_LEN=42)
    assert value(client, session, key) == OKM
    key = derive(client, session, hkdf(salt=None, info=b""), base, VALUE_LEN=42)
    assert value(client, session, key) == OKM_WITHOUT_SALT
    salt = make(client, session, SALT, ck.CKK_GENERIC_SECRET, TOKEN=on_token)
    key = derive(client, session, hkdf(salt=salt), base, VALUE_LEN=42)
    assert value(client, session, key) == OKM
    extracted = derive(client, session, hkdf(expand=False), base)
    assert value(client, session, extracted) == PRK


@pytest.mark.parametrize("extractable", [True, False])
def test_hkdf_expand_with_a_key_that_may_stay_on_the_card(
    client: Client, session: int, *, extractable: bool, on_token: bool
) -> None:
    prk = make(client, session, PRK, ck.CKK_HKDF, TOKEN=on_token, EXTRACTABLE=extractable)
    key = derive(client, session, hkdf(extract=False), prk, VALUE_LEN=42)
    assert value(client, session, key) == OKM
    key = derive(client, session, hkdf(extract=False), prk, VALUE_LEN=64)
    first = hmac.digest(PRK, INFO + b"\x01", "sha256")
    assert value(client, session, key) == first + hmac.digest(PRK, first + INFO + b"\x02", "sha256")


def test_hkdf_gives_data_too(client: Client, session: int, *, on_token: bool) -> None:
    base = make(client, session, IKM, ck.CKK_HKDF, SENSITIVE=True)
    mechanism = Mechanism(ck.CKM_HKDF_DATA, hkdf().parameter)
    wanted = template(CLASS=ck.CKO_DATA, VALUE_LEN=42, LABEL="made", TOKEN=on_token)
    handle = client("C_DeriveKey", session, mechanism, base, wanted)
    assert client.find(session, CLASS=ck.CKO_DATA, LABEL="made") == [handle]
    assert value(client, session, handle) == OKM
    odds: list[dict[str, Value]] = [
        {"CLASS": ck.CKO_SECRET_KEY},
        {"VALUE": b"1"},
        {"VALUE_LEN": 0},
    ]
    for odd in odds:
        refusal = refused(client, session, mechanism, base, **{"VALUE_LEN": 42, **odd})
        assert refusal == "CKR_TEMPLATE_INCONSISTENT"


@pytest.mark.parametrize(
    ("mechanism", "wanted", "error"),
    [
        (hkdf(), {}, "CKR_TEMPLATE_INCOMPLETE"),
        (hkdf(), {"VALUE_LEN": 4096 * 2}, "CKR_TEMPLATE_INCONSISTENT"),
        (hkdf(extract=False, expand=False), {"VALUE_LEN": 32}, "CKR_MECHANISM_PARAM_INVALID"),
        (hkdf(expand=False), {"VALUE_LEN": 33}, "CKR_TEMPLATE_INCONSISTENT"),
        (hkdf(salt=999), {"VALUE_LEN": 32}, "CKR_KEY_HANDLE_INVALID"),
        (
            Mechanism(ck.CKM_HKDF_DERIVE, HkdfParams(True, True, ck.CKM_AES_ECB, 1, None, 0, None)),
            {"VALUE_LEN": 32},
            "CKR_MECHANISM_PARAM_INVALID",
        ),
        (
            Mechanism(ck.CKM_HKDF_DERIVE, HkdfParams(True, True, ck.CKM_SHA256, 8, None, 0, None)),
            {"VALUE_LEN": 32},
            "CKR_MECHANISM_PARAM_INVALID",
        ),
        (Mechanism(ck.CKM_HKDF_DERIVE), {"VALUE_LEN": 32}, "CKR_MECHANISM_PARAM_INVALID"),
    ],
)
def test_hkdf_that_makes_no_sense(
    client: Client, session: int, mechanism: Mechanism, wanted: dict[str, Value], error: str
) -> None:
    base = make(client, session, IKM, ck.CKK_HKDF)
    assert refused(client, session, mechanism, base, **wanted) == error
