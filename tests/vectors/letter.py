"""The stage on which the sentences of PKCS#11 3.2 are played, and the names of their answers.

Nothing here is read from spec/pkcs11: a wrong row of those tables is wrong for the facade and for
the tests that walk the tables alike, and shows in the tests of the letter only. Where the standard
leaves a choice to the token (the default of a usage flag, whether it can be changed), this
module's choice is written.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

from pkcs11_module import _constants as ck
from pkcs11_module.types import (
    Attribute,
    AttributeRequest,
    Buffer,
    GcmMessageParams,
    KeyDerivationStringData,
    Mechanism,
)
from tests.unit.facade_rig import ED25519, P256, X25519, Rig, encoded
from tests.unit.facade_samples import certificate, ec_private_key, rsa_private_key
from token_fw import crypto
from token_fw.crypto import KeyKind
from token_fw.storage.base import Store

OK, READ_ONLY, SECRET = "CKR_OK", "CKR_ATTRIBUTE_READ_ONLY", "CKR_ATTRIBUTE_SENSITIVE"
INCONSISTENT, INCOMPLETE = "CKR_TEMPLATE_INCONSISTENT", "CKR_TEMPLATE_INCOMPLETE"
TYPE_INVALID, VALUE_INVALID = "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_VALUE_INVALID"
ACTIVE, NOT_BEGUN = "CKR_OPERATION_ACTIVE", "CKR_OPERATION_NOT_INITIALIZED"
NOT_PERMITTED, PROHIBITED = "CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_ACTION_PROHIBITED"
WRONG_KEY, NO_MECHANISM = "CKR_KEY_TYPE_INCONSISTENT", "CKR_MECHANISM_INVALID"
BAD_PARAMETER, SIZE = "CKR_MECHANISM_PARAM_INVALID", "CKR_KEY_SIZE_RANGE"
SHORT_BUFFER, ONE_PART = "CKR_BUFFER_TOO_SMALL", "CKR_FUNCTION_NOT_SUPPORTED"
NO_BUFFER, SHORT, DATA = Buffer(None), Buffer(1), b"sixteen octets.."
Step = tuple[Any, ...]


def mechanism(name: str, parameter: Any = None) -> Mechanism:
    return Mechanism(getattr(ck, f"CKM_{name}"), parameter)


HMAC, SHA256, ECB = mechanism("SHA256_HMAC"), mechanism("SHA256"), mechanism("AES_ECB")
CBC, GCM, KW = mechanism("AES_CBC", bytes(16)), mechanism("AES_GCM"), mechanism("AES_KEY_WRAP")
ECDSA, RSA, ML_KEM = mechanism("ECDSA"), mechanism("RSA_PKCS"), mechanism("ML_KEM")
XOR = mechanism("XOR_BASE_AND_DATA", KeyDerivationStringData(b"x" * 32))
AES_GEN, EC_GEN = mechanism("AES_KEY_GEN"), mechanism("EC_KEY_PAIR_GEN")
MESSAGE = GcmMessageParams(b"n" * 12, 0, ck.CKG_NO_GENERATE, bytes(16), 128)
AS_AES = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_AES}

OURS = "LABEL ID START_DATE END_DATE"
PUBLIC = f"{OURS} SUBJECT DERIVE ENCRYPT VERIFY VERIFY_RECOVER WRAP"
USES = "DERIVE DECRYPT SIGN SIGN_RECOVER UNWRAP"
SECRET_USES = "DERIVE ENCRYPT DECRYPT SIGN VERIFY WRAP UNWRAP"
ALL_USES = f"{USES} {SECRET_USES} VERIFY_RECOVER ENCAPSULATE DECAPSULATE"
RSA_PARTS = "PRIVATE_EXPONENT PRIME_1 PRIME_2 EXPONENT_1 EXPONENT_2 COEFFICIENT"


@cache
def kinds() -> dict[str, dict[str, Any]]:
    """What a template for C_CreateObject has to have, for every kind of object."""
    ec, seed = ec_private_key(), bytes(range(32))
    rsa = {k: v for k, v in rsa_private_key().items() if k not in ("CLASS", "KEY_TYPE", "ID")}
    keys: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {}
    parts = ("MODULUS", "PUBLIC_EXPONENT")
    keys["rsa"] = ck.CKK_RSA, {name: rsa[name] for name in parts}, rsa
    p256 = crypto.ec_private("P-256", b"\x5a" * 32)
    curves: list[tuple[str, int, bytes, Any]] = [
        ("ec", ck.CKK_EC, P256, p256),
        ("ed", ck.CKK_EC_EDWARDS, ED25519, crypto.edwards_private(KeyKind.ED25519, seed)),
        ("x", ck.CKK_EC_MONTGOMERY, X25519, crypto.edwards_private(KeyKind.X25519, seed)),
    ]
    for name, key_type, oid, key in curves:
        point = key.public().point
        public = {"EC_PARAMS": oid, "EC_POINT": bytes((4, len(point))) + point}
        value = ec["VALUE"] if name == "ec" else seed
        keys[name] = key_type, public, {"EC_PARAMS": oid, "VALUE": value}
    sets = ck.CKP_ML_DSA_44, ck.CKP_ML_KEM_768
    dsa, kem = crypto.ml_dsa_private(44, seed), crypto.ml_kem_private(768, seed * 2)
    dsa_raw, kem_raw = dsa.public().raw, kem.public().raw
    for name, key_type, own, whole, raw in (
        ("mldsa", ck.CKK_ML_DSA, sets[0], seed, dsa_raw),
        ("mlkem", ck.CKK_ML_KEM, sets[1], seed * 2, kem_raw),
    ):
        told = {"PARAMETER_SET": own}
        keys[name] = key_type, {**told, "VALUE": raw}, {**told, "SEED": whole}
    for name, key_type, curve in (
        ("gost", ck.CKK_GOSTR3410, "CryptoPro-A"),
        ("gost512", ck.CKK_GOSTR3410_512, "tc26-512-A"),
    ):
        gost = crypto.gost_private(curve, seed * (2 if name == "gost512" else 1))
        parameters: dict[str, Any] = {"GOSTR3410_PARAMS": gost.spec.oid_der}
        keys[name] = (
            key_type,
            {**parameters, "VALUE": gost.public().point},
            {**parameters, "VALUE": gost.d[::-1]},
        )
    x509 = {"CERTIFICATE_TYPE": ck.CKC_X_509, "VALUE": certificate()}
    found: dict[str, dict[str, Any]] = {
        "data": {"CLASS": ck.CKO_DATA},
        "certificate": {"CLASS": ck.CKO_CERTIFICATE, **x509},
    }
    for name, (key_type, public, private) in keys.items():
        found[f"{name} public"] = {"CLASS": ck.CKO_PUBLIC_KEY, "KEY_TYPE": key_type, **public}
        found[f"{name} private"] = {"CLASS": ck.CKO_PRIVATE_KEY, "KEY_TYPE": key_type, **private}
    secrets = {"aes": "AES", "generic": "GENERIC_SECRET", "hmac": "SHA256_HMAC", "hkdf": "HKDF"}
    secrets |= {"kuznyechik": "KUZNYECHIK", "magma": "MAGMA", "des3": "DES3"}
    secrets |= {"kuznyechik_twin": "KUZNYECHIK_TWIN_KEY", "magma_twin": "MAGMA_TWIN_KEY"}
    for name, number in secrets.items():
        eights = 3 if name == "des3" else 8 if "twin" in name else 4
        value = b"\x01\x02\x04\x07\x08\x0b\x0d\x0e" * eights
        found[name] = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": getattr(ck, f"CKK_{number}")}
        found[name]["VALUE"] = value
    return found


def attributes(**values: Any) -> tuple[Attribute, ...]:
    """A template; None leaves an attribute out, an array of attributes is a dict."""
    return tuple(
        Attribute(getattr(ck, f"CKA_{name}"), None, attributes(**value))
        if isinstance(value, dict)
        else Attribute(getattr(ck, f"CKA_{name}"), encoded(value))
        for name, value in values.items()
        if value is not None
    )


@cache
def _initialised() -> Store:
    """A token with its PINs set, to be copied."""
    rig = Rig()
    rig.initialised()
    rig.reader.remove()
    return rig.store


class Stage:
    """A token with its user logged in, and the objects that a script has made, by name."""

    def __init__(self, *, login: bool = True) -> None:
        self.client = Rig.of(deepcopy(_initialised())).application()
        self.names: dict[str, Any] = {}
        self.session = self.client.user() if login else self.client.open()

    def _meant(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return self.names[argument]
        return attributes(**argument) if isinstance(argument, dict) else argument

    def new(self, name: str, kind: str, **more: Any) -> None:
        given = attributes(**{**kinds()[kind], **more})
        self.names[name] = self.client("C_CreateObject", self.session, given)

    def outcome(self, function: str, *args: Any) -> str:
        return self.client.outcome(function, self.session, *map(self._meant, args))

    def told(self, name: str, *wanted: str) -> list[bytes]:
        return self.client.get(self.session, self.names[name], *wanted)

    def play(self, step: Step) -> None:
        """One step: what is expected of a function, its name, its arguments.

        "new" makes an object of a kind; "=a b" keeps what the function gives under names; "told"
        names an object and the values of its attributes; "in" opens a session and goes on in it.
        """
        expected, function, *args = step
        if expected == "new":
            self.new(function, args[0], **(args[1] if len(args) > 1 else {}))
        elif expected == "told":
            wanted: dict[str, Any] = args[0]
            assert self.told(function, *wanted) == [encoded(v) for v in wanted.values()], wanted
        elif expected == "in":
            self.session = self.client.open(rw=function == "rw")
        elif expected.startswith("="):
            made = self.client(function, self.session, *map(self._meant, args))
            names = expected[1:].split()
            self.names |= dict(zip(names, made if len(names) > 1 else [made], strict=True))
        elif function == "get":
            asked = [AttributeRequest(getattr(ck, f"CKA_{name}"), 1 << 16) for name in args[1:]]
            rv, _ = self.client("C_GetAttributeValue", self.session, self.names[args[0]], asked)
            assert ck.CKR_NAMES[rv] == expected
        else:
            assert self.outcome(function, *args) == expected, step


def new(name: str, kind: str, **more: Any) -> Step:
    return ("new", name, kind, more)


def told(name: str, **values: Any) -> Step:
    return ("told", name, values)


def fails(expected: str, *functions: tuple[Any, ...]) -> list[Step]:
    return [(expected, *call) for call in functions]


def kept(name: str, function: str, *args: Any) -> Step:
    return (f"={name}", function, *args)


KEYS = [new("mac", "generic"), new("aes", "aes"), new("data", "data", LABEL="found")]
PAIR = [new("public", "ec public"), new("private", "ec private")]
