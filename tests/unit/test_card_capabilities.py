"""What an ATR promises about length fields."""

from __future__ import annotations

import pytest

from host_tools.conformance.subject import promises_extended
from token_fw.card import ATR

ATRS = {
    "the emulated card's": (ATR, True),
    "YubiKey 5's": (bytes.fromhex("3BFD1300008131FE158073C021C057597562694B657940"), True),
    "YubiKey NEO's, which has but text": (
        bytes.fromhex("3BFC1300008131FE15597562696B65794E454F7233E1"),
        False,
    ),
    "with status bytes at its end": (bytes.fromhex("3B8880010073000040009000"), True),
    "with capabilities that lack it": (bytes.fromhex("3B8580018073B0018046"), False),
    "with capabilities of two bytes": (bytes.fromhex("3B8480018072C0C0"), False),
    "without historical bytes": (bytes.fromhex("3B80800101"), False),
    "cut short": (bytes.fromhex("3BFD13"), False),
    "none": (b"", False),
}


@pytest.mark.parametrize("whose", ATRS)
def test_extended_length_fields_are_promised_by_the_card_capabilities(whose: str) -> None:
    atr, promised = ATRS[whose]
    assert promises_extended(atr) is promised
