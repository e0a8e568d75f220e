"""The rack of a home: tokens put in, pulled out, wiped, locked and damaged."""

import errno
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from apdu.codec import Command
from apdu.ctap import Status
from apdu.model import APPLICATIONS
from apdu.transport import CardClient, CardRemoved, TransportError
from host_tools import registry, tokens
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.control import ControlError, ErrorCode
from host_tools.home import Home
from host_tools.rack import Rack
from host_tools.tokens import TokenReader, TokenState, look
from host_tools.tracing import Form
from token_fw.factory import Profile
from token_fw.storage.base import WrongKey

_SELECT_PKI = bytes.fromhex("00A404000CF276A288BCFBA69D34F31001")


@pytest.fixture
def folder(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


@pytest.fixture
def rack(folder: Home) -> Iterator[Rack]:
    rack = Rack(folder)
    yield rack
    rack.close()


def _make(rack: Rack, label: str = "", passphrase: bytes | None = None) -> TokenReader:
    reader = rack.create(Profile(os.urandom(8), so_tries=5), passphrase)
    rack.keep(reader, label)
    return reader


def test_a_new_token_is_inserted_and_blank(rack: Rack) -> None:
    reader = _make(rack)
    facts = look(reader)
    assert (reader.present, facts.serial, facts.initialised) == (True, reader.serial, False)
    assert (facts.pin("user").tries, facts.pin("so").tries) == (3, 5)


def test_tokens_are_found_by_label_serial_and_slot(rack: Rack) -> None:
    first, second = _make(rack, "Work"), _make(rack, "Home")
    assert rack.find("Home") is second
    assert rack.find(first.serial.upper()) is first
    assert rack.find("0") is first


def test_a_label_of_two_tokens_names_neither(rack: Rack) -> None:
    _make(rack, "Twin")
    _make(rack, "Twin")
    with pytest.raises(ControlError) as refused:
        rack.find("Twin")
    assert refused.value.code is ErrorCode.AMBIGUOUS


def test_whoever_begins_to_watch_is_told_by_what_is_selected_already(rack: Rack) -> None:
    reader = _make(rack)
    door = reader.connect()
    door.transceive(pki.select_application(piv.SPEC).encode())
    watch = rack.tracer.watch(reader.serial, Form.RECORDING)
    version = piv.get_version().encode()
    door.branch().transceive(version)
    door.transceive(version)
    rack.tracer.end(watch)
    for message in islice(watch.messages(), 2):
        assert message is not None
        entry = message["entry"]
        assert isinstance(entry, dict)
        assert (entry["name"], entry["response"]) == ("GET VERSION", "0507019000")
        assert "length" not in entry


def test_exchanges_are_told_as_fields_with_what_refused_or_failed_them(rack: Rack) -> None:
    reader = _make(rack)
    other = _make(rack, "Other").connect()
    door = reader.connect()
    watch = rack.tracer.watch(reader.serial, Form.FIELDS)
    other.transceive(_SELECT_PKI)
    door.reset()
    door.transceive(_SELECT_PKI)
    door.transceive(pki.generate().encode())
    rack.remove(reader)
    with pytest.raises(CardRemoved):
        door.transceive(pki.verify(pki.USER, b"12345678").encode())
    rack.tracer.end(watch)
    told: list[Any] = [message["exchange"] for message in islice(watch.messages(), 4) if message]
    reset, selected, refused, failed = told
    assert {item["token"] for item in told} == {reader.serial}
    assert set(reset) == {"time", "token", "door", "reset"}
    assert (selected["command"], selected["sw"], selected["error"]) == ("SELECT", "9000", None)
    assert (refused["sw_name"], refused["error"]) == ("SECURITY_STATUS_NOT_SATISFIED", None)
    assert refused["cause"]
    assert (failed["sw"], failed["data"], failed["masked"]) == (None, None, True)
    assert failed["error"]


def test_a_removed_token_answers_no_interface_of_before(rack: Rack) -> None:
    reader = _make(rack)
    door = reader.connect()
    assert door.transceive(_SELECT_PKI)[-2:] == b"\x90\x00"
    rack.remove(reader)
    assert (reader.present, reader.state) == (False, TokenState.REMOVED)
    with pytest.raises(CardRemoved):
        door.transceive(_SELECT_PKI)
    with pytest.raises(CardRemoved):
        reader.connect()


def test_every_insertion_is_a_new_generation(rack: Rack) -> None:
    reader = _make(rack)
    before = reader.generation
    rack.remove(reader)
    rack.insert(reader)
    assert reader.present
    assert reader.generation != before
    assert reader.connect().transceive(_SELECT_PKI)[-2:] == b"\x90\x00"


def test_what_is_inserted_stays_so_over_a_restart(rack: Rack, folder: Home) -> None:
    reader, other = _make(rack, "Out"), _make(rack, "In")
    rack.remove(reader)
    rack.close()
    again = Rack(folder)
    assert [r.state for r in again.readers()] == [TokenState.REMOVED, TokenState.INSERTED]
    assert [r.slot_id for r in again.readers()] == [reader.slot_id, other.slot_id]


def test_a_token_has_its_power_since_it_was_put_in_not_since_somebody_came(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: time.monotonic() - 11))
        reader = _make(rack, "Long here")
        rack.remove(reader)
        rack.insert(reader)
    assert _erase(reader) is Status.CTAP2_ERR_NOT_ALLOWED
    rack.remove(reader)
    rack.insert(reader)
    assert _erase(reader) is Status.CTAP2_OK


