"""What the control door does for whoever holds a token: PINs entered, touches, fingers, trust."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from host_tools.control import ControlError, ErrorCode, Json
from host_tools.control_request import Request
from host_tools.fingers import MAX_FINGER, QUALITIES
from host_tools.inspection import PIN_NAMES
from host_tools.tokens import look
from token_fw.env import Sample
from token_fw.finger_sensor import ScriptedSensor, Step
from token_fw.pin_pad import PinPad
from token_fw.touch_pad import TouchPad

if TYPE_CHECKING:
    from host_tools.control_peer import ControlPeer
    from host_tools.doors import Doors

_MAX_PIN = 64
_MAX_STEPS = 1000
_MAX_DELAY = 3600
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


def _touch(doors: "Doors", request: Request) -> TouchPad | None:
    """What is touched, None where nobody can be waiting. Raises TransportError without a token."""
    reader = doors.find(request)
    reader.connect().close()
    return reader.touch


def _await_touch(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """That a touch is waited for; nothing where none is for a moment."""
    pad = _touch(doors, request)
    return {"awaited": True} if pad is not None and pad.awaited(_TICK) else {}


def _give_touch(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    pad = _touch(doors, request)
    if pad is None or not pad.give():
        name = request.text("token")
        raise ControlError(
            ErrorCode.TOKEN_STATE,
            f"Nobody waits for a touch of {name}.",
            f"Begin to use the key first, or wait for that: klyuch touch {name} --wait",
        )
    return {"touched": True}


def _press(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """Keep a finger on the token: a touch for the first command that wishes for one."""
    pad = _touch(doors, request)
    if pad is None:
        raise _removed()
    pad.press()
    return {"pressed": True}


def _release(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """Take the finger away; that is no touch of a token that is not there either."""
    pad = doors.find(request).touch
    if pad is not None:
        pad.release()
    return {"pressed": False}


def _removed() -> ControlError:
    return ControlError(ErrorCode.TOKEN_STATE, "The token was removed.", "Insert it again.")


def _sensor(doors: "Doors", request: Request) -> ScriptedSensor:
    """What fingers are put on. Raises TransportError without a token."""
    reader = doors.find(request)
    reader.connect().close()
    sensor = reader.fingers
    if sensor is None:
        raise _removed()
    return sensor


def _await_finger(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """That a finger is waited for; nothing where none is for a moment."""
    return {"awaited": True} if _sensor(doors, request).awaited(_TICK) else {}


def _present_finger(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    sensor = _sensor(doors, request)
    if not sensor.present(_sample(request)):
        name = request.text("token")
        raise ControlError(
            ErrorCode.TOKEN_STATE,
            f"Nobody waits for a finger on {name}.",
            f"Begin the login first, or wait for it: klyuch finger present {name} FINGER --wait",
        )
    return {"presented": True}


def _script_fingers(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    sensor = _sensor(doors, request)
    steps = request.fields.get("steps")
    if not isinstance(steps, list) or len(steps) > _MAX_STEPS:
        raise ControlError(ErrorCode.BAD_REQUEST, f"'steps' must be a list, up to {_MAX_STEPS}.")
    if not all(isinstance(step, dict) for step in steps):
        raise ControlError(ErrorCode.BAD_REQUEST, "A step must be an object.")
    return {"steps": sensor.script([_step(Request(step)) for step in steps])}


def _clear_fingers(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    return {"dropped": _sensor(doors, request).forget()}


def _step(step: Request) -> Step:
    delay = step.fields.get("delay", 0.0)
    if not isinstance(delay, int | float) or not 0 <= delay <= _MAX_DELAY:
        raise ControlError(ErrorCode.BAD_REQUEST, f"'delay' must be 0 to {_MAX_DELAY} seconds.")
    if step.flag("absent"):
        if step.fields.keys() & {"finger", "quality"}:
            raise ControlError(ErrorCode.BAD_REQUEST, "A step has a finger, or is 'absent'.")
        return Step(None, float(delay))
    return Step(_sample(step), float(delay))


def _sample(request: Request) -> Sample:
    finger, quality = request.text("finger").encode(), request.text("quality", "good")
    if not 1 <= len(finger) <= MAX_FINGER:
        raise ControlError(ErrorCode.BAD_REQUEST, f"A finger has 1 to {MAX_FINGER} bytes.")
    if quality not in QUALITIES:
        raise ControlError(
            ErrorCode.BAD_REQUEST,
            f"There is no quality {quality!r}.",
            f"Qualities: {', '.join(QUALITIES)}",
        )
    return Sample(finger, QUALITIES[quality])


def _authority(_peer: "ControlPeer", doors: "Doors", request: Request) -> Json:
    """How the token attests FIDO credentials, and its authority's certificate in hexadecimal.

    There is none where nothing leads to it.
    """
    kind, certificate = doors.find(request).authority()
    return {"attestation": kind, "certificate": certificate.hex() or None}


AWAITING = ("pin.await", "touch.await", "finger.await")
"""Requests to be made again while they answer nothing."""

HANDLERS: dict[str, Callable[["ControlPeer", "Doors", Request], Json]] = {
    "pin.await": _await_pin,
    "pin.ask": _ask_pin,
    "pin.enter": _enter_pin,
    "pin.cancel": _cancel_pin,
    "touch.await": _await_touch,
    "touch.give": _give_touch,
    "touch.press": _press,
    "touch.release": _release,
    "finger.await": _await_finger,
    "finger.present": _present_finger,
    "finger.script": _script_fingers,
    "finger.clear": _clear_fingers,
    "fido.authority": _authority,
}
