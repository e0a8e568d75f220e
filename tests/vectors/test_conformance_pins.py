"""The examination of every command that takes a PIN: its tries, and who is logged in."""

from __future__ import annotations

import pytest

from apdu.model import APPLICATIONS
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.checks import Check, Verdict
from host_tools.conformance.examination import KINDS, Examination
from host_tools.conformance.pin_uses import COUNTS, ENDS, LEAVES, LOCKS
from tests import piv_cards
from tests.vectors import examined, examined_piv
from tests.vectors import examined_pins as pins
from tests.vectors.examined import (
    CHANGE,
    INITIALIZE,
    RESET_COUNTER,
    UNBLOCK,
    EmulatedCard,
    first_of,
)

pytestmark = pytest.mark.usefixtures("cheap_hash")

ISO = "ISO/IEC 7816-4:2013"
VERIFYING, CHANGING, UNBLOCKING = f"{ISO} 11.5.6", f"{ISO} 11.5.7", f"{ISO} 11.5.10"
OURS = "Klyuch, docs/pki-application.md"
PART2 = "SP 800-73-4 part 2"
VERIFYING_PIV, CHANGING_PIV, UNBLOCKING_PIV = (f"{PART2} 3.2.{number}" for number in (1, 2, 3))
CHANGE_ODD = 0x25
USER, SO, PIN, PUK = pki.USER, pki.SO, piv.REF_PIN, piv.REF_PUK

SPARING = {
    "changing the user PIN": ("user", CHANGE, USER, CHANGING),
    "changing the user PIN of any length": ("user", CHANGE_ODD, USER, CHANGING),
    "changing the SO PIN": ("so", CHANGE, SO, CHANGING),
    "changing the SO PIN of any length": ("so", CHANGE_ODD, SO, CHANGING),
    "unblocking": ("so", RESET_COUNTER, USER, UNBLOCKING),
    "unblocking with any length": ("so", UNBLOCK, USER, UNBLOCKING),
    "initialising": ("so", INITIALIZE, 0x00, OURS),
}
SPARING_PIV = {
    "changing the PIN": ("pin", CHANGE, PIN, CHANGING_PIV),
    "changing the PUK": ("puk", CHANGE, PUK, CHANGING_PIV),
    "unblocking": ("puk", RESET_COUNTER, PIN, UNBLOCKING_PIV),
}
FLAWS: dict[str, tuple[type[EmulatedCard], str, str]] = {
    **{
        f"{name} costs no try": (pins.spares_tries(pin, ins, p2), COUNTS, clause)
        for name, (pin, ins, p2, clause) in SPARING.items()
    },
    "no try comes back by changing": (
        pins.gives_none_back("user", CHANGE, USER),
        COUNTS,
        CHANGING,
    ),
    "the SO PIN gets none back by unblocking": (
        pins.gives_none_back("so", UNBLOCK, USER),
        COUNTS,
        UNBLOCKING,
    ),
    "the user PIN gets none back by unblocking": (
        pins.gives_none_back("user", RESET_COUNTER, USER),
        COUNTS,
        UNBLOCKING,
    ),
    "a locked PIN is changed": (pins.never_locks(CHANGE, USER), LOCKS, CHANGING),
    "a locked SO PIN unblocks": (pins.never_locks(UNBLOCK, USER), LOCKS, UNBLOCKING),
    "a locked SO PIN initialises": (pins.never_locks(INITIALIZE, 0x00), LOCKS, OURS),
    "changing logs in": (pins.logs_in("user", CHANGE_ODD, USER), LEAVES, CHANGING),
    "unblocking logs in": (pins.logs_in("user", UNBLOCK, USER), LEAVES, UNBLOCKING),
    "unblocking logs the SO in": (pins.logs_in("so", RESET_COUNTER, USER), LEAVES, UNBLOCKING),
    "unblocking logs in untold": (pins.LogsInUntold, LEAVES, UNBLOCKING),
    "unblocking keeps a login": (
        pins.keeps_login("user", RESET_COUNTER, USER, wrong=False),
        LEAVES,
        UNBLOCKING,
    ),
    "nobody is logged out": (pins.LogsNobodyOut, LEAVES, VERIFYING),
    "a wrong old PIN keeps a login": (
        pins.keeps_login("user", CHANGE, USER, wrong=True),
        ENDS,
        CHANGING,
    ),
    "a wrong SO PIN keeps a login": (
        pins.keeps_login("so", UNBLOCK, USER, wrong=True),
        ENDS,
        UNBLOCKING,
    ),
}
PIV_FLAWS: dict[str, tuple[type[EmulatedCard], str, str]] = {
    **{
        f"{name} costs no try": (pins.spares_tries(pin, ins, p2), COUNTS, clause)
        for name, (pin, ins, p2, clause) in SPARING_PIV.items()
    },
    "no try comes back by changing": (
        pins.gives_none_back("pin", CHANGE, PIN),
        COUNTS,
        CHANGING_PIV,
    ),
    "the PIN gets none back by unblocking": (
        pins.gives_none_back("pin", RESET_COUNTER, PIN),
        COUNTS,
        UNBLOCKING_PIV,
    ),
    "a locked PIN is changed": (pins.never_locks(CHANGE, PIN), LOCKS, CHANGING_PIV),
    "a locked PUK is changed": (pins.never_locks(CHANGE, PUK), LOCKS, CHANGING_PIV),
    "a locked PUK unblocks": (pins.never_locks(RESET_COUNTER, PIN), LOCKS, UNBLOCKING_PIV),
    "changing the PUK logs in": (pins.logs_in("pin", CHANGE, PUK), LEAVES, CHANGING_PIV),
    "unblocking logs in": (pins.logs_in("pin", RESET_COUNTER, PIN), LEAVES, UNBLOCKING_PIV),
    "nobody is logged out": (pins.LogsNobodyOut, LEAVES, VERIFYING_PIV),
    "a wrong old PIN keeps a login": (
        pins.keeps_login("pin", CHANGE, PIN, wrong=True),
        ENDS,
        CHANGING_PIV,
    ),
    "a wrong PUK keeps a login": (
        pins.keeps_login("pin", RESET_COUNTER, PIN, wrong=True),
        ENDS,
        UNBLOCKING_PIV,
    ),
}


