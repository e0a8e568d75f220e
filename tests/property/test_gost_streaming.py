"""Kuznyechik and Magma give the same in parts of any length as in one piece, and back."""

from hypothesis import given
from hypothesis import strategies as st

from token_fw.crypto import (
    Cbc,
    Cmac,
    CtrAcpkm,
    Ecb,
    KeyKind,
    Mgm,
    Running,
    SecretKey,
    SymmetricScheme,
    block_size,
    secret_key,
)

PARTS = st.lists(st.binary(max_size=40), max_size=6)
KEYS = st.builds(
    secret_key,
    st.sampled_from([KeyKind.KUZNYECHIK, KeyKind.MAGMA]),
    st.binary(min_size=32, max_size=32),
)


@st.composite
def keys_with_schemes(draw: st.DrawFn) -> tuple[SecretKey, SymmetricScheme]:
    key = draw(KEYS)
    size = block_size(key.spec)

    def block(length: int) -> bytes:
        return draw(st.binary(min_size=length, max_size=length))

    nonce = block(size)
    schemes: list[SymmetricScheme] = [
        Ecb(),
        Cbc(block(size * draw(st.integers(1, 3))), padded=draw(st.booleans())),
        CtrAcpkm(block(size // 2), section=size * draw(st.integers(0, 4))),
        Mgm(bytes((nonce[0] & 0x7F,)) + nonce[1:], b"x" + draw(st.binary(max_size=40))),
    ]
    return key, draw(st.sampled_from(schemes))


def in_parts(running: Running, parts: list[bytes]) -> bytes:
    return b"".join([*map(running.update, parts), running.finish()])


@given(keys_with_schemes(), PARTS, st.integers(1, 20))
def test_ciphers_do_not_see_where_the_parts_end(
    key_and_scheme: tuple[SecretKey, SymmetricScheme], parts: list[bytes], step: int
) -> None:
    key, scheme = key_and_scheme
    plain = b"".join(parts)
    if not isinstance(scheme, CtrAcpkm | Mgm):
        missing = -len(plain) % block_size(key.spec)
        parts, plain = [*parts, bytes(missing)], plain + bytes(missing)
    cryptogram = in_parts(key.encryptor(scheme), parts)
    assert cryptogram == key.encrypt(scheme, plain)
    pieces = [cryptogram[at : at + step] for at in range(0, len(cryptogram), step)]
    assert in_parts(key.decryptor(scheme), pieces) == plain


@given(KEYS, PARTS)
def test_codes_do_not_see_where_the_parts_end(key: SecretKey, parts: list[bytes]) -> None:
    scheme = Cmac(block_size(key.spec))
    whole, running = key.mac(scheme), key.mac(scheme)
    whole.update(b"".join(parts))
    for part in parts:
        running.update(part)
    kept = running.copy()
    running.update(b"more")
    assert kept.finish() == whole.finish() != running.finish()
