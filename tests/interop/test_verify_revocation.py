"""``klyuch verify`` with CRLs and OCSP responses: what they prove, and what they do not."""

from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from host_tools.cli.failures import Exit
from host_tools.testing import Command, Run
from tests.interop import signers
from tests.interop.signers import DAY, NOW, Files, Holder
from tests.interop.test_verify_paths import Verifier


@pytest.fixture
def there(tmp_path: Path) -> Files:
    return signers.files(tmp_path)


@pytest.fixture
def ann(there: Files) -> Holder:
    return signers.holder("Ann", there.issuer)


@pytest.fixture
def verifier(command: Command, openssl: Run, there: Files, ann: Holder) -> Verifier:
    made = Verifier(command, openssl, there)
    made.signed(ann)
    return made


def test_a_crl_tells_who_was_revoked_when_and_why(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    crl = there.put("one.crl", signers.revocation_list(there.issuer, ann.certificate))
    since = f"{NOW - 2 * DAY:%Y-%m-%d %H:%M:%S} UTC"
    said = f"The certificate of CN=Ann was revoked on {since} (key compromise), says CRL."
    verifier.fails(Exit.REVOKED, said, "--crl", crl)
    text = there.put("one.pem", b"")
    verifier.openssl("crl", "-inform", "DER", "-in", crl, "-out", text)
    known = there.put("known.pem", (there.folder / "root.pem").read_bytes() + text.read_bytes())
    verifier.openssl_too("certificate revoked", "-crl_check", "-CAfile", known)
    verifier.fails(Exit.REVOKED, said, "--crl", text)


def test_a_crl_without_the_signer_and_one_without_the_issuer_show_both_good(
    verifier: Verifier, there: Files
) -> None:
    mine = there.put("issuer.crl", signers.revocation_list(there.issuer))
    assert verifier.holds("--crl", mine) == "CRL, not checked"
    verifier.fails(
        Exit.NO_REVOCATION_DATA,
        "Nothing shows that the certificate of CN=Issuer is not revoked; no CRL",
        "--require-revocation", "--crl", mine,
    )  # fmt: skip
    theirs = there.put("root.crl", signers.revocation_list(there.root))
    both = ("--crl", mine, "--crl", theirs, "--require-revocation")
    assert verifier.holds(*both) == "CRL"


def test_an_issuer_that_was_revoked(verifier: Verifier, there: Files) -> None:
    crl = signers.revocation_list(there.root, there.issuer.certificate)
    verifier.fails(Exit.REVOKED, "of CN=Issuer was revoked", "--crl", there.put("r.crl", crl))


def test_what_is_revoked_later_was_good_before(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    crl = signers.revocation_list(
        there.issuer, ann.certificate, since=NOW + 2 * DAY, following=NOW + 3 * DAY
    )
    file = there.put("later.crl", crl)
    later = f"CRL: revoked later, on {NOW + 2 * DAY:%Y-%m-%d %H:%M:%S} UTC, not checked"
    assert verifier.holds("--crl", file) == later
    verifier.fails(Exit.REVOKED, "was revoked", "--crl", file, "--at", str(NOW + 2 * DAY))


@pytest.mark.parametrize("source", ["CRL", "OCSP"])
def test_what_was_made_later_tells_of_the_moment_before(
    verifier: Verifier, there: Files, ann: Holder, source: str
) -> None:
    """Judged at a time five days ago, by evidence of yesterday."""

    def evidence(since: datetime | None) -> tuple[str, Path]:
        if source == "CRL":
            bad = () if since is None else (ann.certificate,)
            content = signers.revocation_list(there.issuer, *bad, since=since or NOW)
        else:
            content = signers.response(ann.certificate, there.issuer, revoked=since, made=NOW - DAY)
        return f"--{source.lower()}", there.put("evidence", content)

    at = ("--at", str(NOW - 5 * DAY))
    (there.folder / "letter.txt.p7s").unlink()
    verifier.signed(ann, NOW - 5 * DAY)
    signing_time = ("--at", "signing-time")
    for moment in (at, signing_time):
        assert verifier.holds(*moment, *evidence(None)) == f"{source}, not checked"
        said = f"{source}: revoked later, on {NOW - 2 * DAY:%Y-%m-%d %H:%M:%S} UTC, not checked"
        assert verifier.holds(*moment, *evidence(NOW - 2 * DAY)) == said
        verifier.fails(Exit.REVOKED, "was revoked", *moment, *evidence(NOW - 6 * DAY))
    verifier.fails(Exit.REVOKED, "was revoked", *evidence(NOW - 2 * DAY))


def test_what_was_made_after_a_certificate_expired_proves_nothing_good(
    verifier: Verifier, there: Files
) -> None:
    """What has expired may be off the lists by then."""
    (there.folder / "letter.txt.p7s").unlink()
    bob = signers.holder("Bob", there.issuer, end=NOW - 3 * DAY)
    verifier.signed(bob, NOW - 5 * DAY)
    crl = there.put("late.crl", signers.revocation_list(there.issuer))
    told = there.put("late.ocsp", signers.response(bob.certificate, there.issuer))
    for option in (("--crl", crl), ("--ocsp", told)):
        said = "when the certificate had expired"
        verifier.fails(Exit.NO_REVOCATION_DATA, said, "--at", "signing-time", *option)
    listed = signers.revocation_list(there.issuer, bob.certificate, since=NOW - 4 * DAY)
    there.put("late.crl", listed)
    shown = verifier.holds("--at", "signing-time", "--crl", crl)
    assert shown.startswith("CRL: revoked later")


@pytest.mark.parametrize(
    ("made", "following", "said"),
    [
        (NOW - 3 * DAY, NOW - DAY, "CRL is out of date since"),
        (NOW + DAY, NOW + 2 * DAY, "CRL is made only on"),
    ],
)
def test_a_crl_of_another_time_proves_nothing_good(
    *, verifier: Verifier, there: Files, made: datetime, following: datetime, said: str
) -> None:
    crl = signers.revocation_list(there.issuer, made=made, following=following)
    verifier.fails(Exit.NO_REVOCATION_DATA, said, "--crl", there.put("old.crl", crl))


def test_an_old_crl_still_proves_what_is_bad(verifier: Verifier, there: Files, ann: Holder) -> None:
    crl = signers.revocation_list(
        there.issuer, ann.certificate, made=NOW - 2 * DAY, following=NOW - DAY
    )
    verifier.fails(Exit.REVOKED, "was revoked", "--crl", there.put("old.crl", crl))


def test_a_crl_that_another_signed_says_nothing(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    forged = signers.revocation_list(there.issuer, ann.certificate, by=there.root)
    file = there.put("forged.crl", forged)
    verifier.fails(Exit.NO_REVOCATION_DATA, "CRL has a wrong signature", "--crl", file)
    good = there.put("good.crl", signers.revocation_list(there.issuer))
    assert verifier.holds("--crl", file, "--crl", good) == "CRL, not checked"


def test_a_crl_of_a_part_of_the_certificates_proves_nothing_good_but_what_is_bad(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    def point(**scope: bool) -> x509.IssuingDistributionPoint:
        all_of_it = dict.fromkeys(
            (
                "only_contains_user_certs",
                "only_contains_ca_certs",
                "indirect_crl",
                "only_contains_attribute_certs",
            ),
            False,
        )
        return x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier("http://example.org/crl")],
            relative_name=None,
            only_some_reasons=None,
            **{**all_of_it, **scope},
        )

    for scope in ({"only_contains_ca_certs": True}, {"indirect_crl": True}):
        crl = signers.revocation_list(there.issuer, extension=point(**scope))
        file = there.put("part.crl", crl)
        verifier.fails(Exit.NO_REVOCATION_DATA, "is not for such certificates", "--crl", file)
    crl = signers.revocation_list(there.issuer, extension=point(only_contains_user_certs=True))
    assert verifier.holds("--crl", there.put("users.crl", crl)) == "CRL, not checked"
    delta = signers.revocation_list(there.issuer, extension=x509.DeltaCRLIndicator(1))
    file = there.put("delta.crl", delta)
    verifier.fails(Exit.NO_REVOCATION_DATA, "critical extension", "--crl", file)
    changes = x509.DeltaCRLIndicator(1)
    bad = signers.revocation_list(there.issuer, ann.certificate, extension=changes)
    both = ("--crl", there.put("bad.crl", bad), "--crl", there.folder / "users.crl")
    verifier.fails(Exit.REVOKED, "(key compromise), says CRL", *both)


def test_an_issuer_whose_key_is_not_for_crls(verifier: Verifier, there: Files) -> None:
    issuer = signers.authority("Mute", there.root, usages=("key_cert_sign",))
    there.put("issuer.pem", signers.pem(issuer.certificate))
    (there.folder / "letter.txt.p7s").unlink()
    verifier.signed(signers.holder("Bob", issuer))
    file = there.put("mute.crl", signers.revocation_list(issuer))
    verifier.fails(Exit.NO_REVOCATION_DATA, "by a key that is not for CRLs", "--crl", file)


def test_an_ocsp_response_by_the_issuer(verifier: Verifier, there: Files, ann: Holder) -> None:
    good = there.put("good.ocsp", signers.response(ann.certificate, there.issuer))
    assert verifier.holds("--ocsp", good) == "OCSP, not checked"
    bad = signers.response(ann.certificate, there.issuer, revoked=NOW - DAY)
    file = there.put("bad.ocsp", bad)
    verifier.fails(Exit.REVOKED, "(superseded), says OCSP.", "--ocsp", file, "--ocsp", good)


def test_an_ocsp_response_by_a_responder_the_issuer_named(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    responder = signers.holder("Responder", there.issuer, purpose=signers.OCSP_PURPOSE)
    good = signers.response(ann.certificate, there.issuer, by=responder)
    assert verifier.holds("--ocsp", there.put("good.ocsp", good)) == "OCSP, not checked"


@pytest.mark.parametrize("state", ["V", "R"])
def test_an_ocsp_response_by_openssl(
    *, verifier: Verifier, there: Files, ann: Holder, state: str
) -> None:
    """Its responder answers from the index that its small CA keeps."""
    key = there.issuer.write(there.folder / "authority.key")
    since = f"{NOW - DAY:%y%m%d%H%M%SZ},superseded" if state == "R" else ""
    index = there.put(
        "index.txt",
        f"{state}\t{NOW + DAY:%y%m%d%H%M%SZ}\t{since}\t{ann.certificate.serial_number:040X}"
        "\tunknown\t/CN=Ann\n".encode(),
    )
    request, made = there.folder / "ask.ocsp", there.folder / "told.ocsp"
    issuer = ("-issuer", there.folder / "issuer.pem", "-cert", there.folder / "signer.pem")
    verifier.openssl("ocsp", *issuer, "-reqout", request)
    verifier.openssl(
        "ocsp", "-index", index, "-CA", there.folder / "issuer.pem", "-rsigner",
        key.with_suffix(".pem"), "-rkey", key, "-reqin", request, "-respout", made,
    )  # fmt: skip
    if state == "R":
        said = f"was revoked on {NOW - DAY:%Y-%m-%d %H:%M:%S} UTC (superseded), says OCSP."
        verifier.fails(Exit.REVOKED, said, "--ocsp", made)
    else:
        assert verifier.holds("--ocsp", made) == "OCSP, not checked"


@pytest.mark.parametrize(
    "whom", ["by somebody else", "not for OCSP", "out of date", "not for signatures", "strange"]
)
def test_an_ocsp_response_by_a_responder_that_may_not_speak(
    verifier: Verifier, there: Files, ann: Holder, whom: str
) -> None:
    responders = {
        "by somebody else": (
            signers.holder("Responder", there.root, purpose=signers.OCSP_PURPOSE),
            "by a responder that the issuer did not name",
        ),
        "not for OCSP": (
            signers.holder("Responder", there.issuer),
            "by a certificate that is not for OCSP",
        ),
        "out of date": (
            signers.holder("Responder", there.issuer, purpose=signers.OCSP_PURPOSE, end=NOW - DAY),
            "by a responder whose certificate is out of date",
        ),
        "not for signatures": (
            signers.holder(
                "Responder",
                there.issuer,
                purpose=signers.OCSP_PURPOSE,
                usages=("key_encipherment",),
            ),
            "by a responder whose key is not for signatures",
        ),
        "strange": (
            signers.holder(
                "Responder",
                there.issuer,
                purpose=signers.OCSP_PURPOSE,
                extension=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"),
            ),
            "by a responder whose certificate has a critical extension",
        ),
    }
    responder, said = responders[whom]
    made = signers.response(ann.certificate, there.issuer, by=responder)
    verifier.fails(
        Exit.NO_REVOCATION_DATA, f"OCSP is {said}", "--ocsp", there.put("bad.ocsp", made)
    )


def test_a_responder_that_was_revoked_itself_may_not_speak(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    plain = signers.holder("Responder", there.issuer, purpose=signers.OCSP_PURPOSE)
    made = signers.response(ann.certificate, there.issuer, by=plain)
    told = ("--ocsp", there.put("told.ocsp", made))
    assert verifier.holds(*told) == "OCSP, not checked"
    crl = signers.revocation_list(there.issuer, plain.certificate, made=NOW - 3 * DAY)
    bad = ("--crl", there.put("bad.crl", crl))
    said = "OCSP is by a responder that was revoked"
    verifier.fails(Exit.NO_REVOCATION_DATA, said, *told, *bad, "--at", str(NOW + 5 * DAY))
    other = signers.response(ann.certificate, there.issuer, by=plain)
    told = ("--ocsp", there.put("other.ocsp", other))
    root = ("--crl", there.put("root.crl", signers.revocation_list(there.root)))
    said = "OCSP is by a responder that nothing shows to be not revoked"
    verifier.fails(Exit.NO_REVOCATION_DATA, said, *told, *root, "--require-revocation")
    unchecked = signers.holder(
        "Responder", there.issuer, purpose=signers.OCSP_PURPOSE, extension=x509.OCSPNoCheck()
    )
    made = signers.response(ann.certificate, there.issuer, by=unchecked)
    told = ("--ocsp", there.put("unchecked.ocsp", made))
    assert verifier.holds(*told, *root, "--require-revocation") == "OCSP, CRL"


def test_an_ocsp_response_that_is_old_or_knows_nothing(
    verifier: Verifier, there: Files, ann: Holder
) -> None:
    old = signers.response(
        ann.certificate, there.issuer, made=NOW - 3 * DAY, following=NOW - 2 * DAY
    )
    verifier.fails(
        Exit.NO_REVOCATION_DATA, "OCSP is out of date", "--ocsp", there.put("old.ocsp", old)
    )
    endless = signers.response(ann.certificate, there.issuer, made=NOW - 3 * DAY, following=None)
    verifier.fails(
        Exit.NO_REVOCATION_DATA, "OCSP is out of date", "--ocsp", there.put("e.ocsp", endless)
    )
    unknown = signers.response(ann.certificate, there.issuer, status=signers.UNKNOWN)
    verifier.fails(
        Exit.NO_REVOCATION_DATA, "OCSP does not know it", "--ocsp", there.put("u.ocsp", unknown)
    )


def test_an_ocsp_response_of_another_certificate_does_not_count(
    verifier: Verifier, there: Files
) -> None:
    other = signers.holder("Bob", there.issuer)
    made = signers.response(other.certificate, there.issuer, revoked=NOW - DAY)
    assert verifier.holds("--ocsp", there.put("bob.ocsp", made)) == "not checked"


def test_files_that_are_no_revocation_data_are_refused(verifier: Verifier, there: Files) -> None:
    text = there.put("text", b"no CRL at all")
    for option, said in (("--crl", "no revocation list"), ("--ocsp", "no OCSP response")):
        verifier.fails(Exit.USAGE, said, option, text)
