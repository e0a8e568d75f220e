"""The steps of the PIV application: spec/vectors/piv.toml says what is meant, this says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW, StatusWordError
from apdu.spec import Access
from apdu.transport import CardClient
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.behaviour import Credential
from host_tools.conformance.checks import Check, DifferenceError, SkipError, compare, tries_left
from host_tools.conformance.pki_commands import public_objects
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import DIGEST, FACTORY, SECRET, Blank, Pins, Step, Vectors

PIN, PUK, MANAGEMENT_KEY = "pin", "puk", "management-key"
SECRETS = (PIN, PUK, MANAGEMENT_KEY)
VERIFIED = {PIN: piv.REF_PIN}
REFS = {PIN: piv.REF_PIN, PUK: piv.REF_PUK}
KINDS = {
    "RSA-2048": piv.RSA_2048,
    "P-256": piv.P256,
    "P-384": piv.P384,
    "Ed25519": piv.ED25519,
    "X25519": piv.X25519,
}
MANAGEMENT_KINDS = {
    "3DES": piv.DES3,
    "AES-128": piv.AES_128,
    "AES-192": piv.AES_192,
    "AES-256": piv.AES_256,
}
# By the length of the key in bytes; the card tells which of two it is.
MANAGEMENT_LENGTHS = {
    16: (piv.AES_128,),
    24: (piv.AES_192, piv.DES3),
    32: (piv.AES_256,),
}
# P2 of SET MANAGEMENT KEY by the touch policy that GET METADATA tells.
_TOUCH_P2 = {piv.TOUCH_ALWAYS: 0xFE, piv.TOUCH_CACHED: 0xFD}
SHA256_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
_MOST_TRIES = 255
_BEHIND_THE_PIN = ("5FC103", "5FC108", "5FC109", "5FC121", "5FC123")

padded = piv.padded


def credentials(table: Vectors, given: Pins) -> list[Credential]:
    """The PIN, the PUK and the management key, as far as they are given."""
    made: list[Credential] = []
    if PIN in given:
        made.append(_pin(given[PIN].encode(), _wrong(table, PIN, given)))
    if PUK in given:
        made.append(_puk(given[PUK].encode(), _wrong(table, PUK, given)))
    if MANAGEMENT_KEY in given:
        made.append(_management_key(bytes.fromhex(given[MANAGEMENT_KEY])))
    return made


def _pin(right: bytes, wrong: bytes) -> Credential:
    def present(subject: Subject, value: bytes) -> Response:
        return subject.client.send(piv.verify(value))

    leave = frozenset((Access.USER,))
    return Credential("PIN", "VERIFY", present, right, wrong, piv.verify(), opens=leave)


def _puk(right: bytes, wrong: bytes) -> Credential:
    def present(subject: Subject, value: bytes) -> Response:
        # The PUK stays what it is.
        return subject.client.send(piv.change(piv.REF_PUK, value, right))

    return Credential("PUK", "CHANGE REFERENCE DATA", present, right, wrong)


def _management_key(right: bytes) -> Credential:
    def present(subject: Subject, value: bytes) -> Response:
        return prove(subject.client, management_algorithm(subject.client, value), value)

    leave = frozenset((Access.MANAGEMENT,))
    wrong = bytes(len(right))
    name = "management key"
    return Credential(
        name, "GENERAL AUTHENTICATE", present, right, wrong, counted=False, opens=leave
    )


def _wrong(table: Vectors, name: str, given: Pins) -> bytes:
    """A value that is not the one given."""
    values = (table.pins[f"{name}-wrong"], table.pins[f"{name}-wrong-too"])
    return next(value for value in values if value != given.get(name)).encode()


def management_algorithm(client: CardClient, key: bytes) -> int:
    """The algorithm by which the card takes a management key of that length."""
    candidates = MANAGEMENT_LENGTHS[len(key)]
    asked = (_ask(client, algorithm, {piv.WITNESS: b""}) for algorithm in candidates)
    pairs = zip(candidates, asked, strict=True)
    return next((found for found, answer in pairs if answer.sw == SW.NO_ERROR), candidates[0])


@dataclass(frozen=True, slots=True)
class Settings:
    """What an erased card has lost beside its PINs and keys.

    The `algorithm` and the `touch` policy of the management key, and the `tries` of PIN and PUK
    at most, which only a card with GET METADATA tells.
    """

    algorithm: int
    touch: int
    tries: tuple[int, ...]

    @classmethod
    def of(cls, client: CardClient, key: bytes) -> Settings:
        """Those of the card whose management key is `key`."""
        policies = metadata(client, piv.MANAGEMENT).get(piv.POLICIES, b"\x00\x00")
        return cls(management_algorithm(client, key), policies[1], most_tries(client))


def most_tries(client: CardClient) -> tuple[int, ...]:
    """The tries at most of PIN and PUK; none where the card does not tell them."""
    told = [metadata(client, reference).get(piv.RETRIES) for reference in REFS.values()]
    return tuple(tries[0] for tries in told if tries)


def metadata(client: CardClient, reference: int) -> dict[int, bytes]:
    """What GET METADATA tells, by tag: nothing on a card without it, or of what is not there."""
    response = client.send(piv.metadata(reference))
    return tlv.to_dict(tlv.parse(response.data)) if response.sw == SW.NO_ERROR else {}


def prove(client: CardClient, algorithm: int, key: bytes) -> Response:
    """Mutual authentication (SP 800-73-4 part 2, A.1).

    Raises DifferenceError where the card does not know the key itself.
    """
    first = _ask(client, algorithm, {piv.WITNESS: b""})
    if first.sw != SW.NO_ERROR:
        return first
    challenge = DIGEST[: len(first.data)]
    answer = {piv.WITNESS: piv.decipher(key, first.data), piv.CHALLENGE: challenge}
    response = _ask(client, algorithm, answer)
    compare(response, piv.encipher(key, challenge))
    return response


def prove_once(client: CardClient, algorithm: int, key: bytes) -> Response:
    """Single authentication: the card proves nothing (SP 800-73-4 part 2, A.1)."""
    first = _ask(client, algorithm, {piv.CHALLENGE: b""})
    if first.sw != SW.NO_ERROR:
        return first
    return _ask(client, algorithm, {piv.RESPONSE: piv.encipher(key, first.data)})


def _ask(
    client: CardClient, algorithm: int, fields: dict[int, bytes], slot: int = piv.MANAGEMENT
) -> Response:
    """GENERAL AUTHENTICATE; the response, with what is in the template as its data."""
    response = client.send(piv.authenticate(algorithm, slot, fields))
    if response.sw != SW.NO_ERROR or not response.data:
        return response
    inner, _ = tlv.parse_one(tlv.to_dict(tlv.parse(response.data))[0x7C])
    return Response(response.sw, inner.value)


def unread_without_pin(subject: Subject) -> Iterator[Check]:
    """What only the card holder may read is refused before VERIFY, whether it is there or not."""
    spec = subject.application.command("GET DATA")
    refused = (SW.SECURITY_STATUS_NOT_SATISFIED, SW.FILE_NOT_FOUND)
    group = "what is behind the PIN is not read without it"
    for tag in _BEHIND_THE_PIN:
        with subject.check(group, f"{spec.name} {tag}", spec.name, spec.clause) as outcome:
            subject.fresh()
            subject.expect(subject.client.send(piv.get_data(bytes.fromhex(tag))), refused)
        yield outcome[0]


@dataclass
class PivDialect:
    """One card in the middle of a vector, which begins with the PINs and the key of the table.

    What is `given` the card has before and afterwards.
    """

    subject: Subject
    table: Vectors
    given: Pins
    blank: Blank | None = None
    kinds: dict[int, int] = field(default_factory=dict)
    public: dict[int, piv.PublicKey] = field(default_factory=dict)
    before: Settings | None = None
    erased: bool = False

    def begin(self, _: str) -> None:
        """Make the application factory-new, for which PIN and PUK have to be blocked."""
        self.kinds.clear()
        self.public.clear()
        self.subject.fresh()
        if self.before is None and MANAGEMENT_KEY in self.given:
            key = bytes.fromhex(self.given[MANAGEMENT_KEY])
            self.before = Settings.of(self.client, key)
        response = self.client.send(piv.reset())
        if response.sw == SW.INS_NOT_SUPPORTED:
            raise SkipError("no command makes the card factory-new again")
        if response.sw == SW.CONDITIONS_NOT_SATISFIED:
            pin, puk = _wrong(self.table, PIN, self.given), _wrong(self.table, PUK, self.given)
            self._block(piv.verify(pin))
            self._block(piv.unblock(puk, pin))
            response = self.client.send(piv.reset())
        if response.sw != SW.NO_ERROR:
            raise StatusWordError(response.sw, "RESET")
        self.erased = True
        self.subject.fresh()

    def _block(self, wrong: Command) -> None:
        for _ in range(_MOST_TRIES):
            if self.client.send(wrong).sw == SW.AUTHENTICATION_METHOD_BLOCKED:
                return
        raise DifferenceError("a blocked PIN (6983)", f"{_MOST_TRIES} more tries")

    def leave(self) -> None:
        """Factory-new, but with the PINs and the management key that were given, and their tries.

        A card that no vector could erase has them still.
        """
        if not self.erased:
            return
        self.begin(FACTORY)
        assert self.before is not None
        prove(self.client, *self._management_key("factory"))
        if self.before.tries != most_tries(self.client):
            self.client.call(piv.verify(self.table.pins[PIN].encode()))
            self.client.call(piv.set_retries(*self.before.tries))
        key = bytes.fromhex(self.given[MANAGEMENT_KEY])
        touch = _TOUCH_P2.get(self.before.touch, 0xFF)
        self.client.call(piv.set_management_key(self.before.algorithm, key, touch))
        for name, reference in REFS.items():
            old, new = self.table.pins[name].encode(), self.given[name].encode()
            self.client.call(piv.change(reference, old, new))

    def run(self, step: Step) -> Response:
        """Send the commands of a step and compare what they compute."""
        return _STEPS[step["command"]](self, step)

    def tries(self, _: str) -> int:
        """Those of the PIN: the PUK's are not told."""
        return tries_left(self.client.send(piv.verify()))

    def counted(self, step: Step) -> str:
        """The PUK, where the command is given it."""
        return str(step.get("ref", PUK if PUK in step else PIN))

    @property
    def client(self) -> CardClient:
        return self.subject.client

    def pin(self, step: Step, name: str) -> bytes:
        return self.table.pins[step[name]].encode()

    def do_reset(self, _: Step) -> Response:
        return self.subject.reset()

    def verify(self, step: Step) -> Response:
        return self.client.send(piv.verify(self.pin(step, "pin") if "pin" in step else None))

    def change(self, step: Step) -> Response:
        old, new = self.pin(step, "old"), self.pin(step, "new")
        return self.client.send(piv.change(REFS[step["ref"]], old, new))

    def unblock(self, step: Step) -> Response:
        return self.client.send(piv.unblock(self.pin(step, "puk"), self.pin(step, "new")))

    def set_retries(self, step: Step) -> Response:
        return self.client.send(piv.set_retries(*step["tries"]))

    def reset_application(self, _: Step) -> Response:
        return self.client.send(piv.reset())

    def set_management_key(self, step: Step) -> Response:
        algorithm, key = self._management_key(step["management_key"])
        return self.client.send(piv.set_management_key(algorithm, key))

    def authenticate(self, step: Step) -> Response:
        if "management_key" in step:
            way = prove if step["way"] == "mutual" else prove_once
            return way(self.client, *self._management_key(step["management_key"]))
        return _USES[step["use"]](self, step["slot"])

    def _management_key(self, name: str) -> tuple[int, bytes]:
        key = self.table.table["management_keys"][name]
        return MANAGEMENT_KINDS[key["algorithm"]], bytes.fromhex(key["value"])

    def _use(self, slot: int, tag: int, data: bytes) -> Response:
        return _ask(self.client, self.kinds[slot], {piv.RESPONSE: b"", tag: data}, slot)

    def sign(self, slot: int) -> Response:
        public = self.public[slot]
        block = DIGEST
        if isinstance(public, rsa.RSAPublicKey):
            info = SHA256_INFO + DIGEST
            block = b"\x00\x01" + b"\xff" * (public.key_size // 8 - len(info) - 3) + b"\x00" + info
        response = self._use(slot, piv.CHALLENGE, block)
        if response.sw == SW.NO_ERROR:
            _check_signature(public, response.data)
        return response

    def decrypt(self, slot: int) -> Response:
        public = _rsa(self.public[slot])
        response = self._use(slot, piv.CHALLENGE, public.encrypt(SECRET, padding.PKCS1v15()))
        if response.sw == SW.NO_ERROR:
            # The padding is random.
            filling = response.data[2 : -len(SECRET) - 1]
            compare(response, b"\x00\x02" + filling + b"\x00" + SECRET)
        return response

    def agree(self, slot: int) -> Response:
        public = self.public[slot]
        if isinstance(public, x25519.X25519PublicKey):
            peer = x25519.X25519PrivateKey.generate()
            shared, point = peer.exchange(public), peer.public_key().public_bytes_raw()
        else:
            curve = _curve(public)
            key = ec.generate_private_key(curve.curve)
            shared = key.exchange(ec.ECDH(), curve)
            point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        response = self._use(slot, piv.EXPONENTIATION, point)
        compare(response, shared)
        return response

    def generate(self, step: Step) -> Response:
        slot, algorithm = step["slot"], KINDS[step["kind"]]
        response = self.client.send(piv.generate(slot, algorithm))
        if response.sw == SW.NO_ERROR:
            self.kinds[slot] = algorithm
            self.public[slot] = piv.public_key(algorithm, public_objects(response.data))
        return response

    def move(self, step: Step) -> Response:
        source, target = step["slot"], step["target"]
        response = self.client.send(piv.move(target, source))
        if response.sw == SW.NO_ERROR and target != piv.DELETED:
            self.kinds[target], self.public[target] = self.kinds[source], self.public[source]
        return response

    def attest(self, step: Step) -> Response:
        response = self.client.send(piv.attest(step["slot"]))
        if response.sw == SW.NO_ERROR:
            certificate = x509.load_der_x509_certificate(response.data)
            try:
                certificate.verify_directly_issued_by(self._authority())
            except InvalidSignature:
                raise DifferenceError("a valid attestation", "a wrong signature") from None
            if certificate.public_key() != self.public[step["slot"]]:
                raise DifferenceError("the key of the slot", "another key is attested")
        return response

    def _authority(self) -> x509.Certificate:
        content = self.client.call(piv.get_data(piv.ATTESTATION_CERTIFICATE))
        inner = tlv.to_dict(tlv.parse(tlv.to_dict(tlv.parse(content))[0x53]))
        return x509.load_der_x509_certificate(inner[0x70])

    def put_data(self, step: Step) -> Response:
        return self.client.send(piv.put_data(bytes.fromhex(step["tag"]), step["text"].encode()))

    def get_data(self, step: Step) -> Response:
        response = self.client.send(piv.get_data(bytes.fromhex(step["tag"])))
        compare(response, tlv.encode(0x53, step["text"].encode()))
        return response


def _rsa(public: piv.PublicKey) -> rsa.RSAPublicKey:
    """The key, which the step says to be of that kind."""
    assert isinstance(public, rsa.RSAPublicKey)
    return public


def _curve(public: piv.PublicKey) -> ec.EllipticCurvePublicKey:
    """Likewise."""
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public


def _check_signature(public: piv.PublicKey, signature: bytes) -> None:
    digest = utils.Prehashed(SHA256())
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, DIGEST, padding.PKCS1v15(), digest)
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, DIGEST)
        else:
            curve = _curve(public)
            curve.verify(signature, DIGEST, ec.ECDSA(digest))
    except InvalidSignature:
        raise DifferenceError("a valid signature", "a wrong one") from None


_USES: dict[str, Callable[[PivDialect, int], Response]] = {
    "sign": PivDialect.sign,
    "decrypt": PivDialect.decrypt,
    "agree": PivDialect.agree,
}
_STEPS: dict[str, Callable[[PivDialect, Step], Response]] = {
    "CARD RESET": PivDialect.do_reset,
    "VERIFY": PivDialect.verify,
    "CHANGE REFERENCE DATA": PivDialect.change,
    "RESET RETRY COUNTER": PivDialect.unblock,
    "SET PIN RETRIES": PivDialect.set_retries,
    "RESET": PivDialect.reset_application,
    "SET MANAGEMENT KEY": PivDialect.set_management_key,
    "GENERAL AUTHENTICATE": PivDialect.authenticate,
    "GENERATE ASYMMETRIC KEY PAIR": PivDialect.generate,
    "MOVE KEY": PivDialect.move,
    "ATTEST": PivDialect.attest,
    "PUT DATA": PivDialect.put_data,
    "GET DATA": PivDialect.get_data,
}
