"""Values that pass between the PKCS#11 server and the facade: no protocol, no state.

Lengths are in bytes unless said otherwise; every `int` that stands for a CK_ULONG is unsigned
and below 2**64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, Protocol

from pkcs11_module._constants import CKR_BUFFER_TOO_SMALL, CKR_NAMES


class Pkcs11Error(Exception):
    """A function ends with the return value `rv` (a CKR_ code other than CKR_OK)."""

    def __init__(self, rv: int, reason: str = "") -> None:
        super().__init__(rv, reason)
        self.rv: Final = rv
        self.reason: Final = reason

    def __str__(self) -> str:
        name = CKR_NAMES.get(self.rv, f"0x{self.rv:08X}")
        return f"{name}: {self.reason}" if self.reason else name


class BufferTooSmall(Pkcs11Error):
    """CKR_BUFFER_TOO_SMALL; `length` (bytes, or items of a list) is told to the caller."""

    def __init__(self, length: int) -> None:
        super().__init__(CKR_BUFFER_TOO_SMALL, f"{length} needed")
        self.length: Final = length


class _Mark(Enum):
    UNAVAILABLE = "unavailable"


UNAVAILABLE: Final = _Mark.UNAVAILABLE
"""An attribute that has no length to tell: CK_UNAVAILABLE_INFORMATION on the wire."""
Unavailable = Literal[_Mark.UNAVAILABLE]


@dataclass(frozen=True, slots=True)
class Length:
    """Answer to a size query: how many bytes (or items of a list) the output would take."""

    value: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """One CK_ATTRIBUTE of a template; `value` is None where the caller passed no pointer.

    Values that are CK_ULONG keep the caller's native form: eight bytes, `sys.byteorder`. Where the
    value is itself a template (CKA_WRAP_TEMPLATE and its kin), it is in `nested`, and `value` None.
    """

    type: int
    value: bytes | None = field(repr=False)
    nested: tuple[Attribute, ...] | None = None


@dataclass(frozen=True, slots=True)
class AttributeRequest:
    """One attribute asked for; `capacity` is None for a size query (NULL pointer).

    An attribute whose value is a template has room for `capacity` attributes, which `nested`
    describes in the order of the array.
    """

    type: int
    capacity: int | None
    nested: tuple[AttributeRequest, ...] | None = None

    def fill(self, value: bytes | tuple[Attribute, ...]) -> AttributeAnswer:
        """What to answer for an attribute that has this value (PKCS#11 2.40 C_GetAttributeValue).

        A size query gives its length (of a template, the number of its attributes), a sufficient
        capacity the value itself, and a short one UNAVAILABLE; the call then ends with
        CKR_BUFFER_TOO_SMALL.
        """
        if self.capacity is None:
            return Length(len(value))
        # The room is an array of attributes exactly where a template is asked for.
        if len(value) > self.capacity or isinstance(value, tuple) == (self.nested is None):
            return UNAVAILABLE
        if not isinstance(value, tuple):
            return value
        return NestedAnswer(
            tuple(
                (item.type, place.fill((item.value or b"") if item.nested is None else item.nested))
                for place, item in zip(self.nested or (), value, strict=False)
            )
        )


@dataclass(frozen=True, slots=True)
class NestedAnswer:
    """A template as it fits the caller's array: every attribute's type, and its value or length."""

    items: tuple[tuple[int, AttributeAnswer], ...]


AttributeAnswer = bytes | Length | Unavailable | NestedAnswer


@dataclass(frozen=True, slots=True)
class Buffer:
    """The caller's output buffer: room for `capacity` bytes (items for a list), None = no buffer.

    A size query and a short buffer never end an operation (PKCS#11 2.40 5.2).
    """

    capacity: int | None

    def check(self, size: int) -> Length | None:
        """`Length(size)` for a size query, None where `size` fits; raises BufferTooSmall."""
        if self.capacity is None:
            return Length(size)
        if size > self.capacity:
            raise BufferTooSmall(size)
        return None

    def fill(self, size: int, run: Callable[[], bytes]) -> bytes | Length:
        """Run the operation only where its `size` bytes fit; raises BufferTooSmall.

        `size` is an upper bound of what `run` gives; `run` is not called otherwise.
        """
        answer = self.check(size)
        return run() if answer is None else answer

    def fill_list(self, items: list[int]) -> list[int] | Length:
        """The same for a list of CK_ULONG that is already known; raises BufferTooSmall."""
        answer = self.check(len(items))
        return items if answer is None else answer


@dataclass(frozen=True, slots=True)
class RsaPkcsPssParams:
    """CK_RSA_PKCS_PSS_PARAMS: CKM_ hash, CKG_ mask function, salt length in bytes."""

    hash_alg: int
    mgf: int
    salt_length: int


@dataclass(frozen=True, slots=True)
class RsaPkcsOaepParams:
    """CK_RSA_PKCS_OAEP_PARAMS: CKM_ hash, CKG_ mask function, CKZ_ source and the label."""

    hash_alg: int
    mgf: int
    source: int
    source_data: bytes | None


@dataclass(frozen=True, slots=True)
class Ecdh1DeriveParams:
    """CK_ECDH1_DERIVE_PARAMS: CKD_ derivation function, shared data, the peer's public point."""

    kdf: int
    shared_data: bytes | None
    public_data: bytes | None


@dataclass(frozen=True, slots=True)
class EddsaParams:
    """CK_EDDSA_PARAMS (PKCS#11 3.0): prehash flag and context."""

    prehash: bool
    context: bytes | None


@dataclass(frozen=True, slots=True)
class GcmParams:
    """CK_GCM_PARAMS: nonce, its length in bits, additional data, tag length in bits."""

    iv: bytes | None
    iv_bits: int
    aad: bytes | None
    tag_bits: int


@dataclass(frozen=True, slots=True)
class AesCtrParams:
    """CK_AES_CTR_PARAMS: how many low bits of the 16-byte block count, and the first block."""

    counter_bits: int
    counter_block: bytes


@dataclass(frozen=True, slots=True)
class KeyDerivationStringData:
    """CK_KEY_DERIVATION_STRING_DATA: what is put beside, over, or through the base key."""

    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AesCbcEncryptDataParams:
    """CK_AES_CBC_ENCRYPT_DATA_PARAMS: 16 bytes of initialisation vector, and the data."""

    iv: bytes
    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Des3CbcEncryptDataParams:
    """CK_DES_CBC_ENCRYPT_DATA_PARAMS: 8 bytes of initialisation vector, and the data."""

    iv: bytes
    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class HkdfParams:
    """CK_HKDF_PARAMS (PKCS#11 3.0): the steps, CKM_ hash, CKF_HKDF_SALT_ kind, salt, info."""

    extract: bool
    expand: bool
    prf_hash: int
    salt_type: int
    salt: bytes | None
    salt_key: int
    info: bytes | None


@dataclass(frozen=True, slots=True)
class Pkcs5Pbkd2Params2:
    """CK_PKCS5_PBKD2_PARAMS2: CKZ_ source and salt, iterations, CKP_ function, password."""

    salt_source: int
    salt: bytes | None
    iterations: int
    prf: int
    prf_data: bytes | None
    password: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gostr3410DeriveParams:
    """CK_GOSTR3410_DERIVE_PARAMS: CKD_ derivation function, the peer's point, and the UKM."""

    kdf: int
    public_data: bytes | None
    ukm: bytes | None


@dataclass(frozen=True, slots=True)
class KdfTreeGostParams:
    """CK_KDF_TREE_GOST_PARAMS: label, seed, bytes of the counter (R).

    Of the `length` bytes that are derived (L), the key begins at `offset`.
    """

    label: bytes | None
    seed: bytes | None
    counter_size: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class SignAdditionalContext:
    """CK_SIGN_ADDITIONAL_CONTEXT (PKCS#11 3.2): CKH_ hedge variant and the context of ML-DSA."""

    hedge_variant: int
    context: bytes | None


@dataclass(frozen=True, slots=True)
class GcmMessageParams:
    """CK_GCM_MESSAGE_PARAMS (PKCS#11 3.0), the parameter of one message.

    `iv` is what the caller's buffer holds: the nonce, or its fixed bits where `iv_generator` (CKG_)
    says that the token makes the rest. `tag` is the one to check when decrypting; when encrypting
    it is the room for one.
    """

    iv: bytes | None
    iv_fixed_bits: int
    iv_generator: int
    tag: bytes | None
    tag_bits: int


@dataclass(frozen=True, slots=True)
class MessageOutput:
    """What is written back into a message's parameter; None leaves the caller's bytes alone."""

    iv: bytes | None = None
    tag: bytes | None = None


MechanismParameter = (
    RsaPkcsPssParams
    | RsaPkcsOaepParams
    | Ecdh1DeriveParams
    | EddsaParams
    | GcmParams
    | AesCtrParams
    | KeyDerivationStringData
    | AesCbcEncryptDataParams
    | Des3CbcEncryptDataParams
    | HkdfParams
    | Pkcs5Pbkd2Params2
    | Gostr3410DeriveParams
    | KdfTreeGostParams
    | SignAdditionalContext
    | GcmMessageParams
)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """CK_MECHANISM. A parameter that is not a structure of the table comes as its bytes."""

    type: int
    parameter: MechanismParameter | bytes | None = None


class Application(Protocol):
    """One process between C_Initialize and C_Finalize: its sessions, handles and logins."""

    def call(self, name: str, *args: object) -> object:
        """Run the function `name` ("C_Sign", …); raises Pkcs11Error. Called from many threads."""

    def refused(self, name: str, session: int) -> None:
        """Do what an error of that function does in the session, if that is open.

        The library refused the call by itself. Called from many threads; raises nothing.
        """

    def close(self) -> None:
        """End every session and wake every thread inside `call`; calling it twice is allowed."""
