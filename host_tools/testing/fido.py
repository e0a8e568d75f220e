"""A FIDO2 token of this process, which python-fido2 finds as it finds devices of USB.

Nobody touches it and no finger is on its sensor unless the test says so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import fido2.hid
from fido2.hid import CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor

from apdu.wire.ctaphid import PACKET
from host_tools.closing import Closing
from host_tools.hid import HidConnection, HidDevice
from token_fw.card import Card
from token_fw.env import Env
from token_fw.factory import SERIAL_SIZE, Profile, personalise
from token_fw.finger_sensor import ScriptedSensor
from token_fw.storage.memory import MemoryStore
from token_fw.touch_pad import TouchPad

_HELD = 0.05


class _Connection(CtapHidConnection):
    """A client's way to the device, as python-fido2 wants it."""

    def __init__(self, connection: HidConnection) -> None:
        self._connection = connection

    def read_packet(self) -> bytes:
        packet = self._connection.read()
        assert packet is not None
        return packet

    def write_packet(self, data: bytes) -> None:
        self._connection.write(data)

    def close(self) -> None:
        self._connection.close()


class FidoKey(Closing):
    """A token in memory, plugged in. What is on it survives that it is pulled out.

    `touch` is what it is touched on, `sensor` where fingers are put; a request waits for either as
    many seconds as `patience` says. Both are new each time it is plugged in.
    """

    def __init__(self, patience: float = 15.0) -> None:
        self._medium = MemoryStore().medium
        self._patience = patience
        self.serial = os.urandom(SERIAL_SIZE)
        personalise(MemoryStore(self._medium), Profile(self.serial))
        self.winks = 0
        """How often a client wanted its user's attention."""
        self._device: HidDevice | None = None
        self.plug()

    @property
    def plugged(self) -> bool:
        """Whether it is there to be found."""
        return self._device is not None

    def plug(self) -> None:
        """Plug it in; nothing happens where it is."""
        if self._device is not None:
            return
        self.touch, self.sensor = TouchPad(self._patience), ScriptedSensor(self._patience)
        self.card = Card(Env(MemoryStore(self._medium), presence=self.touch, sensor=self.sensor))
        self._device = HidDevice(self.card.ctap, self.card.u2f, self._wink)

    def unplug(self) -> None:
        """Pull it out; nothing happens where it is not there."""
        device, self._device = self._device, None
        if device is not None:
            self.card.close()
            device.close()

    def close(self) -> None:
        self.unplug()

    @property
    def authority(self) -> bytes:
        """The certificate in DER to which its attestations lead."""
        return self.card.authority()[1]

    def _wink(self) -> None:
        self.winks += 1

    def connect(self) -> HidConnection:
        """A client's way to it, in packets. Raises OSError where it is not plugged in."""
        if self._device is None:
            raise OSError("the token is not plugged in")
        return self._device.open()

    def device(self) -> CtapHidDevice:
        """It, as python-fido2 opens it."""
        return CtapHidDevice(self.descriptor, _Connection(self.connect()))

    @property
    def descriptor(self) -> HidDescriptor:
        """What the system would say of it."""
        serial = self.serial.hex()
        return HidDescriptor(f"klyuch:{serial}", 0, 0, PACKET, PACKET, "Klyuch", serial)

    @contextmanager
    def touched(self) -> Iterator[None]:
        """Meanwhile somebody touches it whenever it asks for that, also when plugged in anew."""
        over = threading.Event()

        def finger() -> None:
            while not over.is_set():
                # Pulled out, it asks for nothing, and says so at once.
                if not self.touch.awaited(_HELD):
                    over.wait(_HELD if not self.plugged else 0)
                elif self.touch.give():
                    continue

        thread = threading.Thread(target=finger, name="finger", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def found(self) -> Iterator[None]:
        """Meanwhile python-fido2 finds it, where it is plugged in, and no other device."""

        def descriptors() -> Iterator[HidDescriptor]:
            if self.plugged:
                yield self.descriptor

        def described(path: str | bytes) -> HidDescriptor:
            if path != self.descriptor.path or not self.plugged:
                raise OSError(f"there is no device {path!r}")
            return self.descriptor

        def opened(_: HidDescriptor) -> CtapHidConnection:
            return _Connection(self.connect())

        with mock.patch.multiple(
            fido2.hid,
            list_descriptors=descriptors,
            get_descriptor=described,
            open_connection=opened,
        ):
            yield
