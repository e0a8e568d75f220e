"""A hypothesis machine that drives a card by APDUs and cuts its power at any commit or read.

After every cut the token is opened again, the opening too may be cut, and a copy of its medium is
searched: every acknowledged effect has to be there, the unacknowledged one wholly or not at all,
and no PIN may have a try more than the model says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from apdu import tlv
from apdu.codec import Command, Response
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests import cards
from tests.card_model import MF, SO, TRIES, USER, TokenModel
from token_fw.card import Card, Profile, personalise
from token_fw.env import Env
from token_fw.storage.memory import Medium, MemoryStore

OK = 0x9000
PINS = (b"1234", b"481516", b"a value longer than sixteen bytes")
TOO_SHORT = b"123"
DIRECTORY = MF + b"\x50\x15"
FIDS = (b"\x44\x01", b"\x60\x01")
REFERENCES = (0, 1, 255, 1023)
# Reading is free, everything else needs the user PIN.
EF_CONDITIONS = bytes((0x90,) * 6 + (0x00,))
DF_CONDITIONS = bytes((0x90,) * 7)
RSA_KEY = rsa.generate_private_key(65537, 2048)
DIGEST = bytes(range(32))
SECRET = bytes(range(100, 132))
ALGORITHMS = {"EC": pki.ECDSA, "Ed25519": pki.EDDSA, "Ed448": pki.EDDSA, "RSA": pki.PKCS1}
PAIRS = {
    "EC": (pki.EC, pki.p256()),
    "Ed25519": (pki.ED25519, b""),
    "Ed448": (pki.ED448, b""),
}
# The card tells an open key to the user, and a sealed one to nobody.
SECRETS = frozenset({"open AES", "sealed AES"})

clients = st.integers(0, 1)
# Three times of four a rule first does what makes its command succeed.
ready = st.sampled_from((True, True, True, False))
cuts = st.builds(
    Cut, st.sampled_from((Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)), st.integers(1, 2)
) | st.builds(Cut, st.just(Moment.READ), st.integers(1, 6))
refs = st.sampled_from((USER, SO))
pins = st.sampled_from(PINS)
references = st.sampled_from(REFERENCES)
paths = st.builds(lambda df, fid: df + fid, st.sampled_from((MF, DIRECTORY)), st.sampled_from(FIDS))
contents = st.binary(max_size=12)


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


class CardMachine(RuleBasedStateMachine):
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

    @rule(client=clients, cut=cuts)
    def arm_a_cut_of_a_user(self, client: int, cut: Cut) -> None:
        self.log_in(client, ready=True)
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
                assert content_of(client.ok(pki.read(0))) == self.model.files[path]
        for reference, (kind, point) in self.model.keys.items():
            client.ok(pki.mse(pki.GENERATE, pki.EC, reference))
            if kind in SECRETS:
                assert client.status(pki.public_key()) == 0x6985
                continue
            objects = pki.public_objects(client.ok(pki.public_key()))
            seen = objects[0x81] if kind == "RSA" else objects[0x86]
            # The answer of the command that made the key may have been lost.
            assert point in {None, seen}
            self.model.keys[reference] = kind, seen
        self.search_pins(client)

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
        client.ok(choice)
        self.check_use(reference, client.ok(use))

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

    # PINs

    def value(self, ref: int, right: bool) -> bytes:
        held = self.model.pins[ref]
        if right and held is not None:
            return held
        return next(pin for pin in PINS if pin != held)

    def comparison(
        self, ref: int, value: bytes, then: Callable[[TokenModel], TokenModel] = lambda token: token
    ) -> tuple[int, list[TokenModel]]:
        """Status word and states of a command that compares a PIN and then does `then`."""
        token = self.model
        if token.pins[ref] is None:
            return 0x6984, [token]
        if not token.tries[ref]:
            return 0x6983, [token]
        spent = token.spent(ref)
        if value != token.pins[ref]:
            return 0x63C0 | spent.tries[ref], [token, spent]
        return OK, [token, spent, then(token.restored(ref))]

    def compared(self, client: int, ref: int, response: Response | None) -> bool:
        """Whether the PIN was right; a wrong or blocked one logs the interface out."""
        if response is None:
            return False
        if response.sw == 0x6983 or response.sw1 == 0x63:
            self.verified[client, ref] = False
        return response.sw == OK

    @rule(client=clients, ref=refs, right=st.booleans(), on_token=st.booleans())
    def verify(self, client: int, ref: int, right: bool, on_token: bool = False) -> None:
        value = self.hand.value = self.value(ref, right)
        command = pki.verify_on_token(ref) if on_token else pki.verify(ref, value)
        response = self.run(client, command, *self.comparison(ref, value))
        if self.compared(client, ref, response):
            self.verified[client, ref] = True

    @rule(client=clients, ref=refs)
    def log_out(self, client: int, ref: int) -> None:
        if self.run(client, pki.log_out(ref), OK, [self.model]):
            self.verified[client, ref] = False

    @rule(client=clients, ref=refs, right=st.booleans(), new=pins)
    def change_pin(self, client: int, ref: int, right: bool, new: bytes) -> None:
        old = self.value(ref, right)
        sw, states = self.comparison(ref, old, lambda token: token.with_pin(ref, new))
        response = self.run(client, pki.change(ref, old, new), sw, states)
        if self.compared(client, ref, response):
            self.verified[1 - client, ref] = False

    @rule(client=clients, ref=refs)
    def change_pin_to_one_the_policy_refuses(self, client: int, ref: int) -> None:
        old = self.value(ref, right=False)
        self.run(client, pki.change(ref, old, TOO_SHORT), 0x6A80, [self.model])

    @rule(client=clients, right=st.booleans(), new=pins)
    def unblock_with_the_puk(self, client: int, right: bool, new: bytes) -> None:
        puk = self.value(SO, right)
        if self.model.pins[USER] is None:
            self.run(client, pki.unblock(puk, new), 0x6984, [self.model])
            return
        sw, states = self.comparison(SO, puk, lambda token: token.with_pin(USER, new))
        if self.compared(client, SO, self.run(client, pki.unblock(puk, new), sw, states)):
            self.forget(USER)

    @rule(client=clients, ready=ready, new=pins)
    def set_the_user_pin_by_so(self, client: int, ready: bool, new: bytes) -> None:
        self.log_in(client, ready, SO)
        if not self.verified[client, SO]:
            self.run(client, pki.reset_by_so(new), 0x6982, [self.model])
            return
        states = [self.model, self.model.with_pin(USER, new)]
        if self.run(client, pki.reset_by_so(new), OK, states):
            self.forget(USER)

    @precondition(lambda self: not self.model.operational)
    @rule(client=clients, ref=refs, new=pins)
    def set_a_pin_on_the_blank_card(self, client: int, ref: int, new: bytes) -> None:
        command = Command(0x00, 0x24, 0x01, ref, new)
        if ref == USER and self.model.pins[SO] is None:
            self.run(client, command, 0x6985, [self.model])
            return
        after = self.model.with_pin(ref, new)
        after.operational = ref == USER
        if self.run(client, command, OK, [self.model, after]):
            self.forget(ref)

    @rule(client=clients, right=st.booleans(), new=pins, filled=st.booleans(), rarely=ready)
    def initialise(self, client: int, right: bool, new: bytes, filled: bool, rarely: bool) -> None:
        blank = not self.model.operational
        if rarely and not blank:
            return
        so_pin = new if blank else self.value(SO, right)
        after = TokenModel(operational=True, pins={USER: None, SO: so_pin})
        files = []
        if filled:
            path = DIRECTORY + FIDS[0]
            after.files = {DIRECTORY: None, path: b"initial"}
            files = [
                (DIRECTORY[2:], pki.df_fcp(DIRECTORY[-2:], b"name", DF_CONDITIONS), b""),
                (path[2:], pki.fcp(FIDS[0], 7, EF_CONDITIONS), b"initial"),
            ]
        sw, states = (
            (OK, [self.model, after]) if blank else self.comparison(SO, so_pin, lambda _: after)
        )
        response = self.run(client, pki.initialize(so_pin, files), sw, states)
        if self.compared(client, SO, response):
            self.forget(USER)
            self.forget(SO)
            self.verified[client, SO] = True

    def log_in(self, client: int, ready: bool, ref: int = USER) -> None:
        """Where it can be done, and without the armed cut: that is for what comes next."""
        if not ready:
            return
        cut, self.cut = self.cut, None
        if ref == USER and self.model.operational and self.model.pins[USER] is None:
            self.set_the_user_pin_by_so(client, ready=True, new=PINS[1])
        if not self.verified[client, ref] and self.model.tries[ref]:
            self.verify(client, ref, right=True)
        self.cut = cut

    def forget(self, ref: int) -> None:
        self.verified[0, ref] = self.verified[1, ref] = False

    # Keys

    def existing_key(self, reference: int, ready: bool) -> int:
        """Some key that is there, if that is wanted and can be had."""
        there = sorted(self.model.keys)
        return there[reference % len(there)] if ready and there else reference

    def with_key(self, reference: int, kind: str, point: bytes | None = None) -> TokenModel:
        after = self.model.copy()
        after.keys[reference] = kind, point
        return after

    @rule(
        client=clients,
        ready=ready,
        reference=references,
        kind=st.sampled_from(tuple(PAIRS)),
    )
    def generate_key(self, client: int, ready: bool, reference: int, kind: str) -> None:
        self.log_in(client, ready)
        code, curve = PAIRS[kind]
        self.clients[client].ok(pki.mse(pki.GENERATE, code, reference))
        if not self.verified[client, USER]:
            self.run(client, pki.generate(curve), 0x6982, [self.model])
            return
        states = [self.model, self.with_key(reference, kind)]
        if response := self.run(client, pki.generate(curve), OK, states):
            self.model.keys[reference] = kind, pki.point_of(response.data)

    @rule(client=clients, ready=ready, reference=references)
    def import_key(self, client: int, ready: bool, reference: int) -> None:
        self.log_in(client, ready)
        self.clients[client].ok(pki.mse(pki.GENERATE, pki.RSA_2048, reference))
        command = pki.put_key(pki.rsa_template(RSA_KEY))
        if not self.verified[client, USER]:
            self.run(client, command, 0x6982, [self.model])
            return
        modulus = RSA_KEY.public_key().public_numbers().n.to_bytes(256, "big")
        self.run(client, command, OK, [self.model, self.with_key(reference, "RSA", modulus)])

    @rule(client=clients, ready=ready, reference=references)
    def generate_secret_key(self, client: int, ready: bool, reference: int) -> None:
        self.log_in(client, ready)
        self.clients[client].ok(pki.mse(pki.GENERATE, pki.AES, reference))
        command = pki.generate_secret(32, pki.attributes(0x08, pki.EXPORT))
        if not self.verified[client, USER]:
            self.run(client, command, 0x6982, [self.model])
            return
        self.run(client, command, OK, [self.model, self.with_key(reference, "open AES")])

    @rule(client=clients, ready=ready, reference=references)
    def import_secret_key(self, client: int, ready: bool, reference: int) -> None:
        self.log_in(client, ready)
        self.clients[client].ok(pki.mse(pki.GENERATE, pki.AES, reference))
        command = pki.put_value(SECRET)
        if not self.verified[client, USER]:
            self.run(client, command, 0x6982, [self.model])
            return
        after = self.with_key(reference, "sealed AES", SECRET)
        self.run(client, command, OK, [self.model, after])

    @rule(client=clients, ready=ready, reference=references)
    def read_secret_key(self, client: int, ready: bool, reference: int) -> None:
        self.log_in(client, ready)
        reference = self.existing_key(reference, ready)
        kind, _ = self.model.keys.get(reference, ("", None))
        sw = 0x6A88 if not kind else OK if kind == "open AES" else 0x6985
        if not self.verified[client, USER]:
            sw = 0x6982
        response = self.run(client, pki.get_secret(reference), sw, [self.model])
        if response and response.sw == OK:
            self.look_at_value(reference, response)

    @rule(client=clients, ready=ready, reference=references)
    def delete_key(self, client: int, ready: bool, reference: int) -> None:
        self.log_in(client, ready)
        reference = self.existing_key(reference, ready)
        command = pki.delete_key(reference)
        if not self.verified[client, USER]:
            self.run(client, command, 0x6982, [self.model])
        elif reference not in self.model.keys:
            self.run(client, command, 0x6A88, [self.model])
        else:
            after = self.model.copy()
            del after.keys[reference]
            self.run(client, command, OK, [self.model, after])

    @rule(client=clients, ready=ready, reference=references)
    def use_key(self, client: int, ready: bool, reference: int) -> None:
        self.log_in(client, ready)
        reference = self.existing_key(reference, ready)
        if reference not in self.model.keys:
            choice = pki.mse(pki.SIGN, pki.ECDSA, reference)
            self.run(client, choice, 0x6A88, [self.model])
            return
        choice, use = self.use_of(reference)
        self.clients[client].ok(choice)
        sw = OK if self.verified[client, USER] else 0x6982
        response = self.run(client, use, sw, [self.model])
        if response and response.sw == OK:
            self.check_use(reference, response.data)

    # Files

    def existing_file(self, path: bytes, ready: bool) -> bytes:
        """Some file that is there, if that is wanted and can be had."""
        there = sorted(found for found, content in self.model.files.items() if content is not None)
        return there[sum(path) % len(there)] if ready and there else path

    def may_write(self, client: int) -> bool:
        return not self.model.operational or self.verified[client, USER]

    def enter(self, client: int, path: bytes) -> bool:
        """Make a file's directory the current one; False where there is none."""
        sw = self.clients[client].status(pki.select(path[:-2]))
        exists = self.model.has_directory(path[:-2])
        assert sw == (OK if exists else 0x6A82)
        return exists

    @rule(client=clients, ready=ready)
    def create_directory(self, client: int, ready: bool) -> None:
        self.log_in(client, ready)
        parameters = pki.df_fcp(DIRECTORY[-2:], b"name", DF_CONDITIONS)
        self.create(client, DIRECTORY, parameters, None)

    @rule(client=clients, ready=ready, path=paths, size=st.integers(0, 9))
    def create_file(self, client: int, ready: bool, path: bytes, size: int) -> None:
        self.log_in(client, ready)
        self.create(client, path, pki.fcp(path[-2:], size, EF_CONDITIONS), bytes(size))

    def create(self, client: int, path: bytes, parameters: bytes, content: bytes | None) -> None:
        if not self.enter(client, path):
            return
        command = pki.create(parameters)
        if not self.may_write(client):
            self.run(client, command, 0x6982, [self.model])
        elif path in self.model.files:
            self.run(client, command, 0x6A89, [self.model])
        else:
            after = self.model.copy()
            after.files[path] = content
            self.run(client, command, OK, [self.model, after])

    @rule(
        client=clients,
        ready=ready,
        path=paths,
        span=st.tuples(st.integers(0, 20), contents, st.booleans()),
    )
    def update_file(
        self, client: int, ready: bool, path: bytes, span: tuple[int, bytes, bool]
    ) -> None:
        offset, data, cut = span
        self.log_in(client, ready)
        path = self.existing_file(path, ready)
        if not self.enter(client, path):
            return
        end = offset + len(data)
        command = pki.update(offset, data, end if cut else None, path[-2:])
        content = self.model.files.get(path)
        if content is None:
            self.run(client, command, 0x6A82, [self.model])
        elif not self.may_write(client):
            self.run(client, command, 0x6982, [self.model])
        elif offset > len(content):
            self.run(client, command, 0x6B00, [self.model])
        else:
            after = self.model.copy()
            after.files[path] = content[:offset] + data + (b"" if cut else content[end:])
            self.run(client, command, OK, [self.model, after])

    @rule(client=clients, ready=ready, path=paths)
    def read_file(self, client: int, ready: bool, path: bytes) -> None:
        path = self.existing_file(path, ready)
        if not self.enter(client, path):
            return
        content = self.model.files.get(path)
        sw = 0x6A82 if content is None else OK
        response = self.run(client, pki.read(0, path[-2:]), sw, [self.model])
        if response and content is not None:
            assert content_of(response.data) == content

    @rule(client=clients, ready=ready, path=st.one_of(paths, st.just(DIRECTORY)))
    def delete_file(self, client: int, ready: bool, path: bytes) -> None:
        self.log_in(client, ready)
        if path != DIRECTORY:
            path = self.existing_file(path, ready)
        if not self.enter(client, path):
            return
        command = pki.delete(path[-2:])
        if path not in self.model.files:
            self.run(client, command, 0x6A82, [self.model])
        elif not self.may_write(client):
            self.run(client, command, 0x6982, [self.model])
        else:
            self.run(client, command, OK, [self.model, self.model.without_tree(path)])

    def teardown(self) -> None:
        self.search()


def content_of(answer: bytes) -> bytes:
    """What is in DO 53."""
    item, used = tlv.parse_one(answer)
    assert (item.tag, used) == (0x53, len(answer))
    return item.value
