"""What a single certificate says of itself: when it is valid, and what its key is for."""

from datetime import datetime
from typing import Final

from asn1crypto import x509

from host_tools.pki import algorithms
from host_tools.pki.errors import UnusableKey
from host_tools.signing.flaws import Flaw, VerificationError
from host_tools.signing.wording import day, who

# RFC 5280 4.2: the extensions that are looked at here; a policy is no condition of ours.
_PROCESSED: Final = frozenset(
    (
        "basic_constraints",
        "key_usage",
        "extended_key_usage",
        "certificate_policies",
        "subject_alt_name",
        "key_identifier",
        "authority_key_identifier",
        "crl_distribution_points",
        "ocsp_no_check",
    )
)
# A signer of documents is none of these alone (RFC 5280 4.2.1.12).
_NOT_FOR_DOCUMENTS: Final = frozenset(("server_auth", "ocsp_signing", "time_stamping"))


def check_times(one: x509.Certificate, moment: datetime, when: str = "") -> None:
    """Raises VerificationError where the moment, called `when`, is not in the validity."""
    start, end = one.not_valid_before, one.not_valid_after
    if moment < start:
        raise VerificationError(
            Flaw.NOT_YET_VALID,
            f"The certificate of {who(one)} is valid only from {day(start)}{when}.",
        )
    if moment > end:
        raise VerificationError(
            Flaw.EXPIRED, f"The certificate of {who(one)} expired on {day(end)}{when}."
        )


def check_extensions(one: x509.Certificate) -> None:
    """Raises VerificationError for a critical extension that is not looked at here."""
    for extension in one["tbs_certificate"]["extensions"] or ():
        kind = extension["extn_id"]
        if extension["critical"].native and kind.native not in _PROCESSED:
            raise VerificationError(
                Flaw.WRONG_USAGE,
                f"The certificate of {who(one)} has a critical extension that is not"
                f" known here: {kind.dotted}.",
            )


def check_signer(one: x509.Certificate) -> None:
    """Raises VerificationError for a key that is not for signed documents."""
    usage = one.key_usage_value
    if usage is not None and not usage.native & {"digital_signature", "non_repudiation"}:
        raise VerificationError(
            Flaw.WRONG_USAGE,
            f"The key of {who(one)} is not for signatures, says its certificate.",
        )
    purposes = one.extended_key_usage_value
    if purposes is not None and set(purposes.native) <= _NOT_FOR_DOCUMENTS:
        raise VerificationError(
            Flaw.WRONG_USAGE,
            f"The certificate of {who(one)} is not for signed documents, but for"
            f" {', '.join(purposes.native)}.",
        )


def signer_trouble(one: x509.Certificate, moment: datetime) -> str:
    """Why no verifier takes a signature that the key makes at that moment; "" where one does."""
    try:
        check_times(one, moment)
        check_extensions(one)
        check_signer(one)
        return algorithms.weakness(algorithms.load_key(one.public_key.dump()))
    except (VerificationError, UnusableKey) as error:
        return str(error)


def check_authority(one: x509.Certificate, below: int, *, anchor: bool) -> None:
    """RFC 5280 6.1.4 k to n; an anchor of version 1 has no extensions to tell by."""
    constraints, usage = one.basic_constraints_value, one.key_usage_value
    if one["tbs_certificate"]["version"].native == "v3" or not anchor:
        if constraints is None or not constraints["ca"].native:
            raise VerificationError(
                Flaw.WRONG_USAGE, f"{who(one)} issued a certificate and is no authority."
            )
        if usage is not None and "key_cert_sign" not in usage.native:
            raise VerificationError(
                Flaw.WRONG_USAGE, f"The key of {who(one)} is not for certificates."
            )
    longest = None if constraints is None else constraints["path_len_constraint"].native
    if longest is not None and below > longest:
        raise VerificationError(
            Flaw.WRONG_USAGE,
            f"{who(one)} may have {longest} authorities below it, and has {below}.",
        )
