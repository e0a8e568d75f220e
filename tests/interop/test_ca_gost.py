"""Certificates, CRLs and OCSP answers with GOST R 34.10-2012, judged by OpenSSL and GnuTLS."""

import json
import subprocess

import pytest

from host_tools.cli.ca_create import KEY_TYPES
from host_tools.pki.algorithms import SIGNING_SPECS
from host_tools.testing import ScratchToken
from tests.conftest import program
from tests.interop import gost_engine
from tests.interop.office import PIN, Office
from token_fw.crypto import KeyKind

pytestmark = pytest.mark.usefixtures("gost_engine")

SETS = [name for name in KEY_TYPES if name.startswith(("tc26", "CryptoPro"))]
KNOWN_TO_GNUTLS = {"CryptoPro-A", "CryptoPro-XchA", "tc26-256-B", "tc26-512-A"}
"""Names of the two curves that it computes on; docs/howto/ca.md lists them."""


def engine_key(name: str) -> tuple[str, ...]:
    bits = "512" if SIGNING_SPECS[name].kind is KeyKind.GOST_512 else "256"
    return ("-algorithm", f"gost2012_{bits}", "-pkeyopt", f"paramset:{gost_engine.SETS[name]}")


@pytest.mark.parametrize("name", SETS)
def test_openssl_verifies_certificates_and_lists_of_every_parameter_set(
    office: Office, name: str
) -> None:
    root = office.create("Root", kind=name)
    request = office.request("/CN=Иванов", kind=engine_key(name))
    good, bad, crl = (office.folder / file for file in ("good", "bad", "crl"))
    for out in (good, bad):
        office.ca("issue", "Root", request, "--profile", "qualified", "--out", out)
    assert "OK" in office.openssl("verify", "-check_ss_sig", "-CAfile", root, root, good).stdout
    office.ca("revoke", "Root", bad)
    office.ca("crl", "Root", "--out", crl)
    checked = ("-crl_check", "-CRLfile", crl, "-CAfile", root)
    office.openssl("verify", *checked, good)
    assert "certificate revoked" in office.openssl("verify", *checked, bad, code=2).stderr


@pytest.mark.parametrize("name", SETS)
def test_openssl_verifies_a_request_by_a_key_that_it_made(office: Office, name: str) -> None:
    key, request = office.folder / "ask.key", office.folder / "our.csr"
    office.request(kind=engine_key(name))
    subject = ("--subject", "CN=Иванов,ИНН=500100732259,C=RU")
    made = ("cert", "request", "--key-file", key, *subject, "--profile", "qualified")
    office.command(*made, "--out", request)
    assert "verify OK" in office.openssl("req", "-in", request, "-noout", "-verify").stderr
    own = office.folder / "own.pem"
    office.command(*made, "--self-signed", "--out", own)
    office.openssl("verify", "-check_ss_sig", "-CAfile", own, own)


@pytest.mark.parametrize("name", SETS)
def test_gnutls_verifies_certificates_of_the_sets_that_it_knows(office: Office, name: str) -> None:
    root = office.create("Root", kind=name)
    leaf = office.issue("Root", request=office.request(kind=engine_key(name)))
    certtool = program("certtool", "gnutls-bin")
    done = subprocess.run(
        [certtool, "--verify", "--load-ca-certificate", root, "--infile", leaf],
        capture_output=True,
        check=False,
        text=True,
    )
    known = name in KNOWN_TO_GNUTLS
    assert ("The certificate is trusted." in done.stdout + done.stderr) is known
    assert (done.returncode == 0) is known


def test_openssl_reads_an_ocsp_answer_with_streebog(office: Office) -> None:
    root = office.create("Root", kind="CryptoPro-A")
    leaf = office.issue("Root", request=office.request(kind=engine_key("CryptoPro-A")))
    asked, answer = office.folder / "ask.der", office.folder / "answer.der"
    about = ("-md_gost12_256", "-issuer", root, "-cert", leaf)
    office.openssl("ocsp", *about, "-reqout", asked)
    office.ca("ocsp", "Root", asked, "--out", answer)
    trusted = ("-CAfile", root, "-verify_other", root)
    shown = office.openssl("ocsp", "-reqin", asked, "-respin", answer, *trusted, "-text")
    assert "Response verify OK" in shown.stderr
    assert "Cert Status: good" in shown.stdout


@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-256-A", "tc26-512-A"])
def test_a_ca_and_its_user_have_their_keys_on_a_token(
    office: Office, token: ScratchToken, name: str
) -> None:
    assert token.label
    for label in ("root", "подпись"):
        office.command("key", "generate", name, "--label", label, **PIN)
    root = office.create("Root", "--key", "root")
    request, crl = office.folder / "our.csr", office.folder / "crl"
    subject = ("--subject", "CN=Иванов,ИНН=500100732259,C=RU")
    office.command("cert", "request", "подпись", *subject, "--out", request, **PIN)
    assert "verify OK" in office.openssl("req", "-in", request, "-noout", "-verify").stderr
    leaf = office.issue("Root", "--profile", "qualified", request=request)
    office.ca("crl", "Root", "--out", crl)
    office.openssl("verify", "-crl_check", "-CRLfile", crl, "-CAfile", root, leaf)
    done = office.command("cert", "import", leaf, "--json", **PIN)
    assert json.loads(done.stdout) == {"token": "Work", "label": "подпись", "id": "02", "key": True}


def test_a_certificate_is_kept_on_a_token_without_its_key(
    office: Office, token: ScratchToken
) -> None:
    office.create("Root", kind="CryptoPro-A")
    leaf = office.issue("Root", request=office.request(kind=engine_key("CryptoPro-A")))
    office.command("cert", "import", leaf, "--label", "Иванов", **PIN)
    (listed,) = json.loads(office.command("cert", "list", "--json").stdout)
    assert (listed["label"], listed["issuer"]) == ("Иванов", "CN=Root,O=Acme,C=RU")
    assert office.command("cert", "export", "Иванов").stdout == leaf.read_text()


def test_an_encrypted_key_of_openssl_signs(office: Office) -> None:
    office.request(kind=engine_key("tc26-512-C"))
    key, request = office.folder / "locked.pem", office.folder / "our.csr"
    plain = office.folder / "ask.key"
    office.openssl("pkey", "-in", plain, "-aes256", "-passout", "pass:sesame", "-out", key)
    made = ("cert", "request", "--key-file", key, "--subject", "CN=Ann")
    office.command(*made, "--out", request, KLYUCH_PASSPHRASE="sesame")
    office.openssl("req", "-in", request, "-noout", "-verify")
    office.command(*made, code=3, KLYUCH_PASSPHRASE="barley")
    office.command(*made, code=2)


def test_a_changed_request_is_refused(office: Office) -> None:
    office.create("Root", kind="tc26-256-A")
    request = office.folder / "ask.der"
    office.request(kind=engine_key("tc26-256-A"))
    office.openssl("req", "-in", office.folder / "ask.csr", "-outform", "DER", "-out", request)
    content = bytearray(request.read_bytes())
    content[-1] ^= 1
    request.write_bytes(content)
    assert "signature of the request is wrong" in office.ca("issue", "Root", request, code=1)
