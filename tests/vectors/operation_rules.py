"""Operations of every kind in every state, for whoever walks spec/pkcs11/rules.toml.

A `Stage` is a session with keys, and the arguments with which every function succeeds.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkcs11_module import _constants as ck
from pkcs11_module.facade.operations import ActiveOperation
from pkcs11_module.types import (
    AesCtrParams,
    Buffer,
    GcmMessageParams,
    Mechanism,
    Pkcs11Error,
)
from tests.unit.facade_rig import P256, ROOM, Rig, template

SPEC = Path(__file__).resolve().parents[2] / "spec" / "pkcs11"
TABLE: dict[str, Any] = tomllib.loads((SPEC / "rules.toml").read_text(encoding="utf-8"))
OPERATIONS, USES, FUNCTIONS = TABLE["operations"], TABLE["uses"], TABLE["functions"]
BEGINNERS = {rule["begins"]: name for name, rule in FUNCTIONS.items() if "begins" in rule}
STATES = [(kind, state) for kind, entry in OPERATIONS.items() for state in entry["states"]]

SECRET = b"k" * 32
PART, DATA = b"a part of the data", b"all of the data"
DIGEST = hashlib.sha256(DATA).digest()
NONCE, AAD = b"n" * 12, b"additional"
CTR = Mechanism(ck.CKM_AES_CTR, AesCtrParams(128, bytes(16)))
HMAC = Mechanism(ck.CKM_SHA256_HMAC)
ECDSA = Mechanism(ck.CKM_ECDSA)
RSA = Mechanism(ck.CKM_RSA_PKCS)
SHA256 = Mechanism(ck.CKM_SHA256)
GCM = Mechanism(ck.CKM_AES_GCM)


def mac(data: bytes) -> bytes:
    return hmac.digest(SECRET, data, "sha256")


def ctr(data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(SECRET), modes.CTR(bytes(16))).encryptor()
    return cipher.update(data)


SEALED = AESGCM(SECRET).encrypt(NONCE, DATA, AAD)
OPENED = AESGCM(SECRET).encrypt(NONCE, PART + DATA, AAD)


def message(tag: bytes = bytes(16)) -> GcmMessageParams:
    return GcmMessageParams(NONCE, 0, ck.CKG_NO_GENERATE, tag, 128)


class Broken(ActiveOperation):
    """An operation that fails whatever is done with it."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getattr__(self, name: str) -> Any:
        raise Pkcs11Error(ck.CKR_FUNCTION_FAILED, name)


