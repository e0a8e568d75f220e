"""Who does the work of GOST R 34.10-2012 and Streebog: Python, or an accelerator in its place.

The accelerator is taken where it is there and passes its self-test, which happens at the first
use. `SETTING` in the environment can demand either. What is not in use is not loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from token_fw.crypto.errors import CryptoError, Unsupported
from token_fw.crypto.gost.interface import Backend

SETTING: Final = "KLYUCH_GOST"
AUTO, ENGINE, PURE = "auto", "engine", "pure"


@dataclass(frozen=True, slots=True)
class Choice:
    """The implementation in use, and why not the accelerator; it is None where none is allowed."""

    backend: Backend | None
    reason: str = ""


def _engine() -> Backend:
    from token_fw.crypto.gost.engine import EngineBackend  # noqa: PLC0415  where it may be used

    return EngineBackend()


def _pure() -> Backend:
    from token_fw.crypto.gost.pure import PureBackend  # noqa: PLC0415  where it is used

    return PureBackend()


def _failure(accelerator: Backend) -> str:
    from token_fw.crypto.gost.self_test import failure  # noqa: PLC0415  where it may be used

    return failure(accelerator)


def choose(setting: str, accelerator: Callable[[], Backend] = _engine) -> Choice:
    """Choose by the setting and by what the accelerator can do."""
    if setting == PURE:
        return Choice(_pure(), f"{SETTING} is {PURE}")
    if setting not in {AUTO, ENGINE}:
        return Choice(None, f"{SETTING} is {setting!r}, not {AUTO}, {ENGINE} or {PURE}")
    try:
        found = accelerator()
        reason = _failure(found)
        if not reason:
            return Choice(found)
    except (OSError, CryptoError) as error:
        reason = str(error)
    if setting == ENGINE:
        return Choice(None, f"{SETTING} is {ENGINE}, but {reason}")
    return Choice(_pure(), reason)


_lock = Lock()
_choice: Choice | None = None


def choice() -> Choice:
    """Give the choice of this process, made at the first call."""
    global _choice  # noqa: PLW0603  made once, under the lock
    if _choice is None:
        with _lock:
            if _choice is None:
                _choice = choose(os.environ.get(SETTING) or AUTO)
    return _choice


def backend() -> Backend:
    """Give the implementation in use. Raises Unsupported where the setting allows none."""
    chosen = choice()
    if chosen.backend is None:
        raise Unsupported(chosen.reason)
    return chosen.backend
