"""A small certification authority: what it issued and revoked, kept in a folder of the home.

``<home>/ca/<name>/`` holds::

    state.json            where its key is, what it issued, what of that is revoked
    certificate.der       its own certificate
    key.pem               its key under a passphrase, where that is not on a token
    issued/<serial>.der   the certificates, by serial number in hexadecimal

Every change is durable before its result is handed out; two that change it take turns.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asn1crypto import pem

from host_tools.control import ControlError, ErrorCode
from host_tools.home import Home
from host_tools.pki import certificates, pbes2, revocation
from host_tools.pki.algorithms import normalized
from host_tools.pki.asn1 import parse, x509
from host_tools.pki.certificates import Validity, now
from host_tools.pki.errors import PkiError
from host_tools.pki.names import format_name
from host_tools.pki.profiles import PROFILES, Profile, Urls, Wishes, extensions
from host_tools.pki.revocation import Revocation, authority_identifier
from host_tools.pki.signer import Signer
from token_fw.crypto import PrivateKey
from token_fw.storage.files import PRIVATE_MODE, replace_private, sync_directory

_NAME: Final = re.compile(r"\w[\w .@-]{0,63}")
_STATE: Final = "state.json"
_CERTIFICATE: Final = "certificate.der"
_KEY: Final = "key.pem"
_DRAFT: Final = ".draft"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the key is: on a token, by its serial and the key's CKA_ID in hexadecimal.

    Both are empty where the key is in the authority's folder.
    """

    token: str = ""
    ident: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate it issued; ``serial`` is hexadecimal, the names are as RFC 4514 has them."""

    serial: str
    subject: str
    profile: str
    not_before: datetime
    not_after: datetime
    revoked: Revocation | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that changes, and where things are; ``issuer`` is the authority above, if it is ours."""

    key: KeyPlace
    issuer: str = ""
    urls: Urls = field(default_factory=Urls)
    crl_number: int = 0
    issued: Mapping[str, Issued] = field(default_factory=dict)

    def encode(self) -> bytes:
        document = {
            "key": {"token": self.key.token, "id": self.key.ident},
            "issuer": self.issuer,
            "urls": {name: list(getattr(self.urls, name)) for name in Urls.__slots__},
            "crl_number": self.crl_number,
            "issued": [_encode_issued(one) for one in self.issued.values()],
        }
        return json.dumps(document, ensure_ascii=False, indent=1).encode()

    @classmethod
    def decode(cls, content: bytes) -> "State":
        """Raises ValueError, KeyError or TypeError for what is no state."""
        document = json.loads(content)
        issued = [_decode_issued(one) for one in document["issued"]]
        return cls(
            key=KeyPlace(str(document["key"]["token"]), str(document["key"]["id"])),
            issuer=str(document["issuer"]),
            urls=Urls(**{name: tuple(urls) for name, urls in document["urls"].items()}),
            crl_number=int(document["crl_number"]),
            issued={one.serial: one for one in issued},
        )


def _encode_issued(one: Issued) -> dict[str, object]:
    told: dict[str, object] = {
        "serial": one.serial,
        "subject": one.subject,
        "profile": one.profile,
        "not_before": one.not_before.isoformat(),
        "not_after": one.not_after.isoformat(),
    }
    if one.revoked:
        told["revoked"] = {"at": one.revoked.at.isoformat(), "reason": one.revoked.reason}
    return told


def _decode_issued(told: dict[str, Any]) -> Issued:
    revoked = told.get("revoked")
    return Issued(
        str(told["serial"]),
        str(told["subject"]),
        str(told["profile"]),
        datetime.fromisoformat(told["not_before"]),
        datetime.fromisoformat(told["not_after"]),
        Revocation(datetime.fromisoformat(revoked["at"]), revoked["reason"]) if revoked else None,
    )


