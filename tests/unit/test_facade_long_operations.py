"""Key generation takes long: nobody else waits for it, not even threads of the same session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.facade import keygen
from pkcs11_module.types import Mechanism, Pkcs5Pbkd2Params2
from tests.unit.facade_rig import USER_PIN, Client, Rig, template
from token_fw.apps.pki import key_commands
from token_fw.crypto import KeySpec, PrivateKey, generate

PATIENCE = 20
OK = "CKR_OK"
PLACES = pytest.mark.parametrize("on_token", [True, False], ids=["token", "session"])


class Slow:
    """A generation of RSA keys that takes until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, spec: KeySpec) -> PrivateKey:
        if spec != KeySpec.rsa(2048):
            return generate(spec)
        self.begun.set()
        assert self.end.wait(PATIENCE)
        return generate(KeySpec.rsa(2048))


class Stage:
    """A user's session with a key to sign with, in which a thread generates another one."""

    def __init__(self, slow: Slow) -> None:
        self.slow = slow
        self.rig = Rig()
        self.client = self.rig.initialised()
        self.session = self.client.user()
        _, self.key = self.client.make_ec_pair(self.session)
        self.pool = ThreadPoolExecutor(1)

    def begin(self, on_token: bool) -> Future[str]:
        pair = template(TOKEN=on_token, MODULUS_BITS=2048), template(TOKEN=on_token)
        mechanism = Mechanism(ck.CKM_RSA_PKCS_KEY_PAIR_GEN)
        arguments = ("C_GenerateKeyPair", self.session, mechanism, *pair)
        making = self.pool.submit(self.client.outcome, *arguments)
        assert self.slow.begun.wait(PATIENCE)
        return making

    def sign(self) -> int:
        return len(self.client.sign(self.session, ck.CKM_ECDSA, self.key, bytes(32)))

    def finish(self, making: Future[str]) -> str:
        self.slow.end.set()
        return making.result(PATIENCE)

    def keys(self, client: Client) -> int:
        """RSA keys of the token; the card has none that is not listed."""
        session = client.user()
        _, extra = client.make_ec_pair(session, b"sweeps up")
        client("C_DestroyObject", session, extra)
        listed = client.find(session, CLASS=ck.CKO_PRIVATE_KEY)
        assert len(client.application.slot(1).card.keys()) == len(listed)
        return len(client.find(session, CLASS=ck.CKO_PRIVATE_KEY, KEY_TYPE=ck.CKK_RSA))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    slow = Slow()
    monkeypatch.setattr(key_commands, "generate", slow)
    monkeypatch.setattr(keygen, "generate", slow)
    made = Stage(slow)
    yield made
    slow.end.set()
    made.pool.shutdown()


@PLACES
def test_the_same_session_signs_and_writes_meanwhile(stage: Stage, on_token: bool) -> None:
    making = stage.begin(on_token)
    assert stage.sign() == 64
    stage.client.make_ec_pair(stage.session, b"quick")
    assert stage.client("C_GetTokenInfo", 1)[0] == "test token"
    other = stage.client.open()
    assert len(stage.client("C_GenerateRandom", other, 16)) == 16
    assert not making.done()
    assert stage.finish(making) == OK
    found = stage.client.find(stage.session, CLASS=ck.CKO_PRIVATE_KEY, KEY_TYPE=ck.CKK_RSA)
    assert len(found) == 1
    assert len(stage.client.find(stage.session, CLASS=ck.CKO_PRIVATE_KEY)) == 3
    assert stage.sign() == 64


def test_a_key_is_made_for_nobody_who_has_logged_out(stage: Stage) -> None:
    making = stage.begin(on_token=True)
    stage.client("C_Logout", stage.session)
    assert stage.finish(making) == "CKR_USER_NOT_LOGGED_IN"
    stage.client("C_CloseSession", stage.session)
    assert stage.keys(stage.client) == 0


ENDS: dict[str, tuple[Callable[[Stage], object], str]] = {
    "C_CloseSession": (
        lambda stage: stage.client("C_CloseSession", stage.session),
        "CKR_SESSION_CLOSED",
    ),
    "C_Finalize": (lambda stage: stage.client.application.close(), "CKR_CRYPTOKI_NOT_INITIALIZED"),
    "removal": (lambda stage: stage.rig.reader.remove(), "CKR_DEVICE_REMOVED"),
    "insertion": (lambda stage: stage.rig.reinsert(), "CKR_DEVICE_REMOVED"),
}


@PLACES
@pytest.mark.parametrize("name", ENDS)
def test_what_ends_the_session_ends_at_once_and_leaves_no_key(
    stage: Stage, name: str, on_token: bool
) -> None:
    end, expected = ENDS[name]
    making = stage.begin(on_token)
    end(stage)
    assert not making.done()
    assert stage.finish(making) == expected
    if name == "removal":
        stage.rig.insert()
    assert stage.keys(stage.rig.application()) == 0


def test_a_key_from_a_password_keeps_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def derive(*_: object) -> bytes:
        assert stage.pool.submit(stage.sign).result(PATIENCE) == 64
        return bytes(16)

    monkeypatch.setattr(keygen, "pbkdf2", derive)
    parameter = Pkcs5Pbkd2Params2(
        ck.CKZ_SALT_SPECIFIED, b"salt", 1000, ck.CKP_PKCS5_PBKD2_HMAC_SHA256, None, b"password"
    )
    mechanism = Mechanism(ck.CKM_PKCS5_PBKD2, parameter)
    wanted = template(KEY_TYPE=ck.CKK_AES, VALUE_LEN=16, TOKEN=False)
    assert stage.client.outcome("C_GenerateKey", stage.session, mechanism, wanted) == OK


def test_a_branch_shares_the_login_and_nothing_else() -> None:
    client = Rig().initialised()
    session = client.user()
    slot = client.application.slot(1)
    connection = slot._connection
    assert connection is not None
    branch = connection.branch()
    assert branch is not None
    assert branch.card.info().pins[1].verified
    client("C_Logout", session)
    assert not branch.card.info().pins[1].verified
    client("C_Login", session, ck.CKU_USER, USER_PIN)
    assert branch.card.info().pins[1].verified


def test_what_is_known_of_the_token_is_not_read_again_for_a_key_made_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Rig().initialised()
    session = client.user()
    client.make_ec_pair(session, b"first")

    def read(_card: TokenCard, path: bytes) -> bytes:
        raise AssertionError(path.hex())

    monkeypatch.setattr(TokenCard, "read", read)
    client.make_ec_pair(session, b"second")
    assert len(client.find(session, CLASS=ck.CKO_PRIVATE_KEY)) == 2
