"""Every key kind and scheme against OpenSSL's command line: made here, checked there, and back."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from token_fw.crypto import (
    CURVES,
    Ecdsa,
    EdDsa,
    Hash,
    KeySpec,
    PrivateKey,
    RsaOaep,
    RsaPkcs1,
    RsaPss,
    RsaRaw,
    digest,
    digest_info,
    generate,
    load_private,
    load_public,
)

# Its first bit is set, so that it fills its length.
LONG_DIGEST = b"\xb5" + bytes(range(1, 100))
MESSAGE = b"Pay 10 roubles to Ivan Petrov"
RSA_SIZES = (2048, 3072, 4096)
SPECS = (
    *(KeySpec.rsa(bits) for bits in RSA_SIZES),
    *(KeySpec.ec(curve) for curve in CURVES),
    KeySpec.ED25519,
    KeySpec.X25519,
    KeySpec.ED448,
    KeySpec.X448,
)
OPENSSL_NAMES = {
    Hash.SHA1: "sha1",
    Hash.SHA224: "sha224",
    Hash.SHA256: "sha256",
    Hash.SHA384: "sha384",
    Hash.SHA512: "sha512",
    Hash.SHA3_224: "sha3-224",
    Hash.SHA3_256: "sha3-256",
    Hash.SHA3_384: "sha3-384",
    Hash.SHA3_512: "sha3-512",
}


@cache
def key_of(spec: KeySpec) -> PrivateKey:
    return generate(spec)


class OpenSsl:
    """OpenSSL's command line at work on one key."""

    def __init__(self, folder: Path, key: PrivateKey) -> None:
        self.folder = folder
        self.private = self.file("private.der", key.to_pkcs8())
        self.public = self.file("public.der", key.public().to_spki())

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def run(self, *arguments: str) -> bytes:
        done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        return done.stdout

    def pkeyutl(self, operation: str, data: bytes, *options: str) -> bytes:
        return self.run("pkeyutl", operation, "-in", self.file("data", data), *options)

    def with_private(self, operation: str, data: bytes, *options: str) -> bytes:
        return self.pkeyutl(operation, data, "-inkey", self.private, "-keyform", "DER", *options)

    def with_public(self, operation: str, data: bytes, *options: str) -> bytes:
        return self.pkeyutl(
            operation, data, "-pubin", "-inkey", self.public, "-keyform", "DER", *options
        )

    def verify(self, data: bytes, signature: bytes, *options: str) -> None:
        self.with_public("-verify", data, "-sigfile", self.file("sig", signature), *options)


def pkeyopts(**options: str | int) -> list[str]:
    return [part for name, value in options.items() for part in ("-pkeyopt", f"{name}:{value}")]


def p1363_to_der(signature: bytes) -> bytes:
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    return utils.encode_dss_signature(r, s)


