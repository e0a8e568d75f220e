"""Loopback HTTPS servers that ask for a client certificate and remember who came."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any, Final, Self

from cryptography import x509

from tests.interop.certificates import ADDRESS, Authority

NOBODY: Final = "nobody"
_PATIENCE: Final = 60.0
# The icon is inside, so that a browser does not come back for it.
_PAGE: Final = """<!doctype html>
<meta charset="utf-8"><link rel="icon" href="data:,"><title>Loopback</title>
<p id="subject">{}</p>
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """One page served: the subject (RFC 4514) of the client's certificate, and ssl's version."""

    subject: str
    version: str


class Site:
    """An HTTPS server that speaks one version of TLS and, by choice, demands a certificate.

    Each connection has a context of its own and carries one request, so that no session is ever
    resumed: who is served has shown the key at that moment. `visits` has the pages served.
    """

    def __init__(self, authority: Authority, version: ssl.TLSVersion, *, closed: bool) -> None:
        self._authority = authority
        self._version = version
        self._closed = closed
        self.visits: list[Visit] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url: Final = f"https://{ADDRESS}:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = self._version
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.load_cert_chain(self._authority.server)
        if self._closed:
            context.load_verify_locations(self._authority.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class _Page(BaseHTTPRequestHandler):
    """Shows the visitor's name."""

    server: _Server
    request: ssl.SSLSocket

    def do_GET(self) -> None:
        der = self.request.getpeercert(binary_form=True)
        subject = x509.load_der_x509_certificate(der).subject.rfc4514_string() if der else NOBODY
        assert not self.request.session_reused
        self.server.site.visits.append(Visit(subject, str(self.request.version())))
        body = _PAGE.format(subject).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: `visits` tells it."""


class _Server(ThreadingHTTPServer):
    def __init__(self, site: Site) -> None:
        self.site = site
        super().__init__((ADDRESS, 0), _Page)

    def finish_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """The handshake, then the page; both in the thread of this connection."""
        assert isinstance(request, socket)
        request.settimeout(_PATIENCE)
        context = self.site.context()
        with context.wrap_socket(
            request, server_side=True, do_handshake_on_connect=False
        ) as secured:
            try:
                secured.do_handshake()
            except OSError:
                # Refused, or one of the connections that browsers make ahead of need.
                _let_go(secured)
            else:
                super().finish_request(secured, client_address)


def _let_go(connection: ssl.SSLSocket) -> None:
    """Wait until the browser has read the alert and closed.

    In TLS 1.3 it may be sending its request by then: closing upon that would reset the
    connection, and the alert would be lost.
    """
    try:
        while socket.recv(connection, 4096):
            continue
    except OSError:
        # The browser reset the connection.
        return
