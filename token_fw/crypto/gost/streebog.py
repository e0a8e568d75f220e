"""The hash functions of GOST R 34.11-2012, Streebog (RFC 6986), of 256 and 512 bits.

The three transformations of a round, S, P and L, are one look-up of eight tables for each word of
64 bits: about 1 MB of data takes a second or two.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

BLOCK_SIZE: Final = 64
"""The length in bytes of a block of either function, which HMAC asks for."""

_WORDS: Final = struct.Struct(">8Q")
_MASK: Final = (1 << 512) - 1

PI: Final = bytes.fromhex(
    "FCEEDD11CF6E3116FBC4FADA23C5044DE977F0DB932E99BA1736F1BB14CD5FC1"
    "F918655AE25CEF21811C3C428B018E4F058402AEE36A8FA0060BED987FD4D31F"
    "EB342C51EAC848ABF22A68A2FD3ACECCB5700E56080C7612BF7213479CB75D87"
    "15A19629107B9AC7F391786F9D9EB2B13275193DFF358A7E6D54C680C3BD0D57"
    "DFF524A93EA843C9D779D6F67C22B903E00FECDE7A94B0BCDCE828504E330A4A"
    "A79760731E0062441AB83882649F2641AD454692275E552F8CA3A57D69D5953B"
    "0758B34086AC1DF730376BE488D9E789E11B83494C3FF8FE8D53AA90CAD88561"
    "207167A42D2B095BCB9B25D0BEE56C5259A674D2E6F4B4C0D166AFC2394B63B6"
)
"""The substitution (6.2), which Kuznyechik has too (RFC 7801 4.1.1)."""

_A: Final = struct.unpack(
    ">64Q",
    bytes.fromhex(
        "8E20FAA72BA0B47047107DDD9B505A38AD08B0E0C3282D1CD8045870EF14980E"
        "6C022C38F90A4C073601161CF205268D1B8E0B0E798C13C883478B07B2468764"
        "A011D380818E8F405086E740CE47C9202843FD2067ADEA1014AFF010BDD87508"
        "0AD97808D06CB40405E23C0468365A028C711E02341B2D0146B60F011A83988E"
        "90DAB52A387AE76F486DD4151C3DFDB924B86A840E90F0D2125C354207487869"
        "092E94218D243CBA8A174A9EC8121E5D4585254F64090FA0ACCC9CA9328A8950"
        "9D4DF05D5F661451C0A878A0A1330AA660543C50DE970553302A1E286FC58CA7"
        "18150F14B9EC46DD0C84890AD27623E00642CA05693B9F700321658CBA93C138"
        "86275DF09CE8AAA8439DA0784E745554AFC0503C273AA42AD960281E9D1D5215"
        "E230140FC080298471180A8960409A42B60C05CA30204D215B068C651810A89E"
        "456C34887A3805B9AC361A443D1C8CD2561B0D22900E46692B838811480723BA"
        "9BCF4486248D9F5DC3E9224312C8C1A0EFFA11AF0964EE50F97D86D98A327728"
        "E4FA2054A80B329C727D102A548B194E39B008152ACB82279258048415EB419D"
        "492C024284FBAEC0AA16012142F35760550B8E9E21F7A530A48B474F9EF5DC18"
        "70A6A56E2440598E3853DC371220A2471CA76E95091051AD0EDD37C48A08A6D8"
        "07E095624504536C8D70C431AC02A736C83862965601DD1B641C314B2B8EE083"
    ),
)
"""The rows of the matrix of the linear transformation (6.4)."""

_CONSTANTS: Final = bytes.fromhex(
    "B1085BDA1ECADAE9EBCB2F81C0657C1F2F6A76432E45D016714EB88D7585C4FC"
    "4B7CE09192676901A2422A08A460D31505767436CC744D23DD806559F2A64507"
    "6FA3B58AA99D2F1A4FE39D460F70B5D7F3FEEA720A232B9861D55E0F16B50131"
    "9AB5176B12D699585CB561C2DB0AA7CA55DDA21BD7CBCD56E679047021B19BB7"
    "F574DCAC2BCE2FC70A39FC286A3D843506F15E5F529C1F8BF2EA7514B1297B7B"
    "D3E20FE490359EB1C1C93A376062DB09C2B6F443867ADB31991E96F50ABA0AB2"
    "EF1FDFB3E81566D2F948E1A05D71E4DD488E857E335C3C7D9D721CAD685E353F"
    "A9D72C82ED03D675D8B71333935203BE3453EAA193E837F1220CBEBC84E3D12E"
    "4BEA6BACAD4747999A3F410C6CA923637F151C1F1686104A359E35D7800FFFBD"
    "BFCD1747253AF5A3DFFF00B723271A167A56A27EA9EA63F5601758FD7C6CFE57"
    "AE4FAEAE1D3AD3D96FA4C33B7A3039C02D66C4F95142A46C187F9AB49AF08EC6"
    "CFFAA6B71C9AB7B40AF21F66C2BEC6B6BF71C57236904F35FA68407A46647D6E"
    "F4C70E16EEAAC5EC51AC86FEBF240954399EC6C7E6BF87C9D3473E33197A93C9"
    "0992ABC52D822C3706476983284A05043517454CA23C4AF38886564D3A14D493"
    "9B1F5B424D93C9A703E7AA020C6E41414EB7F8719C36DE1E89B4443B4DDBC49A"
    "F4892BCB929B069069D18D2BD1A5C42F36ACC2355951A8D9A47F0DD4BF02E71E"
    "378F5A541631229B944C9AD8EC165FDE3A7D3A1B258942243CD955B7E00D0984"
    "800A440BDBB2CEB17B2B8A9AA6079C540E38DC92CB1F2A607261445183235ADB"
    "ABBEDEA680056F52382AE548B2E4F3F38941E71CFF8A78DB1FFFE18A1B336103"
    "9FE76702AF69334B7A1E6C303B7652F43698FAD1153BB6C374B4C7FB98459CED"
    "7BCD9ED0EFC889FB3002C6CD635AFE94D8FA6BBBEBAB07612001802114846679"
    "8A1D71EFEA48B9CAEFBACD1D7D476E98DEA2594AC06FD85D6BCAA4CD81F32D1B"
    "378EE767F11631BAD21380B00449B17ACDA43C32BCDF1D77F82012D430219F9B"
    "5D80EF9D1891CC86E71DA4AA88E12852FAF417D5D9B21B9948BC924AF11BD720"
)
_C: Final = tuple(int.from_bytes(c, "big") for (c,) in struct.iter_unpack("64s", _CONSTANTS))
"""The iteration constants C_1 to C_12 (6.5)."""


@cache
def _tables() -> tuple[tuple[int, ...], ...]:
    """Give S and L of a byte in each of the eight places of a word, the first one first."""

    def product(byte: int, rows: tuple[int, ...]) -> int:
        word = 0
        for bit, row in enumerate(rows):
            if byte & 0x80 >> bit:
                word ^= row
        return word

    return tuple(
        tuple(product(PI[byte], _A[place : place + 8]) for byte in range(256))
        for place in range(0, 64, 8)
    )


def _lps(x: int) -> int:
    """L(P(S(x))) of 512 bits (6.2 to 6.4); P transposes the square of eight words of bytes."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables()
    v = x.to_bytes(64, "big")
    rows = v[:8], v[8:16], v[16:24], v[24:32], v[32:40], v[40:48], v[48:56], v[56:]
    words = [
        t0[a] ^ t1[b] ^ t2[c] ^ t3[d] ^ t4[e] ^ t5[f] ^ t6[g] ^ t7[h]
        for a, b, c, d, e, f, g, h in zip(*rows, strict=True)
    ]
    return int.from_bytes(_WORDS.pack(*words), "big")