def der_to_p1363(signature: bytes, size: int) -> bytes:
    r, s = utils.decode_dss_signature(signature)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_openssl_reads_both_encodings_and_finds_the_same_public_key(
    spec: KeySpec, tmp_path: Path
) -> None:
    key = key_of(spec)
    peer = OpenSsl(tmp_path, key)
    derived = peer.run("pkey", "-in", peer.private, "-inform", "DER", "-pubout", "-outform", "DER")
    assert derived == key.public().to_spki()


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [
        (KeySpec.rsa(2048), ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        (KeySpec.ec("P-256"), ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        (KeySpec.ec("P-384"), ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        (KeySpec.ec("P-521"), ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
        (KeySpec.ED25519, ["ED25519"]),
        (KeySpec.X25519, ["X25519"]),
        (KeySpec.ED448, ["ED448"]),
        (KeySpec.X448, ["X448"]),
    ],
    ids=str,
)
def test_keys_made_by_openssl_load(spec: KeySpec, algorithm: list[str], tmp_path: Path) -> None:
    pkcs8 = subprocess.run(
        ["openssl", "genpkey", "-outform", "DER", "-algorithm", *algorithm],
        capture_output=True,
        check=True,
    ).stdout
    key = load_private(pkcs8)
    assert key.spec == spec
    peer = OpenSsl(tmp_path, key)
    source = peer.file("original.der", pkcs8)
    spki = peer.run("pkey", "-in", source, "-inform", "DER", "-pubout", "-outform", "DER")
    assert key.public().to_spki() == spki
    assert load_public(spki).spec == spec


@pytest.mark.parametrize("bits", RSA_SIZES)
@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_pkcs1_signature_over_digest_info(bits: int, hash_: Hash, tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(bits))
    peer = OpenSsl(tmp_path, key)
    value = digest.compute(hash_, MESSAGE)
    data = digest_info(hash_, value)
    # OpenSSL builds the DigestInfo itself, so this also checks ours.
    options = pkeyopts(rsa_padding_mode="pkcs1", digest=OPENSSL_NAMES[hash_])
    peer.verify(value, key.sign(RsaPkcs1(), data), *options)
    key.public().verify(RsaPkcs1(), data, peer.with_private("-sign", value, *options))


@pytest.mark.parametrize("data", [b"", b"\x00", MESSAGE, bytes(range(245))], ids=len)
def test_pkcs1_signature_over_data_as_it_is(data: bytes, tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(2048))
    peer = OpenSsl(tmp_path, key)
    options = pkeyopts(rsa_padding_mode="pkcs1")
    assert peer.with_public("-verifyrecover", key.sign(RsaPkcs1(), data), *options) == data


def test_pkcs1_signature_of_openssl_over_data_as_it_is(tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(2048))
    peer = OpenSsl(tmp_path, key)
    signature = peer.with_private("-sign", MESSAGE, *pkeyopts(rsa_padding_mode="pkcs1"))
    key.public().verify(RsaPkcs1(), MESSAGE, signature)


@pytest.mark.parametrize(
    ("hash_", "mgf_hash", "salt_length"),
    [
        *((each, each, each.size) for each in digest.ALGORITHMS),
        (Hash.SHA256, Hash.SHA1, 20),
        (Hash.SHA512, Hash.SHA256, 0),
        (Hash.SHA256, Hash.SHA256, 2048 // 8 - 32 - 2),
    ],
)
def test_pss_signature(hash_: Hash, mgf_hash: Hash, salt_length: int, tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(2048))
    peer = OpenSsl(tmp_path, key)
    scheme = RsaPss(hash_, mgf_hash, salt_length)
    value = digest.compute(hash_, MESSAGE)
    options = pkeyopts(
        rsa_padding_mode="pss",
        rsa_pss_saltlen=salt_length,
        digest=OPENSSL_NAMES[hash_],
        rsa_mgf1_md=OPENSSL_NAMES[mgf_hash],
    )
    peer.verify(value, key.sign(scheme, value), *options)
    key.public().verify(scheme, value, peer.with_private("-sign", value, *options))


@pytest.mark.parametrize("bits", RSA_SIZES)
def test_pkcs1_encryption(bits: int, tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(bits))
    peer = OpenSsl(tmp_path, key)
    options = pkeyopts(rsa_padding_mode="pkcs1")
    assert key.decrypt(RsaPkcs1(), peer.with_public("-encrypt", MESSAGE, *options)) == MESSAGE
    cryptogram = key.public().encrypt(RsaPkcs1(), MESSAGE)
    assert peer.with_private("-decrypt", cryptogram, *options) == MESSAGE


@pytest.mark.parametrize(
    "scheme",
    [
        RsaOaep(Hash.SHA1, Hash.SHA1),
        RsaOaep(Hash.SHA256, Hash.SHA256),
        RsaOaep(Hash.SHA384, Hash.SHA384, b"mail"),
        RsaOaep(Hash.SHA512, Hash.SHA512),
        RsaOaep(Hash.SHA256, Hash.SHA1, b"mail"),
        RsaOaep(Hash.SHA1, Hash.SHA224),
        *(
            RsaOaep(each, each)
            for each in (Hash.SHA3_224, Hash.SHA3_256, Hash.SHA3_384, Hash.SHA3_512)
        ),
        RsaOaep(Hash.SHA3_256, Hash.SHA1, b"mail"),
        RsaOaep(Hash.SHA1, Hash.SHA3_512),
    ],
    ids=str,
)
def test_oaep_encryption(scheme: RsaOaep, tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(2048))
    peer = OpenSsl(tmp_path, key)
    options = pkeyopts(
        rsa_padding_mode="oaep",
        rsa_oaep_md=OPENSSL_NAMES[scheme.hash],
        rsa_mgf1_md=OPENSSL_NAMES[scheme.mgf_hash],
        **({"rsa_oaep_label": scheme.label.hex()} if scheme.label else {}),
    )
    assert key.decrypt(scheme, peer.with_public("-encrypt", MESSAGE, *options)) == MESSAGE
    cryptogram = key.public().encrypt(scheme, MESSAGE)
    assert peer.with_private("-decrypt", cryptogram, *options) == MESSAGE


@pytest.mark.parametrize("bits", RSA_SIZES)
def test_rsa_without_padding(bits: int, tmp_path: Path) -> None:
    key = key_of(KeySpec.rsa(bits))
    peer = OpenSsl(tmp_path, key)
    data = MESSAGE.rjust(bits // 8, b"\0")
    options = pkeyopts(rsa_padding_mode="none")
    signature = key.sign(RsaRaw(), MESSAGE)
    assert peer.with_private("-decrypt", data, *options) == signature
    assert peer.with_public("-verifyrecover", signature, *options) == data
    cryptogram = key.public().encrypt(RsaRaw(), data)
    assert peer.with_public("-encrypt", data, *options) == cryptogram
    assert peer.with_private("-decrypt", cryptogram, *options) == key.decrypt(RsaRaw(), cryptogram)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("length", [1, 20, 32, 33, 48, 49, 64])
def test_ecdsa_over_a_digest_of_any_length(curve: str, length: int, tmp_path: Path) -> None:
    key = key_of(KeySpec.ec(curve))
    peer = OpenSsl(tmp_path, key)
    value = LONG_DIGEST[:length]
    peer.verify(value, p1363_to_der(key.sign(Ecdsa(), value)))
    signature = der_to_p1363(peer.with_private("-sign", value), CURVES[curve].size)
    key.public().verify(Ecdsa(), value, signature)


@pytest.mark.parametrize("spec", [KeySpec.ED25519, KeySpec.ED448], ids=str)
@pytest.mark.parametrize("message", [b"\x00", MESSAGE, bytes(100_000)], ids=len)
def test_eddsa_signature(spec: KeySpec, message: bytes, tmp_path: Path) -> None:
    key = key_of(spec)
    peer = OpenSsl(tmp_path, key)
    signature = key.sign(EdDsa(), message)
    peer.verify(message, signature, "-rawin")
    assert peer.with_private("-sign", message, "-rawin") == signature
    key.public().verify(EdDsa(), message, signature)


@pytest.mark.parametrize(
    "spec", [*(KeySpec.ec(curve) for curve in CURVES), KeySpec.X25519, KeySpec.X448], ids=str
)
def test_both_sides_agree_on_a_secret(spec: KeySpec, tmp_path: Path) -> None:
    ours, theirs = key_of(spec), generate(spec)
    peer = OpenSsl(tmp_path, theirs)
    our_public = peer.file("ours.der", ours.public().to_spki())
    secret = peer.run(
        *("pkeyutl", "-derive", "-inkey", peer.private, "-keyform", "DER"),
        *("-peerkey", our_public, "-peerform", "DER"),
    )
    assert ours.agree(public_point(theirs)) == secret


def public_point(key: PrivateKey) -> bytes:
    point: bytes = key.public().point  # type: ignore[attr-defined]  # both kinds here have it
    return point
