"""The parameter sets and keys of the published examples of GOST R 34.10-2012."""

from __future__ import annotations

from dataclasses import dataclass

from token_fw.crypto.gost.curve import Point
from token_fw.crypto.gost.parameter_sets import ParameterSet


@dataclass(frozen=True)
class Example:
    """A signature with all that went into it (RFC 7091 7)."""

    parameters: ParameterSet
    d: int
    point: Point
    e: int
    k: int
    r: int
    s: int


def number(text: str) -> int:
    """A number as the RFCs print it."""
    return int("".join(text.split()), 16)


# id-GostR3410-2001-TestParamSet and id-tc26-gost-3410-2012-512-paramSetTest.
TEST_256 = ParameterSet(
    "test-256",
    p=2**255 + 0x431,
    a=7,
    b=number("5FBFF498AA938CE739B8E022FBAFEF40563F6E6A3472FC2A514C0CE9DAE23B7E"),
    q=number("8000000000000000000000000000000150FE8A1892976154C59CFC193ACCF5B3"),
    generator=(2, number("08E2A8A0E65147D4BD6316030E16D19C85C97F0A9CA267122B96ABBCEA7E8FC8")),
)
TEST_512 = ParameterSet(
    "test-512",
    p=number(
        """4531ACD1FE0023C7550D267B6B2FEE80922B14B2FFB90F04D4EB7C09B5D2D15D
        F1D852741AF4704A0458047E80E4546D35B8336FAC224DD81664BBF528BE6373"""
    ),
    a=7,
    b=number(
        """1CFF0806A31116DA29D8CFA54E57EB748BC5F377E49400FDD788B649ECA1AC43
        61834013B2AD7322480A89CA58E0CF74BC9E540C2ADD6897FAD0A3084F302ADC"""
    ),
    q=number(
        """4531ACD1FE0023C7550D267B6B2FEE80922B14B2FFB90F04D4EB7C09B5D2D15D
        A82F2D7ECB1DBAC719905C5EECC423F1D86E25EDBE23C595D644AAF187E6E6DF"""
    ),
    generator=(
        number(
            """24D19CC64572EE30F396BF6EBBFD7A6C5213B3B3D7057CC825F91093A68CD762
            FD60611262CD838DC6B60AA7EEE804E28BC849977FAC33B4B530F1B120248A9A"""
        ),
        number(
            """2BB312A43BD2CE6E0D020613C857ACDDCFBF061E91E5F2C3F32447C259F39B2C
            83AB156D77F1496BF7EB3351E1EE4E43DC1A18B91B24640B6DBB92CB1ADD371E"""
        ),
    ),
)
EXAMPLES = [
    Example(
        TEST_256,
        d=number("7A929ADE789BB9BE10ED359DD39A72C11B60961F49397EEE1D19CE9891EC3B28"),
        point=(
            number("7F2B49E270DB6D90D8595BEC458B50C58585BA1D4E9B788F6689DBD8E56FD80B"),
            number("26F1B489D6701DD185C8413A977B3CBBAF64D1C593D26627DFFB101A87FF77DA"),
        ),
        e=number("2DFBC1B372D89A1188C09C52E0EEC61FCE52032AB1022E8E67ECE6672B043EE5"),
        k=number("77105C9B20BCD3122823C8CF6FCC7B956DE33814E95B7FE64FED924594DCEAB3"),
        r=number("41AA28D2F1AB148280CD9ED56FEDA41974053554A42767B83AD043FD39DC0493"),
        s=number("01456C64BA4642A1653C235A98A60249BCD6D3F746B631DF928014F6C5BF9C40"),
    ),
    Example(
        TEST_512,
        d=number(
            """0BA6048AADAE241BA40936D47756D7C93091A0E8514669700EE7508E508B1020
            72E8123B2200A0563322DAD2827E2714A2636B7BFD18AADFC62967821FA18DD4"""
        ),
        point=(
            number(
                """115DC5BC96760C7B48598D8AB9E740D4C4A85A65BE33C1815B5C320C854621DD
                5A515856D13314AF69BC5B924C8B4DDFF75C45415C1D9DD9DD33612CD530EFE1"""
            ),
            number(
                """37C7C90CD40B0F5621DC3AC1B751CFA0E2634FA0503B3D52639F5D7FB72AFD61
                EA199441D943FFE7F0C70A2759A3CDB84C114E1F9339FDF27F35ECA93677BEEC"""
            ),
        ),
        e=number(
            """3754F3CFACC9E0615C4F4A7C4D8DAB531B09B6F9C170C533A71D147035B0C591
            7184EE536593F4414339976C647C5D5A407ADEDB1D560C4FC6777D2972075B8C"""
        ),
        k=number(
            """0359E7F4B1410FEACC570456C6801496946312120B39D019D455986E364F3658
            86748ED7A44B3E794434006011842286212273A6D14CF70EA3AF71BB1AE679F1"""
        ),
        r=number(
            """2F86FA60A081091A23DD795E1E3C689EE512A3C82EE0DCC2643C78EEA8FCACD3
            5492558486B20F1C9EC197C90699850260C93BCBCD9C5C3317E19344E173AE36"""
        ),
        s=number(
            """1081B394696FFE8E6585E7A9362D26B6325F56778AADBC081C0BFBE933D52FF5
            823CE288E8C4F362526080DF7F70CE406A6EEB1F56919CB92A9853BDE73E5B4A"""
        ),
    ),
]


def textbook_sum(parameters: ParameterSet, one: Point | None, other: Point | None) -> Point | None:
    """RFC 7091 5.1.2, by its letter."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2), p = one, other, parameters.p
    if x1 == x2 and (y1 + y2) % p == 0:
        return None
    rise, run = (3 * x1 * x1 + parameters.a, 2 * y1) if one == other else (y2 - y1, x2 - x1)
    slope = rise * pow(run, -1, p) % p
    x3 = (slope * slope - x1 - x2) % p
    return x3, (slope * (x1 - x3) - y1) % p


def textbook_product(parameters: ParameterSet, k: int, point: Point) -> Point | None:
    """RFC 7091 5.1.2: the point added to itself, bit by bit."""
    total: Point | None = None
    for bit in f"{k:b}":
        total = textbook_sum(parameters, total, total)
        if bit == "1":
            total = textbook_sum(parameters, total, point)
    return total