class Stage:
    """A session of the logged-in user, and keys for every kind of operation."""

    def __init__(self, *, private: bool = False) -> None:
        self.client = Rig().initialised()
        self.session = self.client.user()
        self.secret = self._secret(ck.CKK_AES, private)
        self.mac_key = self._secret(ck.CKK_GENERIC_SECRET, private)
        self.ec = self._pair(ck.CKM_EC_KEY_PAIR_GEN, private, EC_PARAMS=P256)
        self.rsa = self._pair(ck.CKM_RSA_PKCS_KEY_PAIR_GEN, private, MODULUS_BITS=2048)

    def _secret(self, key_type: int, private: bool) -> int:
        uses = dict.fromkeys(("ENCRYPT", "DECRYPT", "SIGN", "VERIFY"), True)
        handle: int = self.client(
            "C_CreateObject",
            self.session,
            template(
                CLASS=ck.CKO_SECRET_KEY, KEY_TYPE=key_type, VALUE=SECRET, PRIVATE=private, **uses
            ),
        )
        return handle

    def _pair(self, mechanism: int, private: bool, **public: Any) -> tuple[int, int]:
        recovers = mechanism == ck.CKM_RSA_PKCS_KEY_PAIR_GEN
        more = {"SIGN_RECOVER": True} if recovers else {}
        other = {"VERIFY_RECOVER": True} if recovers else {}
        pair: tuple[int, int] = self.client(
            "C_GenerateKeyPair",
            self.session,
            Mechanism(mechanism),
            template(PRIVATE=private, **public, **other),
            template(PRIVATE=private, **more),
        )
        return pair

    def run(self, name: str, *args: object) -> Any:
        return self.client(name, self.session, *args)

    def outcome(self, name: str, *args: object) -> str:
        return self.client.outcome(name, self.session, *args)

    def state(self, kind: str) -> str:
        """The state of that kind of operation, as the table calls it."""
        operations = self.client.application.session(self.session).operations
        return str(operations[kind].state) if kind in operations else "none"

    def break_(self, kind: str) -> None:
        """Have the operation of that kind fail from here on, in the state that it is in."""
        operations = self.client.application.session(self.session).operations
        operations[kind] = Broken(operations[kind].state)

    def signature(self) -> bytes:
        """An ECDSA signature of DIGEST."""
        self.run("C_SignInit", ECDSA, self.ec[1])
        made: bytes = self.run("C_Sign", DIGEST, ROOM)
        return made

    def cryptogram(self) -> bytes:
        """DATA, encrypted with RSA."""
        self.run("C_EncryptInit", RSA, self.rsa[0])
        made: bytes = self.run("C_Encrypt", DATA, ROOM)
        return made

    def recoverable(self) -> bytes:
        """An RSA signature that DATA is in."""
        self.run("C_SignRecoverInit", RSA, self.rsa[1])
        made: bytes = self.run("C_SignRecover", DATA, ROOM)
        return made

    def begin(self, kind: str, state: str, *, signed: bytes = b"") -> None:
        """Begin an operation and bring it into the state; `signed` is for verify_signature."""
        if state == "none":
            return
        self.run(BEGINNERS[kind], *self.beginning(kind, single=state == "single", signed=signed))
        if state in ("parts", "begun"):
            name, args = MORE[kind]
            self.run(name, *args)

    def beginning(self, kind: str, *, single: bool, signed: bytes = b"") -> tuple[object, ...]:
        """The arguments of the function that begins the operation."""
        fixed: dict[str, tuple[object, ...]] = {
            "find": ((),),
            "digest": (SHA256,),
            "message_encrypt": (GCM, self.secret),
            "message_decrypt": (GCM, self.secret),
        }
        if kind in fixed:
            return fixed[kind]
        if kind in ("encrypt", "decrypt"):
            return (RSA, self.rsa[kind == "decrypt"]) if single else (CTR, self.secret)
        if kind in ("sign_recover", "verify_recover"):
            return RSA, self.rsa[kind == "sign_recover"]
        chosen = (ECDSA, self.ec["verify" not in kind]) if single else (HMAC, self.mac_key)
        if kind == "verify_signature":
            return *chosen, (self.signature() if single else mac(signed))
        return chosen


