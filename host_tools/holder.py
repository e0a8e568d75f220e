"""What the control door does for whoever holds a token: PINs entered on it, touches of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from host_tools.control import ControlError, ErrorCode, Json
from host_tools.control_request import Request
from host_tools.inspection import PIN_NAMES
from host_tools.tokens import look
from token_fw.pin_pad import PinPad
from token_fw.touch_pad import TouchPad

if TYPE_CHECKING:
    from host_tools.doors import ControlPeer, Doors

_MAX_PIN = 64
_TICK = 0.25


def _pad(doors: "Doors", request: Request) -> PinPad:
    """What PINs are entered on. Raises ControlError where there is no such thing."""
    reader = doors.find(request)
    facts, pad = look(reader), reader.pad
    if pad is None or not facts.protected_path:
        raise ControlError(
            ErrorCode.TOKEN_STATE,
            "No PIN can be entered on that token.",
            "Make one that takes them: klyuch token create LABEL --protected-path",
        )
    return pad


def _await_pin(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """Which PIN is asked for; nothing where none is for a moment."""
    shown = _pad(doors, request).shown(_TICK)
    return {} if shown is None else {"pin": PIN_NAMES[shown]}


def _ask_pin(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """Which PIN is asked for."""
    return _answered(request, _pad(doors, request).shown())


def _enter_pin(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    value = request.text("pin").encode()
    if not 1 <= len(value) <= _MAX_PIN:
        raise ControlError(ErrorCode.PIN_UNACCEPTABLE, f"A PIN has 1 to {_MAX_PIN} bytes.")
    return _answered(request, _pad(doors, request).enter(value))


def _cancel_pin(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    return _answered(request, _pad(doors, request).cancel())


def _answered(request: Request, reference: int | None) -> Json:
    if reference is None:
        name = request.text("token")
        raise ControlError(
            ErrorCode.TOKEN_STATE,
            f"Nobody waits for a PIN to be entered on {name}.",
            f"Begin the login first, or wait for one: klyuch pin enter {name} --wait",
        )
    return {"pin": PIN_NAMES[reference]}


def _sensor(doors: "Doors", request: Request) -> TouchPad | None:
    """What is touched, None where nobody can be waiting. Raises TransportError without a token."""
    reader = doors.find(request)
    reader.connect().close()
    return reader.touch


def _await_touch(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """That a touch is waited for; nothing where none is for a moment."""
    sensor = _sensor(doors, request)
    return {"awaited": True} if sensor is not None and sensor.awaited(_TICK) else {}


def _give_touch(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    sensor = _sensor(doors, request)
    if sensor is None or not sensor.give():
        name = request.text("token")
        raise ControlError(
            ErrorCode.TOKEN_STATE,
            f"Nobody waits for a touch of {name}.",
            f"Begin to use the key first, or wait for that: klyuch touch {name} --wait",
        )
    return {"touched": True}


AWAITING = ("pin.await", "touch.await")
"""Requests to be made again while they answer nothing."""

HANDLERS: dict[str, Callable[["ControlPeer", "Doors", Request], Json]] = {
    "pin.await": _await_pin,
    "pin.ask": _ask_pin,
    "pin.enter": _enter_pin,
    "pin.cancel": _cancel_pin,
    "touch.await": _await_touch,
    "touch.give": _give_touch,
}
