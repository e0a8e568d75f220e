"""PKCS#11 as objects: a `Module` for the daemon, an `Application` for every process."""

from pkcs11_module.facade.application import Application, Module
from pkcs11_module.facade.events import SlotEvents
from pkcs11_module.facade.readers import Reader, Readers

__all__ = ["Application", "Module", "Reader", "Readers", "SlotEvents"]
