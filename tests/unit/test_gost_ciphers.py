"""Kuznyechik and Magma: the published examples of the ciphers, their modes and their key wrap."""

import pytest

from token_fw.crypto import (
    Cbc,
    Cmac,
    CtrAcpkm,
    DataLength,
    DecryptionFailed,
    Ecb,
    InvalidKey,
    KExp15,
    KeyKind,
    Mgm,
    SecretKey,
    SymmetricScheme,
    Unsupported,
    block_size,
    generate_secret,
    gost_private,
    secret_key,
)
from token_fw.crypto.gost.keystream import next_key
from token_fw.crypto.gost.kuznyechik import Kuznyechik
from token_fw.crypto.gost.magma import Magma
from token_fw.crypto.kinds import KeySpec

hexa = bytes.fromhex

KUZNYECHIK_VALUE = hexa("8899aabbccddeeff0011223344556677fedcba98765432100123456789abcdef")
MAGMA_VALUE = hexa("ffeeddccbbaa99887766554433221100f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
KUZNYECHIK = secret_key(KeyKind.KUZNYECHIK, KUZNYECHIK_VALUE)
MAGMA = secret_key(KeyKind.MAGMA, MAGMA_VALUE)
BOTH = pytest.mark.parametrize("key", [KUZNYECHIK, MAGMA], ids=str)

ROWS = hexa(
    "1122334455667700ffeeddccbbaa9988"
    "00112233445566778899aabbcceeff0a"
    "112233445566778899aabbcceeff0a00"
    "2233445566778899aabbcceeff0a0011"
    "33445566778899aabbcceeff0a001122"
    "445566778899aabbcceeff0a00112233"
    "5566778899aabbcceeff0a0011223344"
)
"""The plaintext of the examples of R 1323565.1.017-2018; its first 64 bytes GOST R 34.13-2015's."""

MAGMA_PLAIN = hexa("92def06b3c130a59db54c704f8189d204a98fb2e67a8024c8912409b17b57e41")
KUZNYECHIK_REGISTER = hexa("1234567890abcef0a1b2c3d4e5f0011223344556677889901213141516171819")
MAGMA_REGISTER = hexa("1234567890abcdef234567890abcdef134567890abcdef12")


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


EXAMPLES: list[tuple[str, SecretKey, SymmetricScheme, bytes, str]] = [
    (
        "34.13 A.1.1",
        KUZNYECHIK,
        Ecb(),
        ROWS[:64],
        (
            "7f679d90bebc24305a468d42b9d4edcdb429912c6e0032f9285452d76718d08b"
            "f0ca33549d247ceef3f5a5313bd4b157d0b09ccde830b9eb3a02c4c5aa8ada98"
        ),
    ),
    (
        "34.13 A.1.2",
        KUZNYECHIK,
        CtrAcpkm(hexa("1234567890abcef0")),
        ROWS[:64],
        (
            "f195d8bec10ed1dbd57b5fa240bda1b885eee733f6a13e5df33ce4b33c45dee4"
            "a5eae88be6356ed3d5e877f13564a3a5cb91fab1f20cbab6d1c6d15820bdba73"
        ),
    ),
    (
        "34.13 A.1.4",
        KUZNYECHIK,
        Cbc(KUZNYECHIK_REGISTER),
        ROWS[:64],
        (
            "689972d4a085fa4d90e52e3d6d7dcc272826e661b478eca6af1e8e448d5ea5ac"
            "fe7babf1e91999e85640e8b0f49d90d0167688065a895c631a2d9a1560b63970"
        ),
    ),
    (
        "34.13 A.2.1",
        MAGMA,
        Ecb(),
        MAGMA_PLAIN,
        "2b073f0494f372a0de70e715d3556e4811d8d9e9eacfbc1e7c68260996c67efb",
    ),
    (
        "34.13 A.2.2",
        MAGMA,
        CtrAcpkm(hexa("12345678")),
        MAGMA_PLAIN,
        "4e98110c97b7b93c3e250d93d6e85d69136d868807b2dbef568eb680ab52a12d",
    ),
    (
        "34.13 A.2.4",
        MAGMA,
        Cbc(MAGMA_REGISTER),
        MAGMA_PLAIN,
        "96d1b05eea683919aff76129abb937b95058b4a1c4bc001920b78b1a7cd7e667",
    ),
    (
        "1323565.1.017 A.1",
        secret_key(KeyKind.MAGMA, KUZNYECHIK_VALUE),
        CtrAcpkm(hexa("12345678"), section=16),
        ROWS[:56],
        (
            "2ab81deeeb1e4cab68e104c4bd6b94eac72c67af6c2e5b6b0eafb61770f1b32e"
            "a1ae71149eed1382abd467180672ec6f84a2f15b3fca72c1"
        ),
    ),
    (
        "1323565.1.017 A.2",
        KUZNYECHIK,
        CtrAcpkm(hexa("1234567890abcef0"), section=32),
        ROWS,
        (
            "f195d8bec10ed1dbd57b5fa240bda1b885eee733f6a13e5df33ce4b33c45dee4"
            "4bceeb8f646f4c55001706275e85e800587c4df568d094393e4834afd0805046"
            "cf30f57686aeece11cfc6c316b8a896edffd07ec813636460c4f3b743423163e"
            "6409a9c282fac8d469d221e7fbd6de5d"
        ),
    ),
    (
        "1323565.1.017 A.4.2",
        KUZNYECHIK,
        CtrAcpkm(b"\xff" * 8, section=96),
        bytes(144),
        (
            "0cabf1f2efbc4ac16048df1a24c605b2c0d1673d7586a8ec0dd42c45a4f95bae"
            "0f2e2617e47148680fc3e6178df2c137c9dda89cffa491feadd9b3eab703bb31"
            "bc7e927f0494729f51b49d3df9c9460800fbbcf5edee610ea02f01093c7bc742"
            "d7d6271501b177775263c2a3495a8318a81c79a04f29660ea3fda874c630799e"
            "142c577914fea90d3bc2502e833685d9"
        ),
    ),
    (
        "9058 A.1.1",
        KUZNYECHIK,
        Mgm(
            hexa("1122334455667700ffeeddccbbaa9988"),
            hexa(
                "0202020202020202010101010101010104040404040404040303030303030303ea0505050505050505"
            ),
        ),
        ROWS[:64] + hexa("aabbcc"),
        (
            "a9757b8147956e9055b8a33de89f42fc8075d2212bf9fd5bd3f7069aadc16b39"
            "497ab15915a6ba85936b5d0ea9f6851cc60c14d4d3f883d0ab94420695c76deb"
            "2c7552cf5d656f40c34f5c46e8bb0e29fcdb4c"
        ),
    ),
    (
        "9058 A.2.1",
        MAGMA,
        Mgm(
            hexa("12def06b3c130a59"),
            hexa(
                "01010101010101010202020202020202030303030303030304040404040404040505050505050505ea"
            ),
        ),
        hexa(
            "ffeeddccbbaa998811223344556677008899aabbcceeff0a0011223344556677"
            "99aabbcceeff0a001122334455667788aabbcceeff0a00112233445566778899"
            "aabbcc"
        ),
        (
            "c795066c5f9ea03b85113342459185ae1f2e00d6bf2b785d940470b8bb9c8e7d"
            "9a5dd3731f7ddc70ec27cb0ace6fa57670f65c646abb75d547aa37c3bcb5c34e"
            "03bb9ca7928069aa10fd10"
        ),
    ),
    (
        "9058 A.1.2",
        secret_key(KeyKind.KUZNYECHIK, KUZNYECHIK_VALUE[1:] + KUZNYECHIK_VALUE[:1]),
        Mgm(hexa("1122334455667700ffeeddccbbaa9988"), b"\1" * 16),
        b"",
        "7901e9ea2085cd247ed249695f9f8a85",
    ),
    (
        "9058 A.2.2",
        secret_key(KeyKind.MAGMA, KUZNYECHIK_VALUE[1:] + KUZNYECHIK_VALUE[:1]),
        Mgm(hexa("0077665544332211")),
        hexa("22334455667700ff"),
        "6a95e1426b259d4e334ee270450bec9e",
    ),
]


@pytest.mark.parametrize(
    ("key", "scheme", "plain", "cryptogram"),
    [example[1:] for example in EXAMPLES],
    ids=[example[0] for example in EXAMPLES],
)
def test_the_examples_of_the_standards(
    key: SecretKey, scheme: SymmetricScheme, plain: bytes, cryptogram: str
) -> None:
    assert key.encrypt(scheme, plain).hex() == cryptogram
    assert key.decrypt(scheme, hexa(cryptogram)) == plain


def test_the_examples_of_the_block_ciphers() -> None:
    """GOST R 34.12-2015 A.1 and A.2."""
    kuznyechik, magma = Kuznyechik(KUZNYECHIK_VALUE), Magma(MAGMA_VALUE)
    plain, encrypted = 0x1122334455667700FFEEDDCCBBAA9988, 0x7F679D90BEBC24305A468D42B9D4EDCD
    assert (kuznyechik.encrypt(plain), kuznyechik.decrypt(encrypted)) == (encrypted, plain)
    plain, encrypted = 0xFEDCBA9876543210, 0x4EE901E5C2D8CA3D
    assert (magma.encrypt(plain), magma.decrypt(encrypted)) == (encrypted, plain)


def test_the_codes_of_the_standard() -> None:
    """GOST R 34.13-2015 A.1.6 and A.2.6."""
    for key, plain, code in (
        (KUZNYECHIK, ROWS[:64], "336f4d296059fbe3"),
        (MAGMA, MAGMA_PLAIN, "154e7210"),
    ):
        mac = key.mac(Cmac(len(code) // 2))
        mac.update(plain)
        assert mac.finish().hex() == code


def test_the_keys_of_the_sections() -> None:
    """R 1323565.1.017-2018 A.1: the second, third and fourth key."""
    value = KUZNYECHIK_VALUE
    for expected in (
        "863ea017842c3d372b18a85a28e2317d74befc107720de0c9e8ab974abd00ca0",
        "49a5e2677de555982b8ad5e826652d17eec847bf5b3997a81cf7fe7f1187bd27",
        "3256bf3f97b5667426a9fb1c5eaabe41893ccdd5a868f9b63b0aa90720fa43c4",
    ):
        value = next_key(Magma(value))
        assert value.hex() == expected


WRAPPING = hexa(
    "08090a0b0c0d0e0f0001020304050607101112131415161718191a1b1c1d1e1f"
    "202122232425262728292a2b2c2d2e2f38393a3b3c3d3e3f3031323334353637"
)
"""The key for codes, then the one for encryption (R 1323565.1.017-2018 A.6)."""

WRAPPED = [
    (
        secret_key(KeyKind.MAGMA_TWIN, WRAPPING),
        KExp15(hexa("67bed654")),
        "cfd5a12d5b81b6e1e99c916d07900c6ac12703fb3abded55567bf3742c899c755dafe7b42e3a8bd9",
    ),
    (
        secret_key(KeyKind.KUZNYECHIK_TWIN, WRAPPING),
        KExp15(hexa("0909472dd9f26be8")),
        (
            "e36184e84e8d736ff36cc2e5ae065dc656b23c20f549b02fdff88e1f3f30d8c2"
            "9a53f3ca554dbad80de152b9a4625b32"
        ),
    ),
]


@pytest.mark.parametrize(("twin", "scheme", "wrapped"), WRAPPED, ids=["Magma", "Kuznyechik"])
def test_the_examples_of_the_key_wrap(twin: SecretKey, scheme: KExp15, wrapped: str) -> None:
    assert twin.wrap(scheme, KUZNYECHIK_VALUE).hex() == wrapped
    assert twin.unwrap(scheme, hexa(wrapped)) == KUZNYECHIK_VALUE
    for at in range(len(wrapped) // 2):
        with pytest.raises(DecryptionFailed):
            twin.unwrap(scheme, flipped(hexa(wrapped), at))
    for size in (0, 1, len(wrapped) // 2 - 32):
        with pytest.raises(DataLength):
            twin.unwrap(scheme, bytes(size))
    with pytest.raises(DataLength):
        twin.wrap(scheme, b"")
    with pytest.raises(DataLength):
        twin.wrap(KExp15(scheme.iv + b"\0"), KUZNYECHIK_VALUE)


def test_a_twin_key_only_wraps() -> None:
    twin, scheme, _ = WRAPPED[0]
    for other in (Ecb(), CtrAcpkm(bytes(4))):
        with pytest.raises(Unsupported):
            twin.encrypt(other, bytes(8))
    with pytest.raises(Unsupported):
        twin.mac(Cmac(4))
    with pytest.raises(Unsupported):
        MAGMA.wrap(scheme, bytes(32))


def test_a_twin_key_is_told_by_its_hash() -> None:
    value = b"".join(twin.check_value() for twin, _, _ in WRAPPED)
    assert value == 2 * secret_key(KeyKind.GENERIC, WRAPPING).check_value()
    assert KUZNYECHIK.check_value() == KUZNYECHIK.encrypt(Ecb(), bytes(16))[:3]


@BOTH
def test_keys_have_256_bits_and_twins_512(key: SecretKey) -> None:
    kind = key.spec.kind
    for bits in (128, 255, 512):
        with pytest.raises(InvalidKey):
            secret_key(kind, bytes(bits // 8))
    made = generate_secret(KeySpec.secret(kind, 256))
    assert made.spec == key.spec
    assert len(made.value) == 32


@BOTH
def test_parameters_are_checked_before_any_data(key: SecretKey) -> None:
    size = block_size(key.spec)
    bad: list[SymmetricScheme] = [
        Cbc(b""),
        Cbc(bytes(size + 1)),
        CtrAcpkm(b""),
        CtrAcpkm(bytes(size)),
        CtrAcpkm(bytes(size // 2), section=-size),
        CtrAcpkm(bytes(size // 2), section=size + 1),
        Mgm(bytes(size - 1)),
        Mgm(b"\x80" + bytes(size - 1)),
        Mgm(bytes(size), tag_size=3),
        Mgm(bytes(size), tag_size=size + 1),
        Mgm(bytes(size), tag_size=-1),
    ]
    for scheme in bad:
        for start in (key.encryptor, key.decryptor):
            with pytest.raises(DataLength):
                start(scheme)


@BOTH
def test_padding_fills_the_last_block(key: SecretKey) -> None:
    size = block_size(key.spec)
    scheme = Cbc(bytes(2 * size), padded=True)
    for length in range(3 * size):
        cryptogram = key.encrypt(scheme, bytes(length))
        assert len(cryptogram) == (length // size + 1) * size
        assert key.decrypt(scheme, cryptogram) == bytes(length)
    for wrong in (b"", bytes(size - 1)):
        with pytest.raises(DataLength):
            key.decrypt(scheme, wrong)


@BOTH
def test_without_padding_only_whole_blocks_are_taken(key: SecretKey) -> None:
    size = block_size(key.spec)
    for scheme in (Ecb(), Cbc(bytes(size))):
        for attempt in (key.encrypt, key.decrypt):
            with pytest.raises(DataLength):
                attempt(scheme, bytes(size + 1))
            assert attempt(scheme, b"") == b""


@BOTH
def test_a_changed_message_is_not_decrypted(key: SecretKey) -> None:
    size = block_size(key.spec)
    scheme = Mgm(bytes(size), b"who it is for", tag_size=4)
    cryptogram = key.encrypt(scheme, b"twenty bytes of text")
    assert len(cryptogram) == 24
    for at in range(len(cryptogram)):
        with pytest.raises(DecryptionFailed):
            key.decrypt(scheme, flipped(cryptogram, at))
    with pytest.raises(DecryptionFailed):
        key.decrypt(Mgm(bytes(size), b"somebody else", tag_size=4), cryptogram)
    with pytest.raises(DataLength):
        key.decrypt(scheme, cryptogram[:3])


@BOTH
def test_nothing_is_given_away_before_the_tag_is_checked(key: SecretKey) -> None:
    scheme = Mgm(bytes(block_size(key.spec)))
    running = key.decryptor(scheme)
    assert running.update(key.encrypt(scheme, b"secret")) == b""
    assert running.finish() == b"secret"


@BOTH
def test_an_empty_message_needs_associated_data(key: SecretKey) -> None:
    nonce = bytes(block_size(key.spec))
    with pytest.raises(DataLength):
        key.encrypt(Mgm(nonce), b"")
    only = Mgm(nonce, b"only this")
    assert key.decrypt(only, key.encrypt(only, b"")) == b""


def test_the_example_of_the_twin_key_and_what_it_wraps() -> None:
    """RFC 9189 A.1.3.2: a client's key exchange on tc26-512-C with Kuznyechik."""
    ephemeral = gost_private(
        "tc26-512-C",
        hexa(
            "150acd11b66dd695ad18418fa7a2dc636b7e29dca24536aabc826ee3175bb1fa"
            "dc3aa0d01d3092e120b0fcf7eb872f4b7e26ea17849d689222a48cf95a6e4831"
        ),
    )
    x = hexa(
        "f14589da479ad972c66563669b3ff58092e6a30a288bf447cd9ff6c3133e9724"
        "7a9706b267703c9b4e239f0d7c7e3310c22d2752b35bd2e4fd39b8f11deb833a"
    )
    y = hexa(
        "f305e95b36502d4e60a1059fb20ab30bfc7c95727f3a2c04b1dfddb53b0413f2"
        "99f2dfe66a5e1ccb4101a7a01d612be6bd78e1e3b3d567ebb16abe587a11f4ea"
    )
    hashed = hexa("c3ef0428d4b7a1f4c5025f2e65dd2b2ea583aeefdb67c7f4214a6a298e99e325")
    agreed = ephemeral.keg(x[::-1] + y[::-1], hashed)
    assert agreed.hex() == (
        "7dac56e48a4dc170faa8fcbae20db845450cccc4c6328bdc8d01157cefa2a5f1"
        "1f1cbad8866166f01ffaab0152e24bf4609d5f46a5c899c787900d08b9fcad24"
    )
    premaster = hexa("a5576ce7924a24f58113808dbd9ef856f5bdc3b183ce5dadca36a53aa077651d")
    wrapped = secret_key(KeyKind.KUZNYECHIK_TWIN, agreed).wrap(KExp15(hashed[24:]), premaster)
    assert wrapped.hex() == (
        "250d1b67a270ab04d3f65418e1d380b4cb945f0a3dca51500cf3a1bef37f76c0"
        "7341a9839ccf6cba7189da61eb67176c"
    )


@pytest.mark.parametrize("name", ["CryptoPro-A", "tc26-512-A"])
def test_both_sides_agree_on_a_twin_key(name: str) -> None:
    one, other = (gost_private(name, bytes((number,))) for number in (5, 7))
    ukm = bytes(range(32))
    agreed = one.keg(other.public().point, ukm)
    assert other.keg(one.public().point, ukm) == agreed
    assert len(agreed) == 64
    # A number of 0 counts as 1 (RFC 9189 8.3.1).
    zero, unit = bytes(32), bytes(15) + b"\1" + bytes(16)
    assert one.keg(other.public().point, zero) == one.keg(other.public().point, unit)
    for wrong in (ukm[:31], ukm + b"\0"):
        with pytest.raises(DataLength):
            one.keg(other.public().point, wrong)
    with pytest.raises(InvalidKey):
        one.keg(flipped(other.public().point, 0), ukm)
