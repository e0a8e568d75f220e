"""A token that knows its user by a finger: `klyuch finger`, PKCS#11 and PIV in one daemon."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.pin import ClientPin

from host_tools import objects
from host_tools.conformance import piv_commands as piv
from host_tools.control import ControlError
from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.cryptoki_values import mechanism_of
from host_tools.fido_device import CardDevice
from host_tools.testing import Command, Scratch, ScratchToken
from host_tools.testing.application import RemoteApplication
from host_tools.token_transport import TokenTransport
from pkcs11_module import _constants as ck
from tests import piv_cards
from token_fw.crypto import Ecdsa

PATIENCE = 30
DIGEST = bytes(range(32))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def library(token: ScratchToken) -> Iterator[Cryptoki]:
    with Cryptoki() as loaded:
        yield loaded


def enrol(home: Scratch, token: ScratchToken) -> None:
    """The thumb, for the user PIN and for that of PIV."""
    for application in ("pki", "piv"):
        home.enrol_finger(token, "thumb", application)


def begin(home: Scratch, pool: ThreadPoolExecutor, work: Callable[[], object]) -> Future[str]:
    """A call that waits for a finger already; gives what it returns, or the error's name."""

    def run() -> str:
        try:
            work()
        except CryptokiError as error:
            return error.name
        return "CKR_OK"

    answer = pool.submit(run)
    with home.control() as control:
        control.call("finger.await", token="Work")
    return answer


def log_in(home: Scratch, pool: ThreadPoolExecutor, session: Session) -> Future[str]:
    return begin(home, pool, lambda: session.login(ck.CKU_USER, None))


def test_a_finger_is_enrolled_sample_by_sample(
    home: Scratch, token: ScratchToken, pool: ThreadPoolExecutor, command: Command
) -> None:
    with home.control() as control:
        steps = [
            {"finger": "thumb"},
            {"finger": "thumb", "quality": "too-fast"},
            {"finger": "index"},
            *[{"finger": "thumb"}] * 3,
        ]
        control.call("finger.script", token="Work", steps=steps)
    added = command("finger", "add", "Work", "--name", "right thumb", KLYUCH_PIN=token.pin)
    assert added.stdout.splitlines() == [
        "Sample: good, 3 to go.",
        "Sample: too-fast, 3 to go.",
        "Sample: merge-failure, 3 to go.",
        "Sample: good, 2 to go.",
        "Sample: good, 1 to go.",
        "Sample: good, 0 to go.",
        "Finger 1 of Work is enrolled.",
    ]
    listed = command("finger", "list", "Work", "--json", KLYUCH_PIN=token.pin).stdout
    assert json.loads(listed) == {
        "tries_left": 3,
        "tries": 3,
        "fingers": [{"number": 1, "name": "right thumb", "opens": ["pki"]}],
    }
    again = command("finger", "add", "Work", "--finger", "thumb", code=7, KLYUCH_PIN=token.pin)
    assert "enrolled already" in again.stderr
    assert "right thumb" in command("finger", "list", "Work", KLYUCH_PIN=token.pin).stdout
    command("finger", "rename", "Work", "1", "left thumb", KLYUCH_PIN=token.pin)
    assert "left thumb" in command("finger", "list", "Work", KLYUCH_PIN=token.pin).stdout
    refused = command("finger", "rename", "Work", "1", "я" * 33, code=2, KLYUCH_PIN=token.pin)
    assert "up to 64 bytes" in refused.stderr
    command("finger", "remove", "Work", "1", KLYUCH_PIN=token.pin)
    for words in (("remove", "Work", "1"), ("rename", "Work", "1", "none")):
        command("finger", *words, code=5, KLYUCH_PIN=token.pin)


