"""Every call of spec/pkcs11/logins.toml against the facade: return value, login, tries.

And its refusals against its calls: each of them decides one.
"""

from __future__ import annotations

import tomllib
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module._logins import REFUSALS
from pkcs11_module.facade import login_rules
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import P256, SO_PIN, USER_PIN, Rig, template

SPEC = Path(__file__).parents[2] / "spec" / "pkcs11" / "logins.toml"
TABLE: dict[str, Any] = tomllib.loads(SPEC.read_text(encoding="utf-8"))
ROWS: list[dict[str, str]] = TABLE["calls"]
TRIES = 3
NEW_PIN = b"a new one"
PINS: dict[str, bytes | None] = {
    "user": USER_PIN,
    "so": SO_PIN,
    "new": NEW_PIN,
    "wrong": b"wrong",
    "short": b"1",
    "long": b"1" * 65,
    "empty": b"",
    "padded": b"123456\0\0",
    "none": None,
}
USERS = {
    "user": ck.CKU_USER,
    "so": ck.CKU_SO,
    "context": ck.CKU_CONTEXT_SPECIFIC,
    "nobody": 7,
}
STATES = {
    ("rw", "nobody"): ck.CKS_RW_PUBLIC_SESSION,
    ("rw", "user"): ck.CKS_RW_USER_FUNCTIONS,
    ("rw", "so"): ck.CKS_RW_SO_FUNCTIONS,
    ("ro", "nobody"): ck.CKS_RO_PUBLIC_SESSION,
    ("ro", "user"): ck.CKS_RO_USER_FUNCTIONS,
}
ENDS_SESSIONS = {"C_CloseSession": 1, "C_CloseAllSessions": 2}


class Scene:
    """A token and an application with sessions, as a row describes them."""

    def __init__(self, row: dict[str, str]) -> None:
        self.row = row
        self.rig = Rig(user_tries=TRIES, so_tries=TRIES)
        blank = row.get("token") == "blank"
        self.client = self.rig.application() if blank else self.rig.initialised()
        if "signing" in row:
            self._make_keys()
        self.kinds = [kind for kind in (row["in"], row.get("beside")) if kind]
        self.sessions = [self.client.open(rw=kind == "rw") for kind in self.kinds]
        self.user = row.get("user", "nobody")
        pins = row.get("pins")
        if pins == "unset":
            self._unset_user_pin()
        if self.user != "nobody":
            self.client("C_Login", self.sessions[0], USERS[self.user], PINS[self.user])
        if pins in ("last", "locked"):
            self._spend(TRIES - (pins == "last"))
        if row.get("so_pins") == "locked":
            self._spend(TRIES, ck.CKU_SO)
        if "signing" in row:
            self._begin(row["signing"])

    def _make_keys(self) -> None:
        session = self.client.user()
        self.client.make_ec_pair(session, b"always", ALWAYS_AUTHENTICATE=True)
        self.client.make_ec_pair(session, b"ordinary")
        self.client("C_CloseSession", session)

    def _unset_user_pin(self) -> None:
        client = self.rig.application()
        self.client("C_CloseAllSessions", 1)
        client("C_InitToken", 1, SO_PIN, b"again".ljust(32))
        self.sessions = [self.client.open(rw=kind == "rw") for kind in self.kinds]

    def _spend(self, tries: int, who: int = ck.CKU_USER) -> None:
        """By another application: this one's login stays."""
        other = self.rig.application()
        session = other.open()
        for _ in range(tries):
            other.fails("C_Login", session, who, b"wrong")
        other("C_CloseSession", session)

    def _begin(self, what: str) -> None:
        session = self.sessions[0]
        if what == "found":
            self.client("C_FindObjectsInit", session, ())
            return
        (key,) = self.client.find(session, CLASS=ck.CKO_PRIVATE_KEY, ID=what.encode())
        self.client("C_SignInit", session, Mechanism(ck.CKM_ECDSA), key)

    def tries(self) -> dict[str, int]:
        pins = self.client.application.slot(1).card.info().pins
        return {"user": pins[1].tries_left, "so": pins[2].tries_left}

    def arguments(self) -> tuple[object, ...]:
        row = self.row
        session = self.sessions[:1]
        pin, new = PINS[row.get("pin", "none")], PINS[row.get("new", "none")]
        who = USERS.get(row.get("as", ""))
        writable = ck.CKF_RW_SESSION if row.get("as") == "rw" else 0
        return {
            "C_Login": (*session, who, pin),
            "C_LoginUser": (*session, who, pin, row.get("name", "").encode()),
            "C_Logout": session,
            "C_CloseSession": session,
            "C_CloseAllSessions": (1,),
            "C_OpenSession": (1, ck.CKF_SERIAL_SESSION | writable),
            "C_InitPIN": (*session, new),
            "C_SetPIN": (*session, pin, new),
            "C_InitToken": (1, pin, b"token".ljust(32)),
        }[row["do"]]  # type: ignore[return-value]  # a list where no session is needed

    def states(self) -> list[int]:
        """The states of the sessions that are left; of a new one where none is."""
        left = self.sessions
        if self.row["gives"] == "CKR_OK":
            left = left[ENDS_SESSIONS.get(self.row["do"], 0) :]
        return [self.client("C_GetSessionInfo", session)[1] for session in left or [self._fresh()]]

    def _fresh(self) -> int:
        self.kinds.append("rw")
        return self.client.open()


