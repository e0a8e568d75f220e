"""The examination finds values of P1 and P2 that are taken for others, and spends no try for it."""

from __future__ import annotations

import pytest

from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.examination import Examination
from tests import piv_cards
from tests.vectors import examined, examined_piv
from tests.vectors import examined_pins as pins
from tests.vectors.examined import CHANGE, RESET_COUNTER, UNBLOCK, VERIFY, EmulatedCard, first_of

pytestmark = pytest.mark.usefixtures("cheap_hash")

ISO, PART2 = "ISO/IEC 7816-4:2013", "SP 800-73-4 part 2"
VERIFYING, CHANGING, UNBLOCKING = f"{ISO} 11.5.6", f"{ISO} 11.5.7", f"{ISO} 11.5.10"
VERIFYING_PIV, CHANGING_PIV, UNBLOCKING_PIV = (f"{PART2} 3.2.{number}" for number in (1, 2, 3))
P1, P2 = "a wrong P1 is refused", "a wrong P2 is refused"
USER, SO, PIN, PUK = pki.USER, pki.SO, piv.REF_PIN, piv.REF_PUK

PARAMETERS: dict[str, tuple[type[EmulatedCard], str, str]] = {
    **{
        f"VERIFY takes P1 {p1:02X}": (pins.takes_p1(VERIFY, p1), P1, VERIFYING)
        for p1 in (0x01, 0x02, 0x40, 0x7F, 0x80, 0xFE)
    },
    **{
        f"VERIFY takes P2 {p2:02X}": (pins.takes_p2(VERIFY, p2, USER), P2, VERIFYING)
        for p2 in (0x00, 0x03, 0x11, 0x41, 0x80, 0x81, 0x82)
    },
    "CHANGE REFERENCE DATA takes P2 81": (pins.takes_p2(CHANGE, 0x81, USER), P2, CHANGING),
    "RESET RETRY COUNTER takes P2 81": (pins.takes_p2(UNBLOCK, 0x81, USER), P2, UNBLOCKING),
}
PIV_PARAMETERS: dict[str, tuple[type[EmulatedCard], str, str]] = {
    "VERIFY takes P1 01": (pins.takes_p1(VERIFY, 0x01), P1, VERIFYING_PIV),
    **{
        f"VERIFY takes P2 {p2:02X}": (pins.takes_p2(VERIFY, p2, PIN), P2, VERIFYING_PIV)
        for p2 in (0x01, 0x81, 0x95)
    },
    "CHANGE REFERENCE DATA takes P2 82": (pins.takes_p2(CHANGE, 0x82, PIN), P2, CHANGING_PIV),
    "RESET RETRY COUNTER takes P2 81": (
        pins.takes_p2(RESET_COUNTER, 0x81, PIN),
        P2,
        UNBLOCKING_PIV,
    ),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_wrong_parameters_that_are_taken_show_without_a_try(name: str) -> None:
    flaw, group, clause = PARAMETERS[name]
    card = flaw()
    first_of(examined.examination(card, destructive=False).run(), group, clause)
    for ref, tries in ((USER, 3), (SO, 10)):
        assert card.bench.client().status(pki.verify(ref)) == SW.WRONG_PIN | tries


@pytest.mark.parametrize("name", PIV_PARAMETERS)
def test_wrong_parameters_that_are_taken_by_piv_show_without_a_try(name: str) -> None:
    flaw, group, clause = PIV_PARAMETERS[name]
    card = flaw()
    examination = Examination(card, "piv", examined_piv.PINS)
    first_of(examination.run(), group, clause)
    client = piv_cards.client(card.bench)
    assert client.tries(PIN) == client.tries(PUK) == (3, 3)
