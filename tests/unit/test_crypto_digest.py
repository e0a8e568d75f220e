"""Digests and the DigestInfo around them."""

import subprocess

import pytest
from asn1crypto.algos import DigestInfo

from token_fw.crypto import DataLength, Hash, Unsupported, digest, digest_info

# FIPS 180-4 and FIPS 202: the digests of "abc".
OF_ABC = {
    Hash.SHA1: "a9993e364706816aba3e25717850c26c9cd0d89d",
    Hash.SHA224: "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
    Hash.SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    Hash.SHA3_224: "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
    Hash.SHA3_256: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
}


@pytest.mark.parametrize("hash_", OF_ABC)
def test_published_digests(hash_: Hash) -> None:
    assert digest.compute(hash_, b"abc").hex() == OF_ABC[hash_]


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_openssl_computes_the_same(hash_: Hash) -> None:
    name = hash_.value.replace("sha3_", "sha3-")
    told = subprocess.run(
        ["openssl", "dgst", f"-{name}", "-binary"],
        input=b"abc" * 999,
        capture_output=True,
        check=True,
    ).stdout
    assert digest.compute(hash_, b"abc" * 999) == told
    assert len(told) == hash_.size


@pytest.mark.parametrize("hash_", Hash)
def test_parts_give_the_digest_of_the_whole(hash_: Hash) -> None:
    running = digest.new(hash_)
    running.update(b"ab")
    branch = running.copy()
    running.update(b"c")
    branch.update(b"d")
    assert running.hash is branch.hash is hash_
    assert running.finish() == digest.compute(hash_, b"abc")
    assert branch.finish() == digest.compute(hash_, b"abd")


@pytest.mark.parametrize("hash_", digest.ALGORITHMS)
def test_digest_info_names_the_hash(hash_: Hash) -> None:
    value = digest.compute(hash_, b"abc")
    info = DigestInfo.load(digest_info(hash_, value), strict=True)
    assert info["digest_algorithm"]["algorithm"].native == hash_.value
    assert info["digest_algorithm"]["parameters"].native is None
    assert info["digest"].native == value


@pytest.mark.parametrize("hash_", [Hash.STREEBOG256, Hash.STREEBOG512])
def test_streebog_has_no_digest_info(hash_: Hash) -> None:
    with pytest.raises(Unsupported, match=hash_.name):
        digest_info(hash_, digest.compute(hash_, b"abc"))


def test_a_digest_of_another_hash_is_refused() -> None:
    with pytest.raises(DataLength):
        digest_info(Hash.SHA256, bytes(20))
