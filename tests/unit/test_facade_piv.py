"""A PIV card through PKCS#11: what is in its slots, used and not changed."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW
from apdu.transport import Transport
from host_tools.conformance import piv_commands as piv
from pkcs11_module import _constants as ck
from pkcs11_module.cards.piv import PivCard
from pkcs11_module.cards.pkcs15 import USER_PIN
from pkcs11_module.types import Ecdh1DeriveParams, Mechanism, RsaPkcsOaepParams, RsaPkcsPssParams
from tests import cards, piv_cards
from tests.unit.facade_rig import ROOM, Client, Rig, Value, template

PIN = piv_cards.PIN
MESSAGE = b"to be signed"
LABELS = {
    piv.AUTHENTICATION: ("PIV AUTH", b"\x01"),
    piv.SIGNATURE: ("SIGN", b"\x02"),
    piv.KEY_MANAGEMENT: ("KEY MAN", b"\x03"),
    piv.CARD_AUTHENTICATION: ("CARD AUTH", b"\x04"),
    piv.RETIRED: ("Retired KEY MAN 1", b"\x05"),
    0x87: ("Retired KEY MAN 6", b"\x10"),
    0x95: ("Retired KEY MAN 20", b"\x24"),
}


class PivRig(Rig):
    """A token in a reader that shows its PIV application, and the card's own side of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reader.application = "piv"
        assert self.reader.card is not None
        self.owner = piv_cards.Client(self.reader.card.connect())
        self.owner.prove()
        self.owner.log_in()

    def logged_in(self) -> tuple[Client, int]:
        client = self.application()
        session = client.open()
        client("C_Login", session, ck.CKU_USER, PIN)
        return client, session


def private_key(client: Client, session: int, **wanted: Value) -> int:
    (handle,) = client.find(session, CLASS=ck.CKO_PRIVATE_KEY, **wanted)
    return handle


@pytest.mark.parametrize("slot", LABELS)
def test_a_key_has_the_label_and_id_that_opensc_gives_it(slot: int) -> None:
    rig = PivRig()
    public = rig.owner.make_key(slot)
    client, session = rig.logged_in()
    label, ident = LABELS[slot]
    handle = private_key(client, session)
    assert client.get(session, handle, "LABEL", "ID") == [f"{label} key".encode(), ident]
    (half,) = client.find(session, CLASS=ck.CKO_PUBLIC_KEY, ID=ident)
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    told, half_label = client.get(session, half, "EC_POINT", "LABEL")
    assert (told, half_label) == (tlv.encode(0x04, point), f"{label} pubkey".encode())


def test_private_keys_are_seen_after_a_login_alone_and_are_sensitive() -> None:
    rig = PivRig()
    rig.owner.make_key(piv.AUTHENTICATION)
    client = rig.application()
    session = client.open()
    assert client.find(session, CLASS=ck.CKO_PRIVATE_KEY) == []
    assert len(client.find(session, CLASS=ck.CKO_PUBLIC_KEY)) == 1
    client("C_Login", session, ck.CKU_USER, PIN)
    names = ("SENSITIVE", "EXTRACTABLE", "NEVER_EXTRACTABLE", "LOCAL", "ALWAYS_AUTHENTICATE")
    told = client.get(session, private_key(client, session), *names)
    assert told == [b"\1", b"\0", b"\1", b"\1", b"\0"]


def test_an_imported_key_is_told_to_be_one() -> None:
    rig = PivRig()
    rig.owner.ok(piv.import_key(piv.AUTHENTICATION, piv.P256, {0x06: bytes(range(1, 33))}))
    client, session = rig.logged_in()
    told = client.get(session, private_key(client, session), "LOCAL", "NEVER_EXTRACTABLE")
    assert told == [b"\0", b"\0"]


