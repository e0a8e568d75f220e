"""A token whose PIN is entered on the token: pkcs11-tool, threads, and `klyuch pin enter`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from host_tools import objects
from host_tools.control import ControlError
from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.testing import Command, Run, Scratch, ScratchToken
from host_tools.testing.application import RemoteApplication
from pkcs11_module import _constants as ck
from tests.conftest import program
from token_fw.crypto import Ecdsa, Hash, digest

PATIENCE = 30


@pytest.fixture
def desk(home: Scratch) -> ScratchToken:
    return home.create_token("Desk", protected_path=True)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture
def library(desk: ScratchToken) -> Iterator[Cryptoki]:
    with Cryptoki() as loaded:
        yield loaded


def begin(
    home: Scratch, pool: ThreadPoolExecutor, session: Session, user: int = ck.CKU_USER
) -> Future[str]:
    """A login without a PIN, of which the token has asked for one already."""

    def log_in() -> str:
        try:
            session.login(user, None)
        except CryptokiError as error:
            return error.name
        return "CKR_OK"

    answer = pool.submit(log_in)
    asked(home)
    return answer


def asked(home: Scratch) -> str:
    """Wait until the token asks for a PIN; which it is."""
    with home.control() as control:
        return str(control.call("pin.await", token="Desk")["pin"])


def test_the_token_is_made_and_shown_with_its_path(command: Command) -> None:
    pins = {"KLYUCH_PIN": "481516", "KLYUCH_SO_PIN": "23423108"}
    command("token", "create", "Desk", "--protected-path", **pins)
    command("token", "create", "Plain", **pins)
    assert "klyuch pin enter" in command("token", "show", "Desk").stdout
    assert "klyuch pin enter" not in command("token", "show", "Plain").stdout
    command("token", "reset", "Desk", "--force", "--yes")
    command("stop")
    shown = json.loads(command("token", "show", "0", "--json").stdout)
    assert shown["protected_path"]


def test_pkcs11_tool_works_without_being_told_the_pin(
    home: Scratch, desk: ScratchToken, pkcs11_tool: Run, command: Command, tmp_path: Path
) -> None:
    assert "PIN pad present" in pkcs11_tool("-L").stdout
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"signed by a key that asks each time")
    tool = [program("pkcs11-tool", "opensc"), "--module", str(home.library), "--login"]

    def run(*arguments: str | Path, pins: tuple[str, ...] = (desk.pin,)) -> tuple[int, str]:
        """Its exit code and errors, while somebody enters PINs on the token."""
        process = subprocess.Popen(
            [*tool, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pin in pins:
            command("pin", "enter", "Desk", "--wait", KLYUCH_PIN=pin)
        _, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, errors

    pair = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label", "each time")
    assert run(*pair, "--always-auth")[0] == 0
    sign = ("--sign", "--mechanism", "ECDSA-SHA256", "--id", "01", "-i", message, "-o", signature)
    # Once for the session, once for the signature.
    assert run(*sign, pins=(desk.pin, desk.pin))[0] == 0
    with Cryptoki() as library, library.open_session(desk.slot) as session:
        (public,) = session.find({ck.CKA_CLASS: ck.CKO_PUBLIC_KEY})
        hashed = digest.compute(Hash.SHA256, message.read_bytes())
        objects.public_key(session, public).verify(Ecdsa(), hashed, signature.read_bytes())
    code, errors = run("-O", pins=("000000",))
    assert code == 1
    assert "CKR_PIN_INCORRECT" in errors
    code, errors = run(*sign, pins=(desk.pin, "000000"))
    assert code == 1
    assert "CKR_PIN_INCORRECT" in errors


def test_pkcs11_tool_signs_with_an_always_authenticated_key(
    pkcs11_tool: Run, token: ScratchToken, tmp_path: Path
) -> None:
    """The same on an ordinary token: the PIN is given, and given again."""
    message, signature = tmp_path / "message", tmp_path / "signature"
    message.write_bytes(b"signed with a PIN for it")
    login = ("--login", "--pin", token.pin)
    pair = ("--keypairgen", "--key-type", "rsa:2048", "--id", "01", "--label", "each time")
    pkcs11_tool(*login, *pair, "--always-auth")
    for mechanism in ("SHA256-RSA-PKCS", "RSA-PKCS-PSS"):
        more = ("--hash-algorithm", "SHA256") if mechanism == "RSA-PKCS-PSS" else ()
        data = message
        if more:
            data = tmp_path / "digest"
            data.write_bytes(digest.compute(Hash.SHA256, message.read_bytes()))
        files = ("-i", str(data), "-o", str(signature))
        pkcs11_tool(*login, "--sign", "--mechanism", mechanism, *more, "--id", "01", *files)
        assert len(signature.read_bytes()) == 256


def test_so_and_user_log_in_on_the_token(
    home: Scratch, desk: ScratchToken, library: Cryptoki, pool: ThreadPoolExecutor, command: Command
) -> None:
    with library.open_session(desk.slot) as session:
        answer = begin(home, pool, session, ck.CKU_SO)
        entered = command("pin", "enter", "Desk", KLYUCH_SO_PIN=desk.so_pin, KLYUCH_PIN="no")
        assert entered.stdout == "The SO PIN of Desk is entered.\n"
        assert answer.result(PATIENCE) == "CKR_OK"
        assert session.info().state == ck.CKS_RW_SO_FUNCTIONS
        session.logout()
        answer = begin(home, pool, session)
        shown = command("pin", "enter", "Desk", "--json", KLYUCH_PIN=desk.pin).stdout
        assert json.loads(shown) == {"token": "Desk", "pin": "user", "done": "entered"}
        assert answer.result(PATIENCE) == "CKR_OK"
        assert session.info().state == ck.CKS_RW_USER_FUNCTIONS


def test_a_locked_pin_is_locked_at_once(
    home: Scratch, desk: ScratchToken, library: Cryptoki, pool: ThreadPoolExecutor, command: Command
) -> None:
    outcomes = []
    with library.open_session(desk.slot) as session:
        for _ in range(3):
            answer = begin(home, pool, session)
            command("pin", "enter", "Desk", KLYUCH_PIN="000000")
            outcomes.append(answer.result(PATIENCE))
        with pytest.raises(CryptokiError, match="CKR_PIN_LOCKED"):
            session.login(ck.CKU_USER, None)
    assert outcomes == ["CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]


ENDS: dict[str, tuple[Callable[[Command, Cryptoki], object], str]] = {
    "cancel": (lambda command, _: command("pin", "cancel", "Desk"), "CKR_FUNCTION_CANCELED"),
    "remove": (lambda command, _: command("token", "remove", "Desk"), "CKR_DEVICE_REMOVED"),
    "stop": (lambda command, _: command("stop"), "CKR_DEVICE_REMOVED"),
    "finalize": (lambda _, library: library.finalize(), "CKR_CRYPTOKI_NOT_INITIALIZED"),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_login_that_waits(
    home: Scratch, desk: ScratchToken, pool: ThreadPoolExecutor, command: Command, name: str
) -> None:
    end, expected = ENDS[name]
    library = Cryptoki()
    library.initialize()
    try:
        answer = begin(home, pool, library.open_session(desk.slot))
        end(command, library)
        assert answer.result(PATIENCE) == expected
    finally:
        library.raw["C_Finalize"](None)
    if name != "remove":
        refused = command("pin", "enter", "Desk", code=9, KLYUCH_PIN=desk.pin)
        assert "Nobody waits for a PIN" in refused.stderr
        assert "--wait" in refused.stderr


def test_others_go_on_while_a_login_waits(
    home: Scratch, desk: ScratchToken, library: Cryptoki, pool: ThreadPoolExecutor
) -> None:
    with library.open_session(desk.slot) as session, RemoteApplication() as other:
        answer = begin(home, pool, session)
        with library.open_session(desk.slot) as second:
            assert len(second.random(32)) == 32
            assert library.token_info(desk.slot).label == "Desk"
        other.call("open", desk.slot)
        other.call("login", desk.pin)
        other.call("generate", "P-256", "key")
        assert other.call("sign", "key")
        assert not answer.done()
        with home.control() as control:
            control.call("pin.enter", token="Desk", pin=desk.pin)
        assert answer.result(PATIENCE) == "CKR_OK"
        assert len(session.find({ck.CKA_CLASS: ck.CKO_PRIVATE_KEY})) == 1


def test_a_process_that_is_killed_takes_its_question_with_it(
    home: Scratch, desk: ScratchToken, command: Command
) -> None:
    with RemoteApplication() as other:
        other.call("open", desk.slot)
        other.send("login_on_token")
        assert asked(home) == "user"
    with home.control() as control:
        while control.call("status")["applications"]:
            time.sleep(0.001)
    command("pin", "enter", "Desk", code=9, KLYUCH_PIN=desk.pin)


def test_entering_is_refused_where_it_makes_no_sense(
    home: Scratch, token: ScratchToken, desk: ScratchToken, command: Command
) -> None:
    refused = command("pin", "enter", token.label, code=9, KLYUCH_PIN=token.pin)
    assert "No PIN can be entered on that token." in refused.stderr
    assert "--protected-path" in refused.stderr
    command("pin", "cancel", token.label, code=9)
    command("pin", "enter", "Nothing", code=5, KLYUCH_PIN=token.pin)
    with home.control() as control, pytest.raises(ControlError, match="1 to 64 bytes"):
        control.call("pin.enter", token="Desk", pin="1" * 65)
    command("token", "remove", "Desk")
    command("pin", "enter", "Desk", "--wait", code=9, KLYUCH_PIN=desk.pin)


def test_who_waits_for_a_question_learns_of_it_and_need_not_answer(
    home: Scratch, desk: ScratchToken, library: Cryptoki, pool: ThreadPoolExecutor, command: Command
) -> None:
    with home.control() as control, library.open_session(desk.slot) as session:
        waiting = pool.submit(lambda: control.call("pin.await", token="Desk"))
        # Longer than the daemon looks for a client that has left.
        time.sleep(0.6)
        assert not waiting.done()
        answer = begin(home, pool, session)
        assert waiting.result(PATIENCE) == {"pin": "user"}
        control.close()
        assert not answer.done()
        assert "not entered" in command("pin", "cancel", "Desk").stdout
        assert answer.result(PATIENCE) == "CKR_FUNCTION_CANCELED"
