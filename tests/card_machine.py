"""A hypothesis machine that drives a card by APDUs: its PINs, keys and files."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from apdu.codec import Command, Response
from host_tools.conformance import pki_commands as pki
from host_tools.testing.faults import Cut
from tests.card_model import MF, SO, USER, TokenModel
from tests.powered_card import DIRECTORY, FIDS, OK, PINS, PoweredCard, clients, content_of, cuts

TOO_SHORT = b"123"
REFERENCES = (0, 1, 255, 1023)
# Reading is free, everything else needs the user PIN.
EF_CONDITIONS = bytes((0x90,) * 6 + (0x00,))
DF_CONDITIONS = bytes((0x90,) * 7)
RSA_KEY = rsa.generate_private_key(65537, 2048)
SECRET = bytes(range(100, 132))
PAIRS = {
    "EC": (pki.EC, pki.p256()),
    "Ed25519": (pki.ED25519, b""),
    "Ed448": (pki.ED448, b""),
}
# Three times of four a rule first does what makes its command succeed.
ready = st.sampled_from((True, True, True, False))
refs = st.sampled_from((USER, SO))
pins = st.sampled_from(PINS)
references = st.sampled_from(REFERENCES)
paths = st.builds(lambda df, fid: df + fid, st.sampled_from((MF, DIRECTORY)), st.sampled_from(FIDS))
contents = st.binary(max_size=12)


class CardMachine(PoweredCard):
    """What two programs do to a card whose power is cut."""

    @rule(client=clients, cut=cuts)
    def arm_a_cut_of_a_user(self, client: int, cut: Cut) -> None:
        self.log_in(client, ready=True)
        self.cut = cut

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
