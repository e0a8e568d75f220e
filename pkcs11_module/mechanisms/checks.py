"""Whether a mechanism can do what a function asks, with the key that the function has.

The order of the checks is that of the standard's return values: the mechanism, its parameter, the
type of the key, what the key is for, and its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from pkcs11_module import _constants as ck
from pkcs11_module._capabilities import CAPABILITIES, FUNCTION_KEYS
from pkcs11_module.rulebook import Capability, Function, Unit
from pkcs11_module.types import Mechanism, Pkcs11Error
from token_fw.crypto import CURVES, KeyKind, KeySpec

MECHANISMS: Final = CAPABILITIES
"""Every mechanism of a token, in the order of C_GetMechanismList."""

_MESSAGE_FORM: Final = frozenset(
    {
        Function.MESSAGE_ENCRYPT,
        Function.MESSAGE_DECRYPT,
        Function.MESSAGE_SIGN,
        Function.MESSAGE_VERIFY,
        Function.WRAP_AUTHENTICATED,
        Function.UNWRAP_AUTHENTICATED,
    }
)
_OF_OTHER_KEYS: Final = {
    ck.CKM_GOSTR3410_WITH_GOSTR3411: frozenset({Function.SIGN, Function.VERIFY}),
    ck.CKM_GOSTR3410_DERIVE: frozenset({Function.DERIVE}),
}
"""Mechanisms of keys of GOST R 34.10-2001, which share CKK_GOSTR3410 with those of 2012."""
_TRUE: Final = b"\x01"
_CURVE_BITS: Final = {name: curve.p.bit_length() for name, curve in CURVES.items()}
_EDWARDS_BITS: Final = {
    KeyKind.ED25519: 255,
    KeyKind.X25519: 255,
    KeyKind.ED448: 448,
    KeyKind.X448: 448,
}
_PUBLIC_BYTES: Final = {
    KeySpec.ml_dsa(44): 1312,
    KeySpec.ml_dsa(65): 1952,
    KeySpec.ml_dsa(87): 2592,
    KeySpec.ml_kem(768): 1184,
    KeySpec.ml_kem(1024): 1568,
}


class Target(Protocol):
    """A key as the checks see it: any object of a token or of a session."""

    @property
    def object_class(self) -> int: ...
    @property
    def key_type(self) -> int: ...
    @property
    def spec(self) -> KeySpec | None: ...
    @property
    def attributes(self) -> Mapping[int, object]: ...


def check(
    mechanism: Mechanism | None, function: Function, target: Target | None = None
) -> Capability:
    """What the mechanism can do, once it is known to do what `function` asks.

    Raises Pkcs11Error: CKR_ARGUMENTS_BAD without a mechanism, CKR_MECHANISM_INVALID where it
    cannot do that, CKR_KEY_TYPE_INCONSISTENT where it is for keys that no token here has,
    CKR_MECHANISM_PARAM_INVALID where the parameter is not of its kind (what is in a structure is
    not looked at), and, with a `target`, as `check_key`.
    """
    if mechanism is None:
        raise Pkcs11Error(ck.CKR_ARGUMENTS_BAD)
    capability = CAPABILITIES.get(mechanism.type)
    if function in _OF_OTHER_KEYS.get(mechanism.type, ()):
        raise Pkcs11Error(ck.CKR_KEY_TYPE_INCONSISTENT, "keys of 2012 hash with Streebog")
    if capability is None or function not in capability.functions:
        raise Pkcs11Error(ck.CKR_MECHANISM_INVALID)
    form = capability.message_form if function in _MESSAGE_FORM else capability.form
    parameter = mechanism.parameter
    if parameter is None:
        parameter = b""
    if isinstance(parameter, bytes):
        fits = len(parameter) in form.lengths
    else:
        fits = type(parameter).__name__ == form.struct
    if not fits:
        raise Pkcs11Error(ck.CKR_MECHANISM_PARAM_INVALID, "not the mechanism's parameter")
    if target is not None:
        _check_key(capability, function, target)
    return capability


def check_key(mechanism: int, function: Function, target: Target) -> None:
    """Whether a function may use that key with that mechanism, which is known to be one of its.

    Raises Pkcs11Error: CKR_KEY_TYPE_INCONSISTENT for a class or a type that the mechanism does not
    take, CKR_KEY_FUNCTION_NOT_PERMITTED where the key is not for that, CKR_MECHANISM_INVALID where
    its CKA_ALLOWED_MECHANISMS leave the mechanism out, CKR_KEY_SIZE_RANGE. Wrapping and unwrapping
    have CKR_WRAPPING_KEY_… and CKR_UNWRAPPING_KEY_… in the place of the first and the last.
    """
    _check_key(CAPABILITIES[mechanism], function, target)


def _check_key(capability: Capability, function: Function, target: Target) -> None:
    asked = FUNCTION_KEYS[function]
    if target.object_class not in asked.classes or target.key_type not in capability.key_types:
        raise Pkcs11Error(asked.type_error)
    attributes = target.attributes
    if attributes.get(asked.usage) != _TRUE:
        raise Pkcs11Error(ck.CKR_KEY_FUNCTION_NOT_PERMITTED)
    allowed = attributes.get(ck.CKA_ALLOWED_MECHANISMS)
    if allowed and capability.mechanism not in mechanism_list(allowed):
        raise Pkcs11Error(ck.CKR_MECHANISM_INVALID, "the key does not allow that mechanism")
    if capability.unit is not Unit.NONE and target.spec is not None:
        check_size(capability, target.spec, asked.size_error)


def mechanism_list(value: object) -> tuple[int, ...]:
    """The mechanisms in a value of CKA_ALLOWED_MECHANISMS."""
    assert isinstance(value, bytes)
    return tuple(memoryview(value[: len(value) // 8 * 8]).cast("Q"))


def check_size(capability: Capability, spec: KeySpec, error: int = ck.CKR_KEY_SIZE_RANGE) -> None:
    """Whether the mechanism takes keys of that size; raises Pkcs11Error with the given value."""
    if capability.unit is Unit.NONE:
        return
    size = key_bits(spec) if capability.unit is Unit.BITS else key_bytes(spec)
    if not capability.min_size <= size <= capability.max_size:
        raise Pkcs11Error(error)


def key_bits(spec: KeySpec) -> int:
    """The size of a key in bits, as CK_MECHANISM_INFO counts them."""
    if spec.bits:
        return spec.bits
    if spec.kind is KeyKind.EC:
        return _CURVE_BITS[spec.curve]
    return _EDWARDS_BITS[spec.kind]


def key_bytes(spec: KeySpec) -> int:
    """The size of a key in bytes: of a secret key, else of the public key."""
    return _PUBLIC_BYTES.get(spec) or (spec.bits + 7) // 8
