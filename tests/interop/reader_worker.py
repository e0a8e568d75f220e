"""Another program that uses a card in a reader by our transport, told what to do by a test.

libpcsclite remembers for the life of a process where pcscd was: hence every test has its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

from apdu.transport import TransportError
from host_tools.readers import ReaderTransport, find_reader
from host_tools.testing.worker import RemoteWorker, serve


class RemoteReader(RemoteWorker):
    """The other process, connected to the card; its methods are those of :class:`_Worker`.

    What fails raises Refused; its text is the name of the exception there.
    """

    def __init__(self, reader: str, environment: Mapping[str, str]) -> None:
        super().__init__(__name__, reader, environment=environment)


class _Worker:
    def __init__(self, reader: str) -> None:
        # pcscd looks for a card a few times in a second.
        while not find_reader(reader).present:
            time.sleep(0.01)
        self.transport = ReaderTransport(reader)
        self.transactions = ExitStack()

    def transceive(self, command: str) -> str:
        return self.transport.transceive(bytes.fromhex(command)).hex().upper()

    def reset(self) -> str:
        return self.transport.reset().hex().upper()

    def begin(self) -> int:
        self.transactions.enter_context(self.transport.transaction())
        return self.transport.epoch

    def end(self) -> None:
        self.transactions.close()


if __name__ == "__main__":
    serve(_Worker(sys.argv[1]), TransportError, lambda error: type(error).__name__)
