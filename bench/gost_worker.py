"""Our side of `native/gost.c`: the same commands, done by `token_fw.crypto`.

`KLYUCH_GOST` says by which implementation. Seconds are those of the processor, as they are there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from token_fw.crypto import Gost3410, Hash, KeySpec, digest, generate

_DATA = bytes(65536)


class _Work:
    """A key, and what is repeated with it."""

    def __init__(self, name: str) -> None:
        self._key = generate(KeySpec.gost(name))
        self._public = self._key.public()
        self._digest = b"\x01" + bytes((64 if "-512-" in name else 32) - 1)
        self._signature = self._key.sign(Gost3410(), self._digest)
        self.verify()

    def sign(self) -> None:
        self._key.sign(Gost3410(), self._digest)

    def verify(self) -> None:
        self._public.verify(Gost3410(), self._digest, self._signature)

    def hash(self) -> None:
        digest.compute(Hash.STREEBOG256, _DATA)


def _repeat(action: Callable[[], None], seconds: float) -> tuple[int, int]:
    begun = time.process_time_ns()
    limit, count = begun + int(seconds * 1e9), 0
    while True:
        action()
        count += 1
        now = time.process_time_ns()
        if now >= limit:
            return count, now - begun


def main() -> None:
    """Answer commands until there are none."""
    work: _Work | None = None
    for line in sys.stdin:
        name, word = line.split()
        if name == "make":
            work, done = _Work(word), (1, 0)
        else:
            assert work is not None
            actions = {"sign": work.sign, "verify": work.verify, "hash": work.hash}
            done = _repeat(actions[name], float(word))
        print("done", *done, flush=True)


if __name__ == "__main__":
    main()
