"""What runs in the foreground for readers: tokens in vpcd, or a daemon that stays."""

from __future__ import annotations

import ipaddress
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from host_tools.bridge.vpcd import VpcdCard
from host_tools.control import ControlClient
from host_tools.home import Home

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_loopback(host: str) -> bool:
    """Whether every address of a host is this machine's own. Raises OSError for no host at all."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def serve_vpcd(
    home: Home,
    cards: Sequence[VpcdCard],
    ready: Callable[[], None],
    again: Callable[[int, int], None],
) -> bool:
    """Keep tokens in vpcd's readers; otherwise as `keep_daemon`."""
    with ExitStack() as stack:
        bridges = [stack.enter_context(card) for card in cards]
        threads = [threading.Thread(target=bridge.serve) for bridge in bridges]
        for thread in threads:
            thread.start()
        try:
            return keep_daemon(home, ready, again)
        finally:
            for bridge in bridges:
                bridge.end()
            for thread in threads:
                thread.join()


def keep_daemon(home: Home, ready: Callable[[], None], again: Callable[[int, int], None]) -> bool:
    """Be a client of the daemon, which then stays, until a signal ends it.

    False where the daemon was stopped instead. One that died is started again, and `again` told
    the process ids of both. Raises ControlError where none can be started.
    """
    before = 0
    with _signals() as alarm:
        while True:
            with ControlClient(home) as client:
                pid = int(str(client.call("status")["pid"]))
                if before:
                    again(before, pid)
                else:
                    ready()
                if not _outlives(alarm, pid):
                    return True
            # It clears its lock at its end.
            if home.daemon_pid() is None:
                return False
            before = pid


def _outlives(alarm: socket.socket, pid: int) -> bool:
    """Wait until the process has ended; False where the alarm rings first."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([alarm.fileno(), process], [], [])
    finally:
        os.close(process)
    return alarm.fileno() not in readable


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """What becomes readable at a signal; they are not blocked, as a daemon would inherit that."""
    alarm, wake = socket.socketpair()
    with alarm, wake:
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        try:
            yield alarm
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
