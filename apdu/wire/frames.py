"""What the framings share: frames with their length before them, and the error of a bad peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


class WireError(Exception):
    """The peer does not speak the protocol: the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The length before a frame: its size in bytes, its byte order, the largest value it takes."""

    size: int
    order: Literal["little", "big"]
    most: int

    def frame(self, body: bytes) -> bytes:
        """The frame around `body`. Raises ValueError where that is too long."""
        if len(body) > self.most:
            raise ValueError(f"a frame holds at most {self.most} bytes")
        return len(body).to_bytes(self.size, self.order) + body


class FrameBuffer:
    """Bytes in, bodies of frames out, however the bytes are split."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._pending = bytearray()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The bodies that `data` completes. Raises WireError for one that is too long."""
        prefix, pending = self._prefix, self._pending
        pending += data
        while len(pending) >= prefix.size:
            length = int.from_bytes(pending[: prefix.size], prefix.order)
            if length > prefix.most:
                raise WireError(f"a frame of {length} bytes, {prefix.most} are allowed")
            end = prefix.size + length
            if len(pending) < end:
                return
            body = bytes(pending[prefix.size : end])
            # Commands carry PINs: what was read does not linger in the buffer.
            pending[:end] = bytes(end)
            del pending[:end]
            yield body
