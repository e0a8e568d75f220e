"""Who signs: finds the certificate of a key, and the certificates above it."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from asn1crypto import x509

from host_tools.pki.errors import UnusableKey
from host_tools.pki.signer import Signer
from host_tools.signing.cms import Identity
from host_tools.signing.purposes import signer_trouble
from host_tools.signing.structures import certificate_trouble, key_of


def identity(
    signer: Signer,
    named: Sequence[x509.Certificate],
    held: Sequence[x509.Certificate],
    moment: datetime,
    *,
    any_certificate: bool = False,
) -> Identity:
    """The signer with its certificate and the chain above that.

    It is one of those the user named, or else of those held where the key is: one that a verifier
    takes at that moment, and of several the one that is valid longest. With `any_certificate` it
    is the only one there, whatever it says. Raises UnusableKey where there is none.
    """
    spki = signer.public_key().to_spki()
    own = _of_key(spki, named) or _of_key(spki, held)
    if not own:
        raise UnusableKey(
            "There is no certificate for the key that is to sign.",
            "Give it by --cert FILE, or put it beside its key: klyuch cert import FILE",
        )
    found = _only(own) if any_certificate else _fit(own, moment)
    return Identity(signer, found, tuple(_above(found, [*named, *held])))


def _of_key(spki: bytes, known: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    return list({one.sha256: one for one in known if key_of(one) == spki}.values())


def _only(own: list[x509.Certificate]) -> x509.Certificate:
    if len(own) > 1:
        raise UnusableKey(
            f"The key that is to sign has {len(own)} certificates.",
            "With --any-certificate give the one that is meant: --cert FILE",
        )
    return own[0]


def _fit(own: list[x509.Certificate], moment: datetime) -> x509.Certificate:
    troubles = {one.sha256: signer_trouble(one, moment) for one in own}
    fit = [one for one in own if not troubles[one.sha256]]
    if not fit:
        raise UnusableKey(
            "No verifier would take the signature. " + " ".join(troubles.values()),
            "Give a better one by --cert FILE; to sign all the same: --any-certificate",
        )
    return max(fit, key=lambda one: one.not_valid_after)


def _above(
    certificate: x509.Certificate, pool: Sequence[x509.Certificate]
) -> Iterable[x509.Certificate]:
    seen = {certificate.sha256}
    while True:
        issuer = next(
            (
                one
                for one in pool
                if one.sha256 not in seen
                and one.subject == certificate.issuer
                and not certificate_trouble(certificate, one, any_strength=True)
            ),
            None,
        )
        if issuer is None:
            return
        seen.add(issuer.sha256)
        yield issuer
        certificate = issuer
