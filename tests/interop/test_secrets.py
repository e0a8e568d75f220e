"""A private key's bytes and a PIN appear in no answer, no trace, no log and no file."""

import contextlib
import os
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from host_tools.cli import secret_input
from host_tools.cli.secret_input import Secret
from host_tools.control import SECRET_VARIABLES, ControlError
from host_tools.cryptoki import Cryptoki, CryptokiError
from host_tools.daemon import PKCS11_SOCKET
from host_tools.testing import Run, Scratch, ScratchToken
from pkcs11_module import _constants as ck

_PIN = "pin-31415926"
_SHORTEST = 16


class Recorder:
    """Stands between the library and the daemon and keeps what passes, both ways."""

    def __init__(self, folder: Path, real: Path) -> None:
        self.requests = bytearray()
        self.answers = bytearray()
        self._real = real
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / PKCS11_SOCKET))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._sockets = [self._listener]
        self._start(self._accept)

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                daemon = socket.socket(socket.AF_UNIX)
                self._sockets += [client, daemon]
                daemon.connect(str(self._real))
                self._start(self._pump, client, daemon, self.requests)
                self._start(self._pump, daemon, client, self.answers)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                record += data
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in self._sockets:
            one.close()


@pytest.fixture
def recorder(home: Scratch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Programs of this test reach the daemon of ``home`` through a second home's socket."""
    with Scratch() as second:
        second.home.make()
        with home.control():
            recorder = Recorder(second.home.run, home.home.run / PKCS11_SOCKET)
        monkeypatch.setenv("KLYUCH_HOME", str(second.path))
        yield recorder
        recorder.close()


def _forms(number: int) -> Iterator[bytes]:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    assert len(raw) >= _SHORTEST
    yield raw
    yield raw[::-1]
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    # Any alignment in base64: the middle third is the same text for one of the three.
    for shift in range(3):
        yield b64encode(raw[shift:])[4:-4]


def _rsa_secrets(key: rsa.RSAPrivateKey) -> dict[str, int]:
    numbers = key.private_numbers()
    return {
        "d": numbers.d,
        "p": numbers.p,
        "q": numbers.q,
        "dp": numbers.dmp1,
        "dq": numbers.dmq1,
        "qinv": numbers.iqmp,
    }


def _assert_absent(secrets: dict[str, int], haystack: bytes, where: str) -> None:
    for name, number in secrets.items():
        for form in _forms(number):
            assert form not in haystack, f"{name} is in {where}"


def _readings(trace: str) -> tuple[bytes, bytes]:
    """A trace as it is, and with its bytes in lower case and not set apart, as in `_forms`."""
    return trace.encode(), "".join(trace.lower().split()).encode()


def _write_keys(folder: Path) -> tuple[dict[str, int], Path, Path]:
    rsa_key = rsa.generate_private_key(65537, 2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    paths = []
    for name, key in (("rsa", rsa_key), ("ec", ec_key)):
        path = folder / f"{name}.der"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.DER,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        paths.append(path)
    secrets = _rsa_secrets(rsa_key) | {"ec d": ec_key.private_numbers().private_value}
    return secrets, paths[0], paths[1]


def _use(pkcs11_tool: Run, token: ScratchToken, rsa_file: Path, ec_file: Path) -> None:
    login = ("--login", "--pin", _PIN, "--token-label", token.label)
    data = rsa_file.with_name("data")
    data.write_bytes(bytes(range(32)))
    for ident, file in (("01", rsa_file), ("02", ec_file)):
        named = ("--type", "privkey", "--id", ident, "--label", ident, "--usage-sign")
        pkcs11_tool(*login, "--write-object", str(file), *named)
    for ident, mechanism in (("01", "SHA256-RSA-PKCS"), ("02", "ECDSA")):
        out = str(data.with_name("signature"))
        common = ("--sign", "-m", mechanism, "--id", ident, "-i", str(data), "-o", out)
        pkcs11_tool(*login, *common)
    pkcs11_tool(*login, "-O")
    pkcs11_tool("--login", "--pin", "wrong-pin-271828", "-O", code=1)


def _ask_for_every_attribute(token: ScratchToken) -> None:
    numbers = [
        value
        for name, value in vars(ck).items()
        if name.startswith("CKA_") and isinstance(value, int)
    ]
    with Cryptoki() as library, library.open_session(token.slot) as session:
        session.login(ck.CKU_USER, _PIN.encode())
        for handle in session.find({ck.CKA_CLASS: ck.CKO_PRIVATE_KEY}):
            for number in numbers:
                with contextlib.suppress(CryptokiError):
                    session.attributes(handle, number)


def test_imported_keys_and_pins_stay_inside(
    home: Scratch, pkcs11_tool: Run, recorder: Recorder, tmp_path: Path
) -> None:
    secrets, rsa_file, ec_file = _write_keys(tmp_path)
    with home.control() as watcher:
        lines = watcher.trace()
        token = home.create_token("Vault", pin=_PIN, so_pin="so-pin-16180339")
        _use(pkcs11_tool, token, rsa_file, ec_file)
        _ask_for_every_attribute(token)
        home.kill_daemon()
        trace = "\n".join(_until_lost(lines))

    assert "PUT DATA" in trace
    assert "VERIFY" in trace
    assert "INITIALIZE" in trace
    for shown in _readings(trace):
        _assert_absent(secrets, shown, "the trace")
    _assert_absent(secrets, bytes(recorder.answers), "an answer")
    # The recorder works: the import's request must hold the key, and a login the PIN.
    assert secrets["p"].to_bytes(128, "big") in recorder.requests
    assert _PIN.encode() in recorder.requests
    assert _PIN.encode() not in recorder.answers

    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".sqlite", ".key", ".log", ".json"}
    for path in files:
        content = path.read_bytes()
        _assert_absent(secrets, content, path.name)
        for text in (_PIN, "so-pin-16180339", "wrong-pin-271828"):
            assert text.encode() not in content, f"a PIN is in {path.name}"
    for text in (_PIN, "so-pin-16180339", "wrong-pin-271828"):
        assert text not in trace
        assert not any(text.encode().hex().encode() in shown for shown in _readings(trace))


def _until_lost(lines: Iterator[str]) -> Iterator[str]:
    with contextlib.suppress(ControlError):
        yield from lines


def _by_command(home: Scratch, klyuch: Run, pins: dict[str, str]) -> None:
    klyuch("token", "create", "Vault", **pins)


def _by_library(home: Scratch, klyuch: Run, pins: dict[str, str]) -> None:
    told = subprocess.run(
        ["pkcs11-tool", "--module", str(home.library), "-I"],
        env={**os.environ, **pins},
        check=False,  # it fails where there is no token to tell of
        capture_output=True,
        timeout=60,
    )
    assert b"Klyuch PKCS#11" in told.stdout


@pytest.mark.parametrize("start", [_by_command, _by_library])
def test_a_daemon_is_not_started_with_the_pins_of_whoever_starts_it(
    home: Scratch, klyuch: Run, start: Callable[[Scratch, Run, dict[str, str]], None]
) -> None:
    """A daemon stays for long, and its command line can be read by everybody."""
    start(home, klyuch, dict.fromkeys(SECRET_VARIABLES, _PIN))
    process = Path(f"/proc/{home.home.daemon_pid()}")
    assert _PIN.encode() not in (process / "cmdline").read_bytes()
    assert _PIN.encode() not in (process / "environ").read_bytes()
    assert b"KLYUCH_HOME" in (process / "environ").read_bytes()


def test_every_variable_that_a_secret_is_read_from_is_kept_from_the_daemon() -> None:
    secrets = (item for item in vars(secret_input).values() if isinstance(item, Secret))
    assert {secret.variable for secret in secrets} == SECRET_VARIABLES
