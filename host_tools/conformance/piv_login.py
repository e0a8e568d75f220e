"""Who may do what on a PIV card: its PINs and its management key, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from apdu import tlv
from apdu.codec import Response
from apdu.model import SW
from apdu.spec import Access
from apdu.transport import CardClient
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.behaviour import Credential, near_values
from host_tools.conformance.checks import compare
from host_tools.conformance.pin_uses import PinData
from host_tools.conformance.subject import Subject
from host_tools.conformance.vectors import DIGEST, Pins, Vectors

PIN, PUK, MANAGEMENT_KEY = "pin", "puk", "management-key"
SECRETS = (PIN, PUK, MANAGEMENT_KEY)
VERIFIED = {PIN: piv.REF_PIN}
REFS = {PIN: piv.REF_PIN, PUK: piv.REF_PUK}
# By the length of the key in bytes; the card tells which of two it is.
MANAGEMENT_LENGTHS = {
    16: (piv.AES_128,),
    24: (piv.AES_192, piv.DES3),
    32: (piv.AES_256,),
}


def credentials(table: Vectors, given: Pins) -> list[Credential]:
    """The PIN, the PUK and the management key, as far as they are given."""
    made: list[Credential] = []
    if PIN in given:
        made.append(_pin(given[PIN].encode(), wrong_value(table, PIN, given)))
    if PUK in given:
        made.append(_puk(given[PUK].encode(), wrong_value(table, PUK, given)))
    if MANAGEMENT_KEY in given:
        made.append(_management_key(bytes.fromhex(given[MANAGEMENT_KEY])))
    return made


def _pin(right: bytes, wrong: bytes) -> Credential:
    def present(subject: Subject, value: bytes) -> Response:
        return subject.client.send(piv.verify(value))

    near = {what: piv.verify(value) for what, value in near_values(right).items()}
    if len(right) < len(whole := piv.padded(right)):
        bare = {"no padding": right, "junk in the padding": right + whole[len(right) + 1 :] + b"1"}
        near |= {what: replace(piv.verify(), data=data) for what, data in bare.items()}
    leave = frozenset((Access.USER,))
    return Credential(
        "PIN", "VERIFY", present, right, wrong, piv.verify(), opens=leave, near=near, pin=PIN
    )


def _puk(right: bytes, wrong: bytes) -> Credential:
    def present(subject: Subject, value: bytes) -> Response:
        # The PUK stays what it is.
        return subject.client.send(piv.change(piv.REF_PUK, value, right))

    values = near_values(right).items()
    near = {what: piv.change(piv.REF_PUK, value, right) for what, value in values}
    return Credential("PUK", "CHANGE REFERENCE DATA", present, right, wrong, near=near, pin=PUK)


def _both(value: bytes, new: bytes) -> bytes:
    return piv.padded(value) + piv.padded(new)


PIN_DATA: PinData = {
    "VERIFY": lambda value, _: piv.padded(value) if value else b"",
    "CHANGE REFERENCE DATA": _both,
    "RESET RETRY COUNTER": _both,
}


def _management_key(right: bytes) -> Credential:
    def present(subject: Subject, value: bytes) -> Response:
        return prove(subject.client, management_algorithm(subject.client, value), value)

    leave = frozenset((Access.MANAGEMENT,))
    wrong = bytes(len(right))
    name = "management key"
    return Credential(
        name, "GENERAL AUTHENTICATE", present, right, wrong, counted=False, opens=leave
    )


def wrong_value(table: Vectors, name: str, given: Pins) -> bytes:
    """A value that is not the one given."""
    values = (table.pins[f"{name}-wrong"], table.pins[f"{name}-wrong-too"])
    return next(value for value in values if value != given.get(name)).encode()


def management_algorithm(client: CardClient, key: bytes) -> int:
    """The algorithm by which the card takes a management key of that length."""
    candidates = MANAGEMENT_LENGTHS[len(key)]
    asked = (ask(client, algorithm, {piv.WITNESS: b""}) for algorithm in candidates)
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
    first = ask(client, algorithm, {piv.WITNESS: b""})
    if first.sw != SW.NO_ERROR:
        return first
    challenge = DIGEST[: len(first.data)]
    answer = {piv.WITNESS: piv.decipher(key, first.data), piv.CHALLENGE: challenge}
    response = ask(client, algorithm, answer)
    compare(response, piv.encipher(key, challenge))
    return response


def prove_once(client: CardClient, algorithm: int, key: bytes) -> Response:
    """Single authentication: the card proves nothing (SP 800-73-4 part 2, A.1)."""
    return _answer_once(client, algorithm, lambda asked: piv.encipher(key, asked))


def nearly_prove(client: CardClient, algorithm: int, key: bytes) -> Response:
    """Single authentication by an answer of which one bit is wrong: the last one, then the first.

    The response to the former where that was taken.
    """

    def flipped(asked: bytes, place: int, bit: int) -> bytes:
        right = bytearray(piv.encipher(key, asked))
        right[place] ^= bit
        return bytes(right)

    last = _answer_once(client, algorithm, lambda asked: flipped(asked, -1, 0x01))
    first = _answer_once(client, algorithm, lambda asked: flipped(asked, 0, 0x80))
    return last if last.sw == SW.NO_ERROR else first


def _answer_once(client: CardClient, algorithm: int, answer: Callable[[bytes], bytes]) -> Response:
    first = ask(client, algorithm, {piv.CHALLENGE: b""})
    if first.sw != SW.NO_ERROR:
        return first
    return ask(client, algorithm, {piv.RESPONSE: answer(first.data)})


def ask(
    client: CardClient, algorithm: int, fields: dict[int, bytes], slot: int = piv.MANAGEMENT
) -> Response:
    """GENERAL AUTHENTICATE; the response, with what is in the template as its data."""
    response = client.send(piv.authenticate(algorithm, slot, fields))
    if response.sw != SW.NO_ERROR or not response.data:
        return response
    inner, _ = tlv.parse_one(tlv.to_dict(tlv.parse(response.data))[0x7C])
    return Response(response.sw, inner.value)
