"""What one interface has selected, verified and chosen in the PKI application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from apdu.spec import Access, CommandSpec
from token_fw.apps import Told
from token_fw.apps.attendance import Attendance
from token_fw.apps.pins import VerifiedPins
from token_fw.apps.pki.algorithms import Environment
from token_fw.apps.pki.files import MF, Condition, File, FileKind, FileSystem, Rule
from token_fw.apps.pki.keys import KeyPolicy, Keys, StoredKey
from token_fw.crypto import SecretKey
from token_fw.env import ProtectedPath
from token_fw.errors import (
    ConditionsNotSatisfied,
    FileNotFound,
    FingerMismatch,
    IncompatibleFile,
    NoCurrentFile,
    SecurityStatusNotSatisfied,
)
from token_fw.fingerprint import Matcher
from token_fw.pin import PinRef, Pins
from token_fw.state import Lifecycle, Token
from token_fw.transaction import Transaction

_CONSENT_OUTLIVES = frozenset(
    {
        "MSE SET",
        "PSO COMPUTE DIGITAL SIGNATURE",
        "PSO COMPUTE CRYPTOGRAPHIC CHECKSUM",
        "PSO ENCIPHER",
        "PSO DECIPHER",
        "GET SECRET KEY",
    }
)
"""Commands after which, or in which, a fresh verification of the user PIN still counts."""

_NEEDS_CONSENT = "the key needs the user PIN verified right before"


@dataclass(slots=True)
class Core:
    """What all interfaces share: the token's durable state and the effects.

    `path` is None where nothing can be entered on the token.
    """

    transaction: Transaction
    token: Token
    pins: Pins
    files: FileSystem
    keys: Keys
    matcher: Matcher
    rng: Callable[[int], bytes]
    path: ProtectedPath | None
    changes: Callable[[], int]


class PkiSession:
    """The security status and the choices of one interface.

    All of it but what was `told` ends with a reset, and when the application is selected again.
    """

    def __init__(self, core: Core, told: Told) -> None:
        self.core = core
        self.told = told
        self.environments: dict[int, Environment] = {}
        self.pins = VerifiedPins(core.pins)
        self._consent = False
        self._attendance = Attendance(core.transaction)
        self._df = MF
        self._ef = b""

    def begin(self, command: CommandSpec | None) -> None:
        """The user's consent to one use of a key ends with any other command."""
        if self._consent and (command is None or command.name not in _CONSENT_OUTLIVES):
            self._consent = False

    def ask(self, ref: PinRef) -> bytes:
        """What the user enters on the token for that PIN; other interfaces work meanwhile.

        Raises ConditionsNotSatisfied where nothing can be entered, EntryCancelled, EntryTimedOut,
        and CardRemoved where the token was pulled.
        """
        if self.core.path is None:
            raise ConditionsNotSatisfied("nothing can be entered on the token")
        return self._attendance.wait(self.core.path.ask(ref))

    def match(self, ref: PinRef) -> None:
        """Compare a finger with those that stand for that PIN; other interfaces work meanwhile.

        Raises NoFinger, FingersBlocked, EntryCancelled, EntryTimedOut, FingerMismatch, after which
        the interface is logged out, and CardRemoved where the token was pulled.
        """
        matcher = self.core.matcher
        matcher.usable(ref)
        assert matcher.sensor is not None
        sample = self._attendance.wait(matcher.sensor.ask())
        try:
            matcher.match(sample, ref)
        except FingerMismatch:
            self.pins.discard(ref)
            raise

    def branch(self) -> PkiSession:
        """One with the same security status and choices of its own; consent is not shared."""
        other = PkiSession(self.core, self.told)
        other.pins = self.pins
        return other

    def end(self) -> None:
        """The interface is closed: a command that waits for its user waits no more."""
        self._attendance.end()

    def permits(self, access: Access) -> bool:
        """FILE and KEY are decided where the file or the key is known."""
        if access is Access.USER:
            return self.pins.holds(PinRef.USER)
        if access is Access.SO:
            return self.pins.holds(PinRef.SO)
        if access is Access.USER_OR_SO:
            return self.pins.holds(PinRef.USER) or self.pins.holds(PinRef.SO)
        return True

    def require(self, access: Access) -> None:
        """Raises SecurityStatusNotSatisfied."""
        if not self.permits(access):
            raise SecurityStatusNotSatisfied("a PIN has to be verified first")

    def verified(self, ref: PinRef) -> None:
        """The PIN was verified on this interface; for the user PIN that is consent to one use."""
        self.pins.add(ref)
        self._consent = ref is PinRef.USER

    def use(self, template: int, usage: int) -> tuple[StoredKey, Environment]:
        """The key chosen by MSE SET for `template`, for one use; takes the user's consent.

        Raises as `chosen`, and SecurityStatusNotSatisfied for a key that asks for a verification
        right before.
        """
        consent, self._consent = self._consent, False
        key, environment = self.chosen(template, usage)
        if key.always_authenticate and not consent:
            raise SecurityStatusNotSatisfied(_NEEDS_CONSENT)
        return key, environment

    def chosen(self, template: int, usage: int) -> tuple[StoredKey, Environment]:
        """The key chosen by MSE SET for `template`, whose private half is not used.

        `usage` are flags of Usage, of which the key has to have one. Raises ConditionsNotSatisfied
        without a choice, or for a key that is not of the chosen kind or not for that use, and
        ReferencedDataNotFound.
        """
        environment = self.environments.get(template)
        if environment is None or environment.algorithm is None:
            raise ConditionsNotSatisfied("no key and algorithm were chosen")
        key = self.core.keys.get(environment.reference)
        environment.algorithm.check(key.spec.kind)
        if not key.uses & usage:
            raise ConditionsNotSatisfied("the key is not for that use")
        return key, environment

    def export(self, reference: int) -> SecretKey:
        """A secret key that may be told; takes the user's consent.

        Raises ConditionsNotSatisfied for a key that may not, ReferencedDataNotFound, and
        SecurityStatusNotSatisfied for a key that asks for a verification right before.
        """
        consent, self._consent = self._consent, False
        key = self.core.keys.get(reference)
        if not key.policy & KeyPolicy.EXPORT:
            raise ConditionsNotSatisfied("the key stays on the card")
        if key.always_authenticate and not consent:
            raise SecurityStatusNotSatisfied(_NEEDS_CONSENT)
        return key.secret

    def current_df(self) -> File:
        """The current directory; the master file once the selected one is gone."""
        if not self.core.files.exists(self._df):
            self.select(self.core.files.find(MF))
        return self.core.files.find(self._df)

    def current_ef(self) -> File:
        """The current elementary file; raises NoCurrentFile when none is, or it is gone."""
        if not self._ef or not self.core.files.exists(self._ef):
            raise NoCurrentFile("no elementary file is selected")
        return self.core.files.find(self._ef)

    def current(self) -> File:
        """The current elementary file, else the current directory."""
        if self._ef and self.core.files.exists(self._ef):
            return self.core.files.find(self._ef)
        return self.current_df()

    def child(self, fid: bytes) -> File:
        """A file of the current directory; raises FileNotFound."""
        return self.core.files.find(self.current_df().path + fid)

    def data_file(self, fid: bytes) -> File:
        """The current elementary file, or the one with that identifier, which becomes current.

        Raises NoCurrentFile, FileNotFound, or IncompatibleFile for a directory.
        """
        if not fid:
            return self.current_ef()
        file = self.child(fid)
        if file.kind is not FileKind.EF:
            raise IncompatibleFile("a directory has no data")
        self.select(file)
        return file

    def by_identifier(self, fid: bytes) -> File:
        """What SELECT by file identifier finds (ISO/IEC 7816-4:2013, 7.3.1).

        The master file, then children of the current directory, the directory itself, its parent
        and the parent's children. Raises FileNotFound.
        """
        if not fid or fid == MF:
            return self.core.files.find(MF)
        df = self.current_df()
        for path in (df.path + fid, df.path, df.parent, df.parent + fid):
            if path[-2:] == fid and self.core.files.exists(path):
                return self.core.files.find(path)
        raise FileNotFound("no such file near the current directory")

    def select(self, file: File) -> None:
        """Make a file and its directory, or a directory, the current one."""
        is_df = file.kind is FileKind.DF
        self._df = file.path if is_df else file.parent
        self._ef = b"" if is_df else file.path

    def allow(self, file: File, rule: Rule) -> None:
        """Raises SecurityStatusNotSatisfied unless the file's condition for `rule` is met."""
        if self.core.token.lifecycle is Lifecycle.CREATION:
            return
        condition = Condition(file.condition(rule))
        if condition is Condition.NEVER or not self.permits(_ACCESS[condition]):
            raise SecurityStatusNotSatisfied("the file's security attributes do not allow it")

    def fcp(self, file: File) -> bytes:
        """The file control parameters; a blank card's master file shows that all is allowed."""
        if file.path == MF and self.core.token.lifecycle is Lifecycle.CREATION:
            file = replace(file, attributes=bytes(len(file.attributes)))
        return file.fcp()


_ACCESS = {
    Condition.ALWAYS: Access.ALWAYS,
    Condition.USER: Access.USER,
    Condition.SO: Access.SO,
    Condition.USER_OR_SO: Access.USER_OR_SO,
}
