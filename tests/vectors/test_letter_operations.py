"""Operations by the letter of PKCS#11 3.2: their states, what ends them, what goes beside them.

Every expected answer is written out here; nothing is read from spec/pkcs11.
"""

from __future__ import annotations

from typing import Any

import pytest

from pkcs11_module import _constants as ck
from tests.unit.facade_rig import ROOM
from tests.vectors.letter import (
    ACTIVE,
    DATA,
    ECB,
    ECDSA,
    GCM,
    HMAC,
    KEYS,
    MESSAGE,
    NO_BUFFER,
    NOT_BEGUN,
    OK,
    ONE_PART,
    PAIR,
    RSA,
    SHA256,
    SHORT,
    SHORT_BUFFER,
    Stage,
    Step,
    kept,
    new,
)

# Sentences that take several calls


BEGINS: dict[str, tuple[Any, ...]] = {
    "digest": ("C_DigestInit", SHA256),
    "sign": ("C_SignInit", HMAC, "mac"),
    "verify": ("C_VerifyInit", HMAC, "mac"),
    "verify_signature": ("C_VerifySignatureInit", HMAC, "mac", bytes(32)),
    "encrypt": ("C_EncryptInit", ECB, "aes"),
    "decrypt": ("C_DecryptInit", ECB, "aes"),
    "find": ("C_FindObjectsInit", {}),
    "message_encrypt": ("C_MessageEncryptInit", GCM, "aes"),
    "message_decrypt": ("C_MessageDecryptInit", GCM, "aes"),
    "message_sign": ("C_MessageSignInit", HMAC, "mac"),
    "message_verify": ("C_MessageVerifyInit", HMAC, "mac"),
}
ENDS: dict[str, tuple[Any, ...]] = {
    "digest": ("C_DigestFinal", ROOM),
    "sign": ("C_SignFinal", ROOM),
    "verify": ("C_VerifyFinal", bytes(32)),
    "verify_signature": ("C_VerifySignatureFinal",),
    "encrypt": ("C_EncryptFinal", ROOM),
    "decrypt": ("C_DecryptFinal", ROOM),
    "find": ("C_FindObjectsFinal",),
    "message_encrypt": ("C_MessageEncryptFinal",),
    "message_decrypt": ("C_MessageDecryptFinal",),
    "message_sign": ("C_MessageSignFinal",),
    "message_verify": ("C_MessageVerifyFinal",),
}
BESIDE = {("digest", "encrypt"), ("digest", "decrypt"), ("sign", "encrypt"), ("verify", "decrypt")}
PARTS: dict[str, tuple[Any, ...]] = {
    "digest": ("C_DigestUpdate", DATA),
    "sign": ("C_SignUpdate", DATA),
    "verify": ("C_VerifyUpdate", DATA),
    "verify_signature": ("C_VerifySignatureUpdate", DATA),
    "encrypt": ("C_EncryptUpdate", DATA, ROOM),
    "decrypt": ("C_DecryptUpdate", DATA, ROOM),
}
WHOLE: dict[str, tuple[Any, ...]] = {
    "digest": ("C_Digest", DATA, ROOM),
    "sign": ("C_Sign", DATA, ROOM),
    "verify": ("C_Verify", DATA, bytes(32)),
    "verify_signature": ("C_VerifySignature", DATA),
    "encrypt": ("C_Encrypt", DATA, ROOM),
    "decrypt": ("C_Decrypt", DATA, ROOM),
}
CANCEL = {
    "digest": ck.CKF_DIGEST, "sign": ck.CKF_SIGN, "verify": ck.CKF_VERIFY,
    "verify_signature": ck.CKF_VERIFY, "encrypt": ck.CKF_ENCRYPT, "decrypt": ck.CKF_DECRYPT,
    "find": ck.CKF_FIND_OBJECTS, "message_encrypt": ck.CKF_MESSAGE_ENCRYPT,
    "message_decrypt": ck.CKF_MESSAGE_DECRYPT, "message_sign": ck.CKF_MESSAGE_SIGN,
    "message_verify": ck.CKF_MESSAGE_VERIFY,
}  # fmt: skip
OUTPUT = {"digest": "C_Digest", "sign": "C_Sign", "encrypt": "C_Encrypt", "decrypt": "C_Decrypt"}
INVALID = {"verify": "CKR_SIGNATURE_INVALID", "verify_signature": "CKR_SIGNATURE_INVALID"}
SCRIPTS: dict[str, list[Step]] = {}
for kind, begin in BEGINS.items():
    SCRIPTS[f"{kind}: nothing ends that was not begun"] = [*KEYS, (NOT_BEGUN, *ENDS[kind])]
    SCRIPTS[f"{kind}: begun twice"] = [*KEYS, (OK, *begin), (ACTIVE, *begin)]
    SCRIPTS[f"{kind}: cancelled by its flag alone"] = [
        *KEYS,
        (OK, *begin),
        (OK, "C_SessionCancel", ((1 << 64) - 1) ^ CANCEL[kind]),
        (ACTIVE, *begin),
        (OK, "C_SessionCancel", CANCEL[kind]),
        (NOT_BEGUN, *ENDS[kind]),
    ]
    if kind != "find":
        gone = [None, *begin[2:]]
        SCRIPTS[f"{kind}: cancelled by beginning with no mechanism"] = [
            *KEYS,
            (OK, *begin),
            (OK, begin[0], *gone),
            (NOT_BEGUN, *ENDS[kind]),
            ("CKR_ARGUMENTS_BAD", begin[0], *gone),
        ]
    SCRIPTS[f"{kind}: what may be begun beside it"] = [*KEYS, (OK, *begin)]
    for other in BEGINS.keys() - {kind}:
        may = {(kind, other), (other, kind)} & BESIDE or "find" in (kind, other)
        SCRIPTS[f"{kind}: what may be begun beside it"] += (
            [(OK, *BEGINS[other]), (OK, "C_SessionCancel", CANCEL[other])]
            if may
            else [(ACTIVE, *BEGINS[other])]
        )
