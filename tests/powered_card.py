"""A card whose power is cut at any commit or read, and the model that it has to agree with.

After every cut the token is opened again, the opening too may be cut, and a copy of its medium is
searched: every acknowledged effect has to be there, the unacknowledged one wholly or not at all,
and no PIN may have a try more than the model says.
"""

from __future__ import annotations

from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from apdu import tlv
from apdu.codec import Command, Response
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests import cards
from tests.card_model import MF, SO, TRIES, USER, TokenModel
from token_fw.card import Card
from token_fw.env import Env
from token_fw.factory import Profile, personalise
from token_fw.storage.memory import Medium, MemoryStore

OK = 0x9000
PINS = (b"1234", b"481516", b"a value longer than sixteen bytes")
DIRECTORY = MF + b"\x50\x15"
FIDS = (b"\x44\x01", b"\x60\x01")
DIGEST = bytes(range(32))
ALGORITHMS = {"EC": pki.ECDSA, "Ed25519": pki.EDDSA, "Ed448": pki.EDDSA, "RSA": pki.PKCS1}
# The card tells an open key to the user, and a sealed one to nobody.
SECRETS = frozenset({"open AES", "sealed AES"})

clients = st.integers(0, 1)
cuts = st.builds(
    Cut, st.sampled_from((Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)), st.integers(1, 2)
) | st.builds(Cut, st.just(Moment.READ), st.integers(1, 6))


class Hand:
    """The token's own way to its user, who enters `value` at once."""

    value = b""

    def ask(self, reference: int) -> Hand:
        return self

    def wait(self) -> bytes:
        return self.value

    def cancel(self) -> None:
        """There is never anything to cancel."""

    def close(self) -> None:
        """Nobody is asked any more."""


