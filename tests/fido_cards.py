"""Authenticators for tests, and what is asked of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fido2.cose import CoseKey
from fido2.ctap2.base import AssertionResponse, AttestationResponse

from apdu.ctap import CtapCommand, Status
from tests import cards
from tests.piv_cards import Finger
from token_fw.apps.fido2 import Channel, cbor
from token_fw.card import Card
from token_fw.env import Env, Presence, Sample, Sensor
from token_fw.factory import Profile, personalise
from token_fw.finger_sensor import ScriptedSensor, Step
from token_fw.fingerprint import SAMPLES
from token_fw.pin import PinRef
from token_fw.state import Attestation
from token_fw.storage.memory import MemoryStore

HASH = hashlib.sha256(b"client data").digest()
RP = "example.org"
ES256 = -7
USER_FINGER, OTHER_FINGER = Sample(b"the user's"), Sample(b"another")
UP, UV, AT, ED = 0x01, 0x04, 0x40, 0x80


class Refused(Exception):
    """The authenticator answered with another status than CTAP2_OK."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass
class Desk:
    """A token with somebody near it, on a clock that the test turns."""

    finger: Presence | None = field(default_factory=Finger)
    sensor: Sensor | None = None
    store: MemoryStore = field(default_factory=MemoryStore)
    now: float = 1000.0
    channel: Channel = field(default_factory=Channel)
    attestation: Attestation = Attestation.CERTIFICATE

    def __post_init__(self) -> None:
        if not self.store.medium.records:
            personalise(self.store, Profile(cards.SERIAL, attestation=self.attestation))
        self.power()

    def power(self) -> None:
        """Take the power away, and give it again."""
        env = Env(self.store, clock=lambda: self.now, presence=self.finger, sensor=self.sensor)
        self.card = Card(env)

    def cancel(self) -> None:
        """Give up what the client's channel waits for, as INIT does."""
        self.channel.close()
        self.channel = Channel()

    def enrol(self, finger: Sample = USER_FINGER) -> None:
        """Enrol a finger that stands for FIDO's PIN, as authenticatorBioEnrollment does."""
        core = self.card.authenticator.core
        enrolment = core.matcher.begin(frozenset({PinRef.FIDO}))
        for _ in range(SAMPLES):
            enrolment.add(finger)
        core.transaction.commit()

    def present(self, *fingers: Sample) -> None:
        """Have these fingers put on the sensor, one for each request that waits for one."""
        assert isinstance(self.sensor, ScriptedSensor)
        self.sensor.script(Step(finger) for finger in fingers)

    def make(
        self,
        user: bytes = b"user",
        rp: str = RP,
        *,
        alg: int = ES256,
        channel: Channel | None = None,
        more: Mapping[int, Any] | None = None,
        **options: bool,
    ) -> AttestationResponse:
        """Make a credential; `more` are further members of the request."""
        request: dict[int, Any] = {
            1: HASH,
            2: {"id": rp},
            3: {"id": user, "name": user.decode(), "displayName": f"User {user.decode()}"},
            4: [{"alg": alg, "type": "public-key"}],
        }
        if options:
            request[7] = options
        answer = self.ask(CtapCommand.MAKE_CREDENTIAL, request | dict(more or {}), channel)
        return AttestationResponse.from_dict(answer)

    def get(
        self,
        *allowed: bytes,
        rp: str = RP,
        channel: Channel | None = None,
        more: Mapping[int, Any] | None = None,
        **options: bool,
    ) -> AssertionResponse:
        """Ask for an assertion, of one of the `allowed` credentials if there are any."""
        request: dict[int, Any] = {1: rp, 2: HASH}
        if allowed:
            request[3] = descriptors(*allowed)
        if options:
            request[5] = options
        answer = self.ask(CtapCommand.GET_ASSERTION, request | dict(more or {}), channel)
        return AssertionResponse.from_dict(answer)

    def next(self, channel: Channel | None = None) -> AssertionResponse:
        """Ask for the next assertion."""
        answer = self.ask(CtapCommand.GET_NEXT_ASSERTION, channel=channel)
        return AssertionResponse.from_dict(answer)

    def info(self) -> dict[int, Any]:
        """What the authenticator says of itself."""
        return self.ask(CtapCommand.GET_INFO)

    def ask(
        self,
        command: CtapCommand,
        request: dict[int, Any] | None = None,
        channel: Channel | None = None,
    ) -> dict[int, Any]:
        """The answer's map, empty where there is none; raises Refused."""
        encoded = b"" if request is None else cbor.encode(request)
        answer = self.card.ctap(channel or self.channel, bytes((command,)) + encoded)
        if answer[0] != Status.CTAP2_OK:
            raise Refused(Status(answer[0]))
        return dict(cbor.decode(answer[1:])) if len(answer) > 1 else {}

    def status(
        self,
        command: CtapCommand,
        request: dict[int, Any] | None = None,
        channel: Channel | None = None,
    ) -> Status:
        """The status alone."""
        try:
            self.ask(command, request, channel)
        except Refused as refused:
            return refused.status
        return Status.CTAP2_OK


def with_sensor() -> Desk:
    """One with a sensor, on which the user's finger is enrolled."""
    desk = Desk(sensor=ScriptedSensor(patience=0.01))
    desk.ask(CtapCommand.GET_INFO)
    desk.enrol()
    return desk


def descriptors(*idents: bytes) -> list[dict[str, Any]]:
    return [{"id": ident, "type": "public-key"} for ident in idents]


def ident_of(made: AttestationResponse) -> bytes:
    """The identifier of a new credential."""
    assert made.auth_data.credential_data is not None
    return made.auth_data.credential_data.credential_id


def check(made: AttestationResponse, got: AssertionResponse) -> None:
    """That an assertion is of a credential."""
    assert made.auth_data.credential_data is not None
    assert got.credential["id"] == ident_of(made)
    got.verify(HASH, CoseKey.parse(made.auth_data.credential_data.public_key))
