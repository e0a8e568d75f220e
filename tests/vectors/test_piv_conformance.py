"""The checks are green on the sound PIV application, and red, with the clause, on broken ones."""

from __future__ import annotations

import hmac

import pytest

from host_tools.conformance import piv_commands as piv
from host_tools.conformance.checks import Verdict
from host_tools.conformance.examination import Examination, WrongPinError
from host_tools.conformance.rules import RULES
from tests import piv_cards
from tests.vectors import examined_piv
from tests.vectors.examined import EmulatedCard, failures, first_of
from tests.vectors.examined_piv import PINS, examine

pytestmark = pytest.mark.usefixtures("cheap_hash")

PART2 = "SP 800-73-4 part 2"
READING, VERIFYING, CHANGING = f"{PART2} 3.1.2", f"{PART2} 3.2.1", f"{PART2} 3.2.2"
USING, GENERATING = f"{PART2} 3.2.4", f"{PART2} 3.3.2"
SELECTING, DISCOVERING = f"{PART2} 3.1.1", "SP 800-73-4 part 1 3.3.2"
EXTENSIONS = "Yubico PIV extensions"
ATTESTING, TELLING, TELLING_SERIAL = (f"{EXTENSIONS}, {since}" for since in ("4.3", "5.3", "5.0"))
IMPORTING, LENGTHS = EXTENSIONS, "ISO/IEC 7816-4:2013 5.2"

FLAWS: dict[type[EmulatedCard], tuple[str, str]] = {
    examined_piv.CountsTooMany: ("vector: PIN and PUK are changed", CHANGING),
    examined_piv.GivesTriesBack: ("a wrong PIN costs a try", VERIFYING),
    examined_piv.KeepsLoginOverReset: ("reset ends a login", VERIFYING),
    examined_piv.ShowsPrintedInformation: ("what is behind the PIN", READING),
    examined_piv.SignsTwiceForOnePin: ("vector: slots ask for the PIN", USING),
    examined_piv.GeneratesForThePin: ("the PIN opens its own alone", GENERATING),
    examined_piv.AnswersAnotherStatus: ("vector: a key is attested", ATTESTING),
    examined_piv.AnswersTooShort: ("vector: printed information", READING),
    examined_piv.SignsWrongly: ("vector: keys of every kind", USING),
    examined_piv.ProvesNothing: ("the card takes the PINs", USING),
    examined_piv.KeepsLoginOverWrongPin: ("a wrong PIN ends a login", VERIFYING),
    examined_piv.DecryptsWithoutPin: ("vector: keys of every kind", USING),
    examined_piv.UsesRetiredWithoutPin: ("vector: keys of every kind", USING),
    examined_piv.TakesAnyPin: ("a wrong PIN costs a try", VERIFYING),
    examined_piv.NamesAnotherApplication: ("the application property template", SELECTING),
    examined_piv.HasAnotherAuthority: ("the application property template", SELECTING),
    examined_piv.DiscoversAnotherApplication: ("the discovery object", DISCOVERING),
    examined_piv.DiscoversNoPin: ("the discovery object", DISCOVERING),
    examined_piv.PrefersAPinItLacks: ("the discovery object", DISCOVERING),
    examined_piv.TellsAnotherAlgorithm: ("vector: metadata tell", TELLING),
    examined_piv.TellsAnotherPinPolicy: ("vector: metadata tell", TELLING),
    examined_piv.TellsAnotherOrigin: ("vector: metadata tell", TELLING),
    examined_piv.TellsAnotherPublicKey: ("vector: metadata tell", TELLING),
    examined_piv.TellsAnotherAttestationKey: ("metadata of keys are true", TELLING),
    examined_piv.TellsMoreTries: ("metadata of PINs", TELLING),
    examined_piv.TellsAnotherManagementAlgorithm: ("metadata of PINs", TELLING),
    examined_piv.TellsAlwaysTheFactoryValue: ("vector: metadata tell", TELLING),
    examined_piv.ChangesItsSerial: ("the serial number stays", TELLING_SERIAL),
    examined_piv.HasAShortSerial: ("the serial number stays", TELLING_SERIAL),
    examined_piv.AttestsAnotherSerial: ("vector: a key is attested", ATTESTING),
    examined_piv.ImportsNothing: ("vector: imported keys", IMPORTING),
    examined_piv.AttestsImportedKeys: ("vector: imported keys", ATTESTING),
    examined_piv.TakesShortLengthsAlone: ("extended length fields", LENGTHS),
    examined_piv.LosesLongData: ("extended length fields", LENGTHS),
}


VISIBLE_WITHOUT_HARM = [
    examined_piv.ShowsPrintedInformation,
    examined_piv.NamesAnotherApplication,
    examined_piv.HasAnotherAuthority,
    examined_piv.DiscoversAnotherApplication,
    examined_piv.DiscoversNoPin,
    examined_piv.PrefersAPinItLacks,
    examined_piv.TellsAnotherAttestationKey,
    examined_piv.TellsMoreTries,
    examined_piv.TellsAnotherManagementAlgorithm,
    examined_piv.ChangesItsSerial,
    examined_piv.HasAShortSerial,
    examined_piv.TakesShortLengthsAlone,
    examined_piv.LosesLongData,
]


def test_the_sound_card_passes_every_check() -> None:
    checks = examine(EmulatedCard())
    assert [check for check in checks if check.verdict is not Verdict.PASSED] == []
    assert {rule.name for rule in RULES} <= {check.group for check in checks}


