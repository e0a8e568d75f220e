"""``klyuch cert ca``: OpenSSL and GnuTLS judge what a small certification authority gives out."""

import json
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from asn1crypto import csr, pem

from host_tools.ca import Authorities, KeyPlace, State, encrypted
from host_tools.cli.ca_create import KEY_TYPES
from host_tools.control import ControlError, ErrorCode
from host_tools.home import Home, current
from host_tools.pki.algorithms import SIGNING_SPECS
from host_tools.pki.certificates import Validity, self_signed
from host_tools.pki.names import parse_name
from host_tools.pki.signer import FileSigner
from host_tools.testing import ScratchToken
from tests.interop.office import PIN, SECRETS, Office
from token_fw.crypto import generate


def test_a_certificate_verifies_up_to_the_root(office: Office) -> None:
    root = office.create("Root", "--path-length", "1", kind="RSA-2048")
    office.create("Issuing", "--under", "Root", "--path-length", "0")
    chain = office.folder / "chain.pem"
    office.ca("export", "Issuing", "--chain", "--out", chain)
    assert chain.read_text().count("BEGIN CERTIFICATE") == 2
    leaf = office.issue("Issuing", "--profile", "client")
    assert "OK" in office.openssl("verify", "-CAfile", root, "-untrusted", chain, leaf).stdout
    office.openssl("verify", "-CAfile", root, leaf, code=2)
    assert "pathlen:0" in office.text(chain.with_name("Issuing.pem"))
    refused = office.ca("issue", "Issuing", office.request(), "--profile", "ca", code=1)
    assert "path length is 0" in refused


