"""PKCS#11 as objects: a `Module` for the daemon, an `Application` for every process.

Importing the package fills in the table of functions.
"""

from pkcs11_module.facade import (
    cipher,
    digest,
    find,
    keygen,
    login,
    objects,
    random,
    sessions,
    sign,
    slots,
    verify,
)
from pkcs11_module.facade.application import Application, Module
from pkcs11_module.facade.readers import Reader, Readers

__all__ = [
    "Application",
    "Module",
    "Reader",
    "Readers",
    "cipher",
    "digest",
    "find",
    "keygen",
    "login",
    "objects",
    "random",
    "sessions",
    "sign",
    "slots",
    "verify",
]
