"""asn1crypto with the identifiers of GOST and of Russian certificates, and strict reading by it.

Take the structures from here: this module makes asn1crypto's know RFC 9215's keys, signatures and
hashes, and the names and extensions of Order 795 of the FSB of Russia.
"""

from typing import Any, Final, TypeVar

from asn1crypto import algos, core, keys, pem, x509

from host_tools.pki.errors import Malformed

__all__ = [
    "GOST_DIGESTS",
    "GOST_KEYS",
    "GOST_SIGNATURES",
    "IssuerSignTool",
    "algos",
    "blocks",
    "core",
    "keys",
    "named_algorithm",
    "parse",
    "pem",
    "read",
    "read_certificates",
    "x509",
]

_T = TypeVar("_T", bound=core.Asn1Value)
_PEM: Final = b"-----BEGIN"

GOST_KEYS: Final = {
    "1.2.643.7.1.1.1.1": "gostr3410_2012_256",
    "1.2.643.7.1.1.1.2": "gostr3410_2012_512",
}
GOST_DIGESTS: Final = {
    "1.2.643.7.1.1.2.2": "streebog256",
    "1.2.643.7.1.1.2.3": "streebog512",
}
GOST_SIGNATURES: Final = {
    "1.2.643.7.1.1.3.2": "streebog256_gostr3410",
    "1.2.643.7.1.1.3.3": "streebog512_gostr3410",
}
_GOST_HMACS: Final = {
    "1.2.643.7.1.1.4.1": "streebog256",
    "1.2.643.7.1.1.4.2": "streebog512",
}
_GOST_CIPHERS: Final = {
    "1.2.643.7.1.1.5.1.1": "magma_ctr_acpkm",
    "1.2.643.7.1.1.5.1.2": "magma_ctr_acpkm_omac",
    "1.2.643.7.1.1.5.2.1": "kuznyechik_ctr_acpkm",
    "1.2.643.7.1.1.5.2.2": "kuznyechik_ctr_acpkm_omac",
}
# What is met in containers and not read here, by names that people search for.
_COMMON_NAMES: Final = {
    "1.2.840.113549.1.12.1.1": "128-bit RC4 of PKCS #12",
    "1.2.840.113549.1.12.1.2": "40-bit RC4 of PKCS #12",
    "1.2.840.113549.1.12.1.3": "3DES of PKCS #12",
    "1.2.840.113549.1.12.1.4": "two-key 3DES of PKCS #12",
    "1.2.840.113549.1.12.1.5": "128-bit RC2 of PKCS #12",
    "1.2.840.113549.1.12.1.6": "40-bit RC2 of PKCS #12",
    "1.2.643.2.2.9": "GOST R 34.11-94",
    "1.2.643.2.2.21": "GOST 28147-89",
    "1.2.643.7.1.1.2.2": "Streebog-256",
    "1.2.643.7.1.1.5.1.2": "Magma-CTR-ACPKM-OMAC",
    "1.2.643.7.1.1.5.2.2": "Kuznyechik-CTR-ACPKM-OMAC",
}


def named_algorithm(identifier: Any) -> str:
    """An algorithm's identifier as messages have it: a common name, then the number."""
    name = _COMMON_NAMES.get(identifier.dotted, identifier.native)
    return identifier.dotted if name == identifier.dotted else f"{name} ({identifier.dotted})"


RUSSIAN_NAMES: Final = {
    "1.2.643.3.131.1.1": "inn",
    "1.2.643.100.1": "ogrn",
    "1.2.643.100.3": "snils",
    "1.2.643.100.4": "innle",
    "1.2.643.100.5": "ogrnip",
}


