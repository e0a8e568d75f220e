"""A program that uses readers, told what to do by a test: a process of its own.

libpcsclite remembers for the life of a process where pcscd was, hence each pcscd needs another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartcard import scard

from apdu.transport import TransportError
from host_tools.testing.worker import RemoteWorker, serve

PATIENCE = 60


class PcscError(TransportError):
    """A call that failed; its text is the SCARD_ name."""


class PcscClient(RemoteWorker):
    """The other process; its methods are those of :class:`_Worker`, bytes are hexadecimal texts.

    A Transport once connected.
    """

    refusal = PcscError

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(__name__, environment=environment)

    def transceive(self, command: bytes) -> bytes:
        return bytes.fromhex(self.call("transmit", command.hex()))


_NAMES = {
    value: name
    for name, value in vars(scard).items()
    if name.startswith(("SCARD_E_", "SCARD_W_", "SCARD_F_"))
}


def _check(result: Any) -> Any:
    code, *values = result if isinstance(result, (list, tuple)) else [result]
    if code != scard.SCARD_S_SUCCESS:
        raise PcscError(_NAMES.get(code, hex(code)))
    return values[0] if len(values) == 1 else values


class _Worker:
    """What the other process can do."""

    def __init__(self) -> None:
        self._context: Any = None
        self._card: Any = None
        self._protocol: int = scard.SCARD_PROTOCOL_T1

    def establish(self) -> None:
        """SCardEstablishContext, waiting for pcscd to listen."""
        self._context = _check(scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM))

    def readers(self) -> list[str]:
        """SCardListReaders; none is no error."""
        code, names = scard.SCardListReaders(self._context, [])
        return [] if code == scard.SCARD_E_NO_READERS_AVAILABLE else list(_check([code, names]))

    def connect(self, reader: str, protocol: int = 3) -> int:
        """SCardConnect in shared mode; gives the protocol that was agreed on."""
        self._card, self._protocol = _check(
            scard.SCardConnect(self._context, reader, scard.SCARD_SHARE_SHARED, protocol)
        )
        return self._protocol

    def reconnect(self, cold: bool = False) -> None:
        """SCardReconnect with a warm reset or a cold one."""
        how = scard.SCARD_UNPOWER_CARD if cold else scard.SCARD_RESET_CARD
        mode = scard.SCARD_SHARE_SHARED
        _check(scard.SCardReconnect(self._card, mode, self._protocol, how))

    def acknowledge(self) -> None:
        """SCardReconnect after another program's reset; the card is left as it is."""
        mode, leave = scard.SCARD_SHARE_SHARED, scard.SCARD_LEAVE_CARD
        _check(scard.SCardReconnect(self._card, mode, self._protocol, leave))

    def disconnect(self, cold: bool = False) -> None:
        """SCardDisconnect, with the power taken away or not."""
        how = scard.SCARD_UNPOWER_CARD if cold else scard.SCARD_LEAVE_CARD
        _check(scard.SCardDisconnect(self._card, how))

    def begin(self) -> None:
        _check(scard.SCardBeginTransaction(self._card))

    def end(self) -> None:
        _check(scard.SCardEndTransaction(self._card, scard.SCARD_LEAVE_CARD))

    def atr(self) -> str:
        """The ATR of SCardStatus."""
        _reader, _state, _protocol, atr = _check(scard.SCardStatus(self._card))
        return bytes(atr).hex()

    def transmit(self, command: str) -> str:
        sent = list(bytes.fromhex(command))
        return bytes(_check(scard.SCardTransmit(self._card, self._protocol, sent))).hex()

    def repeat(self, command: str, count: int) -> list[str]:
        """The different responses to a command that is sent so many times."""
        return sorted({self.transmit(command) for _ in range(count)})

    def in_transactions(self, commands: list[str], count: int) -> list[list[str]]:
        """The different series of responses to commands sent so many times, each time in one."""
        found = set()
        for _ in range(count):
            self.begin()
            found.add(tuple(self.transmit(command) for command in commands))
            self.end()
        return sorted(map(list, found))

    def wait_for(self, reader: str, present: bool) -> str:
        """SCardGetStatusChange until a card is there, or is not; gives its ATR."""
        known = scard.SCARD_STATE_UNAWARE
        wanted = scard.SCARD_STATE_PRESENT if present else scard.SCARD_STATE_EMPTY
        while True:
            [(_name, known, atr)] = _check(
                scard.SCardGetStatusChange(self._context, PATIENCE * 1000, [(reader, known)])
            )
            if known & wanted:
                return bytes(atr).hex()
            known &= ~scard.SCARD_STATE_CHANGED


if __name__ == "__main__":
    serve(_Worker(), PcscError)
