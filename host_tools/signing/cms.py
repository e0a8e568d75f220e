"""Signatures as CMS SignedData (RFC 5652) of the form CAdES-BES (ETSI EN 319 122-1 5).

The content goes in as its digest, so that a file of any size can be signed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from asn1crypto import cms, core, tsp, x509

from host_tools.pki import algorithms
from host_tools.pki.errors import Malformed, UnusableKey
from host_tools.pki.signer import Signer
from host_tools.signing.structures import key_of, parse
from host_tools.signing.wrapping import unwrapped

_WHAT: Final = "CMS signature"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: a key, the certificate of it, and certificates of the authorities above."""

    signer: Signer
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        """Raises UnusableKey where the certificate is another key's."""
        if key_of(self.certificate) != self.signer.public_key().to_spki():
            raise UnusableKey("The certificate belongs to another key.")

    @property
    def digest(self) -> str:
        """The name of the digest of the content that its signatures have in them."""
        return algorithms.signing(self.signer.spec).digest


def digests(chunks: Iterable[bytes], names: Iterable[str]) -> dict[str, bytes]:
    """Digests of the same content, by the names of the hash functions. Raises UnknownAlgorithm."""
    running = {name: algorithms.new_digest(name) for name in names}
    for chunk in chunks:
        for one in running.values():
            one.update(chunk)
    return {name: one.finish() for name, one in running.items()}


def load(content: bytes) -> Any:
    """The SignedData of a signature file: of those that `unwrapped` reads. Raises Malformed."""
    whole = parse(cms.ContentInfo, unwrapped(content, _WHAT), _WHAT)
    if whole["content_type"].native != "signed_data":
        raise Malformed("This is CMS, but no signature.")
    return whole["content"]


def content_of(signed: Any) -> bytes | None:
    """The content inside a SignedData, or None where it is kept apart (detached)."""
    content = signed["encap_content_info"]["content"]
    return None if isinstance(content, core.Void) else bytes(content)


def sign(
    identity: Identity,
    digest: bytes,
    *,
    signing_time: datetime | None,
    content: bytes | None = None,
    existing: Any = None,
) -> bytes:
    """A ContentInfo with a SignedData in DER.

    `digest` is that of the content by `identity.digest`. With `content` the signature holds the
    content. `existing`, a SignedData over the same content, keeps its signatures and gets one more.
    PAdES wants no signing time (ETSI EN 319 142-1 6.3). Raises what the signer raises.
    """
    if existing is None:
        encapsulated = cms.ContentInfo({"content_type": "data"})
        if content is not None:
            encapsulated["content"] = content
        existing = cms.SignedData(
            {
                "version": "v1",
                "digest_algorithms": [],
                "encap_content_info": encapsulated,
                "certificates": [],
                "signer_infos": [],
            }
        )
    info = _signer_info(identity, digest, signing_time, existing)
    certificates = [*existing["certificates"], identity.certificate, *identity.chain]
    fields = {
        "version": existing["version"],
        "digest_algorithms": _different([*existing["digest_algorithms"], info["digest_algorithm"]]),
        "encap_content_info": existing["encap_content_info"],
        "certificates": [cms.CertificateChoices.load(der) for der in _encodings(certificates)],
        "signer_infos": [*existing["signer_infos"], info],
    }
    if existing["crls"]:
        fields["crls"] = existing["crls"]
    signed = cms.SignedData(fields)
    whole = cms.ContentInfo({"content_type": "signed_data", "content": signed})
    return bytes(whole.dump())


def _encodings(values: Iterable[Any]) -> list[bytes]:
    return list(dict.fromkeys(one.dump() for one in values))


def _different(values: list[Any]) -> list[Any]:
    return list({one["algorithm"].dotted: one for one in reversed(values)}.values())


def _signer_info(
    identity: Identity, digest: bytes, signing_time: datetime | None, signed: Any
) -> cms.SignerInfo:
    algorithm = algorithms.signing(identity.signer.spec)
    kind = signed["encap_content_info"]["content_type"].native
    values: list[tuple[str, object]] = [
        ("content_type", kind),
        ("message_digest", digest),
        ("signing_certificate_v2", _signing_certificate(identity)),
    ]
    if signing_time is not None:
        values.append(("signing_time", _time(signing_time)))
    attributes = cms.CMSAttributes([{"type": name, "values": [one]} for name, one in values])
    body = identity.certificate["tbs_certificate"]
    return cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": {
                        "issuer": body["issuer"],
                        "serial_number": body["serial_number"],
                    }
                }
            ),
            "digest_algorithm": algorithms.digest_identifier(algorithm.digest),
            "signed_attrs": attributes,
            "signature_algorithm": algorithm.identifier(),
            "signature": identity.signer.sign(attributes.dump()),
        }
    )


def _time(moment: datetime) -> cms.Time:
    """RFC 5652 11.3: UTCTime through the year 2049, GeneralizedTime from then on."""
    name = "utc_time" if moment.year < 2050 else "generalized_time"
    return cms.Time(name=name, value=moment)


def _signing_certificate(identity: Identity) -> tsp.SigningCertificateV2:
    """RFC 5035 3: the digest of the certificate, with its issuer and number."""
    # Few programs take SHAKE256 here; SHA-512 is as strong.
    name = {"shake256": "sha512"}.get(identity.digest, identity.digest)
    found = identity.certificate
    one = tsp.ESSCertIDv2(
        {
            "hash_algorithm": {"algorithm": name},
            "cert_hash": digests([found.dump()], [name])[name],
            "issuer_serial": {
                "issuer": [x509.GeneralName(name="directory_name", value=found.issuer)],
                "serial_number": found.serial_number,
            },
        }
    )
    return tsp.SigningCertificateV2({"certs": [one]})
