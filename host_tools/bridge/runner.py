"""What runs in the foreground for readers: tokens in vpcd, or a daemon that stays."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from host_tools.bridge.vpcd import VpcdCard
from host_tools.control import ControlClient
from host_tools.home import Home


def is_loopback(host: str) -> bool:
    """Whether every address of a host is this machine's own. Raises OSError for no host at all."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)


def serve_vpcd(home: Home, host: str, cards: Sequence[tuple[int, int]], shown: str) -> None:
    """Keep tokens in vpcd's readers until a signal ends it: pairs of a slot and its port."""
    _block_signals()
    with ExitStack() as stack:
        made = (VpcdCard(home, slot, (host, port), shown) for slot, port in cards)
        bridges = [stack.enter_context(bridge) for bridge in made]
        threads = [threading.Thread(target=bridge.serve) for bridge in bridges]
        for thread in threads:
            thread.start()
        _await_signal()
        for bridge in bridges:
            bridge.close()
        for thread in threads:
            thread.join()


def keep_daemon(home: Home, ready: Callable[[], None]) -> None:
    """Be a client of the daemon, which then stays, until a signal ends it."""
    _block_signals()
    with ControlClient(home):
        ready()
        _await_signal()


_SIGNALS = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


def _block_signals() -> None:
    """Before any thread starts, as one that does not block them would get them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _await_signal() -> None:
    signal.sigwait(_SIGNALS)
