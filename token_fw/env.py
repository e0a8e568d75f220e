"""The effects a card depends on: storage, time and randomness, all injected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from token_fw.storage.base import Store


@dataclass(slots=True)
class Env:
    """What one card lives in.

    `clock` counts seconds and never goes back; `rng(n)` gives n unpredictable bytes.
    """

    store: Store
    clock: Callable[[], float] = time.monotonic
    rng: Callable[[int], bytes] = os.urandom