def _compress(n: int, h: int, m: int) -> int:
    """g_N(h, m) (6.6, 8)."""
    key, state = _lps(h ^ n), m
    for constant in _C:
        state = _lps(key ^ state)
        key = _lps(key ^ constant)
    return key ^ state ^ h ^ m


class Streebog:
    """A digest of 32 or 64 bytes in progress, with the methods of hashlib's."""

    __slots__ = ("_h", "_n", "_rest", "_sigma", "digest_size")

    def __init__(self, size: int, data: bytes = b"") -> None:
        self.digest_size = size
        self._h = int.from_bytes(bytes(64) if size == 64 else b"\x01" * 64, "big")
        self._n = self._sigma = 0
        self._rest = b""
        self.update(data)

    def update(self, data: bytes, /) -> None:
        """Add data of any length."""
        data = self._rest + data
        whole = len(data) - len(data) % BLOCK_SIZE
        for start in range(0, whole, BLOCK_SIZE):
            self._take(int.from_bytes(data[start : start + BLOCK_SIZE], "little"), 8 * BLOCK_SIZE)
        self._rest = data[whole:]

    def digest(self) -> bytes:
        """Give the digest of all data so far; the first byte is the least significant (10)."""
        last = self.copy()
        last._take(int.from_bytes(self._rest + b"\x01", "little"), 8 * len(self._rest))
        h = _compress(0, last._h, last._n)
        h = _compress(0, h, last._sigma)
        return h.to_bytes(64, "little")[64 - self.digest_size :]

    def copy(self) -> Streebog:
        """Give an independent digest that has seen the same data."""
        twin = Streebog.__new__(Streebog)
        for name in self.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def _take(self, m: int, bits: int) -> None:
        """Stage 2 or the first half of stage 3 (9.2, 9.3): one block with that much data in it."""
        self._h = _compress(self._n, self._h, m)
        self._n = self._n + bits & _MASK
        self._sigma = self._sigma + m & _MASK
