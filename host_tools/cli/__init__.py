"""The program ``klyuch``."""

import sys

_AS_THE_LIBRARY_DOES = ["serve", "--detached", "--ready-fd"]


def main() -> None:
    """The entry point: the daemon for a program that waits for it, else the command line."""
    arguments = sys.argv[1:]
    if arguments[:3] == _AS_THE_LIBRARY_DOES and len(arguments) == 4 and arguments[3].isdecimal():
        # To load the command line takes longer than to load what the daemon needs to listen.
        from host_tools.background import serve

        serve(int(arguments[3]))
    else:
        from host_tools.cli.commands import cli

        cli(prog_name="klyuch")
