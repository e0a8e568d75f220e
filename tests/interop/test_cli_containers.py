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
        self.certificate = office.issue("Root", request=office.request(kind=kind))
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
    made = ("cert", "request", "--key-file", container, "--subject", "CN=Ann", "--out", request)
    office.command(*made, **SESAME)
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
    assert "pkcs12_sha1_tripledes_3key is not supported" in refused(1)
    content = bytearray(papers.export().read_bytes())
    content[len(content) // 2] ^= 1
    papers.container.write_bytes(content)
    assert "was changed" in refused(3)
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
