"""Another process that uses the library: an application of its own, told what to do by a test."""

import sys
from pathlib import Path

from host_tools import objects
from host_tools.cryptoki import LIBRARY, Cryptoki, CryptokiError, Session
from host_tools.testing.worker import RemoteWorker, serve
from pkcs11_module import _constants as ck
from token_fw.crypto import Ecdsa, digest

MESSAGE = b"one of two applications"


class RemoteApplication(RemoteWorker):
    """The other process, after its C_Initialize. Its methods are those of :class:`_Worker`.

    `library` is what it loads where that is not ours. What that refuses raises Refused; its text is
    the CKR_ name.
    """

    def __init__(self, library: Path = LIBRARY) -> None:
        super().__init__(__name__, str(library))


class _Worker:
    """What the other process can do."""

    def __init__(self, library: Path) -> None:
        self.library = Cryptoki(library)
        self.library.initialize()
        self.session: Session | None = None
        self.slot = 0

    def _open(self) -> Session:
        assert self.session is not None
        return self.session

    def open(self, slot: int) -> None:
        """Open a read-write session."""
        self.slot = slot
        self.session = self.library.open_session(slot)

    def login(self, pin: str) -> None:
        self._open().login(ck.CKU_USER, pin.encode())

    def login_on_token(self) -> None:
        """Wait until the user has entered the PIN on the token."""
        self._open().login(ck.CKU_USER, None)

    def login_so(self, pin: str) -> None:
        self._open().login(ck.CKU_SO, pin.encode())

    def logout(self) -> None:
        self._open().logout()

    def set_pin(self, old: str, new: str) -> None:
        self._open().set_pin(old.encode(), new.encode())

    def state(self) -> int:
        """The session's CKS_ state."""
        return self._open().info().state

    def generate(self, kind: str, label: str) -> None:
        session = self._open()
        objects.generate(session, objects.SPECS[kind], label, objects.new_id(session))

    def labels(self) -> list[str]:
        """Labels of all keys this application sees, with the halves it sees."""
        found = objects.find_keys(self._open())
        return sorted(
            f"{key.label}:{'private' if key.private else ''}{'public' if key.public else ''}"
            for key in found
        )

    def sign(self, label: str) -> bool:
        """Sign with an EC key and verify with its public half, outside of the token."""
        session = self._open()
        key = objects.find_key(session, label)
        hashed = digest.compute(digest.Hash.SHA256, MESSAGE)
        signature = session.sign(ck.CKM_ECDSA, key.private, hashed)
        objects.public_key(session, key.public).verify(Ecdsa(), hashed, signature)
        return True

    def destroy(self, label: str) -> None:
        session = self._open()
        key = objects.find_key(session, label)
        for handle in filter(None, (key.private, key.public)):
            session.destroy(handle)

    def token_present(self) -> bool:
        return bool(self.library.slot_info(self.slot).flags & ck.CKF_TOKEN_PRESENT)

    def wait_for_event(self, flags: int = 0) -> int:
        """The slot of the next event."""
        return self.library.wait_for_slot_event(flags)

    def slots(self) -> list[int]:
        return self.library.slots()

    def restart(self) -> None:
        """C_Finalize and C_Initialize."""
        self.library.finalize()
        self.library.initialize()


if __name__ == "__main__":
    serve(_Worker(Path(sys.argv[1])), CryptokiError, lambda error: error.name)