MORE: dict[str, tuple[str, tuple[object, ...]]] = {
    "digest": ("C_DigestUpdate", (PART,)),
    "encrypt": ("C_EncryptUpdate", (PART, ROOM)),
    "decrypt": ("C_DecryptUpdate", (ctr(PART), ROOM)),
    "sign": ("C_SignUpdate", (PART,)),
    "verify": ("C_VerifyUpdate", (PART,)),
    "verify_signature": ("C_VerifySignatureUpdate", (PART,)),
    "message_encrypt": ("C_EncryptMessageBegin", (message(), AAD)),
    "message_decrypt": ("C_DecryptMessageBegin", (message(), AAD)),
    "message_sign": ("C_SignMessageBegin", (None,)),
    "message_verify": ("C_VerifyMessageBegin", (None,)),
}
"""What brings an operation from where it began into "parts" or "begun"."""
Arguments = Callable[[Stage, str], tuple[object, ...]]
ARGUMENTS: dict[str, Arguments] = {
    "C_FindObjects": lambda stage, state: (10,),
    "C_FindObjectsFinal": lambda stage, state: (),
    "C_Encrypt": lambda stage, state: (DATA, ROOM),
    "C_EncryptUpdate": lambda stage, state: (DATA, ROOM),
    "C_EncryptFinal": lambda stage, state: (ROOM,),
    "C_Decrypt": lambda stage, state: (
        stage.cryptogram() if state == "single" else ctr(DATA),
        ROOM,
    ),
    "C_DecryptUpdate": lambda stage, state: (ctr(DATA), ROOM),
    "C_DecryptFinal": lambda stage, state: (ROOM,),
    "C_Digest": lambda stage, state: (DATA, ROOM),
    "C_DigestUpdate": lambda stage, state: (DATA,),
    "C_DigestKey": lambda stage, state: (stage.secret,),
    "C_DigestFinal": lambda stage, state: (ROOM,),
    "C_Sign": lambda stage, state: (DIGEST, ROOM),
    "C_SignUpdate": lambda stage, state: (DATA,),
    "C_SignFinal": lambda stage, state: (ROOM,),
    "C_SignRecover": lambda stage, state: (DATA, ROOM),
    "C_Verify": lambda stage, state: (
        (DIGEST, stage.signature()) if state == "single" else (DATA, mac(DATA))
    ),
    "C_VerifyUpdate": lambda stage, state: (DATA,),
    "C_VerifyFinal": lambda stage, state: (mac(PART if state == "parts" else b""),),
    "C_VerifyRecover": lambda stage, state: (stage.recoverable(), ROOM),
    "C_VerifySignature": lambda stage, state: (DIGEST if state == "single" else DATA,),
    "C_VerifySignatureUpdate": lambda stage, state: (DATA,),
    "C_VerifySignatureFinal": lambda stage, state: (),
    "C_DigestEncryptUpdate": lambda stage, state: (DATA, ROOM),
    "C_DecryptDigestUpdate": lambda stage, state: (ctr(DATA), ROOM),
    "C_SignEncryptUpdate": lambda stage, state: (DATA, ROOM),
    "C_DecryptVerifyUpdate": lambda stage, state: (ctr(DATA), ROOM),
    "C_EncryptMessage": lambda stage, state: (message(), AAD, DATA, ROOM),
    "C_EncryptMessageBegin": lambda stage, state: (message(), AAD),
    "C_EncryptMessageNext": lambda stage, state: (message(), PART, ROOM, 0),
    "C_MessageEncryptFinal": lambda stage, state: (),
    "C_DecryptMessage": lambda stage, state: (message(SEALED[-16:]), AAD, SEALED[:-16], ROOM),
    "C_DecryptMessageBegin": lambda stage, state: (message(), AAD),
    "C_DecryptMessageNext": lambda stage, state: (message(), SEALED[:-16], ROOM, 0),
    "C_MessageDecryptFinal": lambda stage, state: (),
    "C_SignMessage": lambda stage, state: (None, DIGEST, ROOM),
    "C_SignMessageBegin": lambda stage, state: (None,),
    "C_SignMessageNext": lambda stage, state: (None, PART, None),
    "C_MessageSignFinal": lambda stage, state: (),
    "C_VerifyMessage": lambda stage, state: (
        (None, DIGEST, stage.signature()) if state == "single" else (None, DATA, mac(DATA))
    ),
    "C_VerifyMessageBegin": lambda stage, state: (None,),
    "C_VerifyMessageNext": lambda stage, state: (None, PART, None),
    "C_MessageVerifyFinal": lambda stage, state: (),
}
"""Arguments of every function that continues an operation, for the state that it is in."""
LAST: dict[str, tuple[object, ...]] = {
    "C_EncryptMessageNext": (message(), PART, ROOM, ck.CKF_END_OF_MESSAGE),
    "C_DecryptMessageNext": (message(SEALED[-16:]), SEALED[:-16], ROOM, ck.CKF_END_OF_MESSAGE),
    "C_SignMessageNext": (None, PART, ROOM),
    "C_VerifyMessageNext": (None, PART, mac(PART)),
}
"""The same where the call says that this is the last part."""
NEVER_FAIL = frozenset(
    name
    for name, rule in FUNCTIONS.items()
    if any(use in ("message_final", "search_final") for use in rule.get("does", {}).values())
)
"""Functions that do nothing but end an operation."""


def sized(args: tuple[object, ...], capacity: int | None) -> tuple[object, ...]:
    """The arguments with an output buffer of that capacity."""
    return tuple(Buffer(capacity) if isinstance(item, Buffer) else item for item in args)
