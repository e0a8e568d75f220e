"""Who may do what on a PKI card: its PINs."""

from __future__ import annotations

from apdu.codec import Response
from apdu.spec import Access
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.behaviour import Credential, near_values
from host_tools.conformance.pin_uses import PinData
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import Pins, Vectors

REFS = {"user": pki.USER, "so": pki.SO}
OPENS = {
    "user": frozenset((Access.USER, Access.USER_OR_SO)),
    "so": frozenset((Access.SO, Access.USER_OR_SO)),
}
# Zeros after a PIN are padding; here a byte follows them.
_JUNK = b"\x00\x00!"


def credentials(table: Vectors, given: Pins) -> list[Credential]:
    """The PINs that are given."""
    return [
        _pin(name, given[name].encode(), table.pins[f"{name}-wrong"].encode())
        for name in REFS
        if name in given
    ]


def _pin(name: str, right: bytes, wrong: bytes) -> Credential:
    ref = REFS[name]

    def present(subject: Subject, value: bytes) -> Response:
        return subject.client.send(pki.verify(ref, value))

    near = {what: pki.verify(ref, value) for what, value in near_values(right).items()}
    near["junk after it"] = pki.verify(ref, right + _JUNK)
    return Credential(
        f"{name} PIN",
        "VERIFY",
        present,
        right,
        wrong,
        pki.verify(ref),
        opens=OPENS[name],
        near=near,
        pin=name,
        final=ref == pki.SO,
    )


PIN_DATA: PinData = {
    "VERIFY": lambda value, _: value,
    "CHANGE REFERENCE DATA": pki.padded,
    "CHANGE REFERENCE DATA ODD": lambda old, new: pki.change(pki.USER, old, new).data,
    "RESET RETRY COUNTER": pki.padded,
    "RESET RETRY COUNTER ODD": lambda puk, new: pki.unblock(puk, new).data,
    "RESET RETRY COUNTER BY SO": lambda _, new: new,
    "INITIALIZE": lambda so_pin, _: pki.initialize(so_pin).data,
}
