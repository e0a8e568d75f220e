"""`python -m bench.inside WHAT`: where the time of a call goes inside the daemon, without sockets.

The frames of a library are handed to the server in this process, over and over: first for the time
of one, then under the profiler of Python.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from bench.peers import LABEL, PIN, SO_PIN
from host_tools.doors import Doors
from host_tools.home import Home
from host_tools.provisioning import initialise
from pkcs11_module import _constants as c
from pkcs11_module import wire
from pkcs11_module._functions import FUNCTIONS
from token_fw.factory import Profile

_NUMBERS = {function.name: function.number for function in FUNCTIONS}
_P256 = bytes.fromhex("06082a8648ce3d030107")
_TRUE = b"\x01"
_ROUNDS, _CALLS = 5, 400

Work = Callable[[], None]


def _ulong(value: int) -> bytes:
    return struct.pack("<Q", value)


def _bytes(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value


def _template(**attributes: bytes) -> bytes:
    parts = [_ulong(getattr(c, name)) + _bytes(value) for name, value in attributes.items()]
    return struct.pack("<I", len(parts)) + b"".join(parts)


def _frame(name: str, *arguments: bytes) -> bytes:
    return wire.frame(struct.pack("<I", _NUMBERS[name]) + b"".join(arguments))


class Inside:
    """A token in this process, a session with it, and the work to repeat by name."""

    def __init__(self, folder: Path) -> None:
        home = Home(folder)
        home.make()
        self.doors = Doors(home, lambda: None)
        reader = self.doors.rack.create(Profile(os.urandom(8)), None)
        initialise(self.doors.module, reader.slot_id, LABEL, SO_PIN.encode(), PIN.encode())
        self._connection = self.doors.pkcs11()
        hello = wire.MAGIC + struct.pack("<I", wire.VERSION) + bytes(wire.ID_SIZE)
        self._connection.receive(wire.frame(hello))
        flags = _ulong(c.CKF_SERIAL_SESSION | c.CKF_RW_SESSION)
        opened = self._call(_frame("C_OpenSession", _ulong(reader.slot_id), flags))
        self._session = opened[:8]
        login = (self._session, _ulong(c.CKU_USER), _bytes(PIN.encode()))
        self._call(_frame("C_Login", *login))

    def _call(self, frame: bytes) -> bytes:
        [answer] = self._connection.receive(frame)
        rv = int.from_bytes(answer[4:12], "little")
        if rv != c.CKR_OK:
            raise RuntimeError(f"{rv:#x}")
        return answer[12:]

    def _all(self, *frames: bytes) -> Work:
        def run() -> None:
            for frame in frames:
                self._call(frame)

        return run

    def _key(self, mechanism: int, **public: bytes) -> bytes:
        answer = self._call(
            _frame(
                "C_GenerateKeyPair",
                self._session,
                _ulong(mechanism) + b"\x00",
                _template(CKA_TOKEN=_TRUE, **public),
                _template(CKA_TOKEN=_TRUE, CKA_PRIVATE=_TRUE, CKA_SIGN=_TRUE, CKA_ID=b"inside"),
            )
        )
        return answer[8:16]

    def _sign(self, mechanism: int, key: bytes, size: int) -> Work:
        return self._all(
            _frame("C_SignInit", self._session, _ulong(mechanism) + b"\x00", key),
            _frame("C_Sign", self._session, _bytes(bytes(size)), _ulong(512)),
        )

    def ec(self) -> Work:
        """C_SignInit and C_Sign, CKM_ECDSA on P-256."""
        key = self._key(c.CKM_EC_KEY_PAIR_GEN, CKA_EC_PARAMS=_P256)
        return self._sign(c.CKM_ECDSA, key, 32)

    def rsa(self) -> Work:
        """C_SignInit and C_Sign, CKM_RSA_PKCS with 2048 bits."""
        key = self._key(c.CKM_RSA_PKCS_KEY_PAIR_GEN, CKA_MODULUS_BITS=_ulong(2048))
        return self._sign(c.CKM_RSA_PKCS, key, 51)

    def find(self) -> Work:
        """C_FindObjectsInit, C_FindObjects and C_FindObjectsFinal, by CKA_ID."""
        self.ec()
        wanted = _template(CKA_CLASS=_ulong(c.CKO_PRIVATE_KEY), CKA_ID=b"inside")
        return self._all(
            _frame("C_FindObjectsInit", self._session, wanted),
            _frame("C_FindObjects", self._session, _ulong(2)),
            _frame("C_FindObjectsFinal", self._session),
        )

    def attributes(self) -> Work:
        """C_GetAttributeValue of the class, the identifier, the label and the key type."""
        key = self._key(c.CKM_EC_KEY_PAIR_GEN, CKA_EC_PARAMS=_P256)
        wanted = (c.CKA_CLASS, c.CKA_ID, c.CKA_LABEL, c.CKA_KEY_TYPE)
        room = b"".join(_ulong(kind) + _ulong(256) for kind in wanted)
        asked = struct.pack("<I", len(wanted)) + room
        return self._all(_frame("C_GetAttributeValue", self._session, key, asked))

    def random(self) -> Work:
        """C_GenerateRandom of 32 bytes."""
        return self._all(_frame("C_GenerateRandom", self._session, _ulong(32)))


_WORKS: dict[str, Callable[[Inside], Work]] = {
    "ec": Inside.ec,
    "rsa": Inside.rsa,
    "find": Inside.find,
    "attributes": Inside.attributes,
    "random": Inside.random,
}


def _best(work: Work) -> float:
    """Microseconds of one turn in the quickest round."""
    spent = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        for _ in range(_CALLS):
            work()
        spent.append(time.perf_counter() - begun)
    return min(spent) / _CALLS * 1e6


@click.command(epilog="\b\nExample:\n  python -m bench.inside ec --sort tottime | less\n")
@click.argument("what", type=click.Choice(list(_WORKS)))
@click.option("--sort", default="cumtime", type=click.Choice(["cumtime", "tottime"]))
@click.option("--lines", default=40, help="Of the profile.")
def main(what: str, sort: str, lines: int) -> None:
    """Time and profile one kind of call inside the daemon's code."""
    with tempfile.TemporaryDirectory(prefix="klyuch-bench-") as folder:
        inside = Inside(Path(folder))
        work = _WORKS[what](inside)
        work()
        print(f"{what}: {_best(work):.1f} µs")
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(_CALLS):
            work()
        profile.disable()
        pstats.Stats(profile).sort_stats(sort).print_stats(lines)
        inside.doors.close()


if __name__ == "__main__":
    main()
