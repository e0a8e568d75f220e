"""Who signs: finds the certificate of a key, and the certificates above it."""

from collections.abc import Iterable

from asn1crypto import x509

from host_tools.pki.errors import UnusableKey
from host_tools.pki.signer import Signer
from host_tools.signing.cms import Identity
from host_tools.signing.structures import certificate_trouble, key_of


def identity(signer: Signer, known: Iterable[x509.Certificate]) -> Identity:
    """The signer with its certificate and the chain above that, out of what is known.

    Of several certificates of the key the one that is valid longest is taken. Raises UnusableKey
    where there is none.
    """
    pool = list(known)
    spki = signer.public_key().to_spki()
    own = [one for one in pool if key_of(one) == spki]
    if not own:
        raise UnusableKey(
            "There is no certificate for the key that is to sign.",
            "Give it by --cert FILE, or put it beside its key: klyuch cert import FILE",
        )
    found = max(own, key=lambda one: one.not_valid_after)
    return Identity(signer, found, tuple(_above(found, pool)))


def _above(
    certificate: x509.Certificate, pool: list[x509.Certificate]
) -> Iterable[x509.Certificate]:
    seen = {certificate.sha256}
    while True:
        issuer = next(
            (
                one
                for one in pool
                if one.sha256 not in seen
                and one.subject == certificate.issuer
                and not certificate_trouble(certificate, one)
            ),
            None,
        )
        if issuer is None:
            return
        seen.add(issuer.sha256)
        yield issuer
        certificate = issuer
