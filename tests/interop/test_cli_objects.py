"""``klyuch pin``, ``key`` and ``cert`` on a real token; OpenSSL judges what they write."""

import json
from pathlib import Path

import pytest

from host_tools.testing import Command, Run, Scratch, ScratchToken

PIN = {"KLYUCH_PIN": "481516"}
SIGNING = ["RSA-2048", "P-256", "P-384", "P-521", "Ed25519", "Ed448"]


def test_wrong_pins_lock_and_the_so_unblocks(command: Command, token: ScratchToken) -> None:
    for left, code in ((2, 3), (1, 3), (0, 4), (0, 4)):
        refused = command("key", "generate", "P-256", code=code, KLYUCH_PIN="000000")
        assert "Next: " in refused.stderr
        said = f"user PIN of Work is wrong; {left} of 3" if left else "user PIN of Work is locked"
        assert said in refused.stderr
        user, so = json.loads(command("pin", "status", "--json").stdout)
        assert (user["tries_left"], so["tries_left"]) == (left, 10)
    locked = command("key", "generate", "P-256", code=4, **PIN)
    assert "klyuch pin unblock" in locked.stderr
    assert "LOCKED" in command("pin", "status").stdout
    refused = command("pin", "unblock", code=3, KLYUCH_SO_PIN="wrong-one", KLYUCH_NEW_PIN="271828")
    assert "SO PIN of Work is wrong; 9 of 10 tries left" in refused.stderr
    _, so = json.loads(command("pin", "status", "--json").stdout)
    assert so["tries_left"] == 9
    command("pin", "unblock", KLYUCH_SO_PIN=token.so_pin, KLYUCH_NEW_PIN="271828")
    command("key", "generate", "P-256", code=3, **PIN)
    command("key", "generate", "P-256", KLYUCH_PIN="271828")


def test_a_locked_so_pin_leaves_but_a_reset(command: Command, home: Scratch) -> None:
    pins = {"KLYUCH_SO_PIN": "23423108", "KLYUCH_NEW_PIN": "271828"}
    command("token", "create", "My key", "--so-tries", "2", KLYUCH_SO_PIN="23423108", **PIN)
    assert home.home.daemon_pid() is not None
    wrong = {**pins, "KLYUCH_SO_PIN": "wrong-one"}
    told = command("token", "reset", "My key", "--yes", code=3, **wrong).stderr
    assert "SO PIN of My key is wrong; 1 of 2 tries left" in told
    command("pin", "change", "--so", code=4, **wrong)
    for refused in (
        command("pin", "unblock", code=4, **pins),
        command("token", "reset", "My key", "--yes", code=4, **pins),
    ):
        assert "The SO PIN of My key is locked" in refused.stderr
        assert "erases the token: klyuch token reset 'My key' --force" in refused.stderr
    command("token", "reset", "My key", "--force", "--yes")


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
    command("key", "generate", "RSA-2048", "--usage", "decrypt", "--always-authenticate", **PIN)
    keys = {key["label"]: key for key in json.loads(command("key", "list", "--json", **PIN).stdout)}
    assert keys["login"]["usage"] == ["sign"]
    assert keys["X25519"]["id"] == "beef"
    assert keys["RSA-2048"]["usage"] == ["decrypt"]
    assert keys["RSA-2048"]["always_authenticate"]
    assert all(key["private"] and key["public"] for key in keys.values())
    assert "PIN at every use" in command("key", "list", **PIN).stdout
    unlocked = json.loads(command("key", "list", "--json").stdout)
    assert not any(key["private"] for key in unlocked)

    command("key", "delete", "beef", "--yes", **PIN)
    command("key", "delete", "login", "--yes", **PIN)
    assert [key["label"] for key in json.loads(command("key", "list", "--json").stdout)] == [
        "RSA-2048"
    ]
    assert "klyuch key list" in command("key", "delete", "login", "--yes", code=5, **PIN).stderr


@pytest.mark.parametrize("kind", ["rsa:2048", "RSA-2048", "Rsa2048"])
def test_a_key_type_is_shown_in_one_spelling(
    command: Command, token: ScratchToken, kind: str
) -> None:
    assert token.label
    made = json.loads(command("key", "generate", kind, "--json", **PIN).stdout)
    assert (made["label"], made["type"]) == ("RSA-2048", "RSA-2048")
    made = json.loads(command("key", "generate", "p256", "--json", **PIN).stdout)
    assert (made["label"], made["type"]) == ("P-256", "P-256")
    assert "RSA-2048" in command("key", "generate", "rsa:1024", code=2, **PIN).stderr