for kind, part in PARTS.items():
    begin, whole, end = BEGINS[kind], WHOLE[kind], ENDS[kind]
    answer = INVALID.get(kind, OK)
    SCRIPTS[f"{kind}: no part and no whole before it is begun"] = [
        *KEYS, (NOT_BEGUN, *part), (NOT_BEGUN, *whole)
    ]  # fmt: skip
    SCRIPTS[f"{kind}: all at once after a part is refused, and ends it"] = [
        *KEYS, (OK, *begin), (OK, *part), (ACTIVE, *whole), (NOT_BEGUN, *part)
    ]  # fmt: skip
    SCRIPTS[f"{kind}: all at once ends it"] = [
        *KEYS, (OK, *begin), (answer, *whole), (NOT_BEGUN, *part), (NOT_BEGUN, *end)
    ]  # fmt: skip
    SCRIPTS[f"{kind}: part after part, and the end"] = [
        *KEYS, (OK, *begin), (OK, *part), (OK, *part), (answer, *end), (NOT_BEGUN, *end)
    ]  # fmt: skip
for kind, name in OUTPUT.items():
    begin, data = BEGINS[kind], DATA
    one_more = {"encrypt": ["C_EncryptUpdate"], "decrypt": ["C_DecryptUpdate"]}.get(kind, [])
    SCRIPTS[f"{kind}: neither a size query nor a short buffer ends it"] = [
        *KEYS,
        (OK, *begin),
        (OK, name, data, NO_BUFFER),
        (SHORT_BUFFER, name, data, SHORT),
        (OK, name, data, ROOM),
        (OK, *begin),
        *[(OK, more, data, NO_BUFFER) for more in one_more],
        *[(SHORT_BUFFER, more, data, SHORT) for more in one_more],
        (OK, *PARTS[kind]),
        (OK, f"{name}Final", NO_BUFFER),
        *[(SHORT_BUFFER, f"{name}Final", SHORT) for _ in [0] if not one_more],
        (OK, f"{name}Final", ROOM),
    ]
