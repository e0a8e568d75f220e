"""What the rules of the authenticator's machine choose from."""

from __future__ import annotations

from enum import Enum

from hypothesis import strategies as st

from apdu.ctap import Permission
from host_tools.testing.faults import Cut, Moment
from tests.ctap_state import RPS, with_checksum

PINS = ("2468", "ключик", "31415926")
USERS = (b"first", b"second", b"third")
FINGERS = (b"thumb", b"index")
STRANGER = b"a stranger's"
GRANTS: tuple[tuple[Permission, str | None], ...] = (
    (Permission.MC | Permission.GA, RPS[0]),
    (Permission.GA | Permission.LBW, RPS[1]),
    (Permission.CM, None),
    (Permission.CM, RPS[0]),
    (Permission.BE | Permission.ACFG | Permission.LBW, None),
    (Permission.PCMR, None),
)
"""What a token is asked for, and for which relying party."""
IN_THE_OLD_WAY = (None, None)
"""As CTAP 2.0 has a token asked for."""
ARRAYS = (with_checksum(b"\x80"), with_checksum(b"\x81\x01" * 9), bytes(20))
"""Serialized large-blob arrays, the last with a wrong checksum."""


class By(Enum):
    """Which token a request is signed with, if it is; a fresh one is got for it right before."""

    FRESH = "a token for this alone"
    LAST = "the token that was given last"
    EARLIER = "the token before"
    NOTHING = "no token"
    FINGER = "a finger"


class Meanwhile(Enum):
    """What comes between a request and the one that goes on with it."""

    NOTHING = "nothing"
    TIME = "some time"
    LONG = "too much time"
    CHANNEL = "the other channel"
    COMMAND = "another command"


rps = st.sampled_from((RPS[0], *RPS))
users, fingers = st.sampled_from(USERS), st.sampled_from(FINGERS)
# What is on the sensor: mostly a finger that may be enrolled, at times a stranger's or none.
on_the_sensor = st.sampled_from((*FINGERS, FINGERS[0], STRANGER, None))
bounds = st.sampled_from((None, None, *RPS))
readers = st.sampled_from((Permission.CM, Permission.PCMR))
pins, versions = st.sampled_from(PINS), st.sampled_from((2, 1))
mostly = st.sampled_from((True, True, True, False))
thens = st.lists(st.sampled_from((Meanwhile.NOTHING, *Meanwhile)), min_size=1, max_size=3)
seldom = st.sampled_from((*[False] * 7, True))
tokens = st.sampled_from((*[By.FRESH] * 5, By.LAST, By.EARLIER, By.NOTHING))
proofs = tokens | st.sampled_from((By.FINGER, By.NOTHING))
commits = st.builds(
    Cut, st.sampled_from((Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT)), st.integers(1, 3)
)
reads = st.builds(Cut, st.just(Moment.READ), st.integers(1, 12))
# A cut ends all that is volatile, so that there are not too many of them.
cuts = st.one_of(*[st.none()] * 4, commits, reads)
# What a token is used for, where, and how many seconds later.
uses = st.lists(
    st.tuples(
        st.sampled_from(
            (*[Permission.GA] * 4, Permission.MC, Permission.CM, Permission.LBW, Permission.ACFG)
        ),
        st.sampled_from(RPS),
        st.sampled_from((0.0, 0.0, 25.0, 400.0)),
    ),
    min_size=2,
    max_size=5,
)
