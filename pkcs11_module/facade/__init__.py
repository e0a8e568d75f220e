"""PKCS#11 as objects: a `Module` for the daemon, an `Application` for every process.

Importing the package fills in the table of functions.
"""

from pkcs11_module.facade import (
    cipher,
    copying,
    derive,
    digest,
    dual,
    encapsulate,
    extended,
    find,
    keygen,
    login,
    message_signing,
    messages,
    objects,
    operation_state,
    random,
    sessions,
    sign,
    slots,
    verify,
    wrap,
)
from pkcs11_module.facade.application import Application, Module
from pkcs11_module.facade.events import SlotEvents
from pkcs11_module.facade.readers import Reader, Readers

__all__ = [
    "Application",
    "Module",
    "Reader",
    "Readers",
    "SlotEvents",
    "cipher",
    "copying",
    "derive",
    "digest",
    "dual",
    "encapsulate",
    "extended",
    "find",
    "keygen",
    "login",
    "message_signing",
    "messages",
    "objects",
    "operation_state",
    "random",
    "sessions",
    "sign",
    "slots",
    "verify",
    "wrap",
]