def check(row: dict[str, str]) -> None:
    """One row is true."""
    scene = Scene(row)
    before = scene.tries()
    assert scene.client.outcome(row["do"], *scene.arguments()) == row["gives"]
    after = scene.tries()
    if row["gives"] != "CKR_OK":
        spent = {name for name in after if after[name] < before[name]}
        assert spent == ({row["spends"]} if "spends" in row else set())
        assert all(before[name] - after[name] <= 1 for name in after)
    if row.get("token") == "blank" and row["gives"] != "CKR_OK":
        flags = ck.CKF_SERIAL_SESSION | ck.CKF_RW_SESSION
        assert scene.client.fails("C_OpenSession", 1, flags) == "CKR_TOKEN_NOT_RECOGNIZED"
        return
    states = scene.states()
    who = row.get("then", scene.user)
    assert states == [STATES[kind, who] for kind in scene.kinds[-len(states) :]]
    check_login_is_real(scene, who)
    if row["do"] in ("C_SetPIN", "C_InitPIN") and row["gives"] == "CKR_OK":
        check_new_pin(scene, row)


def check_login_is_real(scene: Scene, who: str) -> None:
    """The card sees the same: it makes keys for the user alone."""
    if scene.kinds[0] == "ro" or scene.row["do"] in ENDS_SESSIONS:
        return
    session = scene.sessions[0] if scene.sessions else scene.client.open()
    scene.client.outcome("C_SessionCancel", session, 2**64 - 1)
    pair = template(TOKEN=True, EC_PARAMS=P256), template(TOKEN=True)
    mechanism = Mechanism(ck.CKM_EC_KEY_PAIR_GEN)
    outcome = scene.client.outcome("C_GenerateKeyPair", session, mechanism, *pair)
    assert outcome == ("CKR_OK" if who == "user" else "CKR_USER_NOT_LOGGED_IN")


def check_new_pin(scene: Scene, row: dict[str, str]) -> None:
    other = scene.rig.application()
    session = other.open()
    so = row["do"] == "C_SetPIN" and scene.user == "so"
    who = ck.CKU_SO if so else ck.CKU_USER
    assert other.fails("C_Login", session, who, SO_PIN if so else USER_PIN) == "CKR_PIN_INCORRECT"
    other("C_Login", session, who, NEW_PIN)


def title(row: dict[str, str]) -> str:
    return "-".join(value or "no session" for value in row.values())


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_row(row: dict[str, str]) -> None:
    check(row)


@pytest.mark.parametrize(
    ("number", "field", "lie"),
    [(0, "gives", "CKR_PIN_INCORRECT"), (0, "then", "nobody"), (17, "spends", "so")],
)
def test_a_row_that_is_not_true_fails(number: int, field: str, lie: str) -> None:
    row = deepcopy(ROWS[number]) | {field: lie}
    with pytest.raises(AssertionError):
        check(row)


@pytest.mark.parametrize(
    ("number", "function"),
    [(number, name) for number, row in enumerate(REFUSALS) for name in sorted(row.functions)],
)
def test_no_refusal_is_needless(
    number: int, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it one of the calls would end otherwise."""
    left = list(REFUSALS)
    left[number] = replace(left[number], functions=left[number].functions - {function})
    monkeypatch.setattr(login_rules, "REFUSALS", tuple(left))
    name = ck.CKR_NAMES[REFUSALS[number].gives]
    decided = [row for row in ROWS if row["do"] == function and row["gives"] == name]
    assert any(_is_untrue(row) for row in decided)


def _is_untrue(row: dict[str, str]) -> bool:
    try:
        check(row)
    except (AssertionError, KeyError):
        return True
    return False


def test_every_function_that_logs_in_or_out_has_rows() -> None:
    done: set[Any] = {row["do"] for row in ROWS}
    assert done == {
        "C_Login",
        "C_LoginUser",
        "C_Logout",
        "C_CloseSession",
        "C_CloseAllSessions",
        "C_OpenSession",
        "C_InitPIN",
        "C_SetPIN",
        "C_InitToken",
    }
