"""PKCS #12 containers: ours opened by OpenSSL, OpenSSL's put on a token or signed with."""

import json
from pathlib import Path

import pytest

from host_tools.testing import ScratchToken
from tests.interop.office import ELLIPTIC, PIN, Office
from tests.interop.test_ca_gost import engine_key

KINDS = {
    "RSA-2048": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "P-256": ELLIPTIC,
    "Ed25519": ("-algorithm", "ED25519"),
}
SESAME = {"KLYUCH_PASSPHRASE": "sesame"}
NEW = {"KLYUCH_CONTAINER_PASSPHRASE": "зерно"}


class Papers:
    """A key of OpenSSL's with its certificate by a CA, each in a file."""

    def __init__(self, office: Office, kind: tuple[str, ...]) -> None:
        self.openssl = office.openssl
        self.folder = office.folder
        self.root = office.create("Root")
        self.certificate = office.issue(
            "Root", "--profile", "signing", request=office.request(kind=kind)
        )
        self.key = office.folder / "ask.key"
        self.container = office.folder / "mail.p12"

    def export(self, *options: str | Path) -> Path:
        files = ("-inkey", self.key, "-in", self.certificate, "-certfile", self.root)
        passphrase = ("-passout", "pass:sesame")
        self.openssl("pkcs12", "-export", *files, *passphrase, *options, "-out", self.container)
        return self.container

    def public(self, *source: str | Path) -> str:
        return self.openssl("pkey", "-pubout", *source).stdout


@pytest.mark.parametrize(
    ("kind", "protection"),
    [
        ("RSA-2048", ()),
        ("P-256", ("-macalg", "sha1")),
        ("P-256", ("-macalg", "sha512", "-keypbe", "aes-128-cbc")),
        ("Ed25519", ()),
    ],
)
def test_a_container_of_openssl_is_put_on_the_token(
    office: Office, token: ScratchToken, kind: str, protection: tuple[str, ...]
) -> None:
    assert token.label
    papers = Papers(office, KINDS[kind])
    container = papers.export(*protection)
    put = office.command("cert", "import", container, "--json", **PIN, **SESAME)
    told = json.loads(put.stdout)
    assert (told["label"], told["key"], told["certificates"]) == ("mail", True, 2)
    (key,) = json.loads(office.command("key", "list", "--json", **PIN).stdout)
    assert (key["label"], key["type"], key["private"]) == ("mail", kind, True)
    listed = json.loads(office.command("cert", "list", "--json").stdout)
    assert {one["label"]: one["id"] == key["id"] for one in listed} == {"mail": True, "Root": False}
    again = office.command("cert", "import", container, "--json", **PIN, **SESAME)
    assert json.loads(again.stdout)["certificates"] == 0
    request = office.folder / "again.csr"
    office.command("cert", "request", "mail", "--subject", "CN=Ann", "--out", request, **PIN)
    shown = office.openssl("req", "-in", request, "-verify", "-noout", "-pubkey")
    assert shown.stdout == papers.public("-in", papers.key)


@pytest.mark.parametrize("kind", KINDS)
def test_openssl_opens_a_container_of_ours(office: Office, kind: str) -> None:
    papers = Papers(office, KINDS[kind])
    made = ("cert", "pack", papers.certificate, papers.root, "--key-file", papers.key)
    office.command(*made, "--name", "Анна", "--out", papers.container, **NEW)
    opening = ("-in", papers.container, "-passin", "pass:зерно", "-nodes")
    plain = office.folder / "plain.pem"
    office.openssl("pkcs12", *opening, "-out", plain)
    assert plain.read_text().count("BEGIN CERTIFICATE") == 2
    assert papers.public("-in", plain) == papers.public("-in", papers.key)
    shown = office.openssl("pkcs12", *opening, "-info", "-noout").stderr
    assert "AES-256-CBC" in shown
    office.openssl("pkcs12", *opening[:2], "-passin", "pass:oats", "-noout", code=1)


