"""Stock programs take the card for a PIV card or a YubiKey, through our driver and through vpcd.

yubico-piv-tool, ykman and OpenSC work on one token in a reader that shows PIV; openssl judges what
they made.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from host_tools.testing import Run, Scratch, ScratchToken
from tests import piv_cards
from tests.conftest import program
from tests.interop.consumers import call, shared_object
from tests.interop.pcscd import DOORS, Readers, readers
from tests.interop.processes import PATIENCE

PIN, PUK = piv_cards.PIN.decode(), piv_cards.PUK.decode()
NEW_PIN, NEW_PUK, WRONG = "654321", "87654321", "111111"
KEY = piv_cards.MANAGEMENT_KEY.hex()
MESSAGE = "a letter to Bob\n"


class Programs:
    """Other people's programs on the card in the first reader; files are names in a folder."""

    def __init__(self, there: Readers, folder: Path, openssl: Run, klyuch: Run) -> None:
        self._there = there
        self._openssl = openssl
        self._klyuch = klyuch
        self._folder = folder
        self._module = shared_object("opensc-pkcs11.so", "", "opensc-pkcs11")
        self.path("message").write_text(MESSAGE)

    def path(self, name: str) -> Path:
        return self._folder / name

    def ykman(self, *words: str | Path, code: int = 0) -> str:
        ykman = Path(sys.executable).with_name("ykman")
        return self._run([ykman, "--reader", self._there.name(), "piv", *words], code)

    def yubico(self, *words: str | Path, code: int = 0) -> str:
        return self._run(self._yubico(*words), code)

    def yubico_traced(self, token: ScratchToken, *words: str | Path) -> list[str]:
        """The APDUs of yubico-piv-tool, however it ends, and what it prints."""
        script = " ".join(f"'{word}'" for word in self._yubico(*words)) + " || true"
        environment = self._there.pcscd.environment
        done = self._klyuch(
            "trace", "--token", token.serial, "--", "sh", "-c", script, **environment
        )
        return (done.stdout + done.stderr).splitlines()

    def opensc(self, tool: str, *words: str | Path, code: int = 0) -> str:
        return self._run([program(tool, "opensc"), "--reader", self._there.name(), *words], code)

    def pkcs11(self, *words: str | Path, pin: str = PIN, code: int = 0) -> str:
        """pkcs11-tool with OpenSC's module, logged in."""
        tool, login = program("pkcs11-tool", "opensc"), ("--login", "--pin", pin)
        return self._run([tool, "--module", self._module, *login, *words], code)

    def make_key(self, slot: str, algorithm: str) -> None:
        """A key and a certificate for it, by ykman; the files are named for the slot."""
        public, certificate = self.path(f"{slot}.pub"), self.path(f"{slot}.pem")
        self.ykman("keys", "generate", "-m", KEY, "-a", algorithm, slot, public)
        subject = ("-s", f"CN=slot {slot}")
        self.ykman("certificates", "generate", "-m", KEY, "-P", PIN, *subject, slot, public)
        self.ykman("certificates", "export", slot, certificate)

    def use_triple_des(self) -> None:
        """Give the management key the only algorithm that yubico-piv-tool 2.2 knows."""
        self.ykman("access", "change-management-key", "-a", "TDES", "-m", KEY, "-n", KEY)

    @contextmanager
    def touched(self, token: ScratchToken) -> Iterator[None]:
        """Somebody touches the token once a program waits for that; it has to have waited."""
        with ThreadPoolExecutor(1) as pool:
            touch = pool.submit(self._klyuch, "touch", token.serial, "--wait")
            yield
            assert touch.result(PATIENCE).stdout == f"{token.serial} is touched.\n"

    def check_self_signed(self, certificate: Path) -> None:
        said = self._openssl("verify", "-CAfile", certificate, "-check_ss_sig", certificate)
        assert said.stdout.endswith(": OK\n")

    def check_signature(self, slot: str, signature: Path) -> None:
        """By the public key of the slot over the message."""
        files = (self.path(f"{slot}.pub"), "-signature", signature, self.path("message"))
        assert self._openssl("dgst", "-sha256", "-verify", *files).stdout == "Verified OK\n"

    def openssl(self, *words: str | Path) -> None:
        self._openssl(*words)

    def _yubico(self, *words: str | Path) -> list[str | Path]:
        return [program("yubico-piv-tool", "yubico-piv-tool"), "-r", self._there.name(), *words]

    def _run(self, command: list[str | Path], code: int) -> str:
        done = call(command, self._there.environment, code=code)
        return done.stdout + done.stderr


