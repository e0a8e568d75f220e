"""`klyuch touch` for yubikit, which uses PIV keys of a token of the daemon."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from yubikit.piv import (
    DEFAULT_MANAGEMENT_KEY,
    KEY_TYPE,
    MANAGEMENT_KEY_TYPE,
    OBJECT_ID,
    SLOT,
    TOUCH_POLICY,
    PivSession,
)

from host_tools.conformance import piv_commands as commands
from host_tools.control import ControlClient
from host_tools.home import current
from host_tools.testing import Command, Scratch, ScratchToken
from host_tools.token_transport import TokenTransport
from tests import piv_cards
from tests.interop import yubikit_card

MESSAGE = b"to be signed"
LONG = 30
T = TypeVar("T")


@pytest.fixture
def door(home: Scratch, token: ScratchToken) -> Iterator[ControlClient]:
    with home.control() as client:
        yield client


@pytest.fixture
def piv(door: ControlClient, token: ScratchToken) -> PivSession:
    session = PivSession(yubikit_card.Connection(TokenTransport(door, token.serial)))
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    session.verify_pin(piv_cards.PIN.decode())
    return session


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def sign(piv: PivSession) -> bytes:
    return piv.sign(
        SLOT.AUTHENTICATION, KEY_TYPE.ECCP256, MESSAGE, hashes.SHA256(), padding.PKCS1v15()
    )


def begun(home: Scratch, pool: ThreadPoolExecutor, use: Callable[[], T]) -> Future[T]:
    """A use of a key for which the token waits to be touched already."""
    answer = pool.submit(use)
    with home.control() as control:
        control.call("touch.await", token="Work")
    return answer


def test_a_key_that_wants_a_touch_signs_after_each_touch(
    home: Scratch, piv: PivSession, pool: ThreadPoolExecutor, command: Command
) -> None:
    public = piv.generate_key(
        SLOT.AUTHENTICATION, KEY_TYPE.ECCP256, touch_policy=TOUCH_POLICY.ALWAYS
    )
    assert isinstance(public, ec.EllipticCurvePublicKey)
    waiting = pool.submit(sign, piv)
    assert command("touch", "Work", "--wait").stdout == "Work is touched.\n"
    public.verify(waiting.result(LONG), MESSAGE, ec.ECDSA(hashes.SHA256()))
    again = begun(home, pool, lambda: sign(piv))
    # Others use the token meanwhile.
    assert json.loads(command("token", "show", "Work", "--json").stdout)["state"] == "inserted"
    assert not again.done()
    touched = command("touch", "Work", "--json").stdout
    assert json.loads(touched) == {"token": "Work", "done": "touched"}
    public.verify(again.result(LONG), MESSAGE, ec.ECDSA(hashes.SHA256()))


def test_a_touch_is_cached_where_the_policy_says_so(
    home: Scratch, piv: PivSession, pool: ThreadPoolExecutor, command: Command
) -> None:
    piv.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ECCP256, touch_policy=TOUCH_POLICY.CACHED)
    first = begun(home, pool, lambda: sign(piv))
    command("touch", "Work")
    first.result(LONG)
    sign(piv)


def test_a_management_key_that_wants_a_touch_is_proven_with_one(
    home: Scratch, piv: PivSession, pool: ThreadPoolExecutor, command: Command
) -> None:
    piv.set_management_key(MANAGEMENT_KEY_TYPE.AES192, DEFAULT_MANAGEMENT_KEY, require_touch=True)
    proven = begun(home, pool, lambda: piv.authenticate(DEFAULT_MANAGEMENT_KEY))
    command("touch", "Work")
    proven.result(LONG)
    piv.put_object(OBJECT_ID.CHUID, b"written")
    assert piv.get_object(OBJECT_ID.CHUID) == b"written"
    piv.set_management_key(MANAGEMENT_KEY_TYPE.AES192, DEFAULT_MANAGEMENT_KEY)
    piv.authenticate(DEFAULT_MANAGEMENT_KEY)


def use_it(serial: str, ready: Connection) -> None:
    """What another program does: prove the PIN, tell that it is ready, and use the key."""
    with ControlClient(current()) as client:
        card = piv_cards.Client(TokenTransport(client, serial))
        card.log_in()
        ready.send(None)
        card.use(commands.AUTHENTICATION, commands.P256, bytes(32))


def test_a_program_that_is_killed_takes_its_wait_for_a_touch_with_it(
    home: Scratch, token: ScratchToken, piv: PivSession, pool: ThreadPoolExecutor, command: Command
) -> None:
    piv.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ECCP256, touch_policy=TOUCH_POLICY.ALWAYS)
    first = begun(home, pool, lambda: sign(piv))
    here, there = multiprocessing.Pipe()
    program = multiprocessing.get_context("spawn").Process(
        target=use_it, args=(token.serial, there)
    )
    program.start()
    here.recv()
    with home.control() as control:
        served = control.call("status")["connections"]
        # A command that takes a process of its own: the program waits long before it has ended.
        command("token", "list")
        program.kill()
        program.join()
        while control.call("status")["connections"] == served:
            time.sleep(0.01)
    # It gave up before the wait that began earlier did.
    assert not first.done()
    command("touch", "Work")
    first.result(LONG)
    command("touch", "Work", code=9)


def test_a_touch_is_refused_where_it_makes_no_sense(
    home: Scratch, token: ScratchToken, piv: PivSession, pool: ThreadPoolExecutor, command: Command
) -> None:
    refused = command("touch", "Work", code=9)
    assert "Nobody waits for a touch of Work." in refused.stderr
    assert "klyuch touch Work --wait" in refused.stderr
    command("touch", "Nothing", code=5)
    piv.generate_key(SLOT.AUTHENTICATION, KEY_TYPE.ECCP256, touch_policy=TOUCH_POLICY.ALWAYS)
    waiting = begun(home, pool, lambda: sign(piv))
    command("token", "remove", "Work")
    assert waiting.exception(LONG) is not None
    command("touch", "Work", "--wait", code=9)
