"""A model of a token, written from the issue and the wire table, not from the card's code.

It knows what is durable. What a command does to it is a list of states: the one before, and the
one after each of the command's commits.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

USER, SO = 1, 2
TRIES = {USER: 3, SO: 4}
MF = b"\x3f\x00"


@dataclass
class TokenModel:
    """`keys` holds kind and public point or value by reference, None where nobody has seen it."""

    operational: bool = False
    pins: dict[int, bytes | None] = field(default_factory=lambda: {USER: None, SO: None})
    tries: dict[int, int] = field(default_factory=lambda: dict(TRIES))
    files: dict[bytes, bytes | None] = field(default_factory=dict)
    keys: dict[int, tuple[str, bytes | None]] = field(default_factory=dict)

    def copy(self) -> TokenModel:
        return copy.deepcopy(self)

    def spent(self, ref: int) -> TokenModel:
        """The token after a try was spent."""
        after = self.copy()
        after.tries[ref] -= 1
        return after

    def restored(self, ref: int) -> TokenModel:
        """The token after the right value."""
        after = self.copy()
        after.tries[ref] = TRIES[ref]
        return after

    def with_pin(self, ref: int, value: bytes | None) -> TokenModel:
        """The token with another value of a PIN, and all its tries."""
        after = self.restored(ref)
        after.pins[ref] = value
        return after

    def has_directory(self, path: bytes) -> bool:
        """Whether there is a directory with that path."""
        return path == MF or (path in self.files and self.files[path] is None)

    def without_tree(self, path: bytes) -> TokenModel:
        """The token without a file and all below it."""
        after = self.copy()
        for found in [found for found in after.files if found.startswith(path)]:
            del after.files[found]
        return after
