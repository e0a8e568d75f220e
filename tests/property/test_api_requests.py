"""Whatever request the control API gets, it is a call or a refusal, and none without its token."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from host_tools.api.routes import (
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

BEARER = "the home's own"
_PARTS = st.sampled_from(
    sorted({part for route in ROUTES for part in route.path} | {"v1", "usb6", "", "%2F", "%ff"})
) | st.text(max_size=6)
_TARGETS = st.builds(
    lambda parts, query: "/" + "/".join(parts) + query,
    st.lists(_PARTS, max_size=6),
    st.sampled_from(["", "?wait=1", "?wait=", "?", "?a=b", "?wait=inf"]),
) | st.text(max_size=20)
_METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD", ""])
_BODIES = st.sampled_from([b"", b"{}", b'{"steps": []}', b'{"finger": "x"}']) | st.binary(
    max_size=9
)
_NAMES = st.sampled_from(["host", "authorization", "origin", "sec-fetch-site"])
_VALUES = st.sampled_from(["localhost", "127.0.0.1:80", f"Bearer {BEARER}", "Bearer "]) | st.text()
_GOOD = st.just({"host": "localhost", "authorization": f"Bearer {BEARER}"})
_HEADERS = _GOOD | st.dictionaries(_NAMES, _VALUES)
_ACCESS = st.sampled_from([Access(BEARER), Access(BEARER, {6: "Work"})])


def answer(request: HttpRequest, access: Access) -> Wish | int:
    """What the request asks for, or the status of its refusal."""
    try:
        return parse(request, access)
    except HttpError as error:
        return int(error.status)


@given(_METHODS, _TARGETS, _HEADERS, _BODIES, _ACCESS)
def test_a_request_is_a_call_or_a_refusal(
    method: str, target: str, headers: dict[str, str], body: bytes, access: Access
) -> None:
    wish = answer(HttpRequest(method, target, headers, body), access)
    if isinstance(wish, int):
        assert 400 <= wish < 500
        return
    if headers.get("authorization", "").lower() != f"bearer {BEARER}".lower():
        assert access.ports
        assert isinstance(wish, Call | Greeting)
        assert isinstance(wish, Greeting) or wish.arguments == {"token": "Work"}
        assert "origin" not in headers
    else:
        assert isinstance(wish, Call | Stream | Greeting)
