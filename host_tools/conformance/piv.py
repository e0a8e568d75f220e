"""The steps of the PIV application: spec/vectors/piv.toml says what is meant, this says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW
from apdu.transport import CardClient
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.checks import DifferenceError, SkipError, tries_left
from host_tools.conformance.pki import DIGEST, SECRET, compare
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import Pins, Step

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
REFS = {"pin": piv.REF_PIN, "puk": piv.REF_PUK}
SHA256_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
_MOST_TRIES = 256
WITNESS, CHALLENGE, RESPONSE, EXPONENTIATION = 0x80, 0x81, 0x82, 0x85


@dataclass
class PivDialect:
    """One card in the middle of a vector, whose PINs and keys are those of the table.

    `given` are the PINs that the card is left with.
    """

    subject: Subject
    pins: Pins
    management_keys: Mapping[str, Mapping[str, str]]
    given: Pins
    kinds: dict[int, int] = field(default_factory=dict)
    public: dict[int, Any] = field(default_factory=dict)

    def begin(self, card: str) -> None:
        """Block PIN and PUK and reset the application: so it is as it left the factory."""
        self.kinds.clear()
        self.public.clear()
        self.subject.fresh()
        wrong_pin, wrong_puk = self.pins["pin-wrong"].encode(), self.pins["puk-wrong"].encode()
        self._block(piv.verify(wrong_pin))
        self._block(piv.unblock(wrong_puk, wrong_pin))
        response = self.client.send(piv.reset())
        if response.sw == SW.INS_NOT_SUPPORTED:
            raise SkipError(f"no command makes this card {card}-new")
        self.subject.expect(response, (SW.NO_ERROR,))
        self.subject.fresh()

    def leave(self) -> None:
        """Factory-new but for the PIN, where one was given."""
        self.begin("factory")
        pin = self.given.get("user", self.pins["pin"])
        self.client.call(piv.change(piv.REF_PIN, self.pins["pin"].encode(), pin.encode()))

    def run(self, step: Step) -> Response:
        """Send the commands of a step and compare what they compute."""
        return _STEPS[step["command"]](self, step)

    def tries(self, name: str) -> int:
        """The tries left, as VERIFY without data tells them."""
        return tries_left(self.client.send(piv.verify()))

    @property
    def client(self) -> CardClient:
        return self.subject.client

    def _block(self, command: Command) -> None:
        for _ in range(_MOST_TRIES):
            if self.client.send(command).sw == SW.AUTHENTICATION_METHOD_BLOCKED:
                return
        raise DifferenceError("a wrong value blocks in the end", f"{_MOST_TRIES} tries")

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
        return self.client.send(piv.set_management_key(*self._management_key(step)))

    def authenticate(self, step: Step) -> Response:
        if "management_key" in step:
            algorithm, key = self._management_key(step)
            mutual = step["way"] == "mutual"
            return self._mutual(algorithm, key) if mutual else self._single(algorithm, key)
        return _USES[step["use"]](self, step["slot"])

    def _management_key(self, step: Step) -> tuple[int, bytes]:
        key = self.management_keys[step["management_key"]]
        return MANAGEMENT_KINDS[key["algorithm"]], bytes.fromhex(key["value"])

    def _send(self, algorithm: int, slot: int, fields: dict[int, bytes]) -> Response:
        """The response, with what is in the template as its data."""
        response = self.client.send(piv.authenticate(algorithm, slot, fields))
        if response.sw != SW.NO_ERROR or not response.data:
            return response
        inner, _ = tlv.parse_one(tlv.to_dict(tlv.parse(response.data))[0x7C])
        return Response(response.sw, inner.value)

    def _mutual(self, algorithm: int, key: bytes) -> Response:
        first = self._send(algorithm, piv.MANAGEMENT, {WITNESS: b""})
        if first.sw != SW.NO_ERROR:
            return first
        challenge = DIGEST[: len(first.data)]
        answer = {WITNESS: piv.decipher(key, first.data), CHALLENGE: challenge}
        response = self._send(algorithm, piv.MANAGEMENT, answer)
        compare(response, piv.encipher(key, challenge))
        return response

    def _single(self, algorithm: int, key: bytes) -> Response:
        first = self._send(algorithm, piv.MANAGEMENT, {CHALLENGE: b""})
        if first.sw != SW.NO_ERROR:
            return first
        return self._send(algorithm, piv.MANAGEMENT, {RESPONSE: piv.encipher(key, first.data)})

    def _use(self, slot: int, tag: int, data: bytes) -> Response:
        return self._send(self.kinds[slot], slot, {RESPONSE: b"", tag: data})

    def sign(self, slot: int) -> Response:
        public = self.public[slot]
        block = DIGEST
        if isinstance(public, rsa.RSAPublicKey):
            info = SHA256_INFO + DIGEST
            block = b"\x00\x01" + b"\xff" * (public.key_size // 8 - len(info) - 3) + b"\x00" + info
        response = self._use(slot, CHALLENGE, block)
        if response.sw == SW.NO_ERROR:
            _check_signature(public, response.data)
        return response

    def decrypt(self, slot: int) -> Response:
        cryptogram = self.public[slot].encrypt(SECRET, padding.PKCS1v15())
        response = self._use(slot, CHALLENGE, cryptogram)
        padded = response.data.startswith(b"\x00\x02") and response.data.endswith(b"\x00" + SECRET)
        if response.sw == SW.NO_ERROR and not padded:
            raise DifferenceError("the padded plain text", f"{len(response.data)} other bytes")
        return response

    def agree(self, slot: int) -> Response:
        public = self.public[slot]
        if isinstance(public, x25519.X25519PublicKey):
            peer = x25519.X25519PrivateKey.generate()
            shared, point = peer.exchange(public), peer.public_key().public_bytes_raw()
        else:
            key = ec.generate_private_key(public.curve)
            shared = key.exchange(ec.ECDH(), public)
            point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        response = self._use(slot, EXPONENTIATION, point)
        compare(response, shared)
        return response

    def generate(self, step: Step) -> Response:
        slot, algorithm = step["slot"], KINDS[step["kind"]]
        response = self.client.send(piv.generate(slot, algorithm))
        if response.sw == SW.NO_ERROR:
            self.kinds[slot] = algorithm
            self.public[slot] = piv.public_key(algorithm, pki.public_objects(response.data))
        return response

    def move(self, step: Step) -> Response:
        response = self.client.send(piv.move(step["target"], step["slot"]))
        if response.sw == SW.NO_ERROR and step["target"] != 0xFF:
            for known in (self.kinds, self.public):
                known[step["target"]] = known[step["slot"]]
        return response

    def attest(self, step: Step) -> Response:
        response = self.client.send(piv.attest(step["slot"]))
        if response.sw == SW.NO_ERROR:
            certificate = x509.load_der_x509_certificate(response.data)
            _check_issuer(certificate, self._authority())
            if certificate.public_key() != self.public[step["slot"]]:
                raise DifferenceError("a certificate of the key", "one of another key")
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


def _check_signature(public: Any, signature: bytes) -> None:
    digest = utils.Prehashed(SHA256())
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, DIGEST, padding.PKCS1v15(), digest)
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, DIGEST)
        else:
            public.verify(signature, DIGEST, ec.ECDSA(digest))
    except InvalidSignature:
        raise DifferenceError("a valid signature", "a wrong one") from None


def _check_issuer(certificate: x509.Certificate, authority: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(authority)
    except InvalidSignature:
        raise DifferenceError("a certificate signed by F9", "another one") from None


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
