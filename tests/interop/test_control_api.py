"""The control API as HTTP clients see it: `klyuch control run` in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest

from apdu.codec import Command as CardCommand
from host_tools.api import server as api_server
from host_tools.conformance import piv_commands as piv
from host_tools.control import ControlClient
from host_tools.testing import Command, Scratch, ScratchToken
from host_tools.token_transport import TokenTransport
from tests import piv_cards
from tests.interop.processes import Process

LONG = 30
USE = piv.use(piv.AUTHENTICATION, piv.P256, bytes(32))


class Api:
    """A client of one running API."""

    def __init__(self, home: Scratch, process: Process, command: Command) -> None:
        self.process = process
        self.port = self.port_of(process)
        self.bearer = command("control", "token").stdout.strip()

    @staticmethod
    def port_of(process: Process) -> int:
        return int(process.wait_for(r"at http://127\.0\.0\.1:(\d+); ")[1])

    def ask(
        self, method: str, path: str, document: object = None, **headers: str
    ) -> tuple[int, object]:
        """Status and document of the answer; without a bearer token where one header is given."""
        body = None if document is None else json.dumps(document)
        given = headers or {"Authorization": f"Bearer {self.bearer}"}
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        ) as connection:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def ok(self, method: str, path: str, document: object = None) -> object:
        status, answer = self.ask(method, path, document)
        assert status == 200, answer
        return answer


def start(*options: str) -> Process:
    command = [sys.executable, "-P", "-m", "host_tools.cli", "control", "run", *options]
    return Process(command, {**os.environ, "PYTHONUNBUFFERED": "1"})


@pytest.fixture
def api(home: Scratch, token: ScratchToken, command: Command) -> Iterator[Api]:
    with start() as process:
        yield Api(home, process, command)


@pytest.fixture
def door(home: Scratch) -> Iterator[ControlClient]:
    with home.control() as client:
        yield client


@pytest.fixture
def card(door: ControlClient, token: ScratchToken) -> piv_cards.Client:
    """A card with a key that wants a touch at each use, and the PIN proven."""
    client = piv_cards.Client(TokenTransport(door, token.serial))
    client.prove()
    client.make_key(piv.AUTHENTICATION, pin=piv.NEVER, touch=piv.TOUCH_ALWAYS)
    return client


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def test_tokens_are_told_and_switched(api: Api, token: ScratchToken) -> None:
    tokens = api.ok("GET", "/v1/tokens")
    assert isinstance(tokens, dict)
    assert [one["label"] for one in tokens["tokens"]] == ["Work"]
    for switch, state in (
        ("power/off", "removed"),
        ("power/on", "inserted"),
        ("remove", "removed"),
        ("insert", "inserted"),
    ):
        told = api.ok("POST", f"/v1/tokens/{token.serial}/{switch}")
        assert isinstance(told, dict)
        assert told["state"] == state


def test_a_touch_is_given_when_a_command_waits_for_it(
    api: Api, card: piv_cards.Client, pool: ThreadPoolExecutor
) -> None:
    status, refusal = api.ask("POST", "/v1/tokens/Work/touch")
    assert status == 409
    assert isinstance(refusal, dict)
    assert "Nobody waits for a touch" in refusal["message"]
    waiting = pool.submit(api.ok, "POST", "/v1/tokens/Work/touch?wait=20")
    assert card.status(USE) == 0x9000
    assert waiting.result(LONG) == {"touched": True}
    assert api.ask("POST", "/v1/tokens/Work/touch?wait=0.01")[0] == 409


def test_a_finger_that_stays_is_one_touch(api: Api, card: piv_cards.Client) -> None:
    api.ok("POST", "/v1/tokens/Work/touch/on")
    assert card.status(USE) == 0x9000
    api.ok("POST", "/v1/tokens/Work/touch/on")
    api.ok("POST", "/v1/tokens/Work/touch/off")
    assert api.ask("POST", "/v1/tokens/Work/touch")[0] == 409


def test_fingers_are_presented_and_scripted(
    api: Api, card: piv_cards.Client, command: Command, pool: ThreadPoolExecutor
) -> None:
    pin = piv_cards.PIN.decode()
    command("finger", "add", "Work", "--finger", "thumb", "--app", "piv", KLYUCH_PIN=pin)
    thumb = {"finger": "thumb"}
    waiting = pool.submit(api.ok, "POST", "/v1/tokens/Work/finger?wait=20", thumb)
    assert card.status(piv.match()) == 0x9000
    assert waiting.result(LONG) == {"presented": True}
    steps = [{"finger": "stranger"}, {**thumb, "delay": 0.01}, {"absent": True}]
    assert api.ok("POST", "/v1/tokens/Work/fingers", {"steps": steps}) == {"steps": 3}
    assert [card.status(piv.match()) for _ in range(2)] == [0x63C2, 0x9000]
    assert api.ok("DELETE", "/v1/tokens/Work/fingers") == {"dropped": 1}
    assert api.ask("POST", "/v1/tokens/Work/finger", thumb)[0] == 409
    assert api.ask("POST", "/v1/tokens/Work/finger", {"finger": ""})[0] == 400


@pytest.mark.parametrize(
    ("resource", "body", "use", "given"),
    [
        ("touch", {}, USE, "touch.give"),
        ("finger", {"finger": "thumb"}, piv.match(), "finger.present"),
    ],
)
def test_who_hangs_up_while_waiting_gives_nothing(
    *,
    api: Api,
    card: piv_cards.Client,
    home: Scratch,
    token: ScratchToken,
    pool: ThreadPoolExecutor,
    resource: str,
    body: dict[str, str],
    use: CardCommand,
    given: str,
) -> None:
    home.enrol_finger(token, "thumb", "piv")
    text = json.dumps(body)
    request = (
        f"POST /v1/tokens/Work/{resource}?wait=50 HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {api.bearer}\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    )
    with home.control() as hand:
        before = connections(hand)
        with socket.create_connection(("127.0.0.1", api.port), LONG) as client:
            client.sendall(request.encode())
            while connections(hand) == before:
                pass
        using = pool.submit(card.status, use)
        hand.call(f"{resource}.await", token="Work")
        while connections(hand) != before:
            pass
        # It still waits, for us.
        hand.call(given, token="Work", **body)
        assert using.result(LONG) == 0x9000


def connections(control: ControlClient) -> int:
    """How many the daemon has."""
    return int(str(control.call("status")["connections"]))


def test_the_trace_is_a_stream_of_events(api: Api, card: piv_cards.Client, home: Scratch) -> None:
    def served() -> int:
        with home.control() as control:
            return connections(control)

    before = served()
    address = f"http://127.0.0.1:{api.port}/v1/tokens/Work/trace"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {api.bearer}"})
    with urllib.request.urlopen(request, timeout=LONG) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        card.log_in()
        lines = [stream.readline().decode()]
        while "9000" not in lines[-1]:
            lines.append(stream.readline().decode())
        assert stream.readline() == b"\n"
    assert "VERIFY" in lines[0]
    assert set(lines[1::2]) == {"\n"}
    assert all(line.startswith("data: ") for line in lines[::2])
    assert piv_cards.PIN.hex(" ") not in "".join(lines)
    # The daemon lets go of the trace of whoever has left.
    while served() != before:
        pass


def test_who_has_no_bearer_token_is_told_nothing(api: Api) -> None:
    for path in ("/v1/tokens", "/v1/trace", "/usb6/touch/on", "/"):
        status, refusal = api.ask("GET", path, Authorization="Bearer wrong")
        assert status == 401
        assert isinstance(refusal, dict)
        assert "klyuch control token" in refusal["hint"]
    assert api.ask("GET", "/v1/tokens", Host="evil.example")[0] == 403


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_one_address_alone_is_listened_at(api: Api, address: str) -> None:
    # Whoever listens at every address is reached at these as well.
    with pytest.raises(OSError):
        socket.create_connection((address, api.port), LONG)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"nonsense\r\n\r\n", b"bad-request"),
        (b"PATCH / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 501 "),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 411 ",
        ),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 411 "),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
            b"HTTP/1.1 413 ",
        ),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"HTTP/1.1 414 "),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 "),
    ],
)
def test_what_is_no_proper_request_is_refused(api: Api, raw: bytes, expected: bytes) -> None:
    with socket.create_connection(("127.0.0.1", api.port), LONG) as connection:
        connection.sendall(raw)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert expected in answer
    api.ok("GET", "/v1/tokens")
    assert "Traceback" not in api.process.log


def answered(connection: socket.socket) -> bytes:
    """What comes before the other side ends; nothing where it resets the connection."""
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET /v1/tokens HTTP/1.1\r\nAuthorization: Bearer "])
def test_connections_that_ask_for_nothing_give_way(api: Api, said: bytes) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(api)) for _ in range(api_server.MAX_CONNECTIONS)]
        for connection in silent:
            connection.sendall(said)
        api.ok("GET", "/v1/tokens")
        oldest, *others = silent
        assert not answered(oldest)
        for connection in others:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)


def test_connections_that_are_being_answered_do_not_give_way(api: Api) -> None:
    head = f"Host: localhost\r\nAuthorization: Bearer {api.bearer}"
    watch = f"GET /v1/trace HTTP/1.1\r\n{head}\r\n\r\n".encode()
    with ExitStack() as stack:
        watching = [stack.enter_context(connected(api)) for _ in range(api_server.MAX_CONNECTIONS)]
        for connection in watching:
            connection.sendall(watch)
            assert b"200 OK" in answered(connection)
        with connected(api) as refused, suppress(BrokenPipeError):
            refused.sendall(watch)
            assert not answered(refused)
        # It is let in when one of them has left.
        watching[0].close()
        while True:
            try:
                api.ok("GET", "/v1/tokens")
                break
            except (OSError, http.client.HTTPException):
                continue


def connected(api: Api) -> socket.socket:
    return socket.create_connection(("127.0.0.1", api.port), LONG)


def test_one_home_has_one_api_and_knows_where(api: Api, home: Scratch, command: Command) -> None:
    url = f"http://127.0.0.1:{api.port}"
    assert command("control", "url").stdout == f"{url}\n"
    assert json.loads(command("control", "url", "--json").stdout) == {"url": url}
    assert json.loads(command("control", "token", "--json").stdout) == {"token": api.bearer}
    again = command("control", "run", code=6)
    assert url in again.stderr
    assert api.process.signal(signal.SIGTERM) == 0
    assert not (home.home.run / "control.url").exists()
    stopped = command("control", "url", code=6)
    assert "klyuch control run" in stopped.stderr


def test_a_stranger_at_the_port_of_an_api_that_was_killed_is_not_named(
    api: Api, command: Command
) -> None:
    api.process.signal(signal.SIGKILL)
    with socket.create_server(("127.0.0.1", api.port)):
        command("control", "url", code=6)
        with start() as process:
            port = Api.port_of(process)
            assert command("control", "url").stdout == f"http://127.0.0.1:{port}\n"
            assert port != api.port


def test_an_api_that_was_killed_is_not_in_the_way(api: Api, command: Command) -> None:
    api.process.signal(signal.SIGKILL)
    command("control", "url", code=6)
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        refused = command("control", "run", "--port", str(taken.getsockname()[1]), code=1)
    assert "Choose another port" in refused.stderr
    for wrong in ("Work", "6=", "x=Work", "1000=Work"):
        command("control", "run", "--pico", wrong, code=2)


def test_a_port_for_python_fido2_has_one_token_and_it_is_there(
    command: Command, token: ScratchToken
) -> None:
    twice = command("control", "run", "--pico", "6=Work", "--pico", "06=Work", code=2)
    assert "name each port once" in twice.stderr
    missing = command("control", "run", "--pico", "6=Work", "--pico", "7=Nope", code=5)
    assert "Nope" in missing.stderr


def test_python_fido2s_controller_touches_and_switches_its_token_alone(
    home: Scratch, token: ScratchToken, card: piv_cards.Client, command: Command
) -> None:
    with start("--pico", "6=Work") as process:
        served = Api(home, process, command)

        def get(path: str) -> int:
            """As the controller of its tests does it."""
            try:
                address = f"http://127.0.0.1:{served.port}{path}"
                with urllib.request.urlopen(address, timeout=5) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        assert get("/") == 200
        assert get("/usb6/touch/off") == get("/usb6/touch/on") == 200
        assert card.status(USE) == 0x9000
        assert get("/usb6/power/off") == 200
        shown = json.loads(command("token", "show", "Work", "--json").stdout)
        assert shown["state"] == "removed"
        assert get("/usb6/touch/off") == get("/usb6/power/on") == 200
        assert get("/usb7/touch/on") == 404
        assert get("/v1/tokens") == 401
        status, _ = served.ask("GET", "/usb6/touch/on", Origin="http://evil.example")
        assert status == 403
