"""What the tests ask of a browser, whichever it is."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, Self


class PageError(Exception):
    """The browser shows an error in place of the page; the text is the browser's."""


class Browser(Protocol):
    """A browser with a fresh profile; a context manager that starts and ends it.

    `most_prompts`: how often it asks for the PIN at most, of its own accord, for a page whose
    token gets locked, and for a page whose token is locked already.
    """

    most_prompts: ClassVar[tuple[int, int]]

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: Any) -> None: ...

    @property
    def prompts(self) -> list[str]:
        """What each PIN prompt said that has appeared so far."""

    def enter(self, *pins: str) -> None:
        """Enter these PINs at the next prompts; a prompt beyond them is cancelled."""

    def open(self, url: str) -> str:
        """The name that the page at `url` shows. Raises PageError."""
