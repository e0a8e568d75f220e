"""A hypothesis machine that drives an authenticator by CTAP and cuts its power anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from apdu.ctap import (
    BioEnrollmentSubCommand,
    ConfigSubCommand,
    CtapCommand,
    Permission,
)
from host_tools.testing.faults import Cut
from tests.ctap_choices import (
    ARRAYS,
    FINGERS,
    GRANTS,
    IN_THE_OLD_WAY,
    PINS,
    STRANGER,
    USERS,
    By,
    Meanwhile,
    cuts,
    fingers,
    mostly,
    on_the_sensor,
    pins,
    seldom,
    thens,
    tokens,
    uses,
    versions,
)
from tests.ctap_credentials import CredentialRules
from tests.ctap_state import (
    RPS,
    SAMPLES,
    UV_TRIES,
    Assertions,
    Credentials,
    Enrolling,
    Held,
    Rps,
    Staged,
)
from tests.ctap_steps import GoOn, present
from tests.fido_platform import WRONG_PIN, Platform


class CtapMachine(CredentialRules):
    """Somebody who knows the PIN and has an enrolled finger, and somebody who has neither."""

    def __init__(self) -> None:
        super().__init__()
        self.array, self.written = ARRAYS[0], 10
        self.enrolling = b"\x01"

    @initialize(blank=st.sampled_from((False, False, False, True)))
    def begin(self, blank: bool) -> None:
        """Mostly with a token in use, of which most requests mean something."""
        if blank:
            return
        for rp, user in ((RPS[0], USERS[0]), (RPS[0], USERS[1]), (RPS[1], USERS[0])):
            self.make(rp=rp, user=user, rk=True, ep=False, by=By.NOTHING, on=None, cut=None)
        self.set_pin(PINS[1], None)
        self.enrol(FINGERS[0], SAMPLES, By.FRESH, None)

    # The PIN

    @precondition(lambda self: self.model.durable.pin is None)
    @rule(new=pins, cut=cuts)
    def set_pin(self, new: str, cut: Cut | None) -> None:
        self.step(lambda: Platform(self.desk).set_pin(new), lambda: self.model.set_pin(new), cut)

    @rule(new=pins, right=mostly, signed=mostly, version=versions, cut=cuts)
    def change_pin(
        self, new: str, right: bool, signed: bool, version: int, cut: Cut | None
    ) -> None:
        old = self.pin if right else WRONG_PIN
        self.step(
            lambda: self.send_new_pin(version, old, new, signed=signed),
            lambda: self.model.change_pin(old, new, signed=signed),
            cut,
        )

    @precondition(lambda self: self.model.durable.pin)
    @rule(times=st.integers(1, 10), on_and_on=seldom)
    def guess(self, times: int, on_and_on: bool) -> None:
        """At most so often as it is worth something, but with the power taken away in between."""
        for _ in range(times if on_and_on else min(times, 3)):
            if on_and_on and self.model.waits_for_power:
                self.power()
            self.ask_token(Permission.CM, pin=WRONG_PIN)

    # Tokens

    @rule(
        grant=st.sampled_from((IN_THE_OLD_WAY, *GRANTS)), version=versions, right=mostly, cut=cuts
    )
    def get_token(
        self,
        grant: tuple[Permission | None, str | None],
        version: int,
        right: bool,
        cut: Cut | None,
    ) -> None:
        self.ask_token(*grant, version=version, pin=None if right else WRONG_PIN, cut=cut)

    @rule(grant=st.sampled_from(GRANTS), version=versions, on=on_the_sensor, cut=cuts)
    def get_token_by_finger(
        self,
        grant: tuple[Permission, str | None],
        version: int,
        on: bytes | None,
        cut: Cut | None,
    ) -> None:
        platform = Platform(self.desk, version)
        done = self.step(
            lambda: platform.uv_token(*grant),
            lambda: self.model.token_by_finger(on, version, *grant),
            cut,
            on,
        )
        self.keep(done)

    @precondition(lambda self: self.model.durable.fingers)
    @rule(times=st.integers(1, UV_TRIES + 1))
    def put_a_strangers_finger_on_the_sensor(self, times: int) -> None:
        for _ in range(times):
            self.get_token_by_finger((Permission.CM, None), 2, STRANGER, None)

    @rule(
        grant=st.sampled_from((*[IN_THE_OLD_WAY] * 3, *GRANTS[:-1])),
        by_finger=st.booleans(),
        uses=uses,
    )
    def use_a_token_again(
        self,
        grant: tuple[Permission | None, str | None],
        by_finger: bool,
        uses: list[tuple[Permission, str, float]],
    ) -> None:
        """For one thing after the other, and with time between them."""
        permissions, rp = grant
        if by_finger and permissions is not None:
            self.get_token_by_finger((permissions, rp), 2, FINGERS[0], None)
        else:
            self.ask_token(permissions, rp)
        for use, where, seconds in uses:
            self.wait(seconds)
            USES[use](self, where)

    # Settings

    @rule(by=tokens, cut=cuts)
    def enable_enterprise_attestation(self, by: By, cut: Cut | None) -> None:
        held = self.hold(by, Permission.ACFG)
        self.configure(
            held,
            ConfigSubCommand.ENABLE_ENTERPRISE_ATTESTATION,
            None,
            lambda: self.model.enable_enterprise(held),
            cut,
        )

    @rule(by=tokens, cut=cuts)
    def toggle_always_uv(self, by: By, cut: Cut | None) -> None:
        held = self.hold(by, Permission.ACFG)
        self.configure(
            held,
            ConfigSubCommand.TOGGLE_ALWAYS_UV,
            None,
            lambda: self.model.toggle_always_uv(held),
            cut,
        )

    @rule(least=st.sampled_from((None, 4, 5, 7, 64)), force=st.booleans(), by=tokens, cut=cuts)
    def set_min_pin_length(self, least: int | None, force: bool, by: By, cut: Cut | None) -> None:
        held = self.hold(by, Permission.ACFG)
        self.configure(
            held,
            ConfigSubCommand.SET_MIN_PIN_LENGTH,
            present({1: least, 3: force or None}),
            lambda: self.model.set_min_length(held, least, force=force),
            cut,
        )

    def configure(
        self,
        held: Held | None,
        sub: ConfigSubCommand,
        parameters: Any,
        request: Callable[[], None],
        cut: Cut | None,
    ) -> None:
        self.step(lambda: self.config(held, sub, parameters), request, cut)

    # Large blobs

    @rule(array=st.sampled_from(ARRAYS), whole=seldom, by=tokens, cut=cuts, then=thens)
    def begin_writing(
        self, array: bytes, *, whole: bool, by: By, cut: Cut | None, then: list[Meanwhile]
    ) -> None:
        held = self.hold(by, Permission.LBW)
        self.array, self.written = array, 0
        self.write(held, len(array) if whole else 10, len(array), cut)
        self.follow(then)

    def go_on_writing(self, held: Held | None, _: bytes | None, cut: Cut | None) -> None:
        self.write(held, len(self.array), None, cut)

    def write(self, held: Held | None, end: int, length: int | None, cut: Cut | None) -> None:
        offset = self.written
        fragment = self.array[offset:end]
        self.written = end
        self.step(
            lambda: self.write_blobs(held, fragment, offset, length),
            lambda: self.model.write(held, fragment, offset, length),
            cut,
        )

    # Fingers

    @rule(finger=fingers, samples=st.integers(1, SAMPLES), by=tokens, cut=cuts)
    def enrol(self, finger: bytes, samples: int, by: By, cut: Cut | None) -> None:
        """So many samples of a finger; the cut is for the last one."""
        held = self.hold(by, Permission.BE)
        sub = BioEnrollmentSubCommand.ENROLL_BEGIN
        done = self.step(
            lambda: self.enrolment(held, sub),
            lambda: self.model.begin_enrolment(held, finger),
            cut if samples == 1 else None,
            finger,
        )
        if done is not None:
            answer, told = done
            assert (answer[4], answer[5], answer[6]) == told
            self.enrolling = told[0]
        for left in reversed(range(samples - 1)):
            self.next_sample(held, finger, None if left else cut)

    def next_sample(self, held: Held | None, on: bytes | None, cut: Cut | None) -> None:
        sub, parameters = BioEnrollmentSubCommand.ENROLL_CAPTURE_NEXT_SAMPLE, {1: self.enrolling}
        done = self.step(
            lambda: self.enrolment(held, sub, parameters),
            lambda: self.model.next_sample(held, on),
            cut,
            on,
        )
        if done is not None:
            answer, told = done
            assert (self.enrolling, answer[5], answer[6]) == told

    @rule(ident=st.sampled_from((b"\x01", b"\x02")), name=st.text("ab", max_size=2))
    def rename_finger(self, ident: bytes, name: str) -> None:
        self.change_finger(ident, name, By.FRESH, None)

    @rule(ident=st.sampled_from((b"\x01", b"\x02")), name=st.none(), by=tokens, cut=cuts)
    def change_finger(self, ident: bytes, name: str | None, by: By, cut: Cut | None) -> None:
        """Name a finger; without a name, remove it."""
        held = self.hold(by, Permission.BE)
        sub, parameters = BioEnrollmentSubCommand.SET_FRIENDLY_NAME, {1: ident, 2: name}
        if name is None:
            sub, parameters = BioEnrollmentSubCommand.REMOVE_ENROLLMENT, {1: ident}
        self.step(
            lambda: self.enrolment(held, sub, parameters),
            lambda: (
                self.model.remove_finger(held, ident)
                if name is None
                else self.model.rename_finger(held, ident, name)
            ),
            cut,
        )

    # What goes on with the request before

    @rule(kind=st.sampled_from((Assertions, Credentials, Rps, Staged, Enrolling)))
    def go_on_with_something_else(self, kind: type) -> None:
        self.goes_on[kind](self.hold(By.LAST, Permission(0)), FINGERS[0], None)

    @property
    def goes_on(self) -> Mapping[type, GoOn]:
        return {
            Assertions: self.next_assertion,
            Credentials: self.next_credential,
            Rps: self.next_rp,
            Staged: self.go_on_writing,
            Enrolling: self.next_sample,
        }

    # Power, time and reset

    @rule()
    def take_the_power_away(self) -> None:
        self.power()

    @rule()
    def have_a_reader_take_the_power_away(self) -> None:
        """The card stays what it is, with all that it keeps in memory."""
        self.desk.card.power_up()
        self.model.power_up()

    @rule(cut=cuts, late=mostly)
    def reset(self, cut: Cut | None, late: bool) -> None:
        self.desk.now += 11.0 * late
        self.step(lambda: self.desk.ask(CtapCommand.RESET), self.model.reset, cut)


USES: Mapping[Permission, Callable[[CtapMachine, str], None]] = {
    Permission.MC: lambda machine, rp: machine.make(
        rp=rp, user=USERS[2], rk=False, ep=False, by=By.LAST, on=None, cut=None
    ),
    # Mostly of another relying party's credential, by which a token is bound and not spent.
    Permission.GA: lambda machine, rp: machine.get(
        rp, next(iter(machine.model.names), None), By.LAST, None, None
    ),
    Permission.CM: lambda machine, rp: machine.enumerate_credentials(
        rp=rp, bound=None, by=By.LAST, permission=Permission.CM, cut=None, then=[]
    ),
    Permission.LBW: lambda machine, _: machine.begin_writing(
        ARRAYS[0], whole=True, by=By.LAST, cut=None, then=[]
    ),
    Permission.ACFG: lambda machine, _: machine.enable_enterprise_attestation(By.LAST, None),
}
"""What a token that was given last is used for, one use a permission."""
