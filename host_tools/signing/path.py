"""Certification paths: from a certificate to a trust anchor, and whether each step holds.

RFC 5280 6.1 without policies and name constraints: a certificate that makes these critical is
refused. Nothing is fetched; what is known is in the Evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from asn1crypto import x509

from host_tools.signing import revocation
from host_tools.signing.flaws import Flaw, VerificationError
from host_tools.signing.purposes import (
    check_authority,
    check_extensions,
    check_signer,
    check_times,
)
from host_tools.signing.structures import Evidence, certificate_trouble
from host_tools.signing.wording import issuer_of, who

_LONGEST: Final = 10
_MOST_STEPS: Final = 200


@dataclass(slots=True)
class _Search:
    """A walk through all issuers that a name can mean; the first dead end is remembered."""

    evidence: Evidence
    steps: int = 0
    dead_ends: dict[Flaw, str] = field(default_factory=dict)

    def paths(self, chain: tuple[x509.Certificate, ...]) -> Iterator[tuple[x509.Certificate, ...]]:
        last = chain[-1]
        if any(last.sha256 == anchor.sha256 for anchor in self.evidence.anchors):
            yield chain
            return
        seen = {one.sha256 for one in chain}
        signed = False
        for one in self._issuers(last):
            if one.sha256 in seen:
                continue
            self.steps += 1
            if len(chain) >= _LONGEST or self.steps > _MOST_STEPS:
                self._note(Flaw.BROKEN_CHAIN, "The chain is longer than any that is followed.")
                return
            trouble = certificate_trouble(last, one)
            if trouble:
                self._note(
                    Flaw.BROKEN_CHAIN,
                    f"The certificate of {who(last)} is not signed by {who(one)}: {trouble}",
                )
            else:
                signed = True
                yield from self.paths((*chain, one))
        if not signed:
            self._end(last)

    def _issuers(self, of: x509.Certificate) -> list[x509.Certificate]:
        """Those with the issuer's name, and its key identifier where both sides have one."""
        wanted = of.authority_key_identifier  # the bytes of the identifier, or None
        return [
            one
            for one in (*self.evidence.anchors, *self.evidence.others)
            if one.subject == of.issuer
            and (not wanted or not one.key_identifier or wanted == one.key_identifier)
        ]

    def _end(self, last: x509.Certificate) -> None:
        if last.subject != last.issuer:
            self._note(
                Flaw.BROKEN_CHAIN,
                f"The certificate of {issuer_of(last)} is missing: it issued that of {who(last)}.",
            )
        elif trouble := certificate_trouble(last, last):
            self._note(
                Flaw.BROKEN_CHAIN, f"The root {who(last)} is not signed by itself: {trouble}"
            )
        else:
            self._note(Flaw.UNTRUSTED, f"The root {who(last)} is not trusted.")

    def _note(self, flaw: Flaw, message: str) -> None:
        self.dead_ends.setdefault(flaw, message)


@dataclass(frozen=True, slots=True)
class Path:
    """A path that holds: the certificate first, the trust anchor last.

    `revocation` tells what was found of each certificate but the anchor's: "CRL", "OCSP" or "".
    """

    certificates: tuple[x509.Certificate, ...]
    revocation: tuple[str, ...]


def find_path(leaf: x509.Certificate, evidence: Evidence, moment: datetime) -> Path:
    """The first path that holds at that moment, for a certificate that signs documents.

    Raises VerificationError: of the first path that reaches an anchor, else why none does.
    """
    search = _Search(evidence)
    first: VerificationError | None = None
    for chain in search.paths((leaf,)):
        try:
            return _validated(chain, evidence, moment)
        except VerificationError as error:
            first = first or error
    if first is not None:
        raise first
    flaw = next(one for one in (Flaw.UNTRUSTED, Flaw.BROKEN_CHAIN) if one in search.dead_ends)
    raise VerificationError(flaw, search.dead_ends[flaw])


def _validated(chain: tuple[x509.Certificate, ...], evidence: Evidence, moment: datetime) -> Path:
    below = 0  # RFC 5280 4.2.1.9: certificates in between that are not self-issued
    for one in chain:
        check_times(one, moment)
        check_extensions(one)
        if one is chain[0]:
            check_signer(one)
        else:
            check_authority(one, below, anchor=one is chain[-1])
            below += one.subject != one.issuer
    found = tuple(
        revocation.check(one, issuer, evidence, moment) for one, issuer in pairwise(chain)
    )
    return Path(chain, found)
