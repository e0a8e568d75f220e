"""`klyuch fido`: the token as an authenticator, with python-fido2 behind the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from fido2.attestation.base import UntrustedAttestation
from fido2.ctap import CtapError
from fido2.ctap2.base import Ctap2
from fido2.ctap2.config import Config
from fido2.ctap2.pin import ClientPin

from host_tools.control import ControlError
from host_tools.fido_device import CardDevice
from host_tools.testing import Command, Scratch, ScratchToken
from host_tools.testing.webauthn import WebAuthn
from host_tools.token_transport import TokenTransport
from tests.interop.pcscd import IfdDoor, readers

PIN, NEW_PIN, WRONG = "4815162342", "2342481516", "0000000000"
WITH_PIN = {"KLYUCH_FIDO_PIN": PIN}
_MOMENT = 0.5


@contextmanager
def page(
    home: Scratch,
    token: ScratchToken,
    rp_id: str = "example.org",
    authority: bytes | None = None,
) -> Iterator[WebAuthn]:
    """A page before the token, which somebody touches when asked to; whom it trusts."""
    with home.control() as client, home.control() as hand:

        def touch() -> None:
            hand.call("touch.press", token=token.serial)

        device = CardDevice(TokenTransport(client, token.serial))
        yield WebAuthn(device, rp_id, pin=PIN, authority=authority, asked=touch)


@pytest.fixture
def secured(command: Command, token: ScratchToken) -> ScratchToken:
    """A token whose authenticator has a PIN."""
    told = command("fido", "pin", KLYUCH_NEW_PIN=PIN)
    assert told.stdout == "The FIDO PIN of Work is set.\n"
    return token


def test_info_tells_what_the_authenticator_is(command: Command, token: ScratchToken) -> None:
    facts = json.loads(command("fido", "info", "--json").stdout)
    assert {"FIDO_2_1", "U2F_V2"} <= {*facts["versions"]}
    assert facts["pin_set"] is False
    assert {"ES256", "EdDSA", "RS256"} <= {*facts["algorithms"]}
    told = command("fido", "info", "--token", "Work").stdout
    assert "Pin set" in told
    assert "Room for credentials" in told


def shown_fact(command: Command, name: str) -> str:
    """What `klyuch fido info` shows people under that name."""
    lines = command("fido", "info").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return str(line.removeprefix(name).strip())


def test_without_fido2_it_is_said_how_to_get_it(token: ScratchToken) -> None:
    """An interpreter that finds no such package."""
    hidden = "import sys; sys.modules['fido2'] = None; from host_tools.cli import main; main()"
    words = [sys.executable, "-P", "-c", hidden, "fido", "info"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"Next: Install it: {sys.executable} -m pip install 'fido2>=" in done.stderr


def test_info_shows_people_counts_as_numbers(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    command("fido", "fingerprints", "add", "--finger", "thumb", **WITH_PIN)
    tries = []
    with home.control() as client:
        card = Ctap2(CardDevice(TokenTransport(client, secured.serial)))
        for _ in range(3):
            tries.append(shown_fact(command, "Fingerprint tries"))
            home.script_fingers(secured, "stranger")
            with pytest.raises(CtapError, match=r"UV_INVALID|UV_BLOCKED"):
                ClientPin(card).get_uv_token(ClientPin.PERMISSION.GET_ASSERTION, "example.org")
    assert tries == ["3", "2", "1"]
    assert shown_fact(command, "Fingerprint tries") == "0"
    assert shown_fact(command, "Pin set") == "yes"
    assert shown_fact(command, "Enterprise attestation") == "no"


def test_a_pin_that_has_to_be_changed_is_told_as_such(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    assert shown_fact(command, "Pin must be changed") == "no"
    with home.control() as client:
        card = Ctap2(CardDevice(TokenTransport(client, secured.serial)))
        pin = ClientPin(card)
        proof = pin.get_pin_token(PIN, ClientPin.PERMISSION.AUTHENTICATOR_CFG)
        Config(card, pin.protocol, proof).set_min_pin_length(len(PIN) + 1)
    assert shown_fact(command, "Pin must be changed") == "yes"
    assert shown_fact(command, "Pin complexity policy") == "no"
    refused = command("fido", "credentials", "list", code=9, **WITH_PIN)
    assert "has to be changed" in refused.stderr
    assert "klyuch fido pin" in refused.stderr
    command("fido", "pin", KLYUCH_FIDO_PIN=PIN, KLYUCH_NEW_PIN=f"{NEW_PIN}7")
    assert shown_fact(command, "Pin must be changed") == "no"
    command("fido", "credentials", "list", KLYUCH_FIDO_PIN=f"{NEW_PIN}7")


def test_the_pin_is_set_then_changed_and_tries_are_told(
    command: Command, secured: ScratchToken
) -> None:
    refused = command("fido", "pin", code=3, KLYUCH_FIDO_PIN=WRONG, KLYUCH_NEW_PIN=NEW_PIN)
    assert "The FIDO PIN is wrong; 7 tries left." in refused.output
    assert json.loads(command("fido", "info", "--json").stdout)["pin_tries"] == 7
    command("fido", "pin", KLYUCH_FIDO_PIN=PIN, KLYUCH_NEW_PIN=NEW_PIN)
    command("fido", "credentials", "list", KLYUCH_FIDO_PIN=NEW_PIN)
    assert json.loads(command("fido", "info", "--json").stdout)["pin_tries"] == 8


def test_three_wrong_pins_want_the_token_inserted_again(
    command: Command, secured: ScratchToken
) -> None:
    for _ in range(2):
        command("fido", "credentials", "list", code=3, KLYUCH_FIDO_PIN=WRONG)
    refused = command("fido", "credentials", "list", code=4, KLYUCH_FIDO_PIN=WRONG)
    assert "klyuch token remove TOKEN" in refused.output
    command("fido", "credentials", "list", code=4, **WITH_PIN)
    command("token", "remove", "Work")
    command("token", "insert", "Work")
    command("fido", "credentials", "list", **WITH_PIN)


def test_a_pin_that_is_too_short_is_refused(command: Command, token: ScratchToken) -> None:
    refused = command("fido", "pin", code=8, KLYUCH_NEW_PIN="123")
    assert "klyuch fido info" in refused.output


def test_a_pin_that_is_too_long_or_no_text_is_refused(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    for pin in ("1" * 64, "я" * 32):
        refused = command("fido", "pin", code=2, KLYUCH_NEW_PIN=pin)
        assert "4 code points to 63 bytes" in refused.stderr
    latin = tmp_path / "pin.txt"
    latin.write_bytes(b"caf\xe9 1234\n")
    refused = command("fido", "pin", "--new-pin-file", latin, code=2)
    assert f"{latin} is no text in UTF-8." in refused.stderr
    refused = command("fido", "pin", code=2, KLYUCH_NEW_PIN="caf\udce9 1234")
    assert "The new PIN is no text in UTF-8." in refused.stderr
    command("fido", "pin", KLYUCH_NEW_PIN="я" * 31 + "1")


def test_without_a_pin_nothing_is_managed(command: Command, token: ScratchToken) -> None:
    refused = command("fido", "credentials", "list", code=9, **WITH_PIN)
    assert "Set one: klyuch fido pin" in refused.output


def test_credentials_are_listed_and_deleted(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    for rp_id in ("example.org", "example.net"):
        with page(home, secured, rp_id) as there:
            there.register("ann", discoverable=True)
    listed = json.loads(command("fido", "credentials", "list", "--json", **WITH_PIN).stdout)
    assert {(one["relying_party"], one["user"]) for one in listed} == {
        ("example.org", "ann"),
        ("example.net", "ann"),
    }
    assert "example.net" in command("fido", "credentials", "list", **WITH_PIN).stdout
    first = listed[0]["id"][:12]
    command("fido", "credentials", "delete", first, "--yes", **WITH_PIN)
    (left,) = json.loads(command("fido", "credentials", "list", "--json", **WITH_PIN).stdout)
    assert left == listed[1]
    command("fido", "credentials", "delete", first, "--yes", code=5, **WITH_PIN)
    # Every identifier begins with nothing.
    command("fido", "credentials", "delete", "", "--yes", code=5, **WITH_PIN)
    command("fido", "credentials", "delete", left["id"], "--yes", **WITH_PIN)
    assert json.loads(command("fido", "credentials", "list", "--json", **WITH_PIN).stdout) == []


def test_fingers_are_enrolled_named_and_removed(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    fingers = ("fido", "fingerprints")
    added = command(*fingers, "add", "--finger", "thumb", "--json", **WITH_PIN)
    ident = json.loads(added.stdout)["id"]
    command(*fingers, "rename", ident, "right thumb", **WITH_PIN)
    listed = json.loads(command(*fingers, "list", "--json", **WITH_PIN).stdout)
    assert listed == [{"id": ident, "name": "right thumb"}]
    facts = json.loads(command("fido", "info", "--json").stdout)
    assert facts["fingerprints_enrolled"] is True
    with page(home, secured) as there:
        command("finger", "script", "Work", "thumb")
        assert there.register(uv="required").data.is_user_verified()
    again = command(*fingers, "add", "--finger", "thumb", code=7, **WITH_PIN)
    assert "That finger is enrolled already." in again.stderr
    command(*fingers, "remove", "", code=2, **WITH_PIN)
    command(*fingers, "rename", "", "left thumb", code=2, **WITH_PIN)
    command(*fingers, "remove", ident, **WITH_PIN)
    command(*fingers, "remove", ident, code=5, **WITH_PIN)
    command(*fingers, "remove", "thumb", code=2, **WITH_PIN)
    assert json.loads(command(*fingers, "list", "--json", **WITH_PIN).stdout) == []


def test_a_finger_whose_enrolment_is_refused_lets_nobody_in(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    add = ("fido", "fingerprints", "add", "--finger")
    for number in range(5):
        command(*add, f"finger {number}", **WITH_PIN)
    full = command(*add, "finger 0", code=9, **WITH_PIN)
    assert "klyuch fido fingerprints remove" in full.stderr
    with home.control() as client:
        assert client.call("finger.clear", token=secured.serial) == {"dropped": 0}
    command(*add, "x" * 33, code=2, **WITH_PIN)


def test_a_script_that_goes_on_is_in_the_way_of_a_finger(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    home.script_fingers(secured, *["ghost"] * 4)
    add = ("fido", "fingerprints", "add", "--finger", "thumb")
    refused = command(*add, code=9, **WITH_PIN)
    assert "steps left: 4" in refused.stderr
    assert "klyuch finger script Work --clear" in refused.stderr
    command("finger", "script", "Work", "--clear")
    command(*add, **WITH_PIN)
    home.script_fingers(secured, "thumb")
    with page(home, secured) as there:
        assert there.register(uv="required").data.is_user_verified()


def test_a_finger_that_is_known_keeps_its_name(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    pki = {"KLYUCH_PIN": secured.pin}
    command("finger", "add", "Work", "--finger", "thumb", "--name", "right thumb", **pki)
    add = ("fido", "fingerprints", "add", "--finger", "thumb", "--json")
    added = json.loads(command(*add, **WITH_PIN).stdout)
    assert added["name"] == "right thumb"
    assert "right thumb" in command("finger", "list", "Work", **pki).stdout


def test_an_enrolment_that_cannot_end_well_leaves_no_finger(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    fingers = ("fido", "fingerprints")
    for name in ("n" * 65, "\x1b[31m"):
        add = (*fingers, "add", "--name", name, "--finger", "thumb")
        assert "name" in command(*add, code=2, **WITH_PIN).stderr
    # Nobody comes.
    late = command(*fingers, "add", code=9, **WITH_PIN)
    assert "No finger was put on the sensor in time" in late.stderr
    assert json.loads(command(*fingers, "list", "--json", **WITH_PIN).stdout) == []
    command(*fingers, "add", "--finger", "thumb", "--name", "n" * 64, **WITH_PIN)
    (kept,) = json.loads(command(*fingers, "list", "--json", **WITH_PIN).stdout)
    assert kept["name"] == "n" * 64
    command(*fingers, "rename", kept["id"], "m" * 65, code=2, **WITH_PIN)


def test_what_needs_a_hand_at_the_token_is_not_for_a_reader(command: Command) -> None:
    for words in (("reset", "--yes", "--touch"), ("fingerprints", "add", "--finger", "thumb")):
        refused = command("fido", *words, "--reader", "Any", code=2, **WITH_PIN)
        assert "needs a token of this home" in refused.stderr


def test_another_programs_request_is_told(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    with ThreadPoolExecutor() as pool, home.control() as hand:
        enrolling = pool.submit(command, "fido", "fingerprints", "add", code=9, **WITH_PIN)
        hand.call("finger.await", token=secured.serial)
        busy = command("fido", "info", code=9)
        assert "Another program's request waits" in busy.stderr
        hand.call("token.remove", token=secured.serial)
        ended = enrolling.result(30).stderr
    assert "Error: The card was removed.\nNext: Insert it again" in ended
    removed = command("fido", "info", code=9)
    assert "Next: Insert it: klyuch token insert Work" in removed.stderr


def test_a_page_trusts_the_token_by_the_certificate_of_its_authority(
    command: Command, home: Scratch, secured: ScratchToken, tmp_path: Path
) -> None:
    other = home.create_token("Other")
    trusted = tmp_path / "authority.pem"
    told = command("fido", "attestation", "--token", "Work", "-o", trusted)
    assert told.stdout == f"Written: {trusted}\n"
    pem = command("fido", "attestation", "--token", "Work").stdout
    assert pem == trusted.read_text()
    shown = json.loads(command("fido", "attestation", "--token", "Work", "--json").stdout)
    assert (shown["attestation"], shown["pem"]) == ("certificate", pem)
    authority = load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    with page(home, secured, authority=authority) as there:
        assert there.register().certificates[-1] == authority
    der = tmp_path / "other.der"
    command("fido", "attestation", "--token", other.serial, "--der", "-o", der)
    with (
        page(home, secured, authority=der.read_bytes()) as there,
        pytest.raises(UntrustedAttestation),
    ):
        there.register()


@pytest.mark.parametrize("kind", ["self", "none"])
def test_a_token_without_an_authority_says_so(command: Command, home: Scratch, kind: str) -> None:
    made = home.create_token("Plain", attestation=kind)
    refused = command("fido", "attestation", code=5)
    assert f"it was made with {kind}." in refused.stderr
    assert "--attestation certificate" in refused.stderr
    # That of an enterprise leads to it all the same.
    command("fido", "pin", KLYUCH_NEW_PIN=PIN)
    with home.control() as client:
        card = Ctap2(CardDevice(TokenTransport(client, made.serial)))
        pin = ClientPin(card)
        proof = pin.get_pin_token(PIN, ClientPin.PERMISSION.AUTHENTICATOR_CFG)
        Config(card, pin.protocol, proof).enable_enterprise_attestation()
    shown = json.loads(command("fido", "attestation", "--json").stdout)
    assert shown["attestation"] == kind
    assert shown["pem"].startswith("-----BEGIN CERTIFICATE-----")
    command("token", "remove", "Plain")
    removed = command("fido", "attestation", code=9)
    assert "klyuch token insert Plain" in removed.stderr


def test_a_reset_waits_for_a_touch_and_leaves_the_rest_of_the_token(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    command("fido", "reset", code=2)
    with ThreadPoolExecutor() as pool:
        touched = pool.submit(_touch, home, secured)
        told = command("fido", "reset", "--yes")
        touched.result(30)
    assert "Touch the token: klyuch touch Work" in told.stderr
    assert json.loads(command("fido", "info", "--json").stdout)["pin_set"] is False
    assert json.loads(command("pin", "status", "--json").stdout)[0]["tries_left"] == 3
    command("fido", "reset", "--yes", "--touch")


def _touch(home: Scratch, token: ScratchToken) -> None:
    """Touch the token once it waits for that; it is pulled out before."""
    touched = False
    with home.control() as client:
        while not touched:
            with suppress(ControlError):
                client.call("touch.await", token=token.serial)
                # The command says only what has lasted for a moment.
                time.sleep(_MOMENT)
                client.call("touch.give", token=token.serial)
                touched = True


def test_a_card_in_a_reader_is_an_authenticator_too(
    command: Command, home: Scratch, secured: ScratchToken
) -> None:
    with readers(home, IfdDoor(home, "fido2"), [secured.serial]) as there:
        there.client().call("wait_for", there.name(), True)
        words = ("fido", "info", "--reader", there.name(), "--json")
        facts = json.loads(command(*words, **there.pcscd.environment).stdout)
    assert facts["pin_set"] is True
