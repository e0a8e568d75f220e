"""Cards whose commands on PINs are broken on purpose, of both applications."""

from __future__ import annotations

from dataclasses import replace

from apdu import tlv
from apdu.codec import Command, Response
from apdu.model import SW
from host_tools.conformance import piv_commands as piv
from host_tools.conformance import pki_commands as pki
from tests import cards, piv_cards
from tests.vectors.examined import (
    UNBLOCK,
    VERIFY,
    EmulatedCard,
)

_LOGGED_OUT = 0xFF
_COUNTERS = range(SW.WRONG_PIN, SW.WRONG_PIN + 16)
_GIVE_BACK = {
    "user": (pki.verify(pki.USER, cards.USER_PIN), pki.log_out(pki.USER)),
    "so": (pki.verify(pki.SO, cards.SO_PIN), pki.log_out(pki.SO)),
    "pin": (piv.verify(piv_cards.PIN), piv.log_out()),
    "puk": (piv.change(piv.REF_PUK, piv_cards.PUK, piv_cards.PUK),),
}
"""Commands that give a PIN its tries and verify nobody."""
_WRONG = {
    "user": pki.verify(pki.USER, b"000000"),
    "so": pki.verify(pki.SO, b"11111111"),
    "pin": piv.verify(b"000000"),
    "puk": piv.change(piv.REF_PUK, b"11111111", piv_cards.PUK),
}
_RIGHT = {name: commands[0] for name, commands in _GIVE_BACK.items()}
_ASK = {"user": pki.verify(pki.USER), "so": pki.verify(pki.SO), "pin": piv.verify()}


def spares_tries(pin: str, ins: int, p2: int) -> type[EmulatedCard]:
    class SparesTries(EmulatedCard):
        """A wrong value in this command costs nothing, though it tells that it does."""

        def answer(self, command: Command) -> Response:
            response = self.soundly(command)
            if (command.ins, command.p2) == (ins, p2) and response.sw in _COUNTERS:
                for back in _GIVE_BACK[pin]:
                    self.soundly(back)
            return response

    return SparesTries


def gives_none_back(pin: str, ins: int, p2: int) -> type[EmulatedCard]:
    class GivesNoneBack(EmulatedCard):
        """After the right value in this command a try is missing."""

        def answer(self, command: Command) -> Response:
            response = self.soundly(command)
            if (command.ins, command.p2, response.sw) == (ins, p2, SW.NO_ERROR):
                self.soundly(_WRONG[pin])
            return response

    return GivesNoneBack


def never_locks(ins: int, p2: int) -> type[EmulatedCard]:
    class NeverLocks(EmulatedCard):
        """Without any try left this command is done for the right value, and for wrong ones."""

        def answer(self, command: Command) -> Response:
            response = self.soundly(command)
            locked = response.sw == SW.AUTHENTICATION_METHOD_BLOCKED
            if (command.ins, command.p2) == (ins, p2) and locked:
                return Response(SW.NO_ERROR)
            return response

    return NeverLocks


def logs_in(pin: str, ins: int, p2: int) -> type[EmulatedCard]:
    class LogsIn(EmulatedCard):
        """Whoever gives the right value in this command is logged in."""

        def answer(self, command: Command) -> Response:
            response = self.soundly(command)
            if (command.ins, command.p2, response.sw) == (ins, p2, SW.NO_ERROR):
                self.soundly(_RIGHT[pin])
            return response

    return LogsIn


def keeps_login(pin: str, ins: int, p2: int, *, wrong: bool) -> type[EmulatedCard]:
    class KeepsLogin(EmulatedCard):
        """Whoever is logged in stays so, after the right value in this command or a wrong one."""

        def answer(self, command: Command) -> Response:
            concerned = (command.ins, command.p2) == (ins, p2)
            verified = concerned and self.soundly(_ASK[pin]).sw == SW.NO_ERROR
            response = self.soundly(command)
            ended = _COUNTERS if wrong else (SW.NO_ERROR,)
            if verified and response.sw in ended:
                self.soundly(_RIGHT[pin])
            return response

    return KeepsLogin


class LogsInUntold(EmulatedCard):
    """Unblocking logs the user in, which VERIFY without data does not tell."""

    untold = False

    def reset(self) -> bytes:
        self.untold = False
        return super().reset()

    def answer(self, command: Command) -> Response:
        response = self.soundly(command)
        if command.ins == UNBLOCK and response.sw == SW.NO_ERROR:
            new = tlv.to_dict(tlv.parse(command.data))[0x81]
            self.soundly(pki.verify(pki.USER, new))
            self.untold = True
        asked = command == pki.verify(pki.USER)
        return Response(SW.WRONG_PIN | 3) if asked and self.untold else response


class LogsNobodyOut(EmulatedCard):
    """Logging out is answered, and nothing else."""

    def answer(self, command: Command) -> Response:
        if (command.cla, command.ins, command.p1) == (0x00, VERIFY, _LOGGED_OUT):
            return Response(SW.NO_ERROR)
        return self.soundly(command)


def takes_p1(ins: int, other: int) -> type[EmulatedCard]:
    class TakesP1(EmulatedCard):
        """Another P1 of this instruction is taken for 00."""

        def answer(self, command: Command) -> Response:
            if (command.ins, command.p1) == (ins, other):
                return self.soundly(replace(command, p1=0x00))
            return self.soundly(command)

    return TakesP1


def takes_p2(ins: int, other: int, meant: int) -> type[EmulatedCard]:
    class TakesP2(EmulatedCard):
        """Another P2 of this instruction is taken for one that it knows."""

        def answer(self, command: Command) -> Response:
            if (command.ins, command.p2) == (ins, other):
                return self.soundly(replace(command, p2=meant))
            return self.soundly(command)

    return TakesP2
