"""What a subcommand cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from apdu.ctap import Status
from token_fw.apps.fido2.errors import CtapError

T = TypeVar("T")


def subcommand(
    table: Mapping[int, T],
    number: int | None,
    unknown: Status = Status.CTAP2_ERR_INVALID_SUBCOMMAND,
) -> T:
    """What runs a subcommand; raises CtapError: CTAP2_ERR_MISSING_PARAMETER, `unknown`."""
    found = table.get(need(number, "subCommand"))
    if found is None:
        raise CtapError(unknown, "there is no such subcommand")
    return found


def need(value: T | None, name: str) -> T:
    """A parameter; raises CtapError(CTAP2_ERR_MISSING_PARAMETER)."""
    if value is None:
        raise CtapError(Status.CTAP2_ERR_MISSING_PARAMETER, f"{name} is missing")
    return value