def test_a_sound_card_need_not_take_extended_lengths() -> None:
    checks = examine(examined_piv.TakesShortLengthsOnly())
    assert failures(checks) == []
    skipped = {check.group for check in checks if check.verdict is Verdict.SKIPPED}
    told = {"extended length fields say what short ones do", "vector: a long object travels"}
    assert all(group.startswith(tuple(told)) for group in skipped)
    assert len(skipped) == len(told)


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_broken_card_fails_with_the_clause_it_breaks(flaw: type[EmulatedCard]) -> None:
    group, clause = FLAWS[flaw]
    examined = Examination(flaw(), "piv", PINS, destructive=True).run()
    first_of(examined, group, clause)


@pytest.mark.parametrize("part", [slice(-1), slice(1, None)], ids=["the last", "the first"])
def test_a_management_key_of_which_not_all_is_compared_is_found(
    part: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, two: whole(one[part], two[part]))
    examined = Examination(EmulatedCard(), "piv", PINS, destructive=True).run()
    check = first_of(examined, "vector: the management key is proven", USING)
    assert check.got == "9000 done"


@pytest.mark.parametrize("flaw", VISIBLE_WITHOUT_HARM, ids=lambda flaw: flaw.__name__)
def test_many_flaws_show_without_changing_the_card(flaw: type[EmulatedCard]) -> None:
    assert failures(examine(flaw(), destructive=False))


def test_without_leave_to_destroy_the_card_stays_as_it_is() -> None:
    card = EmulatedCard()
    piv_cards.client(card.bench)  # the application is there from its first SELECT on
    before = card.bench.digest()
    assert failures(examine(card, destructive=False)) == []
    assert card.bench.digest() == before


def test_what_is_sent_is_told_without_any_secret() -> None:
    told = " ".join(line for check in examine(EmulatedCard()) for line in check.exchanges)
    assert "SET MANAGEMENT KEY  masked" in told
    secrets = (piv_cards.PIN, piv_cards.PUK, piv_cards.MANAGEMENT_KEY)
    assert not any(secret.hex(" ").upper() in told for secret in secrets)


@pytest.mark.parametrize("algorithm", [piv.AES_192, piv.DES3])
def test_the_card_is_left_with_the_secrets_that_were_given(algorithm: int) -> None:
    key = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
    given = {"pin": "000000", "puk": "11111111", "management-key": key.hex()}
    card = EmulatedCard()
    client = piv_cards.managed(card.bench)
    client.ok(piv.set_management_key(algorithm, key))
    client.ok(piv.change(piv.REF_PIN, piv_cards.PIN, b"000000"))
    client.ok(piv.change(piv.REF_PUK, piv_cards.PUK, b"11111111"))
    examination = Examination(card, "piv", given, destructive=True)
    assert failures(list(examination.run())) == []
    examination.restore()
    after = piv_cards.client(card.bench)
    after.log_in(pin=b"000000")
    after.prove(key, algorithm)
    after.ok(piv.change(piv.REF_PUK, b"11111111", piv_cards.PUK))


def test_the_card_is_left_with_the_tries_and_the_touch_policy_that_it_had() -> None:
    card = examined_piv.IsTouched()
    client = piv_cards.managed(card.bench)
    client.ok(piv.set_retries(5, 7))
    client.ok(piv.set_management_key(piv.AES_192, piv_cards.MANAGEMENT_KEY, touch=0xFE))
    examination = Examination(card, "piv", PINS, destructive=True)
    assert failures(list(examination.run())) == []
    examination.restore()
    after = piv_cards.managed(card.bench)
    assert (after.tries(piv.REF_PIN), after.tries(piv.REF_PUK)) == ((5, 5), (7, 7))
    assert after.metadata(piv.MANAGEMENT)[piv.POLICIES][1] == piv.TOUCH_ALWAYS


def test_a_card_that_cannot_be_reset_keeps_its_pins_its_keys_and_its_objects() -> None:
    card = examined_piv.HasNoReset()
    client = piv_cards.managed(card.bench)
    client.make_key(piv.AUTHENTICATION)
    client.ok(piv.put_data(piv.CHUID, b"somebody"))
    examination = Examination(card, "piv", PINS, destructive=True)
    vectors = [check for check in examination.run() if check.group.startswith("vector:")]
    assert {check.verdict for check in vectors} == {Verdict.SKIPPED}
    examination.restore()
    after = piv_cards.managed(card.bench)
    assert after.tries(piv.REF_PIN) == after.tries(piv.REF_PUK) == (3, 3)
    assert after.use(piv.AUTHENTICATION, piv.P256, bytes(32))
    assert b"somebody" in after.ok(piv.get_data(piv.CHUID))


@pytest.mark.parametrize("name", PINS)
def test_a_wrong_secret_ends_the_examination_before_anything_is_changed(name: str) -> None:
    card = EmulatedCard()
    client = piv_cards.managed(card.bench)
    client.ok(piv.put_data(piv.CHUID, b"somebody"))
    wrong = {"pin": "999999", "puk": "99999999", "management-key": bytes(16).hex()}
    given = {**PINS, name: wrong[name]}
    with pytest.raises(WrongPinError):
        list(Examination(card, "piv", given, destructive=True).run())
    assert b"somebody" in piv_cards.client(card.bench).ok(piv.get_data(piv.CHUID))
