"""The shell of the control API: sockets and threads around `routes`, and the daemon behind it.

It is a process of its own and a client of the daemon's control door: the daemon stays off the
network.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from host_tools.api import routes
from host_tools.api.crowd import Crowd
from host_tools.api.routes import Access, Call, Greeting, HttpError, HttpRequest, Stream, Wish
from host_tools.control import ControlClient, ControlError, DaemonSilent, ErrorCode, Json
from host_tools.home import Home, HomeError

ADDRESS = "127.0.0.1"
MAX_CONNECTIONS = 32
_PATIENCE = 30.0
_DIGITS = 9

_log = logging.getLogger("klyuch.api")


class ClientGone(ConnectionAbortedError):
    """The client has left while its request waited."""


class ApiServer(ThreadingHTTPServer):
    """Listens on the loopback address, at a free port for 0; `url` says where."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, home: Home, access: Access, port: int = 0) -> None:
        """Raises OSError where the port is taken."""
        self.home = home
        self.access = access
        self.crowd = Crowd(MAX_CONNECTIONS)
        super().__init__((ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask the resolver for a name that nobody needs.
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}"

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a connection in a thread of its own, or turn it away where there are too many."""
        assert isinstance(request, socket.socket)
        if self.crowd.enter(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: object) -> None:
        assert isinstance(request, socket.socket)
        self.crowd.leave(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """What ended a connection: of a client that went away nobody need know."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        _log.log(level, "a connection ended by %s", type(error).__name__)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ApiServer
    protocol_version = "HTTP/1.1"
    server_version = "klyuch"
    sys_version = ""
    timeout = _PATIENCE

    def _answer(self) -> None:
        try:
            wish = routes.parse(self._request(), self.server.access)
            with self.server.crowd.answering(self.connection):
                if isinstance(wish, Stream):
                    self._stream(wish)
                else:
                    self._reply(HTTPStatus.OK, perform(self.server.home, wish, self.connection))
        except HttpError as error:
            # What is left of the body would be taken for the next request.
            self.close_connection = True
            self._reply(error.status, _refusal(error), error.headers)
        except ControlError as error:
            self._reply(routes.STATUS[error.code], _refusal(error))
        except HomeError as error:
            refusal = ControlError(ErrorCode.DAEMON, str(error), error.hint)
            self._reply(HTTPStatus.SERVICE_UNAVAILABLE, _refusal(refusal))

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = _answer

    def _request(self) -> HttpRequest:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            raise HttpError(HTTPStatus.LENGTH_REQUIRED, "The length of the body has to be told.")
        if len(length) > _DIGITS or int(length) > routes.MAX_BODY:
            raise HttpError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has up to {routes.MAX_BODY} bytes."
            )
        return HttpRequest(self.command, self.path, headers, self.rfile.read(int(length)))

    def _reply(
        self, status: HTTPStatus, document: Json, headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps(document, ensure_ascii=True).encode() + b"\n"
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, wish: Stream) -> None:
        """Server-sent events, one for each line of the trace, until either side ends."""
        with ControlClient(self.server.home) as client:
            lines = client.trace(wish.token)
            self.close_connection = True
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            with _hang_up(self.connection, client):
                _pass_on(lines, self.wfile.write)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, in the form of all refusals."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._reply(status, _refusal(HttpError(status, f"{message or status.phrase}.")))

    def log_message(self, format: str, *arguments: object) -> None:
        _log.debug(format, *arguments)


def perform(home: Home, wish: Wish, connection: socket.socket) -> Json:
    """Ask the daemon, which is started where none runs; raises ControlError, HomeError.

    Raises ClientGone where the client at the other end of `connection` did not wait: nobody is
    there then who could touch anything.
    """
    if isinstance(wish, Greeting):
        return {}
    assert isinstance(wish, Call)
    if wish.awaits:
        _await(home, wish, connection)
    with ControlClient(home) as client:
        return client.call(wish.do, **wish.arguments)


def _await(home: Home, wish: Call, connection: socket.socket) -> None:
    """Wait until it is asked for; where nobody asks in time, the call that follows says so."""
    try:
        with ControlClient(home, timeout=wish.wait) as client, _hang_up(connection, client):
            client.call(wish.awaits, token=wish.arguments["token"])
    except DaemonSilent:
        _log.debug("nobody asked within %g seconds", wish.wait)
    except ControlError:
        if not _left(connection):
            raise
    if _left(connection):
        raise ClientGone


def _pass_on(lines: Iterator[str], write: Callable[[bytes], object]) -> None:
    try:
        for line in lines:
            event = "".join(f"data: {part}\n" for part in line.splitlines())
            write(event.encode(errors="replace") + b"\n")
    except (ControlError, OSError) as error:
        _log.debug("a trace ended: %s", error)


@contextmanager
def _hang_up(connection: socket.socket, client: ControlClient) -> Iterator[None]:
    """Have the daemon's side end as soon as the client has left."""
    ours, theirs = socket.socketpair()

    def listen() -> None:
        if _left(connection, ours, patience=None):
            _log.debug("a client went away")
            # The daemon may have left as well.
            with suppress(OSError):
                client.interrupt()

    listener = threading.Thread(target=listen, daemon=True)
    with ours, theirs:
        listener.start()
        try:
            yield
        finally:
            theirs.shutdown(socket.SHUT_RDWR)
            listener.join()


def _left(
    connection: socket.socket, until: socket.socket | None = None, *, patience: int | None = 0
) -> bool:
    """Whether the client has closed its side; waits for that or for the end of `until`.

    `patience`: milliseconds, for ever for None. What the client has sent besides is no matter.
    """
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    if until is not None:
        poll.register(until, select.POLLRDHUP)
    return connection.fileno() in dict(poll.poll(patience))


def _refusal(error: ControlError) -> Json:
    return {"code": error.code, "message": error.message, "hint": error.hint}
