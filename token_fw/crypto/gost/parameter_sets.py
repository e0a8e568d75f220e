"""The parameter sets of GOST R 34.10-2012: TC26's (RFC 7836 A) and CryptoPro's (RFC 4357 11.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from token_fw.crypto.errors import Unsupported
from token_fw.crypto.kinds import KeySpec


@dataclass(frozen=True, slots=True, eq=False)
class ParameterSet:
    """The curve y² = x³ + ax + b over the integers modulo p, with a base point of order q.

    The curve has `cofactor` * q points. `size` is the length in bytes of a coordinate, of q and of
    half a signature alike, 32 or 64.
    """

    name: str
    p: int
    a: int
    b: int
    q: int
    generator: tuple[int, int]
    cofactor: int = 1

    @property
    def spec(self) -> KeySpec:
        return KeySpec.gost(self.name)

    @property
    def oid(self) -> str:
        return self.spec.oid

    @property
    def size(self) -> int:
        return (self.p.bit_length() + 7) // 8

    def has(self, x: int, y: int) -> bool:
        """Whether these are the coordinates of a point on the curve."""
        p = self.p
        return 0 <= x < p and 0 <= y < p and (y * y - (x * x + self.a) * x - self.b) % p == 0


_P256 = 2**256 - 617
_P256_B = 2**255 + 0xC99
_P256_C = 0x9B9F605F5A858107AB1EC85E6B41C8AACF846E86789051D37998F7B9022D759B
_P512 = 2**512 - 569
_P512_B = 2**511 + 0x6F

PARAMETER_SETS: dict[str, ParameterSet] = {
    parameters.name: parameters
    for parameters in (
        ParameterSet(
            "tc26-256-A",
            p=_P256,
            a=0xC2173F1513981673AF4892C23035A27CE25E2013BF95AA33B22C656F277E7335,
            b=0x295F9BAE7428ED9CCC20E7C359A9D41A22FCCD9108E17BF7BA9337A6F8AE9513,
            q=0x400000000000000000000000000000000FD8CDDFC87B6635C115AF556C360C67,
            generator=(
                0x91E38443A5E82C0D880923425712B2BB658B9196932E02C78B2582FE742DAA28,
                0x32879423AB1A0375895786C4BB46E9565FDE0B5344766740AF268ADB32322E5C,
            ),
            cofactor=4,
        ),
        ParameterSet(
            "CryptoPro-A",
            p=_P256,
            a=_P256 - 3,
            b=0xA6,
            q=0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF6C611070995AD10045841B09B761B893,
            generator=(
                1,
                0x8D91E471E0989CDA27DF505A453F2B7635294F2DDF23E3B122ACC99C9E9F1E14,
            ),
        ),
        ParameterSet(
            "CryptoPro-B",
            p=_P256_B,
            a=_P256_B - 3,
            b=0x3E1AF419A269A5F866A7D3C25C3DF80AE979259373FF2B182F49D4CE7E1BBC8B,
            q=0x800000000000000000000000000000015F700CFFF1A624E5E497161BCC8A198F,
            generator=(
                1,
                0x3FA8124359F96680B83D1C3EB2C070E5C545C9858D03ECFB744BF8D717717EFC,
            ),
        ),
        ParameterSet(
            "CryptoPro-C",
            p=_P256_C,
            a=_P256_C - 3,
            b=0x805A,
            q=0x9B9F605F5A858107AB1EC85E6B41C8AA582CA3511EDDFB74F02F3A6598980BB9,
            generator=(
                0,
                0x41ECE55743711A8C3CBF3783CD08C0EE4D4DC440D4641A8F366E550DFDB3BB67,
            ),
        ),
        ParameterSet(
            "tc26-512-A",
            p=_P512,
            a=_P512 - 3,
            b=int(
                "E8C2505DEDFC86DDC1BD0B2B6667F1DA34B82574761CB0E879BD081CFD0B6265"
                "EE3CB090F30D27614CB4574010DA90DD862EF9D4EBEE4761503190785A71C760",
                16,
            ),
            q=int(
                "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
                "27E69532F48D89116FF22B8D4E0560609B4B38ABFAD2B85DCACDB1411F10B275",
                16,
            ),
            generator=(
                3,
                int(
                    "7503CFE87A836AE3A61B8816E25450E6CE5E1C93ACF1ABC1778064FDCBEFA921"
                    "DF1626BE4FD036E93D75E6A50E3A41E98028FE5FC235F5B889A589CB5215F2A4",
                    16,
                ),
            ),
        ),
        ParameterSet(
            "tc26-512-B",
            p=_P512_B,
            a=_P512_B - 3,
            b=int(
                "687D1B459DC841457E3E06CF6F5E2517B97C7D614AF138BCBF85DC806C4B289F"
                "3E965D2DB1416D217F8B276FAD1AB69C50F78BEE1FA3106EFB8CCBC7C5140116",
                16,
            ),
            q=int(
                "8000000000000000000000000000000000000000000000000000000000000001"
                "49A1EC142565A545ACFDB77BD9D40CFA8B996712101BEA0EC6346C54374F25BD",
                16,
            ),
            generator=(
                2,
                int(
                    "1A8F7EDA389B094C2C071E3647A8940F3C123B697578C213BE6DD9E6C8EC7335"
                    "DCB228FD1EDF4A39152CBCAAF8C0398828041055F94CEEEC7E21340780FE41BD",
                    16,
                ),
            ),
        ),
        ParameterSet(
            "tc26-512-C",
            p=_P512,
            a=int(
                "DC9203E514A721875485A529D2C722FB187BC8980EB866644DE41C68E1430645"
                "46E861C0E2C9EDD92ADE71F46FCF50FF2AD97F951FDA9F2A2EB6546F39689BD3",
                16,
            ),
            b=int(
                "B4C4EE28CEBC6C2C8AC12952CF37F16AC7EFB6A9F69F4B57FFDA2E4F0DE5ADE0"
                "38CBC2FFF719D2C18DE0284B8BFEF3B52B8CC7A5F5BF0A3C8D2319A5312557E1",
                16,
            ),
            q=int(
                "3FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
                "C98CDBA46506AB004C33A9FF5147502CC8EDA9E7A769A12694623CEF47F023ED",
                16,
            ),
            generator=(
                int(
                    "E2E31EDFC23DE7BDEBE241CE593EF5DE2295B7A9CBAEF021D385F7074CEA043A"
                    "A27272A7AE602BF2A7B9033DB9ED3610C6FB85487EAE97AAC5BC7928C1950148",
                    16,
                ),
                int(
                    "F5CE40D95B5EB899ABBCCFF5911CB8577939804D6527378B8C108C3D2090FF9B"
                    "E18E2D33E3021ED2EF32D85822423B6304F726AA854BAE07D0396E9A9ADDC40F",
                    16,
                ),
            ),
            cofactor=4,
        ),
    )
}
"""By name; those of TC26 and of CryptoPro's key exchange that are others' twins are added below."""

_TWINS = {
    "tc26-256-B": "CryptoPro-A",
    "tc26-256-C": "CryptoPro-B",
    "tc26-256-D": "CryptoPro-C",
    "CryptoPro-XchA": "CryptoPro-A",
    "CryptoPro-XchB": "CryptoPro-C",
}
"""Sets with an identifier of their own and the numbers of another (RFC 7836 A.1, RFC 4357 11.4)."""

PARAMETER_SETS |= {name: replace(PARAMETER_SETS[twin], name=name) for name, twin in _TWINS.items()}


def parameter_set(spec: KeySpec) -> ParameterSet:
    """Give the parameters of a GOST key kind. Raises Unsupported for another kind."""
    try:
        return PARAMETER_SETS[spec.curve]
    except KeyError:
        raise Unsupported(f"{spec} has no GOST parameter set") from None
