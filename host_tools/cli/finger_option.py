"""The finger that an enrolment puts on the sensor itself."""

import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import click

from host_tools.cli.failures import Exit, Failure
from host_tools.cli.session import control
from host_tools.control import ControlClient, ControlError
from host_tools.fingers import MAX_FINGER

_F = TypeVar("_F", bound=Callable[..., object])


def finger_option(command: _F) -> _F:
    """The option ``--finger`` (argument ``given``)."""
    return click.option(
        "--finger",
        "given",
        metavar="FINGER",
        callback=_checked,
        help="Put this finger on the sensor, too.",
    )(command)


def _checked(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if not (1 <= len(value.encode(errors="replace")) <= MAX_FINGER and value.isprintable()):
        raise click.BadParameter(f"A finger is a printable word of 1 to {MAX_FINGER} bytes.")
    return value


def need_free_sensor(serial: str) -> None:
    """Raises Failure where a script decides which fingers come: it answers before anybody does."""
    with control() as client:
        left = client.call("finger.script", token=serial, steps=[])["steps"]
        if left:
            name = client.call("token.show", token=serial)["label"] or serial
            raise Failure(
                Exit.TOKEN_STATE,
                f"A script says which fingers come to {name}; steps left: {left}.",
                f"Drop them: klyuch finger script {shlex.quote(str(name))} --clear",
            )


def refused_sample(status: str, listing: str) -> Failure:
    """Why an enrolment ends with a sample of that status; `listing` shows what is enrolled."""
    if status == "exists":
        return Failure(Exit.CONFLICT, "That finger is enrolled already.", f"See: {listing}")
    return Failure(Exit.TOKEN_STATE, f"The sample was refused: {status}.", "Try another finger.")


@contextmanager
def put_once_awaited(serial: str, finger: str) -> Iterator[None]:
    """Put the finger on the sensor when a capture of the body waits; never after the body."""
    with control() as hand:
        holder = threading.Thread(target=_put, args=(hand, serial, finger), daemon=True)
        holder.start()
        try:
            yield
        finally:
            with suppress(OSError):
                hand.interrupt()
            holder.join()


def _put(hand: ControlClient, serial: str, finger: str) -> None:
    # Interrupted, or with the token gone: the capture itself tells what became of it.
    with suppress(ControlError):
        hand.call("finger.await", token=serial)
        hand.call("finger.present", token=serial, finger=finger)
