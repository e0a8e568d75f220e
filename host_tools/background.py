"""The daemon in the background: out of its caller's process group and terminal."""

import math
import os
import sys
from typing import TYPE_CHECKING

from host_tools.daemon import AlreadyRunning, Daemon, idle_seconds
from host_tools.home import HomeError, current

if TYPE_CHECKING:
    from host_tools.doors import CardsIn


def serve(ready_fd: int, idle: float | None = None, cards_in: "CardsIn | None" = None) -> None:
    """Become a daemon that writes a byte to ``ready_fd`` once clients can connect.

    ``idle`` seconds without clients end it; None takes ``$KLYUCH_IDLE``, infinity keeps it.
    ``cards_in`` are readers whose cards are slots beside the home's tokens. Returns
    when it ends, at once where another one serves this home. Exits with 1 where the home cannot be
    used.
    """
    home = current()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.set_inheritable(ready_fd, False)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)

    def listening() -> None:
        os.write(ready_fd, b"\n")
        os.close(ready_fd)

    seconds = idle_seconds() if idle is None else idle
    try:
        limit = None if math.isinf(seconds) else seconds
        Daemon(home, idle=limit, cards_in=cards_in).run(listening)
    except AlreadyRunning:
        return
    except HomeError:
        # The caller, which meets the same home, says what is wrong with it.
        sys.exit(1)
