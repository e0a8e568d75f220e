"""Public keys of a peer that nobody may agree with (SP 800-56A 5.6.2.3): they are on no curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping

_UNKNOWN_FORMAT = b"\x05"


def _off_the_curve(point: bytes) -> bytes:
    # Of two points with that X neither has this Y.
    return point[:-1] + bytes((point[-1] ^ 1,))


def _zero(point: bytes) -> bytes:
    format_byte = len(point) % 2
    return point[:format_byte] + bytes(len(point) - format_byte)


BAD_POINTS: Mapping[str, Callable[[bytes], bytes]] = {
    "off the curve": _off_the_curve,
    "zero": _zero,
    "a byte short": lambda point: point[:-1],
    "a byte long": lambda point: point + point[-1:],
    "of another format": lambda point: _UNKNOWN_FORMAT + point[1:],
    "at infinity": lambda _: b"\x00",
}
"""What a good one becomes: an uncompressed point (SEC 1 2.3.3), or the bytes of RFC 7748."""
