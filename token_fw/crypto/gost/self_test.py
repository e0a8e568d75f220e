"""Known answers, by which an implementation shows that it can be trusted."""

from __future__ import annotations

from typing import Final

from token_fw.crypto.gost.interface import Backend
from token_fw.crypto.gost.parameter_sets import PARAMETER_SETS, ParameterSet

_MESSAGE: Final = b"012345678901234567890123456789012345678901234567890123456789012"
_DIGESTS: Final = {
    32: "9d151eefd8590b89daa6ba6cb74af9275dd051026bb149a452fd84e5e57b5500",
    64: (
        "1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa"
        "00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48"
    ),
}
"""M1 of RFC 6986 10.1."""

KNOWN_SIGNATURES: Final = {
    "tc26-256-A": (
        "232ae5a94235d1dfa107552641d8ed05e414b164092644b06c3f7a2cb768533a"
        "1909624f00d6635e12b94d29e5c93e0bf0e9229c7b9524e02c7bb3765615fc5a"
    ),
    "CryptoPro-A": (
        "59843cda6a4739559fb94c16ec76c332b03ef4a96fcb5f193a31881775348667"
        "d676c54738417412196e6cd437129858d295fba11bfc2b4d1d73188594c536ca"
    ),
    "CryptoPro-B": (
        "630db08bb69c78d6123613ed85d787e1c530ca9542f5484b6d03d366ed63217e"
        "09a50abe7cd0ce753e2e01d5ab684d81dfedbaf4c5645a46a47dcc0621b5449d"
    ),
    "CryptoPro-C": (
        "2ccde1ee152a58bbd4247f052d164348715be24f0088ac6df5bbf5cbd22313f3"
        "8dc1525b5c8582cf33f0a84997d611ff9c722ac74f0ddc1c086e5af722888d27"
    ),
    "tc26-512-A": (
        "5a82f2bd9ab4e934c18648179aed65a21c0e8510e18cbdb64ffecba3f8e7d94a"
        "57c4cdf26b2cc168132d714de8fa0628e24f4e23469a1542300d810c8e3f9b37"
        "d068b49ce9fd65c4a27f205cc430251e529803ff87f3dba05cd1b3c66f7a84ba"
        "b1a4c3305139ef3fed425abb161d02bac8ad73590308780a22ab19c0ef374f6b"
    ),
    "tc26-512-B": (
        "039d8dbbdea27b8407c1d860b61a276e44ab2efa1a79c3bcc275dc742fd30d86"
        "1e4c69210855d3849d22d60c3f075095d4c5d120577b844ab382e566ac76d921"
        "49f4290c81fed79ce72766dc6c87ae4d6058bbe0f829d3f0c3d92b3c9b59f8a4"
        "95de6f0de11fcb400ea34e1d16426ca3c0faa995a29bfd33c6dae125bb5b0e17"
    ),
    "tc26-512-C": (
        "1c31ea44c849bf1b4aeed05b1164cc521b787cd947c995ea2677d32c9db20625"
        "476fa30659e7d75999e4a8731cd3583fc5ee87e81f48660a65468f8117bb83b0"
        "1e4cf057a6fd1a775c4c477f326e3e5d935d94051b5269d6329bc7af77934d51"
        "f80c6d8fdc9d9101fb3ac70de028b87b52ac9f9369a66d774c4dc968c7f9d8ab"
    ),
    "tc26-256-B": (
        "59843cda6a4739559fb94c16ec76c332b03ef4a96fcb5f193a31881775348667"
        "d676c54738417412196e6cd437129858d295fba11bfc2b4d1d73188594c536ca"
    ),
    "tc26-256-C": (
        "630db08bb69c78d6123613ed85d787e1c530ca9542f5484b6d03d366ed63217e"
        "09a50abe7cd0ce753e2e01d5ab684d81dfedbaf4c5645a46a47dcc0621b5449d"
    ),
    "tc26-256-D": (
        "2ccde1ee152a58bbd4247f052d164348715be24f0088ac6df5bbf5cbd22313f3"
        "8dc1525b5c8582cf33f0a84997d611ff9c722ac74f0ddc1c086e5af722888d27"
    ),
    "CryptoPro-XchA": (
        "59843cda6a4739559fb94c16ec76c332b03ef4a96fcb5f193a31881775348667"
        "d676c54738417412196e6cd437129858d295fba11bfc2b4d1d73188594c536ca"
    ),
    "CryptoPro-XchB": (
        "2ccde1ee152a58bbd4247f052d164348715be24f0088ac6df5bbf5cbd22313f3"
        "8dc1525b5c8582cf33f0a84997d611ff9c722ac74f0ddc1c086e5af722888d27"
    ),
}
"""By the parameter set, s || r of the digest 00 01 02 … with d = 010203… and k = 020304…."""


def known_number(parameters: ParameterSet, first: int = 1) -> int:
    """The number of the known answers: bytes that count up from the first."""
    return int.from_bytes(bytes(range(first, first + parameters.size)), "big")


def failure(backend: Backend) -> str:
    """What the implementation gets wrong; empty where it gets everything right."""
    for size, expected in _DIGESTS.items():
        if _digest_in_parts(backend, size).hex() != expected:
            return f"{backend.name} fails its self-test: Streebog of {size} bytes"
    for parameters in PARAMETER_SETS.values():
        if not _signs(backend, parameters):
            return f"{backend.name} fails its self-test: signatures with {parameters.name}"
    return ""


def _digest_in_parts(backend: Backend, size: int) -> bytes:
    state = backend.streebog(size)
    state.update(_MESSAGE[:5])
    other = state.copy()
    state.update(b"something else")
    other.update(_MESSAGE[5:])
    return other.digest()


def _signs(backend: Backend, parameters: ParameterSet) -> bool:
    """Whether it takes the known signature and its own, and none that is a little different."""
    digest = bytes(range(parameters.size))
    known = bytes.fromhex(KNOWN_SIGNATURES[parameters.name])
    private = backend.private(parameters, known_number(parameters))
    public = backend.public(parameters, private.point)
    taken = all(public.verify(digest, signature) for signature in (known, private.sign(digest)))
    return taken and not any(
        public.verify(digest, signature) for signature in wrong_signatures(parameters, known)
    )


def wrong_signatures(parameters: ParameterSet, right: bytes) -> list[bytes]:
    """Signatures made wrong: a bit changed, out of range, cut."""
    size = parameters.size
    s, r = right[:size], right[size:]
    nothing, order = bytes(size), parameters.q.to_bytes(size, "big")
    return [
        right[:-1] + bytes((right[-1] ^ 1,)),
        s + nothing,
        nothing + r,
        nothing + nothing,
        s + order,
        order + r,
        right[:-1],
        b"",
    ]
