"""``klyuch demo``: a token at work from its making to its unblocking, every step checked for real.

It runs in a throw-away home with a daemon of its own, speaks to the token only through the
PKCS#11 library, and lets OpenSSL judge the signatures.
"""

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from host_tools import objects
from host_tools.control import ControlClient, ControlError
from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.objects import KeyOnToken
from host_tools.pki.signer import TokenSigner
from host_tools.testing import Scratch
from pkcs11_module import _constants as ck
from token_fw.crypto import KeyKind

_TOKEN = "Demo"
_KEYS = ("RSA-2048", "P-256", "Ed25519")
_TEXT = b"Signed by a key that never leaves its token.\n"
_TRACE_PATIENCE = 5.0
_SIGNATURE = "COMPUTE DIGITAL SIGNATURE"


class DemoFailure(Exception):
    """A step did not do what it is there to show."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it went; ``seconds`` it took."""

    title: str
    ok: bool
    outcome: str
    seconds: float


@dataclass(slots=True)
class Demo:
    """The steps and what they share; :meth:`run` yields each step as it ends.

    ``trace`` holds the decoded APDUs of one signature afterwards.
    """

    scratch: Scratch
    trace: list[str] = field(default_factory=list)
    _library: Cryptoki = field(default_factory=Cryptoki)
    _pin: bytes = field(default_factory=lambda: _digits(6), repr=False)
    _so_pin: bytes = field(default_factory=lambda: _digits(8), repr=False)
    _session: Session | None = None
    _slot: int = 0

    def run(self) -> Iterator[Step]:
        """Run the steps in order; after one that failed the others are not tried."""
        os.environ.update(self.scratch.environment)
        for title, action in self._steps():
            start = time.perf_counter()
            try:
                ok, outcome = True, action()
            except (DemoFailure, CryptokiError, ControlError, OSError) as error:
                ok, outcome = False, str(error)
            yield Step(title, ok, outcome, time.perf_counter() - start)
            if not ok:
                return

    @property
    def length(self) -> int:
        """How many steps there are when none fails."""
        return len(self._steps())

    def _steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("Make a token", self._create),
            ("Log in through the PKCS#11 library", self._log_in),
            *((f"Make a key: {kind}", partial(self._generate, kind)) for kind in _KEYS),
            *((f"Sign a file: {kind}", partial(self._sign, kind)) for kind in _KEYS),
            ("Watch the APDUs of one signature", self._watch),
            ("Enter three wrong PINs", self._lock),
            ("Enter the right PIN", self._refused),
            ("kill -9 the daemon, enter it again", self._kill),
            ("Unblock with the SO PIN", self._unblock),
            ("Sign again", partial(self._sign, "P-256")),
        ]

    @property
    def session(self) -> Session:
        if self._session is None:
            raise DemoFailure("there is no session")
        return self._session

    def _create(self) -> str:
        token = self.scratch.create_token(
            _TOKEN, pin=self._pin.decode(), so_pin=self._so_pin.decode()
        )
        self._slot = token.slot
        return f"{token.label}, serial {token.serial}, in slot {token.slot}; both PINs set"

    def _open(self) -> None:
        self._library.initialize()
        self._session = self._library.open_session(self._slot)

    def _log_in(self) -> str:
        self._open()
        self.session.login(ck.CKU_USER, self._pin)
        return f"{self._library.info().description}; tries left: {self._tries()}"

    def _generate(self, kind: str) -> str:
        spec = objects.SPECS[kind]
        ident = objects.new_id(self.session)
        objects.generate(self.session, spec, kind, ident)
        return f"{spec} made on the token, its private half sensitive and not extractable"

    def _sign(self, kind: str) -> str:
        signer = TokenSigner.find(self.session, kind)
        message = self.scratch.path / "message.txt"
        message.write_bytes(_TEXT)
        signature = signer.sign(_TEXT)
        spki = signer.public_key().to_spki()
        verify(self.scratch.path, signer.key, message, signature, spki)
        return f"{len(signature)} bytes of signature; OpenSSL: verified"

    def _watch(self) -> str:
        signer = TokenSigner.find(self.session, "P-256")
        with ControlClient(self.scratch.home, timeout=_TRACE_PATIENCE) as control:
            lines = control.trace(_TOKEN)
            signer.sign(_TEXT)
            for line in lines:
                self.trace.append(line)
                if _SIGNATURE in line:
                    break
            self.trace.append(next(lines))
        return f"{len(self.trace)} lines, shown below"

    def _tries(self) -> int:
        with ControlClient(self.scratch.home) as control:
            pins = control.call("token.show", token=_TOKEN)["pins"]
        assert isinstance(pins, list)
        return int(next(pin["tries_left"] for pin in pins if pin["name"] == "user"))

    def _lock(self) -> str:
        self.session.logout()
        wrong = b"0" + self._pin[1:] if self._pin[:1] != b"0" else b"1" + self._pin[1:]
        said = []
        for expected in (
            ck.CKF_USER_PIN_COUNT_LOW,
            ck.CKF_USER_PIN_COUNT_LOW | ck.CKF_USER_PIN_FINAL_TRY,
            ck.CKF_USER_PIN_LOCKED,
        ):
            said.append(_refusal(self.session, wrong))
            flags = self._library.token_info(self._slot).flags
            if flags & expected != expected:
                raise DemoFailure(f"the token's flags are {flags:#x} after {said[-1]}")
        if said != ["CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]:
            raise DemoFailure(", ".join(said))
        return "two tries left, one, locked: CKF_USER_PIN_COUNT_LOW, FINAL_TRY, LOCKED"

    def _refused(self) -> str:
        said = _refusal(self.session, self._pin)
        if said != "CKR_PIN_LOCKED":
            raise DemoFailure(f"the library answered {said}")
        return "refused: CKR_PIN_LOCKED"

    def _kill(self) -> str:
        pid = self.scratch.kill_daemon()
        if pid is None:
            raise DemoFailure("there was no daemon to kill")
        self._library.finalize()
        self._open()
        said = _refusal(self.session, self._pin)
        if said != "CKR_PIN_LOCKED":
            raise DemoFailure(f"a new daemon answered {said}")
        return f"process {pid} killed, the next one says the same: CKR_PIN_LOCKED"

    def _unblock(self) -> str:
        self.session.login(ck.CKU_SO, self._so_pin)
        self._pin = _digits(6)
        self.session.init_pin(self._pin)
        self.session.logout()
        self.session.login(ck.CKU_USER, self._pin)
        return f"a new PIN is set and works; tries left: {self._tries()}"


def _digits(count: int) -> bytes:
    return "".join(secrets.choice("0123456789") for _ in range(count)).encode()


def _refusal(session: Session, pin: bytes) -> str:
    try:
        session.login(ck.CKU_USER, pin)
    except CryptokiError as error:
        return error.name
    raise DemoFailure("the token took the PIN")


def verify(folder: Path, key: KeyOnToken, message: Path, signature: bytes, spki: bytes) -> None:
    """Let the openssl program verify a signature. Raises DemoFailure with what it said."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise DemoFailure("openssl is missing: apt-get install openssl")
    public, signed = folder / "public.der", folder / "signature.bin"
    public.write_bytes(spki)
    signed.write_bytes(signature)
    files = ["-inkey", str(public), "-sigfile", str(signed), "-in", str(message)]
    digest = [] if key.spec.kind is KeyKind.ED25519 else ["-digest", "sha256"]
    done = subprocess.run(
        [openssl, "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", *digest, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if done.returncode:
        raise DemoFailure(f"OpenSSL does not verify it: {(done.stdout + done.stderr).strip()}")
