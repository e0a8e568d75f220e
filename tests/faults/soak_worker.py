"""One process of the soak: sessions in threads that use a token and check every result.

`python -m tests.faults.soak_worker SLOT SESSIONS ROUNDS NAME`, with the PIN as a line on stdin.
Says "ready" when it is logged in, begins at the next line on stdin, and exits with 0 where
everything was as it must be.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable

from host_tools.cryptoki import Cryptoki, Session, ulong
from pkcs11_module import _constants as ck
from token_fw.crypto import digest

KEY_ID = b"soak"
"""CKA_ID of the key pair on the token that all sign with."""


class Worker:
    """A session of its own and what is done in it."""

    def __init__(self, library: Cryptoki, slot: int, name: str) -> None:
        self.library = library
        self.slot = slot
        self.name = name
        self.chance = random.Random(name)
        self.session = library.open_session(slot)
        self.steps: tuple[Callable[[], None], ...] = (
            self.sign,
            self.sign_in_parts,
            self.keep_an_object,
            self.digest,
            self.draw_random,
            self.make_a_key,
            self.look_around,
            self.reopen,
        )

    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            for step in self.chance.sample(self.steps, len(self.steps)):
                step()
        self.session.close()

    def key(self, object_class: int) -> int:
        (handle,) = self.session.find({ck.CKA_CLASS: object_class, ck.CKA_ID: KEY_ID})
        return handle

    def verify(self, mechanism: int, data: bytes, signature: bytes) -> None:
        public = self.key(ck.CKO_PUBLIC_KEY)
        assert self.session.verify(mechanism, public, data, signature)
        assert not self.session.verify(mechanism, public, data + b"!", signature)

    def sign(self) -> None:
        text = self.chance.randbytes(self.chance.randrange(200))
        private = self.key(ck.CKO_PRIVATE_KEY)
        self.verify(
            ck.CKM_ECDSA_SHA256, text, self.session.sign(ck.CKM_ECDSA_SHA256, private, text)
        )

    def sign_in_parts(self) -> None:
        parts = [self.chance.randbytes(self.chance.randrange(5000)) for _ in range(4)]
        private = self.key(ck.CKO_PRIVATE_KEY)
        signature = self.session.sign_parts(ck.CKM_ECDSA_SHA256, private, parts)
        self.verify(ck.CKM_ECDSA_SHA256, b"".join(parts), signature)

    def keep_an_object(self) -> None:
        """A session object is found by its session's application, read, changed and gone."""
        session, label, value = self.session, self.fresh_label(), self.chance.randbytes(300)
        handle = session.create(
            {ck.CKA_CLASS: ck.CKO_DATA, ck.CKA_LABEL: label, ck.CKA_VALUE: value}
        )
        assert session.find({ck.CKA_LABEL: label}) == [handle]
        assert session.attributes(handle, ck.CKA_VALUE) == {ck.CKA_VALUE: value}
        renamed = self.fresh_label()
        session.set_attributes(handle, {ck.CKA_LABEL: renamed})
        assert session.find({ck.CKA_LABEL: label}) == []
        assert session.find({ck.CKA_LABEL: renamed}) == [handle]
        session.destroy(handle)
        assert session.find({ck.CKA_LABEL: renamed}) == []

    def fresh_label(self) -> str:
        return f"{self.name} {self.chance.getrandbits(64)}"

    def digest(self) -> None:
        text = self.chance.randbytes(self.chance.randrange(70_000))
        expected = digest.compute(digest.Hash.SHA256, text)
        assert self.session.digest(ck.CKM_SHA256, text) == expected

    def draw_random(self) -> None:
        assert self.session.random(32) != self.session.random(32)

    def make_a_key(self) -> None:
        """A key pair of the session, which ends with the session unless it is destroyed."""
        session = self.session
        parameters = bytes.fromhex("06082a8648ce3d030107")
        public, private = session.generate_key_pair(
            ck.CKM_EC_KEY_PAIR_GEN, {ck.CKA_EC_PARAMS: parameters}, {ck.CKA_LABEL: self.name}
        )
        hashed = self.chance.randbytes(32)
        signature = session.sign(ck.CKM_ECDSA, private, hashed)
        assert session.verify(ck.CKM_ECDSA, public, hashed, signature)
        if self.chance.random() < 0.5:
            session.destroy(private)
            session.destroy(public)

    def look_around(self) -> None:
        assert self.session.info().state == ck.CKS_RW_USER_FUNCTIONS
        assert self.slot in self.library.slots()
        assert self.library.token_info(self.slot).label == "Soak"
        private = self.key(ck.CKO_PRIVATE_KEY)
        told = self.session.attributes(private, ck.CKA_CLASS, ck.CKA_ID, ck.CKA_PRIVATE_EXPONENT)
        assert ulong(told[ck.CKA_CLASS] or b"") == ck.CKO_PRIVATE_KEY
        assert (told[ck.CKA_ID], told[ck.CKA_PRIVATE_EXPONENT]) == (KEY_ID, None)

    def reopen(self) -> None:
        """Another session takes this one's place; the application stays logged in."""
        fresh = self.library.open_session(self.slot)
        self.session.close()
        self.session = fresh


def main() -> None:
    slot, sessions, rounds, name = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    pin = sys.stdin.readline().strip().encode()
    failures: list[BaseException] = []
    with Cryptoki() as library:
        workers = [Worker(library, slot, f"{name}.{number}") for number in range(sessions)]
        lifeline: Session = library.open_session(slot)
        lifeline.login(ck.CKU_USER, pin)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()

        def work(worker: Worker) -> None:
            try:
                worker.run(rounds)
            except BaseException as error:  # noqa: BLE001  reported below, from the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        lifeline.logout()


if __name__ == "__main__":
    main()
