"""The file system: selection, control parameters, reading, writing, rules."""

from __future__ import annotations

from itertools import pairwise

import pytest

from apdu import tlv
from apdu.codec import Command
from apdu.model import SW
from host_tools.conformance import pki_commands as pki
from host_tools.conformance.pki_commands import BY_EITHER, BY_SO, BY_USER, FREE, NEVER, SO, USER
from tests import cards

DF = b"\x50\x15"
EF = b"\x44\x01"
NAME = bytes.fromhex("A000000063504B43532D3135")


def parameters(answer: bytes) -> dict[int, bytes]:
    outer, used = tlv.parse_one(answer)
    assert (outer.tag, used) == (0x62, len(answer))
    return tlv.to_dict(tlv.parse(outer.value))


def content(client: cards.Client, fid: bytes = b"\0\0", offset: int = 0) -> bytes:
    item, _ = tlv.parse_one(client.ok(pki.read(offset, fid)))
    assert item.tag == 0x53
    return item.value


def tree() -> cards.Client:
    """3F00/2F00 and 3F00/5015/4401, with the user PIN verified."""
    client = cards.logged_in()
    client.ok(pki.create(pki.fcp(b"\x2f\x00", 5)))
    client.ok(pki.create(pki.df_fcp(DF, NAME)))
    client.ok(pki.create(pki.fcp(EF, 300)))
    return client


def rules(**conditions: int) -> bytes:
    """Seven conditions, free but for those named."""
    order = ("delete", "lock", "activate", "deactivate", "write", "update", "read")
    return bytes(conditions.get(name, FREE) for name in order)


def test_control_parameters_of_a_file_and_of_a_directory() -> None:
    client = tree()
    file = parameters(client.ok(pki.select(DF + EF, answer=True)))
    assert file == {
        0x82: b"\x01",
        0x83: EF,
        0x80: b"\x01\x2c",
        0x86: b"\xff" + bytes(7),
        0x8A: b"\x05",
    }
    directory = parameters(client.ok(pki.select(DF, answer=True)))
    assert (directory[0x82], directory[0x83], directory[0x84]) == (b"\x38", DF, NAME)
    root = parameters(client.ok(pki.select(b"", answer=True)))
    assert (root[0x82], root[0x83]) == (b"\x38", b"\x3f\x00")


def test_a_blank_cards_master_file_shows_that_all_is_allowed() -> None:
    client = cards.Bench().client()
    assert parameters(client.ok(pki.select(b"", answer=True)))[0x86] == b"\xff" + bytes(7)


@pytest.mark.parametrize(
    ("p1", "value", "found"),
    [
        (0x00, b"", b"\x3f\x00"),
        (0x00, b"\x3f\x00", b"\x3f\x00"),
        (0x00, EF, EF),
        (0x00, DF, DF),
        (0x00, b"\x2f\x00", b"\x2f\x00"),
        (0x04, NAME, DF),
        (0x08, DF + EF, EF),
        (0x09, EF, EF),
    ],
)
def test_files_are_selected_by_identifier_name_and_path(
    p1: int, value: bytes, found: bytes
) -> None:
    client = tree()
    client.ok(pki.select(DF))
    answer = client.ok(Command(0x00, 0xA4, p1, 0x00, value, 256))
    assert parameters(answer)[0x83] == found


@pytest.mark.parametrize(
    ("p1", "value", "sw"),
    [
        (0x00, b"\x44\x09", SW.FILE_NOT_FOUND),
        (0x00, b"\x44", SW.WRONG_LENGTH),
        (0x08, b"\x3f\x00" + DF, SW.FILE_NOT_FOUND),
        (0x08, DF + b"\x44", SW.WRONG_LENGTH),
        (0x08, b"", SW.WRONG_LENGTH),
        (0x09, DF + EF, SW.FILE_NOT_FOUND),
        (0x04, NAME[:-1], SW.FILE_NOT_FOUND),
        (0x04, bytes(17), SW.FILE_NOT_FOUND),
        (0x03, b"", SW.INCORRECT_P1P2),
    ],
)
def test_what_is_not_there_leaves_the_selection_alone(p1: int, value: bytes, sw: int) -> None:
    client = tree()
    client.ok(pki.select(DF + EF))
    assert client.status(Command(0x00, 0xA4, p1, 0x00, value, 256)) == sw
    assert len(content(client)) == 300


def test_a_created_file_is_current_and_full_of_zeros() -> None:
    client = tree()
    assert content(client) == bytes(300)


def test_offsets_in_p1_p2_and_in_data_objects_agree() -> None:
    client = tree()
    client.ok(Command(0x00, 0xD6, 0x00, 0x05, b"even"))
    client.ok(pki.update(9, b" and odd"))
    assert content(client)[5:17] == b"even and odd"
    assert client.ok(Command(0x00, 0xB0, 0x00, 0x0A, b"", 3)) == b"and"


