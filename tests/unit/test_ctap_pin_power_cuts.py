"""A power cut at any commit leaves the authenticator before or after, and gives no try back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fido2.ctap2.bio import FPBioEnrollment
from fido2.ctap2.blob import LargeBlobs
from fido2.ctap2.config import Config
from fido2.ctap2.credman import CredentialManagement

from apdu.ctap import Permission
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests.fido_cards import USER_FINGER, Desk, Refused
from tests.fido_platform import NEW_PIN, PIN, WRONG_PIN, Platform, at_desk, status
from token_fw.finger_sensor import ScriptedSensor
from token_fw.fingerprint import SAMPLES
from token_fw.storage.memory import Medium

pytestmark = pytest.mark.usefixtures("cheap_hash")

MOMENTS = pytest.mark.parametrize("moment", list(Moment)[:2])
LONGER_THAN_THE_PIN = 7


def on(medium: Medium) -> Platform:
    """A platform at a token that has just got its power, with a medium of its own."""
    store = PowerCutStore(Medium(dict(medium.records)))
    return Platform(Desk(sensor=ScriptedSensor(0.01), store=store))


def in_use() -> Medium:
    """A token with a PIN of 7 tries left, a credential and a token that was given away."""
    desk = Desk(store=PowerCutStore())
    desk.make(b"alice", rk=True)
    platform = at_desk(desk)
    platform.token(Permission.PCMR)
    status(platform.pin_token, WRONG_PIN)
    return desk.store.medium


def cut_everywhere(
    start: Medium, moment: Moment, prepare: Callable[[Platform], Any]
) -> Iterator[Medium]:
    """What each cut of one request leaves; `prepare` gives the request to send."""
    for count in range(1, 6):
        platform = on(start)
        store = platform.desk.store
        assert isinstance(store, PowerCutStore)
        send = prepare(platform)
        store.arm(Cut(moment, count))
        try:
            status(send)
        except PowerCut:
            yield store.medium
        else:
            assert count > 1, "no commit was cut"
            return
    pytest.fail("the request has too many commits")


def told(medium: Medium) -> tuple[Any, ...]:
    """All that a platform learns of the authenticator."""
    info = on(medium).client().info
    core = on(medium).desk.card.authenticator.core
    return (
        status(on(medium).pin_token, PIN),
        status(on(medium).pin_token, NEW_PIN),
        info.options,
        info.min_pin_length,
        info.force_pin_change,
        info.remaining_disc_creds,
        LargeBlobs(on(medium).client()).read_blob_array(),
        core.pin_uv.persistent.value is not None,
        [template.finger for template in core.matcher.templates()],
    )


def changing(platform: Platform) -> Any:
    return lambda: platform.change_pin(PIN, NEW_PIN)


def forcing(platform: Platform) -> Any:
    token = platform.token(Permission.ACFG)
    client = Config(platform.client(), platform.protocol, token)
    return lambda: client.set_min_pin_length(LONGER_THAN_THE_PIN)


def blobbing(platform: Platform) -> Any:
    token = platform.token(Permission.LBW)
    client = LargeBlobs(platform.client(), platform.protocol, token)
    return lambda: client.write_blob_array([{1: b"text"}])


def deleting(platform: Platform) -> Any:
    client = CredentialManagement(
        platform.client(), platform.protocol, platform.token(Permission.CM)
    )
    rp = client.enumerate_rps()[0]
    credential = client.enumerate_creds(rp[CredentialManagement.RESULT.RP_ID_HASH])[0]
    named = credential[CredentialManagement.RESULT.CREDENTIAL_ID]
    return lambda: client.delete_cred(named)


def enrolling(platform: Platform) -> Any:
    """The last sample of a finger."""
    platform.desk.present(*[USER_FINGER] * SAMPLES)
    token = platform.token(Permission.BE)
    client = FPBioEnrollment(platform.client(), platform.protocol, token)
    context = client.enroll()
    for _ in range(SAMPLES - 1):
        context.capture()
    return context.capture


@MOMENTS
@pytest.mark.parametrize("prepare", [changing, forcing, blobbing, deleting, enrolling])
def test_a_change_is_made_wholly_or_not(moment: Moment, prepare: Callable[[Platform], Any]) -> None:
    start = in_use()
    platform = on(start)
    send = prepare(platform)
    send()
    before, after = told(start), told(platform.desk.store.medium)
    assert before != after
    for left in cut_everywhere(start, moment, prepare):
        assert told(left) in (before, after)


@MOMENTS
def test_no_cut_gives_a_try_back(moment: Moment) -> None:
    start = in_use()
    assert on(start).tries() == 7
    for left in cut_everywhere(start, moment, lambda p: lambda: p.pin_token(WRONG_PIN)):
        # Before the commit nothing was compared yet, so nobody learned anything.
        assert on(left).tries() == (7 if moment is Moment.BEFORE_COMMIT else 6)


@MOMENTS
def test_a_right_pin_whose_answer_never_left_may_cost_a_try_and_no_more(moment: Moment) -> None:
    start = in_use()
    seen = [
        on(left).tries()
        for left in cut_everywhere(start, moment, lambda p: lambda: p.pin_token(PIN))
    ]
    assert seen == ([7, 6] if moment is Moment.BEFORE_COMMIT else [6, 8])


def test_a_first_pin_is_there_wholly_or_not() -> None:
    start = Desk(store=PowerCutStore())
    start.info()
    for moment in (Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT):
        for left in cut_everywhere(start.store.medium, moment, lambda p: p.set_pin):
            platform = on(left)
            try:
                assert platform.tries() == 8
            except Refused:
                platform.set_pin(NEW_PIN)
            else:
                assert platform.pin_token(PIN)
