"""The file that holds a token's storage key, apart from the token.

Either the 32 bytes of the key themselves, or the key encrypted under a passphrase: Argon2id
(RFC 9106) makes a key from the passphrase, AES-256-GCM under that key encrypts the storage key
and authenticates the parameters. The file has mode 0600 in both cases.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from token_fw.storage import files
from token_fw.storage.base import StorageCorrupt, StorageError, StorageRefused, WrongKey

KEY_SIZE = 32
_SALT_SIZE = 16
_NONCE_SIZE = 12
_TAG_SIZE = 16
_FORMAT = "klyuch storage key 1"
_LARGEST_FILE = 4096


@dataclass(frozen=True, slots=True)
class Cost:
    """What Argon2id costs; the default is the second choice of RFC 9106 4: 64 MiB."""

    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 64 * 1024

    def within_reason(self) -> bool:
        """Whether a file may ask for this: at most 4 GiB, and what Argon2 allows (3.1)."""
        return (
            1 <= self.iterations <= 1000
            and 1 <= self.lanes <= 64
            and 8 * self.lanes <= self.memory_kib <= 4 * 1024 * 1024
        )


def create(
    path: Path,
    passphrase: bytes | None = None,
    *,
    cost: Cost | None = None,
    rng: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Make a storage key, write its file and give the key (32 bytes).

    Raises StorageError where the file exists or cannot be written.
    """
    if path.exists():
        raise StorageError(f"{path} exists; it holds the key of a token and is not overwritten")
    key = rng(KEY_SIZE)
    _write(path, key, passphrase, cost or Cost(), rng)
    return key


def load(path: Path, passphrase: bytes | None = None) -> bytes:
    """Give the storage key (32 bytes).

    Raises WrongKey for a wrong passphrase, one that is missing or one that is not needed;
    StorageCorrupt for a damaged file; StorageRefused for one that is open to others; StorageError
    for one that is absent or cannot be read.
    """
    content = _read(path)
    if len(content) == KEY_SIZE:
        if passphrase is not None:
            raise WrongKey(f"{path} is not protected by a passphrase")
        return content
    if passphrase is None:
        raise WrongKey(f"{path} is protected by a passphrase")
    return _unwrap(path, content, passphrase)


def is_protected(path: Path) -> bool:
    """Whether a passphrase is needed. Raises StorageError where the file cannot be read."""
    return len(_read(path)) != KEY_SIZE


def change_passphrase(
    path: Path,
    old: bytes | None,
    new: bytes | None,
    *,
    cost: Cost | None = None,
    rng: Callable[[int], bytes] = os.urandom,
) -> None:
    """Protect the same storage key by another passphrase, or by none; errors as in `load`."""
    _write(path, load(path, old), new, cost or Cost(), rng)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise StorageRefused(
            f"{path} can be read by others (mode {mode:03o}); run: chmod 600 {path}"
        )
    return content


def _write(
    path: Path,
    key: bytes,
    passphrase: bytes | None,
    cost: Cost,
    rng: Callable[[int], bytes],
) -> None:
    content = key if passphrase is None else _wrap(key, passphrase, cost, rng)
    try:
        files.replace_private(path, content)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def _wrap(key: bytes, passphrase: bytes, cost: Cost, rng: Callable[[int], bytes]) -> bytes:
    salt, nonce = rng(_SALT_SIZE), rng(_NONCE_SIZE)
    wrapped = _cipher(passphrase, salt, cost).encrypt(nonce, key, _authenticated(salt, cost))
    fields = {
        "format": _FORMAT,
        "kdf": "argon2id",
        **asdict(cost),
        "salt": salt.hex(),
        "nonce": nonce.hex(),
        "wrapped_key": wrapped.hex(),
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def _unwrap(path: Path, content: bytes, passphrase: bytes) -> bytes:
    try:
        fields = json.loads(content)
        if (fields["format"], fields["kdf"]) != (_FORMAT, "argon2id"):
            raise ValueError
        cost = Cost(
            iterations=int(fields["iterations"]),
            lanes=int(fields["lanes"]),
            memory_kib=int(fields["memory_kib"]),
        )
        salt, nonce, wrapped = (
            bytes.fromhex(fields[name]) for name in ("salt", "nonce", "wrapped_key")
        )
        sizes = (len(salt), len(nonce), len(wrapped))
        if sizes != (_SALT_SIZE, _NONCE_SIZE, KEY_SIZE + _TAG_SIZE) or not cost.within_reason():
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise StorageCorrupt(f"{path} is not a storage key") from None
    try:
        return _cipher(passphrase, salt, cost).decrypt(nonce, wrapped, _authenticated(salt, cost))
    except InvalidTag:
        raise WrongKey(f"the passphrase does not open {path}") from None


def _cipher(passphrase: bytes, salt: bytes, cost: Cost) -> AESGCM:
    derivation = Argon2id(
        salt=salt,
        length=KEY_SIZE,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return AESGCM(derivation.derive(passphrase))


def _authenticated(salt: bytes, cost: Cost) -> bytes:
    return f"{_FORMAT} {cost.iterations} {cost.lanes} {cost.memory_kib} {salt.hex()}".encode()
