"""One token, one client with two channels, and how a request is judged by the model.

A request is answered as the model says, with as many commits, or the power is cut in it; then the
token is opened again, and is exactly as the commits had left it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apdu.ctap import ClientPinSubCommand, CtapCommand, Permission, Status
from host_tools.testing.faults import Cut, PowerCut, PowerCutStore
from tests.ctap_choices import FINGERS, PINS, By, Meanwhile, cuts, on_the_sensor
from tests.ctap_model import TokenModel
from tests.ctap_state import RPS, Durable, Held
from tests.fido_cards import Desk, Refused
from tests.fido_platform import Platform, padded, pin_hash
from tests.piv_cards import Finger
from token_fw.apps.fido2 import Channel, cbor
from token_fw.apps.fido2.credentials import Credential
from token_fw.apps.fido2.new_pin import hashed
from token_fw.env import Sample
from token_fw.finger_sensor import ScriptedSensor, Step
from token_fw.pin import PinRef
from token_fw.storage.base import Key
from token_fw.storage.memory import Medium, MemoryStore

ALL_BLOBS = 960
PREFIX = b"\xff" * 32

A = TypeVar("A")
T = TypeVar("T")
GoOn = Callable[[Held | None, bytes | None, Cut | None], None]
"""A request that goes on with the one before: its token, what is on the sensor, the cut."""


class CtapSteps(RuleBasedStateMachine):
    """`held` are the tokens that a platform was ever given, the last one last.

    `values` has the value of each by its number.
    """

    store_type: ClassVar[type[PowerCutStore]] = PowerCutStore

    def __init__(self) -> None:
        super().__init__()
        self.touch = Finger()
        self.sensor = ScriptedSensor(patience=0.001)
        self.desk = Desk(self.touch, self.sensor, self.store_type())
        self.other_channel = Channel()
        self.desk.info()
        self.model = TokenModel(lambda: self.desk.now, self.desk.channel)
        self.held: list[Held] = []
        self.values: dict[int, bytes] = {}
        self.seen: tuple[Mapping[Key, bytes], int, Durable] = ({}, 0, Durable())

    # How a request is judged

    def step(
        self,
        act: Callable[[], A],
        request: Callable[[], T],
        cut: Cut | None = None,
        finger: bytes | None = None,
    ) -> tuple[A, T] | None:
        """Send a request, with a finger on the sensor, and run it in the model.

        Gives both answers; None where it was refused, or the power was cut.
        """
        store, model = self.desk.store, self.model
        assert isinstance(store, PowerCutStore)
        expected, told = model.run(request)
        self.sensor.script([] if finger is None else [Step(Sample(finger))])
        touches, answer, status = self.touch.asked, None, Status.CTAP2_OK
        store.arm(cut)
        try:
            answer = act()
        except Refused as refused:
            status = refused.status
        except PowerCut:
            assert store.commits < len(model.states)
            self.power(model.states[store.commits])
            return None
        finally:
            commits = store.commits
            store.arm(None)
            self.sensor.forget()
        assert status is expected
        self.learn()
        # A comparison answered without a commit before it would be a free guess.
        assert commits == len(model.states) - 1
        assert self.touch.asked - touches == model.touches
        return None if answer is None or told is None else (answer, told)

    def power(self, left: Durable | None = None) -> None:
        """The power goes and comes."""
        self.desk.store = self.store_type(Medium(dict(self.desk.store.medium.records)))
        self.desk.power()
        self.model.power_up(left)
        self.learn()

    @invariant()
    def the_token_is_as_the_model_says(self) -> None:
        records, names = self.desk.store.medium.records, len(self.model.names)
        # What was looked at shows nothing new; each commit makes other records.
        if self.seen[0] is not records or self.seen[1] != names:
            self.seen = records, names, self.look()
        assert self.seen[2] == self.model.durable

    # What is on the medium

    def copy(self) -> Desk:
        """Another token on a copy of what is durable."""
        return Desk(store=MemoryStore(Medium(dict(self.desk.store.medium.records))))

    def look(self) -> Durable:
        desk = self.copy()
        core = desk.card.authenticator.core
        record, settings = core.pins.record(PinRef.FIDO), core.settings
        credentials = {rp: core.credentials.of(_hash(rp)) for rp in RPS}
        counts = {}
        for ident, (rp, _) in self.model.names.items():
            credential = core.credentials.find(_hash(rp), ident)
            if credential is not None:
                # What the next signature would have, of a token that is thrown away.
                counts[ident] = core.credentials.count(credential) - 1
        return Durable(
            users={rp: tuple(map(_user, found)) for rp, found in credentials.items()},
            counts=counts,
            pin=next((pin for pin in PINS if _is(core.pins.holds, pin)), None),
            tries=record.tries_left,
            persistent=core.pin_uv.persistent.value is not None,
            fingers={
                template.ident: (template.finger, template.name)
                for template in core.matcher.templates(PinRef.FIDO)
            },
            uv_tries=core.matcher.tries(PinRef.FIDO),
            always_uv=settings.always_uv,
            enterprise=settings.enterprise_attestation,
            force_change=settings.force_pin_change,
            min_length=settings.min_pin_length,
            blobs=desk.ask(CtapCommand.LARGE_BLOBS, {1: ALL_BLOBS, 3: 0})[1],
        )

    def learn(self) -> None:
        """Learn of a discoverable credential, of which a cut may have kept the answer back."""
        if not self.model.unknown:
            return
        for credential in self.copy().card.authenticator.core.credentials.all():
            account = credential.account
            if account is not None and credential.id not in self.model.names:
                self.model.learn(credential.id, account.rp_id, account.user_id)

    # Tokens

    def ask_token(
        self,
        permissions: Permission | None,
        rp: str | None = None,
        *,
        version: int = 2,
        pin: str | None = None,
        cut: Cut | None = None,
    ) -> None:
        """By the PIN, the right one unless another is given."""
        platform = Platform(self.desk, version)
        pin = pin or self.pin
        done = self.step(
            lambda: (
                platform.pin_token(pin)
                if permissions is None
                else platform.token(permissions, rp, pin)
            ),
            lambda: self.model.token_by_pin(pin, version, permissions, rp),
            cut,
        )
        self.keep(done)

    def keep(self, done: tuple[bytes, Held] | None) -> None:
        """Keep a token; the persistent one may be told again, all others are new."""
        if done is not None:
            value, held = done
            known = self.values.get(held.number)
            assert value == known or (known is None and value not in self.values.values())
            self.values[held.number] = value
            self.held.append(held)

    def hold(self, by: By, permissions: Permission, rp: str | None = None) -> Held | None:
        """The token to sign with, if any."""
        if by is By.FRESH:
            self.ask_token(permissions, rp)
        place = {By.FRESH: -1, By.LAST: -1, By.EARLIER: -2}.get(by, 0)
        return self.held[place] if place and len(self.held) >= -place else None

    def members(self, held: Held | None, message: bytes, protocol: int, param: int) -> Any:
        """The members of a request that hold its signature, by their keys."""
        if held is None:
            return {}
        signature = Platform(self.desk, held.version).sign(self.values[held.number], message)
        return {protocol: held.version, param: signature}

    # What goes on with the request before, and what comes between

    @property
    def goes_on(self) -> Mapping[type, GoOn]:
        """What goes on, by the kind of what was left."""
        raise NotImplementedError

    @precondition(lambda self: self.model.left)
    @rule(
        meanwhile=st.sampled_from((Meanwhile.NOTHING, *Meanwhile)),
        by=st.sampled_from((By.LAST, By.LAST, By.EARLIER, By.NOTHING)),
        on=on_the_sensor,
        cut=cuts,
    )
    def go_on(self, meanwhile: Meanwhile, by: By, on: bytes | None, cut: Cut | None) -> None:
        left = self.model.left
        assert left is not None
        match meanwhile:
            case Meanwhile.TIME:
                self.wait(25.0)
            case Meanwhile.LONG:
                self.wait(31.0)
            case Meanwhile.CHANNEL:
                self.speak_on_the_other_channel()
            case Meanwhile.COMMAND:
                self.ask_what_it_is()
        self.goes_on[type(left.value)](self.hold(by, Permission(0)), on, cut)

    def follow(self, meanwhile: list[Meanwhile]) -> None:
        """Go on right after what was begun."""
        for each in meanwhile:
            if self.model.left is not None:
                self.go_on(each, By.LAST, FINGERS[0], None)

    @rule()
    def speak_on_the_other_channel(self) -> None:
        self.desk.channel, self.other_channel = self.other_channel, self.desk.channel
        self.model.channel = self.desk.channel

    @rule()
    def ask_what_it_is(self) -> None:
        done = self.step(self.desk.info, lambda: self.model.durable)
        assert done is not None
        info, kept = done
        told = {
            "alwaysUv": kept.always_uv,
            "clientPin": kept.pin is not None,
            "ep": kept.enterprise,
            "makeCredUvNotRqd": not kept.always_uv,
            "uv": bool(kept.fingers),
        }
        assert told.items() <= info[4].items()
        assert (info[0x0C], info[0x0D]) == (kept.force_change, kept.min_length)
        platform = Platform(self.desk)
        uv_tries = self.step(platform.uv_tries, lambda: kept.uv_tries)
        assert uv_tries is not None
        assert uv_tries[0] == uv_tries[1]
        tries = self.step(platform.tries, self.model.retries)
        waits = self.step(platform.waits_for_power, self.model.retries)
        assert tries is None or waits is None or (tries[0], waits[0]) == waits[1]

    @rule(seconds=st.sampled_from((1.0, 6.0, 25.0, 31.0, 500.0)))
    def wait(self, seconds: float) -> None:
        self.desk.now += seconds

    # Requests that are signed in a way of their own

    def manage(self, held: Held | None, sub: int, parameters: Any = None) -> Any:
        message = bytes((sub,)) + _encoded(parameters)
        request = {1: int(sub), 2: parameters} | self.members(held, message, 3, 4)
        return self.desk.ask(CtapCommand.CREDENTIAL_MANAGEMENT, present(request))

    def enrolment(self, held: Held | None, sub: int, parameters: Any = None) -> Any:
        message = bytes((1, sub)) + _encoded(parameters)
        request = {1: 1, 2: int(sub), 3: parameters} | self.members(held, message, 4, 5)
        return self.desk.ask(CtapCommand.BIO_ENROLLMENT, present(request))

    def config(self, held: Held | None, sub: int, parameters: Any) -> Any:
        message = PREFIX + bytes((CtapCommand.CONFIG, sub)) + _encoded(parameters)
        request = {1: int(sub), 2: parameters} | self.members(held, message, 3, 4)
        return self.desk.ask(CtapCommand.CONFIG, present(request))

    def write_blobs(
        self, held: Held | None, fragment: bytes, offset: int, length: int | None
    ) -> Any:
        message = PREFIX + bytes((CtapCommand.LARGE_BLOBS, 0)) + offset.to_bytes(4, "little")
        message += hashlib.sha256(fragment).digest()
        request = {2: fragment, 3: offset, 4: length} | self.members(held, message, 6, 5)
        return self.desk.ask(CtapCommand.LARGE_BLOBS, present(request))

    def send_new_pin(self, version: int, old: str, new: str, *, signed: bool) -> None:
        """changePIN, signed or with a signature of something else."""
        platform = Platform(self.desk, version)
        if signed:
            platform.change_pin(old, new)
            return
        agreed = platform.agree()
        platform.ask(
            ClientPinSubCommand.CHANGE_PIN,
            keyAgreement=agreed.key,
            newPinEnc=agreed.encrypt(padded(new)),
            pinHashEnc=agreed.encrypt(pin_hash(old)),
            pinUvAuthParam=agreed.sign(b"something else"),
        )

    @property
    def pin(self) -> str:
        return self.model.durable.pin or PINS[0]


def _is(holds: Callable[[PinRef, bytes], bool], pin: str) -> bool:
    return holds(PinRef.FIDO, hashed(pin.encode()))


def _user(credential: Credential) -> bytes:
    assert credential.account is not None
    return credential.account.user_id


def _hash(rp: str) -> bytes:
    return hashlib.sha256(rp.encode()).digest()


def _encoded(parameters: Any) -> bytes:
    return b"" if parameters is None else cbor.encode(parameters)


def present(request: dict[int, Any]) -> dict[int, Any]:
    return {key: value for key, value in request.items() if value is not None}
