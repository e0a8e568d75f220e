"""RSA on numbers (RFC 8017 5), which the library does not offer.

Python's integers do not work in constant time. The private operation is blinded, so that the
numbers that it takes powers of are not those that a caller chose.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from token_fw.crypto.errors import CryptoError


@dataclass(frozen=True, slots=True, repr=False)
class CrtKey:
    """The numbers of a private key with two primes (RFC 8017 3.2)."""

    n: int
    e: int
    p: int
    q: int
    dp: int
    dq: int
    qinv: int

    def power(self, number: int) -> int:
        """Raise a number below n to the private exponent.

        Raises CryptoError if the result does not lead back to the number: given away, a result
        with a fault in one of its halves would tell the primes.
        """
        mask = secrets.randbelow(self.n - 2) + 2
        blinded = number * pow(mask, self.e, self.n) % self.n
        half_p, half_q = pow(blinded, self.dp, self.p), pow(blinded, self.dq, self.q)
        whole = half_q + (half_p - half_q) * self.qinv % self.p * self.q
        result = whole * pow(mask, -1, self.n) % self.n
        if pow(result, self.e, self.n) != number:
            raise CryptoError("the private operation went wrong")
        return result
