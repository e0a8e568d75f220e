"""From the bytes of a request to a frozen, typed one, as the tables of spec/ctap.toml say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apdu.ctap import REQUESTS, CtapCommand, FieldSpec, FieldType, Status, StructureSpec
from token_fw.apps.fido2 import cbor
from token_fw.apps.fido2.errors import CtapError

MAX_MSG_SIZE = 7609
"""Bytes of a request, the command byte counted: what CTAPHID carries (CTAP 2.1 11.2.4)."""

PREVIEW = {0x40: CtapCommand.BIO_ENROLLMENT, 0x41: CtapCommand.CREDENTIAL_MANAGEMENT}
"""The numbers that drafts of CTAP 2.1 gave them (FIDO_2_1_PRE); libfido2 1.12 has no others."""

Check = Callable[[Any], bool]


def parse(request: bytes) -> tuple[CtapCommand, Any]:
    """The command and its request, an instance of its class in apdu.ctap.

    Keys that are not known are passed over. Raises CtapError, in the order of CTAP 2.1 8:
    CTAP2_ERR_REQUEST_TOO_LARGE, CTAP1_ERR_INVALID_COMMAND, CTAP1_ERR_INVALID_LENGTH for parameters
    where there are none, CTAP2_ERR_INVALID_CBOR, CTAP2_ERR_CBOR_UNEXPECTED_TYPE,
    CTAP2_ERR_MISSING_PARAMETER, CTAP1_ERR_INVALID_LENGTH for a byte string of the wrong length.
    """
    if len(request) > MAX_MSG_SIZE:
        raise CtapError(Status.CTAP2_ERR_REQUEST_TOO_LARGE, "the request is too long")
    if not request:
        raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, "the request is empty")
    try:
        command = CtapCommand(PREVIEW.get(request[0], request[0]))
    except ValueError:
        raise CtapError(Status.CTAP1_ERR_INVALID_COMMAND, "there is no such command") from None
    structure = REQUESTS[command]
    if not structure.fields:
        if len(request) > 1:
            raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, "the command has no parameters")
        return command, structure.cls()
    try:
        value = cbor.decode(request[1:])
    except cbor.CborError as error:
        raise CtapError(Status.CTAP2_ERR_INVALID_CBOR, str(error)) from None
    return command, build(structure, value)


def build(structure: StructureSpec, value: object) -> Any:
    """An instance of the structure's class; raises CtapError, see `parse`."""
    if not isinstance(value, dict):
        raise _unexpected("a map")
    present = {item: value[item.key] for item in structure.fields if item.key in value}
    members = {item.name: _member(item, content) for item, content in present.items()}
    for item in structure.fields:
        if item.required and item.name not in members:
            raise CtapError(Status.CTAP2_ERR_MISSING_PARAMETER, f"{item.key} is missing")
    for item, content in present.items():
        if item.length and len(content) != item.length:
            raise CtapError(Status.CTAP1_ERR_INVALID_LENGTH, f"{item.key} has another length")
    if structure.encoded:
        members["encoded"] = cbor.encode(value)
    return structure.cls(**members)


def _member(item: FieldSpec, value: Any) -> Any:
    if not item.many:
        return _single(item, value)
    if not isinstance(value, list):
        raise _unexpected(f"{item.key}: an array")
    return tuple(_single(item, element) for element in value)


def _single(item: FieldSpec, value: Any) -> Any:
    if item.structure is not None:
        return build(item.structure, value)
    if not _CHECKS[item.type](value):
        raise _unexpected(f"{item.key}: {item.type}")
    return value


def _unexpected(wanted: str) -> CtapError:
    return CtapError(Status.CTAP2_ERR_CBOR_UNEXPECTED_TYPE, f"not what it must be: {wanted}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(choice, bool) for name, choice in value.items()
    )


_CHECKS: dict[FieldType, Check] = {
    FieldType.ANY: lambda _: True,
    FieldType.BOOL: lambda value: isinstance(value, bool),
    FieldType.BYTES: lambda value: isinstance(value, bytes),
    FieldType.COSE: lambda value: isinstance(value, Mapping) and all(map(_is_int, value)),
    FieldType.INT: _is_int,
    FieldType.OPTIONS: _is_options,
    FieldType.TEXT: lambda value: isinstance(value, str),
    FieldType.UINT: lambda value: _is_int(value) and value >= 0,
}
