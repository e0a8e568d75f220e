"""C_EncapsulateKey and C_DecapsulateKey with ML-KEM, and pairs of ML-KEM and ML-DSA."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from pkcs11_module import _constants as ck
from pkcs11_module.types import Attribute, Buffer, BufferTooSmall, Length, Mechanism
from tests.unit.facade_rig import ROOM, Client, Value, template
from tests.unit.facade_secrets import make, tells, value

ML_KEM = Mechanism(ck.CKM_ML_KEM)
SIZES = {ck.CKP_ML_KEM_768: 1088, ck.CKP_ML_KEM_1024: 1568}
TOLD: dict[str, Value] = {"SENSITIVE": False, "EXTRACTABLE": True}


def pair(
    client: Client,
    session: int,
    parameter_set: int = ck.CKP_ML_KEM_768,
    *,
    on_token: bool = False,
    **private: Value,
) -> tuple[int, int]:
    handles: tuple[int, int] = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_ML_KEM_KEY_PAIR_GEN),
        template(PARAMETER_SET=parameter_set, TOKEN=on_token),
        template(**{"TOKEN": on_token, **private}),
    )
    return handles


@pytest.mark.parametrize("parameter_set", SIZES)
def test_both_sides_have_the_same_secret(
    client: Client, session: int, parameter_set: int, *, on_token: bool
) -> None:
    public, private = pair(client, session, parameter_set, on_token=on_token)
    size = SIZES[parameter_set]
    wanted = template(**TOLD)
    asked = client("C_EncapsulateKey", session, ML_KEM, public, wanted, Buffer(None))
    assert asked == (Length(size), 0)
    with pytest.raises(BufferTooSmall) as raised:
        client("C_EncapsulateKey", session, ML_KEM, public, wanted, Buffer(size - 1))
    assert raised.value.length == size
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == []
    ciphertext, mine = client("C_EncapsulateKey", session, ML_KEM, public, wanted, Buffer(size))
    theirs = client("C_DecapsulateKey", session, ML_KEM, private, wanted, ciphertext)
    assert len(ciphertext) == size
    assert value(client, session, mine) == value(client, session, theirs)
    assert len(value(client, session, mine)) == 32
    assert mine != theirs
    names = ("LOCAL", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
    assert tells(client, session, mine, *names) == [False] * 3
    assert tells(client, session, theirs, *names) == [False] * 3


@pytest.mark.parametrize(
    ("parameter_set", "kind"),
    [
        (ck.CKP_ML_KEM_768, mlkem.MLKEM768PublicKey),
        (ck.CKP_ML_KEM_1024, mlkem.MLKEM1024PublicKey),
    ],
)
def test_a_secret_that_was_encapsulated_elsewhere(
    client: Client, session: int, parameter_set: int, kind: type, *, on_token: bool
) -> None:
    public, private = pair(client, session, parameter_set, on_token=on_token)
    (spki,) = client.get(session, public, "PUBLIC_KEY_INFO")
    native = serialization.load_der_public_key(spki)
    assert isinstance(native, mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey)
    assert isinstance(native, kind)
    assert client.get(session, public, "VALUE") == [native.public_bytes_raw()]
    secret, ciphertext = native.encapsulate()
    key = client("C_DecapsulateKey", session, ML_KEM, private, template(**TOLD), ciphertext)
    assert value(client, session, key) == secret


def test_another_ciphertext_gives_another_secret(
    client: Client, session: int, *, on_token: bool
) -> None:
    public, private = pair(client, session, on_token=on_token)
    ciphertext, mine = client("C_EncapsulateKey", session, ML_KEM, public, template(**TOLD), ROOM)
    changed = ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,))
    other = client("C_DecapsulateKey", session, ML_KEM, private, template(**TOLD), changed)
    assert value(client, session, other) != value(client, session, mine)
    for wrong in (ciphertext[:-1], ciphertext + b"\0", b""):
        refusal = client.fails("C_DecapsulateKey", session, ML_KEM, private, (), wrong)
        assert refusal == "CKR_WRAPPED_KEY_LEN_RANGE"


def test_the_new_key_is_what_the_template_says(client: Client, session: int) -> None:
    public, private = pair(client, session, on_token=True)
    wanted = template(KEY_TYPE=ck.CKK_AES, VALUE_LEN=32, TOKEN=True, LABEL="kem", SENSITIVE=True)
    ciphertext, mine = client("C_EncapsulateKey", session, ML_KEM, public, wanted, ROOM)
    theirs = client("C_DecapsulateKey", session, ML_KEM, private, wanted, ciphertext)
    assert sorted(client.find(session, LABEL="kem")) == sorted((mine, theirs))
    assert client.get(session, mine, "CHECK_VALUE") == client.get(session, theirs, "CHECK_VALUE")
    assert tells(client, session, theirs, "EXTRACTABLE", "SENSITIVE", "TOKEN") == [True] * 3


def test_a_shorter_key_has_the_first_bytes_of_the_secret(
    client: Client, session: int, *, on_token: bool
) -> None:
    public, private = pair(client, session, on_token=on_token)
    whole, short = template(**TOLD), template(**TOLD, KEY_TYPE=ck.CKK_AES, VALUE_LEN=16)
    ciphertext, mine = client("C_EncapsulateKey", session, ML_KEM, public, short, ROOM)
    theirs = client("C_DecapsulateKey", session, ML_KEM, private, whole, ciphertext)
    (key,), (secret,) = (client.get(session, handle, "VALUE") for handle in (mine, theirs))
    assert key == secret[:16]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"VALUE_LEN": 33}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE_LEN": 0}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"KEY_TYPE": ck.CKK_AES, "VALUE_LEN": 20}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"CLASS": ck.CKO_DATA}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"VALUE": bytes(32)}, "CKR_TEMPLATE_INCONSISTENT"),
        ({"LOCAL": True}, "CKR_ATTRIBUTE_READ_ONLY"),
        ({"KEY_TYPE": ck.CKK_RSA}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ],
)
def test_a_template_that_does_not_fit_makes_no_key(
    client: Client, session: int, wanted: dict[str, Value], error: str
) -> None:
    public, private = pair(client, session)
    asked = template(**wanted)
    assert client.fails("C_EncapsulateKey", session, ML_KEM, public, asked, ROOM) == error
    refusal = client.fails("C_DecapsulateKey", session, ML_KEM, private, asked, bytes(1088))
    assert refusal == error
    assert client.find(session, CLASS=ck.CKO_SECRET_KEY) == []


def test_templates_of_the_keys(client: Client, session: int) -> None:
    nested = (Attribute(ck.CKA_EXTRACTABLE, b"\0"),)
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_ML_KEM_KEY_PAIR_GEN),
        (
            *template(PARAMETER_SET=ck.CKP_ML_KEM_768),
            Attribute(ck.CKA_ENCAPSULATE_TEMPLATE, None, nested),
        ),
        (Attribute(ck.CKA_DECAPSULATE_TEMPLATE, None, nested),),
    )
    ciphertext, mine = client("C_EncapsulateKey", session, ML_KEM, public, (), ROOM)
    theirs = client("C_DecapsulateKey", session, ML_KEM, private, (), ciphertext)
    assert tells(client, session, mine, "EXTRACTABLE") == [False]
    assert tells(client, session, theirs, "EXTRACTABLE") == [False]
    asked = template(EXTRACTABLE=True)
    refusal = client.fails("C_EncapsulateKey", session, ML_KEM, public, asked, ROOM)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"
    refusal = client.fails("C_DecapsulateKey", session, ML_KEM, private, asked, ciphertext)
    assert refusal == "CKR_TEMPLATE_INCONSISTENT"


def test_which_keys_do_it(client: Client, session: int) -> None:
    public, private = pair(client, session)
    aes = make(client, session, bytes(32))
    wrong = {
        999: "CKR_KEY_HANDLE_INVALID",
        aes: "CKR_KEY_TYPE_INCONSISTENT",
    }
    for handle, error in {**wrong, private: "CKR_KEY_TYPE_INCONSISTENT"}.items():
        assert client.fails("C_EncapsulateKey", session, ML_KEM, handle, (), ROOM) == error
    for handle, error in {**wrong, public: "CKR_KEY_TYPE_INCONSISTENT"}.items():
        refusal = client.fails("C_DecapsulateKey", session, ML_KEM, handle, (), bytes(1088))
        assert refusal == error
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_ML_KEM_KEY_PAIR_GEN),
        template(PARAMETER_SET=ck.CKP_ML_KEM_768, ENCAPSULATE=False),
        template(DECAPSULATE=False),
    )
    refusal = client.fails("C_EncapsulateKey", session, ML_KEM, public, (), ROOM)
    assert refusal == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    refusal = client.fails("C_DecapsulateKey", session, ML_KEM, private, (), bytes(1088))
    assert refusal == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    other = Mechanism(ck.CKM_AES_KEY_WRAP)
    refusal = client.fails("C_EncapsulateKey", session, other, public, (), ROOM)
    assert refusal == "CKR_MECHANISM_INVALID"
    refusal = client.fails("C_DecapsulateKey", session, None, private, (), bytes(1088))
    assert refusal == "CKR_ARGUMENTS_BAD"


@pytest.mark.parametrize(
    ("mechanism", "parameter_set", "kind"),
    [
        (ck.CKM_ML_DSA_KEY_PAIR_GEN, ck.CKP_ML_DSA_44, mldsa.MLDSA44PublicKey),
        (ck.CKM_ML_DSA_KEY_PAIR_GEN, ck.CKP_ML_DSA_65, mldsa.MLDSA65PublicKey),
        (ck.CKM_ML_DSA_KEY_PAIR_GEN, ck.CKP_ML_DSA_87, mldsa.MLDSA87PublicKey),
        (ck.CKM_ML_KEM_KEY_PAIR_GEN, ck.CKP_ML_KEM_768, mlkem.MLKEM768PublicKey),
        (ck.CKM_ML_KEM_KEY_PAIR_GEN, ck.CKP_ML_KEM_1024, mlkem.MLKEM1024PublicKey),
    ],
)
def test_pairs_of_every_parameter_set(
    client: Client,
    session: int,
    *,
    mechanism: int,
    parameter_set: int,
    kind: type,
    on_token: bool,
) -> None:
    public, private = client(
        "C_GenerateKeyPair",
        session,
        Mechanism(mechanism),
        template(PARAMETER_SET=parameter_set, TOKEN=on_token, ID=b"pq"),
        template(TOKEN=on_token, ID=b"pq"),
    )
    assert sorted(client.find(session, ID=b"pq")) == sorted((public, private))
    told = parameter_set.to_bytes(8, "little")
    spki = client.get(session, public, "PUBLIC_KEY_INFO")
    for handle in (public, private):
        assert client.get(session, handle, "PARAMETER_SET") == [told]
        assert client.get(session, handle, "PUBLIC_KEY_INFO") == spki
        assert tells(client, session, handle, "LOCAL") == [True]
    assert isinstance(serialization.load_der_public_key(spki[0]), kind)
    names = ("SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE")
    assert tells(client, session, private, *names) == [True] * 3
    for secret in ("SEED", "VALUE"):
        with pytest.raises(AssertionError, match="CKR_ATTRIBUTE_SENSITIVE"):
            client.get(session, private, secret)


@pytest.mark.parametrize(
    ("mechanism", "public", "private", "error"),
    [
        (ck.CKM_ML_DSA_KEY_PAIR_GEN, {}, {}, "CKR_TEMPLATE_INCOMPLETE"),
        (
            ck.CKM_ML_DSA_KEY_PAIR_GEN,
            {"PARAMETER_SET": 9},
            {},
            "CKR_PARAMETER_SET_NOT_SUPPORTED",
        ),
        (
            ck.CKM_ML_KEM_KEY_PAIR_GEN,
            {"PARAMETER_SET": ck.CKP_ML_KEM_512},
            {},
            "CKR_PARAMETER_SET_NOT_SUPPORTED",
        ),
        (
            ck.CKM_ML_KEM_KEY_PAIR_GEN,
            {"PARAMETER_SET": b"\2"},
            {},
            "CKR_ATTRIBUTE_VALUE_INVALID",
        ),
        (
            ck.CKM_ML_KEM_KEY_PAIR_GEN,
            {"PARAMETER_SET": 2},
            {"PARAMETER_SET": 3},
            "CKR_TEMPLATE_INCONSISTENT",
        ),
        (
            ck.CKM_ML_KEM_KEY_PAIR_GEN,
            {"PARAMETER_SET": 2},
            {"SEED": bytes(64)},
            "CKR_TEMPLATE_INCONSISTENT",
        ),
    ],
)
def test_pairs_that_there_are_not(
    client: Client,
    session: int,
    *,
    mechanism: int,
    public: dict[str, Value],
    private: dict[str, Value],
    error: str,
    on_token: bool,
) -> None:
    where: dict[str, Value] = {"TOKEN": on_token}
    refusal = client.fails(
        "C_GenerateKeyPair",
        session,
        Mechanism(mechanism),
        template(**public, **where),
        template(**private, **where),
    )
    assert refusal == error
    assert client.find(session) == []