@pytest.mark.parametrize(
    ("info", "pack"), [(0, bytes), (1, gzip.compress)], ids=["plain", "compressed"]
)
def test_a_certificate_is_read_by_anybody(info: int, pack: Callable[[bytes], bytes]) -> None:
    rig = PivRig()
    value = piv_cards.certificate(rig.owner.make_key(piv.SIGNATURE))
    rig.owner.ok(
        piv.put_data(bytes.fromhex("5FC10A"), piv_cards.certificate_object(pack(value), info))
    )
    client = rig.application()
    session = client.open()
    (handle,) = client.find(session, CLASS=ck.CKO_CERTIFICATE)
    label, ident, told = client.get(session, handle, "LABEL", "ID", "VALUE")
    assert (label, ident, told) == (b"Certificate for Digital Signature", b"\x02", value)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x70",
        piv_cards.certificate_object(b"")[2:],
        piv_cards.certificate_object(b"not packed", 1),
        piv_cards.certificate_object(gzip.compress(bytes(9)), 1)[:-9],
    ],
    ids=["nothing", "a tag alone", "the value alone", "not packed", "packed, cut short"],
)
def test_a_certificate_that_makes_no_sense_hurts_nothing_else(broken: bytes) -> None:
    rig = PivRig()
    rig.owner.make_key(piv.AUTHENTICATION)
    rig.owner.ok(piv.put_data(bytes.fromhex("5FC105"), broken or b"\x00"))
    client, session = rig.logged_in()
    assert client.find(session, CLASS=ck.CKO_CERTIFICATE) == []
    private_key(client, session)


def rsa_signer() -> tuple[Client, int, int, rsa.RSAPublicKey]:
    rig = PivRig()
    public = rig.owner.make_key(piv.AUTHENTICATION, piv.RSA_2048)
    client, session = rig.logged_in()
    return client, session, private_key(client, session), public


def test_rsa_signs_with_pkcs1() -> None:
    client, session, key, public = rsa_signer()
    signature = client.sign(session, ck.CKM_SHA256_RSA_PKCS, key, MESSAGE)
    public.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("salt", [0, 20, 32])
def test_rsa_signs_with_pss(salt: int) -> None:
    client, session, key, public = rsa_signer()
    parameter = RsaPkcsPssParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA384, salt)
    client("C_SignInit", session, Mechanism(ck.CKM_SHA256_RSA_PKCS_PSS, parameter), key)
    signature = bytes(client("C_Sign", session, MESSAGE, ROOM))
    scheme = padding.PSS(padding.MGF1(hashes.SHA384()), salt)
    public.verify(signature, MESSAGE, scheme, hashes.SHA256())


def test_raw_rsa_takes_a_number_below_the_modulus() -> None:
    client, session, key, public = rsa_signer()
    power = int.from_bytes(client.sign(session, ck.CKM_RSA_X_509, key, b"\x02"), "big")
    assert pow(power, 65537, public.public_numbers().n) == 2
    client("C_SignInit", session, Mechanism(ck.CKM_RSA_X_509), key)
    assert client.fails("C_Sign", session, b"\xff" * 256, ROOM) == "CKR_DATA_INVALID"


def test_rsa_decrypts_with_pkcs1_and_refuses_a_wrong_padding() -> None:
    client, session, key, public = rsa_signer()
    client("C_DecryptInit", session, Mechanism(ck.CKM_RSA_PKCS), key)
    cryptogram = public.encrypt(b"a session key", padding.PKCS1v15())
    assert client("C_Decrypt", session, cryptogram, ROOM) == b"a session key"
    client("C_DecryptInit", session, Mechanism(ck.CKM_RSA_PKCS), key)
    wrong = bytes(255) + b"\x02"
    assert client.fails("C_Decrypt", session, wrong, ROOM) == "CKR_ENCRYPTED_DATA_INVALID"


