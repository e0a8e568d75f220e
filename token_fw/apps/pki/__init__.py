"""The PKI application: IsoApplet's dialect of ISO/IEC 7816-4, -8 and -9, extended."""

from __future__ import annotations

from typing import Any, Final

from apdu.codec import Command
from apdu.model import APPLICATIONS
from token_fw.apps import Application, Handler, Parts
from token_fw.apps.pki import (
    algorithms,
    commands,
    file_commands,
    information,
    key_commands,
    pin_commands,
    secret_commands,
)
from token_fw.apps.pki.files import FileSystem
from token_fw.apps.pki.keys import Keys
from token_fw.apps.pki.session import Core, PkiSession

__all__ = ["APPLICATION", "HANDLERS", "SPEC", "Core", "PkiSession"]

SPEC = APPLICATIONS["pki"]


def _nothing(_: Command) -> None:
    """The command has no data and no choice of parameters."""


HANDLERS: dict[str, Handler[PkiSession, Any]] = {
    "SELECT": Handler(commands.parse_select, file_commands.select),
    "GET DATA": Handler(commands.parse_get_data, information.get_data),
    "GET CHANGE COUNTER": Handler(commands.parse_get_data, information.get_data),
    "READ BINARY": Handler(commands.parse_read_binary, file_commands.read_binary),
    "READ BINARY ODD": Handler(commands.parse_read_binary_odd, file_commands.read_binary),
    "UPDATE BINARY": Handler(commands.parse_update_binary, file_commands.update_binary),
    "UPDATE BINARY ODD": Handler(commands.parse_update_binary_odd, file_commands.update_binary),
    "CREATE FILE": Handler(commands.parse_create_file, file_commands.create_file),
    "DELETE FILE": Handler(commands.parse_delete_file, file_commands.delete_file),
    "VERIFY": Handler(commands.parse_verify, pin_commands.verify),
    "VERIFY ON TOKEN": Handler(commands.parse_verify_on_token, pin_commands.verify_on_token),
    "CHANGE REFERENCE DATA": Handler(
        commands.parse_change_reference_data, pin_commands.change_reference_data
    ),
    "CHANGE REFERENCE DATA ODD": Handler(
        commands.parse_change_reference_data_odd, pin_commands.change_reference_data
    ),
    "RESET RETRY COUNTER": Handler(
        commands.parse_reset_retry_counter, pin_commands.reset_retry_counter
    ),
    "RESET RETRY COUNTER ODD": Handler(
        commands.parse_reset_retry_counter_odd, pin_commands.reset_retry_counter
    ),
    "RESET RETRY COUNTER BY SO": Handler(
        commands.parse_reset_retry_counter_by_so, pin_commands.reset_retry_counter
    ),
    "INITIALIZE": Handler(commands.parse_initialize, pin_commands.initialize),
    "MSE SET": Handler(algorithms.parse_mse, key_commands.set_environment),
    "GENERATE ASYMMETRIC KEY PAIR": Handler(
        key_commands.parse_generate, key_commands.generate_key_pair
    ),
    "GET PUBLIC KEY": Handler(_nothing, key_commands.get_public_key),
    "PUT DATA": Handler(key_commands.parse_import, key_commands.import_key),
    "GENERATE SECRET KEY": Handler(
        secret_commands.parse_generate_secret, secret_commands.generate_secret_key
    ),
    "GET SECRET KEY": Handler(commands.parse_reference, secret_commands.get_secret_key),
    "DELETE KEY": Handler(commands.parse_reference, key_commands.delete_key),
    "PSO COMPUTE DIGITAL SIGNATURE": Handler(
        key_commands.parse_message, key_commands.compute_signature
    ),
    "PSO VERIFY DIGITAL SIGNATURE": Handler(
        key_commands.parse_verify_signature, key_commands.verify_signature
    ),
    "PSO COMPUTE CRYPTOGRAPHIC CHECKSUM": Handler(
        key_commands.parse_message, secret_commands.compute_checksum
    ),
    "PSO ENCIPHER": Handler(key_commands.parse_message, secret_commands.encipher),
    "PSO DECIPHER": Handler(key_commands.parse_decipher, key_commands.decipher),
    "GET CHALLENGE": Handler(commands.parse_get_challenge, information.get_challenge),
}


def _install(parts: Parts, _powered: float) -> Core:
    return Core(
        transaction=parts.transaction,
        token=parts.token,
        pins=parts.pins,
        files=FileSystem(parts.transaction),
        keys=Keys(parts.transaction),
        matcher=parts.matcher,
        rng=parts.env.rng,
        path=parts.env.path if parts.token.protected_path else None,
        changes=parts.changes,
    )


APPLICATION: Final = Application(
    SPEC, HANDLERS, _install, PkiSession, select=lambda _: information.VERSION_0
)