@pytest.mark.usefixtures("gost_engine")
@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-256-A", "tc26-512-C"])
def test_openssl_opens_a_gost_container_of_ours(office: Office, name: str) -> None:
    papers = Papers(office, engine_key(name))
    made = ("cert", "pack", papers.certificate, papers.root, "--key-file", papers.key)
    office.command(*made, "--out", papers.container, **NEW)
    opening = ("-in", papers.container, "-passin", "pass:зерно", "-nodes")
    plain = office.folder / "plain.pem"
    shown = office.openssl("pkcs12", *opening, "-info", "-out", plain).stderr
    assert "MAC: GOST R 34.11-2012 with 512 bit hash" in shown
    assert "kuznyechik-ctr-acpkm" in shown
    assert papers.public("-in", plain) == papers.public("-in", papers.key)


ENGINE_PROTECTIONS = {
    "AES": (),
    "Kuznyechik": ("-keypbe", "kuznyechik-ctr-acpkm", "-certpbe", "kuznyechik-ctr-acpkm"),
    "Magma": ("-keypbe", "magma-ctr-acpkm", "-certpbe", "magma-ctr-acpkm"),
    "Streebog": ("-macalg", "md_gost12_512"),
}


@pytest.mark.usefixtures("gost_engine")
@pytest.mark.parametrize("protection", ENGINE_PROTECTIONS)
def test_a_gost_container_of_openssl_signs(office: Office, protection: str) -> None:
    papers = Papers(office, engine_key("CryptoPro-A"))
    container = papers.export(*ENGINE_PROTECTIONS[protection])
    request = office.folder / "again.csr"
    made = ("cert", "request", "--key-file", container, "--subject", "CN=Ann")
    office.command(*made, "--out", request, **SESAME)
    shown = office.openssl("req", "-in", request, "-verify", "-noout", "-pubkey")
    assert shown.stdout == papers.public("-in", papers.key)
    refused = office.command(*made, code=3, KLYUCH_PASSPHRASE="barley")
    assert "passphrase is wrong" in refused.stderr


@pytest.mark.usefixtures("gost_engine")
def test_a_gost_container_is_put_on_the_token(office: Office, token: ScratchToken) -> None:
    assert token.label
    papers = Papers(office, engine_key("tc26-512-A"))
    container = papers.export(*ENGINE_PROTECTIONS["Kuznyechik"], *ENGINE_PROTECTIONS["Streebog"])
    office.command("cert", "import", container, "--label", "подпись", **PIN, **SESAME)
    (key,) = json.loads(office.command("key", "list", "--json", **PIN).stdout)
    assert (key["label"], key["type"], key["private"]) == ("подпись", "tc26-512-A", True)
    request = office.folder / "again.csr"
    office.command("cert", "request", "подпись", "--subject", "CN=Ann", "--out", request, **PIN)
    shown = office.openssl("req", "-in", request, "-verify", "-noout", "-pubkey")
    assert shown.stdout == papers.public("-in", papers.key)


PLAIN_KEYS = {
    **{name: (kind, ()) for name, kind in KINDS.items()},
    "CryptoPro-A": (engine_key("CryptoPro-A"), ("-macalg", "md_gost12_512")),
}


@pytest.mark.usefixtures("gost_engine")
@pytest.mark.parametrize("name", PLAIN_KEYS)
def test_a_container_signs_with_the_certificates_in_it(office: Office, name: str) -> None:
    """Its key is not encrypted; its MAC is under the passphrase."""
    kind, protection = PLAIN_KEYS[name]
    papers = Papers(office, kind)
    container = papers.export("-keypbe", "NONE", *protection)
    letter = office.folder / "letter.txt"
    letter.write_text("Dear Bob\n")
    told = office.command("sign", letter, "--key-file", container, **SESAME).stdout
    assert "CN=Ann" in told
    elsewhere = {"KLYUCH_HOME": str(office.folder / "empty")}
    office.command("verify", letter, "--trust", papers.root, **elsewhere)
    if name != "Ed25519":
        judging = ("cms", "-verify", "-cades", "-binary", "-inform", "DER", "-CAfile", papers.root)
        signature = letter.with_name("letter.txt.p7s")
        office.openssl(*judging, "-in", signature, "-content", letter)


