"""Random numbers, which the card makes (PKCS#11 2.40 5.15)."""

from __future__ import annotations

from pkcs11_module import _constants as ck
from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session
from pkcs11_module.types import Pkcs11Error


@session_function("C_SeedRandom")
def seed_random(_session: Session, _seed: bytes | None) -> None:
    """C_SeedRandom: the card has no command that takes a seed."""
    raise Pkcs11Error(ck.CKR_RANDOM_SEED_NOT_SUPPORTED)


@session_function("C_GenerateRandom")
def generate_random(session: Session, length: int) -> bytes:
    """C_GenerateRandom."""
    return session.slot.card.challenge(length)
