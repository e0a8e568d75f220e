"""Initialise a token and set its PINs, by the same PKCS#11 functions an application calls."""

from host_tools.messages import explain
from pkcs11_module import _constants as ck
from pkcs11_module.facade import Module
from pkcs11_module.types import Pkcs11Error

LABEL_BYTES = 32


def initialise(module: Module, slot: int, label: str, so_pin: bytes, pin: bytes | None) -> None:
    """C_InitToken and, where a user PIN is given, C_InitPIN.

    On a blank token ``so_pin`` becomes its SO PIN, on any other it must be the one it has; what
    the token held is erased. Raises ControlError.
    """
    application = module.application()
    try:
        padded = label.encode().ljust(LABEL_BYTES)
        application.call("C_InitToken", slot, so_pin, padded)
        if pin is not None:
            flags = ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION
            session = application.call("C_OpenSession", slot, flags)
            application.call("C_Login", session, ck.CKU_SO, so_pin)
            application.call("C_InitPIN", session, pin)
    except Pkcs11Error as error:
        raise explain(error.rv, "Initialising the token") from error
    finally:
        application.close()
