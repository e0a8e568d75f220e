"""Containers of a private key and its certificates: PKCS #12 (RFC 7292), with GOST RFC 9548."""

import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto import cms, pkcs12

from host_tools.pki import pbes2
from host_tools.pki.algorithms import normalized
from host_tools.pki.asn1 import core, keys, named_algorithm, parse, x509
from host_tools.pki.errors import Malformed, UnknownAlgorithm
from host_tools.pki.pbes2 import WrongPassphrase
from token_fw.crypto import CryptoError, Hash, KeyKind, PrivateKey, load_private
from token_fw.crypto.gost.kdf import StreebogHmac

_WHAT: Final = "PKCS #12 container"
_MOST_ITERATIONS: Final = 10_000_000
_MAC_SALT_BYTES: Final = 16
_MACS: Final = (Hash.STREEBOG512, "sha1", "sha224", "sha256", "sha384", "sha512")
_GOST_KINDS: Final = (KeyKind.GOST_256, KeyKind.GOST_512)


@dataclass(frozen=True, slots=True)
class Container:
    """A private key and certificates, that of the key first where it is there."""

    key: PrivateKey
    certificates: tuple[Any, ...]


def is_container(content: bytes) -> bool:
    """Whether the bytes (DER) begin as a container does: a SEQUENCE with the version 3."""
    try:
        return bool(pkcs12.Pfx.load(content)["version"].native == "v3")
    except (ValueError, TypeError, KeyError):
        return False


def read(content: bytes, passphrase: str) -> Container:
    """Open a container.

    Raises WrongPassphrase, Malformed, or UnknownAlgorithm for one that is protected otherwise than
    by a passphrase, a MAC and PBES2.
    """
    pfx = parse(pkcs12.Pfx, content, _WHAT)
    if pfx["auth_safe"]["content_type"].native != "data":
        raise UnknownAlgorithm("The container is signed rather than under a passphrase.")
    safe = pfx["auth_safe"]["content"].native
    _check_mac(pfx["mac_data"], safe, passphrase)
    private: list[bytes] = []
    certificates: list[Any] = []
    for one in parse(pkcs12.AuthenticatedSafe, safe, _WHAT):
        for bag in _bags(one, passphrase):
            _sort(bag, passphrase, private, certificates)
    if not private:
        raise Malformed("There is no private key in the container.")
    try:
        key = load_private(private[0])
    except CryptoError as error:
        raise UnknownAlgorithm(f"The key in the container cannot be used: {error}.") from error
    own = key.public().to_spki()
    ordered = sorted(certificates, key=lambda one: normalized(one.public_key.dump()) != own)
    return Container(key, tuple(ordered))


def _bags(info: Any, passphrase: str) -> Any:
    """The bags in one part of the container."""
    kind = info["content_type"].native
    if kind == "data":
        content = info["content"].native
    elif kind == "encrypted_data":
        return _unsealed(info["content"]["encrypted_content_info"], passphrase.encode())
    else:
        raise UnknownAlgorithm(f"A part of the container is {kind}, which needs another key.")
    return parse(pkcs12.SafeContents, content, _WHAT)


def _unsealed(encrypted: Any, passphrase: bytes) -> Any:
    algorithm = encrypted["content_encryption_algorithm"]
    cryptogram = encrypted["encrypted_content"].native
    try:
        content = pbes2.unseal(algorithm, cryptogram, passphrase)
        return parse(pkcs12.SafeContents, content, _WHAT)
    except (Malformed, WrongPassphrase):
        # The MAC was right, so the passphrase is: it may be gost-engine's.
        content = pbes2.unseal(algorithm, cryptogram, passphrase, pbes2.ENGINE_SECTION)
        return parse(pkcs12.SafeContents, content, _WHAT)


def _sort(bag: Any, passphrase: str, private: list[bytes], certificates: list[Any]) -> None:
    kind, value = bag["bag_id"].native, bag["bag_value"]
    if kind == "pkcs8_shrouded_key_bag":
        private.append(pbes2.decrypt(value, passphrase.encode()))
    elif kind == "key_bag":
        private.append(value.untag().dump())
    elif kind == "cert_bag" and value["cert_id"].native == "x509":
        certificates.append(value["cert_value"].parsed)


def _check_mac(mac: Any, content: bytes, passphrase: str) -> None:
    if mac.native is None:
        raise UnknownAlgorithm("The container has no MAC under a passphrase.")
    named = mac["mac"]["digest_algorithm"]["algorithm"]
    algorithm = named.native
    if algorithm not in _MACS:
        raise UnknownAlgorithm(f"The MAC of the container is by {named_algorithm(named)}.")
    code = _code(algorithm, content, passphrase, mac["mac_salt"].native, mac["iterations"].native)
    if not hmac.compare_digest(code, mac["mac"]["digest"].native):
        raise WrongPassphrase("The passphrase is wrong, or the container was changed.")


