"""What certificates are for, and the extensions that say so (RFC 5280 4.2)."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from host_tools.pki.asn1 import IssuerSignTool, core, x509
from host_tools.pki.certificates import key_identifier
from host_tools.pki.errors import PkiError


@dataclass(frozen=True, slots=True)
class Profile:
    """A purpose. ``usage`` and ``extended`` are asn1crypto's names of the bits and purposes."""

    title: str
    usage: tuple[str, ...]
    extended: tuple[str, ...] = ()
    authority: bool = False
    qualified: bool = False
    """Whether it has what Order 795 asks for: the tools of subject and issuer, and a policy."""
    names_host: bool = False
    """Whether it has to have alternative names: what is checked is never the subject."""
    unchecked: bool = False
    """Whether its revocation is not asked about, as it tells of that (RFC 6960 4.2.2.2)."""


PROFILES: Final = {
    "server": Profile("TLS server", ("digital_signature",), ("server_auth",), names_host=True),
    "client": Profile("login and TLS client", ("digital_signature",), ("client_auth",)),
    "signing": Profile(
        "signatures of documents and mail",
        ("digital_signature", "non_repudiation"),
        ("email_protection",),
    ),
    "qualified": Profile(
        "signatures, in the style of Russian qualified certificates",
        ("digital_signature", "non_repudiation"),
        ("client_auth", "email_protection"),
        qualified=True,
    ),
    "ca": Profile("certification authority", ("key_cert_sign", "crl_sign"), authority=True),
    "ocsp": Profile("OCSP responder", ("digital_signature",), ("ocsp_signing",), unchecked=True),
}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where an authority publishes: its CRLs, its OCSP responder, its own certificate."""

    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()
    issuer: tuple[str, ...] = ()


_HOST: Final = re.compile(r"[A-Za-z0-9*][A-Za-z0-9.:-]*")
# Class KC1 of the means of signing (Order 795).
_KC1: Final = "1.2.643.100.113.1"
_PERSONALLY: Final = 0
_TOOL: Final = "Klyuch"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a certificate is to have beside what its profile gives it.

    ``names`` are alternative names as :func:`alternative_names` gives them. ``issuer_tools`` are
    the means of signing and of the authority, and the document on each.
    """

    names: Any = None
    urls: Urls = field(default_factory=Urls)
    policies: tuple[str, ...] = ()
    path_length: int | None = None
    tool: str = _TOOL
    issuer_tools: tuple[str, str, str, str] = (_TOOL, _TOOL, "-", "-")
    identification: int = _PERSONALLY


def extensions(
    profile: Profile | None, wishes: Wishes, info: Any, authority: bytes | None = None
) -> list[Any]:
    """All extensions of a certificate for the key ``info`` by the key of that identifier.

    Without an ``authority`` it is a request's: the identifiers of keys are then left out. Without
    a ``profile`` there is nothing but what is wished for.
    """
    found = [] if profile is None else [*_of_profile(profile, wishes)]
    found += _of_wishes(profile is not None and profile.qualified, wishes)
    if authority is not None:
        found.append(_extension("key_identifier", core.OctetString(key_identifier(info))))
        identified = x509.AuthorityKeyIdentifier({"key_identifier": authority})
        found.append(_extension("authority_key_identifier", identified))
    return found


def completed(profile: Profile, wishes: Wishes, subject: Any) -> Wishes:
    """The wishes with the name of the host, where the profile wants one and none was given.

    It is the subject's common name then. Raises PkiError where that is none.
    """
    if not profile.names_host or wishes.names is not None:
        return wishes
    common = [
        attribute["value"].native
        for part in subject.chosen
        for attribute in part
        if attribute["type"].native == "common_name"
    ]
    if len(common) != 1 or not _HOST.fullmatch(common[0]):
        raise PkiError(
            "A server's certificate needs the name of its host.", "Give it: --san DNS:HOST"
        )
    return replace(wishes, names=alternative_names((common[0],)))


def _extension(name: str, value: Any, *, critical: bool = False) -> Any:
    return x509.Extension({"extn_id": name, "critical": critical, "extn_value": value})


def _of_profile(profile: Profile, wishes: Wishes) -> Iterator[Any]:
    if profile.authority:
        constraints: dict[str, Any] = {"ca": True}
        if wishes.path_length is not None:
            constraints["path_len_constraint"] = wishes.path_length
        limits = x509.BasicConstraints(constraints)
    else:
        limits = x509.BasicConstraints({"ca": False})
    yield _extension("basic_constraints", limits, critical=True)
    yield _extension("key_usage", x509.KeyUsage(set(profile.usage)), critical=True)
    if profile.extended:
        yield _extension("extended_key_usage", x509.ExtKeyUsageSyntax(list(profile.extended)))
    if profile.unchecked:
        yield _extension("ocsp_no_check", core.Null())


def _of_wishes(qualified: bool, wishes: Wishes) -> Iterator[Any]:
    if wishes.names is not None:
        yield _extension("subject_alt_name", wishes.names)
    policies = wishes.policies or ((_KC1,) if qualified else ())
    if policies:
        listed = [{"policy_identifier": policy} for policy in policies]
        yield _extension("certificate_policies", x509.CertificatePolicies(listed))
    if qualified:
        yield _extension("subject_sign_tool", core.UTF8String(wishes.tool))
        yield _extension("issuer_sign_tool", IssuerSignTool.of(wishes.issuer_tools))
        yield _extension("identification_kind", core.Integer(wishes.identification))
    yield from _addresses(wishes.urls)


def _addresses(urls: Urls) -> Iterator[Any]:
    if urls.crl:
        points = [
            {"distribution_point": x509.DistributionPointName("full_name", [_uri(url)])}
            for url in urls.crl
        ]
        yield _extension("crl_distribution_points", x509.CRLDistributionPoints(points))
    access = [
        {"access_method": method, "access_location": _uri(url)}
        for method, addresses in (("ocsp", urls.ocsp), ("ca_issuers", urls.issuer))
        for url in addresses
    ]
    if access:
        yield _extension("authority_information_access", x509.AuthorityInfoAccessSyntax(access))


def _uri(url: str) -> Any:
    return x509.GeneralName("uniform_resource_identifier", url)


_NAME_KINDS: Final = {
    "dns": "dns_name",
    "email": "rfc822_name",
    "ip": "ip_address",
    "uri": "uniform_resource_identifier",
}


def alternative_names(texts: tuple[str, ...]) -> Any:
    """GeneralNames of ``DNS:host``, ``IP:address``, ``email:address`` and ``URI:address``.

    The kind may be left out where the rest tells it. Raises PkiError.
    """
    return x509.GeneralNames([_general_name(text) for text in texts])


def _general_name(text: str) -> Any:
    kind, colon, value = text.partition(":")
    if not colon or kind.lower() not in _NAME_KINDS:
        kind, value = _guessed_kind(text), text
    try:
        if kind.lower() == "ip":
            ipaddress.ip_address(value)
        if not value or not value.isprintable() or " " in value:
            raise ValueError
        return x509.GeneralName(_NAME_KINDS[kind.lower()], value)
    except (ValueError, TypeError) as error:
        raise PkiError(
            f"{text!r} is no alternative name.",
            "Write DNS:host.example, IP:192.0.2.1, email:ann@example.com or URI:https://…",
        ) from error


def _guessed_kind(text: str) -> str:
    if "://" in text:
        return "uri"
    if "@" in text:
        return "email"
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "dns"
    return "ip"
