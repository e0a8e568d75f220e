"""What a request at the control API asks for, without any I/O.

Every resource is below ``/v1/`` and takes the bearer token. The dialect of python-fido2's device
tests, ``/usbN/touch|power/on|off``, which sends none, is there for the tokens that were named for
it, and for nothing that a browser sends.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

from host_tools.control import ControlError, ErrorCode, Json

MAX_BODY = 1 << 16
MAX_WAIT = 60.0
"""Seconds that a request may wait until something is asked for."""

_SCHEME = "bearer "
_HOSTS = frozenset({"127.0.0.1", "localhost"})
_FROM_A_BROWSER = ("origin", "referer", "sec-fetch-site", "sec-fetch-mode")

STATUS: Mapping[ErrorCode, HTTPStatus] = {
    ErrorCode.GENERAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.AMBIGUOUS: HTTPStatus.CONFLICT,
    ErrorCode.EXISTS: HTTPStatus.CONFLICT,
    ErrorCode.PIN_WRONG: HTTPStatus.FORBIDDEN,
    ErrorCode.PIN_LOCKED: HTTPStatus.FORBIDDEN,
    ErrorCode.PIN_UNACCEPTABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    ErrorCode.TOKEN_STATE: HTTPStatus.CONFLICT,
    ErrorCode.DAEMON: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The status of a refusal by the daemon."""


class HttpError(ControlError):
    """A request that is refused before the daemon is asked; `headers` go with the answer."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        hint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, message, hint)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest:
    """A request: names of headers in lower case, `target` as it stands in the first line."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Who may ask: the bearer token, and the tokens behind the ports that need none."""

    bearer: str
    ports: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the daemon, preceded by `awaits` for up to `wait` seconds where that is set."""

    do: str
    arguments: Json
    awaits: str = ""
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Stream:
    """The APDUs of a token as they pass, of all tokens for None."""

    token: str | None


@dataclass(frozen=True, slots=True)
class Greeting:
    """Nothing but that somebody listens here."""


Wish = Call | Stream | Greeting


@dataclass(frozen=True, slots=True)
class Route:
    """A resource: its method and path, what it asks the daemon, and the fields of its body."""

    method: str
    path: tuple[str, ...]
    do: str
    fields: frozenset[str] = frozenset()
    awaits: str = ""

    def match(self, path: tuple[str, ...]) -> Json | None:
        """The arguments that are in the path; None where it is another one."""
        if len(path) != len(self.path):
            return None
        pairs = list(zip(self.path, path, strict=True))
        if any(name not in {_TOKEN, part} for name, part in pairs):
            return None
        tokens = [part for name, part in pairs if name == _TOKEN]
        return {"token": tokens[0]} if tokens else {}


_TOKEN = "{token}"
_TRACE = "trace"


def _route(method: str, path: str, do: str, *fields: str, awaits: str = "") -> Route:
    return Route(method, tuple(path.split("/")), do, frozenset(fields), awaits)


ROUTES = (
    _route("GET", "status", "status"),
    _route("GET", "tokens", "token.list"),
    _route("GET", "tokens/{token}", "token.show"),
    _route("POST", "tokens/{token}/insert", "token.insert"),
    _route("POST", "tokens/{token}/remove", "token.remove"),
    _route("POST", "tokens/{token}/power/on", "token.insert"),
    _route("POST", "tokens/{token}/power/off", "token.remove"),
    _route("POST", "tokens/{token}/touch", "touch.give", awaits="touch.await"),
    _route("POST", "tokens/{token}/touch/on", "touch.press"),
    _route("POST", "tokens/{token}/touch/off", "touch.release"),
    _route(
        "POST",
        "tokens/{token}/finger",
        "finger.present",
        "finger",
        "quality",
        awaits="finger.await",
    ),
    _route("POST", "tokens/{token}/fingers", "finger.script", "steps"),
    _route("DELETE", "tokens/{token}/fingers", "finger.clear"),
    _route("GET", "tokens/{token}/trace", _TRACE),
    _route("GET", "trace", _TRACE),
)
"""What there is below ``/v1/``. A token has its power from its slot: power off is removal."""

_DIALECT = {
    ("touch", "on"): "touch.press",
    ("touch", "off"): "touch.release",
    ("power", "on"): "token.insert",
    ("power", "off"): "token.remove",
}


def parse(request: HttpRequest, access: Access) -> Wish:
    """What a request asks for; raises HttpError."""
    _check_host(request)
    path, query = _target(request.target)
    if access.ports:
        wish = _dialect(request, path, access.ports)
        if wish is not None:
            return wish
    _check_bearer(request, access.bearer)
    if path[0] != "v1":
        raise HttpError(HTTPStatus.NOT_FOUND, "There is no such resource.", "All are below /v1/.")
    route, arguments = _find(request.method, path[1:])
    if route.do == _TRACE:
        token = arguments.get("token")
        return Stream(None if token is None else str(token))
    wait = _wait(query, allowed=bool(route.awaits))
    arguments = {**arguments, **_body(request, route)}
    return Call(route.do, arguments, route.awaits if wait else "", wait)


def _target(target: str) -> tuple[tuple[str, ...], str]:
    """The parts of the path, at least one, and the query."""
    try:
        parts = urlsplit(target)
    except ValueError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "The target is no path.") from None
    return tuple(unquote(part) for part in parts.path.split("/")[1:]) or ("",), parts.query


def _check_host(request: HttpRequest) -> None:
    """A page that had its own name point here would send that name."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    if host not in _HOSTS:
        raise HttpError(
            HTTPStatus.FORBIDDEN, "Only http://127.0.0.1 and http://localhost are served."
        )


