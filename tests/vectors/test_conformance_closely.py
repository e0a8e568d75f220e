"""The examination looks at all bytes of PINs, answers and data."""

from __future__ import annotations

import pytest

from apdu.spec import Access
from host_tools.conformance.checks import Verdict
from host_tools.conformance.examination import Examination
from tests.vectors import examined_closely as closely
from tests.vectors.examined import EmulatedCard, examination, examine, failures, first_of
from tests.vectors.examined_piv import PINS
from token_fw.apps.pki import session as pki_session
from token_fw.apps.pki.files import Condition, File, Rule
from token_fw.apps.pki.session import PkiSession
from token_fw.pin import PinRef

pytestmark = pytest.mark.usefixtures("cheap_hash")

LENGTHS, RESETTING = "ISO/IEC 7816-4:2013 5.2", "ISO/IEC 7816-3"
VERIFYING, CHALLENGES = "ISO/IEC 7816-4:2013 11.5.6", "ISO/IEC 7816-4:2013 11.5.3"
UPDATING, READING = "ISO/IEC 7816-4:2013 11.2.5", "ISO/IEC 7816-4:2013 11.2.3"
TELLING, DECIPHERING = "ISO/IEC 7816-4:2013 11.4.3", "ISO/IEC 7816-8:2004 5.10"
CHAINING, GOING_ON = "ISO/IEC 7816-4:2020 5.3.3", "ISO/IEC 7816-4:2013 11.7.1"
PART2 = "SP 800-73-4 part 2"

FLAWS: dict[type[EmulatedCard], tuple[str, str]] = {
    closely.AnswersUpdates: ("vector: the current file", UPDATING),
    closely.AnswersVerify: ("the card takes the PINs", VERIFYING),
    closely.AnswersChains: ("a chain is put together", CHAINING),
    closely.CountsNoChanges: ("vector: the card tells its keys", TELLING),
    closely.ListsNoKeys: ("vector: the card tells its keys", TELLING),
    closely.TellsAllTries: ("vector: the card tells its keys", TELLING),
    closely.GoesOnWithNothing: ("no answer goes on that has ended", GOING_ON),
    closely.CutsLongData: ("vector: long data are written whole", READING),
    closely.ForgetsTheEndOfChains: ("vector: long data are written whole", READING),
    closely.ChallengesInTurn: ("challenges are as long", CHALLENGES),
    closely.ChallengesByHalves: ("challenges are as long", CHALLENGES),
    closely.ChangesItsAtr: ("the answer to reset stays", RESETTING),
    closely.AgreesWithAnything: ("vector: no key agrees with a point", DECIPHERING),
}
VISIBLE_WITHOUT_HARM = [
    closely.AnswersChains,
    closely.GoesOnWithNothing,
    closely.ChallengesInTurn,
    closely.ChallengesByHalves,
    closely.ChangesItsAtr,
]
PIV_FLAWS: dict[type[EmulatedCard], tuple[str, str]] = {
    closely.AnswersVerify: ("the card takes the PINs", f"{PART2} 3.2.1"),
    closely.AnswersPutData: ("vector: printed information", f"{PART2} 3.3.1"),
    closely.ComparesFourBytesOfThePuk: ("the whole PUK is compared", f"{PART2} 3.2.2"),
    closely.TakesBarePins: ("the whole PIN is compared", f"{PART2} 3.2.1"),
    closely.GoesOnWithNothing: ("no answer goes on that has ended", GOING_ON),
    closely.ChangesItsAtr: ("the answer to reset stays", RESETTING),
    closely.AgreesWithAnything: ("vector: no key agrees with a point", f"{PART2} 3.2.4"),
}


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_broken_card_fails_with_the_clause_it_breaks(flaw: type[EmulatedCard]) -> None:
    first_of(examination(flaw()).run(), *FLAWS[flaw])


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        (Condition.SO, Access.USER_OR_SO),
        (Condition.SO, Access.USER),
        (Condition.USER, Access.USER_OR_SO),
        (Condition.USER_OR_SO, Access.USER),
        (Condition.USER_OR_SO, Access.SO),
        (Condition.USER_OR_SO, Access.ALWAYS),
    ],
)
def test_a_file_that_is_for_others_than_its_rule_names_is_found(
    condition: Condition, taken: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pki_session._ACCESS, condition, taken)
    assert _breaks_a_rule_of_files()


@pytest.mark.parametrize("rule", [Rule.DELETE_SELF, Rule.DELETE_CHILD, Rule.CREATE_EF])
def test_a_rule_of_files_that_is_not_looked_at_is_found(
    rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow = PkiSession.allow

    def careless(session: PkiSession, file: File, asked: Rule) -> None:
        if asked is not rule:
            allow(session, file, asked)

    monkeypatch.setattr(PkiSession, "allow", careless)
    assert _breaks_a_rule_of_files()


def test_a_file_that_is_for_nobody_and_read_by_the_user_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow = PkiSession.allow

    def careless(session: PkiSession, file: File, asked: Rule) -> None:
        if file.condition(asked) != Condition.NEVER or not session.pins.holds(PinRef.USER):
            allow(session, file, asked)

    monkeypatch.setattr(PkiSession, "allow", careless)
    assert _breaks_a_rule_of_files()


def _breaks_a_rule_of_files() -> bool:
    """Whether a vector about files fails."""
    groups = ("vector: a file is", "vector: each rule of a file", "vector: the current file")
    return any(
        check.verdict is Verdict.FAILED and check.clause and check.group.startswith(groups)
        for check in examination(EmulatedCard()).run()
    )


@pytest.mark.parametrize("flaw", VISIBLE_WITHOUT_HARM, ids=lambda flaw: flaw.__name__)
def test_some_flaws_show_without_changing_the_card(flaw: type[EmulatedCard]) -> None:
    assert failures(examine(flaw(), destructive=False))


@pytest.mark.parametrize("name", closely.CARELESS)
def test_a_card_that_compares_a_part_of_a_pin_fails(name: str) -> None:
    group = "the whole so PIN" if "SO PIN" in name else "the whole user PIN"
    first_of(examination(closely.CARELESS[name]()).run(), group, VERIFYING)


def test_an_answer_of_another_form_is_told_to_be_so() -> None:
    card = closely.ListsNonsense()
    check = first_of(examination(card).run(), "vector: the card tells its keys", TELLING)
    assert (check.expected, check.got) == ("an answer of the right form", "one of another form")


@pytest.mark.parametrize("name", closely.ORACLES)
def test_a_card_that_tells_what_the_padding_was_fails(name: str) -> None:
    first_of(examination(closely.ORACLES[name]()).run(), "vector: keys of every kind", DECIPHERING)


@pytest.mark.parametrize("flaw", PIV_FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_broken_piv_card_fails_with_the_clause_it_breaks(flaw: type[EmulatedCard]) -> None:
    examined = Examination(flaw(), "piv", PINS, destructive=True).run()
    first_of(examined, *PIV_FLAWS[flaw])


@pytest.mark.parametrize("name", closely.CARELESS_PIV)
def test_a_card_that_compares_a_part_of_the_pin_of_piv_fails(name: str) -> None:
    examined = Examination(closely.CARELESS_PIV[name](), "piv", PINS, destructive=True).run()
    first_of(examined, "the whole PIN is compared", f"{PART2} 3.2.1")
