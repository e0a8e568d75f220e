"""Plays a recording to another card and compares the answers, by meaning where they must differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from apdu.codec import ApduFormatError, Command, Response
from apdu.model import APPLICATIONS, SW, describe
from apdu.piv import MANAGEMENT_KEY
from apdu.piv import NAME as PIV
from apdu.recording import Entry, Mask
from apdu.selection import Selection, find_spec
from apdu.spec import ApplicationSpec
from host_tools import replay_piv, replay_pki
from host_tools.conformance.examination import KINDS
from host_tools.conformance.subject import Card
from host_tools.replay_answers import Difference, alike, difference
from host_tools.replay_piv import Proof
from host_tools.replay_uses import IncomparableError, UnlikeError, Uses

_VERIFY, _AUTHENTICATE, _GET_RESPONSE = 0x20, 0x87, 0xC0
# CHANGE REFERENCE DATA, RESET RETRY COUNTER, SET MANAGEMENT KEY.
_RENEWING = frozenset((b"\x24", b"\x25", b"\x2c", b"\x2d", b"\xff"))
_PKI = "pki"


class Outcome(StrEnum):
    """How a replayed exchange compares."""

    SAME = "same"
    DIFFERENT = "different"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One exchange of the recording, by its number from 1.

    `reason` says why it was skipped, or where the data differ; `difference` has the data of one
    that is different, if there are any.
    """

    number: int
    name: str
    outcome: Outcome
    recorded: str
    answered: str = ""
    reason: str = ""
    difference: Difference | None = None

    @property
    def told(self) -> tuple[str, str]:
        """Both answers for people, with the bytes around the first that differs."""
        excerpts = ("", "") if self.difference is None else self.difference.excerpts()
        both = zip((self.recorded, self.answered), excerpts, strict=True)
        recorded, answered = (": ".join(filter(None, one)) for one in both)
        return recorded, answered


@dataclass
class _Door:
    """A way to the card, with what replay knows of it."""

    card: Card
    uses: Mapping[str, Uses]
    """By the application whose keys they are of."""
    proof: Proof | None
    mask: Mask
    """Of what the card answers here."""
    # Whether the last command was skipped, so that nothing goes on with its answer.
    skipped: bool = False


class Player:
    """Plays the entries of a recording; `open_door` gives a way to the card for each of its doors.

    A masked VERIFY of the recording's `application` gets the PIN of its reference from `pins`
    where it was right in the recording, and a proof of PIV's management key, likewise, one by the
    `management_key`; everything else that is masked is skipped. After the card has refused a PIN
    none is sent again; so it is with the key. A PIN with one try left is sent with leave to spend
    the `last_try` alone.
    """

    def __init__(
        self,
        application: str,
        open_door: Callable[[], Card],
        pins: Mapping[str, str],
        management_key: bytes | None = None,
        *,
        last_try: bool = False,
    ) -> None:
        self._application = APPLICATIONS[application]
        self._open_door = open_door
        self._doors: dict[int, _Door] = {}
        self._piv_keys: replay_piv.PublicKeys = {}
        self._pki_keys: replay_pki.PublicKeys = {}
        self._management_key = management_key
        self._last_try = last_try
        # What has changed a PIN or key in the recording, and was skipped.
        self._unchanged = ""
        kind = KINDS[application]
        self._pins = {
            kind.references[name]: kind.padded(value.encode()) for name, value in pins.items()
        }

    def play(self, entries: list[Entry]) -> Iterator[Replayed]:
        """Each exchange as it comes. Raises TransportError where the card does not answer."""
        for number, (entry, application) in enumerate(_followed(self._application, entries), 1):
            door = self._door(entry.door)
            if entry.is_reset:
                door.card.reset()
                for uses in door.uses.values():
                    uses.was_reset()
                continue
            told = _told(entry.response, entry.length)
            command, reason = self._command(door, entry, application)
            door.skipped = command is None
            if command is None:
                if _renews(entry):
                    self._unchanged = entry.name
                    reason = f"{reason}: where what follows needs the new value it differs"
                yield Replayed(number, entry.name, Outcome.SKIPPED, told, reason=reason)
                continue
            answer = door.card.transceive(command)
            refused = Response.parse(answer).sw != SW.NO_ERROR
            if entry.masked and refused:
                self._pins.clear()
            if entry.blanked and refused:
                self._management_key = None
            outcome, reason = _compare(door, entry, application, command, answer)
            kept = door.mask.entry(entry.door, entry.at, 0.0, command, answer)
            unlike = None
            if outcome is Outcome.DIFFERENT:
                unlike = difference(application, entry, kept, bytewise=not reason)
                reason = reason or self._why(unlike)
            yield Replayed(number, entry.name, outcome, told, _told(answer), reason, unlike)

    def _why(self, unlike: Difference | None) -> str:
        """Where the data of an exchange differ, or what was skipped before it."""
        where = None if unlike is None else unlike.offset
        parts = [] if where is None else [f"from byte {where}"]
        if self._unchanged:
            parts.append(f"{self._unchanged} before it was skipped")
        return "; ".join(parts)

    def _door(self, number: int) -> _Door:
        if number not in self._doors:
            card = self._open_door()
            card.reset()
            key = self._management_key
            proof = None if key is None else Proof(key)
            uses: Mapping[str, Uses] = {
                PIV: replay_piv.Uses(card, self._piv_keys),
                _PKI: replay_pki.Uses(card, self._pki_keys),
            }
            self._doors[number] = _Door(card, uses, proof, Mask(self._application))
        return self._doors[number]

    def _command(
        self, door: _Door, entry: Entry, application: ApplicationSpec
    ) -> tuple[bytes | None, str]:
        """What to send, or None and why nothing."""
        if door.skipped and entry.command[1:2] == bytes((_GET_RESPONSE,)):
            return None, "it goes on with the answer to what was skipped"
        if entry.blanked:
            return self._proof(door, entry)
        return self._login(door, entry, application) if entry.masked else (entry.command, "")

    def _login(
        self, door: _Door, entry: Entry, application: ApplicationSpec
    ) -> tuple[bytes | None, str]:
        """A VERIFY with the PIN that was given; nothing else that is masked can be sent."""
        header = entry.command
        if len(header) < 4 or header[1] != _VERIFY:
            return None, "its data are masked"
        if Response.parse(entry.response).sw != SW.NO_ERROR:
            return None, "its PIN was wrong, and would spend a try"
        if application is not self._application:
            name = application.name
            return None, f"a PIN of {name.upper()} is masked: a recording with --app {name} gets it"
        pin = self._pins.get(header[3])
        if pin is None:
            return None, "its PIN is masked, and not given or refused before"
        left = Response.parse(door.card.transceive(header[:4])).sw
        if left == SW.WRONG_PIN | 1 and not self._last_try:
            return None, "its PIN has but one try left: give --last-try"
        return replace(entry.parsed(), data=pin).encode(), ""

    def _proof(self, door: _Door, entry: Entry) -> tuple[bytes | None, str]:
        """A proof of the management key to the card that is played to."""
        if Response.parse(entry.response).sw != SW.NO_ERROR:
            return None, "its management key was wrong"
        if door.proof is None or self._management_key is None:
            return None, "its management key is masked, and not given or refused before"
        command = door.proof.command(entry.parsed())
        if command is None:
            return None, "the card has not asked for a proof that the management key can give"
        return command.encode(), ""


