"""Searches among many objects, and what a write reads again: counted, not timed."""

from __future__ import annotations

import pytest

from apdu.transport import Transport
from pkcs11_module import _constants as ck
from pkcs11_module.cards import pkcs15
from pkcs11_module.cards.card import TokenCard
from pkcs11_module.facade import find
from pkcs11_module.facade.attributes import packed
from pkcs11_module.types import Attribute, AttributeRequest, Length, NestedAnswer
from tests.unit.facade_rig import (
    USER_PIN,
    Client,
    Rig,
    SlotReader,
    Value,
    data_template,
    template,
)
from tests.unit.facade_samples import certificate

AES: dict[str, Value] = {"CLASS": ck.CKO_SECRET_KEY, "KEY_TYPE": ck.CKK_AES, "VALUE": bytes(16)}
CERTIFICATE: dict[str, Value] = {
    "CLASS": ck.CKO_CERTIFICATE,
    "CERTIFICATE_TYPE": ck.CKC_X_509,
    "VALUE": certificate(),
}
MANY = 60


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every object that a search looks at."""
    looked: list[object] = []
    matches = find._matches

    def counting(slot: object, target: object, *more: object) -> bool:
        looked.append(target)
        return bool(matches(slot, target, *more))  # type: ignore[arg-type]  # counts, passes on

    monkeypatch.setattr(find, "_matches", counting)
    return looked


@pytest.mark.parametrize("on_token", [True, False])
def test_a_search_looks_only_at_what_may_match(
    client: Client, session: int, compared: list[object], on_token: bool
) -> None:
    for index in range(MANY):
        ident = index.to_bytes(2, "big")
        values = {**AES, "ID": ident, "LABEL": f"key {index}", "TOKEN": on_token}
        client("C_CreateObject", session, template(**values))
        client("C_CreateObject", session, template(**data_template("d", TOKEN=on_token)))
    searches: list[dict[str, Value]] = [
        {"ID": b"\x00\x07"},
        {"LABEL": "key 7"},
        {"CLASS": ck.CKO_SECRET_KEY, "ID": b"\x00\x07"},
    ]
    for wanted in searches:
        compared.clear()
        assert len(client.find(session, **wanted)) == 1
        assert len(compared) == 1
    compared.clear()
    assert client.find(session, ID=b"nobody") == client.find(session, CLASS=99) == []
    assert compared == []


def test_certificates_are_found_by_what_is_in_them(
    client: Client, session: int, compared: list[object]
) -> None:
    value = certificate()
    for on_token in (True, False):
        for index in range(MANY):
            # Another serial number: the certificate need not be signed rightly.
            other = value.replace(b"\x12\x34\x56\x78\x90", index.to_bytes(5, "big"))
            values = {**CERTIFICATE, "VALUE": other, "TOKEN": on_token}
            client("C_CreateObject", session, template(**values))
    serial = b"\x02\x05" + (7).to_bytes(5, "big")
    handles = client.find(session, CLASS=ck.CKO_CERTIFICATE, SERIAL_NUMBER=serial)
    assert len(handles) == 2
    issuer, content = client.get(session, handles[0], "ISSUER", "VALUE")
    compared.clear()
    found = client.find(session, CLASS=ck.CKO_CERTIFICATE, ISSUER=issuer, SERIAL_NUMBER=serial)
    assert found == handles
    assert client.find(session, CLASS=ck.CKO_CERTIFICATE, VALUE=content) == handles
    assert len(compared) == 4
    assert client.find(session, SUBJECT=b"nobody") == []


def test_the_index_follows_changes_and_ends(client: Client, session: int) -> None:
    other = client.open()
    mine, theirs = (
        client("C_CreateObject", owner, template(**{**AES, "ID": b"one", "LABEL": "same"}))
        for owner in (session, other)
    )
    assert client.find(session, LABEL="same") == [mine, theirs]
    client("C_SetAttributeValue", session, mine, template(ID=b"two"))
    assert client.find(session, ID=b"two") == [mine]
    assert client.find(session, ID=b"one") == [theirs]
    client("C_CloseSession", other)
    assert client.find(session, ID=b"one") == []
    assert client.find(session, LABEL="same") == [mine]
    client("C_DestroyObject", session, mine)
    assert client.find(session, LABEL="same") == client.find(session) == []


class CountingReader(SlotReader):
    """Counts the commands that reach the card."""

    commands = 0

    def connect(self) -> Transport:
        return _Counting(self, super().connect())


class _Counting:
    def __init__(self, reader: CountingReader, inner: Transport) -> None:
        self._reader, self._inner = reader, inner

    def transceive(self, command: bytes) -> bytes:
        self._reader.commands += 1
        return self._inner.transceive(command)


def test_a_write_reads_nothing_back_that_it_knows(rig: Rig, client: Client) -> None:
    reader = CountingReader(1)
    assert rig.reader.card is not None
    reader.insert(rig.reader.card)
    rig.all[0] = reader
    application = rig.application()
    session = application.user()
    costs = []
    for index in range(12):
        before = reader.commands
        application("C_CreateObject", session, template(**data_template(f"d{index}")))
        costs.append(reader.commands - before)
    assert costs[-1] == costs[1] == min(costs)
    before = reader.commands
    assert len(application.find(session, LABEL="d7")) == 1
    assert reader.commands - before == 1
    # What another application of this module writes is known; what another program does is not.
    friend = rig.application()
    friend("C_CreateObject", friend.user(), template(**data_template("theirs")))
    before = reader.commands
    application("C_CreateObject", session, template(**data_template("mine")))
    assert reader.commands - before == costs[-1]
    stranger = TokenCard(rig.reader.card.connect())
    stranger.verify(pkcs15.USER_PIN, USER_PIN)
    stranger.create(pkcs15.DF + b"\x7f\x00", pkcs15.conditions(read=0, update=0, delete=0), b"")
    before = reader.commands
    application("C_CreateObject", session, template(**data_template("mine too")))
    assert reader.commands - before > costs[-1]
    found = [application.find(session, LABEL=label) for label in ("theirs", "mine", "mine too")]
    assert [len(handles) for handles in found] == [1, 1, 1]


TEMPLATE = (Attribute(ck.CKA_SENSITIVE, b"\x01"), Attribute(ck.CKA_LABEL, b"wrapped"))


@pytest.mark.parametrize("on_token", [True, False])
def test_arrays_of_attributes_are_kept_told_and_searched_for(
    client: Client, session: int, on_token: bool
) -> None:
    given = (*template(**AES, TOKEN=on_token), Attribute(ck.CKA_WRAP_TEMPLATE, None, TEMPLATE))
    handle = client("C_CreateObject", session, given)

    def ask(request: AttributeRequest) -> tuple[str, object]:
        rv, (answer,) = client("C_GetAttributeValue", session, handle, (request,))
        return ck.CKR_NAMES[rv], answer

    assert ask(AttributeRequest(ck.CKA_WRAP_TEMPLATE, None)) == ("CKR_OK", Length(2))
    asked = tuple(AttributeRequest(0, capacity) for capacity in (None, 100))
    rv, answer = ask(AttributeRequest(ck.CKA_WRAP_TEMPLATE, 2, asked))
    assert rv == "CKR_OK"
    assert isinstance(answer, NestedAnswer)
    assert answer.items == ((ck.CKA_LABEL, Length(7)), (ck.CKA_SENSITIVE, b"\x01"))
    short = AttributeRequest(ck.CKA_WRAP_TEMPLATE, 1, asked[:1])
    assert ask(short)[0] == "CKR_BUFFER_TOO_SMALL"

    def search(*wanted: Attribute) -> list[int]:
        client("C_FindObjectsInit", session, wanted)
        found: list[int] = client("C_FindObjects", session, 10)
        client("C_FindObjectsFinal", session)
        return found

    assert search(Attribute(ck.CKA_WRAP_TEMPLATE, None, TEMPLATE[::-1])) == [handle]
    assert search(Attribute(ck.CKA_WRAP_TEMPLATE, None, TEMPLATE[:1])) == []
    assert search(Attribute(ck.CKA_WRAP_TEMPLATE, None, (*TEMPLATE, TEMPLATE[0]))) == [handle]
    contrary = Attribute(ck.CKA_SENSITIVE, b"\x00")
    assert search(Attribute(ck.CKA_WRAP_TEMPLATE, None, (*TEMPLATE, contrary))) == []
    assert search(Attribute(ck.CKA_UNWRAP_TEMPLATE, packed(TEMPLATE))) == []
    assert search(Attribute(0xCE5363B4, b"\x01")) == search(Attribute(0x633, b"\x01")) == []
    assert search() == [handle]


def test_a_certificate_may_be_at_its_url(rig: Rig, client: Client, session: int) -> None:
    elsewhere: dict[str, Value] = {
        "VALUE": b"",
        "SUBJECT": b"\x30\x00",
        "URL": "https://localhost/c",
        "HASH_OF_SUBJECT_PUBLIC_KEY": b"s" * 20,
        "HASH_OF_ISSUER_PUBLIC_KEY": b"i" * 20,
        "CERTIFICATE_CATEGORY": 3,
        "LABEL": "elsewhere",
    }
    client("C_CreateObject", session, template(**{**CERTIFICATE, **elsewhere, "TOKEN": True}))
    rig.reinsert()
    again = rig.application()
    session = again.open()
    (handle,) = again.find(session, CLASS=ck.CKO_CERTIFICATE, SUBJECT=b"\x30\x00")
    told = again.get(session, handle, *elsewhere)
    assert told == [attribute.value for attribute in template(**elsewhere)]
