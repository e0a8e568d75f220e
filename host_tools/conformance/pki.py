"""The steps of the PKI application: spec/vectors/pki.toml says what is meant, this says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW, StatusWordError
from apdu.transport import CardClient
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.bad_points import BAD_POINTS
from host_tools.conformance.checks import (
    Check,
    DifferenceError,
    SkipError,
    compare,
    tries_left,
)
from host_tools.conformance.made_keys import made_key, secret_bytes
from host_tools.conformance.pki_login import REFS
from host_tools.conformance.pki_peer import (
    IV,
    PublicHalf,
    authenticated,
    enciphered,
    public_objects,
)
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import BLANK, DIGEST, SECRET, Blank, Pins, Step, Vectors

KINDS = {
    "RSA-2048": pki.RSA_2048,
    "RSA-3072": pki.RSA_3072,
    "RSA-4096": pki.RSA_4096,
    **dict.fromkeys(pki.CURVES, pki.EC),
    "CryptoPro-A": pki.GOST_256,
    "tc26-256-A": pki.GOST_256,
    "tc26-512-A": pki.GOST_512,
    "Ed25519": pki.ED25519,
    "X25519": pki.X25519,
    "Ed448": pki.ED448,
    "X448": pki.X448,
    "ML-DSA-44": pki.ML_DSA[44],
    "ML-DSA-65": pki.ML_DSA[65],
    "ML-DSA-87": pki.ML_DSA[87],
    "ML-KEM-768": pki.ML_KEM[768],
    "ML-KEM-1024": pki.ML_KEM[1024],
    "AES": pki.AES,
    "generic": pki.GENERIC,
}
ALGORITHMS = {
    "PKCS1": pki.PKCS1,
    "PSS": pki.PSS,
    "OAEP": pki.OAEP,
    "ECDSA": pki.ECDSA,
    "EdDSA": pki.EDDSA,
    "ECDH": pki.ECDH,
    "ML-DSA": pki.ML_DSA_SIGN,
    "GOST": pki.GOST_SIGN,
    "ML-KEM": pki.ML_KEM_DECAPSULATE,
    "CBC": pki.CBC,
    "GCM": pki.GCM,
    "HMAC": pki.HMAC,
    "CMAC": pki.CMAC,
}
PARAMETERS = {
    "CBC": tlv.encode(0xC6, IV),
    "GCM": tlv.encode(0xC6, IV),
    "HMAC": b"\xc1\x01\x03",  # SHA-256
    "CMAC": b"\xc9\x01\x10",  # a whole block
}
PRIVATE_USAGE = {"sign": 0x01, "decrypt": 0x02, "derive": 0x04}
USAGE = PRIVATE_USAGE | {"encrypt": 0x08, "mac": 0x40}
# Shorter parts of challenges might be the same by chance.
_CHALLENGES, _PART, _ASKED = (8, 16, 32), 8, 16
_COUNTERS = 2**32
CONDITIONS = {
    "always": pki.FREE,
    "user": pki.BY_USER,
    "so": pki.BY_SO,
    "either": pki.BY_EITHER,
    "never": pki.NEVER,
}


def challenges(subject: Subject) -> Iterator[Check]:
    """GET CHALLENGE gives as many bytes as it is asked for, others each time."""
    spec = subject.application.command("GET CHALLENGE")
    group = "challenges are as long as asked for, and never the same"
    for length in _CHALLENGES:
        with subject.check(group, f"{length} bytes", spec.name, spec.clause) as outcome:
            subject.fresh()
            seen: set[bytes] = set()
            for _ in range(_ASKED):
                response = subject.exchange(pki.challenge(length))
                subject.expect(response, (SW.NO_ERROR,))
                if len(response.data) != length:
                    raise DifferenceError(f"{length} bytes", f"{len(response.data)} bytes")
                for start in range(0, length, _PART):
                    part = response.data[start : start + _PART]
                    if part in seen:
                        raise DifferenceError("bytes that never came before", "the same again")
                    seen.add(part)
        yield outcome[0]


@dataclass
class PkiDialect:
    """One card in the middle of a vector; the PINs that are given take the place of the table's."""

    subject: Subject
    table: Vectors
    given: Pins
    blank: Blank | None = None
    public: dict[int, PublicHalf] = field(default_factory=dict)
    secret: dict[int, bytes] = field(default_factory=dict, repr=False)
    signatures: dict[tuple[int, str], bytes] = field(default_factory=dict)
    """The last signature by a key with an algorithm."""
    counter: int = 0

    def begin(self, card: str) -> None:
        """Erase the card; `operational` has both PINs and nothing else."""
        self.public.clear()
        self.secret.clear()
        self.signatures.clear()
        if card == BLANK:
            if self.blank is None:
                raise SkipError("no command makes a card blank again")
            self.blank()
            self.subject.fresh()
            return
        self.subject.fresh()
        initialize = pki.initialize(self.pins["so"].encode())
        response = self.client.send(initialize)
        if response.sw == SW.AUTHENTICATION_METHOD_BLOCKED and self.blank is not None:
            self.begin(BLANK)
            response = self.client.send(initialize)
        if response.sw != SW.NO_ERROR:
            raise StatusWordError(response.sw, "INITIALIZE")
        self.client.call(pki.reset_by_so(self.pins["user"].encode()))
        self.subject.fresh()

    def leave(self) -> None:
        """As a vector begins."""
        self.begin("operational")

    def run(self, step: Step) -> Response:
        """Send the commands of a step and compare what they compute."""
        return _STEPS[step["command"]](self, step)

    def tries(self, name: str) -> int:
        """The tries left, as VERIFY without data tells them."""
        return tries_left(self.client.send(pki.verify(REFS[name])))

    def counted(self, step: Step) -> str:
        """What takes no reference takes the SO PIN."""
        return str(step.get("ref", "so"))

    @property
    def client(self) -> CardClient:
        return self.subject.client

    @property
    def pins(self) -> Pins:
        return {**self.table.pins, **self.given}

    def pin(self, step: Step, name: str) -> bytes:
        return self.pins[step[name]].encode()

    def do_reset(self, _: Step) -> Response:
        return self.subject.reset()

    def verify(self, step: Step) -> Response:
        pin = self.pin(step, "pin") if "pin" in step else b""
        return self.client.send(pki.verify(REFS[step["ref"]], pin))

    def change(self, step: Step) -> Response:
        old, new = self.pin(step, "old"), self.pin(step, "new")
        return self.client.send(pki.change(REFS[step["ref"]], old, new))

    def change_padded(self, step: Step) -> Response:
        """With an old value, or without one on a card that is blank."""
        ref, new = REFS[step["ref"]], self.pin(step, "new")
        if "old" not in step:
            return self.client.send(pki.set_pin(ref, new))
        return self.client.send(pki.change_padded(ref, self.pin(step, "old"), new))

    def unblock_padded(self, step: Step) -> Response:
        return self.client.send(pki.unblock_padded(self.pin(step, "puk"), self.pin(step, "new")))

    def unblock(self, step: Step) -> Response:
        return self.client.send(pki.unblock(self.pin(step, "puk"), self.pin(step, "new")))

    def reset_by_so(self, step: Step) -> Response:
        return self.client.send(pki.reset_by_so(self.pin(step, "new")))

    def initialize(self, step: Step) -> Response:
        return self.client.send(pki.initialize(self.pin(step, "pin")))

    def generate(self, step: Step) -> Response:
        self.client.call(pki.mse(pki.GENERATE, KINDS[step["kind"]], step["key"]))
        data = _curve(step["kind"])
        if "usage" in step or "always_authenticate" in step:
            usage = sum(USAGE[name] for name in step.get("usage", PRIVATE_USAGE))
            data += pki.attributes(usage, int(step.get("always_authenticate", False)))
        response = self.client.send(pki.generate(data))
        if response.sw == SW.NO_ERROR:
            objects = pki.public_objects(response.data)
            self.public[step["key"]] = PublicHalf(step["kind"], objects)
        return response

    def get_public(self, step: Step) -> Response:
        self.client.call(pki.mse(pki.GENERATE, KINDS[step["kind"]], step["key"]))
        response = self.client.send(pki.public_key())
        if (
            response.sw == SW.NO_ERROR
            and pki.public_objects(response.data) != self.public[step["key"]].objects
        ):
            raise DifferenceError("the key that was generated", "another one")
        return response

    def import_key(self, step: Step) -> Response:
        """PUT DATA; the public part of the key is then read, and compared."""
        kind, reference = step["kind"], step["key"]
        self.client.call(pki.mse(pki.GENERATE, KINDS[kind], reference))
        if "value" in step:
            return self._import_secret(step)
        key = made_key(kind)
        if isinstance(key, rsa.RSAPrivateKey):
            command = pki.put_key(pki.rsa_template(key))
        else:
            command = pki.put_value(secret_bytes(key), curve=_curve(kind))
        response = self.client.send(command)
        if response.sw == SW.NO_ERROR:
            self.client.call(pki.mse(pki.GENERATE, KINDS[kind], reference))
            told = pki.public_objects(self.client.call(pki.public_key()))
            if not told.items() >= public_objects(key).items():
                raise DifferenceError("the key that was imported", "another one")
            self.public[reference] = PublicHalf(kind, told)
        return response

    def _import_secret(self, step: Step) -> Response:
        value = bytes.fromhex(step["value"])
        usage = sum(USAGE[name] for name in step["usage"])
        response = self.client.send(pki.put_value(value, pki.attributes(usage)))
        if response.sw == SW.NO_ERROR:
            self.secret[step["key"]] = value
        return response

    def change_counter(self, step: Step) -> Response:
        """GET CHANGE COUNTER; it has gone up by as many `changes` since it was read before."""
        response = self.client.send(pki.get_data(pki.CHANGE_COUNTER))
        before, self.counter = self.counter, int.from_bytes(response.data, "big")
        if "changes" in step:
            moved = (self.counter - before) % _COUNTERS
            if moved != step["changes"]:
                raise DifferenceError(f"{step['changes']} changes", f"{moved}")
        return response

    def get_data(self, step: Step) -> Response:
        """GET DATA of the `keys` that are there, or of the state of the card."""
        what = pki.KEY_LIST if "keys" in step else pki.CARD_INFORMATION
        response = self.client.send(pki.get_data(what))
        if response.sw == SW.NO_ERROR:
            if "keys" in step:
                self._check_keys(step["keys"], response.data)
            else:
                self._check_information(response.data)
        return response

    def _check_keys(self, expected: Sequence[int], answer: bytes) -> None:
        listed = (tlv.to_dict(tlv.parse(item.value))[0x84] for item in tlv.parse(answer))
        got = sorted(int.from_bytes(reference, "big") for reference in listed)
        self.subject.note(f"the keys {expected}", f"the keys {got}")
        if got != expected:
            raise DifferenceError(f"the keys {expected}", f"the keys {got}")

    def _check_information(self, answer: bytes) -> None:
        """The life cycle, and of each PIN the tries left, as VERIFY tells them."""
        items = tlv.parse(tlv.to_dict(tlv.parse(answer))[0xE0])
        pins = (tlv.to_dict(tlv.parse(item.value)) for item in items if item.tag == 0xA1)
        got = {pin[0x80][0]: pin[0x81][0] for pin in pins}
        expected = {ref: self.tries(name) for name, ref in REFS.items()}
        self.subject.note(f"tries left by PIN {expected}", f"{got}")
        if got != expected:
            raise DifferenceError(f"tries left by PIN {expected}", f"{got}")
        life_cycle = tlv.to_dict(item for item in items if item.tag == 0x81)[0x81]
        if life_cycle != pki.OPERATIONAL:
            raise DifferenceError("an operational card (05)", life_cycle.hex())

    def delete_key(self, step: Step) -> Response:
        return self.client.send(pki.delete_key(step["key"]))

    def sign(self, step: Step) -> Response:
        choice = self.client.send(pki.mse(pki.SIGN, ALGORITHMS[step["algorithm"]], step["key"]))
        if choice.sw != SW.NO_ERROR:
            return choice
        response = self.client.send(pki.sign(self._signed(step)))
        if response.sw == SW.NO_ERROR:
            self.public[step["key"]].check(step["algorithm"], self._signed(step), response.data)
            self.signatures[step["key"], step["algorithm"]] = response.data
        return response

    def verify_signature(self, step: Step) -> Response:
        """The last signature by the key, with the last bit of what is `changed` turned over."""
        self.client.call(pki.mse(pki.SIGN, ALGORITHMS[step["algorithm"]], step["key"]))
        parts = {
            "input": self._signed(step),
            "signature": self.signatures[step["key"], step["algorithm"]],
        }
        if "changed" in step:
            part = parts[step["changed"]]
            parts[step["changed"]] = part[:-1] + bytes((part[-1] ^ 1,))
        return self.client.send(pki.verify_signature(*parts.values()))

    def generate_secret(self, step: Step) -> Response:
        self.client.call(pki.mse(pki.GENERATE, KINDS[step["kind"]], step["key"]))
        usage = sum(USAGE[name] for name in step["usage"])
        policy = pki.EXPORT if step.get("export") else 0
        command = pki.generate_secret(step["length"], pki.attributes(usage, policy))
        return self.client.send(command)

    def get_secret(self, step: Step) -> Response:
        response = self.client.send(pki.get_secret(step["key"]))
        if response.sw == SW.NO_ERROR:
            self.secret[step["key"]] = response.data
        return response

    def encipher(self, step: Step) -> Response:
        self._choose(pki.DECIPHER, step)
        response = self.client.send(pki.encipher(DIGEST))
        if response.sw == SW.NO_ERROR:
            compare(response, enciphered(step["algorithm"], self.secret[step["key"]], DIGEST))
        return response

    def checksum(self, step: Step) -> Response:
        self._choose(pki.CHECKSUM, step)
        response = self.client.send(pki.checksum(DIGEST))
        if response.sw == SW.NO_ERROR:
            compare(response, authenticated(step["algorithm"], self.secret[step["key"]], DIGEST))
        return response

    def _choose(self, template: int, step: Step) -> None:
        name = step["algorithm"]
        extra = PARAMETERS.get(name, b"")
        self.client.call(pki.mse(template, ALGORITHMS[name], step["key"], extra))

    def decipher(self, step: Step) -> Response:
        self._choose(pki.DECIPHER, step)
        if "damaged" in step:
            return self._decipher_damaged(self.public[step["key"]].size)
        if "point" in step:
            _, point = self.public[step["key"]].agree()
            return self.client.send(pki.derive(BAD_POINTS[step["point"]](point)))
        command, expected = self._for_the_card(step["algorithm"], step["key"])
        response = self.client.send(command)
        compare(response, expected)
        return response

    def _for_the_card(self, algorithm: str, key: int) -> tuple[Command, bytes]:
        """What a peer gives the card, and what the card has to make of it."""
        if algorithm in {"CBC", "GCM"}:
            return pki.decipher(enciphered(algorithm, self.secret[key], DIGEST)), DIGEST
        public = self.public[key]
        if algorithm == "ECDH":
            shared, point = public.agree()
            return pki.derive(point), shared
        if algorithm == "ML-KEM":
            shared, cryptogram = public.encapsulate()
            return pki.decipher(cryptogram), shared
        return pki.decipher(public.encrypt(algorithm, SECRET)), SECRET

    def _decipher_damaged(self, size: int) -> Response:
        """Two numbers of `size` bytes that nobody has padded, one of them twice.

        A card that refuses none answers for each the same bytes every time, and others for another
        one: nothing else hides whether the padding was right.
        """
        one, other = (bytes((fill,)) * size for fill in (1, 2))
        first, again, last = (self.client.send(pki.decipher(given)) for given in (one, one, other))
        if first != again:
            raise DifferenceError("the same answer to the same cryptogram", "another one")
        if first.sw == SW.NO_ERROR and first.data == last.data:
            raise DifferenceError("another answer to another cryptogram", "the same one")
        return first

    def create(self, step: Step) -> Response:
        self.client.call(pki.select(b""))
        conditions = bytearray((pki.BY_USER,) * 7)
        for name, place in (("delete", 0), ("update", 5), ("read", 6)):
            conditions[place] = CONDITIONS[step.get(name, "user")]
        template = pki.fcp(bytes.fromhex(step["file"]), 0, bytes(conditions))
        return self.client.send(pki.create(template))

    def update(self, step: Step) -> Response:
        fid = bytes.fromhex(step["file"])
        return self._write(step, pki.update(step["offset"], _text(step), fid=fid))

    def _write(self, step: Step, command: Command) -> Response:
        """Long data travel as a chain, or in extended length fields."""
        client = CardClient(self.subject, extended=False) if "chained" in step else self.client
        return client.send(command)

    def read(self, step: Step) -> Response:
        response = self.client.send(pki.read(0, bytes.fromhex(step["file"])))
        if "text" in step:
            compare(response, tlv.encode(0x53, _text(step)))
        return response

    def update_short(self, step: Step) -> Response:
        choice = self.client.send(pki.select(bytes.fromhex(step["file"])))
        if choice.sw != SW.NO_ERROR:
            return choice
        return self._write(step, pki.update_short(step["offset"], _text(step)))

    def read_short(self, step: Step) -> Response:
        choice = self.client.send(pki.select(bytes.fromhex(step["file"])))
        if choice.sw != SW.NO_ERROR:
            return choice
        response = self.client.send(pki.read_short(step["offset"]))
        if "text" in step:
            compare(response, step["text"].encode())
        return response

    def delete(self, step: Step) -> Response:
        return self.client.send(pki.delete(bytes.fromhex(step["file"])))

    def _signed(self, step: Step) -> bytes:
        """What a step signs: of a GOST key of 512 bits twice the digest."""
        long = step["algorithm"] == "GOST" and len(self.public[step["key"]].point) == 128
        return DIGEST * 2 if long else DIGEST


