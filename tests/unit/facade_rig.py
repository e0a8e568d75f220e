"""A token in a reader, and applications that use it as a process would: for tests of the facade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from apdu.transport import Transport, TransportError
from pkcs11_module import _constants as ck
from pkcs11_module.facade import Application, Module, SlotEvents
from pkcs11_module.facade.attributes import boolean, ulong
from pkcs11_module.types import (
    Attribute,
    AttributeRequest,
    Buffer,
    Mechanism,
    Pkcs11Error,
)
from token_fw.card import Card
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.finger_sensor import ScriptedSensor
from token_fw.pin_pad import PinPad
from token_fw.storage.base import Store
from token_fw.storage.memory import MemoryStore

SO_PIN, USER_PIN = b"87654321", b"1234"
SERIAL = bytes.fromhex("0123456789ABCDEF")
P256 = bytes.fromhex("06082A8648CE3D030107")
ED25519 = bytes.fromhex("06032B6570")
X25519 = bytes.fromhex("06032B656E")
ED448 = bytes.fromhex("06032B6571")
X448 = bytes.fromhex("06032B656F")
ROOM = Buffer(1 << 16)


class SlotReader:
    """A reader that a token can be put into and pulled out of, which `events` is told of."""

    shared = False

    def __init__(self, slot_id: int, events: SlotEvents | None = None) -> None:
        self.events = events or SlotEvents()
        self.slot_id = slot_id
        self.description = f"Test reader {slot_id}"
        self.application: str | None = "pki"
        self.generation = 0
        self.card: Card | None = None

    @property
    def present(self) -> bool:
        return self.card is not None

    def insert(self, card: Card) -> None:
        self.card = card
        self.generation += 1
        self.events.tell(self.slot_id)

    def remove(self) -> None:
        if self.card is not None:
            self.card.close()
        self.card = None
        self.events.tell(self.slot_id)

    def connect(self) -> Transport:
        if self.card is None:
            raise TransportError("no token")
        return self.card.connect()


class Rig:
    """One module with readers; the first holds a blank token in memory.

    PINs are entered on `pad`, if the token's profile has a protected path; `sensor` takes fingers.
    """

    def __init__(self, store: Store | None = None, **profile: Any) -> None:
        self.store = MemoryStore() if store is None else store
        personalise(self.store, Profile(SERIAL, **profile))
        self._open()

    def _open(self) -> None:
        self.events = SlotEvents()
        self.reader = SlotReader(1, self.events)
        self.insert()
        self.all = [self.reader]
        self.module = Module(self)

    def insert(self) -> None:
        """Put the token in."""
        self.pad, self.sensor = PinPad(), ScriptedSensor()
        self.reader.insert(Card(Env(self.store, path=self.pad, sensor=self.sensor)))

    @classmethod
    def of(cls, store: Store) -> Rig:
        """A token that exists already, in a reader."""
        rig = cls.__new__(cls)
        rig.store = store
        rig._open()
        return rig

    def readers(self) -> Sequence[SlotReader]:
        return self.all

    def application(self) -> Client:
        return Client(self.module.application())

    def initialised(self) -> Client:
        """An application of a token with its PINs set, nobody logged in, no session open."""
        client = self.application()
        client("C_InitToken", 1, SO_PIN, b"test token".ljust(32))
        session = client.open()
        client("C_Login", session, ck.CKU_SO, SO_PIN)
        client("C_InitPIN", session, USER_PIN)
        client("C_CloseSession", session)
        return client

    def reinsert(self) -> None:
        """Pull the token and put it in again, as after a power cut."""
        self.reader.remove()
        self.insert()


Value = bytes | int | bool | str


class Client:
    """An application with its functions as calls."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._ids = count(1)

    def __call__(self, name: str, *args: object) -> Any:
        return self.application.call(name, *args)

    def fails(self, name: str, *args: object) -> str:
        """The name of the error that the call ends with."""
        try:
            answer = self.application.call(name, *args)
        except Pkcs11Error as error:
            return ck.CKR_NAMES[error.rv]
        raise AssertionError(f"{name} gave {answer!r}")

    def outcome(self, name: str, *args: object) -> str:
        """The name of what the call returns, CKR_OK among them."""
        try:
            self.application.call(name, *args)
        except Pkcs11Error as error:
            return ck.CKR_NAMES[error.rv]
        return "CKR_OK"

    def open(self, *, rw: bool = True, slot: int = 1) -> int:
        flags = ck.CKF_SERIAL_SESSION | (ck.CKF_RW_SESSION if rw else 0)
        return int(self("C_OpenSession", slot, flags))

    def user(self, *, rw: bool = True) -> int:
        """A session of the logged-in user."""
        session = self.open(rw=rw)
        self("C_Login", session, ck.CKU_USER, USER_PIN)
        return session

    def find(self, session: int, **wanted: Value) -> list[int]:
        self("C_FindObjectsInit", session, template(**wanted))
        found: list[int] = self("C_FindObjects", session, 1 << 20)
        self("C_FindObjectsFinal", session)
        return found

    def get(self, session: int, handle: int, *names: str) -> list[bytes]:
        requests = tuple(AttributeRequest(getattr(ck, f"CKA_{name}"), 1 << 16) for name in names)
        rv, values = self("C_GetAttributeValue", session, handle, requests)
        assert rv == ck.CKR_OK, ck.CKR_NAMES[rv]
        return list(values)

    def make_ec_pair(
        self, session: int, ident: bytes = b"\x01", **private: Value
    ) -> tuple[int, int]:
        answer: tuple[int, int] = self(
            "C_GenerateKeyPair",
            session,
            Mechanism(ck.CKM_EC_KEY_PAIR_GEN),
            template(TOKEN=True, EC_PARAMS=P256, ID=ident, LABEL="key"),
            template(**{"TOKEN": True, "ID": ident, "LABEL": "key", **private}),
        )
        return answer

    def sign(self, session: int, mechanism: int, key: int, data: bytes) -> bytes:
        self("C_SignInit", session, Mechanism(mechanism), key)
        return bytes(self("C_Sign", session, data, ROOM))

    def verifies(
        self, session: int, mechanism: int, key: int, data: bytes, signature: bytes
    ) -> bool:
        self("C_VerifyInit", session, Mechanism(mechanism), key)
        return self.outcome("C_Verify", session, data, signature) == "CKR_OK"


def template(**values: Value) -> tuple[Attribute, ...]:
    """A template by the names of attributes without CKA_."""
    return tuple(
        Attribute(getattr(ck, f"CKA_{name}"), encoded(value)) for name, value in values.items()
    )


def encoded(value: Value) -> bytes:
    """A value in the form of a template."""
    if isinstance(value, bool):
        return boolean(value)
    if isinstance(value, int):
        return ulong(value)
    return value.encode("utf-8") if isinstance(value, str) else value


def data_template(label: str, value: bytes = b"content", **more: Value) -> Mapping[str, Value]:
    """The attributes of a data object on the token."""
    return {"CLASS": ck.CKO_DATA, "TOKEN": True, "LABEL": label, "VALUE": value, **more}
