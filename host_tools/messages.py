"""What a return value of the PKCS#11 library means to a person, and what to do about it."""

from typing import Final

from host_tools.control import ControlError, ErrorCode
from pkcs11_module import _constants as ck

_Meaning = tuple[ErrorCode, str, str]

_UNACCEPTABLE = (
    ErrorCode.PIN_UNACCEPTABLE,
    "The token's PIN policy refuses that PIN.",
    "Choose another one; the rules are shown by: klyuch pin status",
)
_GONE = (
    ErrorCode.TOKEN_STATE,
    "There is no usable token in the slot.",
    "See: klyuch token list",
)
_DAEMON = (
    ErrorCode.DAEMON,
    "The daemon is gone or does not answer.",
    "Run the command again; if it persists, see: klyuch doctor",
)
_FULL = (
    ErrorCode.GENERAL,
    "The token or the disk under it is full.",
    "Delete objects that are not needed, or free disk space.",
)

MEANINGS: Final[dict[int, _Meaning]] = {
    ck.CKR_PIN_INCORRECT: (
        ErrorCode.PIN_WRONG,
        "The PIN is wrong, and a try is spent.",
        "See the tries left: klyuch pin status",
    ),
    ck.CKR_PIN_LOCKED: (
        ErrorCode.PIN_LOCKED,
        "The PIN is locked: its tries are used up.",
        "Unblock the user PIN with the SO PIN: klyuch pin unblock",
    ),
    ck.CKR_PIN_LEN_RANGE: _UNACCEPTABLE,
    ck.CKR_PIN_INVALID: _UNACCEPTABLE,
    ck.CKR_USER_PIN_NOT_INITIALIZED: (
        ErrorCode.TOKEN_STATE,
        "The user PIN was never set.",
        "Set it with the SO PIN: klyuch pin unblock",
    ),
    ck.CKR_SESSION_EXISTS: (
        ErrorCode.TOKEN_STATE,
        "Another application uses the token.",
        "Close it and try again.",
    ),
    ck.CKR_TOKEN_NOT_PRESENT: _GONE,
    ck.CKR_SLOT_ID_INVALID: _GONE,
    ck.CKR_TOKEN_NOT_RECOGNIZED: (
        ErrorCode.TOKEN_STATE,
        "The token is blank.",
        "Initialise it: klyuch token reset TOKEN, or C_InitToken of any application",
    ),
    ck.CKR_DEVICE_REMOVED: _DAEMON,
    ck.CKR_DEVICE_ERROR: (
        ErrorCode.GENERAL,
        "The token failed to carry out the command.",
        "See daemon.log in the home folder, and: klyuch doctor",
    ),
    ck.CKR_DEVICE_MEMORY: _FULL,
    ck.CKR_TOKEN_WRITE_PROTECTED: (
        ErrorCode.TOKEN_STATE,
        "The token is write-protected.",
        "",
    ),
}


STORAGE_FAILURES: Final = frozenset((ck.CKR_DEVICE_ERROR, ck.CKR_DEVICE_MEMORY))
"""What the library answers, among other things, where a token's storage failed."""


def storage_failure(token: str, trouble: str) -> ControlError:
    """The error a person sees where the storage of ``token`` failed; ``trouble`` says of what."""
    return ControlError(
        ErrorCode.GENERAL,
        f"The storage of {token} failed: {trouble}.",
        "Free disk space or mend what it names, then try again; see: klyuch doctor",
    )


def explain(rv: int, where: str = "") -> ControlError:
    """The error a person sees for the return value ``rv`` of the function ``where``."""
    if rv in MEANINGS:
        return ControlError(*MEANINGS[rv])
    name = ck.CKR_NAMES.get(rv, f"0x{rv:08X}")
    return ControlError(
        ErrorCode.GENERAL,
        f"{where or 'The PKCS#11 library'} answered {name}.",
        "If that is no mistake of the command, see: klyuch doctor",
    )