def _erase(reader: TokenReader) -> Status:
    """What authenticatorReset is answered with a finger on the token."""
    card = CardClient(reader.connect("fido2"))
    assert reader.touch is not None
    reader.touch.press()
    card.call(Command(0x00, 0xA4, 0x04, 0x00, APPLICATIONS["fido2"].aid, 256))
    return Status(card.call(Command(0x80, 0x10, 0x00, 0x00, b"\x07", 256))[0])


def test_a_deleted_token_leaves_an_empty_slot_and_no_files(rack: Rack, folder: Home) -> None:
    reader = _make(rack, "Gone")
    rack.delete(reader)
    assert not reader.present
    assert list(rack.readers()) == [reader]
    assert rack.tokens() == []
    assert list(folder.tokens.iterdir()) == [folder.registry]
    assert list(Rack(folder).readers()) == []
    assert _make(Rack(folder)).slot_id == 1


def test_a_wiped_token_is_blank_and_keeps_its_slot_and_serial(rack: Rack) -> None:
    reader = _make(rack, "Work")
    before = (reader.slot_id, reader.serial, reader.generation)
    rack.wipe(reader, Profile(bytes.fromhex(reader.serial), user_tries=7))
    assert (reader.slot_id, reader.serial) == before[:2]
    assert reader.generation != before[2]
    assert look(reader).pin("user").tries == 7
    assert reader.record.label == ""


@pytest.mark.parametrize("damage", ["store", "key", "no store", "no key", "open key"])
def test_a_damaged_token_leaves_its_slot_empty_and_the_others_alone(
    rack: Rack, folder: Home, damage: str
) -> None:
    victim, healthy = _make(rack, "Victim"), _make(rack, "Healthy")
    rack.close()
    _damage(folder, victim.serial, damage)
    again = Rack(folder)
    hurt, fine = again.readers()
    with pytest.raises(TransportError):
        hurt.connect()
    assert (hurt.present, hurt.state) == (False, TokenState.CORRUPT)
    assert victim.serial in hurt.fault
    assert look(fine).serial == healthy.serial
    again.close()


def _damage(folder: Home, serial: str, damage: str) -> None:
    path = folder.key(serial) if "key" in damage else folder.store(serial)
    if damage.startswith("no "):
        path.unlink()
    elif damage.startswith("open "):
        path.chmod(0o644)
    else:
        path.write_bytes(b"\x55" * path.stat().st_size)


