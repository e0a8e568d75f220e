"""How the objects of a card become objects of PKCS#11."""

from __future__ import annotations

from typing import Final

from pkcs11_module.cards.card import TokenCard
from pkcs11_module.cards.piv import PivCard

APPLICATIONS: Final[dict[str, type[TokenCard]]] = {"pki": TokenCard, "piv": PivCard}
"""What of a card may be shown, by name."""
