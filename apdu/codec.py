"""Command and response APDUs (ISO/IEC 7816-4:2020, 5.1 to 5.6).

A command is a header of 4 bytes, up to 65535 data bytes and an expected length `ne`; its wire form
is short (data up to 255 bytes, `ne` up to 256) or extended.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_SHORT_DATA = 255
MAX_SHORT_NE = 256
MAX_EXTENDED_DATA = 65535
MAX_EXTENDED_NE = 65536
CHAINING = 0x10
"""The bit of CLA that says: not the last command of a chain (ISO/IEC 7816-4:2020, 5.3.3)."""


class ApduFormatError(ValueError):
    """The bytes are no APDU, or the fields fit in none. The message never holds the data."""


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """A command APDU (ISO/IEC 7816-4:2020, 5.2).

    `cla`, `ins`, `p1` and `p2` are one byte each, `data` has 0 to 65535 bytes, and `ne` is the
    largest number of response bytes wanted, 0 to 65536: 0 means that there is no Le field, 256
    and 65536 are "as many as there are" in the short and in the extended form.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    ne: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> Command:
        """Read a whole command APDU in any of the cases 1, 2, 3 and 4, short or extended.

        Raises ApduFormatError when a length field and the number of bytes disagree.
        """
        size = len(raw)
        if size < 5:
            if size < 4:
                raise ApduFormatError(f"a command of {size} bytes is shorter than its header")
            return cls(raw[0], raw[1], raw[2], raw[3])
        cla, ins, p1, p2, first = raw[:5]
        if size == 5:
            return cls(cla, ins, p1, p2, b"", first or MAX_SHORT_NE)
        if first:
            end = 5 + first
            if size == end:
                return cls(cla, ins, p1, p2, bytes(raw[5:]))
            if size == end + 1:
                return cls(cla, ins, p1, p2, bytes(raw[5:end]), raw[end] or MAX_SHORT_NE)
            raise ApduFormatError(f"Lc {first} does not agree with a command of {size} bytes")
        data, ne = _extended_body(raw, size)
        return cls(cla, ins, p1, p2, data, ne)

    def encode(self) -> bytes:
        """The wire form: short when data and `ne` fit in it, else extended.

        Raises ApduFormatError when a field is out of its range.
        """
        data = self.data
        nc = len(data)
        ne = self.ne
        if not (0 <= ne <= MAX_EXTENDED_NE and nc <= MAX_EXTENDED_DATA):
            raise ApduFormatError(f"{nc} data bytes with Ne {ne} fit in no APDU")
        try:
            header = bytes((self.cla, self.ins, self.p1, self.p2))
        except ValueError as error:
            raise ApduFormatError("a header field is not a byte") from error
        if nc <= MAX_SHORT_DATA and ne <= MAX_SHORT_NE:
            if nc:
                header += bytes((nc,)) + data
            return header + bytes((ne & 0xFF,)) if ne else header
        header += b"\x00"
        if nc:
            header += nc.to_bytes(2, "big") + data
        return header + (ne & 0xFFFF).to_bytes(2, "big") if ne else header

    @property
    def header(self) -> bytes:
        """CLA INS P1 P2, 4 bytes."""
        return bytes((self.cla, self.ins, self.p1, self.p2))

    @property
    def chained(self) -> bool:
        """Whether more commands of the same chain follow."""
        return bool(self.cla & CHAINING)

    @property
    def p1p2(self) -> int:
        """P1 and P2 as one number of 16 bits."""
        return self.p1 << 8 | self.p2

    def __repr__(self) -> str:
        # The data may be a PIN or a private key: only its size is shown.
        return (
            f"Command({self.cla:02X} {self.ins:02X} {self.p1:02X} {self.p2:02X}, "
            f"{len(self.data)} bytes, ne={self.ne})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """A response APDU (ISO/IEC 7816-4:2020, 5.2): a status word and up to 65536 bytes."""

    sw: int
    data: bytes = b""

    @classmethod
    def parse(cls, raw: bytes) -> Response:
        """Read a whole response APDU; raises ApduFormatError when it has no status word."""
        if len(raw) < 2:
            raise ApduFormatError(f"a response of {len(raw)} bytes has no status word")
        return cls(raw[-2] << 8 | raw[-1], bytes(raw[:-2]))

    def encode(self) -> bytes:
        """Data, then the status word; raises ApduFormatError when `sw` is not a 16-bit number."""
        try:
            return self.data + self.sw.to_bytes(2, "big")
        except OverflowError as error:
            raise ApduFormatError("the status word does not fit in two bytes") from error

    @property
    def sw1(self) -> int:
        """The upper byte of the status word."""
        return self.sw >> 8

    @property
    def sw2(self) -> int:
        """The lower byte of the status word."""
        return self.sw & 0xFF

    def __repr__(self) -> str:
        # The data may be a decrypted secret: only its size is shown.
        return f"Response({self.sw:04X}, {len(self.data)} bytes)"


def _extended_body(raw: bytes, size: int) -> tuple[bytes, int]:
    """Data and `ne` of a command of `size` bytes, at least 6, whose fifth is 00."""
    if size < 7:
        raise ApduFormatError("an extended length field is cut short")
    length = raw[5] << 8 | raw[6]
    if size == 7:
        return b"", length or MAX_EXTENDED_NE
    end = 7 + length
    if length and size == end:
        return bytes(raw[7:]), 0
    if length and size == end + 2:
        return bytes(raw[7:end]), (raw[end] << 8 | raw[end + 1]) or MAX_EXTENDED_NE
    raise ApduFormatError(f"extended Lc {length} does not agree with a command of {size} bytes")
