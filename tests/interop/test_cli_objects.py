"""``klyuch pin``, ``key`` and ``cert`` on a real token; OpenSSL judges what they write."""

import json
from pathlib import Path

import pytest

from host_tools.testing import Command, Run, ScratchToken

PIN = {"KLYUCH_PIN": "481516"}
SIGNING = ["rsa:2048", "P-256", "P-384", "P-521", "Ed25519"]


def test_wrong_pins_lock_and_the_so_unblocks(command: Command, token: ScratchToken) -> None:
    for left, code in ((2, 3), (1, 3), (0, 4), (0, 4)):
        refused = command("key", "generate", "P-256", code=code, KLYUCH_PIN="000000")
        assert "Next: " in refused.stderr
        user, so = json.loads(command("pin", "status", "--json").stdout)
        assert (user["tries_left"], so["tries_left"]) == (left, 10)
    locked = command("key", "generate", "P-256", code=4, **PIN)
    assert "klyuch pin unblock" in locked.stderr
    assert "LOCKED" in command("pin", "status").stdout
    command("pin", "unblock", code=3, KLYUCH_SO_PIN="wrong-one", KLYUCH_NEW_PIN="271828")
    _, so = json.loads(command("pin", "status", "--json").stdout)
    assert so["tries_left"] == 9
    command("pin", "unblock", KLYUCH_SO_PIN=token.so_pin, KLYUCH_NEW_PIN="271828")
    command("key", "generate", "P-256", code=3, **PIN)
    command("key", "generate", "P-256", KLYUCH_PIN="271828")


def test_pins_are_changed(command: Command, token: ScratchToken) -> None:
    command("pin", "change", KLYUCH_PIN=token.pin, KLYUCH_NEW_PIN="314159")
    command("key", "generate", "P-256", KLYUCH_PIN="314159")
    command("pin", "change", code=8, KLYUCH_PIN="314159", KLYUCH_NEW_PIN="1")
    done = command(
        "pin", "change", "--so", "--json", KLYUCH_SO_PIN=token.so_pin, KLYUCH_NEW_PIN="newsopin"
    )
    assert json.loads(done.stdout) == {"token": "Work", "pin": "so", "done": "changed"}
    command("pin", "unblock", KLYUCH_SO_PIN="newsopin", KLYUCH_NEW_PIN="314159")


def test_without_a_terminal_a_missing_pin_is_said_to_be_missing(
    command: Command, token: ScratchToken
) -> None:
    refused = command("key", "generate", "P-256", "--token", token.label, code=2)
    assert "--pin-file" in refused.stderr
    assert "KLYUCH_PIN" in refused.stderr


def test_keys_are_made_listed_and_deleted(command: Command, token: ScratchToken) -> None:
    made = command("key", "generate", "P-256", "--label", "login", "--json", **PIN)
    assert json.loads(made.stdout) == {
        "token": token.label,
        "label": "login",
        "id": "01",
        "type": "P-256",
    }
    command("key", "generate", "X25519", "--id", "beef", **PIN)
    command("key", "generate", "rsa:2048", "--usage", "decrypt", "--always-authenticate", **PIN)
    keys = {key["label"]: key for key in json.loads(command("key", "list", "--json", **PIN).stdout)}
    assert keys["login"]["usage"] == ["sign"]
    assert keys["X25519"]["id"] == "beef"
    assert keys["rsa:2048"]["usage"] == ["decrypt"]
    assert keys["rsa:2048"]["always_authenticate"]
    assert all(key["private"] and key["public"] for key in keys.values())
    assert "PIN at every use" in command("key", "list", **PIN).stdout
    unlocked = json.loads(command("key", "list", "--json").stdout)
    assert not any(key["private"] for key in unlocked)

    command("key", "delete", "beef", "--yes", **PIN)
    command("key", "delete", "login", "--yes", **PIN)
    assert [key["label"] for key in json.loads(command("key", "list", "--json").stdout)] == [
        "rsa:2048"
    ]
    assert "klyuch key list" in command("key", "delete", "login", "--yes", code=5, **PIN).stderr


def test_a_name_of_two_keys_names_neither(command: Command, token: ScratchToken) -> None:
    assert token.label
    for _ in range(2):
        command("key", "generate", "P-256", "--label", "twin", **PIN)
    refused = command("key", "delete", "twin", "--yes", code=7, **PIN)
    assert "01, 02" in refused.stderr