def _renews(entry: Entry) -> bool:
    """Whether a masked command has given a PIN or key a new value."""
    done = Response.parse(entry.response).sw == SW.NO_ERROR
    return done and entry.masked and entry.command[1:2] in _RENEWING


def _compare(
    door: _Door, entry: Entry, application: ApplicationSpec, sent: bytes, raw: bytes
) -> tuple[Outcome, str]:
    """How an answer compares with the recorded one, and why where it is not by its bytes."""
    recorded, answered = Response.parse(entry.response), Response.parse(raw)
    try:
        used = _follow(door, application, Command.parse(sent), answered)
    except ApduFormatError:
        # What is no command uses no key.
        used = False
    except UnlikeError as unlike:
        return Outcome.DIFFERENT, str(unlike)
    except IncomparableError as incomparable:
        return Outcome.SKIPPED, str(incomparable)
    if used and recorded.sw == answered.sw:
        size = len(recorded.data) if entry.length is None else entry.length
        # What is whole has been compared; a part of it is as long as the other.
        same = recorded.sw == SW.NO_ERROR or size == len(answered.data)
    else:
        same = alike(application, entry, raw)
    return Outcome.SAME if same else Outcome.DIFFERENT, ""


def _follow(door: _Door, application: ApplicationSpec, command: Command, answer: Response) -> bool:
    """Whether a key was used, and rightly. Raises UnlikeError, IncomparableError where not."""
    proving = (application.name, command.ins, command.p2) == (PIV, _AUTHENTICATE, MANAGEMENT_KEY)
    if door.proof is not None and proving:
        door.proof.answered(command, answer)
    uses = door.uses.get(application.name)
    return uses is not None and uses.answered(command, answer)


def _followed(
    application: ApplicationSpec, entries: list[Entry]
) -> Iterator[tuple[Entry, ApplicationSpec]]:
    """The entries, each with the application that is selected on its way."""
    selections: dict[int, Selection] = {}
    for entry in entries:
        selection = selections.setdefault(entry.door, Selection(application))
        try:
            if not entry.is_reset:
                selection.command(entry.parsed())
        except ApduFormatError:
            # What is no command selects nothing.
            pass
        yield entry, selection.application
        if entry.response:
            selection.response(Response.parse(entry.response).sw1)


def changing(application: str, entries: list[Entry]) -> list[str]:
    """The names of the commands in a recording that change the card, each once, in order."""
    names: dict[str, None] = {}
    for entry, selected in _followed(APPLICATIONS[application], entries):
        if not entry.is_reset and not entry.masked and not _harmless(selected, entry):
            names[entry.name] = None
    return list(names)


def _harmless(application: ApplicationSpec, entry: Entry) -> bool:
    try:
        command = entry.parsed()
    except ApduFormatError:
        return True
    spec = find_spec(application, command)
    asks = spec is not None and spec.secret and not command.data
    return spec is not None and (spec.harmless or asks)


def _told(raw: bytes, length: int | None = None) -> str:
    response = Response.parse(raw)
    size = len(response.data) if length is None else length
    return f"{describe(response.sw)}, {size} bytes" if size else describe(response.sw)
