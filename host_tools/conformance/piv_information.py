"""What a PIV card tells of itself, without changing it: is it in form, and does it agree?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from apdu import tlv
from apdu.codec import Response
from apdu.model import SW
from apdu.piv import READ_WITH_PIN
from host_tools.conformance import piv_commands as piv
from host_tools.conformance.checks import Check, DifferenceError, SkipError
from host_tools.conformance.pki_commands import select_application
from host_tools.conformance.subject import Subject

REFS = (piv.REF_PIN, piv.REF_PUK)
SLOTS = (
    *(piv.AUTHENTICATION, piv.SIGNATURE, piv.KEY_MANAGEMENT, piv.CARD_AUTHENTICATION),
    *range(piv.RETIRED, piv.RETIRED + 20),
    piv.ATTESTATION,
)
MANAGEMENT_ALGORITHMS = frozenset((piv.DES3, piv.AES_128, piv.AES_192, piv.AES_256))
SERIAL_OID = x509.ObjectIdentifier("1.3.6.1.4.1.41482.3.7")
"""The extension of an attestation that holds the serial number, an INTEGER."""
SERIAL_SIZE = 4
_DISCOVERY_CLAUSE = "SP 800-73-4 part 1 3.3.2"
_RID_SIZE = 5
# The first byte of the PIN usage policy: this application's PIN always counts, the two lowest bits
# and the highest are not used. The second tells which of two PINs is the first one.
_APPLICATION_PIN, _UNUSED, _GLOBAL_PIN = 0x40, 0x83, 0x20
_PREFERENCES: Mapping[bool, frozenset[int]] = {
    False: frozenset((0x00,)),
    True: frozenset((0x10, 0x20)),
}
_PIN_ALGORITHM = 0xFF
_MOST_TOLD = 15
_CURVE_SIZES = {piv.P256: 256, piv.P384: 384}
_RSA_SIZES = {piv.RSA_2048: 2048, piv.RSA_3072: 3072, piv.RSA_4096: 4096}
_ALGORITHMS = frozenset((*_CURVE_SIZES, *_RSA_SIZES, piv.ED25519, piv.X25519))
# With firmware 5.7 a PIN policy may also ask for a finger (04, 05).
_PIN_POLICIES, _TOUCH_POLICIES = range(0x01, 0x06), range(0x01, 0x04)
_EMPTY = "there is no key in the slot"
_ABSENT = (SW.REFERENCED_DATA_NOT_FOUND, SW.FILE_NOT_FOUND)


def harmless(subject: Subject) -> Iterator[Check]:
    """All that this module sees."""
    yield from _unread_without_pin(subject)
    yield _template(subject)
    yield _discovery(subject)
    for reference in REFS:
        yield _pin_metadata(subject, reference)
    yield _management_metadata(subject)
    for slot in SLOTS:
        check = _slot_metadata(subject, slot)
        if check.reason != _EMPTY:
            yield check
    yield _serial(subject)


def _unread_without_pin(subject: Subject) -> Iterator[Check]:
    """What only the card holder may read is refused before VERIFY, whether it is there or not."""
    spec = subject.application.command("GET DATA")
    refused = (SW.SECURITY_STATUS_NOT_SATISFIED, SW.FILE_NOT_FOUND)
    group = "what is behind the PIN is not read without it"
    for tag in sorted(READ_WITH_PIN):
        name = f"{spec.name} {tag.hex().upper()}"
        with subject.check(group, name, spec.name, spec.clause) as outcome:
            subject.fresh()
            subject.expect(subject.client.send(piv.get_data(tag)), refused)
        yield outcome[0]


def _template(subject: Subject) -> Check:
    """SELECT answers which application it found, and whose names those are."""
    spec = subject.application.command("SELECT")
    group = "the application property template names the application"
    with subject.check(group, spec.name, spec.name, spec.clause) as outcome:
        subject.pull_reset()
        response = subject.client.send(select_application(piv.SPEC))
        subject.expect(response, (SW.NO_ERROR,))
        outer = objects(response.data, "an application property template")
        inner = objects(outer.get(0x61, b""), "an application property template")
        aid = subject.application.aid
        named = inner.get(0x4F, b"")
        # Some cards give the whole name.
        if named != aid:
            same(subject, "application identifier", aid[_RID_SIZE:], named)
        authority = objects(inner.get(0x79, b""), "a tag allocation authority")
        same(subject, "tag allocation authority", aid[:_RID_SIZE], authority.get(0x4F, b""))
    return outcome[0]


def _discovery(subject: Subject) -> Check:
    """The discovery object, which a card may lack, names the application and the PINs it takes."""
    spec = subject.application.command("GET DATA")
    group = "the discovery object tells the application and its PIN usage policy"
    with subject.check(group, f"{spec.name} 7E", spec.name, _DISCOVERY_CLAUSE) as outcome:
        subject.fresh()
        response = subject.client.send(piv.get_data(piv.DISCOVERY))
        if response.sw == SW.FILE_NOT_FOUND:
            raise SkipError("the card has no discovery object, and need not have one")
        subject.expect(response, (SW.NO_ERROR,))
        outer = objects(response.data, "a discovery object")
        inner = objects(outer.get(0x7E, b""), "a discovery object")
        same(subject, "application identifier", subject.application.aid, inner.get(0x4F, b""))
        _check_usage_policy(subject, inner.get(0x5F2F, b""))
    return outcome[0]


def _check_usage_policy(subject: Subject, policy: bytes) -> None:
    """The PIN usage policy, 2 bytes (SP 800-73-4 part 1, 3.3.2). Raises DifferenceError."""
    wanted = "a PIN usage policy with the application's PIN"
    subject.note(wanted, policy.hex(" ").upper())
    if len(policy) != 2 or policy[0] & (_APPLICATION_PIN | _UNUSED) != _APPLICATION_PIN:
        raise DifferenceError(wanted, policy.hex(" ").upper() or "none")
    if policy[1] not in _PREFERENCES[bool(policy[0] & _GLOBAL_PIN)]:
        raise DifferenceError("a preference among the PINs there are", f"{policy[1]:02X}")


def _metadata(subject: Subject, reference: int) -> dict[int, bytes]:
    """What GET METADATA tells. Raises SkipError where there is nothing to tell of."""
    subject.fresh()
    response = subject.client.send(piv.metadata(reference))
    if response.sw == SW.INS_NOT_SUPPORTED:
        raise SkipError("the card has no metadata")
    if reference in SLOTS and response.sw in _ABSENT:
        raise SkipError(_EMPTY)
    subject.expect(response, (SW.NO_ERROR,))
    return objects(response.data, "metadata")


def _pin_metadata(subject: Subject, reference: int) -> Check:
    """Tries left are no more than at most, and the PIN's those that VERIFY tells."""
    spec = subject.application.command("GET METADATA")
    group = "metadata of PINs and of the management key are true"
    with subject.check(group, f"{spec.name} {reference:02X}", spec.name, spec.clause) as outcome:
        told = _metadata(subject, reference)
        same(subject, "algorithm", bytes((_PIN_ALGORITHM,)), told.get(piv.ALGORITHM, b""))
        _one_of(subject, "factory value", (0, 1), told.get(piv.DEFAULT, b""))
        tries = told.get(piv.RETRIES, b"")
        if len(tries) != 2 or not tries[1] <= tries[0]:
            raise DifferenceError("tries at most, and no more left", tries.hex(" ") or "none")
        if reference == piv.REF_PIN:
            left = _left(subject.client.send(piv.verify()))
            told_left = min(tries[1], _MOST_TOLD)
            subject.note(f"{left} tries left", f"{told_left}")
            if told_left != left:
                raise DifferenceError(f"{left} tries left", f"{told_left}")
    return outcome[0]


