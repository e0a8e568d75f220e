"""The kit's FIDO2 token: python-fido2 finds it and speaks with it in packets of HID."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fido2.attestation.base import UntrustedAttestation
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import APDU, ApduError, Ctap1
from fido2.ctap2.base import Ctap2
from fido2.hid import CAPABILITY, CtapHidDevice, list_devices, open_device

from host_tools.testing.fido import FidoKey
from host_tools.testing.webauthn import WebAuthn
from token_fw.apps.fido2 import u2f

LONG, FOREVER = 20, 3600
HASH = bytes(range(32))


@pytest.fixture
def key() -> Iterator[FidoKey]:
    with FidoKey() as made:
        yield made


@pytest.fixture
def ctap2(key: FidoKey) -> Ctap2:
    return Ctap2(key.device())


def test_python_fido2_finds_it_where_it_is_plugged_in(key: FidoKey) -> None:
    with key.found():
        (device,) = list_devices()
        assert device.product_name == "Klyuch"
        assert device.serial_number == key.serial.hex()
        assert device.capabilities == CAPABILITY.WINK | CAPABILITY.CBOR
        assert open_device(device.descriptor.path).ping(b"found") == b"found"
        key.unplug()
        assert list(list_devices()) == []
        with pytest.raises(OSError, match="no device"):
            open_device(device.descriptor.path)
        key.plug()
        assert len(list(list_devices())) == 1


@pytest.mark.parametrize("size", [0, 1, 57, 58, 1000, 7609])
def test_it_sends_back_what_it_is_sent(key: FidoKey, size: int) -> None:
    message = bytes(range(256)) * 30
    assert key.device().ping(message[:size]) == message[:size]


def test_a_page_that_trusts_its_authority_takes_no_other_token(key: FidoKey) -> None:
    with FidoKey() as other, key.touched(), other.touched():
        page = WebAuthn(key.device(), authority=key.authority)
        assert page.register(uv="discouraged").certificates[-1] == key.authority
        with pytest.raises(UntrustedAttestation):
            WebAuthn(other.device(), authority=key.authority).register(uv="discouraged")


def test_it_winks(key: FidoKey) -> None:
    key.device().wink()
    assert key.winks == 1


def test_nobody_touches_it_unless_told_to(ctap2: Ctap2, key: FidoKey) -> None:
    cancelled = threading.Event()
    told: list[int] = []

    def hear(status: int) -> None:
        told.append(status)
        if status == STATUS.UPNEEDED:
            cancelled.set()

    with pytest.raises(CtapError) as error:
        ctap2.selection(event=cancelled, on_keepalive=hear)
    assert error.value.code == CtapError.ERR.KEEPALIVE_CANCEL
    assert told[-1] == STATUS.UPNEEDED
    with key.touched():
        ctap2.selection()


def test_a_client_waits_while_another_ones_request_runs(key: FidoKey) -> None:
    first, second = Ctap2(key.device()), key.device()
    with ThreadPoolExecutor() as pool:
        selected = pool.submit(first.selection)
        assert key.touch.awaited(LONG)
        pinged = pool.submit(second.ping, b"busy")
        assert key.touch.give()
        assert selected.result(LONG) is None
        assert pinged.result(LONG) == b"busy"


def test_it_is_locked_for_one_client(key: FidoKey) -> None:
    owner, other = key.device(), key.device()
    owner.lock(10)
    with ThreadPoolExecutor() as pool:
        pinged = pool.submit(other.ping, b"late")
        assert owner.ping(b"mine") == b"mine"
        assert not pinged.done()
        owner.lock(0)
        assert pinged.result(LONG) == b"late"


def test_what_waits_ends_when_it_is_pulled_out(ctap2: Ctap2, key: FidoKey) -> None:
    with ThreadPoolExecutor() as pool:
        selected = pool.submit(ctap2.selection)
        assert key.touch.awaited(LONG)
        key.unplug()
        with pytest.raises((OSError, CtapError)):
            selected.result(LONG)
    with pytest.raises(OSError, match="not plugged in"):
        key.device()


def test_a_request_of_a_client_that_is_gone_waits_for_nobody(key: FidoKey) -> None:
    device = key.device()
    with ThreadPoolExecutor() as pool:
        selected = pool.submit(Ctap2(device).selection)
        assert key.touch.awaited(LONG)
        device.close()
        with pytest.raises(OSError, match="gone"):
            selected.result(LONG)
    with key.touched():
        Ctap2(key.device()).selection()


def test_u2f_messages_reach_it(key: FidoKey) -> None:
    device = key.device()
    assert isinstance(device, CtapHidDevice)
    with pytest.raises(ApduError) as error:
        Ctap1(device).send_apdu(ins=0x77)
    assert error.value.code == 0x6D00


def test_a_u2f_request_is_refused_without_a_touch_and_asked_again() -> None:
    with FidoKey(patience=FOREVER) as key:
        client = Ctap1(key.device())
        with pytest.raises(ApduError) as error:
            client.register(HASH, HASH)
        assert error.value.code == APDU.USE_NOT_SATISFIED
        assert not key.touch.awaited()
        key.touch.press()
        made = client.register(HASH, HASH)
        made.verify(HASH, HASH)
        with key.touched():
            client.authenticate(HASH, HASH, made.key_handle).verify(HASH, HASH, made.public_key)


def test_a_u2f_request_of_a_client_that_is_gone_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(u2f, "PATIENCE", {})
    with FidoKey(patience=FOREVER) as key, ThreadPoolExecutor() as pool:
        device = key.device()
        registered = pool.submit(Ctap1(device).register, HASH, HASH)
        assert key.touch.awaited(LONG)
        device.close()
        with pytest.raises(OSError, match="gone"):
            registered.result(LONG)
        assert Ctap2(key.device()).info.versions
        assert not key.touch.awaited()