@pytest.fixture(params=DOORS)
def there(request: pytest.FixtureRequest, home: Scratch, token: ScratchToken) -> Iterator[Readers]:
    """A token in a reader that shows PIV, factory-new, through each of the doors."""
    with readers(home, DOORS[request.param](home, "piv"), [token.serial]) as made:
        made.client().call("wait_for", made.name(), True)
        yield made


@pytest.fixture
def programs(there: Readers, tmp_path: Path, openssl: Run, klyuch: Run) -> Programs:
    """The programs before it."""
    return Programs(there, tmp_path, openssl, klyuch)


def test_yubico_piv_tool_shows_the_card(programs: Programs) -> None:
    said = programs.yubico("-a", "status")
    assert "Version:\t5.7.1" in said
    assert "PIN tries left:\t3" in said


def test_yubico_piv_tool_generates_a_key_that_ykman_certifies_and_it_uses(
    programs: Programs,
) -> None:
    programs.use_triple_des()
    public, certificate = programs.path("9a.pub"), programs.path("9a.pem")
    made = programs.yubico("-a", "generate", "-s", "9a", "-A", "ECCP256", "-o", public)
    assert "Successfully generated a new private key" in made
    subject = ("-s", "CN=test")
    programs.ykman("certificates", "generate", "-m", KEY, "-P", PIN, *subject, "9a", public)
    programs.yubico("-a", "read-certificate", "-s", "9a", "-o", certificate)
    programs.check_self_signed(certificate)
    pin = ("-a", "verify-pin", "-P", PIN)
    tested = programs.yubico(*pin, "-a", "test-signature", "-s", "9a", "-i", certificate)
    assert "Successful ECDSA verification" in tested


@pytest.mark.parametrize("algorithm", ["ECCP256", "RSA2048"])
def test_yubico_piv_tool_self_signs_or_gives_up_before_it_asks_the_card(
    programs: Programs, token: ScratchToken, algorithm: str
) -> None:
    """Version 2.2 with OpenSSL 3.0, as Debian 12 has them, fails within OpenSSL.

    "Failed signing certificate" comes without any GENERAL AUTHENTICATE, whichever the card; the
    same signature by `test-signature` succeeds. Where the program can do it, the certificate has
    to be right.
    """
    programs.use_triple_des()
    public, certificate = programs.path("9a.pub"), programs.path("9a.pem")
    programs.yubico("-a", "generate", "-s", "9a", "-A", algorithm, "-o", public)
    how = ("-s", "9a", "-S", "/CN=test/", "-i", public, "-o", certificate)
    told = programs.yubico_traced(
        token, "-a", "verify-pin", "-P", PIN, "-a", "selfsign-certificate", *how
    )
    assert any("VERIFY  masked" in line for line in told)
    if certificate.stat().st_size:
        programs.check_self_signed(certificate)
    else:
        assert any("Failed signing certificate" in line for line in told)
        assert not any("GENERAL AUTHENTICATE" in line for line in told)


