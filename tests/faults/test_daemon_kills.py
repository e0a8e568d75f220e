"""The real daemon killed at random moments: nothing acknowledged is lost, no PIN try comes back.

A client works through the PKCS#11 library and keeps a journal: what it was promised, and the one
thing it had asked for when the daemon died. After every kill a new daemon opens the token, and
what it shows must be what the journal allows.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from host_tools import objects
from host_tools.control import ControlClient, ControlError, is_daemon, start_daemon
from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.testing import Scratch, ScratchToken
from pkcs11_module import _constants as ck
from token_fw.crypto import Ecdsa, digest

KILLS = 1000 if os.environ.get("KLYUCH_PROFILE") == "nightly" else 200
_LATEST_KILL = 0.15
_LATEST_KILL_AT_START = 0.3
# Every so many rounds the daemon that comes next is killed while it starts.
_RECOVERIES = 5
_USER_TRIES, _SO_TRIES = 3, 10
# A right SO PIN whose answer was lost costs a try: the SO PIN must not lock by bad luck.
_SO_RESERVE = 5
_MOST_OBJECTS = 5
_WRONG = b"no such PIN"
_HASHED = digest.compute(digest.Hash.SHA256, b"signed between two kills")


@dataclass
class Journal:
    """What the token must hold; where the last request was not answered, what it may hold.

    ``keys`` and ``certificates`` map labels to True where the object must be there, None where it
    may be.
    """

    pins: list[bytes]
    user_tries: set[int] = field(default_factory=lambda: {_USER_TRIES})
    so_tries: set[int] = field(default_factory=lambda: {_SO_TRIES})
    keys: dict[str, bool | None] = field(default_factory=dict)
    certificates: dict[str, bool | None] = field(default_factory=dict)
    acknowledged: int = 0
    counter: int = 0

    def fresh(self, kind: str) -> str:
        self.counter += 1
        return f"{kind} {self.counter}"


class Client:
    """An application that works until the daemon dies."""

    def __init__(self, home: Scratch, token: ScratchToken, chance: random.Random) -> None:
        self.home = home
        self.token = token
        self.chance = chance
        self.so_pin = token.so_pin.encode()
        self.journal = Journal([token.pin.encode()])
        self.library = Cryptoki()

    @property
    def pin(self) -> bytes:
        (pin,) = self.journal.pins
        return pin

    def work(self, session: Session) -> None:
        """Do one thing after another; ends with the CryptokiError of the daemon's death."""
        self._log_in(session)
        while True:
            self.chance.choice(self._possible())(session)
            self.journal.acknowledged += 1

    def _possible(self) -> list[Callable[[Session], None]]:
        possible: list[Callable[[Session], None]] = [
            self.sign,
            self.change_pin,
            self.change_pin_wrongly,
            self.enter_so_pin_wrongly,
            self.unblock,
        ]
        if min(self.journal.user_tries) > 1:
            possible.append(self.enter_pin_wrongly)
        if len(self.journal.keys) < _MOST_OBJECTS:
            possible += [self.make_key] * 3
        else:
            possible += [self.delete_key] * 2
        if len(self.journal.certificates) < _MOST_OBJECTS:
            possible += [self.write_certificate] * 3
        else:
            possible += [self.delete_certificate] * 2
        return possible

    def make_key(self, session: Session) -> None:
        label = self.journal.fresh("key")
        self.journal.keys[label] = None
        objects.generate(session, objects.SPECS["P-256"], label, label.encode())
        self.journal.keys[label] = True

    def delete_key(self, session: Session) -> None:
        label = self.chance.choice(list(self.journal.keys))
        self.journal.keys[label] = None
        for handle in session.find({ck.CKA_LABEL: label}):
            session.destroy(handle)
        del self.journal.keys[label]

    def write_certificate(self, session: Session) -> None:
        label = self.journal.fresh("certificate")
        self.journal.certificates[label] = None
        session.create(
            {
                ck.CKA_CLASS: ck.CKO_CERTIFICATE,
                ck.CKA_CERTIFICATE_TYPE: ck.CKC_X_509,
                ck.CKA_TOKEN: True,
                ck.CKA_LABEL: label,
                ck.CKA_VALUE: _certificate(label),
            }
        )
        self.journal.certificates[label] = True

    def delete_certificate(self, session: Session) -> None:
        label = self.chance.choice(list(self.journal.certificates))
        self.journal.certificates[label] = None
        for handle in session.find({ck.CKA_LABEL: label}):
            session.destroy(handle)
        del self.journal.certificates[label]

    def sign(self, session: Session) -> None:
        labels = [label for label, there in self.journal.keys.items() if there]
        if labels:
            check_key(session, self.chance.choice(labels))

    def change_pin(self, session: Session) -> None:
        """The right old PIN spends a try before it is compared, and then gives all back.

        So does the new one, which is then verified on the connection that takes over.
        """
        (tries,) = self.journal.user_tries
        if not tries:
            return
        new = self.journal.fresh("pin").encode()
        self.journal.pins.append(new)
        self.journal.user_tries = {tries, tries - 1, _USER_TRIES, _USER_TRIES - 1}
        session.set_pin(self.journal.pins[0], new)
        self.journal.pins = [new]
        self.journal.user_tries = {_USER_TRIES}

    def change_pin_wrongly(self, session: Session) -> None:
        self._spend(lambda: session.set_pin(_WRONG, b"never taken"))

    def enter_pin_wrongly(self, session: Session) -> None:
        session.logout()
        self._spend(lambda: session.login(ck.CKU_USER, _WRONG))
        self._log_in(session)

    def _spend(self, wrong: Callable[[], None]) -> None:
        (tries,) = self.journal.user_tries
        self.journal.user_tries = {tries, max(tries - 1, 0)}
        refusal = expect_refusal(wrong)
        assert refusal == ("CKR_PIN_INCORRECT" if tries > 1 else "CKR_PIN_LOCKED")
        self.journal.user_tries = {max(tries - 1, 0)}

    def _log_in(self, session: Session) -> None:
        (tries,) = self.journal.user_tries
        self.journal.user_tries = {tries, tries - 1, _USER_TRIES}
        session.login(ck.CKU_USER, self.pin)
        self.journal.user_tries = {_USER_TRIES}

    def enter_so_pin_wrongly(self, session: Session) -> None:
        (tries,) = self.journal.so_tries
        session.logout()
        if tries > _SO_RESERVE:
            self.journal.so_tries = {tries, tries - 1}
            assert expect_refusal(lambda: session.login(ck.CKU_SO, _WRONG)) == "CKR_PIN_INCORRECT"
            self.journal.so_tries = {tries - 1}
        self._come_back(session)

    def unblock(self, session: Session) -> None:
        session.logout()
        self._unblock(session)

    def _come_back(self, session: Session) -> None:
        (tries,) = self.journal.user_tries
        if tries:
            self._log_in(session)
        else:
            self._unblock(session)

    def _log_in_so(self, session: Session) -> None:
        (tries,) = self.journal.so_tries
        self.journal.so_tries = {tries, tries - 1, _SO_TRIES}
        session.login(ck.CKU_SO, self.so_pin)
        self.journal.so_tries = {_SO_TRIES}

    def _unblock(self, session: Session) -> None:
        self._log_in_so(session)
        new = self.journal.fresh("pin").encode()
        self.journal.pins.append(new)
        self.journal.user_tries |= {_USER_TRIES}
        session.init_pin(new)
        self.journal.pins = [new]
        self.journal.user_tries = {_USER_TRIES}
        session.logout()
        self._log_in(session)

    def check(self, session: Session) -> None:
        """Compare the token with the journal, then make the journal certain again."""
        journal = self.journal
        assert self._tries("user") in journal.user_tries
        assert self._tries("so") in journal.so_tries
        journal.user_tries, journal.so_tries = {self._tries("user")}, {self._tries("so")}
        if min(journal.so_tries) <= _SO_RESERVE:
            self._log_in_so(session)
            session.logout()
        self._settle_pin(session)
        self._settle_objects(session, journal.keys, ck.CKO_PRIVATE_KEY, check_key)
        self._settle_objects(session, journal.certificates, ck.CKO_CERTIFICATE, check_certificate)
        session.logout()

    def _tries(self, name: str) -> int:
        with self.home.control() as control:
            pins = control.call("token.show", token=self.token.serial)["pins"]
        assert isinstance(pins, list)
        return int(next(pin["tries_left"] for pin in pins if pin["name"] == name))

    def _settle_pin(self, session: Session) -> None:
        """One of the possible PINs is the PIN; a locked one stays locked for each of them."""
        (tries,) = self.journal.user_tries
        if tries == 0:
            for pin in self.journal.pins:
                assert expect_refusal(partial(session.login, ck.CKU_USER, pin)) == "CKR_PIN_LOCKED"
        if tries < len(self.journal.pins):
            self._unblock(session)
            return
        *others, newest = self.journal.pins
        for pin in others:
            if _login_succeeds(session, pin):
                break
        else:
            pin = newest
            session.login(ck.CKU_USER, pin)
        self.journal.pins = [pin]
        self.journal.user_tries = {_USER_TRIES}

    def _settle_objects(
        self,
        session: Session,
        journal: dict[str, bool | None],
        kind: int,
        check: Callable[[Session, str], None],
    ) -> None:
        """What was acknowledged is there and works; what was not is either whole or removed."""
        found = {
            (session.attributes(handle, ck.CKA_LABEL)[ck.CKA_LABEL] or b"").decode()
            for handle in session.find({ck.CKA_CLASS: kind, ck.CKA_TOKEN: True})
        }
        must = {label for label, there in journal.items() if there}
        assert must <= found, f"lost: {must - found}"
        assert found <= set(journal), f"came back: {found - set(journal)}"
        for label in must:
            check(session, label)
        for label in set(journal) - must:
            for handle in session.find({ck.CKA_LABEL: label}):
                session.destroy(handle)
            del journal[label]


