"""Whatever the FIDO2 application and the HID device are sent, they answer and go on working."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from fido2.ctap2.base import Ctap2
from hypothesis import given
from hypothesis import strategies as st

from apdu.codec import Command
from apdu.ctap import CtapCommand
from apdu.model import APPLICATIONS
from apdu.wire.ctaphid import PACKET
from host_tools.testing.fido import FidoKey
from tests import cards
from tests.property.bad_input import Judge
from token_fw.storage.memory import Medium, MemoryStore

pytestmark = pytest.mark.usefixtures("cheap_hash")

SPEC = APPLICATIONS["fido2"]
JUDGE = Judge(SPEC, lambda _: False)
REQUESTS = [bytes((command,)) for command in CtapCommand]
MEANT_WELL = st.sampled_from(
    [
        command.encode()
        for command in (
            *(Command(0x80, 0x10, p1, 0, request, 256) for request in REQUESTS for p1 in (0, 0x80)),
            Command(0x80, 0x11, 0x00, 0, b"", 256),
            Command(0x80, 0x11, 0x11, 0, b"", 256),
            Command(0x00, 0x01, 0x03, 0, bytes(64), 256),
            *(Command(0x00, 0x02, p1, 0, bytes(64) + b"\0", 256) for p1 in (3, 7, 8)),
            Command(0x00, 0x03, 0x00, 0, b"", 256),
        )
    ]
)
CHANNELS = st.sampled_from((1, 2, 3, 0, 0xFFFFFFFF)) | st.integers(0, 0xFFFFFFFF)
PACKETS = st.builds(
    lambda channel, kind, body: (channel.to_bytes(4, "big") + bytes((kind,)) + body).ljust(
        PACKET, b"\0"
    ),
    CHANNELS,
    st.sampled_from((0x81, 0x83, 0x84, 0x86, 0x88, 0x90, 0x91, 0, 1)) | st.integers(0, 0xFF),
    st.binary(max_size=PACKET - 5),
)


class Client(cards.Client):
    """A client with the application selected."""

    application = SPEC


@pytest.fixture(scope="module")
def medium() -> Medium:
    """A token whose authenticator was used."""
    bench = cards.Bench()
    client = Client(bench.connect())
    client.ok(Command(0x80, 0x10, 0, 0, bytes((CtapCommand.GET_INFO,)), 256))
    return bench.medium


def prepared(medium: Medium) -> tuple[cards.Bench, Client]:
    bench = cards.Bench(store=MemoryStore(Medium(dict(medium.records))))
    return bench, Client(bench.connect())


@given(raws=st.lists(JUDGE.inputs(MEANT_WELL), min_size=1, max_size=6))
def test_any_bytes_get_a_status_word_and_a_refusal_changes_nothing(
    medium: Medium, raws: list[bytes]
) -> None:
    bench, client = prepared(medium)
    for raw in raws:
        JUDGE.send(bench, client, raw)


@given(data=st.data())
def test_a_chain_cut_anywhere_gets_a_status_word_and_changes_nothing(
    medium: Medium, data: st.DataObject
) -> None:
    bench, client = prepared(medium)
    JUDGE.cut_chain(bench, client, data)


@pytest.fixture(scope="module")
def key() -> Iterator[FidoKey]:
    # A request that any packets make waits for nobody.
    with FidoKey(patience=0.01) as made:
        yield made


@given(sent=st.lists(PACKETS, max_size=20))
def test_whatever_packets_come_the_device_serves_the_next_client(
    key: FidoKey, sent: Sequence[bytes]
) -> None:
    with key.connect() as garbage:
        for packet in sent:
            garbage.write(packet)
    # A message that was begun, or a lock, holds it up for others; they ask again.
    device = key.device()
    assert Ctap2(device).info.versions
    device.close()
