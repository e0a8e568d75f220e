"""Which cards have their files open: a home may have a thousand tokens, and uses few at a time."""

import threading

from token_fw.card import Card

MOST_AWAKE = 32
"""An open file takes about 100 KiB of memory and two descriptors."""


class Wakeful:
    """The cards whose files are open: those that were used last, no more than ``most``.

    Thread-safe, and asks no card that runs a command to wait or to rest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._cards: dict[Card, None] = {}

    def add(self, card: Card) -> None:
        """The card has opened its file; others rest where they are too many."""
        with self._lock:
            self._cards.pop(card, None)
            # The one that woke first rests first, unless it was used since it was last passed over.
            for _ in range(2 * len(self._cards)):
                if len(self._cards) < self._most:
                    break
                self._pass(next(iter(self._cards)))
            self._cards[card] = None

    def _pass(self, oldest: Card) -> None:
        del self._cards[oldest]
        used, oldest.used = oldest.used, False
        if used or not oldest.rest():
            self._cards[oldest] = None

    def discard(self, card: Card) -> None:
        """The card is about to be closed: it is not asked to rest any more."""
        with self._lock:
            self._cards.pop(card, None)
