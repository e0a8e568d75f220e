"""What a card has to do with whatever it is sent: a status word of its table, and no harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from apdu.codec import CHAINING, ApduFormatError, Command, Response
from apdu.model import SW, status_word
from apdu.spec import ApplicationSpec
from tests import cards, strategies
from token_fw.storage.memory import Medium


@dataclass(frozen=True, slots=True)
class Judge:
    """What the answers of an application are held against.

    A refusal may have spent a try where `spends` says so of its status word.
    """

    spec: ApplicationSpec
    spends: Callable[[int], bool]

    def inputs(self, meant_well: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        """Any bytes, and what was meant well, mutilated.

        Random bytes seldom get past the first check of a data field.
        """
        return st.one_of(
            strategies.apdus(self.spec),
            strategies.mutated(meant_well),
            strategies.truncated(meant_well),
        )

    def send(self, bench: cards.Bench, client: cards.Client, raw: bytes) -> None:
        """The answer is one of the table's, and a refusal has changed nothing but tries."""
        before = bench.medium.records
        sw = Response.parse(client.transport.transceive(raw)).sw
        status = status_word(sw)
        assert status is not None
        assert sw not in {SW.UNKNOWN_ERROR, SW.MEMORY_FAILURE}
        try:
            command = Command.parse(raw)
        except ApduFormatError:
            assert sw == SW.WRONG_LENGTH
        else:
            spec = self.spec.match(command.cla, command.ins, command.p1, command.p2)
            assert status.general or spec is None or status.name in spec.status
        if sw >> 8 not in {0x90, 0x61}:
            changed = _changed(before, bench.medium)
            assert changed <= ({"pin"} if self.spends(sw) else set())

    def cut_chain(self, bench: cards.Bench, client: cards.Client, data: st.DataObject) -> None:
        """The beginning of a chain changes nothing, and is forgotten for any other command."""
        whole = data.draw(strategies.catalogue_commands(self.spec))
        other = data.draw(strategies.any_commands())
        half = whole.data[: len(whole.data) // 2]
        before = bench.medium.records
        first = Command(whole.cla | CHAINING, whole.ins, whole.p1, whole.p2, half)
        self.send(bench, client, first.encode())
        assert bench.medium.records == before
        self.send(bench, client, other.encode())


def _changed(before: dict[tuple[str, bytes], bytes], medium: Medium) -> set[str]:
    """The kinds of the records that differ."""
    return {kind for (kind, _), _ in before.items() ^ medium.records.items()}