@pytest.mark.parametrize("kind", SIGNING)
def test_a_key_requests_and_holds_its_certificate(
    *, command: Command, openssl: Run, token: ScratchToken, tmp_path: Path, kind: str
) -> None:
    assert token.label
    request, certificate, back = tmp_path / "r.csr", tmp_path / "c.pem", tmp_path / "back.der"
    command("key", "generate", kind, "--label", "mail", **PIN)
    subject = ("--subject", "CN=Ann Lee,O=Acme,C=GB")
    command("cert", "request", "mail", *subject, "--out", request, **PIN)
    assert "verify OK" in openssl("req", "-in", request, "-noout", "-verify").stderr
    command("cert", "request", "mail", *subject, "--self-signed", "--out", certificate, **PIN)
    openssl("verify", "-check_ss_sig", "-CAfile", certificate, certificate)
    assert "CN = Ann Lee" in openssl("x509", "-in", certificate, "-noout", "-subject").stdout

    (listed,) = json.loads(command("cert", "list", "--json").stdout)
    assert (listed["label"], listed["id"]) == ("mail", "01")
    assert listed["subject"] == "CN=Ann Lee,O=Acme,C=GB"
    command("cert", "export", "mail", "--der", "--out", back)
    again = openssl("x509", "-inform", "DER", "-in", back, "-noout", "-fingerprint").stdout
    assert again == openssl("x509", "-in", certificate, "-noout", "-fingerprint").stdout
    command("cert", "delete", "mail", "--yes", **PIN)
    assert json.loads(command("cert", "list", "--json").stdout) == []


def test_an_imported_certificate_takes_its_keys_name_and_id(
    command: Command, openssl: Run, token: ScratchToken, tmp_path: Path
) -> None:
    """A CA of OpenSSL's signs the request of a key on the token."""
    assert token.label
    ca = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", *ca, "-subj", "/CN=CA", "-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca")
    command("key", "generate", "P-256", "--label", "login", "--id", "0abc", **PIN)
    request, issued = tmp_path / "r.csr", tmp_path / "issued.pem"
    command("cert", "request", "login", "--subject", "CN=Ann", "--out", request, **PIN)
    signer = ("-CA", tmp_path / "ca", "-CAkey", tmp_path / "ca.key", "-CAcreateserial")
    openssl("x509", "-req", "-in", request, *signer, "-out", issued)
    done = command("cert", "import", issued, "--json", **PIN)
    assert json.loads(done.stdout) == {"token": "Work", "label": "login", "id": "0abc", "key": True}
    done = command("cert", "import", tmp_path / "ca", "--label", "root", "--json", **PIN)
    assert json.loads(done.stdout)["key"] is False
    exported = tmp_path / "exported.pem"
    exported.write_text(command("cert", "export", "0abc").stdout)
    openssl("verify", "-CAfile", tmp_path / "ca", exported)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (("genrsa", "-traditional"), "RSA-2048"),
        (("ecparam", "-name", "secp384r1", "-genkey", "-noout"), "P-384"),
        (("genpkey", "-algorithm", "ED25519"), "Ed25519"),
        (("genpkey", "-algorithm", "X25519"), "X25519"),
    ],
)
def test_keys_of_openssl_are_imported(
    *,
    command: Command,
    openssl: Run,
    token: ScratchToken,
    tmp_path: Path,
    make: tuple[str, ...],
    kind: str,
) -> None:
    assert token.label
    file = tmp_path / "backup.pem"
    openssl(*make, "-out", file)
    command("key", "import", file, **PIN)
    (listed,) = json.loads(command("key", "list", "--json", **PIN).stdout)
    assert (listed["label"], listed["type"]) == ("backup", kind)
    assert listed["private"]
    assert listed["public"]
    if kind != "X25519":
        certificate = tmp_path / "cert.pem"
        request = ("cert", "request", "backup", "--subject", "CN=B", "--self-signed")
        command(*request, "--out", certificate, **PIN)
        public = openssl("pkey", "-in", file, "-pubout").stdout
        assert openssl("x509", "-in", certificate, "-noout", "-pubkey").stdout == public
        openssl("verify", "-check_ss_sig", "-CAfile", certificate, certificate)


def test_an_encrypted_key_file_wants_its_passphrase(
    command: Command, openssl: Run, token: ScratchToken, tmp_path: Path
) -> None:
    assert token.label
    file, secret = tmp_path / "key.pem", tmp_path / "secret"
    openssl("genpkey", "-algorithm", "ED25519", "-aes256", "-pass", "pass:sesame", "-out", file)
    assert "needs a passphrase" in command("key", "import", file, code=1, **PIN).stderr
    secret.write_text("barley\n")
    command("key", "import", file, "--passphrase-file", secret, code=1, **PIN)
    secret.write_text("sesame\n")
    command("key", "import", file, "--passphrase-file", secret, **PIN)


@pytest.mark.parametrize("what", ["key", "cert"])
def test_a_file_that_is_none_is_refused(
    command: Command, token: ScratchToken, tmp_path: Path, what: str
) -> None:
    assert token.label
    file = tmp_path / "notes.txt"
    file.write_text("nothing of the kind")
    assert str(file) in command(what, "import", file, code=1, **PIN).stderr
