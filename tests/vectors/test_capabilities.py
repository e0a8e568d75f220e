"""Every row of spec/pkcs11/capabilities.toml: what is told of a mechanism, and what is checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module import types
from pkcs11_module.facade.attributes import ulong
from pkcs11_module.mechanisms.checks import MECHANISMS, check, check_key, check_size
from pkcs11_module.rulebook import Function
from pkcs11_module.types import Buffer, Mechanism, Pkcs11Error
from tests.unit.facade_rig import Client, Rig, template
from token_fw.crypto import KeyKind, KeySpec

SPEC = Path(__file__).resolve().parents[2] / "spec" / "pkcs11" / "capabilities.toml"
TABLE: dict[str, Any] = tomllib.loads(SPEC.read_text(encoding="utf-8"))
SETS, FORMS, FUNCTIONS = TABLE["sets"], TABLE["parameters"], TABLE["functions"]


def spelt_out(names: list[str], hash_: str) -> list[str]:
    return [item.replace("{HASH}", hash_) for name in names for item in SETS.get(name, [name])]


ROWS: dict[str, dict[str, Any]] = {
    name.replace("{HASH}", hash_): {
        **entry,
        "functions": spelt_out(entry["functions"], ""),
        "keys": spelt_out(entry.get("keys", []), hash_),
    }
    for entry in TABLE["mechanism"]
    for name in entry["names"]
    for hash_ in (TABLE["hashed"]["hashes"] if "{HASH}" in name else [""])
}
KEYED = [
    (name, function)
    for name, row in ROWS.items()
    for function in row["functions"]
    if "usage" in FUNCTIONS[function]
]
SIZES = {
    "CKK_RSA": KeySpec.rsa(2048),
    "CKK_EC": KeySpec.ec("P-256"),
    "CKK_EC_EDWARDS": KeySpec.ED25519,
    "CKK_EC_MONTGOMERY": KeySpec.X25519,
    "CKK_ML_DSA": KeySpec.ml_dsa(65),
    "CKK_ML_KEM": KeySpec.ml_kem(768),
    "CKK_AES": KeySpec.secret(KeyKind.AES, 256),
    "CKK_DES2": KeySpec.secret(KeyKind.DES3, 128),
    "CKK_DES3": KeySpec.secret(KeyKind.DES3, 192),
    "CKK_GOSTR3410": KeySpec.gost("CryptoPro-A"),
    "CKK_GOSTR3410_512": KeySpec.gost("tc26-512-A"),
    "CKK_KUZNYECHIK": KeySpec.secret(KeyKind.KUZNYECHIK, 256),
    "CKK_MAGMA": KeySpec.secret(KeyKind.MAGMA, 256),
    "CKK_KUZNYECHIK_TWIN_KEY": KeySpec.secret(KeyKind.KUZNYECHIK_TWIN, 512),
    "CKK_MAGMA_TWIN_KEY": KeySpec.secret(KeyKind.MAGMA_TWIN, 512),
}
GENERIC = KeySpec.secret(KeyKind.GENERIC, 256)


@dataclass
class Key:
    """A key as the checks see it."""

    object_class: int
    key_type: int
    spec: KeySpec | None = None
    attributes: dict[int, bytes] = field(default_factory=dict)


def fitting(name: str, function: str) -> Key:
    """A key that the function takes with the mechanism."""
    row, asked = ROWS[name], FUNCTIONS[function]
    key_type = row["keys"][0]
    secret = key_type in SETS["secret"] or "TWIN" in key_type
    private = function in ("sign", "sign_recover", "decrypt", "unwrap", "derive", "decapsulate")
    private = private or function in ("message_sign", "message_decrypt")
    object_class = ck.CKO_PRIVATE_KEY if private else ck.CKO_PUBLIC_KEY
    return Key(
        ck.CKO_SECRET_KEY if secret else object_class,
        getattr(ck, key_type),
        SIZES.get(key_type, GENERIC),
        {getattr(ck, asked["usage"]): b"\x01"},
    )


def form(name: str, function: str) -> dict[str, Any]:
    """The form of the parameter that the mechanism has in that function."""
    row = ROWS[name]
    other = "message" in row and (function.startswith("message_") or "authent" in function)
    found: dict[str, Any] = FORMS[row["message"] if other else row.get("parameter", "none")]
    return found


def parameter(name: str, function: str) -> Any:
    """A parameter of that form."""
    wanted = form(name, function)
    if "struct" not in wanted:
        return bytes(wanted["lengths"][0])
    kind = getattr(types, wanted["struct"])
    return kind(*(0 for _ in kind.__dataclass_fields__))


def refusal(*args: Any) -> str:
    try:
        check(*args)
    except Pkcs11Error as error:
        return ck.CKR_NAMES[error.rv]
    return "CKR_OK"


def test_the_list_and_the_information_are_those_of_the_table() -> None:
    client = Rig().application()
    listed = client("C_GetMechanismList", 1, Buffer(1000))
    assert [ck.CKM_NAMES[mechanism] for mechanism in listed] == list(ROWS)
    for name, row in ROWS.items():
        flags = ck.CKF_HW if row.get("card") else 0
        for function in row["functions"]:
            flags |= getattr(ck, FUNCTIONS[function]["flag"])
            flags |= ck.CKF_MULTI_MESSAGE if function.startswith("message_") else 0
        for curve in row.get("curves", []):
            flags |= getattr(ck, curve)
        told = client("C_GetMechanismInfo", 1, getattr(ck, name))
        assert told == (*row.get("sizes", (0, 0)), flags), name


@pytest.mark.parametrize("name", ROWS)
def test_a_mechanism_does_what_its_row_says_and_nothing_else(name: str) -> None:
    for function in Function:
        asked = Mechanism(getattr(ck, name), parameter(name, function))
        listed = function in ROWS[name]["functions"]
        assert refusal(asked, function) == ("CKR_OK" if listed else "CKR_MECHANISM_INVALID")


@pytest.mark.parametrize(
    ("name", "function"),
    [(name, function) for name, row in ROWS.items() for function in row["functions"]],
)
def test_parameters_of_another_form_are_refused(name: str, function: str) -> None:
    wanted = form(name, function)
    structures = types.EddsaParams(False, None), types.AesCtrParams(128, bytes(16))
    for given in (None, b"", b"x" * 3, bytes(8), bytes(16), *structures):
        if given is None or isinstance(given, bytes):
            fits = len(given or b"") in wanted.get("lengths", ())
        else:
            fits = type(given).__name__ == wanted.get("struct")
        outcome = refusal(Mechanism(getattr(ck, name), given), Function(function))
        assert outcome == ("CKR_OK" if fits else "CKR_MECHANISM_PARAM_INVALID"), given


@pytest.mark.parametrize(("name", "function"), KEYED)
def test_the_key_is_checked_in_the_order_of_the_standard(name: str, function: str) -> None:
    asked = Mechanism(getattr(ck, name), parameter(name, function))
    used, entry = Function(function), FUNCTIONS[function]
    wrong_type = entry.get("type_error", "CKR_KEY_TYPE_INCONSISTENT")
    key = fitting(name, function)
    assert refusal(asked, used, key) == "CKR_OK"
    key.attributes[ck.CKA_ALLOWED_MECHANISMS] = ulong(asked.type + 1) + ulong(asked.type)
    assert refusal(asked, used, key) == "CKR_OK"
    key.attributes[ck.CKA_ALLOWED_MECHANISMS] = ulong(asked.type + 1)
    assert refusal(asked, used, key) == "CKR_MECHANISM_INVALID"
    key.attributes[getattr(ck, entry["usage"])] = b"\x00"
    assert refusal(asked, used, key) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    key.key_type = ck.CKK_DSA
    assert refusal(asked, used, key) == wrong_type
    key = fitting(name, function)
    key.object_class = ck.CKO_CERTIFICATE
    assert refusal(asked, used, key) == wrong_type
    assert refusal(None, used, key) == "CKR_ARGUMENTS_BAD"


@pytest.mark.parametrize(
    ("name", "function", "spec", "error"),
    [
        ("CKM_RSA_PKCS", "sign", KeySpec.rsa(511), "CKR_KEY_SIZE_RANGE"),
        ("CKM_RSA_PKCS", "wrap", KeySpec.rsa(16384), "CKR_WRAPPING_KEY_SIZE_RANGE"),
        ("CKM_RSA_PKCS", "unwrap", KeySpec.rsa(511), "CKR_UNWRAPPING_KEY_SIZE_RANGE"),
        ("CKM_SHA_1_HMAC", "verify", KeySpec(KeyKind.GENERIC, 8 * 4097), "CKR_KEY_SIZE_RANGE"),
        ("CKM_ECDSA", "sign", KeySpec.ec("P-521"), "CKR_OK"),
        ("CKM_ML_DSA", "sign", KeySpec.ml_dsa(44), "CKR_OK"),
        ("CKM_ML_KEM", "encapsulate", KeySpec.ml_kem(1024), "CKR_OK"),
        ("CKM_ECDH1_DERIVE", "derive", KeySpec.X25519, "CKR_OK"),
        ("CKM_ECDH1_DERIVE", "derive", KeySpec.X448, "CKR_OK"),
        ("CKM_EDDSA", "sign", KeySpec.ED448, "CKR_OK"),
        ("CKM_DES3_ECB", "encrypt", KeySpec.secret(KeyKind.DES3, 192), "CKR_OK"),
    ],
)
def test_the_size_of_the_key_is_checked(
    name: str, function: str, spec: KeySpec, error: str
) -> None:
    key = fitting(name, function)
    key.spec = spec
    asked = Mechanism(getattr(ck, name), parameter(name, function))
    assert refusal(asked, Function(function), key) == error


def test_the_size_of_a_key_to_be_made_is_checked() -> None:
    row = MECHANISMS[ck.CKM_GENERIC_SECRET_KEY_GEN]
    check_size(row, KeySpec(KeyKind.GENERIC, 8))
    with pytest.raises(Pkcs11Error) as raised:
        check_size(row, KeySpec(KeyKind.GENERIC, 32776), ck.CKR_ATTRIBUTE_VALUE_INVALID)
    assert raised.value.rv == ck.CKR_ATTRIBUTE_VALUE_INVALID


def test_a_key_is_checked_on_its_own() -> None:
    key = fitting("CKM_AES_CBC", "encrypt")
    check_key(ck.CKM_AES_CBC, Function.ENCRYPT, key)
    with pytest.raises(Pkcs11Error) as raised:
        check_key(ck.CKM_AES_CBC, Function.DECRYPT, key)
    assert raised.value.rv == ck.CKR_KEY_FUNCTION_NOT_PERMITTED


@pytest.fixture
def client() -> Client:
    return Rig().initialised()


@pytest.mark.parametrize("on_token", [True, False])
def test_allowed_mechanisms_bind_every_operation(client: Client, on_token: bool) -> None:
    session = client.user()
    uses = dict.fromkeys(("ENCRYPT", "DECRYPT", "SIGN", "VERIFY"), True)
    key = client(
        "C_CreateObject",
        session,
        template(
            CLASS=ck.CKO_SECRET_KEY,
            KEY_TYPE=ck.CKK_AES,
            VALUE=bytes(16),
            TOKEN=on_token,
            ALLOWED_MECHANISMS=ulong(ck.CKM_AES_ECB) + ulong(ck.CKM_AES_CMAC),
            **uses,
        ),
    )
    for name, good, bad in (
        ("Encrypt", ck.CKM_AES_ECB, ck.CKM_AES_KEY_WRAP),
        ("Decrypt", ck.CKM_AES_ECB, ck.CKM_AES_KEY_WRAP),
        ("MessageSign", ck.CKM_AES_CMAC, None),
        ("Sign", ck.CKM_AES_CMAC, None),
        ("Verify", ck.CKM_AES_CMAC, None),
        ("MessageEncrypt", None, ck.CKM_AES_GCM),
    ):
        if bad is not None:
            refused = client.fails(f"C_{name}Init", session, Mechanism(bad), key)
            assert refused == "CKR_MECHANISM_INVALID"
        if good is not None:
            client(f"C_{name}Init", session, Mechanism(good), key)
            client("C_SessionCancel", session, 2**64 - 1)
