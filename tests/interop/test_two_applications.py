"""Two applications on one token: separate logins, common objects, separate fates."""

from collections.abc import Iterator

import pytest

from host_tools.testing import Scratch, ScratchToken
from host_tools.testing.application import RemoteApplication
from host_tools.testing.worker import Refused
from pkcs11_module import _constants as ck


@pytest.fixture
def first(token: ScratchToken) -> Iterator[RemoteApplication]:
    with RemoteApplication() as application:
        application.call("open", token.slot)
        yield application


@pytest.fixture
def second(token: ScratchToken) -> Iterator[RemoteApplication]:
    with RemoteApplication() as application:
        application.call("open", token.slot)
        yield application


def test_a_login_is_the_applications_own(
    first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    first.call("login", token.pin)
    assert first.call("state") == ck.CKS_RW_USER_FUNCTIONS
    assert second.call("state") == ck.CKS_RW_PUBLIC_SESSION
    with pytest.raises(Refused, match="CKR_USER_NOT_LOGGED_IN"):
        second.call("generate", "P-256", "mine")
    second.call("login", token.pin)
    first.call("logout")
    second.call("generate", "P-256", "mine")
    with pytest.raises(Refused, match="CKR_USER_NOT_LOGGED_IN"):
        first.call("generate", "P-256", "yours")


def test_each_sees_and_uses_what_the_other_makes_and_deletes(
    first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    for application in (first, second):
        application.call("login", token.pin)
    first.call("generate", "P-256", "of the first")
    assert second.call("labels") == ["of the first:privatepublic"]
    assert second.call("sign", "of the first")
    second.call("generate", "P-256", "of the second")
    assert first.call("sign", "of the second")
    second.call("destroy", "of the first")
    assert first.call("labels") == ["of the second:privatepublic"]


def test_without_login_only_public_halves_are_seen(
    first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    first.call("login", token.pin)
    first.call("generate", "P-256", "shared")
    assert second.call("labels") == ["shared:public"]


def test_one_dying_in_the_middle_of_work_does_not_disturb_the_other(
    first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    for application in (first, second):
        application.call("login", token.pin)
    second.call("generate", "P-256", "survivor")
    first.send("generate", "RSA-2048", "orphan")
    first.process.kill()
    first.process.wait()
    for _ in range(5):
        assert second.call("sign", "survivor")
    second.call("generate", "P-256", "later")
    assert second.call("sign", "later")


def test_wrong_pins_of_both_count_together(
    first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    for application, answer in (
        (first, "CKR_PIN_INCORRECT"),
        (second, "CKR_PIN_INCORRECT"),
        (first, "CKR_PIN_LOCKED"),
        (second, "CKR_PIN_LOCKED"),
    ):
        with pytest.raises(Refused, match=answer):
            application.call("login", "000000")
    with pytest.raises(Refused, match="CKR_PIN_LOCKED"):
        second.call("login", token.pin)


def test_both_notice_a_removed_token_and_recover(
    home: Scratch, first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    first.call("login", token.pin)
    first.call("generate", "P-256", "key")
    with home.control() as control:
        control.call("token.remove", token=token.label)
        for application in (first, second):
            assert application.call("token_present") is False
            with pytest.raises(Refused, match=r"CKR_DEVICE_REMOVED|CKR_SESSION_HANDLE_INVALID"):
                application.call("labels")
            with pytest.raises(Refused, match="CKR_TOKEN_NOT_PRESENT"):
                application.call("open", token.slot)
        control.call("token.insert", token=token.label)
    for application in (first, second):
        application.call("open", token.slot)
        assert application.call("labels") == ["key:public"]
        application.call("login", token.pin)
        assert application.call("sign", "key")


def test_both_survive_a_killed_daemon(
    home: Scratch, first: RemoteApplication, second: RemoteApplication, token: ScratchToken
) -> None:
    first.call("login", token.pin)
    first.call("generate", "P-256", "key")
    home.kill_daemon()
    for application in (first, second):
        with pytest.raises(Refused):
            application.call("labels")
        application.call("restart")
        application.call("open", token.slot)
        application.call("login", token.pin)
        assert application.call("sign", "key")
