"""Several applications and threads at one token, and a medium or a wire that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from apdu.transport import Drop, Fault, Faulty, Remove, Transport
from host_tools.testing.faults import FailingStore
from pkcs11_module import _constants as ck
from pkcs11_module.types import Mechanism, Pkcs11Error
from tests.unit.facade_rig import (
    ROOM,
    USER_PIN,
    Client,
    Rig,
    SlotReader,
    data_template,
    template,
)
from tests.unit.test_facade_power_cuts import certificate_template
from token_fw import crypto
from token_fw.apps.pki import key_commands


def run_all(work: list[Callable[[], None]]) -> None:
    """Run the functions at once, and raise what any of them raises."""
    with ThreadPoolExecutor(len(work)) as pool:
        for future in [pool.submit(function) for function in work]:
            future.result(60)


def test_applications_that_write_at_once_lose_nothing() -> None:
    rig = Rig()
    rig.initialised()

    def work(name: str) -> None:
        client = rig.application()
        session = client.user()
        for index in range(8):
            ident = f"{name}{index}".encode()
            _, private = client.make_ec_pair(session, ident)
            client("C_CreateObject", session, certificate_template(ident))
            if index % 2:
                client("C_DestroyObject", session, private)

    run_all([partial(work, name) for name in "abcd"])
    client = rig.application()
    session = client.user()
    assert len(client.find(session, CLASS=ck.CKO_PUBLIC_KEY)) == 32
    assert len(client.find(session, CLASS=ck.CKO_CERTIFICATE)) == 32
    private = client.find(session, CLASS=ck.CKO_PRIVATE_KEY)
    assert len(private) == 16
    for key in private:
        (ident,) = client.get(session, key, "ID")
        (public,) = client.find(session, CLASS=ck.CKO_PUBLIC_KEY, ID=ident)
        signature = client.sign(session, ck.CKM_ECDSA, key, bytes(32))
        assert client.verifies(session, ck.CKM_ECDSA, public, bytes(32), signature)


def test_threads_of_one_application_have_sessions_of_their_own() -> None:
    client = Rig().initialised()
    first = client.user()
    public, private = client.make_ec_pair(first)

    def work(number: int) -> None:
        session = client.open()
        for index in range(20):
            data = bytes((number, index)) * 16
            signature = client.sign(session, ck.CKM_ECDSA, private, data)
            assert client.verifies(session, ck.CKM_ECDSA, public, data, signature)
        client("C_CloseSession", session)

    run_all([partial(work, number) for number in range(4)])
    assert client("C_GetTokenInfo", 1)[6] == 1


def test_a_long_generation_holds_up_no_other_application(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    client = rig.initialised()
    session = client.user()
    public, private = client.make_ec_pair(session)
    started, go_on = threading.Event(), threading.Event()

    def slow(spec: crypto.KeySpec) -> crypto.PrivateKey:
        started.set()
        assert go_on.wait(60)
        return crypto.generate(spec)

    other = rig.application()
    other_session = other.user()
    monkeypatch.setattr(key_commands, "generate", slow)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(other.make_ec_pair, other_session, b"slow")
        assert started.wait(60)
        signature = client.sign(session, ck.CKM_ECDSA, private, bytes(32))
        assert client.verifies(session, ck.CKM_ECDSA, public, bytes(32), signature)
        client("C_CreateObject", session, template(**data_template("meanwhile")))
        assert len(client.find(session)) == 3
        go_on.set()
        made.result(60)
    assert len(client.find(session, ID=b"slow")) == 2


def test_a_medium_that_fails_leaves_the_objects_as_they_were() -> None:
    store = FailingStore()
    client = Rig(store).initialised()
    session = client.user()
    client.make_ec_pair(session)
    client("C_CreateObject", session, template(**data_template("kept")))
    before = len(client.find(session))
    store.failing = True
    new = template(**data_template("new"))
    assert client.fails("C_CreateObject", session, new) == "CKR_DEVICE_ERROR"
    (kept,) = client.find(session, LABEL="kept")
    assert client.fails("C_DestroyObject", session, kept) == "CKR_DEVICE_ERROR"
    changed = template(LABEL="x", VALUE=b"y")
    assert client.fails("C_SetAttributeValue", session, kept, changed) == "CKR_DEVICE_ERROR"
    store.failing = False
    assert len(client.find(session)) == before
    assert client.get(session, kept, "VALUE") == [b"content"]
    client("C_CreateObject", session, new)
    assert len(client.find(session, LABEL="new")) == 1


class FaultyReader(SlotReader):
    """A reader whose connections fail as planned."""

    plan: dict[int, Fault]

    def __init__(self, slot_id: int) -> None:
        super().__init__(slot_id)
        self.made: list[Faulty] = []

    def connect(self) -> Transport:
        plan, self.plan = self.plan, {}
        transport = Faulty(super().connect(), plan)
        self.made.append(transport)
        return transport


def faulty_client(plan: dict[int, Fault]) -> tuple[Client, int]:
    """An application with a logged-in session; the plan counts from the next APDU.

    Later connections do not fail.
    """
    rig = Rig()
    rig.initialised()
    reader = FaultyReader(2)
    planned: dict[int, Fault] = {}
    reader.plan = planned
    assert rig.reader.card is not None
    reader.insert(rig.reader.card)
    rig.all.append(reader)
    client = rig.application()
    session = client.open(slot=2)
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    (transport,) = reader.made
    planned.update({transport.count + number: fault for number, fault in plan.items()})
    return client, session


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("number", range(1, 40))
def test_a_lost_answer_ends_the_login_and_nothing_else(number: int, executed: bool) -> None:
    client, session = faulty_client({number: Drop(executed=executed)})
    try:
        client.make_ec_pair(session, b"pair")
    except Pkcs11Error as error:
        failed = error
    else:
        assert number > 15, "the fault was not met"
        return
    assert failed.rv == ck.CKR_DEVICE_ERROR
    assert client("C_GetSessionInfo", session)[1] == ck.CKS_RW_PUBLIC_SESSION
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    assert len(client.find(session)) in (0, 2)
    _, private = client.make_ec_pair(session, b"again")
    assert len(client.sign(session, ck.CKM_ECDSA, private, bytes(32))) == 64
    keys = client.application.slot(2).card.keys()
    assert len(keys) == len(client.find(session, CLASS=ck.CKO_PRIVATE_KEY))


def test_a_card_pulled_in_the_middle_of_a_command() -> None:
    client, session = faulty_client({3: Remove()})
    refusal = client.fails("C_GenerateKeyPair", session, Mechanism(ck.CKM_EC_KEY_PAIR_GEN), (), ())
    assert refusal == "CKR_TEMPLATE_INCOMPLETE"
    refusals = {client.outcome("C_GenerateRandom", session, 8) for _ in range(3)}
    assert refusals == {"CKR_OK", "CKR_DEVICE_REMOVED"}


def test_a_token_without_directories_gets_them_when_needed() -> None:
    rig = Rig()
    client = rig.initialised()
    session = client.user()
    card = client.application.slot(1).card
    odf = bytes.fromhex("3F0050155031")
    card.write(odf, card.read(odf), b"")
    assert client.find(session) == []
    client.make_ec_pair(session)
    client("C_CreateObject", session, template(**data_template("private", PRIVATE=True)))
    client("C_CreateObject", session, template(**data_template("public")))
    assert len(client.find(session)) == 4
    client("C_Logout", session)
    assert len(client.find(session)) == 2
    assert len(client("C_GenerateRandom", session, 8)) == 8
    assert client.fails("C_Sign", session, b"", ROOM) == "CKR_OPERATION_NOT_INITIALIZED"
