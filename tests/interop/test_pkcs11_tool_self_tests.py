"""The tests that OpenSC's pkcs11-tool brings along find nothing wrong with the library."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Final, Self

import pytest

from host_tools.testing import Scratch
from tests.conftest import program
from tests.interop.consumers import Owner, call

THREADS: Final = 8
_PATIENCE: Final = 30.0
# The tool tries both multi-part operations on mechanisms for one part only, and takes this answer.
_ONE_PART: Final = "warning: PKCS11 function C_SignUpdate failed: rv = CKR_FUNCTION_NOT_SUPPORTED"
# It gives a text as CKA_SUBJECT, which is the DER of a name (4.9), and goes on.
_SUBJECT: Final = "C_SetAttributeValue(pub_key) failed: rv = CKR_ATTRIBUTE_VALUE_INVALID"
_NOT_RSA: Final = re.compile(r"  testing key \d+ \(\w*\)( with 1 mechanism)? -- non-RSA, skipping$")
_ANSWER: Final = re.compile(r"(C_\w+)[^:]*?(?: returned | rv:)(CKR_\w+)$")
_ONE_WAY: Final = " -- mechanism can't be used to decrypt, skipping"


@pytest.fixture
def tool(home: Scratch) -> tuple[str, ...]:
    return (program("pkcs11-tool", "opensc"), "--module", str(home.library))


@pytest.fixture
def user(owner: Owner, tool: tuple[str, ...]) -> tuple[str, ...]:
    """The tool, logged in; the PIN is in the environment."""
    return (*tool, "--login", "--pin", "env:KLYUCH_PIN", "--token-label", owner.token.label)


def run(command: tuple[str, ...], owner: Owner) -> tuple[list[str], list[str]]:
    """The lines of both streams."""
    done = call(command, {"KLYUCH_PIN": owner.token.pin})
    return done.stdout.splitlines(), [line for line in done.stderr.splitlines() if line]


def test_test_finds_no_errors(user: tuple[str, ...], owner: Owner) -> None:
    owner.make_key("RSA-2048", "rsa", "01")
    owner.make_key("P-256", "ec", "02")
    said, complaints = run((*user, "--test"), owner)
    assert said[-1] == "No errors"
    assert not [line for line in said if re.search("ERR|not (implemented|supported)", line)]
    skipped = [line for line in said if line.endswith("skipping")]
    others = Counter(line for line in skipped if not _NOT_RSA.match(line))
    assert others.keys() <= {_ONE_WAY}
    for section in ("Signatures", "Verify", "Decryption"):
        start = next(n for n, line in enumerate(said) if line.startswith(section))
        assert said[start + 1].startswith("  testing key 0 (rsa)")
        assert any(_NOT_RSA.match(line) for line in said[start:])
    works = Counter(line.strip().split(":")[0] for line in said if line.endswith(": OK"))
    assert works >= Counter(
        {"SHA-1": 1, "SHA256": 1, "RSA-X-509": 3, "RSA-PKCS": 3}
        | {"SHA1-RSA-PKCS": 2, "SHA256-RSA-PKCS": 1}
    )
    assert sum(line.startswith("    RSA-PKCS-OAEP:") for line in said) == 2
    assert said.count("OK") == 2
    assert [line for line in complaints if line.startswith(("error", "warning"))] == [
        line for line in complaints if line.startswith(_ONE_PART)
    ]
    assert said[:2] == ["C_SeedRandom() and C_GenerateRandom():", "  seems to be OK"]


@pytest.mark.parametrize("curve", ["secp256r1", "secp384r1", "secp521r1"])
def test_test_ec_makes_uses_and_deletes_keys(
    user: tuple[str, ...], owner: Owner, curve: str
) -> None:
    key = ("--key-type", f"EC:{curve}", "--id", "05")
    said, complaints = run((*user, "--session-rw", "--test-ec", *key), owner)
    assert said[-1] == "==> OK"
    steps = [line.strip("* ") for line in said if line.startswith("***")]
    assert steps == [
        "We already opened a session and logged in",
        "Generating EC key pair",
        "Changing the CKA_ID of private and public key into one of 20 bytes",
        "Doing a signature",
        "Changing the CKA_LABEL, CKA_ID and CKA_SUBJECT of the public key",
        "Deleting the private and the public key again",
    ]
    assert [_SUBJECT in line for line in complaints if "failed" in line] == [True]
    assert owner.run("key", "list", "--json").strip() == "[]"


def test_test_fork_initializes_in_the_child(tool: tuple[str, ...], owner: Owner) -> None:
    said, complaints = run((*tool, "--test-fork"), owner)
    assert said == ["*** Calling C_Initialize in forked child process ***"]
    assert not [line for line in complaints if "rror" in line]


def test_test_threads_share_the_library(
    user: tuple[str, ...], owner: Owner, tool: tuple[str, ...]
) -> None:
    """IN and IL initialize it, GI asks for information, SL lists slots, T0 asks for the token.

    Making a key keeps the main thread busy: the tool waits for 30 seconds where it ends first.
    """
    threads = [word for _ in range(THREADS // 2) for word in ("ILGISLT0", "INGISLT0")]
    options = [word for thread in threads for word in ("--test-threads", thread)]
    work = ("--keypairgen", "--key-type", "rsa:3072", "--id", "07")
    said, complaints = run((*user, *options, *work), owner)
    told = [_ANSWER.search(line) for line in said + complaints]
    assert Counter(found.groups() for found in told if found) == {
        ("C_Initialize", "CKR_OK"): 1,
        ("C_Initialize", "CKR_CRYPTOKI_ALREADY_INITIALIZED"): THREADS,
        ("C_GetInfo", "CKR_OK"): THREADS,
        ("C_GetSlotList", "CKR_OK"): 2 * THREADS,
    }
    assert [key["id"] for key in json.loads(owner.run("key", "list", "--json"))] == ["07"]


EMPTY: Final = "  (empty)\n"
PRESENT: Final = "  token label        : Work\n"
EVENT: Final = "event on slot 0x0\n"


class Hotplug:
    """`pkcs11-tool --test-hotplug`, which looks again whenever somebody presses return."""

    _QUESTION: Final = "Please press return to continue, x to exit: "

    def __init__(self, tool: tuple[str, ...], log: Path) -> None:
        self._log = log
        self._read = 0
        # The tool's output is buffered as a whole where it goes to no terminal.
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [program("stdbuf", "coreutils"), "-o0", *tool, "--test-hotplug"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.DEVNULL,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def said(self, ending: str = _QUESTION) -> str:
        """What it printed since the last time, when that has come to an end."""
        deadline = time.monotonic() + _PATIENCE
        while not (text := self._log.read_text()[self._read :]).endswith(ending):
            assert time.monotonic() < deadline, f"{ending!r} did not come, but:\n{text}"
            time.sleep(0.01)
        self._read += len(text)
        return text

    def press(self, key: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{key}\n".encode())
        self._process.stdin.flush()


def test_test_hotplug_sees_tokens_come_and_go(tool: tuple[str, ...], owner: Owner) -> None:
    label = owner.token.label
    with Hotplug(tool, owner.folder / "log") as hotplug:
        hotplug.said()
        for job, shown in (("remove", EMPTY), ("insert", PRESENT)):
            owner.run("token", job, label)
            hotplug.press()
            assert shown in hotplug.said()
        hotplug.press("x")
        assert "C_WaitForSlotEvent()" in hotplug.said()

        hotplug.press()
        # What happened before is told first, if nobody has asked for it.
        assert EVENT in hotplug.said()
        for job, shown in (("remove", EMPTY), ("insert", PRESENT)):
            hotplug.press()
            hotplug.said("Calling C_WaitForSlotEvent: ")
            owner.run("token", job, label)
            said = hotplug.said()
            assert EVENT in said
            assert shown in said
