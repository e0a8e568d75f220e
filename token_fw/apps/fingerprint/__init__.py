"""The fingerprint application: enrolment, names and removal of the fingers that stand for PINs."""

from __future__ import annotations

from typing import Any, Final

from apdu.model import APPLICATIONS
from token_fw.apps import SELECT_NAME, Application, Handler, Parts
from token_fw.apps.fingerprint import commands
from token_fw.apps.fingerprint.session import Core, FingerprintSession

__all__ = ["APPLICATION", "HANDLERS", "SPEC", "Core", "FingerprintSession"]

SPEC = APPLICATIONS["fingerprint"]

HANDLERS: dict[str, Handler[FingerprintSession, Any]] = {
    "SELECT": SELECT_NAME,
    "VERIFY": Handler(commands.parse_verify, commands.verify),
    "BEGIN ENROLMENT": Handler(commands.parse_begin, commands.begin),
    "CAPTURE SAMPLE": Handler(commands.parse_nothing, commands.capture),
    "CANCEL ENROLMENT": Handler(commands.parse_nothing, commands.cancel),
    "GET FINGERS": Handler(commands.parse_nothing, commands.get_fingers),
    "NAME FINGER": Handler(commands.parse_name, commands.name),
    "REMOVE FINGER": Handler(commands.parse_ident, commands.remove),
}


def _install(parts: Parts, _powered: float) -> Core:
    return Core(parts.transaction, parts.pins, parts.matcher)


APPLICATION: Final = Application(SPEC, HANDLERS, _install, lambda core, _: FingerprintSession(core))