def _left(response: Response) -> int:
    """The tries that VERIFY without data tells before a login."""
    return 0 if response.sw == SW.AUTHENTICATION_METHOD_BLOCKED else response.sw & _MOST_TOLD


def _management_metadata(subject: Subject) -> Check:
    """The algorithm that is told is the one by which the key is proven."""
    spec = subject.application.command("GET METADATA")
    group = "metadata of PINs and of the management key are true"
    name = f"{spec.name} {piv.MANAGEMENT:02X}"
    with subject.check(group, name, spec.name, spec.clause) as outcome:
        told = _metadata(subject, piv.MANAGEMENT)
        algorithm = told.get(piv.ALGORITHM, b"")
        _one_of(subject, "management key algorithm", MANAGEMENT_ALGORITHMS, algorithm)
        _one_of(subject, "factory value", (0, 1), told.get(piv.DEFAULT, b""))
        policies = told.get(piv.POLICIES, b"")
        _one_of(subject, "touch policy", _TOUCH_POLICIES, policies[1:])
        asked = piv.authenticate(algorithm[0], piv.MANAGEMENT, {piv.WITNESS: b""})
        response = subject.client.send(asked)
        subject.expect(response, (SW.NO_ERROR,))
    return outcome[0]


def _slot_metadata(subject: Subject, slot: int) -> Check:
    """What is told of a key is of that kind of key; of the one that attests its certificate too."""
    spec = subject.application.command("GET METADATA")
    group = "metadata of keys are true"
    with subject.check(group, f"{spec.name} {slot:02X}", spec.name, spec.clause) as outcome:
        public = check_key(subject, _metadata(subject, slot))
        certificate = _certificate(subject, slot)
        if certificate is not None and certificate.public_key() != public:
            raise DifferenceError("the public key that is certified", "another one")
    return outcome[0]


