"""authenticatorReset (CTAP 2.1 6.6): back to how the application left the factory."""

from __future__ import annotations

from collections.abc import Callable

from apdu.ctap import Reset, Status
from token_fw.apps.fido2 import large_blobs, new_pin, settings
from token_fw.apps.fido2.core import PIN_TRIES, Call, Core
from token_fw.apps.fido2.errors import CtapError
from token_fw.pin import PinRef, Pins

RESET_SECONDS = 10.0
"""How long after the power came a reset is taken."""


def reset(call: Call, _: Reset) -> None:
    """Erase all but the attestation key, in one transaction, if the user touches the token.

    Raises CtapError: CTAP2_ERR_NOT_ALLOWED when it is too late, and as Call.touch.
    """
    core = call.core
    if core.clock() - core.powered > RESET_SECONDS:
        raise CtapError(Status.CTAP2_ERR_NOT_ALLOWED, "the token is powered for too long")
    call.touch()
    for forget in FORGET:
        forget(core)


def _forget_pin(core: Core) -> None:
    core.pins.clear(PinRef.FIDO)
    Pins.create(core.transaction, PinRef.FIDO, PIN_TRIES)
    new_pin.forget(core.transaction)
    core.pin_uv.end_tokens()
    core.transaction.after(core.pin_uv.reset)


FORGET: tuple[Callable[[Core], None], ...] = (
    lambda core: core.credentials.clear(),
    lambda core: core.secrets.renew(),
    lambda core: large_blobs.forget(core.transaction),
    lambda core: settings.forget(core.transaction),
    lambda core: core.matcher.forget(PinRef.FIDO),
    _forget_pin,
)
"""What each part of the application forgets."""
