"""A hypothesis machine that drives an authenticator by CTAP and cuts its power anywhere.

A step either is answered as the model says and leaves what the model says, or the power is cut in
it; then the token is opened again, and is as before the step, as after it, or has spent a try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from apdu.ctap import CtapCommand, Permission, Status
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests.fido_cards import HASH, Desk, Refused, ident_of
from tests.fido_platform import PIN, WRONG_PIN, Platform
from token_fw.apps.fido2.core import PIN_TRIES
from token_fw.apps.fido2.reset import RESET_SECONDS
from token_fw.pin import PinRef
from token_fw.storage.memory import Medium

RPS = ("example.org", "example.com")
USERS = (b"first", b"second", b"third")
OK = Status.CTAP2_OK
MISSES = 3

Act = Callable[[Desk], Any]

rps, users = st.sampled_from(RPS), st.sampled_from(USERS)
cuts = st.none() | st.builds(
    Cut, st.sampled_from((Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)), st.integers(1, 3)
)
reads = cuts | st.builds(Cut, st.just(Moment.READ), st.integers(1, 12))


@dataclass(frozen=True)
class Durable:
    """What outlasts the power: of each relying party its users, the newest first; the counters of
    credentials; whether there is a PIN, and its tries."""

    users: Mapping[str, tuple[bytes, ...]] = field(default_factory=lambda: dict.fromkeys(RPS, ()))
    counts: Mapping[bytes, int] = field(default_factory=dict)
    pin: bool = False
    tries: int = PIN_TRIES

    def named(self, rp: str, user: bytes) -> Durable:
        """With a new discoverable credential."""
        others = tuple(other for other in self.users[rp] if other != user)
        return replace(self, users={**self.users, rp: (user, *others)})

    def counted(self, ident: bytes) -> Durable:
        """With one more signature of a credential."""
        return replace(self, counts={**self.counts, ident: self.counts.get(ident, 0) + 1})


def seen(desk: Desk, idents: Mapping[bytes, str]) -> Durable:
    """What is durable on a token, of these credentials of relying parties."""
    core = desk.card.authenticator.core
    core.furnish()
    users, counts = {}, {}
    for rp in RPS:
        known = core.credentials.of(_hash(rp))
        users[rp] = tuple(each.account.user_id for each in known if each.account)
    for ident, rp in idents.items():
        credential = core.credentials.find(_hash(rp), ident)
        if credential is not None:
            # What the next signature would have, which is then taken back.
            counts[ident] = core.credentials.count(credential) - 1
            core.transaction.rollback()
    record = core.pins.record(PinRef.FIDO)
    return Durable(users, counts, record.initialised, record.tries_left)


class CtapMachine(RuleBasedStateMachine):
    """One token, one client that knows the PIN, and somebody who does not."""

    store_type: ClassVar[type[PowerCutStore]] = PowerCutStore

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(store=self.store_type())
        self.desk.info()
        self.model = Durable()
        self.idents: dict[bytes, str] = {}
        self.misses = 0
        self.left: list[tuple[str, bytes]] = []
        self.powered = self.desk.now

    # How a step is judged

    def step(
        self, act: Act, expected: Status, after: Durable, cut: Cut | None, *between: Durable
    ) -> Any:
        """Run a step; gives its answer, None where it was refused or the power was cut."""
        store = self.desk.store
        assert isinstance(store, PowerCutStore)
        store.arm(cut)
        try:
            answer, status = act(self.desk), OK
        except Refused as refused:
            answer, status = None, refused.status
        except PowerCut:
            self.power()
            now = self.look()
            assert now in (self.model, *between, after)
            self.model = now
            return None
        finally:
            store.arm(None)
        assert status is expected
        self.model = after if status is OK or after.tries < self.model.tries else self.model
        return answer

    def look(self) -> Durable:
        return seen(self.desk, self.idents)

    def power(self) -> None:
        """The power goes and comes; nothing volatile is left."""
        self.desk.store = self.store_type(Medium(dict(self.desk.store.medium.records)))
        self.desk.power()
        self.misses, self.left, self.powered = 0, [], self.desk.now

    @invariant()
    def the_token_is_as_the_model_says(self) -> None:
        assert self.look() == self.model

    @property
    def pin_usable(self) -> bool:
        return self.model.pin and self.misses < MISSES and self.model.tries > 0

    # Credentials

    @rule(rp=rps, user=users, cut=reads)
    def make_wrapped(self, rp: str, user: bytes, cut: Cut | None) -> None:
        self.left = []
        made = self.step(lambda desk: desk.make(user, rp), OK, self.model, cut)
        self.remember(made, rp)

    @rule(rp=rps, user=users, cut=reads)
    def make_discoverable(self, rp: str, user: bytes, cut: Cut | None) -> None:
        self.left = []
        proof: dict[int, Any] = {}
        if self.pin_usable:
            platform = Platform(self.desk)
            proof = {8: platform.sign(platform.token(Permission.MC, rp), HASH), 9: 2}
            self.misses, self.model = 0, replace(self.model, tries=PIN_TRIES)
        refused = self.model.pin and not proof
        expected = Status.CTAP2_ERR_PUAT_REQUIRED if refused else OK
        replaced = self.idents_of(rp, user)
        kept = {ident: n for ident, n in self.model.counts.items() if ident not in replaced}
        after = self.model if refused else replace(self.model.named(rp, user), counts=kept)
        made = self.step(
            lambda desk: desk.make(user, rp, more=proof, rk=True), expected, after, cut
        )
        self.remember(made, rp)

    def remember(self, made: Any, rp: str) -> None:
        if made is not None:
            self.idents[ident_of(made)] = rp
            self.model = self.model.counted(ident_of(made))

    def idents_of(self, rp: str, user: bytes) -> set[bytes]:
        core = self.desk.card.authenticator.core
        known = core.credentials.of_user(_hash(rp), user)
        return set() if known is None else {known.id}

    @precondition(lambda self: self.idents)
    @rule(data=st.data(), cut=reads)
    def sign(self, data: st.DataObject, cut: Cut | None) -> None:
        self.left = []
        ident = data.draw(st.sampled_from(sorted(self.idents)))
        known = ident in self.model.counts
        expected = OK if known else Status.CTAP2_ERR_NO_CREDENTIALS
        after = self.model.counted(ident) if known else self.model
        got = self.step(lambda desk: desk.get(ident, rp=self.idents[ident]), expected, after, cut)
        assert got is None or got.auth_data.counter == self.model.counts[ident]

    @rule(rp=rps)
    def discover(self, rp: str) -> None:
        known = self.model.users[rp]
        if not known:
            assert status_of(lambda: self.desk.get(rp=rp)) is Status.CTAP2_ERR_NO_CREDENTIALS
            self.left = []
            return
        got = self.desk.get(rp=rp)
        assert (got.number_of_credentials or 1) == len(known)
        self.check_next(got, rp, known[0])
        self.left = [(rp, user) for user in known[1:]]

    @rule()
    def go_on(self) -> None:
        if self.left:
            self.check_next(self.desk.next(), *self.left.pop(0))
        else:
            assert status_of(self.desk.next) is Status.CTAP2_ERR_NOT_ALLOWED

    def check_next(self, got: Any, rp: str, user: bytes) -> None:
        assert got.user["id"] == user
        ident = got.credential["id"]
        if ident not in self.idents:
            # The power was cut before anybody learned of it.
            self.idents[ident] = rp
            self.model = self.model.counted(ident)
        self.model = self.model.counted(ident)
        assert got.auth_data.counter == self.model.counts[ident]

    # The PIN

    @precondition(lambda self: not self.model.pin)
    @rule(cut=reads)
    def set_pin(self, cut: Cut | None) -> None:
        self.left = []
        after = replace(self.model, pin=True, tries=PIN_TRIES)
        self.step(lambda desk: Platform(desk).set_pin(), OK, after, cut)

    @precondition(lambda self: self.model.pin)
    @rule(times=st.integers(1, MISSES))
    def guess(self, times: int) -> None:
        for _ in range(times):
            self.try_pin(right=False, cut=None)

    @precondition(lambda self: self.model.pin)
    @rule(right=st.booleans(), cut=cuts)
    def try_pin(self, right: bool, cut: Cut | None) -> None:
        self.left = []
        spent = replace(self.model, tries=self.model.tries - 1)
        expected, after = self.try_answered(right, spent)
        if self.pin_usable:
            self.misses = 0 if right else self.misses + 1
        pin = PIN if right else WRONG_PIN
        self.step(lambda desk: Platform(desk).token(pin=pin), expected, after, cut, spent)

    def try_answered(self, right: bool, spent: Durable) -> tuple[Status, Durable]:
        if not self.model.tries:
            return Status.CTAP2_ERR_PIN_BLOCKED, self.model
        if self.misses >= MISSES:
            return Status.CTAP2_ERR_PIN_AUTH_BLOCKED, self.model
        if right:
            return OK, replace(self.model, tries=PIN_TRIES)
        if not spent.tries:
            return Status.CTAP2_ERR_PIN_BLOCKED, spent
        blocked = self.misses + 1 >= MISSES
        wrong = Status.CTAP2_ERR_PIN_AUTH_BLOCKED if blocked else Status.CTAP2_ERR_PIN_INVALID
        return wrong, spent

    # Power, time and reset

    @rule()
    def take_the_power_away(self) -> None:
        self.power()

    @rule(seconds=st.sampled_from((1.0, 6.0)))
    def wait(self, seconds: float) -> None:
        self.desk.now += seconds

    @rule(cut=reads, late=st.sampled_from((True, True, False)))
    def reset(self, cut: Cut | None, late: bool) -> None:
        self.left = []
        self.desk.now += RESET_SECONDS * late
        late = self.desk.now - self.powered > RESET_SECONDS
        expected = Status.CTAP2_ERR_NOT_ALLOWED if late else OK
        after = self.model if late else Durable()
        self.step(lambda desk: desk.ask(CtapCommand.RESET), expected, after, cut)
        if not late:
            self.misses = 0


def status_of(work: Callable[[], Any]) -> Status:
    try:
        work()
    except Refused as refused:
        return refused.status
    return OK


def _hash(rp: str) -> bytes:
    return hashlib.sha256(rp.encode()).digest()
