"""Where PINs and passphrases come from: a file, the environment or a prompt without echo."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from host_tools.cli.failures import Exit, Failure

_F = TypeVar("_F", bound=Callable[..., object])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Secret:
    """One kind of secret: what to call it, its option and its environment variable."""

    title: str
    option: str
    variable: str

    @property
    def source(self) -> str:
        """How to give it, as a sentence."""
        return f"Give it by --{self.option}-file FILE or in {self.variable}."

    def given(self, value: str | None, file: Path | None) -> str | None:
        """The secret where it can be had without asking: option, file, environment.

        Raises Failure for what is no text in UTF-8.
        """
        if value is None and file is not None:
            return first_line(file)
        given = os.environ.get(self.variable) or None if value is None else value
        try:
            # What Python cannot read of an argument or the environment stands for single bytes.
            (given or "").encode()
        except UnicodeEncodeError as error:
            raise Failure(
                Exit.USAGE, f"The {self.title} is no text in UTF-8.", "Give it as UTF-8 text."
            ) from error
        return given

    def among(self, options: Mapping[str, str | Path | None]) -> tuple[str | None, Path | None]:
        """The values of its two options among those of a command."""
        parameter = self.option.replace("-", "_")
        value, file = options[parameter], options[f"{parameter}_file"]
        return (None if value is None else str(value)), (None if file is None else Path(file))

    def read(self, value: str | None, file: Path | None, *, confirm: bool = False) -> str:
        """The secret, asked for where it was not given. Raises Failure with no terminal to ask."""
        secret = self.given(value, file)
        return self.ask(confirm=confirm) if secret is None else secret

    def ask(self, *, confirm: bool = False) -> str:
        if not sys.stdin.isatty():
            raise Failure(
                Exit.USAGE,
                f"The {self.title} is needed, and there is no terminal to ask for it.",
                self.source,
            )
        answer: str = click.prompt(
            self.title, hide_input=True, confirmation_prompt=confirm, err=True
        )
        return answer


USER_PIN = Secret("user PIN", "pin", "KLYUCH_PIN")
SO_PIN = Secret("SO PIN", "so-pin", "KLYUCH_SO_PIN")
PUK = Secret("PUK", "puk", "KLYUCH_PUK")
MANAGEMENT_KEY = Secret("management key", "management-key", "KLYUCH_MANAGEMENT_KEY")
FIDO_PIN = Secret("FIDO PIN", "pin", "KLYUCH_FIDO_PIN")
NEW_PIN = Secret("new PIN", "new-pin", "KLYUCH_NEW_PIN")
PASSPHRASE = Secret("passphrase", "passphrase", "KLYUCH_PASSPHRASE")
ISSUER_PASSPHRASE = Secret(
    "passphrase of the CA above", "issuer-passphrase", "KLYUCH_ISSUER_PASSPHRASE"
)
CONTAINER_PASSPHRASE = Secret(
    "passphrase of the container", "container-passphrase", "KLYUCH_CONTAINER_PASSPHRASE"
)


_MANAGEMENT_KEYS = (16, 24, 32)


def management_key(text: str) -> bytes:
    """The bytes of a management key in hexadecimal. Raises Failure for what is none."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) not in _MANAGEMENT_KEYS:
        raise Failure(Exit.USAGE, "The management key is not 16, 24 or 32 bytes in hexadecimal.")
    return key


def first_line(file: Path) -> str:
    """The first line of a file, without its end."""
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise Failure(
            Exit.USAGE, f"{file} is no text in UTF-8.", "Write the secret to it as UTF-8 text."
        ) from error
    except OSError as error:
        raise Failure(Exit.USAGE, f"{file} cannot be read: {error.strerror}.") from error


def secret_options(*secrets: Secret) -> Callable[[_F], _F]:
    """The two options of each secret: arguments ``<name>`` and ``<name>_file``."""

    def add(command: _F) -> _F:
        for secret in reversed(secrets):
            command = click.option(
                f"--{secret.option}",
                help=f"The {secret.title}; for tests only, other users of this machine can see it.",
            )(command)
            command = click.option(
                f"--{secret.option}-file",
                type=_FILE,
                help=f"Read the {secret.title} from the first line of a file.",
            )(command)
        return command

    return add