def _check_bearer(request: HttpRequest, bearer: str) -> None:
    given = request.headers.get("authorization", "")
    value = given[len(_SCHEME) :].strip() if given.lower().startswith(_SCHEME) else ""
    if not hmac.compare_digest(value.encode(errors="replace"), bearer.encode()):
        raise HttpError(
            HTTPStatus.UNAUTHORIZED,
            "The bearer token is missing or wrong.",
            "Send the header: Authorization: Bearer $(klyuch control token)",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _dialect(request: HttpRequest, path: tuple[str, ...], ports: Mapping[int, str]) -> Wish | None:
    """The dialect of python-fido2's device tests; None for any other path."""
    greeting = path == ("",)
    if not greeting and not (len(path) == 3 and path[0].startswith("usb")):
        return None
    if any(name in request.headers for name in _FROM_A_BROWSER):
        raise HttpError(HTTPStatus.FORBIDDEN, "Requests of web pages are not served.")
    if request.method != "GET":
        raise _not_allowed({"GET"})
    if greeting:
        return Greeting()
    number = path[0].removeprefix("usb")
    port = int(number) if number.isascii() and number.isdigit() and len(number) <= 3 else -1
    do = _DIALECT.get((path[1], path[2]))
    if port not in ports or do is None:
        raise HttpError(HTTPStatus.NOT_FOUND, "There is no such port, or no such switch.")
    return Call(do, {"token": ports[port]})


def _find(method: str, path: tuple[str, ...]) -> tuple[Route, Json]:
    found = [(route, arguments) for route in ROUTES if (arguments := route.match(path)) is not None]
    for route, arguments in found:
        if route.method == method:
            return route, arguments
    if found:
        raise _not_allowed({route.method for route, _ in found})
    raise HttpError(HTTPStatus.NOT_FOUND, "There is no such resource.")


def _not_allowed(methods: set[str]) -> HttpError:
    allowed = ", ".join(sorted(methods))
    return HttpError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"The resource takes {allowed} alone.",
        headers={"Allow": allowed},
    )


def _wait(query: str, *, allowed: bool) -> float:
    fields = parse_qs(query, keep_blank_values=True)
    values = fields.pop("wait", ["0"] if allowed else None)
    if fields or (values is not None and not allowed):
        raise HttpError(HTTPStatus.BAD_REQUEST, "The resource does not take that query.")
    try:
        seconds = float(values[-1]) if values else 0.0
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= MAX_WAIT:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"'wait' must be 0 to {MAX_WAIT:g} seconds.")
    return seconds


def _body(request: HttpRequest, route: Route) -> Json:
    if not request.body:
        return {}
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        raise HttpError(HTTPStatus.BAD_REQUEST, "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise HttpError(HTTPStatus.BAD_REQUEST, "The body is not a JSON object.")
    if unknown := document.keys() - route.fields:
        names = ", ".join(sorted(unknown))
        raise HttpError(HTTPStatus.BAD_REQUEST, f"The resource does not take: {names!r}.")
    return document
