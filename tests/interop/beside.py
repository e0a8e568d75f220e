"""What a library answers to calls, kept under labels to be put beside what another one answers."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_ulong
from dataclasses import dataclass
from typing import Final

from host_tools.cryptoki import Cryptoki, Mechanism, Session
from host_tools.cryptoki_values import Value, mechanism_of
from pkcs11_module import _constants as ck
from tests.unit.facade_samples import rsa_private_key

IV: Final = bytes(range(16))
TEXT: Final = bytes(number * 7 & 0xFF for number in range(200))
USES: Final[dict[int, Value]] = dict.fromkeys(
    (ck.CKA_ENCRYPT, ck.CKA_DECRYPT, ck.CKA_SIGN, ck.CKA_VERIFY, ck.CKA_WRAP, ck.CKA_UNWRAP), True
)
OPEN: Final[dict[int, Value]] = {
    ck.CKA_TOKEN: False,
    ck.CKA_SENSITIVE: False,
    ck.CKA_EXTRACTABLE: True,
}
AES: Final[dict[int, Value]] = {
    ck.CKA_CLASS: ck.CKO_SECRET_KEY,
    ck.CKA_KEY_TYPE: ck.CKK_AES,
    ck.CKA_VALUE: bytes(range(32)),
    **OPEN,
    **USES,
}
GENERIC: Final = {**AES, ck.CKA_KEY_TYPE: ck.CKK_GENERIC_SECRET}
DATA: Final[dict[int, Value]] = {
    ck.CKA_CLASS: ck.CKO_DATA,
    ck.CKA_TOKEN: False,
    ck.CKA_PRIVATE: False,
    ck.CKA_LABEL: "data",
    ck.CKA_VALUE: b"value",
}
_RSA: Final = {int(getattr(ck, f"CKA_{name}")): value for name, value in rsa_private_key().items()}
RSA_PRIVATE: Final[dict[int, Value]] = {
    **_RSA,
    **OPEN,
    ck.CKA_SIGN: True,
    ck.CKA_DECRYPT: True,
}
RSA_PUBLIC: Final[dict[int, Value]] = {
    ck.CKA_CLASS: ck.CKO_PUBLIC_KEY,
    ck.CKA_KEY_TYPE: ck.CKK_RSA,
    ck.CKA_TOKEN: False,
    ck.CKA_MODULUS: _RSA[ck.CKA_MODULUS],
    ck.CKA_PUBLIC_EXPONENT: _RSA[ck.CKA_PUBLIC_EXPONENT],
    ck.CKA_VERIFY: True,
    ck.CKA_ENCRYPT: True,
}


class Counter(ctypes.Structure):
    """CK_AES_CTR_PARAMS."""

    _fields_ = (("ulCounterBits", c_ulong), ("cb", ctypes.c_ubyte * 16))


def counter(bits: int, block: bytes = IV) -> Mechanism:
    return ck.CKM_AES_CTR, Counter(bits, (ctypes.c_ubyte * 16)(*block))


class Peer:
    """A library with a token whose user is logged in; keeps what every call answered."""

    def __init__(self, library: Cryptoki, slot: int) -> None:
        self.library = library
        self.slot = slot
        self.answers: dict[str, str] = {}
        self.session = self.fresh()
        self.session.login(ck.CKU_USER, b"481516")
        self.aes = self.session.create(AES)
        self.generic = self.session.create(GENERIC)

    def fresh(self, *, rw: bool = True) -> Session:
        return self.library.open_session(self.slot, rw)

    def call(self, label: str, session: Session, name: str, *args: object) -> bool:
        rv = self.library.raw[name](session.handle, *args)
        self._note(label, ck.CKR_NAMES[rv])
        return rv == ck.CKR_OK

    def out(
        self, label: str, session: Session, name: str, *args: object, room: int | None = 512
    ) -> bytes:
        """A call with a buffer of that size, None to ask for the size; gives the output."""
        size, buffer = c_ulong(room or 0), ctypes.create_string_buffer((room or 0) + 1)
        place = None if room is None else buffer
        rv = self.library.raw[name](session.handle, *args, place, byref(size))
        told = rv in (ck.CKR_OK, ck.CKR_BUFFER_TOO_SMALL)
        made = buffer.raw[: size.value] if rv == ck.CKR_OK and place is not None else b""
        length = f" {size.value}" if told else ""
        self._note(label, f"{ck.CKR_NAMES[rv]}{length} {made.hex()}".rstrip())
        return made

    def make(self, label: str, session: Session, name: str, *args: object) -> int:
        """A call that ends in the place of a handle."""
        handle = c_ulong()
        return handle.value if self.call(label, session, name, *args, byref(handle)) else 0

    def told(self, label: str, handle: int, name: int) -> None:
        value = self.session.attributes(handle, name)[name]
        self._note(f"{label} tells", "nothing" if value is None else value.hex())

    def _note(self, label: str, answer: str) -> None:
        assert label not in self.answers, label
        self.answers[label] = answer


@dataclass(frozen=True)
class Kind:
    """A kind of operation, and with what it is begun."""

    name: str
    mechanism: Mechanism
    key: tuple[int, ...]

    def step(self, peer: Peer, label: str, session: Session, step: str) -> None:
        """Make one of the calls that SCRIPTS are made of."""
        if step == "init":
            made = mechanism_of(self.mechanism)
            peer.call(label, session, f"C_{self.name}Init", made, *self.key)
        elif step.startswith("part"):
            part = {"part-none": b"", "part-odd": TEXT[:17], "part-NULL": None}.get(step, IV)
            call = peer.out if self.name in ("Encrypt", "Decrypt") else peer.call
            call(label, session, f"C_{self.name}Update", part, 16 if part is None else len(part))
        elif step.startswith("end"):
            room = {"end-ask": None, "end-short": 0}.get(step, 512)
            peer.out(label, session, f"C_{self.name}Final", room=room)
        else:
            one = {"one-odd": TEXT[:17], "one-NULL": None}.get(step, TEXT[:32])
            room = {"one-ask": None, "one-short": 3}.get(step, 512)
            size = 16 if one is None else len(one)
            peer.out(label, session, f"C_{self.name}", one, size, room=room)
