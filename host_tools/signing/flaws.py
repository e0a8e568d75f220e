"""What can be wrong with a signature, with the certificate behind it or with the way to a root."""

from enum import StrEnum


class Flaw(StrEnum):
    """Kinds of failure, each told apart by whoever verifies."""

    MALFORMED = "malformed"
    TAMPERED = "tampered"
    BAD_SIGNATURE = "bad signature"
    CERTIFICATE_MISMATCH = "certificate mismatch"
    BROKEN_CHAIN = "broken chain"
    UNTRUSTED = "untrusted"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    WRONG_USAGE = "wrong usage"
    REVOKED = "revoked"
    NO_REVOCATION_DATA = "no revocation data"
    SIGNED_IN_FUTURE = "signed in the future"


class VerificationError(Exception):
    """The signature does not hold; the text says why, in a sentence.

    `at_other_times` says whether it may hold at another time than the one it was judged at.
    """

    def __init__(self, flaw: Flaw, message: str) -> None:
        super().__init__(message)
        self.flaw = flaw
        self.at_other_times = False
