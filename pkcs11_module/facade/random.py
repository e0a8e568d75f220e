"""Random numbers, which the card makes (PKCS#11 2.40 5.15)."""

from __future__ import annotations

from hashlib import sha512, shake_256

from pkcs11_module.facade.registry import session_function
from pkcs11_module.facade.sessions import Session


@session_function("C_SeedRandom")
def seed_random(session: Session, seed: bytes | None) -> None:
    """C_SeedRandom: the seed changes what the application gets from the token from then on.

    The card has no command that takes a seed, so that it is mixed in here.
    """
    slot = session.slot
    slot.seed = sha512(slot.seed + (seed or b"")).digest()


@session_function("C_GenerateRandom")
def generate_random(session: Session, length: int) -> bytes:
    """C_GenerateRandom: as random as the card's numbers are, whatever the seed is."""
    slot = session.slot
    numbers = slot.card.challenge(length)
    if not slot.seed:
        return numbers
    slot.seed = sha512(slot.seed).digest()
    mask = shake_256(slot.seed).digest(length)
    return bytes(number ^ other for number, other in zip(numbers, mask, strict=True))
