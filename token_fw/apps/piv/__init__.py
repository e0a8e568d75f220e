"""The PIV application of SP 800-73-4, with Yubico's extensions."""

from __future__ import annotations

from typing import Any, Final

from apdu.model import APPLICATIONS
from token_fw.apps import SELECT_NAME, Application, Handler, Parts
from token_fw.apps.piv import authenticate, commands, information, key_commands, pin_commands
from token_fw.apps.piv.objects import DataObjects
from token_fw.apps.piv.session import Core, PivSession
from token_fw.apps.piv.slots import ManagementKey, SlotKeys

__all__ = ["APPLICATION", "HANDLERS", "SPEC", "Core", "PivSession"]

SPEC = APPLICATIONS["piv"]

HANDLERS: dict[str, Handler[PivSession, Any]] = {
    "SELECT": SELECT_NAME,
    "GET DATA": Handler(commands.parse_get_data, information.get_data),
    "VERIFY": Handler(commands.parse_verify, pin_commands.verify),
    "CHANGE REFERENCE DATA": Handler(
        commands.parse_change_reference_data, pin_commands.change_reference_data
    ),
    "RESET RETRY COUNTER": Handler(
        commands.parse_reset_retry_counter, pin_commands.reset_retry_counter
    ),
    "GENERAL AUTHENTICATE": Handler(authenticate.parse_authenticate, authenticate.authenticate),
    "PUT DATA": Handler(commands.parse_put_data, information.put_data),
    "GENERATE ASYMMETRIC KEY PAIR": Handler(
        commands.parse_generate, key_commands.generate_key_pair
    ),
    "MOVE KEY": Handler(commands.parse_move, key_commands.move_key),
    "GET METADATA": Handler(commands.parse_metadata, information.get_metadata),
    "GET SERIAL": Handler(commands.parse_nothing, information.get_serial),
    "ATTEST": Handler(commands.parse_attest, key_commands.attest),
    "SET PIN RETRIES": Handler(commands.parse_set_retries, pin_commands.set_retries),
    "RESET": Handler(commands.parse_nothing, pin_commands.reset),
    "GET VERSION": Handler(commands.parse_nothing, information.get_version),
    "IMPORT ASYMMETRIC KEY": Handler(commands.parse_import, key_commands.import_key),
    "SET MANAGEMENT KEY": Handler(commands.parse_management_key, pin_commands.set_management_key),
}


def _install(parts: Parts, _powered: float) -> Core:
    return Core(
        transaction=parts.transaction,
        token=parts.token,
        pins=parts.pins,
        keys=SlotKeys(parts.transaction),
        objects=DataObjects(parts.transaction, SPEC.aid),
        management=ManagementKey(parts.transaction),
        matcher=parts.matcher,
        rng=parts.env.rng,
        clock=parts.env.clock,
        presence=parts.env.presence,
    )


APPLICATION: Final = Application(
    SPEC, HANDLERS, _install, lambda core, _: PivSession(core), select=information.select
)
