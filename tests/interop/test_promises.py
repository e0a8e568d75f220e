"""C_SignInit without a trip of its own: one trip a signature, and every answer as with two.

Each test of the real daemon begins with a session in which the next C_SignInit is promised, and
shows that what comes between it and its C_Sign is answered as the standard has it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from ctypes import c_ulong, c_void_p
from functools import partial
from pathlib import Path

import pytest

from host_tools.cryptoki import Cryptoki, CryptokiError, Session
from host_tools.cryptoki_values import Mechanism, mechanism_of
from host_tools.epoch import EPOCH, Epoch
from host_tools.objects import SPECS, find_key, generate, new_id
from host_tools.testing import Scratch, ScratchToken
from host_tools.testing.application import RemoteApplication
from pkcs11_module import _constants as ck
from pkcs11_module.wire import FRAME_MAX
from tests.interop.fake_daemon import SIGNATURE, SLOT, FakeApplication, FakeDaemon
from tests.unit.facade_rig import P256

_HASHED = bytes(range(32))
_PLACES = 64
"""Promises that the library keeps."""


def rv_of(call: Callable[[], object]) -> str:
    """The name of the return value of a call."""
    try:
        call()
    except CryptokiError as error:
        return ck.CKR_NAMES[error.rv]
    return "CKR_OK"


class Signer:
    """A key, and the halves of a signature with it."""

    def __init__(self, session: Session, key: int) -> None:
        self.session = session
        self.key = key

    def begin(self) -> str:
        mechanism = mechanism_of(ck.CKM_ECDSA)
        return rv_of(lambda: self.session.call("C_SignInit", mechanism, self.key))

    def digest(self) -> str:
        return rv_of(lambda: self.session.call("C_DigestInit", mechanism_of(ck.CKM_SHA256)))

    def end(self) -> str:
        return rv_of(lambda: self.session.output("C_Sign", _HASHED, len(_HASHED)))


def application_of(fake: FakeDaemon) -> FakeApplication:
    """The one application of a daemon."""
    (application,) = fake.registry._applications.values()
    assert isinstance(application, FakeApplication)
    return application


class TestTrips:
    """What the daemon is told, and when."""

    @pytest.fixture
    def epoch(self, folder: Path, fake: FakeDaemon) -> Epoch:
        assert fake.connections == 0
        return Epoch(folder / "run" / EPOCH)

    @pytest.fixture
    def signer(self, library: Cryptoki, epoch: Epoch) -> Signer:
        """One whose next beginning is promised."""
        library.initialize()
        signer = Signer(library.open_session(SLOT), 1)
        assert (signer.begin(), signer.end()) == ("CKR_OK", "CKR_OK")
        return signer

    def told(self, fake: FakeDaemon) -> list[str]:
        """Which functions of signatures the daemon was asked for since this was called last."""
        application = application_of(fake)
        names = [name for name, _ in application.calls if "Sign" in name]
        application.calls.clear()
        return names

    def test_the_second_beginning_goes_with_what_follows_it(
        self, signer: Signer, fake: FakeDaemon
    ) -> None:
        self.told(fake)
        assert signer.begin() == "CKR_OK"
        assert self.told(fake) == []
        assert signer.session.output("C_Sign", _HASHED, 32) == SIGNATURE
        # The length is asked for first.
        assert self.told(fake) == ["C_SignInit", "C_Sign", "C_Sign"]

    def test_it_goes_with_any_other_call_of_the_session_too(
        self, signer: Signer, fake: FakeDaemon
    ) -> None:
        self.told(fake)
        signer.begin()
        assert signer.session.info().slot == SLOT
        assert self.told(fake) == ["C_SignInit"]

    def test_it_goes_before_whatever_may_change_something(
        self, signer: Signer, fake: FakeDaemon
    ) -> None:
        self.told(fake)
        assert signer.begin() == "CKR_OK"
        signer.session.library.open_session(SLOT)
        assert self.told(fake) == ["C_SignInit"]

    def test_a_call_that_could_not_be_sent_leaves_it_due(
        self, signer: Signer, fake: FakeDaemon
    ) -> None:
        """A login on the token needs a connection of its own, and the daemon gives none."""
        fake.most = 0
        self.told(fake)
        assert signer.begin() == "CKR_OK"
        state = signer.session.library.raw["C_Login"]
        assert state(signer.session.handle, ck.CKU_CONTEXT_SPECIFIC, None, 0) == ck.CKR_HOST_MEMORY
        assert signer.end() == "CKR_OK"
        assert self.told(fake)[0] == "C_SignInit"

    def test_more_sessions_than_promises_are_answered_alike(
        self, signer: Signer, library: Cryptoki
    ) -> None:
        signers = [Signer(library.open_session(SLOT), 1) for _ in range(200)]
        for _ in range(2):
            assert {one.begin() for one in signers} == {"CKR_OK"}
            assert {one.end() for one in signers} == {"CKR_OK"}

    def test_a_promise_that_is_due_keeps_its_place(
        self, signer: Signer, library: Cryptoki, fake: FakeDaemon
    ) -> None:
        *all_places, one_more = [Signer(library.open_session(SLOT), 1) for _ in range(_PLACES + 1)]
        for one in all_places:
            assert (one.begin(), one.end()) == ("CKR_OK", "CKR_OK")
        assert {one.begin() for one in all_places} == {"CKR_OK"}
        assert (one_more.begin(), one_more.end()) == ("CKR_OK", "CKR_OK")
        assert {one.end() for one in all_places} == {"CKR_OK"}
        begun = [args[0] for name, args in application_of(fake).calls if name == "C_SignInit"]
        assert [begun.count(one.session.handle) for one in all_places] == [2] * _PLACES

    def test_sessions_that_were_closed_together_keep_no_place(
        self, signer: Signer, library: Cryptoki, fake: FakeDaemon
    ) -> None:
        for _ in range(100):
            one = Signer(library.open_session(SLOT), 1)
            assert (one.begin(), one.end(), one.begin()) == ("CKR_OK",) * 3
        assert (signer.begin(), signer.end(), signer.begin()) == ("CKR_OK",) * 3
        self.told(fake)
        assert signer.end() == "CKR_OK"
        assert self.told(fake)[0] == "C_SignInit"

    def test_a_call_that_the_library_refuses_ends_the_operation_in_the_daemon(
        self, signer: Signer, fake: FakeDaemon
    ) -> None:
        signer.begin()
        raw = signer.session.library.raw["C_Sign"]
        assert raw(signer.session.handle, None, 5, None, None) == ck.CKR_ARGUMENTS_BAD
        application = application_of(fake)
        assert application.calls[-1][0] == "C_SignInit"
        assert [name for name, _ in application.refusals] == ["C_Sign"]

    @pytest.mark.parametrize(
        "other",
        [
            lambda signer, epoch: epoch.move(),
            lambda signer, epoch: setattr(signer, "key", 2),
            lambda signer, epoch: signer.begin(),
            lambda signer, epoch: signer.digest(),
        ],
        ids=["the epoch moved", "another key", "an operation is active", "another operation"],
    )
    def test_nothing_is_promised_where_the_answer_may_differ(
        self,
        signer: Signer,
        epoch: Epoch,
        fake: FakeDaemon,
        other: Callable[[Signer, Epoch], object],
    ) -> None:
        other(signer, epoch)
        self.told(fake)
        assert signer.begin() == "CKR_OK"
        assert self.told(fake)[-1:] == ["C_SignInit"]

    def test_nothing_is_promised_after_a_refusal(
        self, signer: Signer, fake: FakeDaemon, library: Cryptoki
    ) -> None:
        """A session that the fake daemon does not know refuses both."""
        application = application_of(fake)
        application.close_session(1)
        assert signer.begin() == "CKR_OK"
        assert signer.end() == "CKR_SESSION_HANDLE_INVALID"
        assert signer.begin() == "CKR_SESSION_HANDLE_INVALID"

    def test_nothing_is_promised_without_the_daemons_page(
        self, library: Cryptoki, fake: FakeDaemon
    ) -> None:
        library.initialize()
        signer = Signer(library.open_session(SLOT), 1)
        signer.begin(), signer.end()
        self.told(fake)
        assert signer.begin() == "CKR_OK"
        assert self.told(fake) == ["C_SignInit"]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda page: page.write_bytes(b"short"),
            lambda page: page.mkdir(),
            lambda page: page.symlink_to("/dev/zero"),
            os.mkfifo,
        ],
        ids=["short", "a folder", "a link", "a pipe"],
    )
    def test_a_page_that_is_none_is_done_without(
        self, library: Cryptoki, fake: FakeDaemon, folder: Path, spoil: Callable[[Path], object]
    ) -> None:
        spoil(folder / "run" / EPOCH)
        library.initialize()
        signer = Signer(library.open_session(SLOT), 1)
        for _ in range(3):
            assert (signer.begin(), signer.end()) == ("CKR_OK", "CKR_OK")


@pytest.fixture
def signer(token: ScratchToken) -> Iterator[Signer]:
    """With the real daemon: one whose next beginning is promised."""
    with Cryptoki() as library:
        session = library.open_session(token.slot)
        session.login(ck.CKU_USER, token.pin.encode())
        generate(session, SPECS["P-256"], "ours", new_id(session))
        private = find_key(session, "ours").private
        assert private is not None
        made = Signer(session, private)
        for _ in range(2):
            assert (made.begin(), made.end()) == ("CKR_OK", "CKR_OK")
        yield made


def test_a_second_beginning_finds_the_first_active(signer: Signer) -> None:
    assert signer.begin() == "CKR_OK"
    assert signer.begin() == "CKR_OPERATION_ACTIVE"
    assert signer.end() == "CKR_OK"
    assert signer.end() == "CKR_OPERATION_NOT_INITIALIZED"


def test_another_operation_finds_it_active(signer: Signer) -> None:
    assert signer.begin() == "CKR_OK"
    assert signer.digest() == "CKR_OPERATION_ACTIVE"
    assert signer.end() == "CKR_OK"


def test_an_operation_that_must_not_be_beside_it_refuses_it(signer: Signer) -> None:
    assert signer.digest() == "CKR_OK"
    assert signer.begin() == "CKR_OPERATION_ACTIVE"


def test_it_is_cancelled_like_any_other(signer: Signer) -> None:
    assert signer.begin() == "CKR_OK"
    signer.session.cancel(ck.CKF_SIGN)
    assert signer.end() == "CKR_OPERATION_NOT_INITIALIZED"
    assert (signer.begin(), signer.end()) == ("CKR_OK", "CKR_OK")
    assert signer.begin() == "CKR_OK"
    assert rv_of(lambda: signer.session.call("C_SignInit", None, 0)) == "CKR_OK"
    assert signer.end() == "CKR_OPERATION_NOT_INITIALIZED"


def test_a_logout_in_another_session_ends_it(signer: Signer, token: ScratchToken) -> None:
    with signer.session.library.open_session(token.slot) as other:
        assert (signer.begin(), signer.end()) == ("CKR_OK", "CKR_OK")
        assert signer.begin() == "CKR_OK"
        other.logout()
        assert signer.end() == "CKR_OPERATION_NOT_INITIALIZED"
        assert signer.begin() != "CKR_OK"


def test_a_closed_session_is_closed(signer: Signer, token: ScratchToken) -> None:
    assert signer.begin() == "CKR_OK"
    signer.session.library.close_all_sessions(token.slot)
    assert signer.end() == "CKR_SESSION_HANDLE_INVALID"
    assert signer.begin() == "CKR_SESSION_HANDLE_INVALID"


def test_a_token_that_is_out_promises_nothing(
    signer: Signer, token: ScratchToken, home: Scratch
) -> None:
    with home.control() as control:
        control.call("token.remove", token=token.serial)
    assert signer.begin() == "CKR_DEVICE_REMOVED"


def test_a_token_pulled_after_it_is_a_removed_device(
    signer: Signer, token: ScratchToken, home: Scratch
) -> None:
    assert signer.begin() == "CKR_OK"
    with home.control() as control:
        control.call("token.remove", token=token.serial)
    assert signer.end() == "CKR_DEVICE_REMOVED"


def test_a_key_that_another_application_deleted_is_gone_at_once(
    signer: Signer, token: ScratchToken
) -> None:
    with RemoteApplication() as other:
        other.call("open", token.slot)
        other.call("login", token.pin)
        other.call("destroy", "ours")
        assert signer.begin() == "CKR_KEY_HANDLE_INVALID"


def test_a_pin_that_another_application_changed_ends_the_login_at_once(
    signer: Signer, token: ScratchToken
) -> None:
    with RemoteApplication() as other:
        other.call("open", token.slot)
        other.call("set_pin", token.pin, "162342")
        assert signer.begin() == "CKR_USER_NOT_LOGGED_IN"


def test_a_change_by_the_application_itself_comes_after_it(signer: Signer) -> None:
    """An operation keeps its key as it was when it began."""
    session = signer.session
    pair = session.generate_key_pair(
        ck.CKM_EC_KEY_PAIR_GEN, {ck.CKA_EC_PARAMS: P256}, {ck.CKA_TOKEN: False}
    )
    fleeting = Signer(session, pair[1])
    for _ in range(2):
        assert (fleeting.begin(), fleeting.end()) == ("CKR_OK", "CKR_OK")
    assert fleeting.begin() == "CKR_OK"
    session.set_attributes(pair[1], {ck.CKA_SIGN: False})
    assert fleeting.end() == "CKR_OK"
    assert fleeting.begin() == "CKR_KEY_FUNCTION_NOT_PERMITTED"


class GcmParams(ctypes.Structure):
    """CK_GCM_PARAMS."""

    _fields_ = (
        ("pIv", c_void_p),
        ("ulIvLen", c_ulong),
        ("ulIvBits", c_ulong),
        ("pAAD", c_void_p),
        ("ulAADLen", c_ulong),
        ("ulTagBits", c_ulong),
    )


def test_a_beginning_too_long_to_promise_takes_the_place_of_the_one_before(
    token: ScratchToken,
) -> None:
    nonce, added = ctypes.create_string_buffer(12), ctypes.create_string_buffer(200)
    addresses = ctypes.addressof(nonce), ctypes.addressof(added)
    gcm = GcmParams(addresses[0], 12, 96, addresses[1], 200, 128)
    with Cryptoki() as library, library.open_session(token.slot) as session:
        key = session.create(
            {
                ck.CKA_CLASS: ck.CKO_SECRET_KEY,
                ck.CKA_KEY_TYPE: ck.CKK_AES,
                ck.CKA_VALUE: bytes(16),
                ck.CKA_ENCRYPT: True,
                ck.CKA_PRIVATE: False,
            }
        )

        def begin(mechanism: Mechanism) -> str:
            return rv_of(lambda: session.call("C_EncryptInit", mechanism_of(mechanism), key))

        for _ in range(2):
            session.encrypt(ck.CKM_AES_ECB, key, bytes(16))
        assert begin((ck.CKM_AES_GCM, gcm)) == "CKR_OK"
        assert begin(ck.CKM_AES_ECB) == "CKR_OPERATION_ACTIVE"


@pytest.mark.parametrize("short", range(8, 72, 4))
def test_the_longest_part_is_the_same_with_and_without_it(signer: Signer, short: int) -> None:
    part = bytes(FRAME_MAX - short)
    update = partial(signer.session.call, "C_DigestUpdate", part, len(part))
    outcomes = []
    for _ in range(2):
        assert signer.digest() == "CKR_OK"
        outcomes.append((rv_of(update), rv_of(lambda: signer.session.output("C_DigestFinal"))))
    assert signer.digest() == "CKR_OK"
    signer.session.output("C_Digest", b"", 0)
    assert signer.digest() == "CKR_OK"
    outcomes.append((rv_of(update), rv_of(lambda: signer.session.output("C_DigestFinal"))))
    assert len(set(outcomes)) == 1


def test_a_daemon_killed_in_between_is_a_removed_device(signer: Signer, home: Scratch) -> None:
    assert signer.begin() == "CKR_OK"
    home.kill_daemon()
    assert signer.end() == "CKR_DEVICE_REMOVED"


def test_a_forked_child_knows_of_no_promise(signer: Signer) -> None:
    assert signer.begin() == "CKR_OK"
    child = os.fork()
    if child == 0:
        refused = signer.begin() == signer.end() == "CKR_CRYPTOKI_NOT_INITIALIZED"
        os._exit(0 if refused else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert signer.end() == "CKR_OK"
