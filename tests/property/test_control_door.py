"""Whatever the control door is asked, it refuses or answers; nothing else leaves a handler."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools import holder
from host_tools.control import ErrorCode, encode
from host_tools.control_peer import _HANDLERS, ControlPeer
from host_tools.doors import Doors
from host_tools.home import Home


def _nested(value: object) -> object:
    for _ in range(400):
        value = [value]
    return value


_TEXTS = (
    "label",
    "token",
    "so_pin",
    "pin",
    "passphrase",
    "pin_policy",
    "attestation",
    "finger",
    "quality",
)
_FIELDS = (*_TEXTS, "user_tries", "so_tries")
_FLAGS = ("blank", "force", "form", "label", "commands", "steps")
_LONE = st.sampled_from(["\ud800", "bad\udcff", "x\udfff" * 40])
_PLAIN = st.sampled_from(["Work", "0", "481516", "23423108", "none", "x" * 50_000, "00" * 9000])
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | _LONE | _PLAIN
)
_ODD = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | _LONE, inner, max_size=3)
        | inner.map(_nested)
    ),
    max_leaves=4,
)
_REQUESTS = st.fixed_dictionaries(
    {"do": st.sampled_from([*sorted(_HANDLERS), "trace"]) | _ODD},
    optional=dict.fromkeys((*_FIELDS, *_FLAGS), _ODD),
)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, cheap_hash: None) -> Iterator[Doors]:
    """The doors of a home; its daemon cannot be stopped."""
    home = Home(tmp_path_factory.mktemp("odd") / "home\udcff")
    home.make()
    with pytest.MonkeyPatch.context() as patch, closing(Doors(home, lambda: None)) as opened:
        patch.setattr(holder, "_TICK", 0)
        yield opened


def _ask(doors: Doors, request: Mapping[str, object]) -> dict[str, object]:
    """The answer; that of a request which waits for somebody says nothing yet."""
    peer = ControlPeer(doors)
    try:
        answer = next(iter(peer.receive(encode(request)))) or encode({"ok": True, "result": {}})
    finally:
        peer.closed()
    decoded: dict[str, object] = json.loads(answer)
    return decoded


@given(_REQUESTS)
def test_any_request_is_answered_or_refused(doors: Doors, request: dict[str, object]) -> None:
    if not any(reader.record.label == "Work" for reader in doors.rack.tokens()):
        made = {"do": "token.create", "label": "Work", "so_pin": "23423108", "pin": "481516"}
        assert _ask(doors, made)["ok"] is True
    answer = _ask(doors, request)
    assert answer["ok"] is True or answer["code"] in set(ErrorCode)


@pytest.mark.parametrize("do", [*sorted(_HANDLERS), "trace"])
def test_no_field_takes_a_lone_surrogate(doors: Doors, do: str) -> None:
    fields = dict.fromkeys(_FIELDS, "\ud800")
    answer = _ask(doors, {"do": do, **fields})
    if do not in {"hello", "status", "stop", "check", "token.list", "apdu"}:
        assert (answer["code"], "UTF-8" in str(answer["message"])) == ("bad-request", True)


def test_a_path_that_is_not_utf_8_is_told_as_it_is(doors: Doors) -> None:
    status = _ask(doors, {"do": "status"})["result"]
    assert isinstance(status, dict)
    assert Path(status["home"]) == doors.home.path