@pytest.mark.parametrize("label", [b"", b"label"])
def test_rsa_decrypts_with_oaep(label: bytes) -> None:
    client, session, key, public = rsa_signer()
    scheme = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label or None)
    source = ck.CKZ_DATA_SPECIFIED
    parameter = RsaPkcsOaepParams(ck.CKM_SHA256, ck.CKG_MGF1_SHA256, source, label)
    client("C_DecryptInit", session, Mechanism(ck.CKM_RSA_PKCS_OAEP, parameter), key)
    cryptogram = public.encrypt(b"a session key", scheme)
    assert client("C_Decrypt", session, cryptogram, ROOM) == b"a session key"


@pytest.mark.parametrize(
    ("algorithm", "size", "hash_"),
    [(piv.P256, 32, hashes.SHA512()), (piv.P384, 48, hashes.SHA256())],
    ids=["digest longer", "digest shorter"],
)
def test_ecdsa_takes_digests_of_any_length(
    algorithm: int, size: int, hash_: hashes.HashAlgorithm
) -> None:
    rig = PivRig()
    public = rig.owner.make_key(piv.KEY_MANAGEMENT, algorithm)
    client, session = rig.logged_in()
    mechanism = ck.CKM_ECDSA_SHA512 if hash_.name == "sha512" else ck.CKM_ECDSA_SHA256
    raw = client.sign(session, mechanism, private_key(client, session), MESSAGE)
    r, s = (int.from_bytes(part, "big") for part in (raw[:size], raw[size:]))
    public.verify(utils.encode_dss_signature(r, s), MESSAGE, ec.ECDSA(hash_))


def test_ed25519_signs() -> None:
    rig = PivRig()
    public = rig.owner.make_key(piv.AUTHENTICATION, piv.ED25519)
    client, session = rig.logged_in()
    key = private_key(client, session)
    public.verify(client.sign(session, ck.CKM_EDDSA, key, MESSAGE), MESSAGE)


def derived(client: Client, session: int, key: int, point: bytes) -> bytes:
    parameter = Ecdh1DeriveParams(ck.CKD_NULL, None, point)
    wanted = template(
        CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=ck.CKK_GENERIC_SECRET, EXTRACTABLE=True, SENSITIVE=False
    )
    mechanism = Mechanism(ck.CKM_ECDH1_DERIVE, parameter)
    (value,) = client.get(session, client("C_DeriveKey", session, mechanism, key, wanted), "VALUE")
    return value


def test_keys_agree_on_secrets() -> None:
    rig = PivRig()
    on_curve = rig.owner.make_key(piv.KEY_MANAGEMENT)
    montgomery = rig.owner.make_key(piv.RETIRED, piv.X25519)
    client, session = rig.logged_in()
    peer = ec.generate_private_key(ec.SECP256R1())
    point = peer.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    key = private_key(client, session, ID=b"\x03")
    assert derived(client, session, key, point) == peer.exchange(ec.ECDH(), on_curve)
    other = x25519.X25519PrivateKey.generate()
    key = private_key(client, session, ID=b"\x05")
    shared = derived(client, session, key, other.public_key().public_bytes_raw())
    assert shared == other.exchange(montgomery)