def _login_succeeds(session: Session, pin: bytes) -> bool:
    try:
        session.login(ck.CKU_USER, pin)
    except CryptokiError as error:
        if error.name != "CKR_PIN_INCORRECT":
            raise
        return False
    return True


@cache
def _certificate(label: str) -> bytes:
    """A self-signed certificate, of one year."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=today,
        not_valid_after=today + timedelta(days=365),
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def check_key(session: Session, label: str) -> None:
    """Both halves are there and belong together."""
    key = objects.find_key(session, label)
    signature = session.sign(ck.CKM_ECDSA, key.private, _HASHED)
    objects.public_key(session, key.public).verify(Ecdsa(), _HASHED, signature)


def check_certificate(session: Session, label: str) -> None:
    (handle,) = session.find({ck.CKA_LABEL: label})
    assert session.attributes(handle, ck.CKA_VALUE)[ck.CKA_VALUE] == _certificate(label)


def expect_refusal(call: Callable[[], None]) -> str:
    """The CKR_ name of a refusal about a PIN; the daemon's death passes through."""
    try:
        call()
    except CryptokiError as error:
        if error.name.startswith("CKR_PIN"):
            return error.name
        raise
    raise AssertionError("a wrong PIN was taken")


def _kill(pid: int, delay: float) -> None:
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def _opened(client: Client, *, daemon_may_die: bool) -> Iterator[Session]:
    """A session with a daemon that was started for it."""
    client.library.initialize()
    try:
        yield client.library.open_session(client.token.slot)
    except CryptokiError:
        pid = client.home.home.daemon_pid()
        if not daemon_may_die or (pid is not None and is_daemon(pid)):
            raise
    finally:
        client.library.raw["C_Finalize"](None)


