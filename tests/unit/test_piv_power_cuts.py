"""A power cut at any commit leaves the PIV application before or after, and gives no try back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.testing.faults import Cut, Moment, PowerCut, PowerCutStore
from tests import cards, piv_cards
from token_fw.storage.memory import Medium

MOMENTS = pytest.mark.parametrize("moment", [Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT])
NEW_KEY = bytes(range(32))
SECRETS = (piv.REF_PIN, piv.REF_PUK, piv.MANAGEMENT)


pytestmark = pytest.mark.usefixtures("cheap_hash")


def in_use() -> Medium:
    """A token whose PIN and PUK have one try left each, with a key and an object."""
    bench = cards.Bench()
    client = piv_cards.managed(bench)
    client.make_key(piv.AUTHENTICATION)
    client.ok(piv.put_data(piv.CHUID, b"somebody"))
    for _ in range(2):
        client.status(piv.change(piv.REF_PIN, piv_cards.WRONG, piv_cards.NEW_PIN))
        client.status(piv.unblock(piv_cards.WRONG, piv_cards.NEW_PIN))
    return bench.medium


def blocked() -> Medium:
    """The same, with PIN and PUK blocked."""
    bench = cards.Bench(store=PowerCutStore(in_use()))
    client = piv_cards.client(bench)
    client.status(piv.verify(piv_cards.WRONG))
    client.status(piv.unblock(piv_cards.WRONG, piv_cards.NEW_PIN))
    return bench.medium


def told(medium: Medium) -> tuple[object, ...]:
    """All that a client learns of the application: which PINs and keys work, what there is."""
    return (
        works(medium, piv.verify(piv_cards.PIN)),
        works(medium, piv.verify(piv_cards.NEW_PIN)),
        works(medium, piv.change(piv.REF_PUK, piv_cards.PUK, piv_cards.NEW_PUK)),
        works(medium, piv.change(piv.REF_PUK, piv_cards.NEW_PUK, piv_cards.PUK)),
        *(piv_cards.client(copy(medium)).metadata(ref)[0x05] for ref in SECRETS),
        *(piv_cards.client(copy(medium)).status(piv.metadata(slot)) for slot in (0x9A, 0x82, 0xF9)),
        piv_cards.client(copy(medium)).send(piv.get_data(piv.CHUID)),
    )


def copy(medium: Medium) -> cards.Bench:
    return cards.Bench(store=PowerCutStore(Medium(dict(medium.records))))


def works(medium: Medium, command: Command) -> bool:
    return piv_cards.client(copy(medium)).status(command) == SW.NO_ERROR


def cut_everywhere(
    start: Medium, moment: Moment, command: Command, *, managed: bool = False
) -> Iterator[Medium]:
    """What each cut of one command leaves, until the command has no more commits."""
    for count in range(1, 10):
        store = PowerCutStore(Medium(dict(start.records)))
        bench = cards.Bench(store=store)
        client = piv_cards.client(bench)
        if managed:
            client.prove()
        store.arm(Cut(moment, count))
        try:
            client.send(command)
        except PowerCut:
            yield store.medium
        else:
            assert count > 1, "no commit was cut"
            return
    pytest.fail("the command has too many commits")


RIGHT = {
    "VERIFY": piv.verify(piv_cards.PIN),
    "change PIN": piv.change(piv.REF_PIN, piv_cards.PIN, piv_cards.NEW_PIN),
    "change PUK": piv.change(piv.REF_PUK, piv_cards.PUK, piv_cards.NEW_PUK),
    "unblock": piv.unblock(piv_cards.PUK, piv_cards.NEW_PIN),
}
MANAGED = {
    "SET MANAGEMENT KEY": piv.set_management_key(piv.AES_256, NEW_KEY),
    "MOVE KEY": piv.move(piv.RETIRED, piv.AUTHENTICATION),
    "PUT DATA": piv.put_data(piv.CHUID, b"somebody else"),
    "GENERATE": piv.generate(piv.RETIRED, piv.P256),
}


@MOMENTS
@pytest.mark.parametrize("name", MANAGED)
def test_a_cut_leaves_keys_and_objects_as_they_were_or_as_they_are_to_be(
    name: str, moment: Moment
) -> None:
    start = in_use()
    done = copy(start)
    client = piv_cards.client(done)
    client.prove()
    client.ok(MANAGED[name])
    states = told(start), told(done.medium)
    for left in cut_everywhere(start, moment, MANAGED[name], managed=True):
        assert told(left) in states


@MOMENTS
@pytest.mark.parametrize("name", RIGHT)
def test_a_cut_while_the_last_try_is_used_leaves_it_spent_or_the_command_done(
    name: str, moment: Moment
) -> None:
    """Whoever cuts the power may not have known the right value."""
    start = in_use()
    ref = piv.REF_PUK if "PUK" in name or name == "unblock" else piv.REF_PIN
    for left in cut_everywhere(start, moment, RIGHT[name]):
        tries = piv_cards.client(copy(left)).tries(ref)[1]
        assert tries in {1, 0, 3}
        # With the try unspent nothing else may have happened.
        assert tries != 1 or left.records == start.records


@MOMENTS
@pytest.mark.parametrize(
    "command",
    [
        piv.verify(piv_cards.WRONG),
        piv.change(piv.REF_PIN, piv_cards.WRONG, piv_cards.NEW_PIN),
        piv.change(piv.REF_PUK, piv_cards.WRONG, piv_cards.NEW_PUK),
        piv.unblock(piv_cards.WRONG, piv_cards.NEW_PIN),
    ],
    ids=["VERIFY", "change PIN", "change PUK", "unblock"],
)
def test_a_wrong_value_never_learns_that_it_is_wrong_without_its_try_spent(
    command: Command, moment: Moment
) -> None:
    start = in_use()
    for left in cut_everywhere(start, moment, command):
        if moment is Moment.BEFORE_COMMIT:
            assert left.records == start.records
        else:
            right = piv_cards.client(copy(left))
            assert 0 in (right.tries(piv.REF_PIN)[1], right.tries(piv.REF_PUK)[1])


@MOMENTS
def test_a_cut_reset_leaves_the_application_as_it_was_or_factory_new(moment: Moment) -> None:
    start = blocked()
    done = copy(start)
    piv_cards.client(done).ok(piv.reset())
    states = told(start), told(done.medium)
    assert states[0] != states[1]
    for left in cut_everywhere(start, moment, piv.reset()):
        assert told(left) in states


@MOMENTS
def test_a_cut_while_the_application_is_made_leaves_none_or_a_whole_one(moment: Moment) -> None:
    store = PowerCutStore(Medium(dict(cards.Bench().medium.records)))
    bench = cards.Bench(store=store)
    store.arm(Cut(moment))
    with pytest.raises(PowerCut):
        piv_cards.client(bench)
    kinds = {kind for kind, _ in store.medium.records}
    assert ("piv-management" in kinds) == (moment is Moment.AFTER_COMMIT)
    assert ("piv-key" in kinds) == (moment is Moment.AFTER_COMMIT)
    again = piv_cards.managed(copy(store.medium))
    again.make_key(piv.AUTHENTICATION)
    again.ok(piv.attest(piv.AUTHENTICATION))
