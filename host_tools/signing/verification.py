"""Whether the signatures of a CMS SignedData hold, each with its certificate and its path."""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from asn1crypto import cms, core, tsp, x509

from host_tools.pki import algorithms, asn1
from host_tools.pki.errors import Malformed, PkiError
from host_tools.signing.cms import content_of, digests
from host_tools.signing.flaws import Flaw, VerificationError
from host_tools.signing.path import Path, find_path
from host_tools.signing.purposes import check_times
from host_tools.signing.structures import Evidence
from host_tools.signing.wording import day, who

_WEAK: Final = frozenset(("md5", "sha1"))
# Of the signer's clock and ours.
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
_ESS: Final = ("signing_certificate_v2", "signing_certificate")

Content = Callable[[], Iterable[bytes]]
"""Gives the signed content in pieces, from its start at each call."""


@dataclass(frozen=True, slots=True)
class SignerReport:
    """One signature: what it claims, and why it does not hold, unless it does.

    `form` is "CAdES-BES", or "CMS" where no attribute binds the certificate. `path` is there
    where the signature holds.
    """

    name: str = ""
    serial: int = 0
    algorithm: str = ""
    form: str = ""
    signing_time: datetime | None = None
    path: Path | None = None
    failure: VerificationError | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to judge. `moment` is when the certificates have to hold; None: when it was signed.

    The signing time is what the signer says, and nobody else.
    """

    evidence: Evidence
    moment: datetime | None


def verify(
    signed: Any, content: Content, rules: Rules, claimed: datetime | None = None
) -> list[SignerReport]:
    """Judge each signature of a SignedData. Raises VerificationError (MALFORMED) without any.

    `claimed` is the signing time where it is told outside of the signature.
    """
    infos = list(signed["signer_infos"])
    if not infos:
        raise VerificationError(Flaw.MALFORMED, "There is no signature in it.")
    carried = tuple(one.chosen for one in signed["certificates"] if one.name == "certificate")
    evidence = replace(rules.evidence, others=(*rules.evidence.others, *carried))
    known = _digests(infos, content)
    kind = signed["encap_content_info"]["content_type"].native
    return [
        _Judgement(info, kind, known, content, Rules(evidence, rules.moment), claimed).report()
        for info in infos
    ]


def is_signed_content(signed: Any, content: Content) -> bool:
    """Whether nothing in a SignedData says that its signatures are of another content."""
    infos = list(signed["signer_infos"])
    known = _digests(infos, content)
    inside = content_of(signed)
    if inside is not None and digests([inside], known) != known:
        return False
    for info in infos:
        value = known.get(info["digest_algorithm"]["algorithm"].native)
        for one in info["signed_attrs"]:
            claimed = [each.native for each in one["values"]]
            if one["type"].native == "message_digest" and value and claimed != [value]:
                return False
    return True


def _digests(infos: list[Any], content: Content) -> dict[str, bytes]:
    """The content's digests by every hash function that is asked for and known."""
    names = {info["digest_algorithm"]["algorithm"].native for info in infos} - _WEAK
    return digests(content(), filter(_is_known, names))


def _is_known(name: str) -> bool:
    try:
        algorithms.new_digest(name)
    except PkiError:
        return False
    return True


