"""How many open files the daemon may have, and how it shares them out."""

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from host_tools.wakeful import MOST_AWAKE

_PER_TOKEN = 2
_PASSING = 8
"""For files open only for a moment: a storage key, the registry, a folder, a token's next file."""
_FOR_CONTROL = 4
_SHARE = 8


def raise_limit() -> int:
    """Allow as many open files as the system lets us; that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 1 << 31 if hard == resource.RLIM_INFINITY else hard


def in_use() -> int:
    """The descriptors of this process."""
    # One of them is the folder that is read here.
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1


@dataclass(frozen=True, slots=True)
class Shares:
    """What a limit of ``limit`` descriptors carries; every share is at least 1.

    ``tokens``: token files open at once. ``applications``: connections of the PKCS#11 library.
    ``connections``: those and the control door's, for which there is always room.
    """

    limit: int
    tokens: int
    applications: int
    connections: int

    @classmethod
    def of(cls, limit: int, used: int) -> Self:
        """Share out what ``used`` descriptors, which stay open, leave of the limit."""
        free = limit - used
        tokens = min(MOST_AWAKE, max(1, free // _SHARE))
        left = free - tokens * _PER_TOKEN - _PASSING - _FOR_CONTROL
        applications = max(1, left)
        return cls(limit, tokens, applications, applications + _FOR_CONTROL)