def check_key(subject: Subject, told: Mapping[int, bytes]) -> piv.PublicKey:
    """Compare metadata of a key with each other; the public key. Raises DifferenceError."""
    algorithm = told.get(piv.ALGORITHM, b"")
    _one_of(subject, "algorithm", _ALGORITHMS, algorithm)
    policies = told.get(piv.POLICIES, b"")
    _one_of(subject, "PIN policy", _PIN_POLICIES, policies[:1])
    _one_of(subject, "touch policy", _TOUCH_POLICIES, policies[1:])
    _one_of(subject, "origin", (piv.GENERATED, piv.IMPORTED), told.get(piv.ORIGIN, b""))
    wanted = "a public key of the algorithm that is told"
    fields = objects(told.get(piv.PUBLIC, b""), wanted)
    try:
        public = piv.public_key(algorithm[0], fields)
    except (LookupError, ValueError):
        raise DifferenceError(wanted, "none") from None
    size = (_CURVE_SIZES | _RSA_SIZES).get(algorithm[0])
    if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and public.key_size != size:
        raise DifferenceError(wanted, f"one of {public.key_size} bits")
    subject.note(wanted, "such a key")
    return public


def _certificate(subject: Subject, slot: int) -> x509.Certificate | None:
    """What the card itself says of a key: its attestation, or the one of the key that attests."""
    if slot == piv.ATTESTATION:
        response = subject.client.send(piv.get_data(piv.ATTESTATION_CERTIFICATE))
        content = objects(objects(response.data, "an object").get(0x53, b""), "a certificate")
        return _parsed(content.get(0x70, b"")) if response.sw == SW.NO_ERROR else None
    response = subject.client.send(piv.attest(slot))
    return _parsed(response.data) if response.sw == SW.NO_ERROR else None


def _parsed(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise DifferenceError("a certificate", f"{len(der)} other bytes") from None


def _serial(subject: Subject) -> Check:
    """The serial number is 4 bytes and always the same."""
    spec = subject.application.command("GET SERIAL")
    group = "the serial number stays the same"
    with subject.check(group, spec.name, spec.name, spec.clause) as outcome:
        first, second = _ask_serial(subject), _ask_serial(subject)
        if len(first) != SERIAL_SIZE:
            raise DifferenceError(f"{SERIAL_SIZE} bytes", f"{len(first)} bytes")
        same(subject, "serial number", first, second)
    return outcome[0]


def _ask_serial(subject: Subject) -> bytes:
    subject.fresh()
    response = subject.client.send(piv.get_serial())
    if response.sw == SW.INS_NOT_SUPPORTED:
        raise SkipError("the card tells no serial number")
    subject.expect(response, (SW.NO_ERROR,))
    return response.data


def check_attested_serial(subject: Subject, certificate: x509.Certificate) -> None:
    """An attestation holds the card's serial number. Raises DifferenceError.

    One without the extension, and a card that tells no serial number, have nothing to compare.
    """
    response = subject.client.send(piv.get_serial())
    try:
        extension = certificate.extensions.get_extension_for_oid(SERIAL_OID).value
    except x509.ExtensionNotFound:
        return
    assert isinstance(extension, x509.UnrecognizedExtension)
    attested, _ = tlv.parse_one(extension.value)
    if response.sw == SW.NO_ERROR and int.from_bytes(attested.value, "big") != int.from_bytes(
        response.data, "big"
    ):
        raise DifferenceError("the card's serial number", "another one is attested")


def objects(data: bytes, what: str) -> dict[int, bytes]:
    """The data objects of `data` by tag. Raises DifferenceError where it is not made of them."""
    try:
        return tlv.to_dict(tlv.parse(data))
    except tlv.TlvError:
        raise DifferenceError(what, f"{len(data)} other bytes") from None


def same(subject: Subject, what: str, expected: bytes, got: bytes) -> None:
    """Raises DifferenceError where they differ; neither may be a secret."""
    wanted, came = f"{what} {expected.hex().upper()}", got.hex().upper() or "none"
    subject.note(wanted, came)
    if got != expected:
        raise DifferenceError(wanted, came)


def _one_of(subject: Subject, what: str, known: Iterable[int], got: bytes) -> None:
    """Raises DifferenceError unless it is one byte, and known."""
    values = " or ".join(f"{value:02X}" for value in sorted(known))
    subject.note(f"{what} {values}", got.hex().upper())
    if len(got) != 1 or got[0] not in known:
        raise DifferenceError(f"{what} {values}", got.hex().upper() or "none")