@pytest.mark.parametrize("group", ["P-256", "brainpoolP256r1"])
def test_a_certificate_of_a_key_off_its_curve_is_refused(
    office: Office, token: ScratchToken, group: str
) -> None:
    assert token.label
    key, certificate = office.folder / "a.key", office.folder / "a.der"
    office.openssl("genpkey", *ELLIPTIC[:3], f"ec_paramgen_curve:{group}", "-out", key)
    subject = ("-subj", "/CN=Ann", "-outform", "DER", "-out", certificate)
    office.openssl("req", "-new", "-x509", "-key", key, *subject)
    content = bytearray(certificate.read_bytes())
    point = content.index(b"\x03\x42\x00\x04") + 4
    content[point + 63] ^= 1
    if group == "P-256":
        certificate.write_bytes(content)
        refused = office.command("cert", "import", certificate, code=1, **PIN).stderr
        assert f"{certificate}: The public key cannot be used: the public key is not" in refused
        assert office.command("cert", "list").stdout.startswith("No certificates.")
    else:  # nobody can tell of a curve that is not known here
        office.command("cert", "import", certificate, **PIN)


@pytest.mark.usefixtures("gost_engine")
def test_a_long_container_goes_both_ways(office: Office) -> None:
    """Longer than the 4096 bytes after which the engine changes the key, unlike RFC 9337."""
    papers = Papers(office, engine_key("tc26-512-A"))
    many = office.folder / "many.pem"
    many.write_text(papers.root.read_text() * 20)
    pack = ("cert", "pack", papers.certificate, many, "--key-file", papers.key)
    office.command(*pack, "--out", papers.container, **NEW)
    opening = ("-in", papers.container, "-passin", "pass:зерно", "-nodes")
    assert office.openssl("pkcs12", *opening).stdout.count("BEGIN CERTIFICATE") == 21
    container = papers.export(*ENGINE_PROTECTIONS["Kuznyechik"], "-certfile", many)
    asked = ("cert", "request", "--key-file", container, "--subject", "CN=Ann")
    office.command(*asked, **SESAME)


def test_what_cannot_be_opened_says_why(
    office: Office, token: ScratchToken, tmp_path: Path
) -> None:
    assert token.label
    papers = Papers(office, ELLIPTIC)
    asked = ("cert", "import", papers.container)

    def refused(code: int) -> str:
        return str(office.command(*asked, code=code, **PIN, **SESAME).stderr)

    papers.export("-nomac")
    assert "no MAC" in refused(1)
    papers.export("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES")
    assert "3DES of PKCS #12 (1.2.840.113549.1.12.1.3) is not supported" in refused(1)
    content = bytearray(papers.export().read_bytes())
    content[len(content) // 2] ^= 1
    papers.container.write_bytes(content)
    told = refused(3)
    assert "was changed" in told
    assert "Next: Give it by --passphrase-file FILE or in KLYUCH_PASSPHRASE." in told
    papers.container.write_bytes(content[:-20])
    assert str(papers.container) in refused(1)
    assert json.loads(office.command("key", "list", "--json", **PIN).stdout) == []


@pytest.mark.usefixtures("gost_engine")
def test_a_key_is_packed_with_its_own_certificate_only(office: Office) -> None:
    papers = Papers(office, ELLIPTIC)
    made = ("cert", "pack", papers.root, "--key-file", papers.key, "--out", papers.container)
    assert "does not belong" in office.command(*made, code=1, **NEW).stderr
    keyless = ("cert", "pack", papers.certificate, "--out", papers.container)
    assert "--key-file" in office.command(*keyless, code=2, **NEW).stderr
    assert not papers.container.exists()
