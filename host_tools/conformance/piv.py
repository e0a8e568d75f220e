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
from apdu.transport import CardClient
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.bad_points import BAD_POINTS
from host_tools.conformance.checks import DifferenceError, SkipError, compare, tries_left
from host_tools.conformance.made_keys import made_key, secret_bytes
from host_tools.conformance.piv_information import check_attested_serial, check_key, objects, same
from host_tools.conformance.piv_login import (
    MANAGEMENT_KEY,
    PIN,
    PUK,
    REFS,
    Settings,
    ask,
    metadata,
    most_tries,
    nearly_prove,
    prove,
    prove_once,
    wrong_value,
)
from host_tools.conformance.pki_commands import public_objects
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import DIGEST, FACTORY, SECRET, Blank, Pins, Step, Vectors

KINDS = {
    "RSA-2048": piv.RSA_2048,
    "RSA-3072": piv.RSA_3072,
    "RSA-4096": piv.RSA_4096,
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
# P2 of SET MANAGEMENT KEY by the touch policy that GET METADATA tells.
_TOUCH_P2 = {piv.TOUCH_ALWAYS: 0xFE, piv.TOUCH_CACHED: 0xFD}
POLICIES = {"never": piv.NEVER, "once": piv.ONCE, "always": piv.ALWAYS}
TOUCHES = {"never": 0x01, "always": piv.TOUCH_ALWAYS, "cached": piv.TOUCH_CACHED}
ORIGINS = {"generated": piv.GENERATED, "imported": piv.IMPORTED}
SHA256_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
_MOST_TRIES = 255


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
            pin, puk = (
                wrong_value(self.table, PIN, self.given),
                wrong_value(self.table, PUK, self.given),
            )
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

    @property
    def pins(self) -> Pins:
        return self.table.pins

    def pin(self, step: Step, name: str) -> bytes:
        return self.pins[step[name]].encode()

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
            way = _WAYS[step["way"]]
            return way(self.client, *self._management_key(step["management_key"]))
        if "point" in step:
            _, good = self._peer(step["slot"])
            bad = BAD_POINTS[step["point"]](good)
            return self._use(step["slot"], piv.EXPONENTIATION, bad)
        return _USES[step["use"]](self, step["slot"])

    def _management_key(self, name: str) -> tuple[int, bytes]:
        key = self.table.table["management_keys"][name]
        return MANAGEMENT_KINDS[key["algorithm"]], bytes.fromhex(key["value"])

    def _use(self, slot: int, tag: int, data: bytes) -> Response:
        return ask(self.client, self.kinds[slot], {piv.RESPONSE: b"", tag: data}, slot)

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
        shared, point = self._peer(slot)
        response = self._use(slot, piv.EXPONENTIATION, point)
        compare(response, shared)
        return response

    def _peer(self, slot: int) -> tuple[bytes, bytes]:
        """A secret shared with the key of the slot, and the peer's point."""
        public = self.public[slot]
        if isinstance(public, x25519.X25519PublicKey):
            peer = x25519.X25519PrivateKey.generate()
            return peer.exchange(public), peer.public_key().public_bytes_raw()
        curve = _curve(public)
        key = ec.generate_private_key(curve.curve)
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return key.exchange(ec.ECDH(), curve), point

    def generate(self, step: Step) -> Response:
        slot, algorithm = step["slot"], KINDS[step["kind"]]
        pin = POLICIES.get(step.get("pin_policy", ""))
        response = self.client.send(piv.generate(slot, algorithm, pin=pin))
        if response.sw == SW.NO_ERROR:
            self.kinds[slot] = algorithm
            self.public[slot] = piv.public_key(algorithm, public_objects(response.data))
        return response

    def import_key(self, step: Step) -> Response:
        slot, algorithm, key = step["slot"], KINDS[step["kind"]], made_key(step["kind"])
        if isinstance(key, rsa.RSAPrivateKey):
            fields = piv.rsa_fields(key)
        else:
            fields = piv.value_fields(algorithm, secret_bytes(key))
        response = self.client.send(piv.import_key(slot, algorithm, fields))
        if response.sw == SW.NO_ERROR:
            public = key.public_key()
            assert isinstance(public, piv.PublicKey)
            self.kinds[slot], self.public[slot] = algorithm, public
            told = metadata(self.client, slot)
            if piv.PUBLIC in told and check_key(self.subject, told) != public:
                raise DifferenceError("the key that was imported", "another one")
        return response

    def get_metadata(self, step: Step) -> Response:
        """Of a slot, of the PIN or the PUK (`ref`), or of the management key."""
        reference = (
            step["slot"] if "slot" in step else REFS.get(step.get("ref", ""), piv.MANAGEMENT)
        )
        response = self.client.send(piv.metadata(reference))
        if response.sw == SW.NO_ERROR:
            told = objects(response.data, "metadata")
            for what, tag, expected in self._metadata(step):
                same(self.subject, what, expected, told.get(tag, b""))
            if "slot" in step and check_key(self.subject, told) != self.public[step["slot"]]:
                raise DifferenceError("the public key of the slot", "another one")
        return response

    def _metadata(self, step: Step) -> Iterator[tuple[str, int, bytes]]:
        """What a step says that is told, with its tag and value."""
        if "slot" in step:
            yield "algorithm", piv.ALGORITHM, bytes((self.kinds[step["slot"]],))
            policies = POLICIES[step["pin_policy"]], TOUCHES[step["touch_policy"]]
            yield "PIN and touch policy", piv.POLICIES, bytes(policies)
            yield "origin", piv.ORIGIN, bytes((ORIGINS[step["origin"]],))
            return
        if "management_key" in step:
            algorithm, _ = self._management_key(step["management_key"])
            yield "algorithm", piv.ALGORITHM, bytes((algorithm,))
        if "left" in step:
            yield "tries at most and left", piv.RETRIES, bytes(step["left"])
        yield "factory value", piv.DEFAULT, bytes((step["default"],))

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
            check_attested_serial(self.subject, certificate)
        return response

    def _authority(self) -> x509.Certificate:
        content = self.client.call(piv.get_data(piv.ATTESTATION_CERTIFICATE))
        inner = tlv.to_dict(tlv.parse(tlv.to_dict(tlv.parse(content))[0x53]))
        return x509.load_der_x509_certificate(inner[0x70])

    def put_data(self, step: Step) -> Response:
        return self._send(step, piv.put_data(bytes.fromhex(step["tag"]), _text(step)))

    def get_data(self, step: Step) -> Response:
        response = self._send(step, piv.get_data(bytes.fromhex(step["tag"])))
        compare(response, tlv.encode(0x53, _text(step)))
        return response

    def _send(self, step: Step, command: Command) -> Response:
        return self.subject.extended(command) if "extended" in step else self.client.send(command)


def _text(step: Step) -> bytes:
    """The content of an object: its text, as many `times`."""
    return bytes(step["text"].encode() * step.get("times", 1))


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


_WAYS = {"mutual": prove, "single": prove_once, "nearly": nearly_prove}

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
    "IMPORT ASYMMETRIC KEY": PivDialect.import_key,
    "GET METADATA": PivDialect.get_metadata,
    "MOVE KEY": PivDialect.move,
    "ATTEST": PivDialect.attest,
    "PUT DATA": PivDialect.put_data,
    "GET DATA": PivDialect.get_data,
}
