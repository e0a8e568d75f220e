"""What is measured side by side: PKCS#11 tokens, and plain `cryptography` without any token."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from host_tools.cryptoki import Cryptoki, Session
from host_tools.testing import Scratch
from pkcs11_module import _constants as c

PIN = b"481516"
SO_PIN = b"23423108"
SOFTHSM_LIBRARIES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/libsofthsm2.so"),
    Path("/usr/lib/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)


class Token:
    """A token behind a PKCS#11 library, with one session in which the user is logged in."""

    def __init__(self, name: str, library: Path, slot: int | None = None) -> None:
        self.name = name
        self.cryptoki = Cryptoki(library)
        self.cryptoki.initialize()
        self.slot = self.cryptoki.slots()[0] if slot is None else slot
        self.session: Session

    def log_in(self) -> None:
        self.session = self.cryptoki.open_session(self.slot)
        self.session.login(c.CKU_USER, PIN)

    def restart(self) -> None:
        """What a program does before its first signature, after the end of the one before it."""
        self.cryptoki.finalize()
        self.cryptoki.initialize()
        self.log_in()


def softhsm_library() -> Path:
    """Where SoftHSM2 is; raises FileNotFoundError when it is not installed."""
    for path in SOFTHSM_LIBRARIES:
        if path.exists():
            return path
    raise FileNotFoundError("SoftHSM2 is not installed (Debian: softhsm2)")


@contextmanager
def klyuch() -> Iterator[Token]:
    """A new token of ours in a throw-away home, with a daemon of its own."""
    with Scratch() as scratch:
        os.environ.update(scratch.environment)
        made = scratch.create_token("bench", pin=PIN.decode(), so_pin=SO_PIN.decode())
        token = Token("klyuch", scratch.library, made.slot)
        token.log_in()
        yield token
        token.cryptoki.finalize()


@contextmanager
def softhsm() -> Iterator[Token]:
    """A new SoftHSM2 token in a throw-away folder."""
    with tempfile.TemporaryDirectory(prefix="klyuch-bench-") as folder:
        tokens = Path(folder, "tokens")
        tokens.mkdir()
        config = Path(folder, "softhsm2.conf")
        config.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(config)
        token = Token("softhsm2", softhsm_library())
        token.cryptoki.init_token(token.slot, SO_PIN, "bench")
        # An initialised SoftHSM2 token moves to another slot at the next C_Initialize.
        token.cryptoki.finalize()
        token.cryptoki.initialize()
        token.slot = token.cryptoki.slots()[0]
        with token.cryptoki.open_session(token.slot) as session:
            session.login(c.CKU_SO, SO_PIN)
            session.init_pin(PIN)
            session.logout()
        token.log_in()
        yield token
        token.cryptoki.finalize()


@contextmanager
def tokens() -> Iterator[list[Token]]:
    """Every token that is measured, ours first."""
    with ExitStack() as stack:
        yield [stack.enter_context(klyuch()), stack.enter_context(softhsm())]