@dataclass(slots=True)
class _Judgement:
    """The steps of judging one SignerInfo; what is found out goes into `found` at once."""

    info: Any
    content_type: str
    digests: dict[str, bytes]
    content: Content
    rules: Rules
    claimed: datetime | None
    found: SignerReport = field(default_factory=SignerReport)

    def report(self) -> SignerReport:
        try:
            path = self._judge()
        except VerificationError as error:
            return replace(self.found, failure=error)
        return replace(self.found, path=path)

    def _judge(self) -> Path:
        attributes = self.info["signed_attrs"]
        bound = next((one for one in _ESS if self._attribute(one) is not None), "")
        signing_time = self._attribute("signing_time")
        self.found = replace(
            self.found,
            form="CAdES-BES" if bound else "CMS",
            signing_time=self.claimed if signing_time is None else signing_time.native,
        )
        certificate = self._signer(attributes, bound)
        if attributes:
            self._check_content()
        if bound:
            self._check_binding(bound, certificate)
        claimed = self.found.signing_time
        if claimed is not None:
            self._check_future(claimed)
            check_times(certificate, claimed, ", and it was signed outside of that")
        moment = self.rules.moment or claimed
        if moment is None:
            raise VerificationError(
                Flaw.MALFORMED, "The signature does not say when it was made, as --at asks for."
            )
        try:
            return find_path(certificate, self.rules.evidence, moment)
        except VerificationError as error:
            if error.flaw is Flaw.EXPIRED:
                error.at_other_times = claimed is None or self._held(certificate, claimed)
            raise

    def _check_future(self, claimed: datetime) -> None:
        evidence = self.rules.evidence
        latest = max(evidence.now, self.rules.moment or evidence.now)
        if claimed > latest + _CLOCKS_DIFFER:
            raise VerificationError(
                Flaw.SIGNED_IN_FUTURE,
                f"The signature says that it was made on {day(claimed)}, which is still to come.",
            )

    def _held(self, certificate: x509.Certificate, moment: datetime) -> bool:
        try:
            find_path(certificate, self.rules.evidence, moment)
        except VerificationError:
            return False
        return True

    def _attribute(self, name: str) -> Any:
        """The value of a signed attribute that has one value, or None where it is missing."""
        values = [
            value
            for one in self.info["signed_attrs"]
            if one["type"].native == name
            for value in one["values"]
        ]
        if len(values) > 1:
            raise VerificationError(Flaw.MALFORMED, f"The attribute {name} comes twice.")
        return values[0] if values else None

    def _signer(self, attributes: Any, bound: str) -> x509.Certificate:
        """The certificate whose key made the signature; the one that it names before others."""
        evidence = self.rules.evidence
        candidates = [one for one in (*evidence.others, *evidence.anchors) if self._is_meant(one)]
        if not candidates:
            raise VerificationError(
                Flaw.BROKEN_CHAIN,
                "The signer's certificate is not in the signature, and was not given otherwise.",
            )
        candidates.sort(key=lambda one: not (bound and self._is_bound(bound, one)))
        first = candidates[0]
        self.found = replace(self.found, name=who(first), serial=first.serial_number)
        message = self._message(attributes)
        troubles = []
        for one in candidates:
            trouble = self._trouble(one, message)
            if not trouble:
                return one
            troubles.append(trouble)
        raise VerificationError(Flaw.BAD_SIGNATURE, troubles[0])

    def _message(self, attributes: Any) -> bytes:
        """What is signed (RFC 5652 5.4): the set of attributes with its own tag, or the content.

        Attributes that were signed once must not pass for a content: the signature would hold.
        """
        if attributes:
            return b"\x31" + bytes(attributes.dump()[1:])
        message = b"".join(self.content())
        if self.content_type != "data" or _is_set_of_attributes(message):
            raise VerificationError(
                Flaw.MALFORMED, "A signature of such a content needs signed attributes."
            )
        return message

    def _is_meant(self, one: x509.Certificate) -> bool:
        sid = self.info["sid"]
        if sid.name == "issuer_and_serial_number":
            wanted = sid.chosen
            return bool(
                one.serial_number == wanted["serial_number"].native
                and one.issuer == wanted["issuer"]
            )
        return bool(one.key_identifier == sid.native)

    def _trouble(self, certificate: x509.Certificate, message: bytes) -> str:
        name = self.info["digest_algorithm"]["algorithm"].native
        identifier, signature = self.info["signature_algorithm"], self.info["signature"].native
        try:
            algorithm = algorithms.named(identifier, name)
            self.found = replace(self.found, algorithm=algorithm.name)
            if algorithm.weak or name in _WEAK:
                return f"Signatures with {name} prove nothing any more."
            key = algorithms.load_key(certificate.public_key.dump())
            algorithm.verify(key, message, signature)
        except PkiError as error:
            return error.message
        return algorithms.weakness(key)

    def _check_content(self) -> None:
        """RFC 5652 5.4, 11.1 and 11.2."""
        name = self.info["digest_algorithm"]["algorithm"].native
        kind, signed = self._attribute("content_type"), self._attribute("message_digest")
        if signed is None or kind is None:
            raise VerificationError(
                Flaw.MALFORMED, "The signature does not say what it is a signature of."
            )
        if name not in self.digests:
            raise VerificationError(
                Flaw.BAD_SIGNATURE, f"The hash function {name} is not supported."
            )
        if kind.native != self.content_type or not hmac.compare_digest(
            signed.native, self.digests[name]
        ):
            raise VerificationError(Flaw.TAMPERED, "The content is not the one that was signed.")

    def _check_binding(self, name: str, certificate: x509.Certificate) -> None:
        if not self._is_bound(name, certificate):
            raise VerificationError(
                Flaw.CERTIFICATE_MISMATCH,
                f"The signature was made for another certificate than that of {who(certificate)}.",
            )

    def _is_bound(self, name: str, certificate: x509.Certificate) -> bool:
        """RFC 5035 3 and 4: the first certificate that the attribute names is the signer's."""
        named = next(iter(self._attribute(name)["certs"]), None)
        return named is not None and _is_named(named, certificate)


def _is_set_of_attributes(content: bytes) -> bool:
    try:
        return bool(asn1.parse(cms.CMSAttributes, content, "set of attributes").native)
    except Malformed:
        return False


def _is_named(named: Any, certificate: x509.Certificate) -> bool:
    second = isinstance(named, tsp.ESSCertIDv2)  # the first version is SHA-1's alone
    algorithm = named["hash_algorithm"]["algorithm"].native if second else "sha1"
    if not _is_known(algorithm):
        return False
    value = digests([certificate.dump()], [algorithm])[algorithm]
    serial = named["issuer_serial"]
    same_serial = isinstance(serial, core.Void) or (
        serial["serial_number"].native == certificate.serial_number
        and any(
            one.name == "directory_name" and one.chosen == certificate.issuer
            for one in serial["issuer"]
        )
    )
    return same_serial and hmac.compare_digest(named["cert_hash"].native, value)
