"""The control door's lines: whole messages from any pieces, and nothing but JSON objects."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.control import LINE_LIMIT, ControlError, ErrorCode, LineBuffer, encode

_VALUES = st.none() | st.booleans() | st.integers() | st.text()
_MESSAGES = st.lists(st.dictionaries(st.text(), _VALUES | st.lists(_VALUES)), max_size=4)


@given(messages=_MESSAGES, cuts=st.lists(st.integers(0, 400), max_size=6))
def test_messages_arrive_whole_however_they_are_cut(
    messages: list[dict[str, object]], cuts: list[int]
) -> None:
    wire = b"".join(map(encode, messages))
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    lines = LineBuffer()
    received = [
        message for start, end in pairwise(edges) for message in lines.receive(wire[start:end])
    ]
    assert received == messages


@given(st.binary(max_size=200))
def test_any_line_is_a_message_or_refused(line: bytes) -> None:
    line = line.replace(b"\n", b"")
    try:
        (message,) = LineBuffer().receive(line + b"\n")
    except ControlError:
        return
    assert message == json.loads(line)


@pytest.mark.parametrize("line", [b"[]", b'"do"', b"1", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError) as refused:
        list(LineBuffer().receive(line + b"\n"))
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(ControlError, match="1 MiB"):
        list(LineBuffer().receive(b"x" * (LINE_LIMIT + 1)))