@contextmanager
def _killing(client: Client, latest: float) -> Iterator[None]:
    """Kill the daemon at a random moment within so many seconds; wait until it is gone."""
    pid = client.home.home.daemon_pid()
    assert pid is not None
    killer = threading.Thread(target=_kill, args=(pid, client.chance.uniform(0, latest)))
    killer.start()
    try:
        yield
    finally:
        killer.join()
        while is_daemon(pid):
            time.sleep(0.001)


def _work_until_killed(client: Client) -> None:
    with _opened(client, daemon_may_die=True) as session, _killing(client, _LATEST_KILL):
        client.work(session)


def _recover_until_killed(client: Client) -> None:
    """The next daemon dies as well, while it loads or opens what the last one left."""
    start_daemon(client.home.home)
    with (
        _killing(client, _LATEST_KILL_AT_START),
        suppress(ControlError),
        ControlClient(client.home.home, start=False) as control,
    ):
        control.call("token.show", token=client.token.serial)


def _kill_again_and_again(client: Client, seed: int, kills: int) -> None:
    for kill in range(kills):
        try:
            with _opened(client, daemon_may_die=False) as session:
                client.check(session)
            _work_until_killed(client)
            if kill % _RECOVERIES == 0:
                _recover_until_killed(client)
        except BaseException as error:
            error.add_note(f"kill {kill}, KLYUCH_SEED={seed}, {client.journal}")
            raise
    with _opened(client, daemon_may_die=False) as session:
        client.check(session)


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("KLYUCH_SEED", str(random.randrange(1 << 32))))


def test_nothing_acknowledged_is_lost_and_no_try_comes_back(
    home: Scratch, token: ScratchToken, seed: int
) -> None:
    client = Client(home, token, random.Random(seed))
    _kill_again_and_again(client, seed, KILLS)
    # Enough was done between the kills for them to have met something.
    assert client.journal.acknowledged > KILLS // 10


_FORGETFUL = """#!{python}
from host_tools.cli import main
from token_fw.storage.sqlite import SqliteStore
execute, held = SqliteStore._execute, set()
def forgetful(store, statement, *values):
    if statement == "COMMIT" and store not in held:
        return held.add(store)
    if statement == "BEGIN IMMEDIATE" and store in held:
        return None
    if statement == "COMMIT":
        held.discard(store)
    return execute(store, statement, *values)
SqliteStore._execute = forgetful
main()
"""


def test_a_daemon_that_commits_only_every_other_time_is_found_out(
    home: Scratch,
    token: ScratchToken,
    seed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: the test above can fail."""
    program = tmp_path / "klyuch"
    program.write_text(_FORGETFUL.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("KLYUCH_DAEMON", str(program))
    home.kill_daemon()
    client = Client(home, token, random.Random(seed))
    with pytest.raises((AssertionError, CryptokiError, ControlError)):
        _kill_again_and_again(client, seed, KILLS)
