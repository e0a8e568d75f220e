"""``klyuch trace``, ``record`` and ``replay``: APDUs shown, kept and played again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from host_tools.cli.card import SECRETS, Place, application_option, card_options, place
from host_tools.cli.confirmation import confirm, yes_option
from host_tools.cli.failures import Exit, Failure
from host_tools.cli.out_file import OutFile, OutPath, out_option
from host_tools.cli.output import json_option, one_json, print_json, print_table, printable
from host_tools.cli.secret_input import (
    MANAGEMENT_KEY,
    SO_PIN,
    USER_PIN,
    management_key,
    secret_options,
)
from host_tools.cli.session import control, token_option_or
from host_tools.control import ControlClient, ControlError, Json

if TYPE_CHECKING:
    from apdu.recording import Entry, Head
    from host_tools.replay import Replayed

_STDERR = 2
_HEADER = ("cla", "ins", "p1", "p2")
_SCRIPT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_program = click.argument("program", nargs=-1, type=click.UNPROCESSED)


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  klyuch trace
  klyuch trace --token Work -- pkcs11-tool --module "$(klyuch module)" -O
""",
)
@token_option_or("all tokens where none is named")
@json_option
@_program
def trace(token_name: str | None, as_json: bool, program: tuple[str, ...]) -> None:
    """Show the APDUs of a token, or of all, decoded, with secrets masked.

    While PROGRAM runs, else until Ctrl+C. With --json each exchange, and each reset, is an object
    in a line of its own.
    """
    with control() as client:
        # Watched before the program begins.
        passing: Iterator[Json | str]
        passing = client.exchanges(token_name) if as_json else client.trace(token_name)
        with _while(client, _path(program), token_name, aside=as_json) as mark:
            for told in passing:
                if mark.seen(told):
                    break
                click.echo(printable(told) if isinstance(told, str) else one_json(told))


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  klyuch record --token Work -o session.klog
  klyuch record --token Work -o session.klog -- pkcs11-tool --module "$(klyuch module)" -O
  klyuch record --reader Gemalto -o session.klog --script apdus.txt
""",
)
@card_options
@application_option
@out_option("--output", "-o", required=True, type=OutPath(private=True), help="The recording.")
@click.option(
    "--script", type=_SCRIPT, help="Send the APDUs of this file (- for stdin) and record them."
)
@json_option
@_program
def record(
    *,
    reader: str | None,
    token_name: str | None,
    application: str,
    output: OutFile,
    script: Path | None,
    as_json: bool,
    program: tuple[str, ...],
) -> None:
    """Record APDUs with their timing; PINs and other secrets are masked.

    Of a token of ours what other programs send is recorded: while PROGRAM runs, else until Ctrl+C.
    PC/SC shows nobody what others send: to a card in a reader the APDUs of a script are sent, a
    line of hexadecimal each, or the word reset; text after # is left out. --app names the
    application whose PINs a replay is given; what SELECT chooses is followed anyway.
    """
    from apdu.recording import Head, write

    where = place(reader, token_name)
    if script is None and where.reader:
        raise Failure(
            Exit.USAGE,
            "PC/SC does not show what other programs send to a card in a reader.",
            "Give the APDUs to send: --script FILE",
        )
    if script is not None and program:
        raise Failure(Exit.USAGE, "Give a script or a program, not both.")
    steps = [] if script is None else _read_script(script)
    # Before there is a file.
    path = _path(program)
    head = Head(application, where.name, datetime.now(UTC).isoformat(timespec="seconds"))
    with output.opened() as file:
        file.write(write(head))
        entries = (
            _watched(where, path, aside=as_json)
            if script is None
            else _sent(where, application, steps)
        )
        written = 0
        # Ctrl+C ends what has no end of its own, also while an exchange is being written.
        with suppress(*(() if program or steps else (KeyboardInterrupt,))):
            for entry in entries:
                _keep(file, entry)
                written += 1
    if as_json:
        print_json({"recording": str(output), "entries": written})
    else:
        click.echo(f"{output} holds {written} exchanges.")


@click.command(
    epilog="""\b
Examples:
  klyuch replay session.klog --token Spare --pin-file pin.txt
  klyuch replay session.klog --reader Gemalto --json
