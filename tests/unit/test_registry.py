"""The registry of tokens: slot numbers that stay, and what happens when its file is lost."""

from pathlib import Path

import pytest

from host_tools.home import Home
from host_tools.registry import Record, Registry


@pytest.fixture
def folder(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


def test_records_and_slot_numbers_outlive_the_process(folder: Home) -> None:
    first = Registry(folder)
    record = Record("00" * 8, first.allot_slot(), "Ключ", inserted=False, stamp=5)
    first.put(record)
    second = Registry(folder)
    assert second.records == {"00" * 8: record}
    assert second.allot_slot() == 1


def test_a_deleted_tokens_slot_is_never_used_again(folder: Home) -> None:
    registry = Registry(folder)
    registry.put(Record("0a" * 8, registry.allot_slot()))
    registry.delete("0a" * 8)
    assert Registry(folder).allot_slot() == 1


def test_the_file_is_for_the_owner_alone(folder: Home) -> None:
    Registry(folder).put(Record("0a" * 8, 0))
    assert folder.registry.stat().st_mode & 0o777 == 0o600


def test_a_lost_registry_is_made_from_the_tokens_files(folder: Home) -> None:
    for serial in ("bb" * 8, "aa" * 8):
        folder.store(serial).touch()
    registry = Registry(folder)
    assert [(r.serial, r.slot) for r in registry.records.values()] == [("aa" * 8, 0), ("bb" * 8, 1)]
    assert registry.allot_slot() == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\xff", b"[]", b'{"next_slot": 1}', b'{"next_slot": 0, "tokens": [{"slot": 1}]}'],
)
def test_a_damaged_registry_is_put_aside_and_the_tokens_are_kept(
    folder: Home, content: bytes
) -> None:
    folder.store("aa" * 8).touch()
    folder.registry.write_bytes(content)
    assert list(Registry(folder).records) == ["aa" * 8]
    assert folder.damaged_registry.read_bytes() == content


def test_files_of_no_known_token_are_reported(folder: Home) -> None:
    registry = Registry(folder)
    registry.put(Record("aa" * 8, 0))
    for serial in ("aa" * 8, "cc" * 8):
        folder.store(serial).touch()
    assert registry.strays() == [folder.store("cc" * 8)]
