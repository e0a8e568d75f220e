"""Whatever is called in whatever order, the library answers as if it had promised nothing.

The same calls are made twice, in new sessions: once as they are, and once with the daemon's epoch
moved before each of them, so that nothing can be promised.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.cryptoki import Cryptoki
from host_tools.epoch import EPOCH
from host_tools.testing import Scratch, ScratchToken
from pkcs11_module import _constants as ck
from pkcs11_module.types import Buffer, Mechanism
from tests.interop.test_operation_rules_library import LibraryStage
from tests.vectors.operation_rules import ARGUMENTS, BEGINNERS, LAST, OPERATIONS, sized

Call = tuple[str, tuple[object, ...]]
_SESSIONS = 2
_EXAMPLES = 500
_CYCLES_END = {
    "C_SignInit": "C_Sign",
    "C_EncryptInit": "C_Encrypt",
    "C_DigestInit": "C_Digest",
    "C_VerifyInit": "C_Verify",
    "C_SignRecoverInit": "C_SignRecover",
}
_CYCLES = (*_CYCLES_END, *_CYCLES_END.values())
_UNKNOWN_KEY = 1 << 30


class Table:
    """A library on a token, and the calls that can be made in a session of it."""

    def __init__(self, library: Cryptoki, scratch: Scratch, token: ScratchToken) -> None:
        self._library = library
        self._token = token
        self._login = library.open_session(token.slot)
        self._login.login(ck.CKU_USER, token.pin.encode())
        self._stage = LibraryStage(self._login)
        with (scratch.home.run / EPOCH).open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 0)
        self.calls = list(self._calls())

    def _calls(self) -> Iterator[Call]:
        stage = self._stage
        for kind, name in BEGINNERS.items():
            begun = [stage.beginning(kind, single=single) for single in (False, True)]
            yield from ((name, args) for args in begun)
            if isinstance(begun[0][0], Mechanism):
                yield name, (None, *begun[0][1:])
            if len(begun[0]) > 1:
                yield name, (begun[0][0], _UNKNOWN_KEY, *begun[0][2:])
        for name, make in ARGUMENTS.items():
            variants = [make(stage, "ready"), LAST.get(name, ())]
            for args in filter(None, variants):
                yield name, args
                if any(isinstance(item, Buffer) for item in args):
                    yield from ((name, sized(args, room)) for room in (None, 1))
            if not variants[0]:
                yield name, ()
        for rule in OPERATIONS.values():
            yield "C_SessionCancel", (getattr(ck, rule["cancel"]),)

    def outcomes(self, steps: list[tuple[int, Call]], before: Callable[[], None]) -> list[str]:
        """The return values of the calls, each in a new session of that number."""
        sessions = [self._library.open_session(self._token.slot) for _ in range(_SESSIONS)]
        made = []
        for number, (name, args) in steps:
            before()
            self._stage.opened = sessions[number]
            made.append(self._stage.outcome(name, *args))
        for session in sessions:
            session.close()
        self._stage.opened = self._login
        return made

    def move_epoch(self) -> None:
        number = int.from_bytes(self._page[:8], "little")
        self._page[:8] = ((number + 1) % (1 << 64)).to_bytes(8, "little")


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with pytest.MonkeyPatch.context() as patch, Scratch() as scratch:
        for name, value in scratch.environment.items():
            patch.setenv(name, value)
        token = scratch.create_token("Promises")
        with Cryptoki() as library:
            yield Table(library, scratch, token)


def _steps(calls: list[Call]) -> st.SearchStrategy[list[tuple[int, Call]]]:
    """Calls among which operations are begun and finished as programs do it, and disturbed."""
    cycles = [
        [call for call in calls if call[0] == name and None not in call[1]] for name in _CYCLES
    ]
    whole = dict(zip(_CYCLES, cycles, strict=True))
    anything = st.sampled_from(calls)

    def again(begin: str) -> st.SearchStrategy[list[Call]]:
        first, end = st.sampled_from(whole[begin]), st.sampled_from(whole[_CYCLES_END[begin]])
        same = st.sampled_from([call for call in calls if call[0] == begin])
        between = st.lists(st.one_of(anything, same), max_size=2)
        return st.tuples(first, between, end, between).map(
            lambda made: [made[0], *made[1], made[2], *made[3], made[0], *made[1]]
        )

    blocks = st.one_of(*map(again, _CYCLES_END), anything.map(lambda call: [call]))
    block = st.tuples(st.integers(0, _SESSIONS - 1), blocks)
    return st.lists(block, max_size=8).map(
        lambda made: [(number, call) for number, several in made for call in several]
    )


@settings(max_examples=max(_EXAMPLES, settings().max_examples))
@given(data=st.data())
def test_what_is_promised_is_answered_as_if_it_were_not(table: Table, data: st.DataObject) -> None:
    steps = data.draw(_steps(table.calls))
    promised = table.outcomes(steps, lambda: None)
    assert promised == table.outcomes(steps, table.move_epoch)
