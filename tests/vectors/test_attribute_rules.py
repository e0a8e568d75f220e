"""Every row of spec/pkcs11/attributes.toml, walked through the functions that it rules."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.attribute_model import Purpose
from pkcs11_module.facade.attributes import boolean, complete, packed, ulong
from pkcs11_module.types import Attribute, AttributeRequest, NestedAnswer, Pkcs11Error
from tests.unit.facade_rig import SO_PIN, Rig, Value, template
from tests.unit.facade_samples import certificate, rsa_private_key
from token_fw import crypto
from token_fw.crypto import KeySpec

SPEC = Path(__file__).resolve().parents[2] / "spec" / "pkcs11" / "attributes.toml"
TABLE: dict[str, Any] = tomllib.loads(SPEC.read_text(encoding="utf-8"))
Kind = tuple[str, str]
Row = dict[str, Any]


def _kinds() -> Iterator[tuple[Kind, dict[str, Row]]]:
    for kind in TABLE["kind"]:
        rows: dict[str, Row] = {}
        for group in kind["groups"]:
            rows |= TABLE["groups"][group]
        for name, default in kind.get("defaults", {}).items():
            rows[name] = {**rows[name], "default": default}
        for key_type in kind.get("types", [""]):
            yield (kind["class"], key_type), rows


KINDS = dict(_kinds())
ALL = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(filter(None, kind)))
PURPOSES = {"create", "generate", "unwrap", "derive"}


@cache
def _pair(spec: KeySpec) -> crypto.PrivateKey:
    return crypto.generate(spec)


SPECS = {
    "CKK_EC": KeySpec.ec("P-256"),
    "CKK_EC_EDWARDS": KeySpec.ED25519,
    "CKK_EC_MONTGOMERY": KeySpec.X25519,
    "CKK_ML_DSA": KeySpec.ml_dsa(44),
    "CKK_ML_KEM": KeySpec.ml_kem(768),
    "CKK_GOSTR3410": KeySpec.gost("CryptoPro-A"),
    "CKK_GOSTR3410_512": KeySpec.gost("tc26-512-A"),
}
SETS = {"CKK_ML_DSA": ck.CKP_ML_DSA_44, "CKK_ML_KEM": ck.CKP_ML_KEM_768}


@cache
def _sample(kind: Kind) -> dict[str, Value]:
    """A template for C_CreateObject with no more than it needs."""
    object_class, key_type = kind
    sample: dict[str, Value] = {"CLASS": int(getattr(ck, object_class))}
    if key_type:
        sample["KEY_TYPE"] = int(getattr(ck, key_type))
    if object_class == "CKO_CERTIFICATE":
        return sample | {"CERTIFICATE_TYPE": ck.CKC_X_509, "VALUE": certificate()}
    if object_class == "CKO_SECRET_KEY":
        return sample | {"VALUE": _secret(key_type)}
    if key_type == "CKK_RSA":
        numbers = rsa_private_key()
        private = ("PRIVATE_EXPONENT", "PRIME_1", "PRIME_2")
        names = private if object_class == "CKO_PRIVATE_KEY" else ("PUBLIC_EXPONENT",)
        return sample | {name: numbers[name] for name in ("MODULUS", *names)}
    if key_type:
        return sample | _asymmetric(kind)
    return sample


def _secret(key_type: str) -> bytes:
    """A value with odd parity in every byte, as long as the type wants it."""
    eights = {"CKK_DES2": 2, "CKK_DES3": 3}.get(key_type, 8 if "TWIN" in key_type else 4)
    return b"\x01\x02\x04\x07\x08\x0b\x0d\x0e" * eights


def _asymmetric(kind: Kind) -> dict[str, Value]:
    object_class, key_type = kind
    key = _pair(SPECS[key_type])
    public = key.public()
    private = object_class == "CKO_PRIVATE_KEY"
    if isinstance(key, crypto.MlDsaPrivateKey | crypto.MlKemPrivateKey):
        raw = {"SEED": key.seed} if private else {"VALUE": key.public().raw}
        return {"PARAMETER_SET": SETS[key_type], **raw}
    if isinstance(key, crypto.GostPrivateKey):
        number = key.d[::-1] if private else key.public().point
        return {"GOSTR3410_PARAMS": key.spec.oid_der, "VALUE": number}
    curve: dict[str, Value] = {"EC_PARAMS": key.spec.oid_der}
    if not private:
        assert isinstance(public, crypto.EcPublicKey | crypto.EdwardsPublicKey)
        return curve | {"EC_POINT": bytes((4, len(public.point))) + public.point}
    return curve | {"VALUE": key.to_pkcs8()[-32:] if key_type != "CKK_EC" else b"\x5a" * 32}


def _short(name: str) -> str:
    return name.removeprefix("CKA_")


def _number(name: str) -> int:
    return int(getattr(ck, name))


def _encoded(form: str, value: Any) -> bytes:
    """A default, or another value of the table, in the form of C_GetAttributeValue."""
    if isinstance(value, dict):
        return crypto.encode_oid(value["oid"])
    if form == "bool":
        return boolean(value)
    if form == "ulong":
        named = "CK_UNAVAILABLE_INFORMATION" if value == "unavailable" else value
        return ulong(_number(named) if isinstance(named, str) else named)
    return str(value).encode("utf-8")


INNER = (Attribute(ck.CKA_SENSITIVE, b"\x01"), Attribute(ck.CKA_LABEL, b"inner"))
OTHERS: dict[str, list[bytes]] = {
    "bool": [b"\x01", b"\x00"],
    "ulong": [ulong(2)],
    "bytes": [b"\x30\x00"],
    "utf8": [b"another"],
    "date": [b"20300101"],
    "mechanisms": [ulong(ck.CKM_AES_CBC) + ulong(ck.CKM_AES_GCM)],
    "template": [packed(INNER)],
}
KNOWN = {"CKA_GOST28147_PARAMS": [crypto.encode_oid("1.2.643.2.2.31.1")]}
"""Other values of attributes that do not take any."""
MALFORMED = {
    "bool": b"\x01\x00",
    "ulong": b"\x01\x00\x00",
    "utf8": b"\xff",
    "date": b"20231301",
    "mechanisms": b"\x01\x00\x00",
}


def _attribute(name: str, row: Row, value: bytes) -> Attribute:
    if row["form"] == "template":
        return Attribute(_number(name), None, INNER)
    return Attribute(_number(name), value)


def _set(row: Row, key: str) -> set[str]:
    value = row.get(key, [])
    if row.get("computed") and key == "refuse":
        value = "all"
    return PURPOSES if value == "all" else set(value)


class Bench:
    """A token whose user is logged in, and objects of a kind on it and in the session."""

    def __init__(self, kind: Kind) -> None:
        self.rig = Rig()
        self.client = self.rig.initialised()
        self.session = self.client.user()
        self.sample = _sample(kind)

    def with_template(
        self, more: tuple[Attribute, ...], without: str, values: dict[str, Value]
    ) -> tuple[Attribute, ...]:
        named = {**self.sample, **values}
        named.pop(without, None)
        given = {attribute.type: attribute for attribute in template(**named)}
        return tuple((given | {attribute.type: attribute for attribute in more}).values())

    def create(self, *more: Attribute, without: str = "", **values: Value) -> int:
        given = self.with_template(more, without, values)
        return int(self.client("C_CreateObject", self.session, given))

    def outcome(
        self, *more: Attribute, without: str = "", values: dict[str, Value] | None = None
    ) -> str:
        given = self.with_template(more, without, values or {})
        return self.client.outcome("C_CreateObject", self.session, given)

    def told(self, handle: int, name: str) -> tuple[str, object]:
        nested = tuple(AttributeRequest(0, 100) for _ in INNER)
        number = _number(name)
        array = name.endswith("_TEMPLATE")
        request = AttributeRequest(number, len(INNER) if array else 1 << 16, nested or None)
        request = request if array else AttributeRequest(number, 1 << 16)
        rv, (answer,) = self.client("C_GetAttributeValue", self.session, handle, (request,))
        if isinstance(answer, NestedAnswer):
            answer = packed(Attribute(n, v) for n, v in answer.items if isinstance(v, bytes))
        return ck.CKR_NAMES[rv], answer


@pytest.fixture
def bench(kind: Kind) -> Bench:
    return Bench(kind)


@ALL
@pytest.mark.parametrize("on_token", [False, True])
def test_defaults(bench: Bench, kind: Kind, on_token: bool) -> None:
    handle = bench.create(TOKEN=on_token)
    wrong = {}
    for name, row in KINDS[kind].items():
        if "default" not in row or name in ("CKA_TOKEN", *map("CKA_{}".format, bench.sample)):
            continue
        expected = ("CKR_OK", _encoded(row["form"], row["default"]))
        if (found := bench.told(handle, name)) != expected:
            wrong[name] = found
    assert wrong == {}


@ALL
def test_what_is_needed_to_create(bench: Bench, kind: Kind) -> None:
    needed = {name for name, row in KINDS[kind].items() if "create" in _set(row, "need")}
    found = {
        f"CKA_{name}": bench.outcome(without=name)
        for name in bench.sample
        if f"CKA_{name}" in needed
    }
    assert found == dict.fromkeys(needed, "CKR_TEMPLATE_INCOMPLETE")


@ALL
def test_what_must_not_be_given_to_create(bench: Bench, kind: Kind) -> None:
    refused = {name: row for name, row in KINDS[kind].items() if "create" in _set(row, "refuse")}
    found = {
        name: bench.outcome(_attribute(name, row, OTHERS[row["form"]][0]))
        for name, row in refused.items()
    }
    read_only, inconsistent = "CKR_ATTRIBUTE_READ_ONLY", "CKR_TEMPLATE_INCONSISTENT"
    assert found == {
        name: row.get("error", read_only if row.get("computed") else inconsistent)
        for name, row in refused.items()
    }


@ALL
@pytest.mark.parametrize("purpose", ["generate", "unwrap", "derive"])
def test_templates_for_other_purposes(kind: Kind, purpose: str) -> None:
    object_class, key_type = kind
    rows = KINDS[kind]
    numbers = _number(object_class), _number(key_type) if key_type else 0
    given = {
        _number(name): OTHERS[row["form"]][0]
        for name, row in rows.items()
        if purpose in _set(row, "need") and name not in ("CKA_CLASS", "CKA_KEY_TYPE")
    }

    def outcome(extra: dict[int, bytes], without: int | None = None) -> str:
        full = {name: value for name, value in {**given, **extra}.items() if name != without}
        try:
            complete(full, *numbers, Purpose[purpose.upper()])
        except Pkcs11Error as error:
            return ck.CKR_NAMES[error.rv]
        return "CKR_OK"

    if object_class != "CKO_CERTIFICATE":
        assert outcome({}) == "CKR_OK"
    for number in given:
        assert outcome({}, without=number) == "CKR_TEMPLATE_INCOMPLETE", ck.CKA_NAMES[number]
    for name, row in rows.items():
        if purpose in _set(row, "refuse"):
            computed = "CKR_ATTRIBUTE_READ_ONLY" if row.get("computed") else None
            expected = row.get("error", computed or "CKR_TEMPLATE_INCONSISTENT")
            assert outcome({_number(name): OTHERS[row["form"]][0]}) == expected, name


@ALL
def test_what_is_derived_has_to_be_true(bench: Bench, kind: Kind) -> None:
    derived = {
        name: row
        for name, row in KINDS[kind].items()
        if row.get("derived")
        and not _set(row, "refuse") & {"create"}
        and _short(name) not in bench.sample
    }
    found = {
        name: bench.outcome(_attribute(name, row, OTHERS[row["form"]][0]))
        for name, row in derived.items()
    }
    assert found == {
        name: row.get("error", "CKR_TEMPLATE_INCONSISTENT") for name, row in derived.items()
    }


@ALL
def test_values_outside_their_range_or_form_are_refused(bench: Bench, kind: Kind) -> None:
    wrong = {}
    for name, row in KINDS[kind].items():
        bad = [MALFORMED[row["form"]]] if row["form"] in MALFORMED else []
        bad += [ulong(99)] if "values" in row else []
        if "create" in _set(row, "refuse"):
            continue
        for value in bad:
            found = bench.outcome(Attribute(_number(name), value))
            if found != "CKR_ATTRIBUTE_VALUE_INVALID":
                wrong[name] = found
    assert wrong == {}


@ALL
def test_attributes_of_other_kinds_are_unknown(bench: Bench, kind: Kind) -> None:
    rows = KINDS[kind]
    handle = bench.create()
    for others in KINDS.values():
        for name, row in others.items():
            if name in rows:
                continue
            value = _attribute(name, row, OTHERS[row["form"]][0])
            assert bench.outcome(value) == "CKR_ATTRIBUTE_TYPE_INVALID", name
            assert bench.told(handle, name)[0] == "CKR_ATTRIBUTE_TYPE_INVALID", name


def _may(change: str, old: object, value: bytes, *, on_token: bool) -> bool:
    ways = {"yes": True, "no": False, "session": not on_token}
    if change in ways:
        return ways[change]
    return value in (old, {"to_true": b"\x01", "to_false": b"\x00"}[change])


@ALL
@pytest.mark.parametrize("on_token", [False, True])
def test_what_c_set_attribute_value_may_change(bench: Bench, kind: Kind, on_token: bool) -> None:
    wrong = {}
    for name, row in KINDS[kind].items():
        for value in OTHERS[row["form"]]:
            handle = bench.create(TOKEN=on_token)
            given, old = (_attribute(name, row, value),), bench.told(handle, name)[1]
            found = bench.client.outcome("C_SetAttributeValue", bench.session, handle, given)
            allowed = _may(row.get("change", "no"), old, value, on_token=on_token)
            allowed = allowed and not (row.get("so") and value == b"\x01")
            if found != ("CKR_OK" if allowed else "CKR_ATTRIBUTE_READ_ONLY"):
                wrong[name, value] = found
            elif allowed and bench.told(handle, name) != ("CKR_OK", value):
                wrong[name, value] = "not changed"
            bench.client("C_DestroyObject", bench.session, handle)
    assert wrong == {}


@ALL
def test_what_c_copy_object_may_change(bench: Bench, kind: Kind) -> None:
    original = bench.create()
    wrong = {}
    for name, row in KINDS[kind].items():
        change: str = row.get("change", "no")
        way: str = row.get("copy", "yes" if change == "session" else change)
        for value in OTHERS[row["form"]]:
            given = (_attribute(name, row, value),)
            allowed = _may(way, bench.told(original, name)[1], value, on_token=False)
            expected = "CKR_OK" if allowed else row.get("copy_error", "CKR_ATTRIBUTE_READ_ONLY")
            if row.get("so") and value == b"\x01":
                expected = "CKR_ATTRIBUTE_READ_ONLY"
            found = bench.client.outcome("C_CopyObject", bench.session, original, given)
            if found != expected:
                wrong[name, value] = found
            elif found == "CKR_OK":
                copy = bench.client("C_CopyObject", bench.session, original, given)
                if bench.told(copy, name) != ("CKR_OK", value):
                    wrong[name, value] = "not changed"
    assert wrong == {}


@ALL
def test_what_only_the_so_gives(kind: Kind) -> None:
    rig = Rig()
    client = rig.initialised()
    session = client.open()
    client("C_Login", session, ck.CKU_SO, SO_PIN)
    for name, row in KINDS[kind].items():
        if not row.get("so"):
            continue
        values = {**_sample(kind), "PRIVATE": False, _short(name): True}
        handle = client("C_CreateObject", session, template(**values))
        assert client.get(session, handle, _short(name)) == [b"\x01"]
        client("C_SetAttributeValue", session, handle, template(**{_short(name): False}))
        client("C_SetAttributeValue", session, handle, template(**{_short(name): True}))
        client("C_Logout", session)
        client.user()
        refusal = client.fails("C_CreateObject", session, template(**values))
        assert refusal == "CKR_ATTRIBUTE_READ_ONLY"


@ALL
@pytest.mark.parametrize("on_token", [False, True])
def test_what_a_sensitive_key_does_not_tell(bench: Bench, kind: Kind, on_token: bool) -> None:
    rows = KINDS[kind]
    secret = {name for name, row in rows.items() if row.get("secret")}
    if kind[0] not in ("CKO_PRIVATE_KEY", "CKO_SECRET_KEY"):
        assert secret == set()
        return
    handle = bench.create(TOKEN=on_token, SENSITIVE=True)
    hidden = {name for name in rows if bench.told(handle, name)[0] == "CKR_ATTRIBUTE_SENSITIVE"}
    assert hidden == secret
    handle = bench.create(SENSITIVE=False, EXTRACTABLE=False)
    assert {name for name in secret if bench.told(handle, name)[0] == "CKR_OK"} == set()
    handle = bench.create(SENSITIVE=False, EXTRACTABLE=True)
    for name in secret & {f"CKA_{given}" for given in bench.sample}:
        assert bench.told(handle, name) == ("CKR_OK", bench.sample[_short(name)])


@ALL
def test_a_token_keeps_every_attribute(bench: Bench, kind: Kind) -> None:
    asked = {"CKA_LABEL": b"kept", "CKA_TOKEN": b"\x01"}
    rows = KINDS[kind]
    for name, row in rows.items():
        fixed = row.get("so") or row.get("derived") or row.get("secret")
        fixed = fixed or "create" in _set(row, "refuse")
        if fixed or _short(name) in bench.sample or name in (*asked, *NOT_ON_A_TOKEN):
            continue
        values = KNOWN.get(name, OTHERS[row["form"]])
        other = [value for value in values if value != _encoded(row["form"], row.get("default"))]
        asked[name] = other[0]
    given = tuple(_attribute(name, rows[name], value) for name, value in asked.items())
    bench.create(*given)
    bench.rig.reinsert()
    bench.client = bench.rig.application()
    bench.session = bench.client.user()
    (handle,) = bench.client.find(bench.session, LABEL="kept")
    assert {name: bench.told(handle, name)[1] for name in asked} == asked


NOT_ON_A_TOKEN = ("CKA_EXTRACTABLE", "CKA_SENSITIVE", "CKA_ALWAYS_AUTHENTICATE", "CKA_PRIVATE")


@pytest.mark.parametrize("rule", TABLE["consistency"], ids=lambda rule: rule["rule"])
def test_what_does_not_go_together(rule: dict[str, Any]) -> None:
    kinds = [kind for kind in KINDS if kind[0] == rule["class"]]
    for kind in kinds[:2]:
        bench = Bench(kind)
        met: dict[str, Value] = {}
        if rule["class"] == "CKO_CERTIFICATE":
            met = dict(ELSEWHERE) if "CKA_VALUE" in rule["when"] else dict(AT_A_URL)
        assert bench.outcome(values=met) == "CKR_OK"
        for name, value in rule["when"].items():
            if value != "any":
                met[_short(name)] = value
        assert bench.outcome(values=met) == rule["error"]


AT_A_URL: dict[str, Value] = {
    "URL": "http://localhost/certificate",
    "HASH_OF_SUBJECT_PUBLIC_KEY": b"\x01" * 20,
    "HASH_OF_ISSUER_PUBLIC_KEY": b"\x02" * 20,
}
ELSEWHERE: dict[str, Value] = {**AT_A_URL, "VALUE": b"", "SUBJECT": b"\x30\x00"}
"""A certificate that is at its URL and not on the token."""
