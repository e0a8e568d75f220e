"""What is done to an authenticator's credentials: made, used, enumerated and deleted."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from apdu.ctap import CredentialManagementSubCommand, Permission
from host_tools.testing.faults import Cut
from tests.ctap_choices import (
    By,
    Meanwhile,
    bounds,
    cuts,
    mostly,
    on_the_sensor,
    proofs,
    readers,
    rps,
    thens,
    tokens,
    users,
)
from tests.ctap_state import RPS, Assertion, Held, Proof, Rps
from tests.ctap_steps import CtapSteps
from tests.fido_cards import HASH, UV, ident_of


class CredentialRules(CtapSteps):
    """The rules of credentials, whoever is said to be their user."""

    @rule(rp=rps, user=users, rk=mostly, ep=st.booleans(), by=proofs, on=on_the_sensor, cut=cuts)
    def make(
        self, *, rp: str, user: bytes, rk: bool, ep: bool, by: By, on: bytes | None, cut: Cut | None
    ) -> None:
        held = self.hold(by, Permission.MC, rp)
        more = self.members(held, HASH, 9, 8) | ({10: 2} if ep else {})
        proof = Proof(held, by is By.FINGER, on)
        done = self.step(
            lambda: self.desk.make(user, rp, more=more, rk=rk, uv=proof.uv),
            lambda: self.model.make(rp, user, proof, rk=rk, enterprise=ep),
            cut,
            on,
        )
        if done is not None:
            made, uv = done
            assert bool(made.auth_data.flags & UV) == uv
            assert bool(made.ep_att) == ep
            assert made.auth_data.counter == 1
            if not rk:
                self.model.learn(ident_of(made), rp)

    @precondition(lambda self: self.model.names)
    @rule(data=st.data(), own=mostly, by=proofs, on=on_the_sensor, cut=cuts)
    def sign(
        self, data: st.DataObject, own: bool, by: By, on: bytes | None, cut: Cut | None
    ) -> None:
        ident = data.draw(st.sampled_from(list(self.model.names)))
        rp, _ = self.model.names[ident]
        self.get(rp if own else RPS[rp == RPS[0]], ident, by, on, cut)

    @rule(rp=rps, by=proofs, on=on_the_sensor, cut=cuts, then=thens)
    def discover(
        self, *, rp: str, by: By, on: bytes | None, cut: Cut | None, then: list[Meanwhile]
    ) -> None:
        self.get(rp, None, by, on, cut)
        self.follow(then)

    def get(
        self, rp: str, allowed: bytes | None, by: By, on: bytes | None, cut: Cut | None
    ) -> None:
        held = self.hold(by, Permission.GA, rp)
        more = self.members(held, HASH, 7, 6)
        proof = Proof(held, by is By.FINGER, on)
        named = () if allowed is None else (allowed,)
        done = self.step(
            lambda: self.desk.get(*named, rp=rp, more=more, uv=proof.uv),
            lambda: self.model.get(rp, allowed, proof),
            cut,
            on,
        )
        self.check(done)

    def next_assertion(self, _: Held | None, __: bytes | None, cut: Cut | None) -> None:
        self.check(self.step(self.desk.next, self.model.next_assertion, cut))

    def check(self, done: tuple[Any, Assertion] | None) -> None:
        if done is not None:
            got, told = done
            assert (got.credential["id"], got.auth_data.counter) == (told.ident, told.count)
            assert bool(got.auth_data.flags & UV) == told.uv
            assert (got.number_of_credentials or 1) == told.total

    # Credential management

    @rule(by=tokens, permission=readers, cut=cuts, then=thens)
    def enumerate_rps(
        self, by: By, permission: Permission, cut: Cut | None, then: list[Meanwhile]
    ) -> None:
        held = self.hold(by, permission)
        sub = CredentialManagementSubCommand.ENUMERATE_RPS_BEGIN
        self.rp_told(
            self.step(lambda: self.manage(held, sub), lambda: self.model.enumerate_rps(held), cut)
        )
        self.follow(then)

    def next_rp(self, _: Held | None, __: bytes | None, cut: Cut | None) -> None:
        sub = CredentialManagementSubCommand.ENUMERATE_RPS_GET_NEXT_RP
        self.rp_told(self.step(lambda: self.manage(None, sub), self.model.next_rp, cut))

    def rp_told(self, done: tuple[Any, Rps] | None) -> None:
        if done is not None:
            answer, rps = done
            assert answer.get(5) in {None, len(rps.names)}
            rps.names.remove(answer[3]["id"])

    @rule(rp=rps, bound=bounds, by=tokens, permission=readers, cut=cuts, then=thens)
    def enumerate_credentials(
        self,
        *,
        rp: str,
        bound: str | None,
        by: By,
        permission: Permission,
        cut: Cut | None,
        then: list[Meanwhile],
    ) -> None:
        held = self.hold(by, permission, bound)
        sub = CredentialManagementSubCommand.ENUMERATE_CREDENTIALS_BEGIN
        parameters = {1: hashlib.sha256(rp.encode()).digest()}
        self.credential_told(
            self.step(
                lambda: self.manage(held, sub, parameters),
                lambda: self.model.enumerate_credentials(held, rp),
                cut,
            )
        )
        self.follow(then)

    def next_credential(self, _: Held | None, __: bytes | None, cut: Cut | None) -> None:
        sub = CredentialManagementSubCommand.ENUMERATE_CREDENTIALS_GET_NEXT_CREDENTIAL
        self.credential_told(
            self.step(lambda: self.manage(None, sub), self.model.next_credential, cut)
        )

    def credential_told(self, done: tuple[Any, bytes] | None) -> None:
        if done is not None:
            answer, ident = done
            assert answer[7]["id"] == ident

    @precondition(lambda self: self.model.names)
    @rule(data=st.data(), bound=bounds, by=tokens, cut=cuts)
    def delete(self, data: st.DataObject, bound: str | None, by: By, cut: Cut | None) -> None:
        ident = data.draw(st.sampled_from(list(self.model.names)))
        held = self.hold(by, Permission.CM, bound)
        sub = CredentialManagementSubCommand.DELETE_CREDENTIAL
        parameters = {2: {"id": ident, "type": "public-key"}}
        self.step(
            lambda: self.manage(held, sub, parameters),
            lambda: self.model.delete(held, ident),
            cut,
        )
