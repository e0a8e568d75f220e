"""What we sign OpenSSL verifies, and the reverse: keys in files, every algorithm of X.509."""

from pathlib import Path

import pytest
from asn1crypto import algos, csr, pem, x509

from host_tools.key_files import EncryptedFile, UnreadableFile
from host_tools.pki import algorithms, asn1, certificates
from host_tools.pki.errors import BadSignature, Malformed, UnknownAlgorithm, UnusableKey
from host_tools.pki.names import parse_name
from host_tools.pki.signer import FileSigner
from host_tools.testing import Run
from token_fw.crypto import KeySpec, generate

KEYS = {
    "RSA": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "P-256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "P-384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "P-521": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
    "Ed25519": ("-algorithm", "ED25519"),
    "Ed448": ("-algorithm", "ED448"),
}
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20")


def check(certificate: x509.Certificate) -> None:
    """Verify a self-signed certificate."""
    tbs = certificate["tbs_certificate"]
    algorithms.verify(
        tbs["subject_public_key_info"].dump(),
        certificate["signature_algorithm"],
        tbs.dump(),
        certificate["signature_value"].native,
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RSA", ("-sha1",)),
        ("RSA", ("-sha256",)),
        ("RSA", ("-sha384",)),
        ("RSA", ("-sha512",)),
        ("RSA", ("-sha256", *PSS)),
        ("RSA", ("-sha512", *PSS)),
        ("P-256", ("-sha256",)),
        ("P-256", ("-sha512",)),
        ("P-384", ("-sha384",)),
        ("P-521", ("-sha512",)),
        ("Ed25519", ()),
        ("Ed448", ()),
    ],
)
def test_a_certificate_by_openssl_verifies_until_a_bit_is_changed(
    openssl: Run, tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    key, file = tmp_path / "key.pem", tmp_path / "ca.pem"
    openssl("genpkey", *KEYS[kind], "-out", key)
    openssl("req", "-x509", "-new", "-key", key, "-subj", "/CN=CA", *options, "-out", file)
    (certificate,) = asn1.read_certificates(file.read_bytes())
    check(certificate)
    assert algorithms.named(certificate["signature_algorithm"]).weak is ("-sha1" in options)
    der = bytearray(certificate.dump())
    der[len(der) // 2] ^= 1  # within the subject's key or the extensions: both are signed
    with pytest.raises((BadSignature, Malformed, UnusableKey)):
        check(asn1.parse(x509.Certificate, bytes(der), "certificate"))
    signature = bytearray(certificate["signature_value"].native)
    signature[-1] ^= 1
    certificate["signature_value"] = bytes(signature)
    with pytest.raises(BadSignature):
        check(certificate)


@pytest.mark.parametrize("kind", KEYS)
def test_openssl_verifies_a_request_by_a_key_file(openssl: Run, tmp_path: Path, kind: str) -> None:
    key, request = tmp_path / "key.pem", tmp_path / "request.der"
    openssl("genpkey", *KEYS[kind], "-out", key)
    signer = FileSigner.load(key.read_bytes())
    request.write_bytes(certificates.request(signer, parse_name("CN=Ann,C=GB")))
    shown = openssl("req", "-inform", "DER", "-in", request, "-verify", "-noout", "-pubkey")
    assert "verify OK" in shown.stderr
    assert shown.stdout == openssl("pkey", "-in", key, "-pubout").stdout
    parsed = asn1.parse(csr.CertificationRequest, request.read_bytes(), "request")
    assert parsed["signature_algorithm"].dump() == (
        algorithms.signing(signer.spec).identifier().dump()
    )


@pytest.mark.parametrize("form", ["pkcs8", "traditional", "der", "encrypted"])
@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
def test_a_key_file_of_any_form_signs(openssl: Run, tmp_path: Path, kind: str, form: str) -> None:
    first, key = tmp_path / "first.pem", tmp_path / "key"
    options = {
        "pkcs8": (),
        "traditional": () if kind == "Ed25519" else ("-traditional",),
        "der": ("-outform", "DER"),
        "encrypted": ("-aes256", "-passout", "pass:sesame"),
    }
    openssl("genpkey", *KEYS[kind], "-out", first)
    openssl("pkey", "-in", first, *options[form], "-out", key)
    passphrase = b"sesame" if form == "encrypted" else None
    signer = FileSigner.load(key.read_bytes(), passphrase)
    assert (
        signer.public_key().to_spki()
        == pem.unarmor(openssl("pkey", "-in", first, "-pubout").stdout.encode())[2]
    )
    algorithms.signing(signer.spec).verify(signer.public_key(), b"message", signer.sign(b"message"))
    if passphrase:
        with pytest.raises(EncryptedFile):
            FileSigner.load(key.read_bytes())
        with pytest.raises(UnreadableFile):
            FileSigner.load(key.read_bytes(), b"barley")


def test_a_file_that_is_no_key_is_refused() -> None:
    for content in (
        b"",
        b"text",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ):
        with pytest.raises(UnreadableFile):
            FileSigner.load(content)


def test_a_key_does_not_verify_by_the_algorithm_of_another_kind() -> None:
    key = generate(KeySpec.ED25519)
    with pytest.raises(UnknownAlgorithm, match="Ed25519"):
        algorithms.ALGORITHMS["sha256_rsa"].verify(key.public(), b"message", bytes(64))
    with pytest.raises(UnusableKey, match="X25519 cannot sign"):
        algorithms.signing(KeySpec.X25519)
    with pytest.raises(BadSignature):
        algorithms.ALGORITHMS["ed25519"].verify(key.public(), b"message", b"short")
    elliptic = generate(KeySpec.ec("P-256")).public()
    with pytest.raises(BadSignature):
        algorithms.ALGORITHMS["sha256_ecdsa"].verify(elliptic, b"message", b"0" * 70)


def test_a_digest_beside_the_kind_of_key_makes_an_algorithm() -> None:
    bare = algos.SignedDigestAlgorithm({"algorithm": "rsassa_pkcs1v15"})
    assert algorithms.named(bare, "sha384").name == "sha384_rsa"
    with pytest.raises(UnknownAlgorithm, match="md5"):
        algorithms.named(bare, "md5")