PROFILES = {
    "server": ("TLS Web Server Authentication", "Digital Signature", "DNS:a.example"),
    "client": ("TLS Web Client Authentication", "Digital Signature"),
    "signing": ("E-mail Protection", "Digital Signature, Non Repudiation"),
    "qualified": ("Class of Signing Tool KC1", "Signing Tool of Subject", "signTool    : Klyuch"),
    "ca": ("CA:TRUE", "Certificate Sign, CRL Sign"),
    "ocsp": ("OCSP Signing", "OCSP No Check"),
}
PURPOSES = {"server": "sslserver", "client": "sslclient", "signing": "smimesign", "ca": "crlsign"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_says_what_the_certificate_is_for(office: Office, profile: str) -> None:
    root = office.create("Root")
    leaf = office.issue("Root", "--profile", profile, request=office.request("/CN=a.example"))
    shown = office.text(leaf)
    for said in (*PROFILES[profile], "Subject Key Identifier", "Authority Key Identifier"):
        assert said in shown
    purpose = PURPOSES.get(profile, "any")
    office.openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", root, leaf)


def test_urls_of_the_ca_and_names_of_the_request_are_in_what_it_issues(office: Office) -> None:
    where = {
        "crl": "http://a.example/r.crl",
        "ocsp": "http://o.example",
        "issuer": "http://c.example",
    }
    office.create("Root", *(one for kind, url in where.items() for one in (f"--{kind}-url", url)))
    asked = office.request("/CN=Ann", "-addext", "subjectAltName=email:ann@example.com")
    shown = office.text(office.issue("Root", "--policy", "1.2.3.4", request=asked))
    for said in (*where.values(), "email:ann@example.com", "Policy: 1.2.3.4"):
        assert said in shown
    shown = office.text(office.issue("Root", "--san", "IP:192.0.2.1", request=asked))
    assert "IP Address:192.0.2.1" in shown
    assert "ann@example.com" not in shown


def test_a_qualified_certificate_has_the_fields_of_a_person(office: Office) -> None:
    office.create("Удостоверяющий центр", "--subject", "CN=УЦ,ИННЮЛ=7707083893,C=RU")
    person = "CN=Иванов Иван,SN=Иванов,GN=Иван,ИНН=500100732259,СНИЛС=112-233-445 95,C=RU"
    tools = ("--sign-tool", "КриптоПро CSP", "--issuer-sign-tool", "СЭП;УЦ;№ 1;№ 2")
    leaf = office.issue(
        "Удостоверяющий центр", "--profile", "qualified", "--subject", person, *tools
    )
    utf8 = ("-nameopt", "utf8,sep_comma_plus")
    shown = office.openssl("x509", "-in", leaf, "-noout", "-text", *utf8).stdout
    for said in ("INN=500100732259", "SNILS=11223344595", "КриптоПро CSP", "signToolCert: № 1"):
        assert said in shown
    assert "7707083893" in shown
    (entry,) = office.issued("Удостоверяющий центр")
    assert entry["subject"] == person.replace("ИНН", "INN").replace(
        "СНИЛС=112-233-445 95", "SNILS=11223344595"
    )


def test_expired_and_future_certificates_are_made_on_purpose(office: Office) -> None:
    root = office.create("Root", "--not-before", "2020-01-01", "--days", "9000")
    old = office.issue("Root", "--not-before", "2021-01-01", "--not-after", "2021-02-01")
    told = office.openssl("verify", "-CAfile", root, old, code=2)
    assert "certificate has expired" in told.stderr
    future = office.issue("Root", "--not-before", "2040-01-01", "--days", "30")
    told = office.openssl("verify", "-CAfile", root, future, code=2)
    assert "not yet valid" in told.stderr
    assert [one["state"] for one in office.issued("Root")] == ["expired", "not yet valid"]


def test_a_certificate_ends_with_its_ca(office: Office) -> None:
    office.create("Root", "--not-after", "2060-01-01")
    office.create("Short", "--days", "10")
    office.issue("Short")
    (entry,) = office.issued("Short")
    (short,) = (one for one in json.loads(office.ca("list", "--json")) if one["name"] == "Short")
    assert entry["not_after"] == short["not_after"]
    refused = office.ca("issue", "Short", office.request(), "--days", "11", code=2)
    assert "--days" in refused
    # After 2049 the time is a GeneralizedTime, which OpenSSL reads as well.
    assert "2060 GMT" in office.text(office.folder / "Root.pem")


def test_an_expired_ca_issues_nothing(office: Office) -> None:
    office.create("Old", "--not-before", "2020-01-01", "--not-after", "2021-01-01")
    refused = office.ca("issue", "Old", office.request(), code=1)
    assert "CA Old expired on 2021-01-01" in refused
    assert office.issued("Old") == []


@pytest.mark.parametrize("kind", ["RSA-2048", "Ed25519"])
def test_a_revoked_certificate_is_in_the_list(office: Office, kind: str) -> None:
    root = office.create("Root", kind=kind)
    good, bad, crl = (office.folder / name for name in ("good", "bad", "crl"))
    for out in (good, bad):
        office.ca("issue", "Root", office.request(), "--out", out)
    checked = ("-crl_check", "-CRLfile", crl, "-CAfile", root)
    office.ca("crl", "Root", "--out", crl)
    office.openssl("verify", *checked, bad)
    told = office.ca("revoke", "Root", bad, "--reason", "key-compromise", "--at", "2026-01-31")
    assert "is revoked" in told
    assert json.loads(office.ca("crl", "Root", "--out", crl, "--force", "--json"))["number"] == 2
    assert "certificate revoked" in office.openssl("verify", *checked, bad, code=2).stderr
    office.openssl("verify", *checked, good)
    shown = office.openssl("crl", "-in", crl, "-noout", "-text", "-CAfile", root)
    assert "verify OK" in shown.stderr
    for said in ("Key Compromise", "Jan 31 00:00:00 2026 GMT", "CRL Number: \n                2"):
        assert said in shown.stdout


def test_what_cannot_be_revoked_is_told(office: Office) -> None:
    office.create("Root")
    office.create("Other")
    leaf = office.issue("Root")
    (entry,) = office.issued("Root")
    office.ca("revoke", "Root", entry["serial"].upper())
    assert "revoked already" in office.ca("revoke", "Root", leaf, code=7)
    assert "no certificate with the serial abc" in office.ca("revoke", "Root", "abc", code=5)
    assert "no file and no serial" in office.ca("revoke", "Root", "xyz", code=5)
    assert "issued no certificate" in office.ca("revoke", "Other", leaf, code=5)
    assert "no CA 'None'" in office.ca("revoke", "None", leaf, code=5)
    (entry,) = office.issued("Root")
    assert (entry["state"], entry["reason"]) == ("revoked", "unspecified")


@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
@pytest.mark.parametrize("delegated", [False, True])
def test_openssl_reads_an_ocsp_answer(office: Office, digest: str, delegated: bool) -> None:
    root = office.create("Root")
    good, bad = office.folder / "good", office.folder / "bad"
    for out in (good, bad):
        office.ca("issue", "Root", office.request(), "--out", out)
    office.ca("revoke", "Root", bad, "--reason", "superseded")
    signer: tuple[str | Path, ...] = ()
    if delegated:
        responder = office.issue("Root", "--profile", "ocsp")
        signer = ("--responder", responder, "--key-file", office.folder / "ask.key")
    asked, answer = office.folder / "ask.der", office.folder / "answer.der"
    about = (digest, "-issuer", root, "-cert", good, "-cert", bad)
    office.openssl("ocsp", *about, "-serial", "0x1234", "-reqout", asked)
    office.ca("ocsp", "Root", asked, *signer, "--out", answer)
    # An answer of the CA's own does not bring the certificate, which whoever asks has.
    trusted = ("-CAfile", root, "-verify_other", root)
    shown = office.openssl("ocsp", "-reqin", asked, "-respin", answer, *trusted, "-text")
    assert "Response verify OK" in shown.stderr
    assert "Nonce Verify error" not in shown.stderr
    states = [line.strip() for line in shown.stdout.splitlines() if "Cert Status" in line]
    assert states == ["Cert Status: good", "Cert Status: revoked", "Cert Status: unknown"]
    assert "Revocation Reason: superseded" in shown.stdout
    assert ("Certificate:\n" in shown.stdout) is delegated


def test_a_certificate_of_another_ca_is_unknown(office: Office) -> None:
    office.create("Root")
    other = office.create("Other")
    asked, answer = office.folder / "ask.der", office.folder / "answer.der"
    office.openssl("ocsp", "-issuer", other, "-cert", office.issue("Other"), "-reqout", asked)
    office.ca("ocsp", "Root", asked, "--out", answer)
    shown = office.openssl("ocsp", "-respin", answer, "-noverify", "-text").stdout
    assert "Cert Status: unknown" in shown


def test_an_ocsp_answer_is_signed_by_nobody_else(office: Office) -> None:
    office.create("Root")
    leaf = office.issue("Root")
    asked, answer = office.folder / "ask.der", office.folder / "answer.der"
    office.openssl("ocsp", "-issuer", office.folder / "Root.pem", "-cert", leaf, "-reqout", asked)
    ours = ("--out", answer, "--responder")
    key = ("--key-file", office.folder / "ask.key")
    refused = office.ca("ocsp", "Root", asked, *ours, leaf, *key, code=1)
    assert "no certificate of an OCSP responder" in refused
    responder = office.issue("Root", "--profile", "ocsp")
    office.request()  # makes another key in the same file
    refused = office.ca("ocsp", "Root", asked, *ours, responder, *key, code=1)
    assert "does not belong" in refused
    asked.write_bytes(b"0\x03\x02\x01\x05")
    assert "no OCSP request" in office.ca("ocsp", "Root", asked, "--out", answer, code=1)
    assert not answer.exists()


def test_a_request_that_was_changed_or_is_none_is_refused(office: Office) -> None:
    office.create("Root")
    request = office.request()
    parsed = csr.CertificationRequest.load(pem.unarmor(request.read_bytes())[2])
    info = parsed["certification_request_info"]
    info["subject"] = csr.Name.build({"common_name": "Mallory"})
    request.write_bytes(parsed.dump(force=True))
    assert "signature of the request is wrong" in office.ca("issue", "Root", request, code=1)
    for content in (
        b"",
        b"no request",
        parsed.dump()[:-9],
        (office.folder / "Root.pem").read_bytes(),
    ):
        request.write_bytes(content)
        assert "certification request" in office.ca("issue", "Root", request, code=1)
    assert office.issued("Root") == []


def test_wrong_russian_numbers_are_refused_wherever_they_come_from(office: Office) -> None:
    office.create("Root")
    asked = office.request("/CN=Ann/1.2.643.3.131.1.1=500100732258")
    refused = office.ca("issue", "Root", asked, code=1)
    assert "check digits of INN 500100732258 are wrong" in refused
    office.issue("Root", "--any-numbers", request=asked)
    subject = ("--subject", "CN=Ann,ИНН=5001")
    assert "12 digits" in office.ca("issue", "Root", asked, *subject, code=2)
    assert "12 digits" in office.ca("create", "New", *subject, "--any-numbers", code=2)


def test_a_server_needs_the_name_of_its_host(office: Office) -> None:
    office.create("Root")
    asked = office.request("/CN=Our web server")
    refused = office.ca("issue", "Root", asked, "--profile", "server", code=1)
    assert "--san" in refused
    office.issue("Root", "--profile", "server", "--san", "a.example", request=asked)
    wrong = ("--san", "DNS:two words")
    assert "alternative name" in office.ca("issue", "Root", asked, *wrong, code=1)


def test_the_key_of_a_ca_needs_its_passphrase(office: Office) -> None:
    office.create("Root")
    office.issue("Root")
    asked = office.request()
    wrong = office.folder / "wrong.txt"
    wrong.write_text("oats\n")
    refused = office.ca("issue", "Root", asked, "--passphrase-file", wrong, code=3)
    assert "passphrase is wrong" in refused
    for folder in Path(os.environ["KLYUCH_HOME"], "ca").rglob("*"):
        assert folder.stat().st_mode & 0o077 == 0
    key = next(Path(os.environ["KLYUCH_HOME"], "ca").rglob("key.pem"))
    right = ("-passin", "pass:barley and rye", "-noout")
    office.openssl("pkey", "-in", key, *right)
    assert "ENCRYPTED PRIVATE KEY" in key.read_text()


def test_names_of_cas_are_kept_apart(office: Office) -> None:
    assert office.ca("list").startswith("No CA.")
    office.create("Root")
    again = ("create", "Root", "--subject", "CN=Root")
    assert "CA 'Root' already" in office.ca(*again, code=7)
    for name in ("../Root", ".hidden", "a/b", " ", "x" * 65):
        assert "no name for a CA" in office.ca("create", name, "--subject", "CN=Root", code=2)
    (listed,) = json.loads(office.ca("list", "--json"))
    assert (listed["name"], listed["subject"]) == ("Root", "CN=Root,O=Acme,C=RU")


def test_damaged_files_of_a_ca_are_told_of(office: Office) -> None:
    office.create("Root")
    folder = Path(os.environ["KLYUCH_HOME"], "ca", "Root")
    for content in ("{", "{}", "[]", '{"issued": 5}'):
        (folder / "state.json").write_text(content)
        assert "files of the CA Root are damaged" in office.ca("show", "Root", code=1)


def test_a_ca_has_its_key_on_a_token(office: Office, token: ScratchToken) -> None:
    assert token.label
    office.command("key", "generate", "P-384", "--label", "root", "--always-authenticate", **PIN)
    root = office.create("Root", "--key", "root")
    leaf = office.issue("Root")
    office.openssl("verify", "-CAfile", root, leaf)
    assert "ecdsa-with-SHA384" in office.text(leaf)
    crl = office.folder / "crl"
    office.ca("crl", "Root", "--out", crl)
    office.openssl("verify", "-crl_check", "-CRLfile", crl, "-CAfile", root, leaf)
    (listed,) = json.loads(office.ca("list", "--json"))
    assert listed["key"] == f"P-384, on token {token.serial}"
    assert not list(Path(os.environ["KLYUCH_HOME"], "ca").rglob("key.pem"))


def test_every_type_of_a_cas_key_is_one_that_signs() -> None:
    assert list(KEY_TYPES) == list(SIGNING_SPECS)


def test_serial_numbers_cannot_be_foretold(office: Office) -> None:
    office.create("Root")
    for _ in range(2):
        office.issue("Root")
    first, second = (int(one["serial"], 16) for one in office.issued("Root"))
    # A leading one and 128 random bits: two in a row differ in about half of them.
    assert first.bit_length() == second.bit_length() == 129
    assert (first ^ second).bit_count() > 16


def test_two_issuers_at_once_lose_nothing(office: Office) -> None:
    office.create("Root")
    asked = office.request()
    arguments = ["cert", "ca", "issue", "Root", str(asked), "--json"]
    started = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "host_tools.cli", *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, **SECRETS},
            text=True,
        )
        for _ in range(4)
    ]
    serials = {json.loads(one.communicate(timeout=120)[0])["serial"] for one in started}
    assert serials == {one["serial"] for one in office.issued("Root")}
    assert len(serials) == 4


