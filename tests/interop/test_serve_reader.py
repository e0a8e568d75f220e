"""`klyuch serve --reader`: a card in a PC/SC reader is driven as an emulated token is."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.objects import SPECS, find_key, generate, new_id
from host_tools.pki.signer import TokenSigner
from host_tools.testing import Run, Scratch
from host_tools.testing.application import RemoteApplication
from pkcs11_module import _constants as ck
from tests import piv_cards
from tests.interop.served_reader import SLOT, Served, served

MESSAGE = b"signed by the card in the reader"
COUNTERS = {
    ck.CKF_USER_PIN_COUNT_LOW: "low",
    ck.CKF_USER_PIN_FINAL_TRY: "final try",
    ck.CKF_USER_PIN_LOCKED: "locked",
}


class Signer:
    """Signs with pkcs11-tool and our library, and has openssl judge it."""

    def __init__(self, shown: Served, folder: Path, openssl: Run) -> None:
        self._shown = shown
        self._openssl = openssl
        self._message, self._signature, self._public = (
            folder / name for name in ("message", "signature", "public")
        )
        self._message.write_bytes(MESSAGE)

    def is_verified(self, pin: str, ident: str, mechanism: str) -> bool:
        """Whether the signature with the key of that CKA_ID is one by its public half."""
        how = ("--mechanism", mechanism, "--signature-format", "openssl")
        files = ("-i", self._message, "-o", self._signature)
        self._shown.ours("--login", "--pin", pin, "--id", ident, "--sign", *how, *files)
        read = ("--read-object", "--type", "pubkey", "--id", ident)
        self._shown.ours(*read, "-o", self._public)
        judged = ("-verify", self._public, "-signature", self._signature)
        return self._openssl("dgst", "-sha256", *judged, self._message).stdout == "Verified OK\n"


@pytest.mark.parametrize(
    ("kind", "mechanism"),
    [("EC:prime256v1", "ECDSA-SHA256"), ("rsa:2048", "SHA256-RSA-PKCS")],
)
def test_keys_are_made_listed_and_used(
    pki_reader: Served, openssl: Run, tmp_path: Path, kind: str, mechanism: str
) -> None:
    pin = pki_reader.token.pin
    login = ("--login", "--pin", pin, "--id", "01")
    assert "token label        : Work" in pki_reader.ours("--list-token-slots")
    pki_reader.ours(*login, "--keypairgen", "--key-type", kind, "--label", "made")
    assert "label:      made" in pki_reader.ours(*login, "--list-objects", "--type", "privkey")
    assert Signer(pki_reader, tmp_path, openssl).is_verified(pin, "01", mechanism)


@pytest.mark.parametrize(
    ("ident", "mechanism"),
    [("01", "SHA256-RSA-PKCS"), ("02", "ECDSA-SHA256"), ("05", "ECDSA-SHA256")],
    ids=["RSA", "PIN for each use", "P-256"],
)
def test_keys_of_a_piv_card_are_listed_and_used(
    piv_reader: Served, openssl: Run, tmp_path: Path, ident: str, mechanism: str
) -> None:
    pin = piv_cards.PIN.decode()
    shown = piv_reader.ours("--list-token-slots")
    assert "token label        : PIV" in shown
    assert "token model        : PIV" in shown
    assert Signer(piv_reader, tmp_path, openssl).is_verified(pin, ident, mechanism)


def test_a_key_that_asks_for_the_pin_each_time_gets_it_right_before_its_use(
    pki_reader: Served,
) -> None:
    with Cryptoki() as library, library.open_session(SLOT) as session:
        pin = pki_reader.token.pin
        session.login(ck.CKU_USER, pin.encode())
        generate(session, SPECS["P-256"], "asks", new_id(session), always_authenticate=True)
        key = find_key(session, "asks")
        for _ in range(2):
            assert TokenSigner(session, key, pin).sign(MESSAGE)
        with pytest.raises(CryptokiError, match="CKR_USER_NOT_LOGGED_IN"):
            session.sign(ck.CKM_ECDSA, key.private, bytes(32))


@pytest.mark.parametrize("application", ["pki", "piv"])
def test_wrong_pins_are_counted_down_to_the_lock(home: Scratch, application: str) -> None:
    with served(home, "--app", application), Cryptoki() as library:
        session = library.open_session(SLOT)
        said = []
        for _ in range(4):
            with pytest.raises(CryptokiError) as refused:
                session.login(ck.CKU_USER, b"000000")
            flags = library.token_info(SLOT).flags
            shown = [name for flag, name in COUNTERS.items() if flags & flag]
            said.append((refused.value.name, *shown))
        assert said == [
            ("CKR_PIN_INCORRECT", "low"),
            ("CKR_PIN_INCORRECT", "low", "final try"),
            ("CKR_PIN_LOCKED", "locked"),
            ("CKR_PIN_LOCKED", "locked"),
        ]


def test_the_first_application_that_a_card_has_is_shown(home: Scratch) -> None:
    with served(home), Cryptoki() as library:
        assert library.token_info(SLOT).label == "Work"


def test_a_pin_is_entered_on_the_token_in_the_reader(home: Scratch) -> None:
    with served(home, protected_path=True) as shown, RemoteApplication() as program:
        program.call("open", SLOT)
        program.send("login_on_token")
        with shown.far.control() as control:
            asked = control.call("pin.await", token=shown.token.serial)
            assert asked == {"pin": "user"}
            control.call("pin.enter", token=shown.token.serial, pin=shown.token.pin)
        assert program.answer() is None
        assert program.call("state") == ck.CKS_RW_USER_FUNCTIONS


def test_a_card_is_initialised_and_its_pins_are_set_and_changed(pki_reader: Served) -> None:
    with Cryptoki() as library:
        so_pin, new = pki_reader.token.so_pin.encode(), b"27182818"
        library.init_token(SLOT, so_pin, "Fresh")
        with library.open_session(SLOT) as session:
            session.login(ck.CKU_SO, so_pin)
            session.init_pin(b"31415926")
            session.logout()
            session.login(ck.CKU_USER, b"31415926")
            session.set_pin(b"31415926", new)
            generate(session, SPECS["P-256"], "after", new_id(session))
            session.logout()
            session.login(ck.CKU_USER, new)
            assert find_key(session, "after").private
        assert library.token_info(SLOT).label == "Fresh"
