"""``klyuch control``: the HTTP API by which tests hold tokens."""

import signal

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.output import json_option, print_json
from host_tools.cli.session import resolve
from host_tools.home import current


@click.group()
def control() -> None:
    """Serve touches, fingers, power and traces over HTTP, for tests."""


@control.command(
    epilog="""\b
Examples:
  klyuch control run
  klyuch control run --port 8642
  klyuch control run --pico 6=Work
"""
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen.  [any]")
@click.option(
    "--pico",
    "ports",
    multiple=True,
    metavar="PORT=TOKEN",
    help="Let anybody on this machine touch that token and switch its power, without the bearer "
    "token, as /usbPORT/...; for python-fido2's device tests.",
)
def run(port: int, ports: tuple[str, ...]) -> None:
    """Serve the control API on the loopback address until interrupted.

    Requests need the bearer token that klyuch control token prints.
    """
    from host_tools.api.bearer import announced, bearer, running
    from host_tools.api.routes import Access
    from host_tools.api.server import ApiServer

    home = current()
    access = Access(bearer(home), _tokens(ports))
    if (served := running(home)) is not None:
        raise Failure(Exit.DAEMON, f"The control API runs already, at {served}.", "End that one.")
    try:
        server = ApiServer(home, access, port)
    except OSError as error:
        raise Failure(
            Exit.GENERAL,
            f"Nothing can listen at port {port}: {error.strerror}.",
            "Choose another port, or none.",
        ) from error
    # A shell gives its background jobs no SIGINT.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        try:
            with announced(home, server.url):
                click.echo(f"Serving the control API at {server.url}; Ctrl+C ends.")
                server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Ended.")


def _tokens(ports: tuple[str, ...]) -> dict[int, str]:
    """The token behind each port. Raises UsageError, and ControlError for one that is not there."""
    named = [_port(text) for text in ports]
    tokens = dict(named)
    if len(tokens) != len(named):
        raise click.UsageError("A port of --pico has one token: name each port once.")
    for token in tokens.values():
        resolve(token)
    return tokens


def _port(text: str) -> tuple[int, str]:
    number, equals, token = text.partition("=")
    if not (equals and token and number.isascii() and number.isdigit() and int(number) < 1000):
        raise click.UsageError(f"{text!r} is not PORT=TOKEN, with a port of 0 to 999.")
    return int(number), token


@control.command(
    epilog='\b\nExample:\n  curl -H "Authorization: Bearer $(klyuch control token)" ...\n'
)
@json_option
def token(as_json: bool) -> None:
    """Print the bearer token, which is made where there is none."""
    from host_tools.api.bearer import bearer

    value = bearer(current())
    print_json({"token": value}) if as_json else click.echo(value)


@control.command(epilog='\b\nExample:\n  curl "$(klyuch control url)/v1/tokens"\n')
@json_option
def url(as_json: bool) -> None:
    """Print where the control API listens."""
    from host_tools.api.bearer import running

    value = running(current())
    if value is None:
        raise Failure(Exit.DAEMON, "The control API does not run.", "Start it: klyuch control run")
    print_json({"url": value}) if as_json else click.echo(value)
