"""The management application of a YubiKey, read only: serial number, version, applications."""

from __future__ import annotations

from typing import Any, Final

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS
from apdu.spec import Access, CommandSpec
from token_fw.apps import SELECT_NAME, Application, Handler, Parts, Told
from token_fw.apps.yubikey import FORM_FACTOR, VERSION, serial_number
from token_fw.state import Token

SPEC = APPLICATIONS["management"]
_CAPABILITIES = {"piv": 0x0010, "fido2": 0x0202}
"""By the names of our applications; the FIDO2 application is U2F as well."""
_UNLOCKED = b"\x00"


class ManagementSession:
    """Nothing is verified or chosen here."""

    def __init__(self, token: Token, told: Told) -> None:
        self.token = token
        self.told = told

    def permits(self, _: Access) -> bool:
        """All commands are open to everybody."""
        return True

    def begin(self, command: CommandSpec | None) -> None:
        """Nothing ends with a command."""

    def branch(self) -> ManagementSession:
        """There is nothing to share."""
        return self

    def end(self) -> None:
        """No command waits for its user."""


def _nothing(_: Command) -> None:
    """The command has no data and no choice of parameters."""


def _read_config(session: ManagementSession, _: None) -> bytes:
    """One length byte, then 01 and 03 applications over USB, 02 serial number, 05 version, ..."""
    found = (_CAPABILITIES.get(name, 0) for name in session.told.applications)
    capabilities = sum(found).to_bytes(2, "big")
    fields = {
        0x01: capabilities,
        0x02: serial_number(session.token),
        0x03: capabilities,
        0x04: bytes((FORM_FACTOR,)),
        0x05: bytes(VERSION),
        0x0A: _UNLOCKED,
        # ykman takes a reader whose name it does not know for one without contacts.
        0x0D: capabilities,
        0x0E: capabilities,
    }
    body = b"".join(tlv.encode(tag, value) for tag, value in fields.items())
    return bytes((len(body),)) + body


def _name(_: ManagementSession) -> bytes:
    return f"Klyuch - FW version {'.'.join(map(str, VERSION))}".encode()


HANDLERS: dict[str, Handler[ManagementSession, Any]] = {
    "SELECT": SELECT_NAME,
    "READ CONFIG": Handler(_nothing, _read_config),
}


def _install(parts: Parts, _powered: float) -> Token:
    return parts.token


APPLICATION: Final = Application(SPEC, HANDLERS, _install, ManagementSession, select=_name)
