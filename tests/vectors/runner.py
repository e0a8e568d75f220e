"""Runs the steps of spec/vectors against any card: they say what is meant, this says how."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from apdu import tlv
from apdu.codec import Response
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from tests import cards

Step = Mapping[str, Any]
MlDsaKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
MlKemKey = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey

REFS = {"user": pki.USER, "so": pki.SO}
KINDS = {
    "RSA-2048": pki.RSA_2048,
    "P-256": pki.EC,
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
# Public keys by their length in bytes.
ML_DSA_KEYS: dict[int, Callable[[bytes], MlDsaKey]] = {
    1312: mldsa.MLDSA44PublicKey.from_public_bytes,
    1952: mldsa.MLDSA65PublicKey.from_public_bytes,
    2592: mldsa.MLDSA87PublicKey.from_public_bytes,
}
ML_KEM_KEYS: dict[int, Callable[[bytes], MlKemKey]] = {
    1184: mlkem.MLKEM768PublicKey.from_public_bytes,
    1568: mlkem.MLKEM1024PublicKey.from_public_bytes,
}
ALGORITHMS = {
    "PKCS1": pki.PKCS1,
    "PSS": pki.PSS,
    "OAEP": pki.OAEP,
    "ECDSA": pki.ECDSA,
    "EdDSA": pki.EDDSA,
    "ECDH": pki.ECDH,
    "ML-DSA": pki.ML_DSA_SIGN,
    "ML-KEM": pki.ML_KEM_DECAPSULATE,
    "CBC": pki.CBC,
    "GCM": pki.GCM,
    "HMAC": pki.HMAC,
    "CMAC": pki.CMAC,
}
IV = bytes(range(16))
PARAMETERS = {
    "CBC": tlv.encode(0xC6, IV),
    "GCM": tlv.encode(0xC6, IV),
    "HMAC": b"\xc1\x01\x03",  # SHA-256
    "CMAC": b"\xc9\x01\x10",  # a whole block
}
PRIVATE_USAGE = {"sign": 0x01, "decrypt": 0x02, "derive": 0x04}
USAGE = PRIVATE_USAGE | {"encrypt": 0x08, "mac": 0x40}
CONDITIONS = {"always": pki.FREE, "user": pki.BY_USER, "so": pki.BY_SO}
DIGEST = bytes(range(32))
SECRET = b"a session key"
_RETRIES = re.compile(r"RemainingRetries\((\d+)\)")


def expected(step: Step) -> int:
    """The status word that a step has to end with."""
    expect = step["expect"]
    if retries := _RETRIES.fullmatch(expect):
        return SW.WRONG_PIN | int(retries[1])
    return SW.NO_ERROR if expect == "Valid" else int(getattr(SW, expect))


@dataclass
class Runner:
    """One card in the middle of a vector; `reset` is its reset line."""

    client: cards.Client
    reset: Callable[[], None]
    pins: Mapping[str, str]
    public: dict[int, dict[int, bytes]] = field(default_factory=dict)
    secret: dict[int, bytes] = field(default_factory=dict, repr=False)

    def run(self, step: Step) -> None:
        """Raises AssertionError when the card does something else than the step says."""
        response = _STEPS[step["command"]](self, step)
        wanted = expected(step)
        assert response.sw == wanted, f"{step['command']}: {response.sw:04X}, not {wanted:04X}"

    def pin(self, step: Step, name: str) -> bytes:
        return self.pins[step[name]].encode()

    def do_reset(self, _: Step) -> Response:
        self.reset()
        return self.client.send(pki.select_application())

    def verify(self, step: Step) -> Response:
        pin = self.pin(step, "pin") if "pin" in step else b""
        return self.client.send(pki.verify(REFS[step["ref"]], pin))

    def change(self, step: Step) -> Response:
        old, new = self.pin(step, "old"), self.pin(step, "new")
        return self.client.send(pki.change(REFS[step["ref"]], old, new))

    def unblock(self, step: Step) -> Response:
        return self.client.send(pki.unblock(self.pin(step, "puk"), self.pin(step, "new")))

    def reset_by_so(self, step: Step) -> Response:
        return self.client.send(pki.reset_by_so(self.pin(step, "new")))

    def initialize(self, step: Step) -> Response:
        return self.client.send(pki.initialize(self.pin(step, "pin")))

    def generate(self, step: Step) -> Response:
        self.client.ok(pki.mse(pki.GENERATE, KINDS[step["kind"]], step["key"]))
        data = pki.p256() if step["kind"] == "P-256" else b""
        if "usage" in step or "always_authenticate" in step:
            usage = sum(USAGE[name] for name in step.get("usage", PRIVATE_USAGE))
            data += pki.attributes(usage, int(step.get("always_authenticate", False)))
        response = self.client.send(pki.generate(data))
        if response.sw == SW.NO_ERROR:
            self.public[step["key"]] = pki.public_objects(response.data)
        return response

    def delete_key(self, step: Step) -> Response:
        return self.client.send(pki.delete_key(step["key"]))

    def sign(self, step: Step) -> Response:
        choice = self.client.send(pki.mse(pki.SIGN, ALGORITHMS[step["algorithm"]], step["key"]))
        if choice.sw != SW.NO_ERROR:
            return choice
        response = self.client.send(pki.sign(DIGEST))
        if response.sw == SW.NO_ERROR:
            self._check_signature(step, response.data)
        return response

    def generate_secret(self, step: Step) -> Response:
        self.client.ok(pki.mse(pki.GENERATE, KINDS[step["kind"]], step["key"]))
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
        assert response.sw != SW.NO_ERROR or response.data == self._enciphered(step)
        return response

    def checksum(self, step: Step) -> Response:
        self._choose(pki.CHECKSUM, step)
        response = self.client.send(pki.checksum(DIGEST))
        assert response.sw != SW.NO_ERROR or response.data == self._authenticated(step)
        return response

    def _choose(self, template: int, step: Step) -> None:
        name = step["algorithm"]
        extra = PARAMETERS.get(name, b"")
        self.client.ok(pki.mse(template, ALGORITHMS[name], step["key"], extra))

    def _enciphered(self, step: Step) -> bytes:
        value = self.secret[step["key"]]
        if step["algorithm"] == "GCM":
            return AESGCM(value).encrypt(IV, DIGEST, None)
        return Cipher(AES(value), modes.CBC(IV)).encryptor().update(DIGEST)

    def _authenticated(self, step: Step) -> bytes:
        value = self.secret[step["key"]]
        if step["algorithm"] == "HMAC":
            return hmac.digest(value, DIGEST, "sha256")
        reference = cmac.CMAC(AES(value))
        reference.update(DIGEST)
        return reference.finalize()

    def decipher(self, step: Step) -> Response:
        self._choose(pki.DECIPHER, step)
        if step["algorithm"] == "ECDH":
            return self._agree(step)
        if step["algorithm"] == "ML-KEM":
            return self._decapsulate(step)
        if step["algorithm"] in {"CBC", "GCM"}:
            response = self.client.send(pki.decipher(self._enciphered(step)))
            assert response.sw != SW.NO_ERROR or response.data == DIGEST
            return response
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if step["algorithm"] == "OAEP":
            scheme = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        cryptogram = self._rsa(step).encrypt(SECRET, scheme)
        response = self.client.send(pki.decipher(cryptogram))
        assert response.sw != SW.NO_ERROR or response.data == SECRET
        return response

    def create(self, step: Step) -> Response:
        self.client.ok(pki.select(b""))
        conditions = bytearray((pki.BY_USER,) * 7)
        for name, place in (("update", 5), ("read", 6)):
            conditions[place] = CONDITIONS[step.get(name, "user")]
        template = pki.fcp(bytes.fromhex(step["file"]), 0, bytes(conditions))
        return self.client.send(pki.create(template))

    def update(self, step: Step) -> Response:
        fid = bytes.fromhex(step["file"])
        return self.client.send(pki.update(step["offset"], step["text"].encode(), fid=fid))

    def read(self, step: Step) -> Response:
        response = self.client.send(pki.read(0, bytes.fromhex(step["file"])))
        if response.sw == SW.NO_ERROR:
            assert response.data == tlv.encode(0x53, step["text"].encode())
        return response

    def delete(self, step: Step) -> Response:
        return self.client.send(pki.delete(bytes.fromhex(step["file"])))

    def _rsa(self, step: Step) -> rsa.RSAPublicKey:
        modulus = int.from_bytes(self.public[step["key"]][0x81], "big")
        return rsa.RSAPublicNumbers(65537, modulus).public_key()

    def _check_signature(self, step: Step, signature: bytes) -> None:
        try:
            if step["algorithm"] == "ECDSA":
                pki.check_ecdsa(self.public[step["key"]][0x86], DIGEST, signature)
            elif step["algorithm"] == "EdDSA":
                pki.check_eddsa(self.public[step["key"]][0x86], DIGEST, signature)
            elif step["algorithm"] == "ML-DSA":
                raw = self.public[step["key"]][0x86]
                ML_DSA_KEYS[len(raw)](raw).verify(signature, DIGEST)
            else:
                pki.check_rsa(self._rsa(step), DIGEST, signature, pss=step["algorithm"] == "PSS")
        except InvalidSignature:
            raise AssertionError(f"the {step['algorithm']} signature is wrong") from None

    def _decapsulate(self, step: Step) -> Response:
        raw = self.public[step["key"]][0x86]
        shared, cryptogram = ML_KEM_KEYS[len(raw)](raw).encapsulate()
        response = self.client.send(pki.decipher(cryptogram))
        assert response.sw != SW.NO_ERROR or response.data == shared
        return response

    def _agree(self, step: Step) -> Response:
        point = self.public[step["key"]][0x86]
        if len(point) == 32:
            peer = x25519.X25519PrivateKey.generate()
            shared = peer.exchange(x25519.X25519PublicKey.from_public_bytes(point))
            mine = peer.public_key().public_bytes_raw()
        elif len(point) == 56:
            longer = x448.X448PrivateKey.generate()
            shared = longer.exchange(x448.X448PublicKey.from_public_bytes(point))
            mine = longer.public_key().public_bytes_raw()
        else:
            curve = ec.SECP256R1()
            key = ec.generate_private_key(curve)
            shared = key.exchange(
                ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
            )
            numbers = key.public_key().public_numbers()
            mine = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        response = self.client.send(pki.derive(mine))
        assert response.sw != SW.NO_ERROR or response.data == shared
        return response


_STEPS: dict[str, Callable[[Runner, Step], Response]] = {
    "RESET": Runner.do_reset,
    "VERIFY": Runner.verify,
    "CHANGE REFERENCE DATA ODD": Runner.change,
    "RESET RETRY COUNTER ODD": Runner.unblock,
    "RESET RETRY COUNTER BY SO": Runner.reset_by_so,
    "INITIALIZE": Runner.initialize,
    "GENERATE ASYMMETRIC KEY PAIR": Runner.generate,
    "GENERATE SECRET KEY": Runner.generate_secret,
    "GET SECRET KEY": Runner.get_secret,
    "DELETE KEY": Runner.delete_key,
    "PSO ENCIPHER": Runner.encipher,
    "PSO COMPUTE CRYPTOGRAPHIC CHECKSUM": Runner.checksum,
    "PSO COMPUTE DIGITAL SIGNATURE": Runner.sign,
    "PSO DECIPHER": Runner.decipher,
    "CREATE FILE": Runner.create,
    "UPDATE BINARY ODD": Runner.update,
    "READ BINARY ODD": Runner.read,
    "DELETE FILE": Runner.delete,
}
