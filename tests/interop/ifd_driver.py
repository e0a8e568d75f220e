"""The driver loaded as pcscd loads it, function by function."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_int, c_long, c_ubyte, c_ulong, c_void_p
from typing import Final

from host_tools.bridge.address import DRIVER

SUCCESS, TAG_ERROR, POWER_ERROR, COMMUNICATION_ERROR = 0, 600, 608, 612
NOT_SUPPORTED = 614
PRESENT, NOT_PRESENT, NO_SUCH_DEVICE, INSUFFICIENT_BUFFER = 615, 616, 617, 618
POWER_UP, POWER_DOWN, RESET = 500, 501, 502
MOST: Final = 65548
_WATCH, _STOP = 0x0FB3, 0x0FB2
_T1 = 1
_WATCHING = ctypes.CFUNCTYPE(c_long, c_ulong, c_int)
_STOPPING = ctypes.CFUNCTYPE(c_long, c_ulong)


class _Pci(ctypes.Structure):
    _fields_ = (("protocol", c_ulong), ("length", c_ulong))


class IfdDriver:
    """One reader of the driver, the one of that number; answers are IFD_ codes."""

    def __init__(self, device: str, number: int = 0) -> None:
        self._library = ctypes.CDLL(str(DRIVER))
        self._lun = c_ulong(number << 16)
        self.opened: Final = self.call("CreateChannelByName", c_char_p(device.encode()))

    def call(self, name: str, *arguments: object) -> int:
        function = self._library[f"IFDH{name}"]
        function.restype = c_long
        return int(function(self._lun, *arguments))

    def close(self) -> int:
        return self.call("CloseChannel")

    def presence(self) -> int:
        return self.call("ICCPresence")

    def power(self, action: int) -> tuple[int, bytes]:
        """The code and the ATR."""
        atr, size = (c_ubyte * 33)(), c_ulong(33)
        code = self.call("PowerICC", c_ulong(action), atr, byref(size))
        return code, bytes(atr[: size.value])

    def transmit(self, command: bytes, room: int = MOST) -> tuple[int, bytes]:
        """The code and the response."""
        response, size = (c_ubyte * room)(), c_ulong(room)
        pci, length = _Pci(_T1, 0), c_ulong(len(command))
        code = self.call(
            "TransmitToICC", pci, command, length, response, byref(size), byref(_Pci())
        )
        return code, bytes(response[: size.value])

    def capability(self, tag: int, room: int = 8) -> tuple[int, bytes]:
        """The code and the value."""
        value, size = (c_ubyte * 64)(), c_ulong(room)
        code = self.call("GetCapabilities", c_ulong(tag), byref(size), value)
        return code, bytes(value[: size.value])

    def control(self, code: int) -> int:
        size = c_ulong(8)
        nothing = c_void_p()
        return self.call(
            "Control", c_ulong(code), nothing, c_ulong(0), nothing, c_ulong(0), byref(size)
        )

    def watch(self, milliseconds: int = 60_000) -> int:
        """Wait as pcscd's thread does."""
        return int(_WATCHING(self._pointer(_WATCH))(self._lun, milliseconds))

    def stop(self) -> int:
        """Wake who waits."""
        return int(_STOPPING(self._pointer(_STOP))(self._lun))

    def wait_for(self, code: int) -> None:
        """Watch as pcscd does until the presence is that."""
        while self.presence() != code:
            self.watch()

    def _pointer(self, tag: int) -> int:
        pointer, size = c_void_p(), c_ulong(ctypes.sizeof(c_void_p))
        code = self.call("GetCapabilities", c_ulong(tag), byref(size), byref(pointer))
        assert code == SUCCESS
        assert pointer.value is not None
        return pointer.value