def examination(card: EmulatedCard) -> Examination:
    return Examination(card, "piv", examined_piv.PINS, destructive=True)


@pytest.mark.parametrize("name", FLAWS)
def test_a_broken_card_fails_with_the_clause_it_breaks(name: str) -> None:
    flaw, group, clause = FLAWS[name]
    first_of(examined.examination(flaw()).run(), group, clause)


@pytest.mark.parametrize("name", PIV_FLAWS)
def test_a_broken_piv_card_fails_with_the_clause_it_breaks(name: str) -> None:
    flaw, group, clause = PIV_FLAWS[name]
    first_of(examination(flaw()).run(), group, clause)


def _verdicts(checks: list[Check], group: str) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in checks if check.group == group}


def test_every_pin_command_is_examined() -> None:
    checks = examined.examine(EmulatedCard())
    compared = {
        f"{spec.name} {use.p1:02X} {use.p2:02X}"
        for spec in pki.PKI.commands
        for use in spec.pins
        if use.compares
    }
    assert len(compared) == 9
    for group in (COUNTS, ENDS, LOCKS):
        assert _verdicts(checks, group) == dict.fromkeys(compared, Verdict.PASSED)


def test_what_only_the_factory_unlocks_is_not_locked() -> None:
    card = EmulatedCard()
    checks = list(Examination(card, "pki", examined.PINS, destructive=True).run())
    verdicts = _verdicts(checks, LOCKS)
    locked = {name for name, verdict in verdicts.items() if verdict is Verdict.PASSED}
    assert locked == {
        "VERIFY 00 01",
        "CHANGE REFERENCE DATA 00 01",
        "CHANGE REFERENCE DATA ODD 00 01",
    }
    assert examined.failures(checks) == []


def test_a_sound_piv_card_may_have_more_tries_than_it_can_tell() -> None:
    card = EmulatedCard()
    piv_cards.managed(card.bench).ok(piv.set_retries(20, 30))
    checks = list(examination(card).run())
    assert examined.failures(checks) == []
    reasons = {check.reason for check in checks if check.verdict is Verdict.SKIPPED}
    assert reasons == {"63Cx does not tell how many tries it has"}


@pytest.mark.parametrize("application", KINDS)
def test_the_commands_that_take_pins_are_those_of_the_catalogue(application: str) -> None:
    kind, spec = KINDS[application], APPLICATIONS[application]
    assert {command.name for command in spec.commands if command.pins} == kind.pin_data.keys()
    # A finger, or what is entered on the token, is not in the command.
    elsewhere = {"VERIFY ON TOKEN"}
    told = {command.name for command in spec.commands if "WRONG_PIN" in command.status}
    compare = {item.name for item in spec.commands if any(use.compares for use in item.pins)}
    assert told - elsewhere == compare
