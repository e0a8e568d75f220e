"""The file of the storage key: bare or under a passphrase, private, never half written."""

import json
import os
import stat
from pathlib import Path

import pytest

from token_fw.storage import StorageCorrupt, StorageError, WrongKey, keyfile

CHEAP = keyfile.Cost(iterations=1, lanes=1, memory_kib=8)
PASSPHRASE = "ключ от сейфа".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token.key"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_bare_key_is_its_32_bytes(path: Path) -> None:
    key = keyfile.create(path)
    assert path.read_bytes() == key == keyfile.load(path)
    assert len(key) == 32
    assert not keyfile.is_protected(path)


def test_two_keys_differ(path: Path) -> None:
    assert keyfile.create(path) != keyfile.create(path.with_name("other.key"))


def test_a_protected_key_opens_with_its_passphrase_alone(path: Path) -> None:
    key = keyfile.create(path, PASSPHRASE, cost=CHEAP)
    assert keyfile.is_protected(path)
    assert keyfile.load(path, PASSPHRASE) == key
    for wrong in (b"", b"wrong", PASSPHRASE + b" ", PASSPHRASE[:-1]):
        with pytest.raises(WrongKey, match="passphrase does not open"):
            keyfile.load(path, wrong)


def test_a_protected_file_shows_its_parameters_and_neither_key_nor_passphrase(path: Path) -> None:
    key = keyfile.create(path, PASSPHRASE, cost=CHEAP)
    fields = json.loads(path.read_bytes())
    assert fields["kdf"] == "argon2id"
    assert (fields["iterations"], fields["lanes"], fields["memory_kib"]) == (1, 1, 8)
    content = path.read_bytes()
    for secret in (key, PASSPHRASE, key.hex().encode(), PASSPHRASE.hex().encode()):
        assert secret not in content


def test_the_default_cost_is_the_one_of_rfc_9106(path: Path) -> None:
    key = keyfile.create(path, PASSPHRASE)
    fields = json.loads(path.read_bytes())
    assert (fields["iterations"], fields["lanes"], fields["memory_kib"]) == (3, 4, 65536)
    assert keyfile.load(path, PASSPHRASE) == key


def test_a_missing_or_needless_passphrase_is_said_to_be_that(path: Path) -> None:
    keyfile.create(path, PASSPHRASE, cost=CHEAP)
    with pytest.raises(WrongKey, match="is protected"):
        keyfile.load(path)
    bare = path.with_name("bare.key")
    keyfile.create(bare)
    with pytest.raises(WrongKey, match="is not protected"):
        keyfile.load(bare, PASSPHRASE)


def test_the_passphrase_changes_and_the_key_stays(path: Path) -> None:
    key = keyfile.create(path)
    keyfile.change_passphrase(path, None, PASSPHRASE, cost=CHEAP)
    assert keyfile.load(path, PASSPHRASE) == key
    with pytest.raises(WrongKey):
        keyfile.change_passphrase(path, b"wrong", b"new", cost=CHEAP)
    keyfile.change_passphrase(path, PASSPHRASE, b"new", cost=CHEAP)
    assert keyfile.load(path, b"new") == key
    keyfile.change_passphrase(path, b"new", None)
    assert keyfile.load(path) == key


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
def test_only_the_owner_may_read_it_whatever_the_umask(umask: int, path: Path) -> None:
    before = os.umask(umask)
    try:
        keyfile.create(path, PASSPHRASE, cost=CHEAP)
        assert mode(path) == 0o600
        keyfile.change_passphrase(path, PASSPHRASE, None)
        assert mode(path) == 0o600
    finally:
        os.umask(before)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("open_mode", [0o640, 0o604, 0o660, 0o666, 0o777], ids=oct)
def test_a_file_open_to_others_is_refused_with_the_remedy(open_mode: int, path: Path) -> None:
    keyfile.create(path)
    path.chmod(open_mode)
    with pytest.raises(StorageError, match=f"chmod 600 {path}"):
        keyfile.load(path)


def test_a_key_is_never_overwritten_by_another(path: Path) -> None:
    key = keyfile.create(path)
    with pytest.raises(StorageError, match="not overwritten"):
        keyfile.create(path)
    assert keyfile.load(path) == key


def test_what_is_absent_or_no_file_is_an_error(path: Path) -> None:
    for bad in (path, path.parent, path / "below"):
        with pytest.raises(StorageError, match="cannot be read"):
            keyfile.load(bad)
    with pytest.raises(StorageError, match="cannot be written"):
        keyfile.create(path.parent / "nowhere" / "token.key")


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "something else"},
        {"kdf": "md5"},
        {"iterations": 0},
        {"iterations": 10**9},
        {"iterations": "many"},
        {"lanes": 0},
        {"memory_kib": 10**9},
        {"memory_kib": None},
        {"salt": "00"},
        {"salt": "not hexadecimal"},
        {"nonce": ""},
        {"nonce": 5},
        {"wrapped_key": "00"},
    ],
    ids=str,
)
def test_a_file_with_impossible_fields_is_corrupt(fields: dict[str, object], path: Path) -> None:
    keyfile.create(path, PASSPHRASE, cost=CHEAP)
    change(path, **fields)
    with pytest.raises(StorageCorrupt):
        keyfile.load(path, PASSPHRASE)


def test_changed_parameters_do_not_open_it(path: Path) -> None:
    keyfile.create(path, PASSPHRASE, cost=CHEAP)
    change(path, iterations=2)
    with pytest.raises(WrongKey):
        keyfile.load(path, PASSPHRASE)


@pytest.mark.parametrize(
    "content",
    [b"", b"short", bytes(31), bytes(33), b"{}", b"[1]" * 20, b"\xff" * 5000, b"5"],
    ids=len,
)
def test_something_else_is_not_a_key(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StorageCorrupt, match="not a storage key"):
        keyfile.load(path, PASSPHRASE)
    with pytest.raises(StorageError):
        keyfile.load(path)


def test_a_write_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keyfile.create(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            keyfile.change_passphrase(path, None, PASSPHRASE, cost=CHEAP)
    assert keyfile.load(path) == key
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_draft_left_by_a_cut_does_not_hinder(path: Path) -> None:
    path.with_name(path.name + ".draft").write_bytes(b"half")
    key = keyfile.create(path)
    assert keyfile.load(path) == key
    assert [file.name for file in path.parent.iterdir()] == [path.name]
