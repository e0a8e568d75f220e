"""Cards with a fingerprint sensor for tests, clients of theirs, and fingers."""

from __future__ import annotations

from dataclasses import dataclass, field

from apdu import tlv
from host_tools.conformance import finger_commands
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import PowerCutStore
from tests import cards, piv_cards
from token_fw.card import Card
from token_fw.env import Env, Sample, SampleStatus
from token_fw.factory import Profile, personalise
from token_fw.finger_sensor import ScriptedSensor, Step
from token_fw.fingerprint import SAMPLES
from token_fw.pin import PinRef
from token_fw.pin_pad import PinPad
from token_fw.storage.memory import Medium

THUMB, INDEX, STRANGER = b"thumb", b"index", b"somebody else's"
PINS = {PinRef.USER: cards.USER_PIN, PinRef.PIV: piv_cards.PIN}


def sample(finger: bytes, status: SampleStatus = SampleStatus.GOOD) -> Sample:
    """A sample of a finger."""
    return Sample(finger, status)


def step(finger: bytes | None, delay: float = 0.0) -> Step:
    """A step of a script: that finger, or none."""
    return Step(None if finger is None else Sample(finger), delay)


class Client(cards.Client):
    """A client with the fingerprint application selected."""

    application = finger_commands.SPEC

    def prove(self, *refs: PinRef) -> None:
        for ref in refs:
            self.ok(finger_commands.verify(ref, PINS[ref]))

    def fingers(self) -> dict[bytes, str]:
        """The names of those that are seen, by identifier."""
        items = tlv.parse(self.ok(finger_commands.get_fingers()))
        found = [tlv.to_dict(tlv.parse(item.value)) for item in items if item.tag == 0xE0]
        return {one[0x80]: one[0x81].decode() for one in found}

    def tries(self) -> int:
        """The tries that the sensor has left."""
        return tlv.to_dict(tlv.parse(self.ok(finger_commands.get_fingers())[:4]))[0x80][0]


@dataclass
class Desk:
    """A token whose PINs are set, with a sensor and a clock that somebody else turns."""

    sensor: ScriptedSensor = field(default_factory=ScriptedSensor)
    medium: Medium = field(default_factory=Medium)
    pad: PinPad | None = None
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.store = PowerCutStore(self.medium)
        fresh = not self.medium.records
        if fresh:
            profile = Profile(cards.SERIAL, protected_path=self.pad is not None)
            personalise(self.store, profile)
        env = Env(self.store, clock=lambda: self.now, sensor=self.sensor, path=self.pad)
        self.card = Card(env)
        if fresh:
            client = self.pki()
            client.ok(pki.initialize(cards.SO_PIN))
            client.ok(pki.reset_by_so(cards.USER_PIN))
            self.piv()

    def powered_again(self) -> Desk:
        """What a power cut leaves, with a sensor that nobody has touched."""
        return Desk(medium=Medium(dict(self.medium.records)))

    def pki(self) -> cards.Client:
        return cards.Client(self.card.connect())

    def piv(self) -> piv_cards.Client:
        return piv_cards.Client(self.card.connect())

    def fingerprints(self, *proven: PinRef) -> Client:
        """A client of the fingerprint application that has proven these PINs."""
        client = Client(self.card.connect())
        client.prove(*proven)
        return client

    def enrol(self, finger: bytes, *opens: PinRef, name: str = "") -> bytes:
        """Enrol a finger for these PINs; gives its identifier."""
        client = self.fingerprints(*opens)
        client.ok(finger_commands.begin(name))
        self.sensor.script([step(finger)] * SAMPLES)
        *_, last = (client.ok(finger_commands.capture()) for _ in range(SAMPLES))
        return last[2:]