"""
)
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@card_options
@click.option("--door", type=click.IntRange(0), help="Only what passed on this way to the card.")
@yes_option
@click.option("--last-try", is_flag=True, help="Enter also a PIN that has but one try left.")
@secret_options(USER_PIN, SO_PIN, MANAGEMENT_KEY)
@json_option
def replay(
    *,
    recording: Path,
    reader: str | None,
    token_name: str | None,
    door: int | None,
    yes: bool,
    last_try: bool,
    as_json: bool,
    **secrets: str | Path | None,
) -> None:
    """Play a recording to another card and show the differences; with any, the exit code is 1.

    What differs from card to card, as random bytes, signatures and new public keys do, is compared
    by its length and form, and what a PIV key makes with its public key. VERIFY gets the PINs that
    are given, those of the application that was named when it was recorded, and PIV's management
    key is proven by the one that is given, in hexadecimal; what else is masked is skipped. A PIN
    that the card refuses costs a try, and is not sent again.
    """
    from host_tools.replay import Outcome, Player, changing

    head, entries = _read_recording(recording)
    entries = _passed(entries, door)
    where = place(reader, token_name)
    if where.reader:
        _check_one_door(entries)
    if commands := changing(head.application, entries):
        confirm(f"{where.name} will be changed by {', '.join(commands)}. Go on?", yes)
    pins = _given_pins(head.application, secrets)
    key = MANAGEMENT_KEY.given(*MANAGEMENT_KEY.among(secrets))
    proving = None if key is None else management_key(key)
    with ExitStack() as stack:
        player = Player(
            head.application,
            lambda: stack.enter_context(where.opened()),
            pins,
            proving,
            last_try=last_try,
        )
        played = list(player.play(entries))
    _report(played, head.card, where.name, as_json)
    if any(item.outcome is Outcome.DIFFERENT for item in played):
        raise click.exceptions.Exit(1)
    if all(item.outcome is Outcome.SKIPPED for item in played):
        raise Failure(
            Exit.GENERAL,
            "Nothing was compared: no exchange could be played.",
            "Give the PINs or the management key, or another recording.",
        )


def _read_recording(path: Path) -> tuple[Head, list[Entry]]:
    """A recording; a last line that was cut short is told and left out. Raises Failure."""
    from apdu.recording import RecordingError, read, whole

    try:
        text, cut = whole(path.read_text(encoding="utf-8"))
        recording = read(text)
    except (RecordingError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, RecordingError) else "It is no text."
        raise Failure(Exit.USAGE, f"{path} cannot be played: {reason}") from error
    if cut:
        click.echo(f"The last line of {path} is cut short, and left out.", err=True)
    return recording


def _given_pins(application: str, options: Mapping[str, str | Path | None]) -> dict[str, str]:
    """The PINs of an application that are given among the options of a command, by their names."""
    from host_tools.conformance.examination import KINDS

    wanted = ((name, SECRETS[name]) for name in KINDS[application].references)
    given = {name: secret.given(*secret.among(options)) for name, secret in wanted}
    return {name: value for name, value in given.items() if value is not None}


def _passed(entries: Sequence[Entry], door: int | None) -> list[Entry]:
    """What passed on a way to the card, on all for None. Raises Failure where nothing did."""
    if not entries:
        raise Failure(Exit.USAGE, "The recording holds no exchanges.", "Record some first.")
    passed = [entry for entry in entries if door is None or entry.door == door]
    if not passed:
        doors = sorted({entry.door for entry in entries})
        raise Failure(
            Exit.USAGE, f"Nothing was recorded on door {door}.", f"Choose one of {doors}."
        )
    return passed


def _check_one_door(entries: Sequence[Entry]) -> None:
    """Raises Failure where several ways to the card were recorded: a reader has but one."""
    doors = sorted({entry.door for entry in entries})
    if len(doors) > 1:
        raise Failure(
            Exit.USAGE,
            f"Several ways to the card were recorded ({doors}), a reader has but one.",
            "Choose one by --door.",
        )


def _report(played: Sequence[Replayed], recorded_on: str, name: str, as_json: bool) -> None:
    from host_tools.replay import Outcome

    counts = {outcome: sum(item.outcome is outcome for item in played) for outcome in Outcome}
    if as_json:
        document = {"recorded": recorded_on, "card": name, "counts": counts}
        print_json({**document, "exchanges": [asdict(item) for item in played]})
        return
    rows = [
        (str(item.number), item.name, item.outcome, *item.told, item.reason)
        for item in played
        if item.outcome is not Outcome.SAME
    ]
    if rows:
        columns = ("", "Command", "", f"On {recorded_on}", f"On {name}", "")
        print_table(columns, rows, "What differs")
    click.echo(f"{', '.join(f'{count} {outcome}' for outcome, count in counts.items())}.")


@dataclass(frozen=True, slots=True)
class _Mark:
    """A command that nobody else sends: where it passes, the program that was watched has ended."""

    header: bytes

    def seen(self, told: Json | str) -> bool:
        """Whether a line of a trace, or an exchange in fields, is this command."""
        if isinstance(told, str):
            return self.header.hex(" ").upper() in told
        return [told.get(name) for name in _HEADER] == [f"{byte:02x}" for byte in self.header]


@contextmanager
def _while(
    client: ControlClient, program: Sequence[str], token: str | None, *, aside: bool
) -> Iterator[_Mark]:
    """Run a program beside, and let the mark pass when it has ended. Raises Failure as it fails.

    Where no token is there any more that it could pass at, `client` is closed instead. With `aside`
    what the program prints goes to stderr: stdout is for JSON.
    """
    # An instruction that no application has; no answer to it changes anything.
    mark = _Mark(b"\x00\x1a" + os.urandom(2))
    if not program:
        with suppress(KeyboardInterrupt):
            yield mark
        return
    codes: list[int] = []
    closed = threading.Event()

    def run() -> None:
        printed = _STDERR if aside else None
        done = subprocess.run(program, stdout=printed, check=False)
        codes.append(done.returncode)
        try:
            _pass(mark, token)
        except ControlError:
            closed.set()
            client.interrupt()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield mark
    except ControlError:
        if not closed.is_set():
            raise
    thread.join()
    if codes[0]:
        raise Failure(Exit.GENERAL, f"{program[0]} ended with exit code {codes[0]}.")


def _path(program: Sequence[str]) -> Sequence[str]:
    """The program, where there is one, by its path. Raises Failure where that leads to none."""
    if not program:
        return program
    path = shutil.which(program[0])
    if path is None:
        raise Failure(Exit.USAGE, f"There is no program {program[0]!r}.")
    return (path, *program[1:])


def _pass(mark: _Mark, token: str | None) -> None:
    """Send the mark to the token, to any that is inserted for None. Raises ControlError."""
    with control() as client:
        if token is None:
            tokens = client.call("token.list")["tokens"]
            assert isinstance(tokens, list)
            inserted = [item["serial"] for item in tokens if item["state"] == "inserted"]
            token = next(iter(inserted), "")
        client.call("apdu", token=token, commands=[mark.header.hex()])


def _watched(where: Place, program: Sequence[str], *, aside: bool) -> Iterator[Entry]:
    """What other programs send to a token of ours, the ways numbered as they are used."""
    from dataclasses import replace

    from apdu.recording import read_entry

    doors: dict[int, int] = {}
    with control() as client:
        passing = client.record(where.serial)
        with _while(client, program, where.serial, aside=aside) as mark:
            for fields in passing:
                entry = read_entry(fields)
                if entry.command == mark.header:
                    break
                yield replace(entry, door=doors.setdefault(entry.door, len(doors)))


def _sent(where: Place, application: str, steps: Sequence[bytes | None]) -> Iterator[Entry]:
    """What a script sends; None is a reset."""
    import time

    from apdu.model import APPLICATIONS
    from apdu.recording import Mask, Recorder

    began = time.perf_counter()
    made: list[Entry] = []
    with where.opened() as card:
        recorder = Recorder(
            card,
            made.append,
            Mask(APPLICATIONS[application]),
            0,
            lambda: time.perf_counter() - began,
        )
        for step in steps:
            if step is None:
                card.reset()
                recorder.was_reset()
            else:
                recorder.transceive(step)
            yield made.pop()


def _read_script(path: Path) -> list[bytes | None]:
    """The steps of a script. Raises Failure with the line that is none."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(Exit.USAGE, "The script is no text.") from error
    steps: list[bytes | None] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if words == "reset":
            steps.append(None)
        elif words:
            try:
                steps.append(bytes.fromhex(words))
            except ValueError as error:
                raise Failure(
                    Exit.USAGE, f"Line {number} of the script is neither hexadecimal nor reset."
                ) from error
    return steps


def _keep(file: TextIO, entry: Entry) -> None:
    """Write at once: whatever ends the recording, what passed before is there."""
    from apdu.recording import write_entry

    file.write(write_entry(entry))
    file.flush()