def test_a_file_grows_at_its_end_and_has_no_holes() -> None:
    client = tree()
    client.ok(pki.update(300, b"more"))
    assert content(client)[298:] == b"\0\0more"
    assert client.status(pki.update(305, b"hole")) == SW.WRONG_P1P2
    assert client.status(pki.read(305)) == SW.WRONG_P1P2
    assert content(client, offset=304) == b""


def test_one_command_writes_and_sets_the_size() -> None:
    client = tree()
    client.ok(pki.update(0, b"short", 5))
    assert content(client) == b"short"
    client.ok(pki.update(5, None, 8))
    assert content(client) == b"short\0\0\0"
    assert client.status(pki.update(0, b"too long", 4)) == SW.INCORRECT_DATA
    assert client.status(pki.update(0, None)) == SW.INCORRECT_DATA
    assert parameters(client.ok(pki.select(DF + EF, answer=True)))[0x80] == b"\x00\x08"


def test_a_file_has_at_most_one_mebibyte() -> None:
    client = tree()
    assert client.status(pki.update(0, None, (1 << 20) + 1)) == SW.NOT_ENOUGH_MEMORY
    client.ok(pki.update(0, None, 1 << 20))
    assert client.status(pki.update(1 << 20, b"x")) == SW.NOT_ENOUGH_MEMORY
    assert client.status(pki.create(pki.fcp(b"\x44\x02", (1 << 20) + 1))) == (SW.NOT_ENOUGH_MEMORY)


def test_odd_commands_name_a_file_of_the_current_directory() -> None:
    client = tree()
    client.ok(pki.select(DF))
    client.ok(pki.update(0, b"named", 5, EF))
    assert content(client, EF) == b"named"
    assert client.status(pki.read(0, b"\x44\x09")) == SW.FILE_NOT_FOUND
    client.ok(pki.select(b""))
    assert client.status(pki.read(0, DF)) == SW.INCOMPATIBLE_FILE_STRUCTURE
    assert client.status(pki.read(0, b"\x00\x01")) == SW.FILE_NOT_FOUND


def test_without_a_current_file_there_is_nothing_to_read() -> None:
    client = tree()
    client.ok(pki.select(DF))
    for command in (
        pki.read(0),
        pki.update(0, b"x"),
        Command(0, 0xB0, 0, 0, b"", 1),
        Command(0, 0xD6, 0, 0, b"x"),
    ):
        assert client.status(command) == SW.NO_CURRENT_EF
    assert client.status(Command(0, 0xB0, 0x81, 0, b"", 1)) == SW.FILE_NOT_FOUND


@pytest.mark.parametrize("ne", [1, 2, 3, 127, 129, 130, 131, 256, 258, 259, 260])
def test_a_wrapped_answer_is_never_longer_than_le(ne: int) -> None:
    client = tree()
    answer = client.ok(pki.read(0, ne=ne))
    item, used = tlv.parse_one(answer)
    assert used == len(answer)
    assert len(item.value) <= 300
    assert ne - 2 <= len(answer) <= max(ne, 2) or len(item.value) == 300


def test_deleting_a_directory_deletes_what_is_in_it_and_its_name() -> None:
    client = tree()
    client.ok(pki.select(b""))
    client.ok(pki.delete(DF))
    assert client.status(pki.select(DF + EF)) == SW.FILE_NOT_FOUND
    assert client.status(Command(0, 0xA4, 4, 0, NAME, 256)) == SW.FILE_NOT_FOUND
    client.ok(pki.select(b"\x2f\x00"))
    client.ok(pki.create(pki.df_fcp(DF, NAME)))


def test_deleting_the_current_file_leaves_its_directory_selected() -> None:
    client = tree()
    client.ok(pki.delete())
    assert client.status(pki.read(0)) == SW.NO_CURRENT_EF
    client.ok(pki.create(pki.fcp(EF)))
    client.ok(pki.select(DF + EF))


def test_a_file_deleted_through_another_interface_is_gone() -> None:
    bench = cards.operational()
    one, other = cards.logged_in(bench), cards.logged_in(bench)
    one.ok(pki.create(pki.df_fcp(DF)))
    one.ok(pki.create(pki.fcp(EF)))
    other.ok(pki.delete(DF))
    assert one.status(pki.read(0)) == SW.NO_CURRENT_EF
    assert parameters(one.ok(Command(0, 0xA4, 0x00, 0x04, b"", 256)))[0x83] == b"\x3f\x00"
    one.ok(pki.create(pki.fcp(EF)))
    one.ok(pki.select(EF))


def test_the_master_file_cannot_be_deleted() -> None:
    client = tree()
    client.ok(pki.select(b""))
    assert client.status(pki.delete()) == SW.CONDITIONS_NOT_SATISFIED


def test_identifiers_and_names_are_unique() -> None:
    client = tree()
    assert client.status(pki.create(pki.fcp(EF))) == SW.FILE_EXISTS
    assert client.status(pki.create(pki.df_fcp(b"\x50\x16", NAME))) == SW.DF_NAME_EXISTS
    for reserved in (b"\x00\x00", b"\x3f\x00", b"\x3f\xff", b"\xff\xff"):
        assert client.status(pki.create(pki.fcp(reserved))) == SW.INCORRECT_DATA