def test_a_key_that_takes_a_finger_for_each_use_asks_for_a_login_for_each() -> None:
    rig = PivRig()
    rig.owner.make_key(piv.AUTHENTICATION, pin=piv.MATCH_ALWAYS)
    client, session = rig.logged_in()
    key = private_key(client, session)
    assert client.get(session, key, "ALWAYS_AUTHENTICATE") == [b"\1"]
    client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), key)
    client("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, PIN)
    assert len(client("C_Sign", session, bytes(32), ROOM)) == 64


def test_the_signature_key_asks_for_a_login_for_each_use() -> None:
    rig = PivRig()
    public = rig.owner.make_key(piv.SIGNATURE)
    client, session = rig.logged_in()
    key = private_key(client, session)
    assert client.get(session, key, "ALWAYS_AUTHENTICATE") == [b"\1"]
    for _ in range(2):
        client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), key)
        assert client.fails("C_Sign", session, bytes(32), ROOM) == "CKR_USER_NOT_LOGGED_IN"
        client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), key)
        client("C_Login", session, ck.CKU_CONTEXT_SPECIFIC, PIN)
        raw = bytes(client("C_Sign", session, bytes(32), ROOM))
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        signature = utils.encode_dss_signature(r, s)
        public.verify(signature, bytes(32), ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_wrong_pins_are_told_until_the_pin_is_locked() -> None:
    client = PivRig().application()
    session = client.open()
    seen = [client.fails("C_Login", session, ck.CKU_USER, piv_cards.WRONG) for _ in range(4)]
    assert seen == ["CKR_PIN_INCORRECT"] * 2 + ["CKR_PIN_LOCKED"] * 2
    flags = client("C_GetTokenInfo", 1)[4]
    assert flags & ck.CKF_USER_PIN_LOCKED


def test_a_pin_longer_than_any_of_the_card_costs_no_try() -> None:
    client = PivRig().application()
    session = client.open()
    assert client.fails("C_Login", session, ck.CKU_USER, b"1" * 9) == "CKR_PIN_INCORRECT"
    assert not client("C_GetTokenInfo", 1)[4] & ck.CKF_USER_PIN_COUNT_LOW


def test_the_pin_is_changed_by_its_user() -> None:
    client = PivRig().application()
    session = client.open()
    assert client.fails("C_SetPIN", session, PIN, b"12345") == "CKR_PIN_LEN_RANGE"
    client("C_SetPIN", session, PIN, piv_cards.NEW_PIN)
    assert client.fails("C_Login", session, ck.CKU_USER, PIN) == "CKR_PIN_INCORRECT"
    client("C_Login", session, ck.CKU_USER, piv_cards.NEW_PIN)


def test_who_changes_the_pin_without_a_login_is_not_logged_in_on_the_card() -> None:
    client = PivRig().application()
    session = client.open()
    client("C_SetPIN", session, PIN, piv_cards.NEW_PIN)
    assert not client.application.slot(1).card.resume(USER_PIN, lost=False)
    client("C_Login", session, ck.CKU_USER, piv_cards.NEW_PIN)
    assert client.application.slot(1).card.resume(USER_PIN, lost=False)


def test_nobody_is_the_security_officer_of_a_piv_card() -> None:
    client = PivRig().application()
    session = client.open()
    refused = client.fails("C_Login", session, ck.CKU_SO, b"12345678")
    assert refused == "CKR_USER_PIN_NOT_INITIALIZED"


def test_the_token_has_a_label_and_a_serial_number_and_random_bytes() -> None:
    rig = PivRig()
    client = rig.application()
    session = client.open()
    info = client("C_GetTokenInfo", 1)
    assert info[:4] == ("PIV", "", "PIV", "09abcdef")
    told = {client("C_GenerateRandom", session, 100) for _ in range(3)}
    assert len(told) == 3
    assert all(len(value) == 100 for value in told)


WRITES: dict[str, Callable[[Client, int, int], str]] = {
    "C_GenerateKeyPair": lambda client, session, _: client.fails(
        "C_GenerateKeyPair",
        session,
        Mechanism(ck.CKM_EC_KEY_PAIR_GEN),
        template(TOKEN=True, EC_PARAMS=bytes.fromhex("06082A8648CE3D030107")),
        template(TOKEN=True),
    ),
    "C_CreateObject": lambda client, session, _: client.fails(
        "C_CreateObject", session, template(CLASS=ck.CKO_DATA, TOKEN=True, VALUE=b"x")
    ),
    "C_DestroyObject": lambda client, session, key: client.fails("C_DestroyObject", session, key),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_on_the_card_is_not_changed(name: str) -> None:
    rig = PivRig()
    rig.owner.make_key(piv.AUTHENTICATION)
    client, session = rig.logged_in()
    key = private_key(client, session)
    before = dict(rig.store.medium.records)  # type: ignore[attr-defined]  # a store in memory
    assert WRITES[name](client, session, key) == "CKR_TOKEN_WRITE_PROTECTED"
    assert rig.store.medium.records == before  # type: ignore[attr-defined]
    client.sign(session, ck.CKM_ECDSA, key, bytes(32))


def test_objects_of_a_session_are_made_as_ever() -> None:
    client, session = PivRig().logged_in()
    client("C_CreateObject", session, template(CLASS=ck.CKO_DATA, VALUE=b"x"))
    assert len(client.find(session, CLASS=ck.CKO_DATA)) == 1


def test_a_key_made_meanwhile_is_found_and_a_deleted_one_is_gone() -> None:
    rig = PivRig()
    rig.owner.make_key(piv.AUTHENTICATION)
    client, session = rig.logged_in()
    old = private_key(client, session)
    rig.owner.make_key(piv.KEY_MANAGEMENT)
    rig.owner.ok(piv.move(0xFF, piv.AUTHENTICATION))
    assert client.get(session, private_key(client, session), "ID") == [b"\x03"]
    wanted = Mechanism(ck.CKM_ECDSA)
    assert client.fails("C_SignInit", session, wanted, old) == "CKR_KEY_HANDLE_INVALID"


def test_another_key_in_the_slot_is_another_object() -> None:
    rig = PivRig()
    rig.owner.make_key(piv.AUTHENTICATION)
    client, session = rig.logged_in()
    old = private_key(client, session)
    rig.owner.make_key(piv.AUTHENTICATION, piv.P384)
    assert private_key(client, session) != old


@pytest.mark.parametrize(
    ("names", "label"), [(("pki", "piv"), b"test token"), (("piv",), b"PIV")], ids=["both", "PIV"]
)
def test_where_no_application_is_named_the_first_that_the_card_has_is_shown(
    names: tuple[str, ...], label: bytes
) -> None:
    rig = Rig()
    rig.initialised()
    rig.reinsert()
    rig.reader.application = None
    rig.reader.connect = lambda: rig.reader.card.connect(*names)  # type: ignore[method-assign,union-attr]
    assert rig.application()("C_GetTokenInfo", 1)[0].encode() == label


def test_a_token_without_the_application_is_not_recognised() -> None:
    rig = PivRig()
    rig.reader.connect = lambda: Without(None)  # type: ignore[method-assign]
    client = rig.application()
    assert client.fails("C_OpenSession", 1, ck.CKF_SERIAL_SESSION) == "CKR_TOKEN_NOT_RECOGNIZED"


class Without:
    """A card without Yubico's commands; without a card behind it, without anything."""

    def __init__(self, inner: Transport | None) -> None:
        self._inner = inner

    def transceive(self, command: bytes) -> bytes:
        if self._inner is None:
            return Response(SW.FILE_NOT_FOUND).encode()
        if Command.parse(command).ins in {0xF7, 0xF8, 0xFD}:
            return Response(SW.INS_NOT_SUPPORTED).encode()
        return self._inner.transceive(command)


def test_a_card_without_metadata_is_known_by_its_certificates() -> None:
    bench = cards.Bench()
    owner = piv_cards.managed(bench)
    owner.ok(piv.set_management_key(piv.DES3, bytes(range(24))))
    value = piv_cards.certificate(owner.make_key(piv.SIGNATURE, piv.P384))
    owner.make_key(piv.AUTHENTICATION)
    owner.ok(piv.put_data(bytes.fromhex("5FC10A"), piv_cards.certificate_object(value)))
    card = PivCard(Without(bench.connect()))
    ((reference, key),) = card.keys().items()
    assert (reference, str(key.spec)) == (piv.P384 << 8 | piv.SIGNATURE, "P-384")
    assert card.info().pins[1].tries_left == 3
    assert not card.info().has_path(1)
    card.verify(1, PIN)
    assert card.info().pins[1].verified
    assert len(card.challenge(20)) == 20
