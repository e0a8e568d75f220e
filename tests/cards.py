"""Cards for tests, and clients that use them."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from apdu import tlv
from apdu.codec import Command, Response
from apdu.transport import CardClient, Transport
from host_tools.conformance import pki_commands as pki
from token_fw.card import Card, Interface
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.storage.memory import Medium, MemoryStore

USER_PIN, SO_PIN = b"481516", b"23421337"
SERIAL = b"KLYUCH01"


class Bench:
    """A card on a medium in memory, and clients with an interface each."""

    def __init__(self, profile: Profile | None = None, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        if not self.store.medium.records:
            personalise(self.store, profile or Profile(SERIAL))
        self.card = Card(Env(self.store))

    @property
    def medium(self) -> Medium:
        return self.store.medium

    def restarted(self) -> Bench:
        """What a power cut would leave: another card on a copy of the medium."""
        return Bench(store=MemoryStore(Medium(dict(self.medium.records))))

    def connect(self) -> Interface:
        return self.card.connect()

    def client(self, transport: Transport | None = None) -> Client:
        """A client with the application selected, on an interface of its own."""
        return Client(transport or self.card.connect())

    def digest(self) -> bytes:
        return digest(self.medium)


class Client:
    """The client's side of one interface, with chaining and GET RESPONSE."""

    application = pki.PKI

    def __init__(self, transport: Transport, *, extended: bool = True) -> None:
        self.transport = transport
        self._client = CardClient(transport, extended=extended)
        self.ok(pki.select_application(self.application))

    def send(self, command: Command) -> Response:
        return self._client.send(command)

    def status(self, command: Command) -> int:
        return self.send(command).sw

    def ok(self, command: Command) -> bytes:
        """The response data of a command that has to succeed."""
        return self._client.call(command)

    def log_in(self, ref: int = pki.USER, pin: bytes | None = None) -> None:
        self.ok(pki.verify(ref, pin or (USER_PIN if ref == pki.USER else SO_PIN)))


def digest(medium: Medium) -> bytes:
    """A digest of everything durable."""
    whole = hashlib.sha256()
    for (kind, ident), value in sorted(medium.records.items()):
        for part in (kind.encode(), ident, value):
            whole.update(len(part).to_bytes(4, "big") + part)
    return whole.digest()


def operational(profile: Profile | None = None, store: MemoryStore | None = None) -> Bench:
    """A card with both PINs set and no files."""
    bench = Bench(profile, store)
    client = bench.client()
    client.ok(pki.initialize(SO_PIN))
    client.ok(pki.reset_by_so(USER_PIN))
    return bench


def logged_in(bench: Bench | None = None) -> Client:
    """A client that has the user PIN verified."""
    client = (bench or operational()).client()
    client.log_in()
    return client


def make_key(client: Client, reference: int, kind: int = pki.EC, extra: bytes = b"") -> bytes:
    """Generate a key; EC keys are on P-256. Returns the public bytes (EC, Edwards, ML-…)."""
    client.ok(pki.mse(pki.GENERATE, kind, reference))
    answer = client.ok(pki.generate((pki.p256() if kind == pki.EC else b"") + extra))
    return pki.point_of(answer)


def put_secret(client: Client, reference: int, kind: int, value: bytes, extra: bytes = b"") -> None:
    """Import a secret key."""
    client.ok(pki.mse(pki.GENERATE, kind, reference))
    client.ok(pki.put_value(value, extra))


def key_list(client: Client) -> dict[int, dict[int, bytes]]:
    """What the card lists as keys, by reference."""
    keys = [tlv.to_dict(tlv.parse(item.value)) for item in tlv.parse(client.ok(pki.get_data(0x03)))]
    return {int.from_bytes(key[0x84], "big"): key for key in keys}


def pin_info(client: Client, ref: int) -> dict[int, bytes]:
    """What the card information says about a PIN."""
    outer, _ = tlv.parse_one(client.ok(pki.get_data(0x04)))
    pins = [
        tlv.to_dict(tlv.parse(item.value)) for item in tlv.parse(outer.value) if item.tag == 0xA1
    ]
    return next(pin for pin in pins if pin[0x80] == bytes((ref,)))


def tries_left(client: Client, ref: int) -> int:
    return pin_info(client, ref)[0x81][0]


def serial(client: Client) -> bytes:
    return _information(client, 0x80)


def lifecycle(client: Client) -> int:
    return _information(client, 0x81)[0]


def _information(client: Client, tag: int) -> bytes:
    outer, _ = tlv.parse_one(client.ok(pki.get_data(0x04)))
    value = tlv.find(tlv.parse(outer.value), tag)
    assert value is not None
    return value


def changes(client: Client) -> bytes:
    return client.ok(pki.get_data(0x02))


def check_pkcs1(key: rsa.RSAPublicKey, message: bytes, signature: bytes) -> None:
    """Raises InvalidSignature; SHA-256."""
    key.verify(signature, message, padding.PKCS1v15(), SHA256())
