"""The applications of a card: each is checked, and loaded when it is first reached."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from apdu.model import APPLICATIONS
from tests import cards
from tests.fido_cards import Desk
from token_fw.apps.installed import NAMES, load


def test_every_application_of_the_catalogue_is_on_a_card() -> None:
    assert set(NAMES) == set(APPLICATIONS)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_runs_the_commands_of_its_catalogue(name: str) -> None:
    # Building it checks its handlers.
    assert load(name).spec is APPLICATIONS[name]


@pytest.mark.parametrize("name", NAMES)
def test_an_application_is_loaded_when_it_is_first_selected(name: str) -> None:
    script = f"""
import sys
from apdu.model import APPLICATIONS
from tests import cards

def loaded():
    return {{other for other in {NAMES!r} if f"token_fw.apps.{{other}}" in sys.modules}}

client = cards.Bench().card.connect()
before = loaded()
aid = APPLICATIONS[{name!r}].aid
answer = client.transceive(bytes((0x00, 0xA4, 0x04, 0x00, len(aid))) + aid)
assert answer.endswith(b"\\x90\\x00"), answer
print(*before, "then", *loaded())
"""
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["then", name]


def test_all_interfaces_of_a_card_share_what_an_application_keeps() -> None:
    desk = Desk()
    assert desk.card.authenticator is desk.card.authenticator
    assert desk.card.authenticator is not Desk().card.authenticator


def test_threads_that_reach_an_application_first_together_share_it() -> None:
    desk, start, found = Desk(), threading.Barrier(8), []

    def reach() -> None:
        start.wait()
        found.append(desk.card.authenticator)

    threads = [threading.Thread(target=reach) for _ in range(start.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == start.parties
    assert set(found) == {desk.card.authenticator}


def test_an_application_that_is_installed_late_knows_when_the_power_came() -> None:
    desk = Desk()
    desk.now += 5.0
    assert desk.card.authenticator.core.powered == desk.now - 5.0
    late = Desk()
    late.now += 5.0
    late.card.power_up()
    late.now += 1.0
    assert late.card.authenticator.core.powered == late.now - 1.0


def test_an_unknown_application_cannot_be_connected_to() -> None:
    with pytest.raises(ValueError, match="no application none"):
        cards.Bench().card.connect("none")