@pytest.mark.parametrize("reason", ["EMFILE", "ENFILE", "ENOMEM", "EIO", "EACCES", "ENOSPC"])
def test_a_key_that_cannot_be_read_just_now_is_tried_again_at_the_next_use(
    rack: Rack, folder: Home, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    serial = _make(rack, "Work").serial
    rack.close()
    again = Rack(folder)
    (reader,) = again.readers()
    number = getattr(errno, reason)

    def failing(path: Path, mode: str) -> IO[bytes]:
        raise OSError(number, os.strerror(number), str(path))

    generation = reader.generation
    with monkeypatch.context() as broken:
        broken.setattr(Path, "open", failing)
        assert (reader.state, reader.fault) == (TokenState.UNREADABLE, "")
        assert reader.present
        with pytest.raises(TransportError, match=os.strerror(number)):
            reader.connect()
        with pytest.raises(ControlError):
            again.wipe(reader, Profile(bytes.fromhex(serial)))
    assert look(reader).serial == serial
    assert (reader.state, reader.trouble) == (TokenState.INSERTED, "")
    assert reader.generation == generation
    again.close()


def test_a_registry_that_cannot_be_written_hinders_no_listing(
    rack: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = _make(rack, "Work")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(registry, "replace_private", full)
    look(reader)
    rack.refresh()
    with pytest.raises(OSError, match="No space left"):
        rack.remove(reader)
    assert reader.state is TokenState.INSERTED


def test_a_damaged_token_works_again_when_its_file_is_put_back(rack: Rack, folder: Home) -> None:
    reader = _make(rack)
    rack.close()
    store = folder.store(reader.serial)
    sound = store.read_bytes()
    store.write_bytes(b"\x55" * len(sound))
    (again,) = Rack(folder).readers()
    with pytest.raises(TransportError):
        again.connect()
    store.write_bytes(sound)
    again.insert(again.record)
    assert look(again).serial == reader.serial


def test_a_token_that_lost_its_key_can_be_wiped(rack: Rack, folder: Home) -> None:
    reader = _make(rack)
    rack.close()
    folder.key(reader.serial).unlink()
    again = Rack(folder)
    (hurt,) = again.readers()
    assert hurt.state is TokenState.CORRUPT
    again.wipe(hurt, Profile(bytes.fromhex(hurt.serial)))
    assert look(hurt).initialised is False


def test_a_token_under_a_passphrase_waits_for_it(rack: Rack, folder: Home) -> None:
    reader = _make(rack, "Safe", passphrase=b"open sesame")
    assert reader.present
    rack.close()
    again = Rack(folder)
    (locked,) = again.readers()
    assert (locked.present, locked.state) == (False, TokenState.LOCKED)
    with pytest.raises(TransportError):
        locked.connect()
    with pytest.raises(WrongKey):
        locked.unlock(b"open barley")
    assert locked.state is TokenState.LOCKED
    locked.unlock(b"open sesame")
    assert look(locked).serial == reader.serial


def test_the_passphrase_can_come_from_a_file(
    rack: Rack, folder: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(rack, "Safe", passphrase=b"open sesame")
    rack.close()
    secret = tmp_path / "passphrase.txt"
    secret.write_text("open sesame\nsecond line\n")
    monkeypatch.setenv("KLYUCH_PASSPHRASE_FILE", str(secret))
    (reader,) = Rack(folder).readers()
    assert reader.present


def test_listing_opens_no_token_that_was_not_used(rack: Rack, folder: Home) -> None:
    for _ in range(4):
        _make(rack)
    rack.close()
    again = Rack(folder)
    look(again.find("2"))
    again.refresh()
    assert [reader.slot_id for reader in again.readers() if reader.is_open] == [2]
    again.close()


def test_a_token_used_by_a_killed_daemon_is_looked_at_again(rack: Rack, folder: Home) -> None:
    reader = _make(rack, "Noted")
    rack.close()
    os.utime(folder.store(reader.serial), ns=(1, 1))
    again = Rack(folder)
    again.refresh()
    assert [r.is_open for r in again.readers()] == [True]
    assert again.readers()[0].record.label == ""
    again.close()