class Authority:
    """An authority of a home. Whoever signs for it is given to each call that needs its key."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.name: Final = folder.name
        try:
            self.state = State.decode((folder / _STATE).read_bytes())
            der = (folder / _CERTIFICATE).read_bytes()
            self.certificate: Final = parse(x509.Certificate, der, "certificate")
        except (ValueError, KeyError, TypeError, FileNotFoundError, PkiError) as error:
            raise ControlError(
                ErrorCode.GENERAL,
                f"The files of the CA {self.name} are damaged.",
                f"Restore {folder} from a copy.",
            ) from error

    @property
    def key_file(self) -> Path:
        """The file with its key, where it is not on a token."""
        return self.folder / _KEY

    @contextmanager
    def _changing(self) -> Iterator[State]:
        """The newest state, with no other process that changes it until the end."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self.folder / "lock", flags, PRIVATE_MODE), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state = State.decode((self.folder / _STATE).read_bytes())
            yield self.state

    def _save(self, state: State) -> None:
        replace_private(self.folder / _STATE, state.encode())
        self.state = state

    def issue(
        self,
        signer: Signer,
        *,
        subject: Any,
        info: Any,
        profile: str,
        validity: Validity,
        wishes: Wishes,
    ) -> Any:
        """A certificate for the key ``info`` (a SubjectPublicKeyInfo), recorded before it is given.

        Raises ControlError where this authority may not issue it.
        """
        self._check_may_issue(PROFILES[profile])
        made = certificates.issue(
            signer,
            issuer=self.certificate.subject,
            subject=subject,
            info=info,
            validity=validity,
            extensions=extensions(
                PROFILES[profile],
                replace(wishes, urls=self.state.urls),
                info,
                authority_identifier(self.certificate),
            ),
        )
        entry = Issued(
            f"{made.serial_number:x}",
            format_name(subject),
            profile,
            validity.not_before,
            validity.not_after,
        )
        with self._changing() as state:
            replace_private(self.folder / "issued" / f"{entry.serial}.der", made.dump())
            self._save(replace(state, issued={**state.issued, entry.serial: entry}))
        return made

    def _check_may_issue(self, profile: Profile) -> None:
        own = self.certificate["tbs_certificate"]["validity"].native
        if own["not_after"] < now():
            raise ControlError(
                ErrorCode.GENERAL,
                f"The certificate of the CA {self.name} expired on {own['not_after']:%Y-%m-%d}.",
                "Make another: klyuch cert ca create NAME",
            )
        limit = self.certificate.max_path_length
        if profile.authority and limit == 0:
            raise ControlError(
                ErrorCode.GENERAL,
                f"The CA {self.name} may not have other CAs under it: its path length is 0.",
            )

    def find(self, serial: int) -> Issued:
        """What it issued under that number. Raises ControlError."""
        try:
            return self.state.issued[f"{serial:x}"]
        except KeyError:
            raise ControlError(
                ErrorCode.NOT_FOUND,
                f"The CA {self.name} issued no certificate with the serial {serial:x}.",
                f"See: klyuch cert ca show '{self.name}'",
            ) from None

    def issued_certificate(self, serial: int) -> bytes:
        """The certificate (DER) with that number. Raises ControlError."""
        return (self.folder / "issued" / f"{self.find(serial).serial}.der").read_bytes()

    def revoke(self, serial: int, why: Revocation) -> Issued:
        """Revoke a certificate for good. Raises ControlError for an unknown or revoked one."""
        with self._changing() as state:
            entry = self.find(serial)
            if entry.revoked is not None:
                raise ControlError(
                    ErrorCode.EXISTS,
                    f"The certificate {entry.serial} was revoked already, on "
                    f"{entry.revoked.at:%Y-%m-%d %H:%M} UTC: "
                    f"{entry.revoked.reason.replace('_', ' ')}.",
                )
            entry = replace(entry, revoked=why)
            self._save(replace(state, issued={**state.issued, entry.serial: entry}))
        return entry

    def revocation_list(self, signer: Signer, period: Validity) -> bytes:
        """The next CRL, in DER."""
        with self._changing() as state:
            number = state.crl_number + 1
            revoked = [
                (int(one.serial, 16), one.revoked) for one in state.issued.values() if one.revoked
            ]
            made = revocation.revocation_list(signer, self.certificate, revoked, number, period)
            self._save(replace(state, crl_number=number))
        return made

    def answer(
        self, request: bytes, signer: Signer, period: Validity, responder: Any = None
    ) -> bytes:
        """The OCSP response (DER) to a request (DER), signed by the authority or a responder.

        Raises Malformed for what is no request, and PkiError for a responder that it did not
        appoint (RFC 6960 4.2.2.2).
        """
        if responder is not None:
            self._check_responder(responder, signer)
        status = {int(serial, 16): one.revoked for serial, one in self.state.issued.items()}
        return revocation.answer(
            request,
            self.certificate,
            status.__getitem__,
            signer=signer,
            period=period,
            responder=responder,
        )

    def _check_responder(self, responder: Any, signer: Signer) -> None:
        purposes = responder.extended_key_usage_value
        appointed = f"{responder.serial_number:x}" in self.state.issued
        if not appointed or purposes is None or "ocsp_signing" not in purposes.native:
            raise PkiError(
                f"That is no certificate of an OCSP responder by the CA {self.name}.",
                f"Issue one: klyuch cert ca issue '{self.name}' FILE --profile ocsp",
            )
        if normalized(responder.public_key.dump()) != signer.public_key().to_spki():
            raise PkiError("The key does not belong to the certificate of the responder.")


