"""The daemon's side of the control door: one connection, and what each request does."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from apdu.transport import TransportError
from host_tools import holder
from host_tools.control import ControlError, ErrorCode, Json, LineBuffer, encode
from host_tools.control_request import Request
from host_tools.doors import Doors
from host_tools.inspection import TokenFacts
from host_tools.messages import storage_failure
from host_tools.provisioning import LABEL_BYTES, initialise
from host_tools.tokens import SERIAL_BYTES, Door, TokenReader, TokenState, look
from host_tools.tracing import Form, Watch
from host_tools.version import version
from token_fw._pins import POLICIES
from token_fw.factory import Profile
from token_fw.state import Attestation
from token_fw.storage.base import StorageError, WrongKey

_MAX_TRIES = 15


class ControlPeer:
    """One connection at the control door; its APDUs go through interfaces of its own."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._lines = LineBuffer()
        self._interfaces: dict[str, tuple[int, Door]] = {}

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The answers to the requests that ``data`` completes; after ``trace``, all that passes.

        ``pin.await`` is answered once a PIN is asked for, ``touch.await`` once a touch is.

        An empty answer has nothing to send: it lets the caller see whether the client has left.
        """
        for request in self._lines.receive(data):
            if request.get("do") == "trace":
                yield from self._trace(request)
            elif request.get("do") in holder.AWAITING:
                yield from self._await(request)
            else:
                yield encode(self._answer(request))
            if request.get("do") == "stop":
                # The answer is on its way: stopping closes this connection.
                self._doors.stop()

    def left(self) -> None:
        for _, door in list(self._interfaces.values()):
            door.close()

    def closed(self) -> None:
        self.left()

    def _answer(self, request: Json) -> Json:
        try:
            handler = _HANDLERS.get(Request(request).text("do"))
            if handler is None:
                raise ControlError(ErrorCode.BAD_REQUEST, "There is no such request.")
            return {"ok": True, "result": handler(self, self._doors, Request(request))}
        except ControlError as error:
            return _refusal(error)
        except TransportError as error:
            return _refusal(ControlError(ErrorCode.TOKEN_STATE, str(error), _SEE_LIST))
        except (StorageError, OSError) as error:
            text = str(error)
            if isinstance(error, OSError) and error.filename:
                text = f"{error.filename}: {error.strerror}"
            return _refusal(ControlError(ErrorCode.GENERAL, f"The storage failed: {text}."))

    def _trace(self, request: Json) -> Iterator[bytes]:
        tracer = self._doors.rack.tracer
        try:
            name = Request(request).text("token", "")
            form = _form(Request(request))
            serial = self._doors.rack.find(name).serial if name else None
        except ControlError as error:
            yield encode(_refusal(error))
            return
        watch: Watch = tracer.watch(serial, form)
        try:
            yield encode({"ok": True, "result": {}})
            for message in watch.messages():
                yield b"" if message is None else encode(message)
        finally:
            tracer.end(watch)

    def _await(self, request: Json) -> Iterator[bytes]:
        while (answer := self._answer(request)).get("result") == {}:
            yield b""
        yield encode(answer)

    def interface(self, reader: TokenReader) -> Door:
        """This connection's interface to a token; a new one after each insertion."""
        kept = self._interfaces.get(reader.serial)
        if kept is not None and kept[0] == reader.generation:
            return kept[1]
        if kept is not None:
            kept[1].close()
        door = reader.connect()
        self._interfaces[reader.serial] = (reader.generation, door)
        return door


_SEE_LIST = "See: klyuch token list"


def _form(request: Request) -> Form:
    """In what form a trace is asked for; in lines where nothing is said. Raises ControlError."""
    name = request.text("form", Form.LINES)
    try:
        return Form(name)
    except ValueError as error:
        message = f"A trace has one of the forms {', '.join(Form)}."
        raise ControlError(ErrorCode.BAD_REQUEST, message) from error


def _refusal(error: ControlError) -> Json:
    return {"ok": False, "code": error.code, "message": error.message, "hint": error.hint}


def _hello(_peer: ControlPeer, _doors: Doors, _request: Request) -> Json:
    return {}


def _status(_peer: ControlPeer, doors: Doors, _request: Request) -> Json:
    connections, most = doors.crowd()
    return {
        "pid": os.getpid(),
        "version": version(),
        "home": str(doors.home.path),
        "uptime": round(time.monotonic() - doors.started, 3),
        "tokens": len(doors.rack.tokens()),
        "applications": len(doors.applications),
        "connections": connections,
        "most_connections": most,
        "readers": sorted(doors.readers),
    }


def _stop(_peer: ControlPeer, _doors: Doors, _request: Request) -> Json:
    return {"pid": os.getpid()}


def _summary(reader: TokenReader) -> Json:
    return {
        "label": reader.record.label,
        "serial": reader.serial,
        "slot": reader.slot_id,
        "state": reader.state,
        "fault": reader.fault,
        "trouble": reader.trouble,
    }


def _list(_peer: ControlPeer, doors: Doors, _request: Request) -> Json:
    doors.rack.refresh()
    return {"tokens": [_summary(reader) for reader in doors.rack.tokens()]}


def _check(_peer: ControlPeer, doors: Doors, _request: Request) -> Json:
    """Open every token: what ``klyuch doctor`` asks for."""
    details = [_details(reader) for reader in doors.rack.tokens()]
    return {"tokens": details, "strays": [str(path) for path in doors.rack.strays()]}