@pytest.mark.parametrize(
    ("kind", "usages", "possible"),
    [
        ("X25519", ("sign",), "--usage derive"),
        ("X448", ("sign",), "--usage derive"),
        ("Ed25519", ("derive",), "--usage sign"),
        ("Ed25519", ("sign", "decrypt"), "--usage sign"),
        ("P-256", ("decrypt",), "--usage sign --usage derive"),
        ("RSA-2048", ("derive",), "--usage sign --usage decrypt"),
    ],
)
def test_a_usage_the_type_cannot_have_is_refused(
    *,
    command: Command,
    token: ScratchToken,
    kind: str,
    usages: tuple[str, ...],
    possible: str,
) -> None:
    assert token.label
    options = [option for usage in usages for option in ("--usage", usage)]
    refused = command("key", "generate", kind, *options, code=2, **PIN)
    assert f"A key of type {kind} cannot {usages[-1]}." in refused.stderr
    assert refused.stderr.endswith(f"{possible}\n")
    possible_options = possible.split()
    command("key", "generate", kind, *possible_options, **PIN)
    (made,) = json.loads(command("key", "list", "--json", **PIN).stdout)
    assert made["usage"] == possible_options[1::2]


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


@pytest.mark.parametrize("kind", ["P-256", "RSA-2048", "Ed25519"])
def test_a_key_with_the_pin_at_every_use_certifies_itself(
    *, command: Command, openssl: Run, token: ScratchToken, tmp_path: Path, kind: str
) -> None:
    assert token.label
    request, certificate = tmp_path / "login.csr", tmp_path / "login.pem"
    command("key", "generate", kind, "--label", "login", "--always-authenticate", **PIN)
    asked = ("cert", "request", "login", "--subject", "CN=Ann")
    command(*asked, "--out", request, **PIN)
    assert "verify OK" in openssl("req", "-in", request, "-noout", "-verify").stderr
    command(*asked, "--self-signed", "--days", "30", "--out", certificate, **PIN)
    openssl("verify", "-check_ss_sig", "-CAfile", certificate, certificate)


def test_a_place_that_cannot_be_written_to_stops_before_the_token_changes(
    command: Command, token: ScratchToken, tmp_path: Path
) -> None:
    assert token.label
    command("key", "generate", "P-256", "--label", "mail", **PIN)
    asked = ("cert", "request", "mail", "--subject", "CN=Ann", "--self-signed")
    for out in (tmp_path / "missing" / "x", tmp_path):
        assert "--out" in command(*asked, "--out", out, code=2, **PIN).stderr
    assert json.loads(command("cert", "list", "--json").stdout) == []
    command(*asked, **PIN)
    missing = tmp_path / "missing" / "x"
    assert str(missing.parent) in command("cert", "export", "mail", "-o", missing, code=2).stderr


@pytest.mark.parametrize(("kind", "usage"), [("X25519", "derive"), ("RSA-2048", "decrypt")])
def test_a_key_that_may_not_sign_requests_no_certificate(
    command: Command, token: ScratchToken, kind: str, usage: str
) -> None:
    assert token.label
    command("key", "generate", kind, "--label", "mail", "--usage", usage, **PIN)
    refused = command("cert", "request", "mail", "--subject", "CN=Ann", code=1, **PIN)
    assert f"The key mail may not sign; its usage is: {usage}." in refused.stderr


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
        (("genpkey", "-algorithm", "ED448"), "Ed448"),
        (("genpkey", "-algorithm", "X448"), "X448"),
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
    if kind not in ("X25519", "X448"):
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
    refused = command("key", "import", file, code=1, **PIN).stderr
    assert "needs a passphrase" in refused
    assert "--passphrase-file FILE" in refused
    secret.write_text("barley\n")
    command("key", "import", file, "--passphrase-file", secret, code=1, **PIN)
    secret.write_text("sesame\n")
    command("key", "import", file, "--passphrase-file", secret, **PIN)


@pytest.mark.parametrize(
    "make",
    [("genrsa", "1024"), ("ecparam", "-name", "secp256k1", "-genkey", "-noout")],
)
def test_a_key_that_does_not_fit_is_answered_with_those_that_do(
    command: Command, openssl: Run, token: ScratchToken, tmp_path: Path, make: tuple[str, ...]
) -> None:
    assert token.label
    file = tmp_path / "key.pem"
    file.write_text(openssl(*make).stdout)
    refused = command("key", "import", file, code=1, **PIN).stderr
    assert "not fit on the token" in refused
    assert (
        "RSA-2048, RSA-3072, RSA-4096, P-256, P-384, P-521, Ed25519, X25519, Ed448, X448" in refused
    )


def test_an_imported_key_has_no_usage_its_type_cannot_have(
    command: Command, openssl: Run, token: ScratchToken, tmp_path: Path
) -> None:
    assert token.label
    file = tmp_path / "key.pem"
    openssl("genpkey", "-algorithm", "X25519", "-out", file)
    refused = command("key", "import", file, "--usage", "sign", code=2, **PIN)
    assert "A key of type X25519 cannot sign.\nNext: It can derive" in refused.stderr


@pytest.mark.parametrize("what", ["key", "cert"])
def test_a_file_that_is_none_is_refused(
    command: Command, token: ScratchToken, tmp_path: Path, what: str
) -> None:
    assert token.label
    file = tmp_path / "notes.txt"
    file.write_text("nothing of the kind")
    assert str(file) in command(what, "import", file, code=1, **PIN).stderr
