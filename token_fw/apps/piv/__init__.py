"""The PIV application of SP 800-73-4, with Yubico's extensions."""

from __future__ import annotations

from typing import Any

from apdu.model import APPLICATIONS
from token_fw.apps import SELECT_NAME, Application, Handler
from token_fw.apps.piv import authenticate, commands, information, key_commands, pin_commands
from token_fw.apps.piv.objects import DataObjects
from token_fw.apps.piv.session import Core, PivSession
from token_fw.apps.piv.slots import ManagementKey, SlotKeys
from token_fw.env import Env
from token_fw.fingerprint import Matcher
from token_fw.pin import Pins
from token_fw.state import Token
from token_fw.transaction import Transaction

__all__ = ["SPEC", "Core", "PivSession", "application", "core"]

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


def core(transaction: Transaction, token: Token, pins: Pins, matcher: Matcher, env: Env) -> Core:
    """What all interfaces share of one token."""
    return Core(
        transaction=transaction,
        token=token,
        pins=pins,
        keys=SlotKeys(transaction),
        objects=DataObjects(transaction, SPEC.aid),
        management=ManagementKey(transaction),
        matcher=matcher,
        rng=env.rng,
        clock=env.clock,
        presence=env.presence,
    )


def application(core: Core) -> Application[PivSession]:
    """The application over the durable state of one token."""
    return Application(SPEC, HANDLERS, lambda _: PivSession(core), information.select)