def _text(step: Step) -> bytes:
    """The content of a file: its text, as many `times`."""
    return bytes(step["text"].encode() * step.get("times", 1))


def _curve(kind: str) -> bytes:
    """The curve or parameter set of a kind of key as a data object; nothing for others."""
    return pki.curve(kind) if kind in pki.CURVES | pki.GOST_SETS else b""


_STEPS: dict[str, Callable[[PkiDialect, Step], Response]] = {
    "CARD RESET": PkiDialect.do_reset,
    "VERIFY": PkiDialect.verify,
    "CHANGE REFERENCE DATA": PkiDialect.change_padded,
    "RESET RETRY COUNTER": PkiDialect.unblock_padded,
    "CHANGE REFERENCE DATA ODD": PkiDialect.change,
    "RESET RETRY COUNTER ODD": PkiDialect.unblock,
    "RESET RETRY COUNTER BY SO": PkiDialect.reset_by_so,
    "INITIALIZE": PkiDialect.initialize,
    "GENERATE ASYMMETRIC KEY PAIR": PkiDialect.generate,
    "PUT DATA": PkiDialect.import_key,
    "GET PUBLIC KEY": PkiDialect.get_public,
    "GENERATE SECRET KEY": PkiDialect.generate_secret,
    "GET SECRET KEY": PkiDialect.get_secret,
    "GET CHANGE COUNTER": PkiDialect.change_counter,
    "GET DATA": PkiDialect.get_data,
    "DELETE KEY": PkiDialect.delete_key,
    "PSO ENCIPHER": PkiDialect.encipher,
    "PSO COMPUTE CRYPTOGRAPHIC CHECKSUM": PkiDialect.checksum,
    "PSO COMPUTE DIGITAL SIGNATURE": PkiDialect.sign,
    "PSO VERIFY DIGITAL SIGNATURE": PkiDialect.verify_signature,
    "PSO DECIPHER": PkiDialect.decipher,
    "CREATE FILE": PkiDialect.create,
    "UPDATE BINARY ODD": PkiDialect.update,
    "READ BINARY ODD": PkiDialect.read,
    "UPDATE BINARY": PkiDialect.update_short,
    "READ BINARY": PkiDialect.read_short,
    "DELETE FILE": PkiDialect.delete,
}