class Authorities:
    """The authorities of a home."""

    def __init__(self, home: Home) -> None:
        self._home: Final = home

    def names(self) -> list[str]:
        """The names of all, sorted."""
        try:
            folders = list(self._home.authorities.iterdir())
        except FileNotFoundError:
            return []
        return sorted(one.name for one in folders if _NAME.fullmatch(one.name))

    def open(self, name: str) -> Authority:
        """The authority of that name. Raises ControlError."""
        if name not in self.names():
            raise ControlError(
                ErrorCode.NOT_FOUND, f"There is no CA {name!r}.", "See: klyuch cert ca list"
            )
        return Authority(self._home.authorities / name)

    def check_free(self, name: str) -> None:
        """Raises ControlError where no new authority can have that name."""
        if not _NAME.fullmatch(name) or name != name.strip():
            raise ControlError(
                ErrorCode.BAD_REQUEST,
                f"{name!r} is no name for a CA.",
                "Take letters, digits, spaces and . @ - _ (up to 64), a letter or digit first.",
            )
        if name in self.names():
            raise ControlError(
                ErrorCode.EXISTS, f"There is a CA {name!r} already.", "See: klyuch cert ca list"
            )

    def create(
        self, name: str, state: State, certificate: Any, encrypted_key: bytes | None = None
    ) -> Authority:
        """Keep a new authority, with its key (of :func:`encrypted`) where that is in a file.

        It is there as a whole or not at all. Raises ControlError and HomeError.
        """
        self._home.make()
        parent = self._home.authorities
        parent.mkdir(mode=0o700, exist_ok=True)
        with _alone(parent):
            self.check_free(name)
            # Nobody else is at work here: these are of processes that died.
            for left in parent.glob(f".*{_DRAFT}"):
                shutil.rmtree(left)
            # No name of an authority begins with a dot.
            draft = Path(tempfile.mkdtemp(prefix=".", suffix=_DRAFT, dir=parent))
            try:
                _fill(draft, state, certificate, encrypted_key)
                draft.rename(parent / name)
            except BaseException:
                shutil.rmtree(draft)
                raise
            sync_directory(parent)
        return Authority(parent / name)

    def revoked(self, authority: Authority) -> list[tuple[str, str]]:
        """Which authorities of its chain are revoked, each with the one that revoked it."""
        found, below = [], authority
        for _ in self.names():
            if not below.state.issuer:
                break
            above = self.open(below.state.issuer)
            entry = above.state.issued.get(f"{below.certificate.serial_number:x}")
            if entry is not None and entry.revoked is not None and entry.revoked.at <= now():
                found.append((below.name, above.name))
            below = above
        return found

    def chain(self, authority: Authority) -> list[Any]:
        """Its certificate and those of the authorities above it, as far as they are of this home.

        Raises ControlError.
        """
        found = [authority.certificate]
        above = authority.state.issuer
        while above and len(found) <= len(self.names()):
            over = self.open(above)
            found.append(over.certificate)
            above = over.state.issuer
        return found


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process is in here with the same folder; a lock ends with its process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _fill(draft: Path, state: State, certificate: Any, encrypted_key: bytes | None) -> None:
    (draft / "issued").mkdir(mode=0o700)
    if encrypted_key is not None:
        replace_private(draft / _KEY, encrypted_key)
    replace_private(draft / _CERTIFICATE, certificate.dump())
    replace_private(draft / _STATE, state.encode())


def encrypted(key: PrivateKey, passphrase: str) -> bytes:
    """A private key under a passphrase, in PEM (PKCS #8)."""
    der = pbes2.encrypt(key.to_pkcs8(), passphrase.encode())
    return bytes(pem.armor("ENCRYPTED PRIVATE KEY", der))
