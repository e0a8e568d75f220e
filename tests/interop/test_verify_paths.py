"""``klyuch verify`` on whole signatures by certificates that do not hold, each its own failure.

OpenSSL refuses the same signatures, where it looks at the same thing.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from host_tools.cli.failures import Exit
from host_tools.pki.signer import FileSigner
from host_tools.signing import cms
from host_tools.signing.identity import identity
from host_tools.signing.structures import certificates_in
from host_tools.testing import Command, Run
from tests.interop import signers
from tests.interop.signers import DAY, NOW, Files, Holder


@pytest.fixture
def there(tmp_path: Path) -> Files:
    return signers.files(tmp_path)


@dataclass(frozen=True)
class Verifier:
    """Signs the letter as somebody, then verifies what came of it."""

    command: Command
    openssl: Run
    there: Files

    def signed(self, by: Holder, at: datetime | None = None) -> None:
        """Now by the command, or with another signing time, which that never gives."""
        key = by.write(self.there.folder / "signer.key")
        issuer = self.there.folder / "issuer.pem"
        if at is not None:
            known = certificates_in(key.with_suffix(".pem").read_bytes() + issuer.read_bytes())
            who = identity(FileSigner.load(key.read_bytes()), known, (), at)
            digest = cms.digests([self.there.letter.read_bytes()], [who.digest])[who.digest]
            made = cms.sign(who, digest, signing_time=at)
            self.there.put("letter.txt.p7s", made)
            return
        self.command(
            "sign", self.there.letter, "--key-file", key,
            "--cert", key.with_suffix(".pem"), "--cert", issuer, "--any-certificate",
        )  # fmt: skip

    def fails(self, code: Exit, said: str, *options: str | Path) -> None:
        """With the root trusted; what is said is in the message."""
        root = self.there.folder / "root.pem"
        told = self.command(
            "verify", self.there.letter, "--trust", root, *options, code=code.value
        ).stderr
        assert said in told

    def holds(self, *options: str | Path) -> str:
        """With the root trusted: what is said of revocation."""
        root = self.there.folder / "root.pem"
        told = self.command("verify", self.there.letter, "--trust", root, "--json", *options)
        (one,) = json.loads(told.stdout)["signatures"]
        assert (one["verdict"], one["message"]) == ("ok", "")
        return str(one["revocation"])

    def openssl_too(self, said: str, *options: str | Path) -> None:
        """OpenSSL refuses the signature, saying so."""
        told = self.openssl(
            "cms", "-verify", "-cades", "-binary", "-inform", "DER",
            "-in", self.there.folder / "letter.txt.p7s", "-content", self.there.letter,
            "-CAfile", self.there.folder / "root.pem", *options, code=4,
        ).stderr  # fmt: skip
        assert said in told


@pytest.fixture
def verifier(command: Command, openssl: Run, there: Files) -> Verifier:
    return Verifier(command, openssl, there)


def test_a_chain_holds_up_to_the_trusted_root(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer))
    assert verifier.holds() == "not checked"
    root = there.folder / "root.pem"
    told = verifier.command("verify", there.letter, "--trust", root, "--json").stdout
    (one,) = json.loads(told)["signatures"]
    assert one["chain"] == ["CN=Ann", "CN=Issuer", "CN=Root"]
    assert one["form"] == "CAdES-BES"


def test_a_folder_of_roots_is_trusted_and_other_files_in_it_are_let_be(
    verifier: Verifier, there: Files
) -> None:
    verifier.signed(signers.holder("Ann", there.issuer))
    roots = there.folder / "roots"
    roots.mkdir()
    (roots / "readme.txt").write_text("no certificate")
    refused = verifier.command("verify", there.letter, "--trust", roots, code=2)
    assert "nothing of that kind" in refused.stderr
    (there.folder / "root.pem").rename(roots / "root.pem")
    verifier.command("verify", there.letter, "--trust", roots)


def test_an_expired_certificate(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer, start=NOW - 9 * DAY, end=NOW - DAY))
    verifier.fails(Exit.EXPIRED, "The certificate of CN=Ann expired on")
    verifier.fails(Exit.EXPIRED, "signed outside of that", "--at", str(NOW - 2 * DAY))
    verifier.openssl_too("certificate has expired")


def test_a_certificate_that_expired_after_it_signed(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer))
    later = str(NOW + 20 * DAY)
    verifier.fails(Exit.EXPIRED, "The certificate of CN=Ann expired on", "--at", later)
    verifier.holds("--at", "signing-time")


def test_only_a_time_that_helps_is_hinted_at(verifier: Verifier, there: Files) -> None:
    def hint() -> str:
        root = there.folder / "root.pem"
        later = ("--at", str(NOW + 15 * DAY))
        told = verifier.command("verify", there.letter, "--trust", root, *later, code=17).stderr
        return str(told.partition("Next: ")[2])

    verifier.signed(signers.holder("Ann", there.issuer))
    assert "--at signing-time" in hint()
    (there.folder / "letter.txt.p7s").unlink()
    verifier.signed(signers.holder("Ann", there.issuer, start=NOW - 9 * DAY, end=NOW - DAY))
    assert hint() == ""
    (there.folder / "letter.txt.p7s").unlink()
    old = signers.authority("Old", there.root, end=NOW - DAY)
    there.put("issuer.pem", signers.pem(old.certificate))
    verifier.signed(signers.holder("Ann", old))
    assert hint() == ""


def test_a_signature_of_a_time_to_come(verifier: Verifier, there: Files) -> None:
    ann = signers.holder("Ann", there.issuer)
    verifier.signed(ann, NOW + 2 * DAY)
    said = "says that it was made on"
    verifier.fails(Exit.SIGNED_IN_FUTURE, said)
    verifier.fails(Exit.SIGNED_IN_FUTURE, said, "--at", "signing-time")
    verifier.holds("--at", str(NOW + 3 * DAY))
    verifier.signed(ann, NOW + timedelta(minutes=1))  # clocks differ
    verifier.holds()


def test_an_expired_issuer(verifier: Verifier, there: Files) -> None:
    old = signers.authority("Old", there.root, end=NOW - DAY)
    there.put("issuer.pem", signers.pem(old.certificate))
    verifier.signed(signers.holder("Ann", old))
    verifier.fails(Exit.EXPIRED, "The certificate of CN=Old expired on")
    verifier.openssl_too("certificate has expired")


def test_a_certificate_that_is_not_valid_yet(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer, start=NOW + DAY))
    verifier.fails(Exit.NOT_YET_VALID, "The certificate of CN=Ann is valid only from")
    verifier.openssl_too("not yet valid")


def test_an_issuer_that_is_missing(verifier: Verifier, there: Files) -> None:
    unknown = signers.authority("Unknown", there.root)
    verifier.signed(signers.holder("Ann", unknown))
    verifier.fails(Exit.BROKEN_CHAIN, "The certificate of CN=Unknown is missing")
    verifier.openssl_too("unable to get local issuer certificate")
    found = there.put("unknown.pem", signers.pem(unknown.certificate))
    verifier.holds("--cert", found)


def test_an_issuer_of_the_right_name_that_did_not_sign(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", signers.authority("Issuer", there.root)))
    issuer = there.folder / "issuer.pem"
    said = "The certificate of CN=Ann is not signed by CN=Issuer: The signature is wrong."
    verifier.fails(Exit.BROKEN_CHAIN, said, "--cert", issuer)
    verifier.openssl_too("unable to get local issuer certificate")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (rsa.generate_private_key(65537, 1024), "RSA-1024"),
        (ec.generate_private_key(ec.SECP192R1()), "P-192"),
    ],
    ids=["RSA", "EC"],
)
def test_an_issuer_whose_key_is_too_short(
    *,
    verifier: Verifier,
    there: Files,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    name: str,
) -> None:
    made = signers.holder(
        "Short", there.root, key=key.public_key(), authority=True, usages=signers.AUTHORITY_USAGE
    )
    there.put("issuer.pem", signers.pem(made.certificate))
    verifier.signed(signers.holder("Ann", replace(made, key=key)))
    verifier.fails(Exit.BROKEN_CHAIN, f"Signatures by a key as short as {name} prove nothing")
    verifier.openssl_too("CA certificate key too weak", "-auth_level", "2")


def test_a_root_of_the_right_name_that_is_not_trusted(verifier: Verifier, there: Files) -> None:
    false = signers.authority("Root")
    issuer = signers.authority("Issuer", false)
    there.put("issuer.pem", signers.pem(issuer.certificate, false.certificate))
    verifier.signed(signers.holder("Ann", issuer))
    verifier.fails(Exit.UNTRUSTED, "The root CN=Root is not trusted.")
    refused = verifier.command("verify", there.letter, code=Exit.UNTRUSTED.value)
    assert "Next: If you trust it, name it: --trust FILE" in refused.stderr


def test_a_signer_may_be_trusted_without_a_root(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer))
    verifier.command("verify", there.letter, "--trust", there.folder / "signer.pem")


@pytest.mark.parametrize("usages", [("key_encipherment",), signers.AUTHORITY_USAGE])
def test_a_key_that_is_not_for_signatures(
    verifier: Verifier, there: Files, usages: tuple[str, ...]
) -> None:
    verifier.signed(signers.holder("Ann", there.issuer, usages=usages))
    verifier.fails(Exit.WRONG_USAGE, "The key of CN=Ann is not for signatures")


def test_a_certificate_for_servers_alone(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer, purpose=signers.SERVER_PURPOSE))
    verifier.fails(Exit.WRONG_USAGE, "not for signed documents, but for server_auth")
    verifier.openssl_too("certificate purpose")


def test_a_signer_that_issues_certificates_and_is_no_authority(
    verifier: Verifier, there: Files
) -> None:
    ann = signers.holder("Ann", there.root)
    there.put("issuer.pem", signers.pem(ann.certificate))
    verifier.signed(signers.holder("Mallory", ann))
    verifier.fails(Exit.WRONG_USAGE, "CN=Ann issued a certificate and is no authority")
    verifier.openssl_too("invalid CA certificate")


def test_an_authority_whose_key_is_not_for_certificates(verifier: Verifier, there: Files) -> None:
    wrong = signers.authority("Wrong", there.root, usages=("crl_sign",))
    there.put("issuer.pem", signers.pem(wrong.certificate))
    verifier.signed(signers.holder("Ann", wrong))
    verifier.fails(Exit.WRONG_USAGE, "The key of CN=Wrong is not for certificates")


def test_an_authority_too_deep_below_another(verifier: Verifier, there: Files) -> None:
    below = signers.authority("Below", there.issuer)
    there.put("issuer.pem", signers.pem(there.issuer.certificate, below.certificate))
    verifier.signed(signers.holder("Ann", below))
    verifier.fails(Exit.WRONG_USAGE, "CN=Issuer may have 0 authorities below it, and has 1")
    verifier.openssl_too("path length constraint exceeded")


def test_a_critical_extension_that_nobody_knows(verifier: Verifier, there: Files) -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    verifier.signed(signers.holder("Ann", there.issuer, extension=strange))
    verifier.fails(Exit.WRONG_USAGE, "critical extension that is not known here: 1.2.3.4.5")
    verifier.openssl_too("unhandled critical extension")


def test_names_that_only_some_may_have_are_not_passed_over(
    verifier: Verifier, there: Files
) -> None:
    limits = x509.NameConstraints([x509.DNSName("example.org")], None)
    narrow = signers.authority("Narrow", there.root, extension=limits)
    there.put("issuer.pem", signers.pem(narrow.certificate))
    verifier.signed(signers.holder("Ann", narrow))
    verifier.fails(Exit.WRONG_USAGE, "CN=Narrow has a critical extension")


def test_certificates_that_issue_one_another_come_to_an_end(
    verifier: Verifier, there: Files
) -> None:
    one = signers.authority("One", there.root)
    other = signers.authority("Other", one)
    back = signers.holder(
        "One", other, key=one.key.public_key(), authority=True, usages=signers.AUTHORITY_USAGE
    )
    there.put("issuer.pem", signers.pem(other.certificate, back.certificate))
    verifier.signed(signers.holder("Ann", one))
    verifier.fails(Exit.BROKEN_CHAIN, "is missing")
    verifier.holds("--cert", there.put("one.pem", signers.pem(one.certificate)))


def test_a_moment_that_is_none_is_refused(verifier: Verifier, there: Files) -> None:
    verifier.signed(signers.holder("Ann", there.issuer))
    verifier.fails(Exit.USAGE, "signing-time", "--at", "yesterday")