def _code(algorithm: str, content: bytes, passphrase: str, salt: bytes, iterations: int) -> bytes:
    """The MAC by the name of its hash: of RFC 9548 4 with Streebog, else of RFC 7292 4, B."""
    if not 1 <= iterations <= _MOST_ITERATIONS:
        raise UnknownAlgorithm(f"{iterations} iterations for the MAC of the container are odd.")
    if algorithm == Hash.STREEBOG512:
        key = pbes2.derived(Hash.STREEBOG512, passphrase.encode(), salt, iterations, 96)[-32:]
        return StreebogHmac(64, key).of(content)
    return hmac.digest(_mac_key(algorithm, passphrase, salt, iterations), content, algorithm)


def _mac_key(algorithm: str, passphrase: str, salt: bytes, iterations: int) -> bytes:
    """The key of a MAC (RFC 7292 B.2, ID 3), which is as long as one digest."""
    block = hashlib.new(algorithm).block_size

    def filled(text: bytes) -> bytes:
        length = -(-len(text) // block) * block
        return (text * (length // max(len(text), 1) + 1))[:length]

    value = bytes([3]) * block + filled(salt) + filled(passphrase.encode("utf-16-be") + bytes(2))
    for _ in range(iterations):
        value = hashlib.new(algorithm, value).digest()
    return value


def write(key: PrivateKey, certificates: list[Any], name: str, passphrase: str) -> bytes:
    """A container (DER) with a key, its certificate and those above it, under a passphrase.

    With AES-256 and SHA-256; that of a GOST key with Kuznyechik and Streebog (RFC 9548).
    """
    gost = key.spec.kind in _GOST_KINDS
    protection = pbes2.GOST if gost else pbes2.AES
    secret = passphrase.encode()
    shrouded = pbes2.encrypt(key.to_pkcs8(), secret, protection)
    identifier = hashlib.sha1(key.public().to_spki(), usedforsecurity=False).digest()
    named = [
        {"type": "friendly_name", "values": [name]},
        {"type": "local_key_id", "values": [identifier]},
    ]
    keys_part = pkcs12.SafeContents(
        [
            {
                "bag_id": "pkcs8_shrouded_key_bag",
                "bag_value": keys.EncryptedPrivateKeyInfo.load(shrouded),
                "bag_attributes": named,
            }
        ]
    )
    own = key.public().to_spki()
    bags = [
        _certificate_bag(one, named if normalized(one.public_key.dump()) == own else [])
        for one in certificates
    ]
    parts = [
        {"content_type": "encrypted_data", "content": _sealed(part, protection, secret)}
        for part in _portions(bags)
    ]
    kept = {"content_type": "data", "content": core.OctetString(keys_part.dump())}
    safe = pkcs12.AuthenticatedSafe([*parts, kept]).dump()
    return _with_mac(safe, passphrase, protection)


def _portions(bags: list[Any]) -> Iterator[Any]:
    """The bags as SafeContents, each shorter than gost-engine's section where that can be."""
    portion = pkcs12.SafeContents([])
    for bag in bags:
        longer = pkcs12.SafeContents([*portion, bag])
        if len(portion) and len(longer.dump()) > pbes2.ENGINE_SECTION:
            yield portion
            longer = pkcs12.SafeContents([bag])
        portion = longer
    yield portion


def _sealed(bags: Any, protection: pbes2.Protection, passphrase: bytes) -> Any:
    algorithm, cryptogram = pbes2.seal(protection, bags.dump(), passphrase)
    return cms.EncryptedData(
        {
            "version": "v0",
            "encrypted_content_info": {
                "content_type": "data",
                "content_encryption_algorithm": algorithm,
                "encrypted_content": cryptogram,
            },
        }
    )


def _certificate_bag(certificate: x509.Certificate, attributes: list[Any]) -> Any:
    bag = {
        "bag_id": "cert_bag",
        "bag_value": {"cert_id": "x509", "cert_value": certificate},
    }
    return pkcs12.SafeBag({**bag, "bag_attributes": attributes} if attributes else bag)


def _with_mac(safe: bytes, passphrase: str, protection: pbes2.Protection) -> bytes:
    algorithm, salt = protection.prf.value, os.urandom(_MAC_SALT_BYTES)
    made = pkcs12.Pfx(
        {
            "version": "v3",
            "auth_safe": {"content_type": "data", "content": core.OctetString(safe)},
            "mac_data": {
                "mac": {
                    "digest_algorithm": {"algorithm": algorithm},
                    "digest": _code(algorithm, safe, passphrase, salt, protection.iterations),
                },
                "mac_salt": salt,
                "iterations": protection.iterations,
            },
        }
    )
    return bytes(made.dump())