LEN_RANGE = {"encrypt": "CKR_DATA_LEN_RANGE", "decrypt": "CKR_ENCRYPTED_DATA_LEN_RANGE"}
for kind, error in LEN_RANGE.items():
    for name in ("whole", "final"):
        odd = [(error, OUTPUT[kind], b"odd", ROOM)]
        parts = [(OK, f"{OUTPUT[kind]}Update", b"odd", ROOM), (error, f"{OUTPUT[kind]}Final", ROOM)]
        SCRIPTS[f"{kind}: {name}: an error ends it"] = [
            *KEYS, (OK, *BEGINS[kind]), *(odd if name == "whole" else parts),
            (NOT_BEGUN, *ENDS[kind]),
        ]  # fmt: skip
SCRIPTS |= {
    "a search gives what is left, and ends with its end only": [
        *KEYS,
        (OK, "C_FindObjectsInit", {"LABEL": "found"}),
        kept("first", "C_FindObjects", 1),
        kept("second", "C_FindObjects", 1),
        (OK, "C_FindObjects", 1),
        (OK, "C_FindObjectsFinal"),
        (NOT_BEGUN, "C_FindObjects", 1),
    ],
    "a mechanism in one part takes no parts, and an attempt ends it": [
        *PAIR,
        (OK, "C_SignInit", ECDSA, "private"),
        (ONE_PART, "C_SignUpdate", DATA),
        (NOT_BEGUN, "C_Sign", bytes(32), ROOM),
        (OK, "C_SignInit", ECDSA, "private"),
        (NOT_BEGUN, "C_SignFinal", ROOM),
        (NOT_BEGUN, "C_Sign", bytes(32), ROOM),
    ],
    "signing with recovery is in one part": [
        new("key", "rsa private", SIGN_RECOVER=True),
        (NOT_BEGUN, "C_SignRecover", DATA, ROOM),
        (OK, "C_SignRecoverInit", RSA, "key"),
        (ACTIVE, "C_SignInit", RSA, "key"),
        (OK, "C_SessionCancel", ck.CKF_SIGN),
        (OK, "C_SignRecover", DATA, NO_BUFFER),
        (OK, "C_SignRecover", DATA, ROOM),
        (NOT_BEGUN, "C_SignRecover", DATA, ROOM),
        (OK, "C_SignRecoverInit", RSA, "key"),
        (OK, "C_SessionCancel", ck.CKF_SIGN_RECOVER),
        (NOT_BEGUN, "C_SignRecover", DATA, ROOM),
    ],
    "recovering from a signature is in one part": [
        new("key", "rsa public", VERIFY_RECOVER=True),
        (NOT_BEGUN, "C_VerifyRecover", bytes(256), ROOM),
        (OK, "C_VerifyRecoverInit", RSA, "key"),
        ("CKR_SIGNATURE_INVALID", "C_VerifyRecover", bytes(256), ROOM),
        (NOT_BEGUN, "C_VerifyRecover", bytes(256), ROOM),
        (OK, "C_VerifyRecoverInit", RSA, "key"),
        (OK, "C_SessionCancel", ck.CKF_VERIFY_RECOVER),
        (NOT_BEGUN, "C_VerifyRecover", bytes(256), ROOM),
    ],
    "messages, one after the other, whole or in parts": [
        *KEYS,
        (OK, "C_MessageEncryptInit", GCM, "aes"),
        (NOT_BEGUN, "C_EncryptMessageNext", MESSAGE, DATA, ROOM, 0),
        (OK, "C_EncryptMessage", MESSAGE, b"", DATA, ROOM),
        (OK, "C_EncryptMessage", MESSAGE, b"", DATA, ROOM),
        (OK, "C_EncryptMessageBegin", MESSAGE, b""),
        (ACTIVE, "C_EncryptMessageBegin", MESSAGE, b""),
        (ACTIVE, "C_EncryptMessage", MESSAGE, b"", DATA, ROOM),
        (ACTIVE, "C_MessageEncryptFinal"),
        (OK, "C_EncryptMessageNext", MESSAGE, DATA, ROOM, 0),
        (OK, "C_EncryptMessageNext", MESSAGE, DATA, ROOM, ck.CKF_END_OF_MESSAGE),
        (NOT_BEGUN, "C_EncryptMessageNext", MESSAGE, DATA, ROOM, 0),
        (OK, "C_EncryptMessage", MESSAGE, b"", DATA, ROOM),
        (OK, "C_MessageEncryptFinal"),
        (NOT_BEGUN, "C_EncryptMessage", MESSAGE, b"", DATA, ROOM),
        (NOT_BEGUN, "C_EncryptMessageBegin", MESSAGE, b""),
    ],
    "a message that fails ends itself and not the others": [
        *KEYS,
        (OK, "C_MessageDecryptInit", GCM, "aes"),
        ("CKR_AEAD_DECRYPT_FAILED", "C_DecryptMessage", MESSAGE, b"", DATA, ROOM),
        ("CKR_AEAD_DECRYPT_FAILED", "C_DecryptMessage", MESSAGE, b"", DATA, ROOM),
        (OK, "C_DecryptMessageBegin", MESSAGE, b""),
        ("CKR_AEAD_DECRYPT_FAILED", "C_DecryptMessageNext", MESSAGE, DATA, ROOM, 1),
        (NOT_BEGUN, "C_DecryptMessageNext", MESSAGE, DATA, ROOM, 1),
        (OK, "C_MessageDecryptFinal"),
    ],
    "messages to sign with a mechanism in one part": [
        *PAIR,
        (OK, "C_MessageSignInit", ECDSA, "private"),
        (ONE_PART, "C_SignMessageBegin", None),
        (NOT_BEGUN, "C_SignMessageNext", None, DATA, None),
        (OK, "C_SignMessage", None, bytes(32), ROOM),
        (OK, "C_MessageSignFinal"),
    ],
    "two operations at once are continued together or not at all": [
        *KEYS,
        (OK, *BEGINS["digest"]),
        (NOT_BEGUN, "C_DigestEncryptUpdate", DATA, ROOM),
        (OK, "C_SessionCancel", ck.CKF_DIGEST),
        (OK, *BEGINS["digest"]),
        (OK, *BEGINS["encrypt"]),
        (OK, "C_DigestEncryptUpdate", DATA, ROOM),
        (ACTIVE, *WHOLE["digest"]),
        (ACTIVE, *WHOLE["encrypt"]),
        (OK, *BEGINS["sign"]),
        (OK, *BEGINS["encrypt"]),
        (OK, "C_SignEncryptUpdate", DATA, ROOM),
        (OK, *ENDS["sign"]),
        (OK, *ENDS["encrypt"]),
        (OK, *BEGINS["decrypt"]),
        (OK, *BEGINS["digest"]),
        (OK, "C_DecryptDigestUpdate", DATA, ROOM),
        (OK, *ENDS["digest"]),
        (OK, *BEGINS["verify"]),
        (OK, "C_DecryptVerifyUpdate", DATA, ROOM),
        (INVALID["verify"], *ENDS["verify"]),
        (OK, *ENDS["decrypt"]),
    ],
    "a key is digested as a part": [
        new("key", "generic", EXTRACTABLE=True),
        (NOT_BEGUN, "C_DigestKey", "key"),
        (OK, *BEGINS["digest"]),
        (OK, "C_DigestKey", "key"),
        (ACTIVE, *WHOLE["digest"]),
    ],
    "there is no state to save where nothing goes on": [
        *KEYS,
        (NOT_BEGUN, "C_GetOperationState", ROOM),
        (OK, *BEGINS["find"]),
        (NOT_BEGUN, "C_GetOperationState", ROOM),
        (OK, *BEGINS["digest"]),
        (OK, "C_GetOperationState", ROOM),
    ],
}


@pytest.mark.parametrize("sentence", SCRIPTS)
def test_what_the_standard_says_in_several_calls(sentence: str) -> None:
    stage = Stage()
    for step in SCRIPTS[sentence]:
        stage.play(step)
