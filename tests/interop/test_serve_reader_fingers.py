"""`klyuch serve --reader` with a PIV card whose user is known by a finger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apdu.codec import Response
from host_tools.conformance import piv_commands as piv
from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.cryptoki_values import mechanism_of
from host_tools.objects import public_key
from host_tools.testing import Scratch
from host_tools.testing.application import RemoteApplication
from pkcs11_module import _constants as ck
from tests import cards, piv_cards
from tests.interop.pcsc_client import PcscClient
from tests.interop.served_reader import SLOT, Served, served
from token_fw.crypto import Ecdsa

HASHED = bytes(range(32))
REFUSED = "CKR_USER_NOT_LOGGED_IN"
POLICIES = {
    piv.AUTHENTICATION: piv.MATCH_ONCE,
    piv.SIGNATURE: piv.MATCH_ALWAYS,
    piv.KEY_MANAGEMENT: piv.ONCE,
}
ONCE_MATCHED, EACH_MATCHED, BY_PIN = b"\x01", b"\x02", b"\x03"
"""The CKA_ID of the keys in these slots."""


@pytest.fixture
def reader(home: Scratch) -> Iterator[Served]:
    """A PIV card with a finger, "thumb", and a key of each policy."""
    with served(home, "--app", "piv") as shown:
        with shown.there.connect() as client:
            card = piv_cards.Client(client)
            card.prove()
            for slot, policy in POLICIES.items():
                card.make_key(slot, pin=policy)
        shown.far.enrol_finger(shown.token, "thumb", "piv")
        yield shown


@pytest.fixture
def library(reader: Served) -> Iterator[Cryptoki]:
    with Cryptoki() as loaded:
        yield loaded


@pytest.fixture
def session(library: Cryptoki) -> Iterator[Session]:
    with library.open_session(SLOT) as opened:
        yield opened


def log_in(reader: Served, session: Session, finger: str = "thumb", user: int = ck.CKU_USER) -> str:
    """A login without a PIN, for which that finger comes; gives the name of what it returns."""
    reader.far.script_fingers(reader.token, finger)
    try:
        session.login(user, None)
    except CryptokiError as error:
        return error.name
    return "CKR_OK"


def has_path(library: Cryptoki) -> bool:
    return bool(library.token_info(SLOT).flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH)


def key(session: Session, ident: bytes, kind: int = ck.CKO_PRIVATE_KEY) -> int:
    (found,) = session.find({ck.CKA_CLASS: kind, ck.CKA_ID: ident})
    return found


def begin(session: Session, ident: bytes) -> None:
    session.call("C_SignInit", mechanism_of(ck.CKM_ECDSA), key(session, ident))


def end(session: Session, ident: bytes) -> None:
    """Sign, and verify outside of the card."""
    made = session.output("C_Sign", HASHED, len(HASHED))
    half = key(session, ident, ck.CKO_PUBLIC_KEY)
    public_key(session, half).verify(Ecdsa(), HASHED, made)


def sign(session: Session, ident: bytes) -> None:
    begin(session, ident)
    end(session, ident)


def test_a_finger_is_waited_for(reader: Served, library: Cryptoki) -> None:
    assert has_path(library)
    with RemoteApplication() as program:
        program.call("open", SLOT)
        program.send("login_on_token")
        with reader.far.control() as control:
            control.call("finger.await", token=reader.token.serial)
            control.call("finger.present", token=reader.token.serial, finger="thumb")
        assert program.answer() is None
        assert program.call("state") == ck.CKS_RW_USER_FUNCTIONS


def test_a_finger_opens_the_key_that_takes_it_and_the_pin_the_other_one(
    reader: Served, session: Session
) -> None:
    assert log_in(reader, session) == "CKR_OK"
    sign(session, ONCE_MATCHED)
    sign(session, ONCE_MATCHED)
    with pytest.raises(CryptokiError, match=REFUSED):
        sign(session, BY_PIN)
    assert session.info().state == ck.CKS_RW_USER_FUNCTIONS
    session.logout()
    session.login(ck.CKU_USER, piv_cards.PIN)
    sign(session, BY_PIN)
    sign(session, ONCE_MATCHED)


def test_a_key_that_asks_each_time_takes_a_finger_each_time(
    reader: Served, library: Cryptoki, session: Session
) -> None:
    assert log_in(reader, session) == "CKR_OK"
    wanted = {ck.CKA_CLASS: ck.CKO_PRIVATE_KEY, ck.CKA_ALWAYS_AUTHENTICATE: True}
    assert session.find(wanted) == [key(session, EACH_MATCHED)]
    for _ in range(2):
        begin(session, EACH_MATCHED)
        assert log_in(reader, session, user=ck.CKU_CONTEXT_SPECIFIC) == "CKR_OK"
        # Other commands, of this program or another one, may come between.
        library.token_info(SLOT)
        assert reader.there.connect().transceive(piv.finger_status().encode()) == b"\x90\x00"
        end(session, EACH_MATCHED)
        begin(session, EACH_MATCHED)
        with pytest.raises(CryptokiError, match=REFUSED):
            end(session, EACH_MATCHED)


def test_a_match_of_another_program_takes_the_consent_by_a_finger_away(
    reader: Served, session: Session
) -> None:
    assert log_in(reader, session) == "CKR_OK"
    begin(session, EACH_MATCHED)
    assert log_in(reader, session, user=ck.CKU_CONTEXT_SPECIFIC) == "CKR_OK"
    reader.far.script_fingers(reader.token, "thumb")
    other = reader.there.connect()
    assert other.transceive(piv.match_for_temporary_pin().encode())[-2:] == b"\x90\x00"
    with pytest.raises(CryptokiError, match=REFUSED):
        end(session, EACH_MATCHED)
    assert session.info().state == ck.CKS_RW_PUBLIC_SESSION


def test_three_wrong_fingers_block_and_the_pin_unblocks(
    reader: Served, library: Cryptoki, session: Session
) -> None:
    said = [log_in(reader, session, "stranger") for _ in range(3)]
    assert said == ["CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]
    assert not has_path(library)
    with pytest.raises(CryptokiError, match="CKR_PIN_LOCKED"):
        session.login(ck.CKU_USER, None)
    session.login(ck.CKU_USER, piv_cards.PIN)
    assert has_path(library)


def test_a_wrong_finger_for_one_use_leaves_a_login_by_the_pin(
    reader: Served, session: Session
) -> None:
    session.login(ck.CKU_USER, piv_cards.PIN)
    for finger, outcome in (("thumb", "CKR_OK"), ("stranger", "CKR_PIN_INCORRECT")):
        begin(session, EACH_MATCHED)
        assert log_in(reader, session, finger, ck.CKU_CONTEXT_SPECIFIC) == outcome
        with pytest.raises(CryptokiError, match="CKR_OPERATION_ACTIVE"):
            begin(session, EACH_MATCHED)
        session.cancel(ck.CKF_SIGN)
    assert session.info().state == ck.CKS_RW_USER_FUNCTIONS
    sign(session, BY_PIN)


def reset(_: Served, other: PcscClient) -> None:
    """Another program resets the card."""
    other.call("reconnect")


def select_another_application(_: Served, other: PcscClient) -> None:
    cards.Client(other)


def select_anew(_: Served, other: PcscClient) -> None:
    piv_cards.Client(other)


def put_a_wrong_finger(reader: Served, other: PcscClient) -> None:
    reader.far.script_fingers(reader.token, "stranger")
    assert other.transceive(piv.match().encode()) == Response(0x63C2).encode()


INTERRUPTIONS = (reset, select_another_application, select_anew, put_a_wrong_finger)


def test_a_login_that_others_ended_is_noticed_and_made_anew(
    reader: Served, session: Session
) -> None:
    for interrupt in INTERRUPTIONS:
        assert log_in(reader, session) == "CKR_OK"
        sign(session, ONCE_MATCHED)
        private = key(session, ONCE_MATCHED)
        with reader.there.connect() as other:
            interrupt(reader, other)
        with pytest.raises(CryptokiError, match=REFUSED):
            session.sign(ck.CKM_ECDSA, private, HASHED)
        assert session.info().state == ck.CKS_RW_PUBLIC_SESSION


def test_a_wrong_pin_of_others_ends_no_login_by_a_finger(reader: Served, session: Session) -> None:
    assert log_in(reader, session) == "CKR_OK"
    refused = reader.there.connect().transceive(piv.verify(piv_cards.WRONG).encode())
    assert refused == Response(0x63C2).encode()
    assert session.info().state == ck.CKS_RW_USER_FUNCTIONS
    sign(session, ONCE_MATCHED)