def _details(reader: TokenReader) -> Json:
    facts: TokenFacts | None = None
    if reader.present:
        try:
            facts = look(reader)
        except TransportError as error:
            summary = _summary(reader)
            told = reader.fault or reader.trouble
            return summary if told else {**summary, "trouble": str(error)}
    if facts is None:
        return _summary(reader)
    return {
        **_summary(reader),
        "label": facts.label,
        "initialised": facts.initialised,
        "protected_path": facts.protected_path,
        "fingers": facts.fingers,
        "finger_tries": facts.finger_tries,
        "keys": facts.keys,
        "pins": [asdict(pin) for pin in facts.pins],
    }


def _show(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    return _details(doors.find(request))


def _profile(request: Request, serial: bytes) -> Profile:
    policy = request.text("pin_policy", "default")
    if policy not in POLICIES:
        raise ControlError(
            ErrorCode.BAD_REQUEST,
            f"There is no PIN policy {policy!r}.",
            f"Policies: {', '.join(POLICIES)}",
        )
    return Profile(
        serial=serial,
        pin_policy=policy,
        user_tries=request.number("user_tries", 3, 1, _MAX_TRIES),
        so_tries=request.number("so_tries", 10, 1, _MAX_TRIES),
        protected_path=request.flag("protected_path"),
        attestation=_attestation(request),
    )


def _attestation(request: Request) -> Attestation:
    name = request.text("attestation", Attestation.CERTIFICATE)
    if name not in list(Attestation):
        raise ControlError(
            ErrorCode.BAD_REQUEST,
            f"There is no attestation {name!r}.",
            f"Attestations: {', '.join(Attestation)}",
        )
    return Attestation(name)


def _label(request: Request) -> str:
    label = request.text("label")
    if not label.strip() or len(label.encode()) > LABEL_BYTES or not label.isprintable():
        raise ControlError(
            ErrorCode.BAD_REQUEST,
            f"The label {label!r} does not fit.",
            f"A label has 1 to {LABEL_BYTES} bytes of printable UTF-8.",
        )
    return label.rstrip()


def _create(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    blank = request.flag("blank")
    label = "" if blank else _label(request)
    if label and any(reader.record.label == label for reader in doors.rack.tokens()):
        raise ControlError(
            ErrorCode.EXISTS, f"There is a token {label!r} already.", "Choose another label."
        )
    so_pin, pin = request.secret("so_pin"), request.secret("pin")
    if so_pin is None and not blank:
        raise ControlError(ErrorCode.BAD_REQUEST, "An initialised token needs an SO PIN.")
    profile = _profile(request, os.urandom(SERIAL_BYTES))
    reader = doors.rack.create(profile, request.secret("passphrase"))
    try:
        if so_pin is not None and not blank:
            _initialise(doors, reader, label, so_pin, pin)
        doors.rack.keep(reader, label)
    except BaseException:
        doors.rack.delete(reader)
        raise
    return _details(reader)


def _initialise(
    doors: Doors, reader: TokenReader, label: str, so_pin: bytes, pin: bytes | None
) -> None:
    try:
        initialise(doors.module, reader.slot_id, label, so_pin, pin)
    except ControlError as error:
        if error.code is not ErrorCode.GENERAL or not reader.trouble:
            raise
        raise storage_failure(label, reader.trouble) from error


def _insert(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    reader = doors.find(request)
    doors.rack.insert(reader)
    return _details(reader)


def _remove(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    reader = doors.find(request)
    doors.rack.remove(reader)
    return _details(reader)


def _delete(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    reader = doors.find(request)
    summary = _summary(reader)
    doors.rack.delete(reader)
    return summary


def _reset(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    """By the SO PIN the token is initialised anew, by force it goes back to the factory."""
    reader = doors.find(request)
    if request.flag("force"):
        doors.rack.wipe(reader, _profile(request, bytes.fromhex(reader.serial)))
        return _details(reader)
    so_pin = request.secret("so_pin")
    if so_pin is None:
        raise ControlError(ErrorCode.BAD_REQUEST, "A reset needs the SO PIN, or force.")
    label = _label(request) if "label" in request.fields else reader.record.label or "Token"
    _initialise(doors, reader, label, so_pin, request.secret("pin"))
    doors.rack.keep(reader, label)
    return _details(reader)


def _unlock(_peer: ControlPeer, doors: Doors, request: Request) -> Json:
    reader = doors.find(request)
    if reader.state is not TokenState.LOCKED:
        raise ControlError(ErrorCode.TOKEN_STATE, "The token is not locked by a passphrase.")
    try:
        reader.unlock(request.text("passphrase").encode())
    except WrongKey as error:
        raise ControlError(
            ErrorCode.PIN_WRONG, "The passphrase does not open the token.", "Try again."
        ) from error
    return _details(reader)


def _apdu(peer: ControlPeer, doors: Doors, request: Request) -> Json:
    commands = request.fields.get("commands")
    try:
        if not isinstance(commands, list):
            raise TypeError
        raw = [bytes.fromhex(command) for command in commands]
    except (TypeError, ValueError) as error:
        raise ControlError(
            ErrorCode.BAD_REQUEST, "'commands' must be a list of hexadecimal texts."
        ) from error
    door = peer.interface(doors.find(request))
    return {"responses": [door.transceive(command).hex() for command in raw]}


def _apdu_reset(peer: ControlPeer, doors: Doors, request: Request) -> Json:
    """Reset this connection's interface to a token, which other connections do not notice."""
    return {"atr": peer.interface(doors.find(request)).reset().hex()}


_HANDLERS: dict[str, Callable[[ControlPeer, Doors, Request], Json]] = {
    "hello": _hello,
    "status": _status,
    "stop": _stop,
    "check": _check,
    "apdu": _apdu,
    "apdu.reset": _apdu_reset,
    "token.create": _create,
    "token.list": _list,
    "token.show": _show,
    "token.insert": _insert,
    "token.remove": _remove,
    "token.reset": _reset,
    "token.delete": _delete,
    "token.unlock": _unlock,
    **holder.HANDLERS,
}