def test_three_applications_share_one_sensor_and_its_tries(
    home: Scratch,
    token: ScratchToken,
    pool: ThreadPoolExecutor,
    command: Command,
    library: Cryptoki,
) -> None:
    enrol(home, token)

    def tries() -> int:
        return int(json.loads(command("token", "show", "Work", "--json").stdout)["finger_tries"])

    with home.control() as door, library.open_session(token.slot, rw=True) as session:
        assert library.token_info(token.slot).flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH
        card = piv_cards.Client(TokenTransport(door, token.serial))
        answer = log_in(home, pool, session)
        command("finger", "present", "Work", "stranger")
        assert answer.result(PATIENCE) == "CKR_PIN_INCORRECT"
        assert card.metadata(piv.FINGER)[piv.RETRIES] == b"\x02"
        command("finger", "script", "Work", "thumb:poor-quality")
        assert card.status(piv.match()) == 0x63C1
        assert tries() == 1
        answer = log_in(home, pool, session)
        command("finger", "present", "Work", "index")
        assert answer.result(PATIENCE) == "CKR_PIN_LOCKED"
        # The daemon ends, the count stays.
        assert card.status(piv.match()) == 0x6983
        with pytest.raises(CryptokiError, match="CKR_PIN_LOCKED"):
            session.login(ck.CKU_USER, None)
        assert not library.token_info(token.slot).flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH
        assert tries() == 0
        session.login(ck.CKU_USER, token.pin.encode())
        assert tries() == 3
        session.logout()
        answer = log_in(home, pool, session)
        command("finger", "present", "Work", "thumb")
        assert answer.result(PATIENCE) == "CKR_OK"
        command("finger", "script", "Work", "thumb")
        card.ok(piv.match())


def test_ctap_and_a_login_of_pkcs11_count_the_wrong_fingers_together(
    home: Scratch,
    token: ScratchToken,
    pool: ThreadPoolExecutor,
    command: Command,
    library: Cryptoki,
) -> None:
    home.enrol_finger(token, "thumb", "pki")
    command("fido", "pin", KLYUCH_NEW_PIN=token.pin)
    command("fido", "fingerprints", "add", "--finger", "thumb", KLYUCH_FIDO_PIN=token.pin)
    with home.control() as door, library.open_session(token.slot) as session:
        authenticator = ClientPin(Ctap2(CardDevice(TokenTransport(door, token.serial))))

        def ctap(which: str) -> str:
            command("finger", "script", "Work", which)
            try:
                authenticator.get_uv_token(ClientPin.PERMISSION.GET_ASSERTION, "example.org")
            except CtapError as error:
                return error.code.name
            return "SUCCESS"

        def tries() -> tuple[int, int]:
            told = json.loads(command("token", "show", "Work", "--json").stdout)
            return authenticator.get_uv_retries(), int(told["finger_tries"])

        assert ctap("stranger") == "UV_INVALID"
        assert tries() == (2, 2)
        answer = log_in(home, pool, session)
        command("finger", "present", "Work", "stranger")
        assert answer.result(PATIENCE) == "CKR_PIN_INCORRECT"
        assert tries() == (1, 1)
        assert ctap("stranger") == "UV_BLOCKED"
        with pytest.raises(CryptokiError, match="CKR_PIN_LOCKED"):
            session.login(ck.CKU_USER, None)
        assert tries() == (0, 0)
        authenticator.get_pin_token(token.pin, ClientPin.PERMISSION.CREDENTIAL_MGMT)
        assert tries() == (3, 3)
        answer = log_in(home, pool, session)
        command("finger", "present", "Work", "thumb")
        assert answer.result(PATIENCE) == "CKR_OK"
        assert ctap("thumb") == "SUCCESS"


def test_tries_outlive_a_daemon_that_is_killed(
    home: Scratch, token: ScratchToken, command: Command
) -> None:
    enrol(home, token)
    with home.control() as door:
        card = piv_cards.Client(TokenTransport(door, token.serial))
        command("finger", "script", "Work", "stranger", "stranger", "thumb")
        assert [card.status(piv.match()) for _ in range(2)] == [0x63C2, 0x63C1]
    home.kill_daemon()
    shown = json.loads(command("token", "show", "Work", "--json").stdout)
    assert (shown["fingers"], shown["finger_tries"]) == (1, 1)
    # The script was in its memory.
    dropped = command("finger", "script", "Work", "--clear", "--json").stdout
    assert json.loads(dropped) == {"token": "Work", "steps": 0}


