"""What is measured, of whom, and what is wanted: a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measure import Spread, interleave, ratios
from bench.peers import OPENSSL, OURS, P11KIT, SOFTHSM, Peer

TOKENS = (SOFTHSM, P11KIT)
FEW = 10


@dataclass(frozen=True, slots=True)
class Want:
    """We are to be at least so many times as fast as a peer; an aim is told and not judged."""

    peer: str
    least: float
    aim: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A command that is repeated, after others that prepare it; see native/client.c for them."""

    name: str
    command: tuple[object, ...]
    prepare: tuple[tuple[object, ...], ...] = ()
    peers: tuple[str, ...] = TOKENS
    wants: tuple[Want, ...] = ()
    flat_with: str = ""
    """An earlier row with fewer objects, which this one is to be as fast as."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many times as fast as the peer we were, beside what was wanted."""

    peer: str
    ratio: Spread
    least: float | None = None
    aim: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median is what was wanted; None where nothing was."""
        return None if self.least is None else self.ratio.median >= self.least


@dataclass(frozen=True, slots=True)
class Result:
    """One row: how many times a second each did it, and how we stand to the others."""

    name: str
    per_second: dict[str, Spread]
    verdicts: tuple[Verdict, ...]


FLAT = Want("fewer objects", 0.8)


def rows(session: int, token: int) -> list[Row]:
    """Every row in the order it must run in; searches end among so many objects."""
    middle = min(token, session)
    few_session = f"find by CKA_ID, {FEW} session objects"
    return [
        Row(
            "sign RSA-2048 PKCS #1",
            ("sign",),
            (("make", "rsa"),),
            (*TOKENS, OPENSSL),
            (Want(SOFTHSM, 1.5), Want(OPENSSL, 0.75)),
        ),
        Row(
            "sign ECDSA P-256",
            ("sign",),
            (("make", "ec"),),
            (*TOKENS, OPENSSL),
            (Want(P11KIT, 1.0), Want(SOFTHSM, 1.0, aim=True)),
        ),
        Row("random 32 bytes", ("random",), peers=(*TOKENS, OPENSSL)),
        Row(
            f"find by CKA_ID, {FEW} token objects",
            ("find", "token", FEW),
            (("certificate", *_certificate()), ("fill", "token", 0, FEW)),
        ),
        Row("C_GetAttributeValue, 4 attributes", ("attributes",), wants=(Want(P11KIT, 1.0),)),
        Row("initialize, open, log in", ("start",), wants=(Want(P11KIT, 1.0),)),
        Row("create a token object", ("create",)),
        Row(
            few_session,
            ("find", "session", FEW),
            (("drop",), ("fill", "session", 0, FEW)),
        ),
        Row(
            f"find by CKA_ID, {middle:,} session objects",
            ("find", "session", middle),
            (("fill", "session", FEW, middle - FEW),),
            flat_with=few_session,
        ),
        Row(
            f"find by CKA_ID, {session:,} session objects",
            ("find", "session", session),
            (("fill", "session", middle, session - middle),),
            wants=(Want(SOFTHSM, 50.0),),
            flat_with=few_session,
        ),
        Row(
            f"find by CKA_ID, {token:,} token objects",
            ("find", "token", token),
            (("drop",), ("fill", "token", FEW, token - FEW)),
            wants=(Want(SOFTHSM, 50.0),),
            flat_with=f"find by CKA_ID, {FEW} token objects",
        ),
    ]


def _prepare(peer: Peer, command: Sequence[object]) -> None:
    """p11-kit serves the token of SoftHSM2, on which everything has been made already."""
    if peer.name != P11KIT:
        peer.run(*command)
    elif command[0] == "make":
        peer.run("key", *command[1:])
    elif command[:2] != ("fill", "token"):
        peer.run(*command)


def measure(
    table: Sequence[Row], peers: Mapping[str, Peer], rounds: int, seconds: float
) -> Iterator[tuple[Row, Result]]:
    """Measure row by row, the peers in turn."""
    past: dict[str, list[float]] = {}
    for row in table:
        taking_part = {name: peers[name] for name in (OURS, *row.peers)}
        for command in row.prepare:
            for peer in taking_part.values():
                _prepare(peer, command)
        actions = {
            name: partial(peer.rate, *row.command, seconds) for name, peer in taking_part.items()
        }
        rates = interleave(actions, rounds)
        past[row.name] = rates[OURS]
        result = judge(row.name, rates, row.wants)
        if row.flat_with:
            flat = Verdict(FLAT.peer, ratios(rates[OURS], past[row.flat_with]), FLAT.least)
            result = replace(result, verdicts=(*result.verdicts, flat))
        yield row, result


def judge(name: str, rates: Mapping[str, Sequence[float]], wants: Sequence[Want]) -> Result:
    """What the rates of all rounds say."""
    wanted = {want.peer: want for want in wants}
    verdicts = []
    for peer, theirs in rates.items():
        if peer != OURS:
            want = wanted.get(peer)
            least, aim = (want.least, want.aim) if want else (None, False)
            verdicts.append(Verdict(peer, ratios(rates[OURS], theirs), least, aim))
    return Result(name, {peer: Spread.of(of) for peer, of in rates.items()}, tuple(verdicts))


def _certificate() -> tuple[str, str]:
    """A self-signed certificate and its subject, DER in hexadecimal."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.DER).hex(), name.public_bytes().hex()
