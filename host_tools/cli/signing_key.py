"""The key that a command signs with: one of the token, or one in a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from host_tools.cli.secret_input import PASSPHRASE, USER_PIN, Secret
from host_tools.cli.session import opened, usable

if TYPE_CHECKING:
    from asn1crypto import x509

    from host_tools.pki.signer import FileSigner, Signer
    from token_fw.crypto import PrivateKey

_F = TypeVar("_F", bound=Callable[..., object])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def passphrase_file_option(secret: Secret, whose: str) -> Callable[[_F], _F]:
    """The option that names a file with a passphrase; it is never given on the command line."""
    return click.option(
        f"--{secret.option}-file",
        type=_FILE,
        help=f"Read the passphrase of {whose} from the first line of a file.",
    )


def key_file_options(command: _F) -> _F:
    """The options ``--key-file`` and ``--passphrase-file``."""
    command = passphrase_file_option(PASSPHRASE, "the key file")(command)
    return click.option(
        "--key-file", type=_FILE, help="Take a private key in a file (PEM, DER or PKCS #12)."
    )(command)


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """Which key it is, and the secrets that open it, as the options have them."""

    key: str | None
    key_file: Path | None
    passphrase_file: Path | None
    token_name: str | None
    pin: str | None
    pin_file: Path | None

    @contextmanager
    def opened(self) -> "Iterator[Signer]":
        """Who signs, for as long as the session with the token lasts.

        Raises UsageError where there is not one key but none or two.
        """
        from host_tools.pki.signer import TokenSigner

        if (self.key is None) == (self.key_file is None):
            raise click.UsageError("Name a key of the token, or give a file by --key-file.")
        if self.key_file is not None:
            yield file_signer(self.key_file, PASSPHRASE, self.passphrase_file)
            return
        assert self.key is not None
        user_pin = USER_PIN.read(self.pin, self.pin_file)
        with opened(usable(self.token_name), user_pin) as session:
            yield TokenSigner.find(session, self.key, user_pin)


def file_signer(file: Path, secret: Secret, passphrase_file: Path | None) -> "FileSigner":
    """The key in a file as one that signs. Raises UnreadableFile."""
    from host_tools.pki.signer import FileSigner

    return FileSigner(file_key(file, secret, passphrase_file))


def file_key(file: Path, secret: Secret, passphrase_file: Path | None) -> "PrivateKey":
    """The key in a file; its passphrase is asked for where it has one. Raises UnreadableFile."""
    return certified_file_key(file, secret, passphrase_file)[0]


def certified_file_key(
    file: Path, secret: Secret, passphrase_file: Path | None
) -> "tuple[PrivateKey, tuple[x509.Certificate, ...]]":
    """The same with the certificates of a PKCS #12 container; other files have none."""
    from host_tools.key_files import (
        EncryptedFile,
        UnreadableFile,
        WrongPassphrase,
        load_certified_key,
    )

    content = file.read_bytes()
    try:
        try:
            return load_certified_key(content)
        except EncryptedFile:
            return load_certified_key(content, secret.read(None, passphrase_file).encode())
    except UnreadableFile as error:
        hint = secret.source if isinstance(error, WrongPassphrase) else error.hint
        raise type(error)(f"{file}: {error.message}", hint) from error
