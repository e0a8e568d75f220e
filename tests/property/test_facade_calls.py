"""Any sequence of calls with any arguments ends in an answer or a return value of the standard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pkcs11_module import _constants as ck
from pkcs11_module._functions import FUNCTIONS
from pkcs11_module.facade.functions import handler
from pkcs11_module.model import Kind
from pkcs11_module.types import (
    AesCbcEncryptDataParams,
    AesCtrParams,
    Attribute,
    AttributeRequest,
    Buffer,
    Des3CbcEncryptDataParams,
    Ecdh1DeriveParams,
    EddsaParams,
    GcmMessageParams,
    GcmParams,
    Gostr3410DeriveParams,
    HkdfParams,
    KdfTreeGostParams,
    KeyDerivationStringData,
    Mechanism,
    Pkcs5Pbkd2Params2,
    RsaPkcsOaepParams,
    RsaPkcsPssParams,
    SignAdditionalContext,
)
from tests.unit.facade_rig import ED25519, P256, SO_PIN, USER_PIN, Rig, encoded

# Long runs of RSA key generation and of waiting are for other tests.
LEFT_OUT = {"C_WaitForSlotEvent", "C_InitToken"}
ULONGS = st.integers(0, 12) | st.sampled_from([2**31, 2**63, 2**64 - 1])
VALUES = st.sampled_from(
    [b"", b"\x00", b"\x01", P256, ED25519, b"\xff" * 8, *(encoded(number) for number in range(4))]
) | st.binary(max_size=40)
ATTRIBUTE_TYPES = st.sampled_from(list(ck.CKA_NAMES)) | ULONGS
FEW = st.none() | st.binary(max_size=20)
BLOCK = st.binary(min_size=16, max_size=16)
HALF_BLOCK = st.binary(min_size=8, max_size=8)
MESSAGES = st.builds(GcmMessageParams, FEW, ULONGS, ULONGS, FEW, ULONGS | st.just(128))
PARAMETERS = (
    st.none()
    | st.binary(max_size=4)
    | BLOCK
    | HALF_BLOCK
    | st.builds(RsaPkcsPssParams, ULONGS, ULONGS, ULONGS)
    | st.builds(RsaPkcsOaepParams, ULONGS, ULONGS, ULONGS, FEW)
    | st.builds(Ecdh1DeriveParams, ULONGS, FEW, FEW)
    | st.builds(EddsaParams, st.booleans(), FEW)
    | st.builds(GcmParams, FEW, ULONGS, FEW, ULONGS | st.just(128))
    | st.builds(AesCtrParams, ULONGS, BLOCK)
    | st.builds(KeyDerivationStringData, FEW)
    | st.builds(AesCbcEncryptDataParams, BLOCK, FEW)
    | st.builds(Des3CbcEncryptDataParams, HALF_BLOCK, FEW)
    | st.builds(Gostr3410DeriveParams, ULONGS, FEW, FEW)
    | st.builds(KdfTreeGostParams, FEW, FEW, ULONGS, ULONGS, ULONGS)
    | st.builds(HkdfParams, st.booleans(), st.booleans(), ULONGS, ULONGS, FEW, ULONGS, FEW)
    # Many iterations are for whoever has the time.
    | st.builds(Pkcs5Pbkd2Params2, ULONGS, FEW, st.integers(0, 99), ULONGS, FEW, FEW)
    | st.builds(SignAdditionalContext, ULONGS, FEW)
)
MECHANISMS = st.builds(Mechanism, st.sampled_from(list(ck.CKM_NAMES)) | ULONGS, PARAMETERS)
MESSAGE_MECHANISMS = st.builds(Mechanism, st.just(ck.CKM_AES_GCM), st.none() | MESSAGES)
PINS = st.sampled_from([None, b"", USER_PIN, SO_PIN, b"wrong"])
BUFFERS = st.builds(Buffer, st.none() | st.sampled_from([0, 1, 64, 256, 1 << 16]))
ARGUMENTS: dict[Kind, st.SearchStrategy[object]] = {
    Kind.SESSION: st.integers(0, 6),
    Kind.ULONG: ULONGS,
    Kind.BOOL: st.booleans(),
    Kind.BYTES: PINS | st.binary(max_size=300),
    Kind.OPTIONAL: st.none() | st.binary(max_size=300),
    Kind.LABEL: st.binary(min_size=32, max_size=32),
    Kind.MECHANISM: st.none() | MECHANISMS,
    Kind.INIT: st.none() | MECHANISMS,
    Kind.MESSAGE_INIT: st.none() | MECHANISMS | MESSAGE_MECHANISMS,
    Kind.WRAPPING: MESSAGE_MECHANISMS | MECHANISMS,
    Kind.UNWRAPPING: MESSAGE_MECHANISMS | MECHANISMS,
    Kind.MESSAGE: st.none() | MESSAGES,
    Kind.MESSAGE_IN: st.none() | MESSAGES,
    Kind.TEMPLATE: st.lists(st.builds(Attribute, ATTRIBUTE_TYPES, VALUES), max_size=8).map(tuple),
    Kind.ATTRIBUTES: st.lists(
        st.builds(AttributeRequest, ATTRIBUTE_TYPES, st.none() | st.integers(0, 99)), max_size=8
    ).map(tuple),
    Kind.BUFFER: BUFFERS,
    Kind.LAST: st.none() | BUFFERS,
    Kind.LIST: BUFFERS,
    Kind.FIND: st.integers(0, 1 << 20),
    Kind.FILLED: st.integers(0, 1 << 12),
}
OUTPUTS = {Kind.ULONG_OUT, Kind.SESSION_OUT, Kind.MADE, Kind.STRUCT, Kind.IGNORED, Kind.NULL}
CALLS = st.one_of(
    *(
        st.tuples(
            st.just(spec.name),
            *(ARGUMENTS[item.kind] for item in spec.arguments if item.kind not in OUTPUTS),
        )
        for spec in FUNCTIONS
        if handler(spec.name) is not None and spec.name not in LEFT_OUT
    )
)


@given(st.lists(CALLS, min_size=1, max_size=20))
def test_any_call_ends_in_an_answer_or_a_return_value(calls: list[tuple[object, ...]]) -> None:
    client = Rig().initialised()
    session = client.user()
    client.make_ec_pair(session)
    for name, *args in calls:
        assert client.outcome(str(name), *args) in ck.CKR_NAMES.values()
    client.application.close()