def _create(home: Home, barrier: Barrier, results: Connection) -> None:
    """Make authorities of the same names as others do; tells which it made, and of refusals."""
    key = generate(SIGNING_SPECS["P-256"])
    signer = FileSigner(key)
    certificate = self_signed(signer, parse_name("CN=Root"), Validity.of_days(1))
    secret = encrypted(key, "oats")
    made, refused = [], set()
    for number in range(NAMES):
        barrier.wait(30)
        try:
            Authorities(home).create(f"Root {number}", State(KeyPlace()), certificate, secret)
        except ControlError as error:
            refused.add(error.code)
        else:
            made.append(number)
    results.send((certificate.dump(), secret, made, refused))


NAMES = 50


@pytest.mark.usefixtures("office")
def test_of_several_that_create_a_ca_at_once_one_does() -> None:
    home = current()
    left = home.authorities / ".Root 1.draft"
    left.mkdir(parents=True)
    (left / "key.pem").write_bytes(b"of a process that died")
    forking = multiprocessing.get_context("fork")
    barrier = forking.Barrier(3)
    pipes = [forking.Pipe(duplex=False) for _ in range(3)]
    for _, sending in pipes:
        forking.Process(target=_create, args=(home, barrier, sending), daemon=True).start()
        sending.close()
    owners = {}
    for receiving, _ in pipes:
        assert receiving.poll(120)
        certificate, secret, made, refused = receiving.recv()
        assert refused <= {ErrorCode.EXISTS}
        owners.update(dict.fromkeys(made, (certificate, secret)))
    assert sorted(owners) == list(range(NAMES))
    for number, (certificate, secret) in owners.items():
        authority = Authorities(home).open(f"Root {number}")
        assert authority.certificate.dump() == certificate
        assert authority.key_file.read_bytes() == secret
    assert len(list(home.authorities.iterdir())) == NAMES


