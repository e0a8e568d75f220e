"""The fingerprint application: enrolment, names and removal of the fingers that stand for PINs."""

from __future__ import annotations

from typing import Any

from apdu.model import APPLICATIONS
from token_fw.apps import SELECT_NAME, Application, Handler
from token_fw.apps.fingerprint import commands
from token_fw.apps.fingerprint.session import Core, FingerprintSession

__all__ = ["SPEC", "Core", "FingerprintSession", "application"]

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


def application(core: Core) -> Application[FingerprintSession]:
    """The application over the durable state of one token."""
    return Application(SPEC, HANDLERS, lambda _: FingerprintSession(core))
