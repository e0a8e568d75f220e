"""Another program that uses a card in a reader, told what to do by lines of JSON.

libpcsclite remembers for the life of a process where pcscd was: hence every test has its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self


class RemoteReader:
    """The other process, connected to the card; its methods are those of :class:`_Worker`."""

    def __init__(self, reader: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, reader],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def send(self, name: str, *arguments: object) -> None:
        """Ask without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the oldest request: a result, or the name of an error."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def call(self, name: str, *arguments: object) -> Any:
        self.send(name, *arguments)
        return self.answer()


class _Worker:
    def __init__(self, reader: str) -> None:
        from host_tools.readers import ReaderTransport, find_reader

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


def _serve() -> None:
    from apdu.transport import TransportError

    worker = _Worker(sys.argv[1])
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = getattr(worker, name)(*arguments)
        except TransportError as error:
            answer = type(error).__name__
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
