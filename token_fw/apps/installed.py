"""The applications of a card, each of which is loaded and installed when it is first reached."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any, Final

from apdu.model import APPLICATIONS
from apdu.spec import ApplicationSpec
from token_fw.apps import Application, Parts

NAMES: Final = ("pki", "piv", "fido2", "fingerprint", "management")
"""The applications of every card; some programs take the first one that they know."""

_installing = threading.Lock()


def load(name: str) -> Application[Any, Any]:
    """The application of that name, which its package tells; the first call takes a while.

    Raises ValueError when its handlers and its catalogue do not name the same commands.
    """
    application: Application[Any, Any] = import_module(f"{__package__}.{name}").APPLICATION
    return application


class Installed:
    """An application on one card. Of most tokens that are at hand nobody uses most of them.

    What a card has to know of an application that nobody selected is in the catalogue.
    """

    __slots__ = ("_core", "_parts", "_powered", "spec")

    def __init__(self, name: str, parts: Parts, powered: float) -> None:
        """`powered`: when the card got its power, by its clock."""
        self.spec: ApplicationSpec = APPLICATIONS[name]
        self._parts = parts
        self._powered = powered
        self._core: Any = None

    @property
    def application(self) -> Application[Any, Any]:
        return load(self.spec.name)

    @property
    def core(self) -> Any:
        """What all interfaces share of the application on this card. From any thread."""
        if self._core is None:
            application = self.application
            with _installing:
                if self._core is None:
                    self._core = application.install(self._parts, self._powered)
        return self._core

    def power_up(self) -> None:
        """The power was taken from the card and given again; the card's lock is held."""
        with _installing:
            self._powered = self._parts.env.clock()
            if self._core is not None:
                self.application.power_up(self._core)
