"""Firefox and Chromium show a web server the certificate of a key that lives on the token."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.testing import Command, Scratch, ScratchToken
from tests.interop.browsers.browser import Browser, PageError
from tests.interop.browsers.conftest import SUBJECT, Card, Logins
from tests.interop.browsers.person import Person
from tests.interop.browsers.tap import Tap
from tests.interop.certificates import Authority
from tests.interop.sites import NOBODY, Site, Visit

WRONG = [f"{number:06}" for number in range(1, 31)]
_PATIENCE = 10.0
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["RSA-2048", "P-256"])
def test_a_certificate_logs_in_with_one_pin_prompt(
    *,
    kind_of_browser: Callable[[Person], Browser],
    person: Person,
    authority: Authority,
    card: Card,
    token: ScratchToken,
    logins: Logins,
    kind: str,
    version: str,
) -> None:
    card.make_key(kind)
    before = logins.count()
    with (
        Site(authority, VERSIONS[version], closed=True) as site,
        kind_of_browser(person) as browser,
    ):
        browser.enter(token.pin, *WRONG)
        assert browser.open(site.url) == SUBJECT
        assert browser.open(site.url) == SUBJECT
        assert len(browser.prompts) == 1
    assert site.visits == [Visit(SUBJECT, version)] * 2
    assert logins.count() - before == 1


def test_wrong_pins_lock_the_token_and_not_the_browser(
    *,
    kind_of_browser: Callable[[Person], Browser],
    person: Person,
    authority: Authority,
    card: Card,
    token: ScratchToken,
    logins: Logins,
    command: Command,
) -> None:
    card.make_key("RSA-2048")
    before = logins.count()
    with (
        Site(authority, ssl.TLSVersion.TLSv1_3, closed=True) as closed,
        Site(authority, ssl.TLSVersion.TLSv1_3, closed=False) as free,
        kind_of_browser(person) as browser,
    ):
        browser.enter(*WRONG)
        with pytest.raises(PageError):
            browser.open(closed.url)
        assert _tries_left(command) == 0
        asked = len(browser.prompts)
        assert 3 <= logins.count() - before <= asked <= browser.most_prompts[0]

        with pytest.raises(PageError):
            browser.open(closed.url)
        assert logins.count() - before <= len(browser.prompts) <= asked + browser.most_prompts[1]
        assert browser.open(free.url) == NOBODY

        command("pin", "unblock", KLYUCH_SO_PIN=token.so_pin, KLYUCH_NEW_PIN=token.pin)
        browser.enter(token.pin)
        assert browser.open(closed.url) == SUBJECT
    assert closed.visits == [Visit(SUBJECT, "TLSv1.3")]


def _tries_left(command: Command) -> int:
    """Of the user PIN."""
    pins = json.loads(command("pin", "status", "--json").stdout)
    (tries,) = [pin["tries_left"] for pin in pins if pin["name"] == "user"]
    return int(tries)


def test_a_token_that_is_out_logs_nobody_in_until_it_is_back(
    *,
    kind_of_browser: Callable[[Person], Browser],
    person: Person,
    authority: Authority,
    card: Card,
    token: ScratchToken,
    logins: Logins,
    command: Command,
) -> None:
    card.make_key("P-256")
    before = logins.count()
    with (
        Site(authority, ssl.TLSVersion.TLSv1_3, closed=True) as site,
        kind_of_browser(person) as browser,
    ):
        browser.enter(token.pin, token.pin, *WRONG)
        assert browser.open(site.url) == SUBJECT

        command("token", "remove", token.label)
        with pytest.raises(PageError):
            browser.open(site.url)
        assert (len(browser.prompts), len(site.visits)) == (1, 1)

        command("token", "insert", token.label)
        assert _open_soon(browser, site.url) == SUBJECT
        assert (len(browser.prompts), len(site.visits)) == (2, 2)
    assert logins.count() - before == 2


def _open_soon(browser: Browser, url: str) -> str:
    """Open a page, which may take some attempts: NSS looks into a slot once a second."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return browser.open(url)
        except PageError:
            if time.monotonic() > deadline:
                raise


def test_the_function_list_of_version_3_is_taken(
    *,
    kind_of_browser: Callable[[Person], Browser],
    authority: Authority,
    card: Card,
    token: ScratchToken,
    home: Scratch,
    folder: Path,
) -> None:
    card.make_key("P-256")
    tap = Tap(folder, home.library)
    environment = {**home.environment, **tap.environment}
    person = Person(folder, environment, tap.library, authority.certificate)
    browser = kind_of_browser(person)
    # The making of its database has taken some already.
    before = len(tap.lists())
    with Site(authority, ssl.TLSVersion.TLSv1_3, closed=True) as site, browser:
        browser.enter(token.pin)
        assert browser.open(site.url) == SUBJECT
    taken = tap.lists()[before:]
    assert taken
    assert min(taken) >= (3, 0)