def test_a_key_that_asks_each_time_takes_a_finger_each_time(
    home: Scratch,
    token: ScratchToken,
    pool: ThreadPoolExecutor,
    command: Command,
    pkcs11_tool: Command,
) -> None:
    enrol(home, token)
    pair = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--always-auth")
    pkcs11_tool("--login", "--pin", token.pin, *pair)
    with Cryptoki() as library, library.open_session(token.slot, rw=True) as session:
        answer = log_in(home, pool, session)
        command("finger", "present", "Work", "thumb", "--wait")
        assert answer.result(PATIENCE) == "CKR_OK"
        (key,) = session.find({ck.CKA_CLASS: ck.CKO_PRIVATE_KEY})
        outcomes, signatures = [], []
        for finger in ("thumb", "stranger", "thumb"):
            session.call("C_SignInit", mechanism_of(ck.CKM_ECDSA), key)
            answer = begin(home, pool, lambda: session.login(ck.CKU_CONTEXT_SPECIFIC, None))
            command("finger", "present", "Work", finger)
            outcomes.append(answer.result(PATIENCE))
            try:
                signatures.append(session.output("C_Sign", DIGEST, len(DIGEST)))
            except CryptokiError as error:
                outcomes.append(error.name)
        refused = ["CKR_PIN_INCORRECT", "CKR_USER_NOT_LOGGED_IN"]
        assert outcomes == ["CKR_OK", *refused, "CKR_OK"]
        (public,) = session.find({ck.CKA_CLASS: ck.CKO_PUBLIC_KEY})
        for signature in signatures:
            objects.public_key(session, public).verify(Ecdsa(), DIGEST, signature)
        assert len(signatures) == 2


def test_a_program_that_is_killed_takes_its_wait_with_it(
    home: Scratch, token: ScratchToken, command: Command
) -> None:
    enrol(home, token)
    with RemoteApplication() as other:
        other.call("open", token.slot)
        other.send("login_on_token")
        with home.control() as control:
            control.call("finger.await", token="Work")
    with home.control() as control:
        while control.call("status")["applications"]:
            pass
    command("finger", "present", "Work", "thumb", code=9)


def test_a_finger_whose_enrolment_fails_is_not_left_at_the_sensor(
    home: Scratch, token: ScratchToken, command: Command
) -> None:
    command("finger", "script", "Work", "thumb")
    refused = command("finger", "add", "Work", "--finger", "index", code=9, KLYUCH_PIN=token.pin)
    assert "merge-failure" in refused.stderr
    with home.control() as control:
        assert control.call("finger.clear", token="Work") == {"dropped": 0}
    command("finger", "add", "Work", "--finger", "x" * 33, code=2, KLYUCH_PIN=token.pin)


def test_what_is_refused_says_what_to_do(
    home: Scratch, token: ScratchToken, command: Command
) -> None:
    refused = command("finger", "present", "Work", "thumb", code=9)
    assert "Nobody waits for a finger on Work." in refused.stderr
    assert "--wait" in refused.stderr
    command("finger", "present", "Nothing", "thumb", code=5)
    wrong = command("finger", "add", "Work", "--finger", "thumb", code=3, KLYUCH_PIN="000000")
    assert "2 tries left" in wrong.stderr
    bad = command("finger", "script", "Work", "thumb:wet", code=2)
    assert "too-fast" in bad.stderr
    command("finger", "script", "Work", code=2)
    command("finger", "script", "Work", "thumb@soon", code=2)
    command("finger", "present", "Work", "x" * 33, code=2)
    for number in range(5):
        command("finger", "add", "Work", "--finger", f"f{number}", KLYUCH_PIN=token.pin)
    full = command("finger", "add", "Work", "--finger", "more", code=9, KLYUCH_PIN=token.pin)
    assert "klyuch finger remove" in full.stderr
    with home.control() as control:
        bad_scripts: list[object] = [
            "thumb",
            ["thumb"],
            [{"finger": "thumb", "delay": -1}],
            [{"finger": "thumb", "absent": True}],
            [{}],
        ]
        for steps in bad_scripts:
            with pytest.raises(ControlError):
                control.call("finger.script", token="Work", steps=steps)
    command("token", "remove", "Work")
    command("finger", "present", "Work", "thumb", "--wait", code=9)