class PoweredCard(RuleBasedStateMachine):
    """Two interfaces of one card; at most one cut is armed, for the next command it can strike."""

    store_type: ClassVar[type[PowerCutStore]] = PowerCutStore

    def __init__(self) -> None:
        super().__init__()
        self.medium = Medium()
        personalise(
            MemoryStore(self.medium),
            Profile(
                cards.SERIAL,
                user_tries=TRIES[USER],
                so_tries=TRIES[SO],
                protected_path=True,
            ),
        )
        self.model = TokenModel()
        self.cut: Cut | None = None
        self.open()

    # The power

    def open(self) -> None:
        self.store = self.store_type(self.medium)
        self.hand = Hand()
        card = Card(Env(self.store, path=self.hand))
        self.clients = [cards.Client(card.connect()) for _ in range(2)]
        self.verified = {(client, ref): False for client in (0, 1) for ref in (USER, SO)}

    @initialize(blank=st.booleans())
    def begin(self, blank: bool) -> None:
        """Often on a card in use, where most commands mean something."""
        if blank:
            return
        for client in self.clients:
            client.ok(pki.initialize(PINS[0]))
        self.clients[1].ok(pki.reset_by_so(PINS[1]))
        self.model = TokenModel(operational=True, pins={USER: PINS[1], SO: PINS[0]})
        self.verified[0, SO] = False
        self.verified[1, SO] = True

    @rule(cut=cuts)
    def arm_a_cut(self, cut: Cut) -> None:
        self.cut = cut

    @rule(read=st.integers(0, 4))
    def pull_the_plug(self, read: int) -> None:
        self.reopen(read)

    def reopen(self, read: int = 0) -> None:
        """Open the medium again; with `read`, first in vain, with a cut at that read."""
        if read:
            try:
                card = Card(Env(self.store_type(self.medium, Cut(Moment.READ, read))))
                cards.Client(card.connect()).ok(pki.get_data(0x04))
            except PowerCut:
                pass
        self.open()
        self.search()

    def run(
        self, client: int, command: Command, sw: int, states: list[TokenModel]
    ) -> Response | None:
        """Send a command that takes the token through `states`, one a commit.

        Returns None when the power was cut: the model is then where the commits had brought it.
        """
        self.store.arm(self.cut)
        try:
            response = self.clients[client].send(command)
        except PowerCut:
            self.cut = None
            self.model = states[min(self.store.commits, len(states) - 1)]
            self.reopen()
            return None
        self.model = states[-1]
        assert response.sw == sw
        # A comparison answered without a commit before it would be a free guess.
        assert self.store.commits == len(states) - 1
        self.store.arm(None)
        return response

    def search(self) -> None:
        """Look for everything in a copy of the medium, PINs and keys included."""
        bench = cards.Bench(store=MemoryStore(Medium(dict(self.medium.records))))
        client = bench.client()
        self.check_information(client)
        for path in [df + fid for df in (MF, DIRECTORY) for fid in FIDS]:
            found = client.status(pki.select(path)) == OK
            assert found == (path in self.model.files)
            if found:
                assert content_of(self.durable(client, pki.read(0))) == self.model.files[path]
        for reference, (kind, point) in self.model.keys.items():
            self.durable(client, pki.mse(pki.GENERATE, pki.EC, reference))
            if kind in SECRETS:
                assert client.status(pki.public_key()) == 0x6985
                continue
            objects = pki.public_objects(self.durable(client, pki.public_key()))
            seen = objects[0x81] if kind == "RSA" else objects[0x86]
            # The answer of the command that made the key may have been lost.
            assert point in {None, seen}
            self.model.keys[reference] = kind, seen
        self.search_pins(client)

    @staticmethod
    def durable(client: cards.Client, command: Command) -> bytes:
        """What a command answers that has to work, as all it needs was promised."""
        response = client.send(command)
        assert response.sw == OK, f"{response.sw:04X} to {command}"
        return response.data

    def search_pins(self, client: cards.Client) -> None:
        for ref in (USER, SO):
            value = self.model.pins[ref]
            if value is None:
                assert client.status(pki.verify(ref, PINS[0])) == 0x6984
                continue
            assert client.status(pki.verify(ref, value)) == (
                OK if self.model.tries[ref] else 0x6983
            )
        if self.model.pins[USER] is not None and self.model.tries[USER]:
            for reference in self.model.keys:
                self.use_and_check(client, reference)

    def use_and_check(self, client: cards.Client, reference: int) -> None:
        kind, _ = self.model.keys[reference]
        if kind in SECRETS:
            self.look_at_value(reference, client.send(pki.get_secret(reference)))
        choice, use = self.use_of(reference)
        self.durable(client, choice)
        self.check_use(reference, self.durable(client, use))

    def look_at_value(self, reference: int, response: Response) -> None:
        """Take what GET SECRET KEY gave the user; the first to see a generated value learns it."""
        kind, value = self.model.keys[reference]
        if kind == "sealed AES":
            assert response == Response(0x6985)
            return
        assert response.sw == OK
        assert value in {None, response.data}
        self.model.keys[reference] = kind, response.data

    def use_of(self, reference: int) -> tuple[Command, Command]:
        """Choice and use of a key: it signs, or it enciphers."""
        kind, _ = self.model.keys[reference]
        if kind in SECRETS:
            choice = pki.mse(pki.DECIPHER, pki.ECB, reference)
            return choice, pki.encipher(DIGEST)
        return pki.mse(pki.SIGN, ALGORITHMS[kind], reference), pki.sign(DIGEST)

    def check_use(self, reference: int, answer: bytes) -> None:
        kind, known = self.model.keys[reference]
        if kind not in SECRETS:
            self.check_signature(kind, known, answer)
        elif known is not None:
            encryptor = Cipher(algorithms.AES(known), modes.ECB()).encryptor()
            assert answer == encryptor.update(DIGEST)

    @staticmethod
    def check_signature(kind: str, point: bytes | None, signature: bytes) -> None:
        assert point is not None
        if kind == "EC":
            pki.check_ecdsa(point, DIGEST, signature)
        elif kind in ("Ed25519", "Ed448"):
            pki.check_eddsa(point, DIGEST, signature)
        else:
            numbers = rsa.RSAPublicNumbers(65537, int.from_bytes(point, "big"))
            padded = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n)
            assert padded.to_bytes(256, "big").endswith(b"\x00" + DIGEST)

    @invariant()
    def information_is_true(self) -> None:
        for number, client in enumerate(self.clients):
            self.check_information(client, number)
        assert set(cards.key_list(self.clients[0])) == set(self.model.keys)

    def check_information(self, client: cards.Client, number: int | None = None) -> None:
        assert cards.lifecycle(client) == (5 if self.model.operational else 1)
        for ref in (USER, SO):
            info = cards.pin_info(client, ref)
            assert info[0x81][0] == self.model.tries[ref]
            flags = int(self.model.pins[ref] is not None)
            if number is not None:
                flags |= self.verified[number, ref] << 1
            assert info[0x83][0] == flags

    def teardown(self) -> None:
        self.search()


def content_of(answer: bytes) -> bytes:
    """What is in DO 53."""
    item, used = tlv.parse_one(answer)
    assert (item.tag, used) == (0x53, len(answer))
    return item.value
