"""The APDUs that OpenSC's isoApplet driver and its pkcs15-init part send, as they send them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from apdu import tlv
from apdu.codec import Command
from apdu.model import APPLICATIONS, SW
from host_tools.conformance import pki_commands as pki
from tests import cards
from token_fw.card import Interface

PUK, PIN = b"87654321".ljust(16, b"\0"), b"4815".ljust(16, b"\0")
CHV = 0x90
# The profile's `*=$PIN, READ=NONE`, as isoApplet_create_file writes it.
AODF_RULES = bytes((0xFF, CHV, CHV, CHV, CHV, CHV, CHV, 0x00))
DF_RULES = bytes((0xFF, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, CHV))


def fci(fid: bytes, descriptor: int, size: int, attributes: bytes, name: bytes = b"") -> bytes:
    """iso7816_construct_fci: template 6F, the size under 81 in two bytes."""
    inner = tlv.encode(0x81, size.to_bytes(2, "big")) + tlv.encode(0x82, bytes((descriptor,)))
    inner += tlv.encode(0x83, fid)
    if name:
        inner += tlv.encode(0x84, name)
    return tlv.encode(0x6F, inner + tlv.encode(0x86, attributes))


def choose(algorithm: int, reference: int, template: int, file: bytes = b"") -> Command:
    """isoApplet_set_security_env: one byte of reference, a file reference perhaps."""
    data = bytes((0x80, 1, algorithm)) + file + bytes((0x84, 1, reference))
    return Command(0x00, 0x22, 0x41, template, data)


def initialised() -> cards.Client:
    """What `pkcs15-init --create-pkcs15 --store-pin` leaves."""
    client = cards.Bench().client()
    assert client.ok(pki.get_data(1)) == b"\x01\x00\x2f"
    client.ok(Command(0x00, 0xA4, 0x00, 0x00, b"\x3f\x00", 256))
    name = bytes.fromhex("A000000063504B43532D3135")
    client.ok(Command(0x00, 0xE0, 0x00, 0x00, fci(b"\x50\x15", 0x38, 5000, DF_RULES, name)))
    client.ok(Command(0x00, 0x24, 0x01, 0x02, PUK))
    client.ok(Command(0x00, 0x24, 0x01, 0x01, PIN))
    assert client.status(pki.verify(1)) == 0x63C3
    client.ok(pki.verify(1, PIN))
    client.ok(Command(0x00, 0xA4, 0x08, 0x00, b"\x50\x15", 256))
    client.ok(Command(0x00, 0xE0, 0x00, 0x00, fci(b"\x44\x01", 0x01, 256, AODF_RULES)))
    return client


def test_pins_are_set_on_a_blank_card_and_make_it_operational() -> None:
    client = initialised()
    assert cards.lifecycle(client) == 5
    assert client.status(Command(0x00, 0x24, 0x01, 0x01, PIN)) == SW.CONDITIONS_NOT_SATISFIED


def test_files_have_the_size_and_the_rules_they_were_made_with() -> None:
    client = initialised()
    answer = client.ok(Command(0x00, 0xA4, 0x08, 0x00, b"\x50\x15\x44\x01", 256))
    fields = tlv.to_dict(tlv.parse(tlv.parse_one(answer)[0].value))
    assert (fields[0x80], fields[0x86]) == (b"\x01\x00", AODF_RULES)
    client.ok(Command(0x00, 0xD6, 0x00, 0x00, b"\x30\x00"))
    client.ok(pki.log_out(1))
    assert client.status(Command(0x00, 0xD6, 0x00, 0x00, b"\x30\x00")) == 0x6982
    assert client.ok(Command(0x00, 0xB0, 0x00, 0x00, b"", 256)) == b"\x30".ljust(256, b"\0")


def test_pins_are_changed_and_unblocked_padded_to_16_bytes() -> None:
    client = initialised()
    new = b"1623".ljust(16, b"\0")
    assert client.status(Command(0x00, 0x24, 0x00, 0x01, PIN + b"1623")) == SW.WRONG_LENGTH
    client.ok(Command(0x00, 0x24, 0x00, 0x01, PIN + new))
    while client.status(pki.verify(1, PIN)) != 0x6983:
        pass
    assert client.status(Command(0x00, 0x2C, 0x00, 0x01, PUK)) == SW.WRONG_LENGTH
    client.ok(Command(0x00, 0x2C, 0x00, 0x01, PUK + PIN))
    client.ok(pki.verify(1, PIN.rstrip(b"\0")))
    client.ok(Command(0x00, 0x2C, 0x00, 0x01, PUK + b"1623"))
    client.ok(pki.verify(1, new))


def test_pins_of_tokens_of_our_own_are_padded_to_64_bytes() -> None:
    client = cards.operational().client()
    old, new, puk = (pin.ljust(64, b"\0") for pin in (cards.USER_PIN, b"1623", cards.SO_PIN))
    client.ok(pki.verify(1, old))
    client.ok(Command(0x00, 0x24, 0x00, 0x01, old + new))
    client.ok(pki.verify(1, b"1623"))
    client.ok(Command(0x00, 0x2C, 0x00, 0x01, puk + old))
    client.ok(pki.verify(1, cards.USER_PIN))
    for size in (33, 64, 127, 129):
        assert client.status(Command(0x00, 0x24, 0x00, 0x01, bytes(size))) == SW.WRONG_LENGTH
    for size in (33, 64, 129):
        assert client.status(Command(0x00, 0x2C, 0x00, 0x01, bytes(size))) == SW.WRONG_LENGTH


@pytest.mark.parametrize("cofactor", [b"\x00\x01", b"\x01"])
def test_ec_keys_come_with_explicit_parameters_and_the_answer_repeats_them(
    cofactor: bytes,
) -> None:
    client = initialised()
    client.ok(choose(0xEC, 3, 0x00))
    sent = pki.explicit_p256(cofactor)
    answer = client.ok(Command(0x00, 0x46, 0x00, 0x00, sent, 256))
    objects = pki.public_objects(answer)
    assert {tag: value for tag, value in objects.items() if tag != 0x86} == tlv.to_dict(
        tlv.parse(sent)
    )
    client.ok(choose(0x21, 3, 0xB6, b"\x81\x02\x44\x02"))
    signature = client.ok(Command(0x00, 0x2A, 0x9E, 0x9A, bytes(32), 256))
    pki.check_ecdsa(objects[0x86], bytes(32), signature)


@pytest.mark.parametrize("message", [b"a message", bytes(32), b""], ids=["text", "digest", "none"])
def test_a_driver_that_never_asked_for_the_version_has_its_message_hashed(message: bytes) -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    point = cards.make_key(client, 3)
    client.ok(choose(0x21, 3, 0xB6, b"\x81\x02\x50\x15"))
    signature = client.ok(Command(0x00, 0x2A, 0x9E, 0x9A, message, 256))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    key.verify(signature, message, ec.ECDSA(hashes.SHA1()))


def test_what_a_driver_asked_for_holds_on_its_interface_until_the_power_goes() -> None:
    bench = cards.operational()
    former, later = cards.logged_in(bench), cards.logged_in(bench)
    point = cards.make_key(later, 3)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)

    def sign(client: cards.Client) -> bytes:
        client.ok(choose(0x21, 3, 0xB6))
        return client.ok(pki.sign(bytes(32)))

    # A later driver asks, once, and selects again afterwards, perhaps what another wanted between.
    later.ok(pki.get_data(1))
    later.ok(pki.select_application(APPLICATIONS["piv"]))
    later.ok(pki.select_application())
    later.log_in()
    pki.check_ecdsa(point, bytes(32), sign(later))
    key.verify(sign(former), bytes(32), ec.ECDSA(hashes.SHA1()))
    assert isinstance(later.transport, Interface)
    later.transport.reset()
    later.ok(pki.select_application())
    later.log_in()
    pki.check_ecdsa(point, bytes(32), sign(later))
    later.transport.close()
    powered_again = cards.logged_in(bench)
    key.verify(sign(powered_again), bytes(32), ec.ECDSA(hashes.SHA1()))


def test_curves_the_card_does_not_have_are_refused() -> None:
    client = initialised()
    client.ok(choose(0xEC, 3, 0x00))
    sent = tlv.to_dict(tlv.parse(pki.explicit_p256()))
    for tag in sent:
        other = sent | {tag: sent[tag][:-1] + bytes((sent[tag][-1] ^ 1,))}
        data = b"".join(tlv.encode(*item) for item in other.items())
        assert client.status(pki.generate(data)) == SW.FUNCTION_NOT_SUPPORTED
    assert client.status(pki.generate(pki.explicit_p256()[:-3])) == SW.INCORRECT_DATA
    assert client.status(pki.generate()) == SW.INCORRECT_DATA


def test_an_ec_key_is_imported_with_explicit_parameters() -> None:
    client = initialised()
    key = ec.generate_private_key(ec.SECP256R1())
    d = key.private_numbers().private_value.to_bytes(32, "big")
    client.ok(choose(0xEC, 1, 0x00))
    client.ok(pki.put_key(tlv.encode(0xE0, pki.explicit_p256(b"\0\1") + tlv.encode(0x88, d))))
    assert pki.public_objects(client.ok(pki.public_key()))[0x86] == (
        b"\x04"
        + key.public_key().public_numbers().x.to_bytes(32, "big")
        + key.public_key().public_numbers().y.to_bytes(32, "big")
    )


def test_rsa_2048_is_made_signs_and_deciphers() -> None:
    client = initialised()
    client.ok(choose(0xF3, 0, 0x00))
    objects = pki.public_objects(client.ok(Command(0x00, 0x46, 0x42, 0x00, b"", 256)))
    assert (len(objects[0x81]), objects[0x82]) == (256, b"\x01\x00\x01")
    public = rsa.RSAPublicNumbers(65537, int.from_bytes(objects[0x81], "big")).public_key()
    client.ok(choose(0x11, 0, 0xB6))
    signature = client.ok(Command(0x00, 0x2A, 0x9E, 0x9A, b"DigestInfo", 256))
    assert public.recover_data_from_signature(signature, padding.PKCS1v15(), None) == b"DigestInfo"
    client.ok(choose(0x11, 0, 0xB8))
    cryptogram = public.encrypt(b"secret", padding.PKCS1v15())
    assert client.ok(Command(0x00, 0x2A, 0x80, 0x86, b"\0" + cryptogram, 256)) == b"secret"


def test_an_rsa_key_is_imported_as_a_chain_of_short_commands() -> None:
    client = initialised()
    key = rsa.generate_private_key(65537, 2048)
    short = cards.Client(client.transport, extended=False)
    short.ok(pki.verify(1, PIN))
    short.ok(choose(0xF3, 2, 0x00))
    short.ok(pki.put_key(pki.rsa_template(key)))
    objects = pki.public_objects(short.ok(pki.public_key()))
    assert int.from_bytes(objects[0x81], "big") == key.public_key().public_numbers().n


def test_keys_need_the_pin() -> None:
    client = initialised()
    client.ok(pki.log_out(1))
    client.ok(choose(0xF3, 0, 0x00))
    assert client.status(Command(0x00, 0x46, 0x42, 0x00, b"", 256)) == 0x6982


def test_random_numbers_come_eight_at_a_time() -> None:
    client = initialised()
    assert len(client.ok(Command(0x00, 0x84, 0x00, 0x00, b"", 8))) == 8
