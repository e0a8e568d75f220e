"""The commands of ``klyuch``; each is loaded when it is called, to start fast."""

from importlib import import_module

import click

from host_tools.cli.failures import EXIT_CODES, reported

_COMMANDS = {
    "token": "host_tools.cli.token:token",
    "pin": "host_tools.cli.pin:pin",
    "touch": "host_tools.cli.touch:touch",
    "control": "host_tools.cli.control_api:control",
    "finger": "host_tools.cli.finger:finger",
    "key": "host_tools.cli.key:key",
    "cert": "host_tools.cli.cert:cert",
    "sign": "host_tools.cli.sign:sign",
    "verify": "host_tools.cli.verify:verify",
    "fido": "host_tools.cli.fido:fido",
    "conformance": "host_tools.cli.conformance:conformance",
    "trace": "host_tools.cli.recording:trace",
    "record": "host_tools.cli.recording:record",
    "replay": "host_tools.cli.recording:replay",
    "module": "host_tools.cli.service:module",
    "reader": "host_tools.cli.reader:reader",
    "serve": "host_tools.cli.service:serve",
    "stop": "host_tools.cli.service:stop",
    "doctor": "host_tools.cli.checks:doctor",
    "demo": "host_tools.cli.checks:demo",
}
_SUMMARIES = {
    "token": "Make tokens, plug them in and out, reset and delete them.",
    "pin": "See, change and unblock PINs.",
    "touch": "Touch a token, for a key that asks for it.",
    "control": "Serve touches, fingers and power over HTTP, for tests.",
    "finger": "Enrol fingers that stand for PINs, and put them on the sensor.",
    "key": "Make, list, import and delete keys.",
    "cert": "Request, issue, import and export certificates.",
    "sign": "Sign a file or a PDF document (CMS, CAdES).",
    "verify": "Verify the signatures of a file.",
    "fido": "See the token as a FIDO2 authenticator: credentials, fingers.",
    "conformance": "Examine a card in a reader, or a token, by the standard.",
    "trace": "Show the APDUs of a token as they pass.",
    "record": "Record the APDUs of a card.",
    "replay": "Play a recording to another card and compare.",
    "module": "Print the path of the PKCS#11 library.",
    "reader": "Show the tokens in readers of pcscd.",
    "serve": "Run the daemon that holds the tokens.",
    "stop": "Stop the daemon.",
    "doctor": "Check this installation and this home.",
    "demo": "Show a token at work, in a throw-away home.",
}


class _Commands(click.Group):
    """A group that imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))

    def invoke(self, ctx: click.Context) -> object:
        with reported():
            return super().invoke(ctx)


def _epilog() -> str:
    codes = "\n".join(f"  {code.value}  {code.meaning}" for code in EXIT_CODES)
    return f"""\b
Environment:
  KLYUCH_HOME             the home folder (default ~/.local/share/klyuch)
  KLYUCH_TOKEN            the token to use where none is named
  KLYUCH_PIN, KLYUCH_SO_PIN, KLYUCH_NEW_PIN
                          the user PIN, the SO PIN, and the new PIN of a change
  KLYUCH_PASSPHRASE, KLYUCH_ISSUER_PASSPHRASE, KLYUCH_CONTAINER_PASSPHRASE
                          of a key file or CA, of the CA above, of a new container
  KLYUCH_FIDO_PIN         the PIN of the token as an authenticator
  KLYUCH_PASSPHRASE_FILE  opens tokens made with a passphrase
  KLYUCH_IDLE             seconds before a daemon nobody uses leaves (300)
  KLYUCH_DEBUG            if set, the PKCS#11 library says on stderr why it fails

\b
Exit codes:
{codes}

\b
Examples:
  klyuch token create Work
  klyuch key generate P-256 --label mail
  pkcs11-tool --module "$(klyuch module)" -O
"""


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from host_tools.version import version

        click.echo(f"klyuch {version()}")
        ctx.exit()


@click.group(
    cls=_Commands, epilog=_epilog(), context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and leave.",
)
def cli() -> None:
    """Klyuch: a hardware security token in software."""
