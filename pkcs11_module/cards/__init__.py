"""How the objects of a card become objects of PKCS#11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apdu.model import StatusWordError
from apdu.transport import Transport
from pkcs11_module.cards.card import TokenCard


def _pki() -> type[TokenCard]:
    return TokenCard


def _piv() -> type[TokenCard]:
    from pkcs11_module.cards.piv import PivCard  # noqa: PLC0415  for cards that are shown so

    return PivCard


APPLICATIONS: Final[dict[str, Callable[[], type[TokenCard]]]] = {"pki": _pki, "piv": _piv}
"""What of a card may be shown, by name, in the order in which it is looked for."""


def open_card(transport: Transport, application: str | None) -> TokenCard:
    """The card with that application selected; None: the first of APPLICATIONS that it has.

    Raises StatusWordError (6A82) where it has none, TransportError.
    """
    if application is not None:
        return APPLICATIONS[application]()(transport)
    *preferred, last = APPLICATIONS.values()
    for kind in preferred:
        try:
            return kind()(transport)
        except StatusWordError:
            continue
    return last()(transport)
