"""``klyuch token`` on real tokens."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from host_tools.testing import Command, Run, Scratch, ScratchToken

PINS = {"KLYUCH_PIN": "481516", "KLYUCH_SO_PIN": "23423108"}


class _Result(Protocol):
    @property
    def stdout(self) -> str: ...


def _json(result: _Result) -> object:
    return json.loads(result.stdout)


def test_a_token_is_made_listed_shown_and_deleted(command: Command) -> None:
    made = _json(command("token", "create", "Ключ", "--json", **PINS))
    assert isinstance(made, dict)
    assert (made["label"], made["slot"], made["state"]) == ("Ключ", 0, "inserted")
    assert [(pin["name"], pin["tries_left"]) for pin in made["pins"]] == [("user", 3), ("so", 10)]
    listed = command("token", "list").stdout
    assert "Ключ" in listed
    assert "inserted" in listed
    assert "3 of 3 tries left" in command("token", "show", "Ключ").stdout
    assert "is deleted" in command("token", "delete", "Ключ", "--yes").stdout
    assert _json(command("token", "list", "--json")) == []
    assert "klyuch token create" in command("token", "list").stdout


def test_pins_come_from_files(command: Command, tmp_path: Path) -> None:
    so_pin, pin = tmp_path / "so", tmp_path / "pin"
    so_pin.write_text("23423108\n")
    pin.write_text("481516\r\nrest\n")
    command("token", "create", "Work", "--so-pin-file", so_pin, "--pin-file", pin)
    command("key", "generate", "P-256", KLYUCH_PIN="481516")
    command("key", "generate", "P-256", code=3, KLYUCH_PIN="481516\r")


def test_a_pin_file_that_is_no_text_is_told_in_words(command: Command, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_bytes(b"\xff\xfe1\x002\x00")
    refused = command("token", "create", "Work", "--pin-file", pin, code=2, **PINS)
    assert refused.stderr.startswith(f"Error: {pin} is no text in UTF-8.\nNext: ")


def test_tries_and_policy_are_the_ones_asked_for(command: Command) -> None:
    options = ("--pin-policy", "strict6", "--tries", "5", "--so-tries", "2")
    shown = command("token", "create", "Work", *options, "--json", **PINS)
    user, so = json.loads(shown.stdout)["pins"]
    assert (user["tries"], user["policy"], user["max_length"]) == (5, "strict6", 6)
    assert so["tries"] == 2


def test_a_pin_that_breaks_the_policy_is_refused_and_no_token_is_made(command: Command) -> None:
    for pin in ("123456", "111199", "12345", "12a456"):
        arguments = ("token", "create", "Work", "--pin-policy", "strict6")
        refused = command(*arguments, code=8, KLYUCH_SO_PIN="23423108", KLYUCH_PIN=pin)
        assert "policy" in refused.stderr
    assert _json(command("token", "list", "--json")) == []


def test_a_label_is_given_once(command: Command, token: ScratchToken) -> None:
    refused = command("token", "create", token.label, code=7, **PINS)
    assert "Error: There is a token 'Work' already.\nNext: Choose another label." in refused.stderr


def test_removal_and_insertion_show(command: Command, token: ScratchToken) -> None:
    command("token", "remove", token.serial)
    assert "removed" in command("token", "list").stdout
    refused = command("key", "list", code=9)
    assert "Next: Insert it: klyuch token insert Work" in refused.stderr
    command("token", "insert", token.slot)
    command("key", "list")


def test_a_blank_token_is_initialised_by_reset(command: Command) -> None:
    command("token", "create", "--blank")
    refused = command("key", "list", code=9)
    assert "klyuch token reset" in refused.stderr
    command("token", "reset", "0", "--label", "Mine", "--yes", KLYUCH_SO_PIN="23423108")
    command("pin", "unblock", KLYUCH_SO_PIN="23423108", KLYUCH_NEW_PIN="1234")
    command("key", "generate", "P-256", KLYUCH_PIN="1234")
    assert "Mine" in command("token", "list").stdout


def test_reset_by_the_so_pin_erases_and_keeps_label_and_so_pin(
    command: Command, token: ScratchToken
) -> None:
    command("key", "generate", "P-256", KLYUCH_PIN=token.pin)
    command("token", "reset", "Work", "--yes", code=3, KLYUCH_SO_PIN="wrong-one")
    done = command("token", "reset", "Work", "--yes", "--json", KLYUCH_SO_PIN=token.so_pin)
    details = json.loads(done.stdout)
    assert (details["label"], details["keys"], details["serial"]) == ("Work", 0, token.serial)
    assert [pin["initialised"] for pin in details["pins"]] == [False, True]


def test_reset_by_force_goes_back_to_the_factory(command: Command, token: ScratchToken) -> None:
    details = json.loads(command("token", "reset", "Work", "--force", "--yes", "--json").stdout)
    assert (details["label"], details["initialised"]) == ("", False)
    assert (details["serial"], details["slot"]) == (token.serial, token.slot)


@pytest.mark.parametrize("arguments", [("delete", "Work"), ("reset", "Work", "--force")])
def test_what_destroys_asks_first(
    command: Command, token: ScratchToken, arguments: tuple[str, ...]
) -> None:
    command("token", *arguments, stdin="n\n", code=1)
    assert json.loads(command("token", "show", token.label, "--json").stdout)["initialised"]
    unanswered = command("token", *arguments, stdin="", code=2)
    assert "Next: Give --yes" in unanswered.stderr
    command("token", *arguments, stdin="y\n")


def test_a_token_nobody_knows_is_not_found(command: Command) -> None:
    assert "See: klyuch token list" in command("token", "show", "Nobody", code=5).stderr
    assert "klyuch token create" in command("key", "list", code=5).stderr


def test_several_tokens_want_a_name(command: Command, home: Scratch) -> None:
    for label in ("One", "Two"):
        home.create_token(label)
    assert "--token" in command("key", "list", code=7).stderr
    command("key", "list", "--token", "Two")
    command("key", "list", KLYUCH_TOKEN="One")


def test_a_token_under_a_passphrase_waits_to_be_unlocked(
    command: Command, home: Scratch, tmp_path: Path
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    command("token", "create", "Safe", "--passphrase-file", secret, **PINS)
    command("key", "generate", "P-256", **PINS)
    home.kill_daemon()
    assert "locked" in command("token", "list").stdout
    assert "klyuch token unlock Safe" in command("key", "list", code=9, **PINS).stderr
    secret.write_text("open barley\n")
    command("token", "unlock", "Safe", "--passphrase-file", secret, code=3)
    secret.write_text("open sesame\n")
    command("token", "unlock", "Safe", "--passphrase-file", secret)
    assert "P-256" in command("key", "list", **PINS).stdout


def test_piped_output_has_no_colours_and_no_wrapping(klyuch: Run, home: Scratch) -> None:
    home.create_token("A label of thirty-two characters")
    shown = klyuch("token", "list", COLUMNS="20").stdout
    assert "\x1b" not in shown
    assert "A label of thirty-two characters" in shown


def test_pins_are_asked_for_without_echo(home: Scratch) -> None:
    terminal, child_end = pty.openpty()
    create = [sys.executable, "-P", "-m", "host_tools.cli", "token", "create", "Work"]
    child = subprocess.Popen(
        create, stdin=child_end, stdout=child_end, stderr=child_end, start_new_session=True
    )
    os.close(child_end)
    shown = b""
    for prompt, answer in (
        (b"SO PIN: ", b"23423108"),
        (b"confirmation: ", b"23423108"),
        (b"user PIN: ", b"481516"),
        (b"confirmation: ", b"481516"),
    ):
        while not shown.endswith(prompt):
            shown += _read(terminal, shown)
        os.write(terminal, answer + b"\n")
        shown += b"<answered>"
    while data := _read(terminal, shown):
        shown += data
    os.close(terminal)
    assert child.wait(20) == 0, shown.decode()
    assert b"Token Work is in slot 0" in shown
    assert b"23423108" not in shown
    assert b"481516" not in shown
    assert home.home.daemon_pid() is not None


def _read(terminal: int, shown: bytes) -> bytes:
    assert select.select([terminal], [], [], 20)[0], shown.decode()
    try:
        return os.read(terminal, 1024)
    except OSError:
        # A terminal whose other side has closed reads as an error.
        return b""
