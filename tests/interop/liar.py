"""A daemon that greets as one does and then answers every call with the bytes it was given."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from pkcs11_module import wire
from pkcs11_module._constants import CKR_OK


class Liar:
    """Listens at `folder`/run/pkcs11.sock; `answer` is sent for whatever arrives."""

    def __init__(self, folder: Path) -> None:
        (folder / "run").mkdir()
        self.answer = b""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / "run" / "pkcs11.sock"))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(wire.frame(wire.write_hello_answer(CKR_OK, bytes([1] * 16))))
                while connection.recv(4096):
                    connection.sendall(self.answer)
