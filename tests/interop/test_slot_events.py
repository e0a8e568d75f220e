"""Tokens that come and go, as programs see it through the library: processes, threads, restarts."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ctypes import byref, c_ulong
from pathlib import Path

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.testing import Command, Scratch, ScratchToken
from host_tools.testing.application import RemoteApplication
from host_tools.testing.worker import Refused
from pkcs11_module import _constants as ck
from tests.conftest import program

PATIENCE = 30


@pytest.fixture
def others(token: ScratchToken) -> Iterator[list[RemoteApplication]]:
    """Three processes after their C_Initialize."""
    with ExitStack() as stack:
        made = [stack.enter_context(RemoteApplication()) for _ in range(3)]
        for other in made:
            assert other.call("slots") == [token.slot]
        yield made


def refusal(other: RemoteApplication) -> str:
    with pytest.raises(Refused) as refused:
        other.answer()
    return str(refused.value)


def threads(pid: int) -> dict[str, str]:
    """How often each thread of a process has gone to sleep."""
    found = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        found[status.parent.name] = fields["voluntary_ctxt_switches"]
    return found


def test_every_process_that_waits_is_told(
    command: Command, token: ScratchToken, others: list[RemoteApplication]
) -> None:
    for change in ("remove", "insert"):
        for other in others:
            other.send("wait_for_event")
        command("token", change, token.label)
        assert [other.answer() for other in others] == [token.slot] * 3
        present = change == "insert"
        assert [other.call("token_present") for other in others] == [present] * 3
        # The flag is cleared: whoever does not wait is told of nothing.
        for other in others:
            other.send("wait_for_event", ck.CKF_DONT_BLOCK)
            assert refusal(other) == "CKR_NO_EVENT"


def test_what_happened_before_the_call_is_told_by_it(
    command: Command, token: ScratchToken, others: list[RemoteApplication]
) -> None:
    command("token", "remove", token.label)
    command("token", "insert", token.label)
    made = command("token", "create", "--blank")
    assert "slot 1" in made.stdout
    command("token", "delete", "1", "--yes")
    for other in others:
        assert sorted(other.call("wait_for_event") for _ in range(2)) == [token.slot, 1]
        assert other.call("slots") == [token.slot]


def test_a_waiting_thread_sleeps_and_lets_the_others_work(
    home: Scratch, token: ScratchToken, command: Command
) -> None:
    with Cryptoki() as library, ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(library.wait_for_slot_event) for _ in range(2)]
        with library.open_session(token.slot) as session:
            session.login(ck.CKU_USER, token.pin.encode())
            assert len(session.random(16)) == 16
        pid = home.home.daemon_pid()
        assert pid is not None
        time.sleep(0.3)
        before = threads(pid)
        time.sleep(0.5)
        assert threads(pid) == before
        assert not any(call.done() for call in calls)
        command("token", "remove", token.label)
        while not any(call.done() for call in calls):
            time.sleep(0.001)
        # One flag wakes one of the two.
        command("token", "insert", token.label)
        assert [call.result(PATIENCE) for call in calls] == [token.slot] * 2


def test_finalize_wakes_every_waiting_thread(token: ScratchToken) -> None:
    library = Cryptoki()
    library.initialize()

    def wait() -> str:
        with pytest.raises(CryptokiError) as refused:
            library.wait_for_slot_event()
        return refused.value.name

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(wait) for _ in range(3)]
        library.slots()
        library.finalize()
        assert [call.result(PATIENCE) for call in calls] == ["CKR_CRYPTOKI_NOT_INITIALIZED"] * 3
    # The flags of the last life are gone with it.
    library.initialize()
    with pytest.raises(CryptokiError, match="CKR_NO_EVENT"):
        library.wait_for_slot_event(ck.CKF_DONT_BLOCK)
    library.finalize()


def test_the_death_of_the_daemon_wakes_who_waits(
    home: Scratch, token: ScratchToken, others: list[RemoteApplication]
) -> None:
    for other in others[:2]:
        other.send("wait_for_event")
    while len(threads(home.home.daemon_pid() or 0)) < 6:
        time.sleep(0.001)
    home.kill_daemon()
    assert [refusal(other) for other in others[:2]] == ["CKR_FUNCTION_FAILED"] * 2
    for other in others:
        assert other.call("slots") == [token.slot]


def test_a_killed_process_that_waited_is_forgotten(
    home: Scratch, token: ScratchToken, others: list[RemoteApplication], command: Command
) -> None:
    for other in others:
        other.send("wait_for_event")
    others[0].process.send_signal(signal.SIGKILL)
    others[0].process.wait(PATIENCE)
    with home.control() as control:
        while control.call("status")["applications"] != 2:
            time.sleep(0.001)
    command("token", "remove", token.label)
    assert [other.answer() for other in others[1:]] == [token.slot] * 2


def test_a_reserved_pointer_must_be_null(token: ScratchToken) -> None:
    with Cryptoki() as library:
        reserved, slot = c_ulong(), c_ulong()
        wait = library.raw["C_WaitForSlotEvent"]
        for flags in (0, ck.CKF_DONT_BLOCK):
            assert wait(flags, byref(slot), byref(reserved)) == ck.CKR_ARGUMENTS_BAD
            assert wait(flags, None, None) == ck.CKR_ARGUMENTS_BAD


def test_slot_numbers_outlive_daemons_and_tokens(home: Scratch, command: Command) -> None:
    tokens = [home.create_token(label) for label in ("one", "two", "three")]
    assert [token.slot for token in tokens] == [0, 1, 2]
    command("token", "delete", "two", "--yes")
    with Cryptoki() as library:
        # The list only grows while the daemon lives, and after that numbers stay what they were.
        assert library.slots(present=False) == [0, 1, 2]
        assert library.slots() == [0, 2]
    home.kill_daemon()
    assert home.create_token("four").slot == 3
    with Cryptoki() as library:
        assert library.slots(present=False) == [0, 2, 3]
        assert library.token_info(2).label == "three"


def test_a_new_token_is_seen_where_the_length_of_the_list_is_asked_for(
    home: Scratch, token: ScratchToken
) -> None:
    with Cryptoki() as library:
        late = home.create_token("late")
        room, count = (c_ulong * 8)(), c_ulong(8)
        library.call("C_GetSlotList", False, room, byref(count))
        assert room[: count.value] == [token.slot]
        with pytest.raises(CryptokiError, match="CKR_SLOT_ID_INVALID"):
            library.open_session(late.slot)
        assert library.slots() == [token.slot, late.slot]
        library.open_session(late.slot).close()


class Hotplug:
    """pkcs11-tool --test-hotplug, which a person would answer."""

    def __init__(self, library: Path) -> None:
        tool = program("pkcs11-tool", "opensc")
        command = [tool, "--module", str(library), "--test-hotplug"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def __enter__(self) -> Hotplug:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def press(self, key: str) -> None:
        self._input.write(key.encode() + b"\n")
        self._input.flush()

    def until(self, text: str) -> str:
        """What it prints up to that text."""
        seen = b""
        while not seen.endswith(text.encode()):
            byte = self._output.read(1)
            assert byte, seen
            seen += byte
        return seen.decode()

    def ends(self) -> int:
        return self._process.wait(PATIENCE)


def test_pkcs11_tool_sees_tokens_come_and_go(
    home: Scratch, command: Command, token: ScratchToken
) -> None:
    more = "x to exit: "
    with Hotplug(home.library) as tool:
        tool.until(more)
        tool.press("")
        assert token.label in tool.until(more)
        command("token", "remove", token.label)
        tool.press("")
        assert "(empty)" in tool.until(more)
        tool.press("x")
        assert "C_WaitForSlotEvent" in tool.until(more)
        tool.press("")
        assert "event on slot 0x0" in tool.until(more)
        tool.press("")
        tool.until("Calling C_WaitForSlotEvent: ")
        command("token", "insert", token.label)
        assert token.label in tool.until(more)
        tool.press("")
        tool.until("Calling C_WaitForSlotEvent: ")
        late = home.create_token("Late")
        shown = tool.until(more)
        assert f"event on slot {late.slot:#x}" in shown
        assert late.label in shown
        tool.press("x")
        assert tool.ends() == 0
