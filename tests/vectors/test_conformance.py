"""The checks are green on the sound card, and red, with the clause, on each broken one."""

from __future__ import annotations

import pytest

from host_tools.conformance import pki_commands as pki
from host_tools.conformance.checks import Verdict
from host_tools.conformance.rules import RULES
from tests import cards
from tests.vectors import examined
from tests.vectors.examined import EmulatedCard, VanishesWhenErased, examine, failures, first_of
from token_fw.factory import Profile

pytestmark = pytest.mark.usefixtures("cheap_hash")

CLASS = "ISO/IEC 7816-4:2013 5.4.1"
INSTRUCTION = "ISO/IEC 7816-4:2013 5.4.2"
LENGTHS = "ISO/IEC 7816-4:2013 5.2"
CHAINING = "ISO/IEC 7816-4:2020 5.3.3"
READING = "ISO/IEC 7816-4:2013 11.2.3"
VERIFYING = "ISO/IEC 7816-4:2013 11.5.6"
SELECTING = "ISO/IEC 7816-4:2013 11.1.1"
UNBLOCKING = "ISO/IEC 7816-4:2013 11.5.10"
CHALLENGES = "ISO/IEC 7816-4:2013 11.5.3"
GENERATION = "ISO/IEC 7816-8:2004 5.1"
SIGNING = "ISO/IEC 7816-8:2004 5.4"
SIGNATURES = "ISO/IEC 7816-8:2004 5.7"
IMPORTING = "ISO/IEC 7816-8:2004 C.2"
UPDATING = "ISO/IEC 7816-4:2013 11.2.5"
CHANGING = "ISO/IEC 7816-4:2013 11.5.7"

FLAWS: dict[type[EmulatedCard], tuple[str, str]] = {
    examined.CountsTooMany: ("a wrong PIN costs a try", VERIFYING),
    examined.GivesTriesBack: ("a wrong PIN costs a try", VERIFYING),
    examined.AsksForNoPin: ("nothing is done before the login", GENERATION),
    examined.AnswersAnotherStatus: ("a wrong P1 is refused", VERIFYING),
    examined.AnswersTooShort: ("vector: a file is made", READING),
    examined.AnswersTooLong: ("no more bytes come than Le", LENGTHS),
    examined.AddsDataToErrors: ("a class nobody knows", CLASS),
    examined.TakesAnyClass: ("secure messaging is refused", CLASS),
    examined.TakesAnyP2: ("a wrong P2 is refused", VERIFYING),
    examined.TakesAnyInstruction: ("an unknown instruction", INSTRUCTION),
    examined.TakesAnyLc: ("an Lc that promises too much", LENGTHS),
    examined.TakesSuperfluousData: ("superfluous data are refused", READING),
    examined.IgnoresLe: ("no more bytes come than Le", LENGTHS),
    examined.ForgetsChains: ("a chain is put together", CHAINING),
    examined.TakesAnyPin: ("a wrong PIN costs a try", VERIFYING),
    examined.KeepsLoginOverReset: ("reset ends a login", VERIFYING),
    examined.KeepsLoginOverSelect: ("SELECT ends a login", VERIFYING),
    examined.SignsWrongly: ("vector: keys of every kind", SIGNING),
    examined.TakesAnySignature: ("vector: signatures are verified", SIGNATURES),
    examined.TakesNoGostSignature: ("vector: GOST keys sign", SIGNATURES),
    examined.RefusesToInitialize: ("a class nobody knows", CLASS),
    examined.FallsSilent: ("superfluous data are refused", CHALLENGES),
    examined.ReadsForAnybody: ("vector: a file is read by whom", READING),
    examined.UnblocksForAnybody: ("vector: three wrong PINs lock", UNBLOCKING),
    examined.KeepsLoginOverWrongPin: ("a wrong PIN ends a login", VERIFYING),
    examined.HasNoResetLine: ("reset ends a login", VERIFYING),
    examined.SelectsAnything: ("an unknown application", SELECTING),
    examined.ChallengesTooShort: ("challenges are as long", CHALLENGES),
    examined.TellsAnotherPublicKey: ("vector: keys of every kind", GENERATION),
    examined.ImportsAnotherKey: ("vector: imported keys are those", IMPORTING),
    examined.ReadsFromTheStart: ("vector: the current file is read", READING),
    examined.WritesAtTheStart: ("vector: the current file is read", UPDATING),
    examined.ChangesForAnybody: ("vector: PINs of a fixed length", CHANGING),
    examined.UnblocksForAnybodyEvenly: ("vector: PINs of a fixed length", UNBLOCKING),
    examined.SetsPinsAgain: ("vector: PINs of a fixed length", CHANGING),
    examined.SignsWronglyWithLongKeys: ("vector: longer keys sign", SIGNING),
    examined.ChallengesByZeros: ("challenges are as long", CHALLENGES),
}
VISIBLE_WITHOUT_HARM = [
    examined.AnswersAnotherStatus,
    examined.AnswersTooLong,
    examined.AddsDataToErrors,
    examined.TakesAnyClass,
    examined.TakesAnyP2,
    examined.TakesAnyInstruction,
    examined.TakesAnyLc,
    examined.TakesSuperfluousData,
    examined.IgnoresLe,
    examined.ForgetsChains,
    examined.FallsSilent,
    examined.SelectsAnything,
    examined.ChallengesTooShort,
    examined.ChallengesByZeros,
]