def test_directories_nest_eight_deep() -> None:
    client = cards.logged_in()
    for level in range(7):
        client.ok(pki.create(pki.df_fcp(bytes((0x60, level)))))
    assert client.status(pki.create(pki.df_fcp(b"\x60\x08"))) == SW.NOT_ENOUGH_MEMORY


@pytest.mark.parametrize(
    "template",
    [
        b"",
        tlv.encode(0x62, b""),
        tlv.encode(0x63, tlv.encode(0x83, EF)),
        pki.fcp(EF)[:-1],
        pki.fcp(EF) + b"\x00",
        pki.fcp(EF + b"\x01"),
        pki.fcp(EF, conditions=bytes(6)),
        pki.fcp(EF, conditions=bytes((0x55,)) + bytes(6)),
        pki.fcp(EF).replace(b"\x82\x01\x01", b"\x82\x01\x02"),
        pki.df_fcp(DF, bytes(17)),
        tlv.encode(0x62, tlv.parse_one(pki.fcp(EF))[0].value + b"\x81\x01\x05"),
        tlv.encode(0x62, tlv.parse_one(pki.fcp(EF))[0].value + b"\x84\x01\x05"),
        tlv.encode(0x62, tlv.parse_one(pki.fcp(EF))[0].value + b"\x99\x01\x05"),
    ],
)
def test_malformed_control_parameters_make_no_file(template: bytes) -> None:
    bench = cards.operational()
    client = cards.logged_in(bench)
    before = bench.digest()
    sw = SW.INCORRECT_DATA if template else SW.WRONG_LENGTH
    assert client.status(pki.create(template)) == sw
    assert bench.digest() == before


CONDITIONS = {FREE: (1, 1, 1), BY_USER: (0, 1, 0), BY_SO: (0, 0, 1), BY_EITHER: (0, 1, 1)}


@pytest.mark.parametrize(("condition", "allowed"), [*CONDITIONS.items(), (NEVER, (0, 0, 0))])
def test_a_files_rules_hold_for_whoever_is_verified(
    condition: int, allowed: tuple[int, int, int]
) -> None:
    bench = cards.operational()
    conditions = rules(read=condition, update=condition, delete=condition)
    cards.logged_in(bench).ok(pki.create(pki.fcp(EF, 3, conditions)))
    # Deleting also needs the master file's consent, which is the user's.
    for ref, access in zip((None, USER, SO), allowed, strict=True):
        client = bench.client()
        if ref is not None:
            client.log_in(ref)
        sw = SW.NO_ERROR if access else SW.SECURITY_STATUS_NOT_SATISFIED
        assert client.status(pki.read(0, EF)) == sw
        assert client.status(pki.update(0, b"new", fid=EF)) == sw
    deleting = cards.logged_in(bench).status(pki.delete(EF))
    assert (deleting == SW.NO_ERROR) == bool(allowed[1])


def test_a_directory_protects_what_is_in_it() -> None:
    bench = cards.operational()
    user = cards.logged_in(bench)
    user.ok(pki.create(pki.df_fcp(DF, conditions=rules(write=BY_SO, update=BY_USER, read=BY_SO))))
    user.ok(pki.create(pki.fcp(EF)))
    user.ok(pki.select(DF))
    assert user.status(pki.create(pki.df_fcp(b"\x50\x16"))) == 0x6982
    assert user.status(pki.delete(EF)) == 0x6982
    so = bench.client()
    so.log_in(SO)
    so.ok(pki.select(DF))
    assert so.status(pki.create(pki.fcp(b"\x44\x02"))) == 0x6982
    so.ok(pki.create(pki.df_fcp(b"\x50\x16")))
    so.ok(pki.select(DF))
    so.ok(pki.delete(EF))


def test_on_a_blank_card_everything_is_allowed() -> None:
    client = cards.Bench().client()
    client.ok(pki.create(pki.fcp(EF, 3, rules(read=NEVER, update=NEVER, delete=NEVER))))
    client.ok(pki.update(0, b"abc"))
    assert content(client) == b"abc"
    client.ok(pki.delete(EF))


def test_the_change_counter_moves_with_every_change_and_with_nothing_else() -> None:
    client = tree()
    seen = [cards.changes(client)]
    client.ok(pki.select(b"\x2f\x00"))
    client.ok(pki.read(0))
    client.status(pki.verify(USER, b"wrong"))
    client.log_in()
    client.status(pki.create(pki.fcp(b"\x2f\x00")))
    assert cards.changes(client) == seen[0]
    for command in (
        pki.update(0, b"x"),
        pki.update(0, b"x"),
        pki.create(pki.fcp(b"\x44\x02")),
        pki.delete(),
        pki.change(USER, cards.USER_PIN, b"123456"),
    ):
        client.ok(command)
        seen.append(cards.changes(client))
    numbers = [int.from_bytes(counter, "big") for counter in seen]
    steps = [(after - before) % 2**32 for before, after in pairwise(numbers)]
    assert steps == [1] * len(steps)