class GostCipherParameters(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """Gost3412-15-Encryption-Parameters (RFC 9337 7.3)."""

    _fields = [("ukm", core.OctetString)]  # noqa: RUF012  the form asn1crypto takes


class IssuerSignTool(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """The issuer's tools and their conformity (Order 795, 1.2.643.100.112)."""

    _fields = [  # noqa: RUF012  the form asn1crypto takes
        ("sign_tool", core.UTF8String),
        ("ca_tool", core.UTF8String),
        ("sign_tool_cert", core.UTF8String),
        ("ca_tool_cert", core.UTF8String),
    ]

    @classmethod
    def of(cls, parts: tuple[str, str, str, str]) -> "IssuerSignTool":
        """Its four fields in their order."""
        names = ("sign_tool", "ca_tool", "sign_tool_cert", "ca_tool_cert")
        return cls(dict(zip(names, parts, strict=True)))


_EXTENSIONS: Final[dict[str, tuple[str, Any]]] = {
    "1.2.643.100.111": ("subject_sign_tool", core.UTF8String),
    "1.2.643.100.112": ("issuer_sign_tool", IssuerSignTool),
    "1.2.643.100.114": ("identification_kind", core.Integer),
}


def _add(identifiers: Any, names: dict[str, str]) -> None:
    identifiers()._setup()  # makes the reverse map where there is none yet
    identifiers._map.update(names)
    identifiers._reverse_map.update({name: oid for oid, name in names.items()})


def _key_spec(info: Any) -> Any:
    """What the BIT STRING of a key holds; that of an unknown kind is left as it is."""
    name = info["algorithm"]["algorithm"].native
    if name in GOST_KEYS.values():
        return core.OctetString
    try:
        return _standard_key_spec(info)
    except KeyError:
        return core.OctetBitString, None


def _private_key_spec(info: Any) -> Any:
    """The same of a private key: None leaves it as it is."""
    try:
        return _standard_private_key_spec(info)
    except KeyError:
        return None


_standard_private_key_spec = keys.PrivateKeyInfo._private_key_spec
keys.PrivateKeyInfo._spec_callbacks = {"private_key": _private_key_spec}
_standard_key_spec = keys.PublicKeyInfo._public_key_spec
keys.PublicKeyInfo._spec_callbacks = {"public_key": _key_spec}
_add(keys.PublicKeyAlgorithmId, GOST_KEYS)
_add(keys.PrivateKeyAlgorithmId, GOST_KEYS)
_add(algos.DigestAlgorithmId, GOST_DIGESTS)
# CMS may name the key's algorithm where the signature's is meant (RFC 5652 10.1.2).
_add(algos.SignedDigestAlgorithmId, GOST_SIGNATURES | GOST_KEYS)
_add(algos.HmacAlgorithmId, _GOST_HMACS)
_add(algos.EncryptionAlgorithmId, _GOST_CIPHERS)
algos.EncryptionAlgorithm._oid_specs.update(
    dict.fromkeys(_GOST_CIPHERS.values(), GostCipherParameters)
)
_add(x509.NameType, RUSSIAN_NAMES)
x509.NameTypeAndValue._oid_specs.update(dict.fromkeys(RUSSIAN_NAMES.values(), core.NumericString))
_add(x509.ExtensionId, {oid: name for oid, (name, _) in _EXTENSIONS.items()})
x509.Extension._oid_specs.update(dict(_EXTENSIONS.values()))


def parse(kind: type[_T], der: bytes, what: str) -> _T:
    """Read a whole DER structure, down to its last part. Raises Malformed, which names ``what``."""
    try:
        value = kind.load(der, strict=True)
        # It is read lazily: this finds what is wrong with a part now and not at its first use.
        _ = value.native
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Malformed(f"This is no {what}, or it is damaged.") from error
    assert isinstance(value, kind)
    return value


def blocks(content: bytes, what: str) -> list[tuple[str, bytes]]:
    """The label and the DER of each block of a PEM file; of a DER file an empty label and itself.

    Raises Malformed for broken armour.
    """
    if _PEM not in content:
        return [("", content)]
    try:
        return [(label, der) for label, _, der in pem.unarmor(content, multiple=True)]
    except (ValueError, TypeError) as error:
        raise Malformed(f"This is no {what}: its PEM armour is broken.") from error


def read(kind: type[_T], content: bytes, what: str, *labels: str) -> _T:
    """The structure in a DER file, or the first under one of these labels in a PEM file.

    Raises Malformed.
    """
    for label, der in blocks(content, what):
        if not label or label in labels:
            return parse(kind, der, what)
    raise Malformed(f"There is no {what} in it.")


def read_certificates(content: bytes) -> list[x509.Certificate]:
    """The certificate in a DER file, or all of a PEM file, in their order. Raises Malformed."""
    found = [
        parse(x509.Certificate, der, "certificate")
        for label, der in blocks(content, "certificate")
        if label in ("", "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
    ]
    if not found:
        raise Malformed("There is no certificate in it.")
    return found