def test_the_sound_card_passes_every_check() -> None:
    checks = examine(EmulatedCard())
    assert [check for check in checks if check.verdict is not Verdict.PASSED] == []
    assert {rule.name for rule in RULES} <= {check.group for check in checks}


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_broken_card_fails_with_the_clause_it_breaks(flaw: type[EmulatedCard]) -> None:
    group, clause = FLAWS[flaw]
    first_of(examined.examination(flaw()).run(), group, clause)


@pytest.mark.parametrize("flaw", VISIBLE_WITHOUT_HARM, ids=lambda flaw: flaw.__name__)
def test_many_flaws_show_without_changing_the_card(flaw: type[EmulatedCard]) -> None:
    assert failures(examine(flaw(), destructive=False))


def test_without_leave_to_destroy_the_card_stays_as_it_is() -> None:
    card = EmulatedCard()
    before = card.bench.digest()
    checks = examine(card, destructive=False)
    assert card.bench.digest() == before
    assert failures(checks) == []
    skipped = [check for check in checks if check.verdict is Verdict.SKIPPED]
    assert skipped
    assert all("--destructive" in check.reason for check in skipped)


@pytest.mark.parametrize(("user", "so"), [(5, 7), (3, 15), (15, 10), (2, 2)])
def test_a_sound_card_may_have_other_numbers_of_tries(user: int, so: int) -> None:
    card = EmulatedCard(Profile(b"ANOTHER1", user_tries=user, so_tries=so))
    checks = examine(card)
    assert failures(checks) == []
    reasons = {check.reason for check in checks if check.verdict is Verdict.SKIPPED}
    assert reasons == ({"it takes more tries of the user PIN than 2"} if user == 2 else set())


@pytest.mark.parametrize("so_pin", [False, True], ids=["no PIN", "the SO PIN alone"])
def test_a_card_whose_pins_were_never_set_is_given_them(so_pin: bool) -> None:
    card = EmulatedCard()
    card.blank()
    if so_pin:
        card.reset()
        card.soundly(pki.select_application())
        card.soundly(pki.initialize(cards.SO_PIN))
    assert [check for check in examine(card) if check.verdict is not Verdict.PASSED] == []


def test_a_card_that_vanishes_fails_the_check_that_broke_off_and_ends_there() -> None:
    *before, last = examine(VanishesWhenErased())
    assert failures(before) == []
    assert any(check.verdict is Verdict.PASSED for check in before)
    assert (last.verdict, last.got) == (Verdict.FAILED, "the card was pulled out")
    assert last.command == "INITIALIZE"
    assert last.exchanges


def test_what_is_sent_is_told_by_name_and_without_any_pin() -> None:
    told = [line for check in examine(EmulatedCard()) for line in check.exchanges]
    assert any("VERIFY" in line and "masked" in line for line in told)
    pins = [pin.encode().hex(" ").upper() for pin in examined.PINS.values()]
    assert not any(pin in line for pin in pins for line in told)
