"""The options that say what a certificate or a request for one is to hold."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from host_tools.pki.certificates import Validity
    from host_tools.pki.profiles import Wishes

_F = TypeVar("_F", bound=Callable[..., object])
PROFILE_NAMES = ("server", "client", "signing", "qualified", "ca", "ocsp")
_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_MOMENT = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"))


def subject_option(*, required: bool) -> Callable[[_F], _F]:
    """The options ``--subject`` and ``--any-numbers``; the second without checks of ИНН and kin."""

    def add(command: _F) -> _F:
        command = click.option(
            "--any-numbers",
            is_flag=True,
            help="Take ИНН, СНИЛС, ОГРН and ОГРНИП without a look at their check digits.",
        )(command)
        return click.option(
            "--subject", required=required, help="The name, as in CN=Ann Lee,O=Acme,C=GB."
        )(command)

    return add


def parsed_subject(subject: str, any_numbers: bool) -> Any:
    """The name that ``--subject`` gives, as asn1crypto's. Raises BadParameter."""
    from host_tools.pki.errors import BadName
    from host_tools.pki.names import parse_name

    try:
        return parse_name(subject, checked=not any_numbers)
    except BadName as error:
        raise click.BadParameter(f"{error.message} {error.hint}", param_hint="--subject") from error


def moment_option(name: str, help_text: str) -> Callable[[_F], _F]:
    """An option that is a day or a moment of UTC."""
    return click.option(
        name, type=_MOMENT, metavar="DATE", callback=_in_utc, help=f"{help_text} (UTC)."
    )


def _in_utc(
    _ctx: click.Context, _parameter: click.Parameter, value: datetime | None
) -> datetime | None:
    return None if value is None else value.replace(tzinfo=UTC)


def validity_options(days: int | None) -> Callable[[_F], _F]:
    """The options ``--days``, ``--not-before`` and ``--not-after``."""

    def add(command: _F) -> _F:
        command = moment_option("--not-after", "The end of its validity, rather than --days")(
            command
        )
        command = moment_option("--not-before", "The beginning of its validity; now")(command)
        return click.option(
            "--days",
            type=click.IntRange(1, 36500),
            default=days,
            show_default=days is not None,
            help="How long it is valid.",
        )(command)

    return add


def validity(days: int, not_before: datetime | None, not_after: datetime | None) -> "Validity":
    """What those options say. Raises BadParameter for an end before the beginning."""
    from host_tools.pki.certificates import Validity

    asked = Validity.of_days(days, not_before)
    if not_after is not None:
        asked = Validity(asked.not_before, not_after)
    if asked.not_after <= asked.not_before:
        raise click.BadParameter(
            f"It would end at {asked.not_after:%Y-%m-%d %H:%M}, before it begins.",
            param_hint="--not-after",
        )
    return asked


def _policies(
    _ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        if not _OID.fullmatch(value):
            raise click.BadParameter(f"{value!r} is no identifier such as 1.2.643.100.113.1.")
    return values


def _tools(
    _ctx: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    parts = None if value is None else tuple(part.strip() for part in value.split(";"))
    if parts is not None and (len(parts) != 4 or not all(parts)):
        raise click.BadParameter("Write its four parts with ; between them.")
    return parts


_WISHES: tuple[Callable[[Any], Any], ...] = (
    click.option("--san", multiple=True, help="DNS:…, IP:…, email:… or URI:…; can be repeated."),
    click.option(
        "--policy",
        "policies",
        multiple=True,
        callback=_policies,
        help="The identifier of a certificate policy; can be repeated.",
    ),
    click.option(
        "--sign-tool", help="Of a qualified one: the subject's tool of signing (средство ЭП)."
    ),
    click.option(
        "--issuer-sign-tool",
        callback=_tools,
        metavar="TOOL;CA;PAPER;PAPER",
        help="Of a qualified one: the issuer's tools (средство ЭП, средство УЦ) and their papers.",
    ),
    click.option(
        "--identification",
        type=click.IntRange(0, 3),
        help="Of a qualified one: how the subject was identified; 0 is in person.",
    ),
)


def wish_options(command: _F) -> _F:
    """The options that :func:`wishes` reads, all but the profile."""
    for option in reversed(_WISHES):
        command = option(command)
    return command


def wishes(options: Mapping[str, Any]) -> "Wishes":
    """What those options of a command ask for. Raises PkiError for bad alternative names."""
    from host_tools.pki.profiles import Wishes, alternative_names

    given = {
        "tool": options["sign_tool"],
        "issuer_tools": options["issuer_sign_tool"],
        "identification": options["identification"],
    }
    return Wishes(
        names=alternative_names(options["san"]) if options["san"] else None,
        policies=options["policies"],
        **{name: value for name, value in given.items() if value is not None},
    )
