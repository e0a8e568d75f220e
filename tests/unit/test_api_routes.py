"""What requests at the control API ask for, and which are refused before the daemon is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tools.api import bearer as bearer_file
from host_tools.api.bearer import bearer
from host_tools.api.routes import (
    MAX_WAIT,
    ROUTES,
    Access,
    Call,
    Greeting,
    HttpError,
    HttpRequest,
    Stream,
    Wish,
    parse,
)
from host_tools.control import ControlError
from host_tools.control_peer import _HANDLERS
from host_tools.holder import AWAITING
from host_tools.home import Home

SECRET = "a secret of the home's"
CLOSED = Access(SECRET)
PICO = Access(SECRET, {6: "Work"})
HOST = {"host": "127.0.0.1:8642"}
BEARER = {**HOST, "authorization": f"Bearer {SECRET}"}


def ask(
    method: str,
    target: str,
    document: object = None,
    *,
    headers: dict[str, str] | None = None,
    access: Access = CLOSED,
) -> Wish:
    body = b"" if document is None else json.dumps(document).encode()
    given = BEARER if headers is None else headers
    return parse(HttpRequest(method, target, given, body), access)


def refused(
    method: str,
    target: str,
    document: object = None,
    *,
    headers: dict[str, str] | None = None,
    access: Access = CLOSED,
) -> int:
    with pytest.raises(HttpError) as refusal:
        ask(method, target, document, headers=headers, access=access)
    return int(refusal.value.status)


@pytest.mark.parametrize(
    ("method", "target", "document", "wish"),
    [
        ("GET", "/v1/tokens", None, Call("token.list", {})),
        ("GET", "/v1/tokens/Work", None, Call("token.show", {"token": "Work"})),
        ("GET", "/v1/tokens/a%2Fb%20c", None, Call("token.show", {"token": "a/b c"})),
        ("POST", "/v1/tokens/0/power/off", None, Call("token.remove", {"token": "0"})),
        ("POST", "/v1/tokens/0/insert", {}, Call("token.insert", {"token": "0"})),
        ("POST", "/v1/tokens/0/touch", None, Call("touch.give", {"token": "0"})),
        (
            "POST",
            "/v1/tokens/0/touch?wait=2.5",
            None,
            Call("touch.give", {"token": "0"}, "touch.await", 2.5),
        ),
        (
            "POST",
            "/v1/tokens/0/finger",
            {"finger": "thumb", "quality": "too-fast"},
            Call("finger.present", {"token": "0", "finger": "thumb", "quality": "too-fast"}),
        ),
        (
            "POST",
            "/v1/tokens/0/fingers",
            {"steps": [{"absent": True}]},
            Call("finger.script", {"token": "0", "steps": [{"absent": True}]}),
        ),
        ("DELETE", "/v1/tokens/0/fingers", None, Call("finger.clear", {"token": "0"})),
        ("GET", "/v1/trace", None, Stream(None)),
        ("GET", "/v1/tokens/Work/trace", None, Stream("Work")),
    ],
)
def test_a_resource_is_a_request_to_the_daemon(
    method: str, target: str, document: object, wish: Wish
) -> None:
    assert ask(method, target, document) == wish


def test_every_route_leads_to_something_that_the_daemon_does() -> None:
    assert {route.do for route in ROUTES} - {"trace"} <= _HANDLERS.keys()
    assert {route.awaits for route in ROUTES} - {""} <= set(AWAITING)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"authorization": SECRET},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {SECRET[:-1]}"},
        {"authorization": f"Bearer {SECRET}x"},
        {"authorization": "Bearer \udcff"},
    ],
)
def test_nobody_is_served_without_the_bearer_token(given: dict[str, str]) -> None:
    for target in ("/v1/tokens", "/v1/trace", "/v1/nothing", "/", "/usb6/touch/on"):
        assert refused("GET", target, headers={**HOST, **given}) == 401


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:8642", "127.0.0.1.evil:80"])
def test_a_name_that_was_made_to_point_here_is_not_served(host: str) -> None:
    headers = {**BEARER, "host": host}
    assert refused("GET", "/v1/tokens", headers=headers) == 403
    assert refused("GET", "/usb6/touch/on", headers=headers, access=PICO) == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "127.0.0.1:8642"])
def test_the_loopback_address_is_served(host: str) -> None:
    assert ask("GET", "/v1/tokens", headers={**BEARER, "host": host}) == Call("token.list", {})


@pytest.mark.parametrize(
    ("method", "target", "document", "status"),
    [
        ("GET", "/v1/nothing", None, 404),
        ("GET", "/v1", None, 404),
        ("GET", "/v1/tokens/0/touch/on/more", None, 404),
        ("GET", "/", None, 404),
        ("GET", "*", None, 404),
        ("GET", "//[", None, 400),
        ("GET", "/v2/tokens", None, 404),
        ("GET", "/v1/tokens/0/touch", None, 405),
        ("PUT", "/v1/tokens", None, 405),
        ("POST", "/v1/tokens/0/touch", {"token": "1"}, 400),
        ("POST", "/v1/tokens/0/touch", ["x"], 400),
        ("POST", "/v1/tokens/0/touch?wait=soon", None, 400),
        ("POST", "/v1/tokens/0/touch?wait=nan", None, 400),
        ("POST", f"/v1/tokens/0/touch?wait={MAX_WAIT + 1}", None, 400),
        ("POST", "/v1/tokens/0/touch?wait=-1", None, 400),
        ("POST", "/v1/tokens/0/touch?later=1", None, 400),
        ("POST", "/v1/tokens/0/insert?wait=1", None, 400),
    ],
)
def test_a_bad_request_is_refused(method: str, target: str, document: object, status: int) -> None:
    assert refused(method, target, document) == status


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 60_000, b'"text"', b"{}{}"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(HttpError) as refusal:
        parse(HttpRequest("POST", "/v1/tokens/0/touch", BEARER, body), CLOSED)
    assert refusal.value.status == 400


def test_a_wrong_method_is_told_the_right_ones() -> None:
    with pytest.raises(HttpError) as refusal:
        ask("GET", "/v1/tokens/0/fingers")
    assert refusal.value.headers == {"Allow": "DELETE, POST"}


# The dialect of python-fido2's tests


@pytest.mark.parametrize(
    ("target", "wish"),
    [
        ("/", Greeting()),
        ("/usb6/touch/on", Call("touch.press", {"token": "Work"})),
        ("/usb6/touch/off", Call("touch.release", {"token": "Work"})),
        ("/usb6/power/on", Call("token.insert", {"token": "Work"})),
        ("/usb6/power/off", Call("token.remove", {"token": "Work"})),
    ],
)
def test_the_dialect_needs_no_bearer_token_for_tokens_named_for_it(target: str, wish: Wish) -> None:
    assert ask("GET", target, headers=HOST, access=PICO) == wish


@pytest.mark.parametrize(
    "target", ["/usb7/touch/on", "/usb6/touch/of", "/usb/touch/on", "/usb²/touch/on", "/usbx/a/b"]
)
def test_other_ports_and_switches_are_not_there(target: str) -> None:
    assert refused("GET", target, headers=HOST, access=PICO) == 404


@pytest.mark.parametrize("name", ["origin", "referer", "sec-fetch-site", "sec-fetch-mode"])
def test_a_web_page_does_not_touch_a_token(name: str) -> None:
    headers = {**HOST, name: "http://localhost"}
    assert refused("GET", "/usb6/touch/on", headers=headers, access=PICO) == 403
    assert refused("GET", "/", headers=headers, access=PICO) == 403


def test_the_dialect_opens_nothing_else() -> None:
    assert refused("GET", "/v1/tokens", headers=HOST, access=PICO) == 401
    assert refused("POST", "/usb6/touch/on", headers=HOST, access=PICO) == 405


# The bearer token


def test_the_token_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    value = bearer(home)
    assert len(value) == 43
    assert bearer(home) == value
    assert (home.run / bearer_file.TOKEN).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.run.iterdir()] == [bearer_file.TOKEN]
    assert bearer(Home(tmp_path / "other")) != value


@pytest.mark.parametrize("damage", ["readable", "empty", "link"])
def test_a_token_that_others_could_know_is_refused(tmp_path: Path, damage: str) -> None:
    home = Home(tmp_path / "home")
    bearer(home)
    path = home.run / bearer_file.TOKEN
    if damage == "readable":
        path.chmod(0o640)
    elif damage == "empty":
        path.write_text("\n")
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises((ControlError, OSError)):
        bearer(home)
