"""``klyuch key``: keys on the token."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from host_tools.cli.confirmation import yes_option
from host_tools.cli.deletion import delete_found
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.output import json_option, print_json, print_table, working
from host_tools.cli.secret_input import PASSPHRASE, USER_PIN, secret_options
from host_tools.cli.session import opened, token_option, usable
from host_tools.control import Json

if TYPE_CHECKING:
    from host_tools.key_files import KeyParts

KEY_TYPES = (
    "RSA-2048",
    "RSA-3072",
    "RSA-4096",
    "P-256",
    "P-384",
    "P-521",
    "Ed25519",
    "X25519",
    "Ed448",
    "X448",
    "CryptoPro-A",
    "CryptoPro-B",
    "CryptoPro-C",
    "CryptoPro-XchA",
    "CryptoPro-XchB",
    "tc26-256-A",
    "tc26-256-B",
    "tc26-256-C",
    "tc26-256-D",
    "tc26-512-A",
    "tc26-512-B",
    "tc26-512-C",
)
_ALIASES = {"gost": "CryptoPro-A", "gost256": "CryptoPro-A", "gost512": "tc26-512-A"}
"""Names for people who do not choose a parameter set of GOST R 34.10-2012."""
_TAKEN = f"The token takes PEM or DER of: {', '.join(KEY_TYPES)}"
_USAGES = click.Choice(("sign", "decrypt", "derive"))


class KeyType(click.Choice[str]):
    """A key type as it is shown; case and punctuation do not matter (rsa:2048, p256, GOST-256)."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        shown = {_letters(name): name for name in self.choices}
        shown |= {alias: name for alias, name in _ALIASES.items() if name in self.choices}
        return super().convert(shown.get(_letters(value), value), param, ctx)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _id_bytes(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    try:
        return bytes.fromhex(value) if value else None
    except ValueError as error:
        raise click.BadParameter("An id is written in hexadecimal digits.") from error


id_option = click.option(
    "--id", "ident", callback=_id_bytes, help="The CKA_ID in hexadecimal; the next free one."
)


@click.group()
def key() -> None:
    """Make, list, import and delete keys."""


@key.command(
    epilog="""\b
Examples:
  klyuch key generate RSA-2048 --label mail
  klyuch key generate P-256 --label login --always-authenticate
  klyuch key generate GOST-256 --label подпись
"""
)
@click.argument("kind", metavar="TYPE", type=KeyType(KEY_TYPES))
@click.option("--label", help="The key's label; its type where none is given.")
@id_option
@click.option("--usage", multiple=True, type=_USAGES, help="What it may do; can be repeated.")
@click.option("--always-authenticate", is_flag=True, help="Ask for the PIN at every use.")
@token_option
@secret_options(USER_PIN)
@json_option
def generate(
    *,
    kind: str,
    label: str | None,
    ident: bytes | None,
    usage: tuple[str, ...],
    always_authenticate: bool,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Make a key pair on the token.

    TYPE is RSA-2048, RSA-3072, RSA-4096, P-256, P-384, P-521, Ed25519, X25519, Ed448 or X448, or
    a parameter set of GOST R 34.10-2012: CryptoPro-A, -B, -C, -XchA or -XchB, tc26-256-A to -D,
    tc26-512-A to -C. GOST-256 stands for CryptoPro-A, GOST-512 for tc26-512-A.
    """
    from host_tools import objects

    objects.check_usage(objects.SPECS[kind], usage)
    token = usable(token_name)
    user_pin = USER_PIN.read(pin, pin_file)
    with opened(token, user_pin) as session:
        ident = ident or objects.new_id(session)
        with working(f"Making a key of type {kind}"):
            objects.generate(
                session,
                objects.SPECS[kind],
                label or kind,
                ident,
                usage=usage or None,
                always_authenticate=always_authenticate,
            )
    _tell({"token": token.label, "label": label or kind, "id": ident.hex(), "type": kind}, as_json)


@key.command("list", epilog="\b\nExample:\n  klyuch key list --token Work --json\n")
@token_option
@secret_options(USER_PIN)
@json_option
def list_keys(
    *, token_name: str | None, pin: str | None, pin_file: Path | None, as_json: bool
) -> None:
    """List the keys; without the PIN only what the token shows before login."""
    from host_tools import objects

    token = usable(token_name)
    with opened(token, USER_PIN.given(pin, pin_file)) as session:
        keys = [
            {
                "label": one.label,
                "id": one.id.hex(),
                "type": str(one.spec),
                "private": bool(one.private),
                "public": bool(one.public),
                "usage": list(one.usage),
                "always_authenticate": one.always_authenticate,
            }
            for one in objects.find_keys(session)
        ]
    if as_json:
        print_json(keys)
    elif not keys:
        click.echo("No keys to be seen. Make one: klyuch key generate P-256")
    else:
        print_table(("Label", "Id", "Type", "Usage", "Halves"), [_row(one) for one in keys])


def _row(one: Json) -> tuple[str, ...]:
    usage = one["usage"]
    assert isinstance(usage, list)
    halves = [name for name in ("private", "public") if one[name]]
    words = [*usage, *(["PIN at every use"] if one["always_authenticate"] else [])]
    return (
        str(one["label"]),
        str(one["id"]),
        str(one["type"]),
        ", ".join(words),
        " and ".join(halves),
    )


@key.command(
    "import",
    epilog="""\b
Examples:
  klyuch key import mail.pem --label mail
  klyuch key import backup.p8 --passphrase-file secret.txt
""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--label", help="The key's label; the file's name where none is given.")
@id_option
@click.option("--usage", multiple=True, type=_USAGES, help="What it may do; can be repeated.")
@click.option("--always-authenticate", is_flag=True, help="Ask for the PIN at every use.")
@click.option("--passphrase", "ask_passphrase", is_flag=True, help="Ask for the file's passphrase.")
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the file's passphrase from the first line of another file.",
)
@token_option
@secret_options(USER_PIN)
@json_option
def import_key(
    *,
    file: Path,
    label: str | None,
    ident: bytes | None,
    usage: tuple[str, ...],
    always_authenticate: bool,
    ask_passphrase: bool,
    passphrase_file: Path | None,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Put the private key of a FILE (PEM or DER) on the token.

    It cannot be read back, and the file stays as it is: keep it safe or delete it.
    """
    from host_tools import objects

    passphrase = None
    if ask_passphrase or passphrase_file:
        passphrase = PASSPHRASE.read(None, passphrase_file).encode()
    parts = _key_in(file, passphrase)
    objects.check_usage(parts.spec, usage)
    token = usable(token_name)
    with opened(token, USER_PIN.read(pin, pin_file)) as session:
        ident = ident or objects.new_id(session)
        objects.import_key(
            session,
            parts,
            label or file.stem,
            ident,
            usage=usage or None,
            always_authenticate=always_authenticate,
        )
    _tell(
        {
            "token": token.label,
            "label": label or file.stem,
            "id": ident.hex(),
            "type": str(parts.spec),
        },
        as_json,
    )


def _key_in(file: Path, passphrase: bytes | None) -> "KeyParts":
    """The key in a file. Raises Failure where there is none that the token takes."""
    from host_tools.key_files import EncryptedFile, UnreadableFile, load_key

    try:
        parts = load_key(file.read_bytes(), passphrase)
    except EncryptedFile as error:
        hint = "Give it by --passphrase-file FILE, or be asked for it with --passphrase."
        raise Failure(Exit.GENERAL, f"{file}: {error}", hint) from error
    except UnreadableFile as error:
        raise Failure(Exit.GENERAL, f"{file}: {error}", _TAKEN) from error
    if str(parts.spec) not in KEY_TYPES:
        raise Failure(Exit.GENERAL, f"{file}: {parts.spec} keys do not fit on the token.", _TAKEN)
    return parts


@key.command(epilog="\b\nExample:\n  klyuch key delete mail --yes\n")
@click.argument("name", metavar="KEY")
@yes_option
@token_option
@secret_options(USER_PIN)
@json_option
def delete(
    *,
    name: str,
    yes: bool,
    token_name: str | None,
    pin: str | None,
    pin_file: Path | None,
    as_json: bool,
) -> None:
    """Delete both halves of a key, named by its label or id, for good."""
    from host_tools import objects

    delete_found(
        "key",
        lambda session: objects.find_key(session, name),
        usable(token_name),
        USER_PIN.read(pin, pin_file),
        yes=yes,
        as_json=as_json,
    )


def _tell(document: Json, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(
            f"Key {document['label']} ({document['type']}, id {document['id']}) "
            f"is on {document['token']}."
        )
