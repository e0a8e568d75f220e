"""A trace for people: one line for each APDU, decoded by the catalogue, secrets masked.

PKI  → 00 2A 9E 9A  PSO COMPUTE DIGITAL SIGNATURE  51 bytes · Le 256
PKI  ← 9000  256 bytes in 0.8 ms
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from apdu import tlv
from apdu._catalogue import COMMAND_OBJECTS, RESPONSE_OBJECTS, SW
from apdu.codec import ApduFormatError, Command, Response
from apdu.ctap_trace import CtapTold
from apdu.model import describe
from apdu.selection import SECRET_INSTRUCTIONS, Selection
from apdu.spec import Access, ApplicationSpec, CommandSpec, TagSpec
from apdu.transport import Transport, TransportError

_GET_RESPONSE = 0xC0
_LONGEST_VALUE = 16
_LONGEST_DETAIL = 240


class Decoder:
    """Says in a line what an APDU is; keeps what the next response needs to be understood.

    It begins with `application` and goes over to whichever is selected by its name. Values are
    shown only where the catalogue knows the command and calls neither it nor the data object
    secret, and only up to 16 bytes; of everything else the size is shown. So a PIN, a private key,
    a decrypted text or the content of a file never appears. Of CTAP the command and the status are
    told.
    """

    def __init__(self, application: ApplicationSpec) -> None:
        self._selection = Selection(application)
        self._command: CommandSpec | None = None
        self._ctap = CtapTold()

    @property
    def _name(self) -> str:
        return self._selection.application.name.upper()

    def command(self, raw: bytes) -> str:
        """The line for a command APDU, of any bytes."""
        header = raw[:4].hex(" ").upper()
        try:
            command = Command.parse(raw)
        except ApduFormatError:
            self._command = None
            self._ctap = CtapTold()
            size = "masked" if raw[1:2] and raw[1] in SECRET_INSTRUCTIONS else _size(raw)
            return f"{self._name}  → {header}  malformed command, {size}"
        spec = self._selection.command(command)
        # GET RESPONSE carries on a response whose beginning and command are past.
        self._command = spec if command.ins != _GET_RESPONSE else None
        parts = []
        if command.data:
            # Even the size of a PIN is its owner's.
            parts.append("masked" if command.ins in SECRET_INSTRUCTIONS else _size(command.data))
        if spec is not None and not command.chained and command.ins not in SECRET_INSTRUCTIONS:
            parts += _shown(command.data, spec, self._objects(COMMAND_OBJECTS, spec))
        if told := self._ctap.command(command, "" if spec is None else spec.name):
            parts.append(told)
        if command.ne:
            parts.append(f"Le {command.ne}")
        if command.chained:
            parts.append("more follows")
        name = "unknown command" if spec is None else spec.name
        return f"{self._name}  → {header}  {name}  {' · '.join(parts)}".rstrip()

    def response(self, raw: bytes, seconds: float, cause: str = "") -> str:
        """The line for the response to the last command, of any bytes, that took so long.

        `cause` is what the card itself says of a refusal, empty where that is not known.
        """
        took = f"in {seconds * 1000:.1f} ms"
        name = self._name
        try:
            response = Response.parse(raw)
        except ApduFormatError:
            return f"{name}  ← malformed response, {_size(raw)} {took}"
        self._selection.response(response.sw1)
        meaning = "9000 " if response.sw == SW.NO_ERROR else f"{describe(response.sw)},"
        parts = [
            f"{meaning} {_size(response.data)} {took}" if response.data else f"{meaning} {took}"
        ]
        spec = self._command
        if spec is not None and response.sw == SW.NO_ERROR and not spec.secret_response:
            parts += _shown(response.data, spec, self._objects(RESPONSE_OBJECTS, spec))
        if told := self._ctap.response(response):
            parts.append(told)
        if cause:
            parts.append(cause)
        return f"{name}  ← {' · '.join(parts)}"

    def failure(self, error: TransportError, seconds: float) -> str:
        """The line for an exchange that failed after so long."""
        return f"{self._name}  ✗ {error} in {seconds * 1000:.1f} ms"

    def _objects(
        self, table: Mapping[tuple[str, str], tuple[TagSpec, ...]], spec: CommandSpec
    ) -> tuple[TagSpec, ...]:
        return table.get((self._selection.application.name, spec.name), ())


class Trace:
    """A transport that tells `sink` a line for every APDU that passes through `inner`.

    `cause` says why the card refused the last command, where the card is ours and can tell.
    """

    def __init__(
        self,
        inner: Transport,
        sink: Callable[[str], None],
        application: ApplicationSpec,
        clock: Callable[[], float] = time.perf_counter,
        cause: Callable[[], str] = str,
    ) -> None:
        self._inner = inner
        self._sink = sink
        self._decoder = Decoder(application)
        self._clock = clock
        self._cause = cause

    def transceive(self, command: bytes) -> bytes:
        """Exchange one APDU; raises what `inner` raises, after telling it."""
        self._sink(self._decoder.command(command))
        start = self._clock()
        try:
            response = self._inner.transceive(command)
        except TransportError as error:
            self._sink(self._decoder.failure(error, self._clock() - start))
            raise
        took = self._clock() - start
        self._sink(self._decoder.response(response, took, self._cause()))
        return response


def _size(data: bytes) -> str:
    return "1 byte" if len(data) == 1 else f"{len(data)} bytes"


def _shown(data: bytes, spec: CommandSpec, objects: tuple[TagSpec, ...]) -> list[str]:
    """What is shown of a data field: its objects by name, or short data of harmless commands."""
    known = {member.tag: member for member in objects}
    if known:
        try:
            items = tlv.parse(data)
        except tlv.TlvError:
            items = ()
        if items and all(item.tag in known for item in items):
            text = " · ".join(_object(item, known[item.tag]) for item in items)
            return [text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}…"]
    # What needs a PIN or a file's permission may be confidential, whatever its size.
    if spec.access is Access.ALWAYS and 0 < len(data) <= _LONGEST_VALUE:
        return [_value(data)]
    return []


def _object(item: tlv.Tlv, spec: TagSpec | None) -> str:
    if spec is None:
        return f"{item.tag:02X} {_size(item.value)}"
    if spec.members:
        try:
            inner = tlv.parse(item.value)
        except tlv.TlvError:
            return f"{spec.name} malformed, {_size(item.value)}"
        known = {member.tag: member for member in spec.members}
        text = ", ".join(_object(member, known.get(member.tag)) for member in inner)
        return f"{spec.name} {{{text}}}"
    if spec.secret or len(item.value) > _LONGEST_VALUE:
        return f"{spec.name} {_size(item.value)}"
    meaning = dict(spec.values).get(item.value)
    if meaning is None and spec.text and item.value.isascii():
        meaning = repr(item.value.decode("ascii"))
    return f"{spec.name} {meaning or _value(item.value)}"


def _value(data: bytes) -> str:
    return data.hex(" ").upper() or "empty"
