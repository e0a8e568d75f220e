"""Every row of spec/pkcs11/rules.toml against the facade: what is refused, and what comes next."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import pytest

from pkcs11_module import _constants as ck
from pkcs11_module._functions import FUNCTIONS as SPECS
from pkcs11_module.facade.functions import handler
from pkcs11_module.types import Mechanism
from tests.unit.facade_rig import ROOM, SO_PIN, USER_PIN, Rig
from tests.vectors.operation_rules import (
    ARGUMENTS,
    BEGINNERS,
    FUNCTIONS,
    LAST,
    NEVER_FAIL,
    OPERATIONS,
    STATES,
    USES,
    Stage,
    sized,
)

CONTINUING = {name: rule["does"] for name, rule in FUNCTIONS.items() if "does" in rule}
SINGLE = [
    (name, kind, state)
    for name, does in CONTINUING.items()
    if len(does) == 1
    for kind in does
    for state in ["none", *OPERATIONS[kind]["states"]]
]
ALLOWED = [
    (name, kind, state)
    for name, kind, state in SINGLE
    if state not in USES[CONTINUING[name][kind]]["refused"]
]
DUAL = {name: tuple(does) for name, does in CONTINUING.items() if len(does) == 2}


@pytest.fixture(scope="module")
def shared() -> Stage:
    """One stage for all rows: every walk leaves it without an operation."""
    return Stage()


@pytest.fixture
def stage(shared: Stage) -> Stage:
    shared.run("C_SessionCancel", 2**64 - 1)
    return shared


def expected(state: str, after: str) -> str:
    return state if after == "same" else after


def begin(stage: Stage, name: str, kind: str, state: str) -> tuple[object, ...]:
    """Bring an operation into a state; the arguments with which the function would succeed."""
    args = ARGUMENTS[name](stage, state)
    put_in = b"a part of the data" if state == "parts" else b""
    added = b"all of the data" if name == "C_VerifySignature" else b""
    stage.begin(kind, state, signed=put_in + added)
    return args


def walk(stage: Stage, name: str, kind: str, state: str, use: dict[str, Any]) -> None:
    """One function in one state does what its row says."""
    args = begin(stage, name, kind, state)
    assert stage.state(kind) == state
    outcome = stage.outcome(name, *args)
    if state in use["refused"]:
        assert outcome == use["refused"][state]
        assert stage.state(kind) == ("none" if state == "none" else expected(state, use["error"]))
    else:
        assert outcome == "CKR_OK"
        assert stage.state(kind) == expected(state, use["next"])


@pytest.mark.parametrize(("name", "kind", "state"), SINGLE)
def test_a_function_is_refused_and_moves_on_as_its_row_says(
    stage: Stage, name: str, kind: str, state: str
) -> None:
    walk(stage, name, kind, state, USES[CONTINUING[name][kind]])


@pytest.mark.parametrize(
    ("name", "kind", "state"), [row for row in ALLOWED if row[0] not in NEVER_FAIL]
)
def test_any_other_error_leaves_the_state_that_the_row_says(
    stage: Stage, name: str, kind: str, state: str
) -> None:
    use = USES[CONTINUING[name][kind]]
    args = begin(stage, name, kind, state)
    stage.break_(kind)
    assert stage.outcome(name, *args) == "CKR_FUNCTION_FAILED"
    assert stage.state(kind) == expected(state, use["error"])


@pytest.mark.parametrize(("name", "kind", "state"), SINGLE)
def test_a_call_that_the_library_refuses_leaves_the_state_of_any_other_error(
    stage: Stage, name: str, kind: str, state: str
) -> None:
    use = USES[CONTINUING[name][kind]]
    stage.begin(kind, state)
    if kind != "find":
        stage.begin("find", "ready")
    stage.client.application.refused(name, stage.session)
    assert stage.state(kind) == ("none" if state == "none" else expected(state, use["error"]))
    assert kind == "find" or stage.state("find") == "ready"


@pytest.mark.parametrize("name", DUAL)
def test_a_dual_call_that_the_library_refuses_ends_both_operations(stage: Stage, name: str) -> None:
    for kind in DUAL[name]:
        stage.begin(kind, "ready")
    stage.client.application.refused(name, stage.session)
    assert [stage.state(kind) for kind in DUAL[name]] == ["none", "none"]


def test_a_call_refused_in_a_session_that_is_not_open_ends_nothing(stage: Stage) -> None:
    stage.begin("sign", "ready")
    closed = stage.client.open(rw=False)
    stage.client("C_CloseSession", closed)
    for session in (closed, 0, 2**64 - 1):
        stage.client.application.refused("C_Sign", session)
    assert stage.state("sign") == "ready"


@pytest.mark.parametrize("name", LAST)
def test_the_last_part_of_a_message_ends_the_message(stage: Stage, name: str) -> None:
    (kind,) = CONTINUING[name]
    stage.begin(kind, "begun")
    assert stage.outcome(name, *LAST[name]) == "CKR_OK"
    assert stage.state(kind) == USES[CONTINUING[name][kind]]["last"]


WITH_OUTPUT = {
    spec.name for spec in SPECS if any(item.kind in ("buffer", "last") for item in spec.arguments)
}


@pytest.mark.parametrize(
    ("name", "kind", "state"), [row for row in ALLOWED if row[0] in WITH_OUTPUT]
)
def test_a_size_query_and_a_short_buffer_change_nothing(
    stage: Stage, name: str, kind: str, state: str
) -> None:
    args = begin(stage, name, kind, state)
    args = LAST.get(name, args)
    assert stage.outcome(name, *sized(args, None)) == "CKR_OK"
    assert stage.state(kind) == state
    outcome = stage.outcome(name, *sized(args, 0))
    if outcome == "CKR_OK":
        # The end of a stream has nothing to give.
        assert name in ("C_EncryptFinal", "C_DecryptFinal")
        return
    assert outcome == "CKR_BUFFER_TOO_SMALL"
    assert stage.state(kind) == state
    assert stage.outcome(name, *args) == "CKR_OK"


@pytest.mark.parametrize("name", DUAL)
def test_dual_functions_demand_and_move_both_operations(stage: Stage, name: str) -> None:
    first, second = DUAL[name]
    every = [["none", *OPERATIONS[kind]["states"]] for kind in DUAL[name]]
    for states in itertools.product(*every):
        stage.run("C_SessionCancel", 2**64 - 1)
        for kind, state in zip(DUAL[name], states, strict=True):
            stage.begin(kind, state)
        uses = [USES[CONTINUING[name][kind]] for kind in (first, second)]
        refused = [
            use["refused"][state]
            for use, state in zip(uses, states, strict=True)
            if state in use["refused"]
        ]
        outcome = stage.outcome(name, *ARGUMENTS[name](stage, "ready"))
        assert outcome == (refused[0] if refused else "CKR_OK"), states
        for kind, use in zip((first, second), uses, strict=True):
            assert stage.state(kind) == use["error" if refused else "next"], states


@pytest.mark.parametrize(("active", "state"), STATES)
def test_an_operation_begins_only_beside_those_that_its_row_names(
    stage: Stage, active: str, state: str
) -> None:
    for kind, init in BEGINNERS.items():
        args = stage.beginning(kind, single=False)
        stage.begin(active, state)
        allowed = active in OPERATIONS[kind]["beside"] and active != kind
        outcome = stage.outcome(init, *args)
        assert outcome == ("CKR_OK" if allowed else "CKR_OPERATION_ACTIVE"), kind
        assert stage.state(active) == state
        stage.run("C_SessionCancel", 2**64 - 1)


def test_two_operations_on_the_same_data_leave_no_room_for_a_third(stage: Stage) -> None:
    for first, second in DUAL.values():
        for kind in BEGINNERS.keys() - {"find"}:
            args = stage.beginning(kind, single=False)
            stage.begin(first, "ready")
            stage.begin(second, "ready")
            assert stage.outcome(BEGINNERS[kind], *args) == "CKR_OPERATION_ACTIVE"
            stage.run("C_SessionCancel", 2**64 - 1)


@pytest.mark.parametrize(("kind", "state"), [row for row in STATES if row[0] != "find"])
def test_beginning_without_a_mechanism_ends_the_operation(
    stage: Stage, kind: str, state: str
) -> None:
    args = stage.beginning(kind, single=state == "single")
    none = (None, *args[1:])
    assert stage.outcome(BEGINNERS[kind], *none) == "CKR_ARGUMENTS_BAD"
    stage.begin(kind, state)
    assert stage.outcome(BEGINNERS[kind], *none) == "CKR_OK"
    assert stage.state(kind) == "none"


@pytest.mark.parametrize(("kind", "state"), STATES)
def test_cancelling_ends_the_operations_of_its_flags_alone(
    stage: Stage, kind: str, state: str
) -> None:
    flag = getattr(ck, OPERATIONS[kind]["cancel"])
    stage.begin(kind, state)
    stage.run("C_SessionCancel", (2**64 - 1) & ~flag)
    assert stage.state(kind) == state
    stage.run("C_SessionCancel", flag)
    assert stage.state(kind) == "none"
    stage.run("C_SessionCancel", flag)


@pytest.mark.parametrize("private", [True, False])
def test_logging_out_ends_what_the_rows_say(private: bool) -> None:
    stage = Stage(private=private)
    for kind, entry in OPERATIONS.items():
        stage.begin(kind, entry["states"][0])
        state = stage.state(kind)
        ends = entry["logout"] == "ends" or (entry["logout"] == "private" and private)
        stage.run("C_Logout")
        assert stage.state(kind) == ("none" if ends else state), kind
        stage = Stage(private=private) if private else relogged(stage)


def relogged(stage: Stage) -> Stage:
    """Logged in again: the keys are public, and are still there."""
    stage.run("C_SessionCancel", 2**64 - 1)
    stage.run("C_Login", ck.CKU_USER, USER_PIN)
    return stage


@pytest.mark.parametrize("kind", OPERATIONS)
def test_closing_the_session_ends_every_operation(kind: str) -> None:
    client = Rig().initialised()
    client.user()
    session = client.open()
    inner = client.application.session(session)
    client("C_DigestInit", session, Mechanism(ck.CKM_SHA256))
    inner.operations[kind] = inner.operations.pop("digest")
    client("C_CloseSession", session)
    assert not inner.operations


LOGINS = {"user": (ck.CKU_USER,), "so": (ck.CKU_SO,), "any": (ck.CKU_USER, ck.CKU_SO)}
PINS = {ck.CKU_USER: USER_PIN, ck.CKU_SO: SO_PIN}
DEMANDING = {name: rule for name, rule in FUNCTIONS.items() if rule.keys() & {"login", "writable"}}
DEMANDED: dict[str, tuple[object, ...]] = {
    "C_InitPIN": (b"135724",),
    "C_SetPIN": (USER_PIN, b"135724"),
    "C_Logout": (),
}


@pytest.mark.parametrize(
    ("writable", "user"),
    [(True, None), (False, None), (True, ck.CKU_USER), (False, ck.CKU_USER), (True, ck.CKU_SO)],
)
@pytest.mark.parametrize("name", DEMANDING)
def test_logins_and_read_write_sessions_are_demanded(
    name: str, writable: bool, user: int | None
) -> None:
    client = Rig().initialised()
    session = client.open(rw=writable)
    if user is not None:
        client("C_Login", session, user, PINS[user])
    rule, args = DEMANDING[name], DEMANDED[name]
    outcome = client.outcome(name, session, *args)
    if "login" in rule and user not in LOGINS[rule["login"]]:
        assert outcome == "CKR_USER_NOT_LOGGED_IN"
    elif rule.get("writable") and not writable:
        assert outcome == "CKR_SESSION_READ_ONLY"
    else:
        assert outcome not in ("CKR_USER_NOT_LOGGED_IN", "CKR_SESSION_READ_ONLY")


@pytest.mark.parametrize("kind", ["none", *(kind for kind in OPERATIONS if kind != "digest")])
def test_only_a_digest_on_its_own_is_saved(stage: Stage, kind: str) -> None:
    if kind != "none":
        stage.begin(kind, OPERATIONS[kind]["states"][0])
    needs = FUNCTIONS["C_GetOperationState"]["needs"]
    wanted = "CKR_STATE_UNSAVEABLE" if kind in needs else "CKR_OPERATION_NOT_INITIALIZED"
    assert stage.outcome("C_GetOperationState", ROOM) == wanted
    assert stage.state(kind) == (OPERATIONS[kind]["states"][0] if kind in OPERATIONS else "none")


def test_every_function_of_a_session_wants_one() -> None:
    client = Rig().initialised()
    for spec in SPECS:
        rule = FUNCTIONS[spec.name]
        if handler(spec.name) is None:
            assert client.fails(spec.name, 99) == "CKR_FUNCTION_NOT_SUPPORTED"
        elif rule.get("session"):
            assert client.fails(spec.name, 99) == "CKR_SESSION_HANDLE_INVALID"
        else:
            assert spec.name not in CONTINUING


def test_the_walk_sees_a_row_that_is_not_what_happens(stage: Stage) -> None:
    for name, kind, state, change in (
        ("C_SignUpdate", "sign", "ready", {"next": "ready"}),
        ("C_SignUpdate", "sign", "single", {"refused": {"single": "CKR_OPERATION_ACTIVE"}}),
        ("C_Sign", "sign", "parts", {"error": "same"}),
        ("C_Sign", "sign", "ready", {"refused": {"ready": "CKR_OPERATION_ACTIVE"}}),
        ("C_DigestFinal", "digest", "parts", {"next": "ready"}),
    ):
        wrong = deepcopy(USES[CONTINUING[name][kind]]) | change
        with pytest.raises(AssertionError):
            walk(stage, name, kind, state, wrong)
        stage.run("C_SessionCancel", 2**64 - 1)