def test_a_revoked_ca_issues_and_says_that_it_is_revoked(office: Office) -> None:
    office.create("Root")
    below = office.create("Issuing", "--under", "Root", "--path-length", "1")
    issue = ("cert", "ca", "issue", "Issuing", office.request())
    assert office.command(*issue, **SECRETS).stderr == ""
    office.ca("revoke", "Root", below)
    said = "The CA Issuing was revoked by Root: verifiers that know refuse what it issues.\n"
    assert office.command(*issue, **SECRETS).stderr == said
    under = ("create", "Deep", "--under", "Issuing", "--subject", "CN=Deep")
    assert office.command("cert", "ca", *under, **SECRETS).stderr == said
    deep = ("cert", "ca", "issue", "Deep", office.request())
    assert office.command(*deep, **SECRETS).stderr == said


def test_a_revocation_to_come_is_one_on_purpose(office: Office) -> None:
    office.create("Root")
    leaf = office.issue("Root")
    refused = office.ca("revoke", "Root", leaf, "--at", "2090-01-01", code=2)
    assert "2090-01-01 00:00 UTC is still to come." in refused
    assert "--planned" in refused
    assert office.issued("Root")[0]["revoked"] is None
    office.ca("revoke", "Root", leaf, "--at", "2090-01-01", "--planned")
    assert office.issued("Root")[0]["revoked"] == "2090-01-01T00:00:00+00:00"
