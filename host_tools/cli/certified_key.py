"""The key a command signs documents with, and the certificates that are kept beside it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.secret_input import PASSPHRASE, USER_PIN, secret_options
from host_tools.cli.session import opened, token_option, usable
from host_tools.cli.signing_key import certified_file_key, key_file_options

if TYPE_CHECKING:
    from asn1crypto import x509

    from host_tools.cryptoki import Session
    from host_tools.pki.signer import Signer, TokenSigner

_F = TypeVar("_F", bound=Callable[..., object])


def certified_key_options(command: _F) -> _F:
    """The options that choose a key and open it; their arguments make a CertifiedKey."""
    for option in (secret_options(USER_PIN), token_option, key_file_options):
        command = option(command)
    return click.option(
        "--key", "key_name", help="The token's key, by its label or id; the certified one."
    )(command)


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """What the options of :func:`certified_key_options` say. Raises UsageError for two keys."""

    key_name: str | None
    key_file: Path | None
    passphrase_file: Path | None
    token_name: str | None
    pin: str | None
    pin_file: Path | None

    def __post_init__(self) -> None:
        if self.key_name and self.key_file:
            raise click.UsageError("--key and --key-file name two keys: give one.")

    @contextmanager
    def opened(self) -> "Iterator[tuple[Signer, list[x509.Certificate]]]":
        """The signer, and the certificates that are kept where it is."""
        from host_tools.pki.signer import FileSigner

        if self.key_file:
            key, beside = certified_file_key(self.key_file, PASSPHRASE, self.passphrase_file)
            yield FileSigner(key), _readable(one.dump() for one in beside)
            return
        token = usable(self.token_name)
        pin = USER_PIN.read(self.pin, self.pin_file)
        with opened(token, pin) as session:
            held = _held(session)
            yield _of_token(session, self.key_name, held, pin), held


def _held(session: "Session") -> "list[x509.Certificate]":
    from host_tools import objects

    return _readable(one.value for one in objects.find_certificates(session))


def _readable(certificates: Iterable[bytes]) -> "list[x509.Certificate]":
    """Those (DER) that can be read; where keys are kept there may be others."""
    from host_tools.pki.errors import Malformed
    from host_tools.signing.structures import certificates_in

    found = []
    for one in certificates:
        try:
            found += certificates_in(one)
        except Malformed:
            continue
    return found


def _of_token(
    session: "Session", name: str | None, held: "list[x509.Certificate]", pin: str
) -> "TokenSigner":
    """The named key, or the only one that may sign and has a certificate there. Raises Failure."""
    from host_tools import objects
    from host_tools.pki.signer import TokenSigner
    from host_tools.signing.structures import key_of

    if name is not None:
        return TokenSigner.find(session, name, pin)
    certified = {key_of(one) for one in held}
    signers = [
        signer
        for key in objects.find_keys(session)
        if key.private
        and "sign" in key.usage
        and (signer := TokenSigner(session, key, pin)).public_key().to_spki() in certified
    ]
    if not signers:
        raise Failure(
            Exit.NOT_FOUND,
            "There is no key with a certificate on the token.",
            "Name a key by --key and its certificate by --cert, or: klyuch cert import FILE",
        )
    if len(signers) > 1:
        names = ", ".join(one.key.label or one.key.id.hex() for one in signers)
        raise Failure(Exit.CONFLICT, f"Several keys can sign: {names}.", "Name one by --key.")
    return signers[0]