@pytest.mark.parametrize(
    ("slot", "kind", "test"),
    [
        ("9a", ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"), "test-signature"),
        ("9d", ("rsa:2048",), "test-decipher"),
    ],
)
def test_yubico_piv_tool_imports_a_key_with_its_certificate(
    programs: Programs, slot: str, kind: tuple[str, ...], test: str
) -> None:
    programs.use_triple_des()
    key, certificate = programs.path("key.pem"), programs.path("certificate.pem")
    files = ("-keyout", key, "-out", certificate)
    programs.openssl("req", "-x509", "-nodes", "-newkey", *kind, "-subj", "/CN=Ann Lee", *files)
    assert "imported" in programs.yubico("-a", "import-key", "-s", slot, "-i", key)
    programs.yubico("-a", "import-certificate", "-s", slot, "-i", certificate)
    pin = ("-a", "verify-pin", "-P", PIN)
    assert "Success" in programs.yubico(*pin, "-a", test, "-s", slot, "-i", certificate)
    assert "CN=Ann Lee" in programs.yubico("-a", "status")


def test_yubico_piv_tool_changes_pin_and_puk(programs: Programs) -> None:
    programs.yubico("-a", "change-pin", "-P", PIN, "-N", NEW_PIN)
    programs.yubico("-a", "change-puk", "-P", PUK, "-N", NEW_PUK)
    assert "2 tries left" in programs.yubico("-a", "verify-pin", "-P", PIN, code=1)
    assert "Successfully" in programs.yubico("-a", "verify-pin", "-P", NEW_PIN)
    programs.yubico("-a", "unblock-pin", "-P", PUK, "-N", PIN, code=1)
    programs.yubico("-a", "unblock-pin", "-P", NEW_PUK, "-N", PIN)
    programs.yubico("-a", "verify-pin", "-P", PIN)


def test_yubico_piv_tool_blocks_the_pin_and_unblocks_it(programs: Programs) -> None:
    for said in ("2 tries left", "1 tries left", "blocked"):
        assert said in programs.yubico("-a", "verify-pin", "-P", WRONG, code=1)
    assert "blocked" in programs.yubico("-a", "verify-pin", "-P", PIN, code=1)
    assert "unblocked" in programs.yubico("-a", "unblock-pin", "-P", PUK, "-N", NEW_PIN)
    programs.yubico("-a", "verify-pin", "-P", NEW_PIN)


def test_ykman_shows_generates_and_certifies(programs: Programs) -> None:
    fresh = programs.ykman("info")
    assert "PIN tries remaining:      3/3" in fresh
    assert "Using default Management key" in fresh
    for slot, algorithm in (("9a", "ECCP256"), ("9c", "RSA2048"), ("82", "ECCP384")):
        programs.make_key(slot, algorithm)
        programs.check_self_signed(programs.path(f"{slot}.pem"))
        info = programs.ykman("info")
        assert f"Private key type: {algorithm}" in info
        assert f"CN=slot {slot}" in info


def test_ykman_attests_and_moves_a_key(programs: Programs) -> None:
    programs.make_key("9a", "ECCP256")
    attestation = programs.path("attestation.pem")
    programs.ykman("keys", "attest", "9a", attestation)
    authority = programs.path("authority.pem")
    programs.ykman("certificates", "export", "f9", authority)
    programs.openssl("verify", "-CAfile", authority, "-partial_chain", attestation)
    programs.ykman("keys", "move", "-m", KEY, "9a", "82")
    assert "Origin:                 GENERATED" in programs.ykman("keys", "info", "82")


def test_ykman_changes_the_pin(programs: Programs) -> None:
    programs.ykman("access", "change-pin", "-P", PIN, "-n", NEW_PIN)
    programs.ykman("access", "change-pin", "-P", PIN, "-n", WRONG, code=1)
    assert "PIN tries remaining:      2/3" in programs.ykman("info")
    programs.ykman("access", "change-pin", "-P", NEW_PIN, "-n", PIN)


def test_ykman_sets_the_tries_of_pin_and_puk(programs: Programs) -> None:
    programs.ykman("access", "set-retries", "-m", KEY, "-P", PIN, "-f", "5", "7")
    told = programs.ykman("info")
    assert "PIN tries remaining:      5/5" in told
    assert "PUK tries remaining:      7/7" in told


def test_ykman_uses_keys_that_want_a_touch(programs: Programs, token: ScratchToken) -> None:
    change = ("access", "change-management-key", "-m", KEY, "-n", KEY, "--force")
    programs.ykman(*change, "--touch")
    with programs.touched(token):
        touch = ("-a", "ECCP256", "--touch-policy", "ALWAYS")
        programs.ykman("keys", "generate", "-m", KEY, *touch, "9a", programs.path("9a.pub"))
    with programs.touched(token):
        programs.ykman(*change)
    subject = ("-s", "CN=touched")
    public, certificate = programs.path("9a.pub"), programs.path("9a.pem")
    with programs.touched(token):
        programs.ykman("certificates", "generate", "-m", KEY, "-P", PIN, *subject, "9a", public)
    programs.ykman("certificates", "export", "9a", certificate)
    programs.check_self_signed(certificate)


def test_ykman_offers_rsa_1024_which_the_card_refuses(programs: Programs) -> None:
    files = ("9a", programs.path("9a.pub"))
    said = programs.ykman("keys", "generate", "-m", KEY, "-a", "RSA1024", *files, code=1)
    assert "SW=0x6a80 (INCORRECT_PARAMETERS)" in said
    assert "Slot 9A" not in programs.ykman("info")


def test_ykman_makes_the_application_factory_new(programs: Programs) -> None:
    programs.make_key("9a", "ECCP256")
    programs.ykman("access", "change-pin", "-P", PIN, "-n", NEW_PIN)
    programs.ykman("reset", "--force")
    info = programs.ykman("info")
    assert "Using default PIN" in info
    assert "Slot 9A" not in info


def test_opensc_takes_it_for_a_piv_card(programs: Programs) -> None:
    assert "Personal Identity Verification Card" in programs.opensc("opensc-tool", "--name")


def test_opensc_lists_keys_and_signs_with_them(programs: Programs) -> None:
    programs.make_key("9a", "ECCP256")
    programs.make_key("9c", "RSA2048")
    listed = programs.pkcs11("--list-objects")
    for shown in ("PIV AUTH key", "SIGN key", "CN=slot 9a", "always authenticate"):
        assert shown in listed
    signature, message = programs.path("signature"), programs.path("message")
    files = ("--input-file", message, "--output-file", signature)
    der = ("--signature-format", "openssl")
    programs.pkcs11("--sign", "--id", "01", "--mechanism", "ECDSA-SHA256", *der, *files)
    programs.check_signature("9a", signature)
    programs.pkcs11("--sign", "--id", "02", "--mechanism", "SHA256-RSA-PKCS", *files)
    programs.check_signature("9c", signature)


def test_opensc_decrypts(programs: Programs) -> None:
    programs.make_key("9d", "RSA2048")
    sealed, opened = programs.path("sealed"), programs.path("opened")
    public, message = programs.path("9d.pub"), programs.path("message")
    programs.openssl(
        "pkeyutl", "-encrypt", "-pubin", "-inkey", public, "-in", message, "-out", sealed
    )
    files = ("--input-file", sealed, "--output-file", opened)
    programs.pkcs11("--decrypt", "--id", "03", "--mechanism", "RSA-PKCS", *files)
    assert opened.read_text() == MESSAGE


def test_opensc_passes_its_own_tests(programs: Programs) -> None:
    programs.make_key("9c", "RSA2048")
    programs.make_key("9d", "RSA2048")
    # OpenSC 0.23 asks for random bytes in the manner of 3DES alone.
    programs.use_triple_des()
    assert "No errors" in programs.pkcs11("--test")


def test_a_locked_pin_is_shown_as_locked_and_unblocked_by_the_puk(programs: Programs) -> None:
    for _ in range(3):
        said = programs.pkcs11("--list-objects", pin=WRONG, code=1)
        assert "CKR_PIN_INCORRECT" in said
    assert "CKR_PIN_LOCKED" in programs.pkcs11("--list-objects", code=1)
    programs.yubico("-a", "unblock-pin", "-P", PUK, "-N", PIN)
    programs.pkcs11("--list-objects")


def test_the_programs_leave_the_pki_application_alone(
    programs: Programs, home: Scratch, token: ScratchToken, klyuch: Run
) -> None:
    klyuch("key", "generate", "P-256", "--label", "mail", KLYUCH_PIN=token.pin)
    programs.make_key("9a", "ECCP256")
    programs.ykman("reset", "--force")
    assert "mail" in klyuch("key", "list", KLYUCH_PIN=token.pin).stdout
    with home.control() as control:
        pins = control.call("token.show", token=token.serial)["pins"]
    assert isinstance(pins, list)
    assert [pin["tries_left"] for pin in pins] == [3, 10]
