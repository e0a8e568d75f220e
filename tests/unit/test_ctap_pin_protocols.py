"""The authenticator's side of the PIN/UV auth protocols against python-fido2's side."""

from __future__ import annotations

import hmac
import os
from typing import Any

import pytest
from fido2.ctap2.pin import PinProtocolV1, PinProtocolV2

from apdu.ctap import Status
from token_fw.apps.fido2.errors import CtapError
from token_fw.apps.fido2.pin_protocols import PROTOCOLS, KeyAgreement

CLIENTS: dict[int, Any] = {1: PinProtocolV1(), 2: PinProtocolV2()}
BOTH = pytest.mark.parametrize("number", CLIENTS)
MESSAGE = bytes(range(64))


def agreed(number: int) -> tuple[Any, bytes, Any]:
    """A client's protocol with its secret, and the authenticator's."""
    agreement = KeyAgreement(PROTOCOLS[number], os.urandom)
    client = CLIENTS[number]
    key, secret = client.encapsulate(agreement.public())
    return client, secret, agreement.decapsulate(key)


def refusal(work: Any, *arguments: Any) -> Status:
    with pytest.raises(CtapError) as caught:
        work(*arguments)
    return caught.value.status


@BOTH
def test_each_side_reads_what_the_other_encrypts(number: int) -> None:
    client, secret, shared = agreed(number)
    assert shared.decrypt(client.encrypt(secret, MESSAGE)) == MESSAGE
    assert client.decrypt(secret, shared.encrypt(MESSAGE)) == MESSAGE


@BOTH
def test_a_signature_is_right_for_its_message_alone(number: int) -> None:
    client, secret, shared = agreed(number)
    signature = client.authenticate(secret, MESSAGE)
    assert shared.verify(MESSAGE, signature)
    assert not shared.verify(MESSAGE[1:], signature)
    assert not shared.verify(MESSAGE, signature[:-1])
    assert not shared.verify(MESSAGE, b"")


@BOTH
def test_signatures_are_compared_in_constant_time(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, secret, shared = agreed(number)
    signature = client.authenticate(secret, MESSAGE)
    # What is decided elsewhere is decided byte by byte.
    monkeypatch.setattr(hmac, "compare_digest", lambda _one, _other: False)
    assert not shared.verify(MESSAGE, signature)


def test_protocol_two_takes_a_fresh_iv_for_each_message() -> None:
    _, _, shared = agreed(2)
    assert shared.encrypt(MESSAGE) != shared.encrypt(MESSAGE)


@BOTH
def test_a_ciphertext_that_is_no_whole_blocks_is_refused(number: int) -> None:
    _, _, shared = agreed(number)
    for length in (15, 17, 47):
        assert refusal(shared.decrypt, bytes(length)) is Status.CTAP1_ERR_INVALID_PARAMETER


@BOTH
def test_another_key_has_another_secret(number: int) -> None:
    agreement = KeyAgreement(PROTOCOLS[number], os.urandom)
    client = CLIENTS[number]
    key, secret = client.encapsulate(agreement.public())
    agreement.regenerate()
    signature = client.authenticate(secret, MESSAGE)
    assert not agreement.decapsulate(key).verify(MESSAGE, signature)


@pytest.mark.parametrize(
    "wrong",
    [
        {-2: bytes(32), -3: bytes(32)},
        {-3: bytes(31) + b"\x01"},
        {-2: bytes(31)},
        {-3: None},
        {1: 1},
        {3: -7},
        {-1: 2},
    ],
    ids=["zero", "off the curve", "short", "no y", "key type", "algorithm", "curve"],
)
def test_a_peer_that_is_no_point_on_the_curve_is_refused(wrong: dict[int, Any]) -> None:
    agreement = KeyAgreement(PROTOCOLS[2], os.urandom)
    key, _ = CLIENTS[2].encapsulate(agreement.public())
    assert refusal(agreement.decapsulate, dict(key) | wrong) is Status.CTAP1_ERR_INVALID_PARAMETER
