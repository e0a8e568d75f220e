"""A model of an authenticator, written from CTAP 2.1 and not from the token's code.

It knows what is durable and what ends with the power. A request takes it through a list of states:
the one before, and the one after each of the request's commits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from apdu.ctap import Permission, Status
from tests.ctap_state import (
    PIN_TRIES,
    RPS,
    UV_TRIES,
    Assertion,
    Assertions,
    Credentials,
    Durable,
    Enrolling,
    Held,
    InUse,
    Left,
    Proof,
    Rps,
    Staged,
    Value,
    with_checksum,
)
from tests.fido_cards import Refused

MISSES = 3
MAX_PIN = 63
RESET_SECONDS, ENUMERATION_SECONDS, FIRST_USE_SECONDS, USE_SECONDS = 10.0, 30.0, 30.0, 600.0
BY_FINGER = Permission.MC | Permission.GA | Permission.CM | Permission.LBW | Permission.PCMR
GOOD, MERGE_FAILURE, EXISTS, NO_USER_ACTIVITY = 0x00, 0x0A, 0x0B, 0x0D

T = TypeVar("T")
V = TypeVar("V", Assertions, Credentials, Rps, Staged, Enrolling)


def need(condition: object, otherwise: Status) -> None:
    if not condition:
        raise Refused(otherwise)


class TokenModel:
    """The authenticator. Its requests give what is told, and raise Refused; `run` runs them."""

    def __init__(self, clock: Callable[[], float], channel: object) -> None:
        self.clock = clock
        self.channel = channel
        self.durable = Durable()
        self.states = [self.durable]
        self.names: dict[bytes, tuple[str, bytes | None]] = {}
        """Every credential that anybody ever learned of: its relying party, its user if kept."""
        self.issued = 0
        self.persistent = 0
        self.power_up()

    def power_up(self, left: Durable | None = None) -> None:
        """The power comes, and finds what it left; nothing volatile is there."""
        self.durable = left or self.durable
        self.powered = self.clock()
        self.misses = 0
        self.touches = 0
        self.token: InUse | None = None
        self.left: Left | None = None
        self.before: Left | None = None

    def run(self, request: Callable[[], T]) -> tuple[Status, T | None]:
        """Run a request; `states` has what it goes through, `touches` what it asks for."""
        self.states, self.touches = [self.durable], 0
        self.before, self.left = self.left, None
        try:
            told = request()
        except Refused as refused:
            self.durable = self.states[-1]
            return refused.status, None
        self.commit()
        return Status.CTAP2_OK, told

    def change(self, **fields: Any) -> None:
        self.durable = replace(self.durable, **fields)

    def commit(self) -> None:
        if self.durable is not self.states[-1]:
            self.states.append(self.durable)

    def leave(self, value: Value) -> None:
        self.left = Left(self.channel, self.clock() + ENUMERATION_SECONDS, value)

    def resume(self, kind: type[V], otherwise: Status) -> V:
        """What the request before left, if it was of that kind, on this channel and in time."""
        left = self.before
        if left is not None and left.channel is self.channel and self.clock() <= left.until:
            value = left.value
            if isinstance(value, kind):
                return value
        raise Refused(otherwise)

    # The PIN, 6.5.5

    @property
    def waits_for_power(self) -> bool:
        return self.misses >= MISSES

    def retries(self) -> tuple[int, bool]:
        need(self.durable.pin is not None, Status.CTAP2_ERR_PIN_NOT_SET)
        return self.durable.tries, self.waits_for_power

    def set_pin(self, new: str) -> None:
        need(self.durable.pin is None, Status.CTAP2_ERR_PIN_AUTH_INVALID)
        self.new_pin(new)

    def change_pin(self, old: str, new: str, *, signed: bool = True) -> None:
        self.check_usable()
        need(signed, Status.CTAP2_ERR_PIN_AUTH_INVALID)
        self.check_pin(old)
        try:
            self.new_pin(new)
        except Refused:
            self.commit()
            raise

    def new_pin(self, new: str) -> None:
        kept = self.durable
        need(len(new) >= kept.min_length, Status.CTAP2_ERR_PIN_POLICY_VIOLATION)
        same = kept.force_change and new == kept.pin
        need(not same, Status.CTAP2_ERR_PIN_POLICY_VIOLATION)
        self.change(pin=new, tries=PIN_TRIES, force_change=False)
        self.end_tokens()

    def end_tokens(self) -> None:
        self.change(persistent=False)
        self.token = None

    def check_usable(self) -> None:
        need(self.durable.pin is not None, Status.CTAP2_ERR_PIN_NOT_SET)
        need(self.durable.tries, Status.CTAP2_ERR_PIN_BLOCKED)
        need(not self.waits_for_power, Status.CTAP2_ERR_PIN_AUTH_BLOCKED)

    def check_pin(self, pin: str) -> None:
        """Compare; the try is spent before, and all of them are there again after a right PIN."""
        self.check_usable()
        self.change(tries=self.durable.tries - 1)
        self.commit()
        if pin != self.durable.pin:
            self.misses += 1
            need(self.durable.tries, Status.CTAP2_ERR_PIN_BLOCKED)
            need(not self.waits_for_power, Status.CTAP2_ERR_PIN_AUTH_BLOCKED)
            raise Refused(Status.CTAP2_ERR_PIN_INVALID)
        self.misses = 0
        uv_tries = UV_TRIES if self.durable.fingers else self.durable.uv_tries
        self.change(tries=PIN_TRIES, uv_tries=uv_tries)

    # Tokens, 6.5.2.1 and 6.5.5.7

    def token_by_pin(
        self, pin: str, version: int, permissions: Permission | None, rp: str | None
    ) -> Held:
        """Without permissions it is the way of CTAP 2.0."""
        forced = Status.CTAP2_ERR_PIN_POLICY_VIOLATION
        if permissions is None:
            permissions, forced = Permission.MC | Permission.GA, Status.CTAP2_ERR_PIN_INVALID
        self.check_pin(pin)
        if self.durable.force_change:
            self.commit()
            raise Refused(forced)
        return self.issue(version, permissions, rp, present=False)

    def token_by_finger(
        self, finger: bytes | None, version: int, permissions: Permission, rp: str | None
    ) -> Held:
        allowed = permissions in BY_FINGER
        need(allowed, Status.CTAP2_ERR_UNAUTHORIZED_PERMISSION)
        need(not self.durable.force_change, Status.CTAP2_ERR_PIN_POLICY_VIOLATION)
        self.match(finger)
        return self.issue(version, permissions, rp, present=True)

    def issue(
        self, version: int, permissions: Permission, rp: str | None, *, present: bool
    ) -> Held:
        if permissions == Permission.PCMR:
            if not self.durable.persistent:
                self.issued += 1
                self.persistent = self.issued
                self.change(persistent=True)
            return Held(self.persistent, version)
        self.issued += 1
        held = Held(self.issued, version)
        self.token = InUse(held, permissions, rp, self.clock(), present)
        return held

    def signed(self, held: Held) -> InUse:
        """The token that is in use, if that one signed."""
        token = self.token
        if token is not None:
            passed = self.clock() - token.since
            if passed >= USE_SECONDS or (passed >= FIRST_USE_SECONDS and not token.used):
                token = self.token = None
        if token is None or token.held != held:
            raise Refused(Status.CTAP2_ERR_PIN_AUTH_INVALID)
        if self.clock() - token.since >= FIRST_USE_SECONDS:
            token.present = False
        token.used = True
        return token

    def demand(self, held: Held | None, permission: Permission) -> str | None:
        """Have a request signed by a token with a permission; gives its relying party, if any."""
        if held is None:
            raise Refused(Status.CTAP2_ERR_PUAT_REQUIRED)
        token = self.signed(held)
        need(permission in token.permissions, Status.CTAP2_ERR_PIN_AUTH_INVALID)
        return token.rp

    # The user of makeCredential and getAssertion, 6.1.2 and 6.2.2

    def match(self, finger: bytes | None) -> None:
        """Compare a finger, as check_pin does; it is durable at once that it was right."""
        kept = self.durable
        need(kept.fingers, Status.CTAP2_ERR_NOT_ALLOWED)
        need(kept.uv_tries, Status.CTAP2_ERR_UV_BLOCKED)
        if finger is None:
            raise Refused(Status.CTAP2_ERR_USER_ACTION_TIMEOUT)
        self.change(uv_tries=kept.uv_tries - 1)
        self.commit()
        if not kept.knows(finger):
            need(self.durable.uv_tries, Status.CTAP2_ERR_UV_BLOCKED)
            raise Refused(Status.CTAP2_ERR_UV_INVALID)
        self.change(uv_tries=UV_TRIES)
        self.commit()

    def claims(self, proof: Proof) -> bool:
        """Whether a finger is to verify the user, also because the user always is verified."""
        need(self.durable.fingers or not proof.uv, Status.CTAP2_ERR_INVALID_OPTION)
        if not self.durable.always_uv or proof.held is not None:
            return proof.uv
        need(self.durable.fingers, Status.CTAP2_ERR_PUAT_REQUIRED)
        return True

    def verify(self, permission: Permission, rp: str, proof: Proof, *, uv: bool) -> InUse | None:
        """Verify the user; gives the token that did."""
        if proof.held is not None:
            token = self.signed(proof.held)
            allowed = permission in token.permissions and token.rp in {None, rp}
            need(allowed, Status.CTAP2_ERR_PIN_AUTH_INVALID)
            token.rp = rp
            return token
        if uv:
            try:
                self.match(proof.finger)
            except Refused as refused:
                wrong = {Status.CTAP2_ERR_UV_BLOCKED, Status.CTAP2_ERR_UV_INVALID}
                # There is no finger without a PIN, which can be asked for instead.
                need(refused.status not in wrong, Status.CTAP2_ERR_PUAT_REQUIRED)
                raise
        return None

    def touch(self, token: InUse | None = None, *, uv: bool = False) -> None:
        """Ask for a touch, unless it is known that the user is there; then the token has served."""
        self.touches += not uv and not (token and token.present)
        if token is not None:
            token.present = False
            token.permissions &= Permission.LBW

    # Credentials

    def ident(self, rp: str, user: bytes) -> bytes:
        """The discoverable credential of a user."""
        return next(
            ident
            for ident, name in self.names.items()
            if name == (rp, user) and ident in self.durable.counts
        )

    @property
    def unknown(self) -> bool:
        """Whether there is a discoverable credential whose identifier nobody has learned."""
        known = {self.names[ident] for ident in self.durable.counts}
        return any((rp, user) not in known for rp in RPS for user in self.durable.users[rp])

    def learn(self, ident: bytes, rp: str, user: bytes | None = None) -> None:
        """Somebody learned of a new credential."""
        self.names[ident] = rp, user
        self.change(counts={**self.durable.counts, ident: 1})

    def make(self, rp: str, user: bytes, proof: Proof, *, rk: bool, enterprise: bool) -> bool:
        """Make a credential; gives the flag uv."""
        kept = self.durable
        uv = self.claims(proof)
        bare = rk and kept.protected and not uv and proof.held is None
        need(not bare, Status.CTAP2_ERR_PUAT_REQUIRED)
        need(kept.enterprise or not enterprise, Status.CTAP1_ERR_INVALID_PARAMETER)
        token = self.verify(Permission.MC, rp, proof, uv=uv)
        self.touch(token, uv=uv)
        if rk:
            self.forget(rp, user)
            users = {**self.durable.users, rp: (user, *self.durable.users[rp])}
            self.change(users=users)
        else:
            # Of a credential that the token does not keep there is a counter alone.
            self.change()
        return uv or token is not None

    def forget(self, rp: str, user: bytes) -> None:
        kept = self.durable
        others = tuple(other for other in kept.users[rp] if other != user)
        counts = {
            ident: count for ident, count in kept.counts.items() if self.names[ident] != (rp, user)
        }
        self.change(users={**kept.users, rp: others}, counts=counts)

    def get(self, rp: str, allowed: bytes | None, proof: Proof) -> Assertion:
        """Sign with the credential that is allowed, or with the newest of the discoverable ones."""
        uv = self.claims(proof)
        token = self.verify(Permission.GA, rp, proof, uv=uv)
        if allowed is None:
            found = tuple(self.ident(rp, user) for user in self.durable.users[rp])
        else:
            known = allowed in self.durable.counts and self.names[allowed][0] == rp
            found = (allowed,) if known else ()
        need(found, Status.CTAP2_ERR_NO_CREDENTIALS)
        self.touch(token, uv=uv)
        return self.sign(Assertions(found, uv or token is not None), len(found))

    def next_assertion(self) -> Assertion:
        return self.sign(self.resume(Assertions, Status.CTAP2_ERR_NOT_ALLOWED))

    def sign(self, assertions: Assertions, total: int = 1) -> Assertion:
        first, *rest = assertions.idents
        count = self.durable.counts[first] + 1
        self.change(counts={**self.durable.counts, first: count})
        if rest:
            self.leave(replace(assertions, idents=tuple(rest)))
        return Assertion(first, count, assertions.uv, total)

    # Credential management, 6.8

    def manage(self, held: Held | None, rp: str | None) -> None:
        """Reading takes either kind of token, for that relying party or for all."""
        if held is None or not self.durable.persistent or held.number != self.persistent:
            bound = self.demand(held, Permission.CM)
            need(bound in {None, rp}, Status.CTAP2_ERR_PIN_AUTH_INVALID)

    def enumerate_rps(self, held: Held | None) -> Rps:
        self.manage(held, None)
        names = {rp for rp, users in self.durable.users.items() if users}
        need(names, Status.CTAP2_ERR_NO_CREDENTIALS)
        return self.tell_rp(Rps(names))

    def next_rp(self) -> Rps:
        return self.tell_rp(self.resume(Rps, Status.CTAP2_ERR_NOT_ALLOWED))

    def tell_rp(self, rps: Rps) -> Rps:
        if len(rps.names) > 1:
            self.leave(rps)
        return rps

    def enumerate_credentials(self, held: Held | None, rp: str) -> bytes:
        self.manage(held, rp)
        found = tuple(self.ident(rp, user) for user in self.durable.users[rp])
        need(found, Status.CTAP2_ERR_NO_CREDENTIALS)
        return self.tell_credential(found)

    def next_credential(self) -> bytes:
        return self.tell_credential(self.resume(Credentials, Status.CTAP2_ERR_NOT_ALLOWED).idents)

    def tell_credential(self, idents: tuple[bytes, ...]) -> bytes:
        first, *rest = idents
        if rest:
            self.leave(Credentials(tuple(rest)))
        return first

    def delete(self, held: Held | None, ident: bytes) -> None:
        bound = self.demand(held, Permission.CM)
        rp, user = self.names[ident]
        if user is None or ident not in self.durable.counts:
            raise Refused(Status.CTAP2_ERR_NO_CREDENTIALS)
        need(bound in {None, rp}, Status.CTAP2_ERR_PIN_AUTH_INVALID)
        self.forget(rp, user)

    # Settings, 6.11

    def may_configure(self, held: Held | None, *, toggles: bool = False) -> None:
        if self.durable.protected or (self.durable.always_uv and not toggles):
            self.demand(held, Permission.ACFG)

    def enable_enterprise(self, held: Held | None) -> None:
        self.may_configure(held)
        self.change(enterprise=True)

    def toggle_always_uv(self, held: Held | None) -> None:
        self.may_configure(held, toggles=True)
        self.change(always_uv=not self.durable.always_uv)

    def set_min_length(self, held: Held | None, least: int | None, *, force: bool) -> None:
        self.may_configure(held)
        kept = self.durable
        least = kept.min_length if least is None else least
        allowed = kept.min_length <= least <= MAX_PIN
        need(allowed, Status.CTAP2_ERR_PIN_POLICY_VIOLATION)
        need(kept.pin is not None or not force, Status.CTAP2_ERR_PIN_NOT_SET)
        forced = kept.pin is not None and (force or len(kept.pin) < least)
        self.change(min_length=least, force_change=kept.force_change or forced)
        if forced:
            self.end_tokens()

    # Large blobs, 6.10

    def write(self, held: Held | None, fragment: bytes, offset: int, length: int | None) -> None:
        """The length comes with the first fragment, and with no other."""
        if length is None:
            staged = self.resume(Staged, Status.CTAP1_ERR_INVALID_SEQ)
            need(len(staged.data) == offset, Status.CTAP1_ERR_INVALID_SEQ)
        else:
            staged = Staged(length)
        if self.durable.protected or self.durable.always_uv:
            self.demand(held, Permission.LBW)
        data = staged.data + fragment
        if len(data) < staged.length:
            self.leave(Staged(staged.length, data))
            return
        need(with_checksum(data[:-16]) == data, Status.CTAP2_ERR_INTEGRITY_FAILURE)
        self.change(blobs=data)

    # Fingers, 6.7

    def begin_enrolment(self, held: Held | None, finger: bytes | None) -> tuple[bytes, int, int]:
        """Identifier, what came of the sample, how many are missing."""
        self.demand(held, Permission.BE)
        taken = self.durable.fingers
        free = next(one for one in map(_byte, range(1, 256)) if one not in taken)
        return self.sample(Enrolling(free), finger)

    def next_sample(self, held: Held | None, finger: bytes | None) -> tuple[bytes, int, int]:
        self.demand(held, Permission.BE)
        return self.sample(self.resume(Enrolling, Status.CTAP2_ERR_NOT_ALLOWED), finger)

    def sample(self, state: Enrolling, finger: bytes | None) -> tuple[bytes, int, int]:
        status = GOOD
        if finger is None:
            status = NO_USER_ACTIVITY
        elif self.durable.knows(finger):
            status = EXISTS
        elif state.finger not in {None, finger}:
            status = MERGE_FAILURE
        else:
            state = replace(state, finger=finger, remaining=state.remaining - 1)
        if state.remaining:
            self.leave(state)
        else:
            self.change(fingers={**self.durable.fingers, state.ident: (finger, "")})
        return state.ident, status, state.remaining

    def rename_finger(self, held: Held | None, ident: bytes, name: str) -> None:
        self.demand(held, Permission.BE)
        need(ident in self.durable.fingers, Status.CTAP2_ERR_INVALID_OPTION)
        finger, _ = self.durable.fingers[ident]
        self.change(fingers={**self.durable.fingers, ident: (finger, name)})

    def remove_finger(self, held: Held | None, ident: bytes) -> None:
        self.demand(held, Permission.BE)
        need(ident in self.durable.fingers, Status.CTAP2_ERR_INVALID_OPTION)
        fingers = {one: kept for one, kept in self.durable.fingers.items() if one != ident}
        self.change(fingers=fingers)

    # Reset, 6.6

    def reset(self) -> None:
        late = self.clock() - self.powered > RESET_SECONDS
        need(not late, Status.CTAP2_ERR_NOT_ALLOWED)
        self.touch()
        self.durable = Durable()
        self.misses, self.token = 0, None


def _byte(number: int) -> bytes:
    return bytes((number,))
